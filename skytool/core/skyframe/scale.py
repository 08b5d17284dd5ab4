"""How strong known patterns are in an image: one weighted fit to samples of all detectors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_IQR_TO_SIGMA = 0.741  # of a normal distribution, to three digits
_MAX_NOISE_SHARE = 0.5
_L1_ROUNDS = 15


@dataclass(frozen=True, eq=False)
class ScaleSamples:
    """Averages over boxes of one or more detectors.

    Parameters
    ----------
    image : ndarray of float64, shape (n,)
        The image [unit of image]; NaN where a box has no good pixel.
    sky : ndarray of float64, shape (n, t)
        The t patterns over the same pixels.
    error : ndarray of float64, shape (n,)
        Standard errors of ``image`` [unit of image].
    sky_variance : ndarray of float64, shape (n,)
        Variance of the first pattern in each box; NaN counts as none.
    smooth : ndarray of float64, shape (n, k)
        Smooth terms that are fitted beside the patterns, constants included.
    """

    image: Floats
    sky: Floats
    error: Floats
    sky_variance: Floats
    smooth: Floats


@dataclass(frozen=True)
class ScaleRule:
    """How scales are solved for.

    Parameters
    ----------
    iterations : int
        Rounds of rejection.
    rejection : float
        Largest residual [robust standard deviation]; 0 rejects nothing.
    clip_about : {"median", "zero"}
        Middle of what is kept.
    weighted : bool
        Weight samples by their errors.
    robust_start : bool
        Begin with the fit of least absolute deviations, and let rejected samples return;
        otherwise begin with least squares of all samples, and what is rejected stays out.
    min_samples : int
        Least number of samples.
    min_fraction : float
        Least fraction of the samples that must be kept.
    frame_noise : bool
        Correct for the noise of the first pattern, which makes its scale too small.
    max_error_growth : float
        Smooth terms that the samples call for are not used if they raise the error of the scale by
        more than this factor: they and the pattern then cannot be told apart.
    """

    iterations: int = 3
    rejection: float = 3.0
    clip_about: Literal["median", "zero"] = "median"
    weighted: bool = True
    robust_start: bool = True
    min_samples: int = 5
    min_fraction: float = 0.5
    frame_noise: bool = True
    max_error_growth: float = 3.0


@dataclass(frozen=True, eq=False)
class ScaleSolution:
    """Scales of the patterns.

    Parameters
    ----------
    scale : ndarray of float64, shape (t,)
        Scale of each pattern [unit of image].
    covariance : ndarray of float64, shape (t, t)
        Their covariance; raised where the residuals scatter more than the errors say.
    smooth : ndarray of float64, shape (k,)
        Factors of the smooth terms [unit of image].
    residual : ndarray of float64, shape (n,)
        Image less patterns and smooth terms; NaN where a sample has no value.
    used : ndarray of bool, shape (n,)
        Samples that entered.
    chi2 : float
        Mean square of the residuals in units of their errors, per degree of freedom.
    """

    scale: Floats
    covariance: Floats
    smooth: Floats
    residual: Floats
    used: NDArray[np.bool_]
    chi2: float

    @property
    def error(self) -> float:
        """Standard error of the first scale."""
        return math.sqrt(self.covariance[0, 0])

    @property
    def n_used(self) -> int:
        """Number of samples that entered."""
        return int(self.used.sum())

    @property
    def n_rejected(self) -> int:
        """Number of samples with a value that did not enter."""
        return int(np.isfinite(self.residual).sum()) - self.n_used

    @property
    def detected(self) -> bool:
        """Whether the first scale is at least three standard errors, and not zero."""
        return bool(abs(self.scale[0]) >= 3 * self.error and self.scale[0] != 0)


def solve_scales(samples: ScaleSamples, rule: ScaleRule) -> ScaleSolution:
    r"""Fit patterns and smooth terms to samples.

    Parameters
    ----------
    samples : ScaleSamples
        Averages over boxes; those that are not finite are left out.
    rule : ScaleRule
        How.

    Raises
    ------
    AlgorithmError
        If too few samples have a value, or too few are kept. The message tells the median of the
        image over the samples: a pedestal that no smooth term takes up makes all residuals large.

    Notes
    -----
    A pattern S with errors of variance :math:`V` makes the sum :math:`\sum w S^2` too large by
    :math:`\sum w V`, which is taken off as long as it is less than half of what S adds beyond the
    smooth terms. The error of the scale of a single pattern without smooth terms is
    :math:`1 / \sqrt{\sum w S^2}`.
    """
    good = _usable(samples, rule)
    design = np.hstack([samples.sky, samples.smooth])
    weights = np.zeros(len(good))
    weights[good] = 1 / samples.error[good] ** 2 if rule.weighted else 1.0
    needed = max(rule.min_samples, design.shape[1], 1)
    if good.sum() < needed:
        raise AlgorithmError(
            f"the scale of the sky frame needs {needed} samples and has {int(good.sum())}.",
            hint="Mask less, or take more samples.",
        )
    used = good.copy()
    if rule.robust_start:
        factors = _least_absolute(design, samples.image, weights, good)
    else:
        factors = _least_squares(design, samples.image, weights, used)
    for _ in range(rule.iterations if rule.rejection > 0 else 0):
        residual = samples.image - design @ factors
        candidates = good if rule.robust_start else used
        scaled = residual * (np.sqrt(weights) if rule.weighted else 1.0)
        q25, middle, q75 = np.percentile(scaled[used], [25, 50, 75])
        center = middle if rule.clip_about == "median" else 0.0
        limit = rule.rejection * _IQR_TO_SIGMA * (q75 - q25)
        used = candidates & (np.abs(scaled - center) <= limit)
        _check_kept(used, good, needed, samples, rule)
        factors = _least_squares(design, samples.image, weights, used)
    return _solution(samples, design, weights, good, used, rule)


def _usable(samples: ScaleSamples, rule: ScaleRule) -> NDArray[np.bool_]:
    """Return which samples have all values."""
    good = np.isfinite(samples.image) & np.isfinite(samples.sky).all(axis=1)
    good &= np.isfinite(samples.smooth).all(axis=1)
    if rule.weighted:
        good &= np.isfinite(samples.error) & (samples.error > 0)
    return good


def _check_kept(
    used: NDArray[np.bool_],
    good: NDArray[np.bool_],
    needed: int,
    samples: ScaleSamples,
    rule: ScaleRule,
) -> None:
    least = max(needed, math.ceil(rule.min_fraction * good.sum()))
    if used.sum() < least:
        raise AlgorithmError(
            f"of {int(good.sum())} samples {int(used.sum())} agree on a scale of the sky frame; "
            f"{least} must. The median of the image in them is "
            f"{np.median(samples.image[good]):.4g}.",
            hint="Fit a smooth background with the scale, or take one off first.",
        )


def _least_squares(
    design: Floats, values: Floats, weights: Floats, used: NDArray[np.bool_]
) -> Floats:
    """Return the weighted fit, of least norm where a column is zero or a sum of others."""
    kept = design[used]
    weighted = weights[used, None] * kept
    norm = np.sqrt(np.einsum("ij,ij->j", weighted, kept))
    norm = np.where(norm > 0, norm, 1.0)  # columns of different units get the same size
    normal = (weighted.T @ kept) / np.multiply.outer(norm, norm)
    right = (weighted.T @ values[used]) / norm
    return np.asarray(np.linalg.lstsq(normal, right, rcond=1e-13)[0] / norm)


def _least_absolute(
    design: Floats, values: Floats, weights: Floats, used: NDArray[np.bool_]
) -> Floats:
    """Return about the fit of least absolute deviations, by reweighted least squares."""
    factors = _least_squares(design, values, weights, used)
    for _ in range(_L1_ROUNDS):
        deviation = np.abs(values[used] - design[used] @ factors) * np.sqrt(weights[used])
        floor = max(1e-3 * float(np.median(deviation)), np.finfo(np.float64).tiny)
        again = weights.copy()
        again[used] /= np.maximum(deviation, floor)
        factors = _least_squares(design, values, again, used)
    return factors


def _solution(
    samples: ScaleSamples,
    design: Floats,
    weights: Floats,
    good: NDArray[np.bool_],
    used: NDArray[np.bool_],
    rule: ScaleRule,
) -> ScaleSolution:
    """Return the fit to the samples that are kept, with its errors."""
    n_patterns = samples.sky.shape[1]
    kept, w = design[used], weights[used]
    normal = kept.T @ (w[:, None] * kept)
    right = kept.T @ (w * samples.image[used])
    inverse = _inverse(normal)
    if rule.frame_noise:
        noise = _frame_noise(samples.sky_variance[used], w, float(inverse[0, 0]))
        normal[0, 0] -= noise
        inverse = _inverse(normal)
    factors = inverse @ right
    residual = np.where(good, samples.image - design @ factors, np.nan)
    freedom = max(int(used.sum()) - design.shape[1], 1)
    chi2 = float(np.sum(w * residual[used] ** 2)) / freedom
    inflation = max(chi2, 1.0) if rule.weighted else chi2
    return ScaleSolution(
        scale=factors[:n_patterns],
        covariance=inverse[:n_patterns, :n_patterns] * inflation,
        smooth=factors[n_patterns:],
        residual=residual,
        used=used,
        chi2=chi2,
    )


def _inverse(normal: Floats) -> Floats:
    """Return the inverse of a normal matrix, without what it does not determine."""
    norm = np.sqrt(np.maximum(np.diag(normal), 0.0))
    norm = np.where(norm > 0, norm, 1.0)
    size = np.multiply.outer(norm, norm)
    return np.asarray(np.linalg.pinv(normal / size, rcond=1e-13, hermitian=True) / size)


def _frame_noise(variance: Floats, weights: NDArray[np.floating], inverse: float) -> float:
    """Return what the noise of the first pattern adds to its weighted sum of squares."""
    noise = float(np.sum(weights * np.where(np.isfinite(variance), variance, 0.0)))
    information = 1 / inverse if inverse > 0 else 0.0
    return noise if noise < _MAX_NOISE_SHARE * information else 0.0


def solve_with_order(
    samples: ScaleSamples, orders: NDArray[np.integer], rule: ScaleRule
) -> tuple[ScaleSolution, int]:
    r"""Fit patterns with as many smooth terms as the samples call for.

    Parameters
    ----------
    samples : ScaleSamples
        With all the smooth terms that may be needed.
    orders : ndarray of int, shape (k,)
        Order of each smooth term; those of order 0 are always used.
    rule : ScaleRule
        How.

    Returns
    -------
    solution : ScaleSolution
        Fit with the terms up to the chosen order; the factors of the others are 0.
    order : int
        The order with the least Bayesian information criterion, :math:`\chi^2 / s + k \ln n`, over
        the samples kept by the fit of all terms, whose reduced :math:`\chi^2` is s; among those that
        leave enough of the pattern to measure its scale.

    Raises
    ------
    AlgorithmError
        As `solve_scales`.
    """
    highest = _highest_order(samples, orders, rule)
    full = _solved_up_to(highest, samples, orders, rule)
    if highest == 0:
        return full, 0
    used = full.used
    weights = 1 / samples.error**2 if rule.weighted else np.ones(len(used))
    scores: list[float] = []
    errors: list[float] = []
    for order in range(highest + 1):
        design = np.hstack([samples.sky, samples.smooth[:, orders <= order]])
        kept = design[used]
        errors.append(math.sqrt(_inverse(kept.T @ (weights[used, None] * kept))[0, 0]))
        if errors[-1] > rule.max_error_growth * errors[0]:
            break
        factors = _least_squares(design, samples.image, weights, used)
        squares = weights[used] * (samples.image - design @ factors)[used] ** 2
        penalty = design.shape[1] * math.log(used.sum())
        scores.append(float(np.sum(squares)) / max(full.chi2, 1e-30) + penalty)
    order = int(np.argmin(scores))
    return (full if order == highest else _solved_up_to(order, samples, orders, rule)), order


def _highest_order(samples: ScaleSamples, orders: NDArray[np.integer], rule: ScaleRule) -> int:
    """Return the highest order for which there are at least two samples for each factor."""
    number = int(_usable(samples, rule).sum())
    highest = int(orders.max(initial=0))
    while highest and 2 * (samples.sky.shape[1] + np.sum(orders <= highest)) > number:
        highest -= 1
    return highest


def _solved_up_to(
    order: int, samples: ScaleSamples, orders: NDArray[np.integer], rule: ScaleRule
) -> ScaleSolution:
    """Fit patterns and smooth terms up to an order; the factors of the others are 0."""
    chosen = orders <= order
    solution = solve_scales(replace(samples, smooth=samples.smooth[:, chosen]), rule)
    factors = np.zeros(len(orders))
    factors[chosen] = solution.smooth
    return replace(solution, smooth=factors)
