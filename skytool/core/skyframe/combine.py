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
_MAD_SQUARED_ERROR = 2.33  # standard error of the squared one, times the root of the number
_CHI2_POOL = 8.0
_FEW = 20
_ROUNDS = 3


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
    kept = good
    for _ in range(_ROUNDS):
        if statistic is Statistic.MEANCLIP:
            kept = _unrejected(values, variance, good, center, clip)
        excess = _excess(values, variance, kept)
        variance = variance * excess[:, None]
        if (excess == 1).all():
            break
    if statistic is Statistic.MEANCLIP:
        kept = _unrejected(values, variance, good, center, clip)
    weights = kept / variance
    total = weights.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weights * values).sum(axis=0) / total
        spread = (weights**2 * variance).sum(axis=0) / total**2
    if statistic is Statistic.MEDIAN:
        mean = np.where(count > 0, center, np.nan)
        spread = spread * np.where(count > 2, math.pi / 2, 1.0)
    chi2 = _chi2(values, variance, weights, good, mean)
    pooled = (np.nan_to_num(chi2, nan=1.0) * count + _CHI2_POOL) / (count + _CHI2_POOL)
    return Combined(
        value=mean,
        variance=spread * np.maximum(pooled, 1.0),
        count=count,
        kept=kept.sum(axis=0).astype(np.float64),
        chi2=chi2,
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
    some = count > 0
    return 0.5 * (np.where(some, low, 0.0) + np.where(some, high, 0.0))


def lower_middle(values: NDArray[np.floating], fraction: float) -> Floats:
    """Return what most values would be without those that are too high.

    The light of objects only adds to the sky. A quantile below the median stays clear of it even
    where more than half of the exposures have an object; that it lies low is made good by a shift
    that is the same for all columns.

    Parameters
    ----------
    values : ndarray of float, shape (m, n)
        Values of m exposures; NaN where there is none.
    fraction : float
        The quantile, below 0.5.

    Returns
    -------
    lower : ndarray of float64, shape (n,)
        NaN where no exposure has a value.
    """
    good = np.isfinite(values)
    count = good.sum(axis=0)
    ordered = np.sort(np.where(good, values, np.inf), axis=0)
    place = np.maximum(fraction * (count - 1), 0.0)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    low, high = (
        np.take_along_axis(ordered, index[None], axis=0)[0].astype(np.float64)
        for index in (below, above)
    )
    some = count > 0
    low, high = np.where(some, low, 0.0), np.where(some, high, 0.0)
    lower = low + (place - below) * (high - low)
    if not some.any():
        return np.full(len(lower), np.nan)
    shift = np.median((masked_median(values, good) - lower)[some])
    return np.where(some, lower + shift, np.nan)


def _from_others(
    values: Floats, variance: Floats, kept: NDArray[np.bool_]
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return differences from the mean of the other kept values, their variance, and where there are any."""
    weights = kept / variance
    total = weights.sum(axis=0)
    rest = total - weights
    some = rest > 1e-9 * np.maximum(total, 1 / variance)  # what is left by rounding is no weight
    sums = (weights * values).sum(axis=0) - weights * values
    others = np.divide(sums, rest, out=values.copy(), where=some)
    return (
        values - others,
        variance + np.divide(1.0, rest, out=np.zeros_like(rest), where=some),
        some,
    )


def _excess(values: Floats, variance: Floats, kept: NDArray[np.bool_]) -> Floats:
    """Return by what factor each exposure's scatter exceeds its variance: 1 unless significantly."""
    difference, expected, some = _from_others(values, variance, kept)
    factors = np.ones(len(values))
    for i, used in enumerate(kept & some):
        if used.sum() >= _FEW:
            ratio = np.abs(difference[i, used]) / np.sqrt(expected[i, used])
            factor = (_MAD_TO_SIGMA * float(np.median(ratio))) ** 2
            noise = _MAD_SQUARED_ERROR / math.sqrt(used.sum())
            factors[i] = factor if factor > 1 + 3 * noise else 1.0
    return factors


def _unrejected(
    values: Floats,
    variance: Floats,
    good: NDArray[np.bool_],
    center: Floats,
    clip: Clip,
) -> NDArray[np.bool_]:
    """Return which values agree with the others."""
    count = good.sum(axis=0)
    mean_variance = np.sum(np.where(good, variance, 0), axis=0) / np.maximum(count, 1) ** 2
    allowed = clip.sigma**2 * (variance + 0.5 * math.pi * mean_variance)
    kept = good & ((values - center) ** 2 <= allowed)
    for _ in range(clip.iterations):
        difference, expected, some = _from_others(values, variance, kept)
        agrees = difference**2 <= clip.sigma**2 * expected
        again = good & np.where(some, agrees, kept)
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
