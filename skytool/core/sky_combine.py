"""Combination of the same cells of several exposures, with the errors known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.statistics import Clip, Statistic, stack_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MAD_TO_SIGMA = 1.482602218505602  # 1 / (sqrt(2) erfinv(1/2)), for a normal distribution
_FEW = 20


@dataclass(frozen=True, eq=False)
class Combined:
    """Values of exposures combined cell by cell; arrays of float64, shape ``(n,)``.

    Parameters
    ----------
    value : ndarray
        The combined value; NaN where no exposure has one.
    variance : ndarray
        Variance of the value; NaN where it is undefined.
    count : ndarray
        Exposures with a value.
    kept : ndarray
        Exposures whose value was used.
    chi2 : ndarray
        Mean square of the deviations of all values from the combined one, each in units of its
        own error and corrected for its share in the combined value; NaN for less than two values.
    weights : ndarray, shape ``(m, n)``
        Weight of each value; 0 where it was not used.
    """

    value: Floats
    variance: Floats
    count: Floats
    kept: Floats
    chi2: Floats
    weights: Floats


def combine_by_errors(
    values: Floats,
    errors: Floats,
    *,
    clip: Clip | None = None,
    statistic: Statistic = Statistic.MEANCLIP,
) -> Combined:
    r"""Combine values by their errors, without those that contradict the others.

    Parameters
    ----------
    values : ndarray of float64, shape (m, n)
        Values of m exposures; NaN where there is none.
    errors : ndarray of float64, shape (m, n)
        Their standard errors; values without a positive error are left out.
    clip : Clip, optional
        Limit and number of passes of the rejection; 3 sigma and 3 passes if not given.
    statistic : Statistic
        Clipped mean, mean or median.

    Notes
    -----
    A value :math:`x_i` is rejected if it differs from the mean of the other values that are kept
    by more than the limit times the error of the difference. Rejection starts from the median, so
    that of three values one can be rejected: the errors, not the scatter of a few values, say what
    is too far. Where the residuals of an exposure scatter by more than its errors, all its errors
    are raised by the same factor, found by the median of the absolute residuals.
    """
    clip = clip or Clip()
    good = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    values = np.where(good, values, 0.0)
    variance = np.where(good, errors, 1.0) ** 2
    count = good.sum(axis=0).astype(np.float64)
    center = masked_median(values, good)
    variance = variance * _excess(values - center, variance, good, count)[:, None]
    weights = good / variance
    if statistic is Statistic.MEDIAN:
        kept = good
    else:
        kept = _unrejected(values, weights, variance, good, center, clip, statistic)
    weights = weights * kept
    total = weights.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weights * values).sum(axis=0) / total
        spread = (weights**2 * variance).sum(axis=0) / total**2
    if statistic is Statistic.MEDIAN:
        mean = np.where(count > 0, center, np.nan)
        spread = spread * np.where(count > 2, math.pi / 2, 1.0)
    return Combined(
        value=mean,
        variance=spread,
        count=count,
        kept=kept.sum(axis=0).astype(np.float64),
        chi2=_chi2(values, variance, weights, good, mean),
        weights=weights,
    )


def combine_by_scatter(
    values: Floats, *, clip: Clip | None = None, statistic: Statistic = Statistic.MEANCLIP
) -> Combined:
    """Combine values without weights, by their scatter alone.

    Parameters
    ----------
    values : ndarray of float64, shape (m, n)
        Values of m exposures; NaN where there is none.
    clip : Clip, optional
        Clipping of the clipped mean; 3 sigma and 3 passes if not given.
    statistic : Statistic
        Clipped mean, mean or median.

    Notes
    -----
    Less than four values cannot reject one of them. The variance is that of the kept values over
    their number: undefined for a single one.
    """
    stack = stack_statistics(values[:, None, :], statistic=statistic, clip=clip)
    value, error, low, high = (
        plane[0] for plane in (stack.value, stack.error, stack.low, stack.high)
    )
    kept = np.isfinite(values) & (values >= low) & (values <= high)
    return Combined(
        value=value,
        variance=error**2,
        count=stack.count[0],
        kept=stack.kept[0],
        chi2=np.full_like(value, np.nan),
        weights=kept.astype(np.float64),
    )


def leave_one_out(values: Floats, combined: Combined) -> tuple[Floats, Floats]:
    """Return what the other exposures give for each cell, and their weight.

    Parameters
    ----------
    values : ndarray of float64, shape (m, n)
        Values that were combined.
    combined : Combined
        Result for them.

    Returns
    -------
    others : ndarray of float64, shape (m, n)
        Weighted mean of the used values of all exposures but one; NaN without any.
    weights : ndarray of float64, shape (m, n)
        Sum of their weights.
    """
    own = combined.weights
    weights = own.sum(axis=0) - own
    finite = np.where(own > 0, values, 0.0)
    sums = (own * finite).sum(axis=0) - own * finite
    some = weights > 1e-9 * own.sum(axis=0)  # what is left by rounding is no weight
    return np.divide(sums, weights, out=np.full_like(sums, np.nan), where=some), weights * some


def masked_median(values: NDArray[np.floating], good: NDArray[np.bool_]) -> Floats:
    """Return the median of the good values of each column, shape ``(n,)``; 0 without any."""
    ordered = np.sort(np.where(good, values, np.inf), axis=0)
    count = good.sum(axis=0)
    last = np.maximum(count - 1, 0)
    low, high = (
        np.take_along_axis(ordered, index[None], axis=0)[0] for index in (last // 2, -(-last // 2))
    )
    return np.where(
        count > 0, 0.5 * (np.where(count > 0, low, 0) + np.where(count > 0, high, 0)), 0
    )


def _excess(residuals: Floats, variance: Floats, good: NDArray[np.bool_], count: Floats) -> Floats:
    """Return by what factor each exposure's residuals exceed their variance; at least 1."""
    share = 1 - 1 / np.maximum(count, 2)  # residuals from a mean of n values scatter by less
    factors = np.ones(len(residuals))
    for i, (residual, expected, used) in enumerate(zip(residuals, variance, good, strict=True)):
        shared = used & (count > 1)
        if shared.sum() >= _FEW:
            ratio = np.abs(residual[shared]) / np.sqrt(expected[shared] * share[shared])
            factors[i] = max((_MAD_TO_SIGMA * float(np.median(ratio))) ** 2, 1.0)
    return factors


