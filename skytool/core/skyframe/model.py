r"""The pattern that a camera's response prints on the night sky, from the cells of many exposures.

The value of cell c in exposure v is modelled as :math:`a_v (1 + S_c) + \sum_k g_{vk} \phi_k(c)`:
a level :math:`a_v` and smooth terms :math:`\phi_k` for every exposure, and one pattern S.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from skytool.core.skyframe.combine import Combined, combine_by_errors, combine_by_scatter
from skytool.core.statistics import Clip, Statistic
from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MAD_TO_SIGMA = 1.482602218505602  # 1 / (sqrt(2) erfinv(1/2)), for a normal distribution
_FAR_OFF = 4.0
_SIGNIFICANT = 5.0
_FIT_ROUNDS = 5


@dataclass(frozen=True, eq=False)
class SkyCells:
    """Cells of one detector in m exposures.

    Parameters
    ----------
    values, errors : ndarray of float64, shape (m, n)
        Values and standard errors [unit of image]; NaN where an exposure has none.
    terms : ndarray of float64, shape (n, k)
        Smooth terms at the cells, without the constant.
    areas : ndarray of float64, shape (n,)
        Pixels of each cell.
    """

    values: Floats
    errors: Floats
    terms: Floats
    areas: Floats


@dataclass(frozen=True)
class SolveRule:
    """How the model is fitted.

    Parameters
    ----------
    statistic : Statistic
        How the exposures are combined.
    clip : Clip
        Limit and passes of the rejection.
    by : {"errors", "scatter"}
        Weights and rejection by the errors, or equal weights and rejection by the scatter.
    keep_common : {"auto", "always", "never"}
        Whether smooth terms that the exposures have in common belong to the pattern; auto: those
        that stand out of what single exposures have of them.
    max_iterations : int
        Most alternations between pattern and exposures.
    tolerance : float
        Change of the pattern at which they end [standard errors].
    """

    statistic: Statistic = Statistic.MEANCLIP
    clip: Clip = field(default_factory=Clip)
    by: Literal["errors", "scatter"] = "errors"
    keep_common: Literal["auto", "always", "never"] = "auto"
    max_iterations: int = 10
    tolerance: float = 0.02


@dataclass(frozen=True, eq=False)
class SkySolution:
    """A fitted model.

    Parameters
    ----------
    pattern : tuple of Combined
        The pattern S of every detector, cell by cell; mean zero over all cells with a value.
    level : ndarray of float64, shape (m,)
        Level of each exposure [unit of image].
    slopes : ndarray of float64, shape (m, k)
        Factors of the smooth terms [unit of image].
    """

    pattern: tuple[Combined, ...]
    level: Floats
    slopes: Floats

    def relative(self, cells: SkyCells) -> tuple[Floats, Floats]:
        """Return values and errors of a detector less the smooth terms, in units of the level."""
        smooth = self.slopes @ cells.terms.T
        level = self.level[:, None]
        return (cells.values - smooth) / level - 1, cells.errors / level


def solve_sky(detectors: Sequence[SkyCells], rule: SolveRule) -> SkySolution:
    """Fit pattern, levels and smooth terms by turns until nothing changes.

    Parameters
    ----------
    detectors : sequence of SkyCells
        All detectors, each with the same exposures in the same order.
    rule : SolveRule
        How.

    Raises
    ------
    AlgorithmError
        If the level of an exposure is not positive.
    """
    flat = np.zeros(sum(len(cells.terms) for cells in detectors))
    levels, slopes = _fit_exposures(detectors, flat)
    # Levels from incomplete exposures are not good enough yet to reject anything by.
    solution = _combined(detectors, levels, slopes, replace(rule, statistic=Statistic.MEDIAN))
    for _ in range(rule.max_iterations):
        pattern = np.concatenate([each.value for each in solution.pattern])
        levels, slopes = _fit_exposures(detectors, pattern)
        new = _combined(detectors, levels, slopes, rule)
        change = _largest_change(solution, new)
        solution = new
        if change < rule.tolerance:
            break
    return solution


def combined_pattern(
    detectors: Sequence[SkyCells], levels: Floats, slopes: Floats, rule: SolveRule
) -> SkySolution:
    """Combine exposures whose levels and smooth terms are known.

    Parameters
    ----------
    detectors : sequence of SkyCells
        All detectors.
    levels : ndarray of float64, shape (m,)
        Level of each exposure [unit of image].
    slopes : ndarray of float64, shape (m, k)
        Factors of the smooth terms [unit of image].
    rule : SolveRule
        How.
    """
    draft = SkySolution((), levels, slopes)
    pattern = []
    for cells in detectors:
        values, errors = draft.relative(cells)
        if rule.by == "scatter":
            each = combine_by_scatter(values, clip=rule.clip, statistic=rule.statistic)
        else:
            each = combine_by_errors(values, errors, clip=rule.clip, statistic=rule.statistic)
        pattern.append(each)
    return replace(draft, pattern=tuple(pattern))


def _largest_change(old: SkySolution, new: SkySolution) -> float:
    """Return the largest change of a cell in units of its error."""
    largest = 0.0
    for before, after in zip(old.pattern, new.pattern, strict=True):
        with np.errstate(invalid="ignore", divide="ignore"):
            change = np.abs(after.value - before.value) / np.sqrt(after.variance)
        finite = change[np.isfinite(change)]
        largest = max(largest, float(finite.max()) if finite.size else 0.0)
    return largest


def _check_levels(levels: Floats) -> None:
    for i, level in enumerate(levels):
        if not level > 0:
            raise AlgorithmError(
                f"the sky level of exposure {i + 1} is {level:g}, not positive.",
                exposure=i,
            )


def _robust_fit(design: Floats, values: Floats, errors: Floats) -> Floats:
    """Return the weighted fit without what lies far off for its error and for the others."""
    kept = np.ones(len(values), np.bool_)
    fit = np.full(design.shape[1], np.nan)
    for _ in range(_FIT_ROUNDS):
        if kept.sum() < 2 * design.shape[1]:
            break
        part, weights = design[kept], 1 / errors[kept] ** 2
        normal, right = part.T @ (weights[:, None] * part), part.T @ (weights * values[kept])
        fit = np.linalg.lstsq(normal, right, rcond=1e-12)[0]
        deviation = (values - design @ fit) / errors
        center = np.median(deviation[kept])
        spread = _MAD_TO_SIGMA * np.median(np.abs(deviation[kept] - center))
        again = np.abs(deviation - center) <= _FAR_OFF * max(float(spread), 1.0)
        if np.array_equal(again, kept):
            break
        kept = again
    if not np.isfinite(fit).all():
        fit = np.zeros(design.shape[1])
        fit[0] = np.median(values / design[:, 0]) if values.size else np.nan
    return np.asarray(fit)


def _combined(
    detectors: Sequence[SkyCells], levels: Floats, slopes: Floats, rule: SolveRule
) -> SkySolution:
    """Combine the exposures to the pattern, and fix what the data leave open."""
    pattern = combined_pattern(detectors, levels, slopes, rule).pattern
    shift, share = _open_terms(detectors, pattern, levels, slopes, rule)
    scale = 1 + shift
    adjusted = [
        replace(
            each,
            value=(each.value + cells.terms @ share - shift) / scale,
            variance=each.variance / scale**2,
        )
        for each, cells in zip(pattern, detectors, strict=True)
    ]
    levels = levels * scale
    return SkySolution(tuple(adjusted), levels, slopes - levels[:, None] * share / scale)


def _open_terms(
    detectors: Sequence[SkyCells],
    pattern: Sequence[Combined],
    levels: Floats,
    slopes: Floats,
    rule: SolveRule,
) -> tuple[float, Floats]:
    """Return the mean to take out of the pattern, and the smooth terms to put into it.

    Terms that all exposures share cannot be told from a pattern of that shape. They go into the
    pattern, as if no smooth terms had been fitted, or out of it. Where they are no larger than what
    chance makes of the terms of so many exposures, they are not of the camera.
    """
    share = np.zeros(slopes.shape[1])
    if share.size:
        own = _projection(detectors, pattern)
        weights = np.sum([each.weights.sum(axis=1) for each in pattern], axis=0)
        mean, error = _shared(weights, slopes, levels)
        keep = {
            "always": np.ones(share.size, np.bool_),
            "never": np.zeros(share.size, np.bool_),
            "auto": np.abs(own + mean) > _SIGNIFICANT * error,
        }[rule.keep_common]
        share = np.where(keep, mean, -own)
    total_area = total_value = 0.0
    for each, cells in zip(pattern, detectors, strict=True):
        value = each.value + cells.terms @ share
        valid = np.isfinite(value)
        total_area += float(cells.areas[valid].sum())
        total_value += float((cells.areas * np.where(valid, value, 0))[valid].sum())
    return (total_value / total_area if total_area > 0 else 0.0), share


def _shared(weights: Floats, slopes: Floats, levels: Floats) -> tuple[Floats, Floats]:
    """Return the mean of smooth terms over exposures, relative to their levels, and its error.

    The error is that of a mean of what scatters as single exposures do; zero for less than three.
    """
    total = weights.sum()
    if not total > 0:
        return np.zeros(slopes.shape[1]), np.zeros(slopes.shape[1])
    w = weights / total
    relative = slopes / levels[:, None]
    mean = w @ relative
    squares = float(np.sum(w**2))
    if np.count_nonzero(w) < 3:
        return mean, np.zeros_like(mean)
    variance = (w @ (relative - mean) ** 2) / (1 - squares)
    return mean, np.sqrt(variance * squares)


def _projection(detectors: Sequence[SkyCells], pattern: Sequence[Combined]) -> Floats:
    """Return the factors of the smooth terms that fit the pattern best."""
    value = np.concatenate([each.value for each in pattern])
    valid = np.isfinite(value)
    terms = np.concatenate([cells.terms for cells in detectors])[valid]
    design = np.column_stack([np.ones(len(terms)), terms])
    return np.asarray(np.linalg.lstsq(design, value[valid], rcond=None)[0][1:])


def _fit_exposures(detectors: Sequence[SkyCells], pattern: Floats) -> tuple[Floats, Floats]:
    """Fit level and smooth terms of every exposure to the pattern of all detectors, in one row."""
    n_exposures, n_terms = len(detectors[0].values), detectors[0].terms.shape[1]
    design = np.column_stack([1 + pattern, np.concatenate([cells.terms for cells in detectors])])
    levels, slopes = np.empty(n_exposures), np.empty((n_exposures, n_terms))
    for i in range(n_exposures):
        values = np.concatenate([cells.values[i] for cells in detectors])
        errors = np.concatenate([cells.errors[i] for cells in detectors])
        good = np.isfinite(values) & np.isfinite(pattern) & np.isfinite(errors) & (errors > 0)
        fit = _robust_fit(design[good], values[good], errors[good])
        levels[i], slopes[i] = fit[0], fit[1:]
    _check_levels(levels)
    return levels, slopes


def smooth_terms(
    order: int, *, y: Floats, x: Floats, y_range: tuple[float, float], x_range: tuple[float, float]
) -> Floats:
    """Return Chebyshev terms of a total degree, without the constant.

    Parameters
    ----------
    order : int
        Highest total degree; 0 for none.
    y, x : ndarray of float64, shape (n,)
        Positions on the focal plane.
    y_range, x_range : (float, float)
        Limits that become -1 and 1.

    Returns
    -------
    terms : ndarray of float64, shape (n, k)
        Sorted by total degree, then by increasing degree in y.
    """
    scaled = []
    for at, (low, high) in ((y, y_range), (x, x_range)):
        width = high - low
        unit = (2 * at - low - high) / width if width > 0 else 0 * at
        scaled.append(np.polynomial.chebyshev.chebvander(unit, order))
    degrees = [(p, total - p) for total in range(1, order + 1) for p in range(total + 1)]
    if not degrees:
        return np.empty((len(y), 0))
    return np.column_stack([scaled[0][:, p] * scaled[1][:, q] for p, q in degrees])