def _unrejected(
    values: Floats,
    weights: Floats,
    variance: Floats,
    good: NDArray[np.bool_],
    center: Floats,
    clip: Clip,
    statistic: Statistic,
) -> NDArray[np.bool_]:
    """Return which values agree with the others."""
    if statistic is Statistic.MEAN:
        return good
    count = good.sum(axis=0)
    median_variance = np.sum(np.where(good, variance, 0), axis=0) / np.maximum(count, 1) ** 2
    allowed = clip.sigma**2 * (variance + 0.5 * math.pi * median_variance)
    kept = good & ((values - center) ** 2 <= allowed)
    for _ in range(clip.iterations):
        used = weights * kept
        rest = used.sum(axis=0) - used
        with np.errstate(invalid="ignore", divide="ignore"):
            others = ((used * values).sum(axis=0) - used * values) / rest
            noise = ((used**2 * variance).sum(axis=0) - used**2 * variance) / rest**2
        alone = ~(rest > 1e-9 * np.maximum(used.sum(axis=0), used))
        difference = np.where(alone, 0.0, values - others)
        noise = np.where(alone, 0.0, noise)
        again = good & (difference**2 <= clip.sigma**2 * (variance + np.maximum(noise, 0.0)))
        again &= ~alone | kept
        if np.array_equal(again, kept):
            break
        kept = again
    # Where all values contradict each other none is the right one to drop; chi-square tells.
    return np.where(kept.any(axis=0), kept, good)


def _chi2(
    values: Floats, variance: Floats, weights: Floats, good: NDArray[np.bool_], mean: Floats
) -> Floats:
    """Return the mean square of the normalised deviations of the values of each cell."""
    total = weights.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        own = weights / total
        spread = (own**2 * variance).sum(axis=0)
        expected = variance * (1 - 2 * own) + spread
        squares = np.where(good & (expected > 0), (values - mean) ** 2 / expected, 0.0)
    number = good.sum(axis=0)
    return np.where(number > 1, squares.sum(axis=0) / np.maximum(number, 1), np.nan)
