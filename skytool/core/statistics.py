"""Statistics of samples of pixels and of stacks of images, with their errors.

The clipped mean follows a fixed recipe rather than a convergence test: the first pass keeps what
lies within `sigma` robust standard deviations of the median, every further pass what lies within
`sigma` standard deviations of the mean of the pass before, *out of all good pixels*, so that a
pixel rejected by a bad first guess can come back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

IQR_TO_SIGMA = 0.741301109252802  # 1 / (2 sqrt(2) erfinv(1/2)), for a normal distribution


class Statistic(StrEnum):
    """How a sample becomes one value."""

    MEAN = "mean"
    MEDIAN = "median"
    MEANCLIP = "meanclip"
    MODE = "mode"
    BIWEIGHT = "biweight"

    @classmethod
    def _missing_(cls, value: object) -> Statistic | None:
        return next((s for s in cls if s.value == str(value).lower()), None)


@dataclass(frozen=True)
class Clip:
    """How outliers are rejected.

    Parameters
    ----------
    sigma : float
        Half-width of what is kept, in standard deviations.
    iterations : int
        Number of passes.

    Raises
    ------
    ValueError
        If either is not positive.
    """

    sigma: float = 3.0
    iterations: int = 3

    def __post_init__(self) -> None:
        if not (self.sigma > 0 and self.iterations > 0):
            raise ValueError(f"clipping needs positive numbers, not {self}")


@dataclass(frozen=True)
class SampleStatistics:
    """Statistics of one sample, in the unit of its values; NaN where a value is undefined.

    Parameters
    ----------
    count : int
        Number of good values, before clipping.
    mean, variance : float
        Of all good values; the variance has ``count - 1`` in the denominator.
    median, q25, q75 : float
        Quantiles by linear interpolation between the sorted values.
    clip_mean, clip_variance : float
        Mean and variance of the values that clipping kept.
    clip_count : int
        Number of values that clipping kept.
    clip_low, clip_high : float
        Limits of the last pass; values on a limit are kept.
    """

    count: int
    mean: float
    variance: float
    median: float
    q25: float
    q75: float
    clip_mean: float
    clip_variance: float
    clip_count: int
    clip_low: float
    clip_high: float

    @property
    def iqr(self) -> float:
        """Distance of the quartiles."""
        return self.q75 - self.q25

    @property
    def robust_std(self) -> float:
        """Standard deviation of the normal distribution with this distance of the quartiles."""
        return IQR_TO_SIGMA * self.iqr

    @property
    def std(self) -> float:
        """Standard deviation of all good values."""
        return math.sqrt(self.variance)

    @property
    def clip_std(self) -> float:
        """Standard deviation of the kept values: 1.3 % low for a normal sample clipped at 3."""
        return math.sqrt(self.clip_variance)

    @property
    def mean_square(self) -> float:
        """Mean of the squares of all good values."""
        return (self.count - 1) / self.count * self.variance + self.mean**2

    @property
    def mean_error(self) -> float:
        """Standard error of the mean."""
        return math.sqrt(self.variance / self.count)

    @property
    def median_error(self) -> float:
        """Standard error of the median of a normal sample."""
        return math.sqrt(math.pi / 2 * self.variance / self.count)

    @property
    def clip_mean_error(self) -> float:
        """Standard error of the clipped mean."""
        return math.sqrt(self.clip_variance / self.clip_count)

    @property
    def std_error(self) -> float:
        """Standard error of the standard deviation of a normal sample."""
        return self.std / math.sqrt(2 * (self.count - 1))


def sample_statistics(
    values: ArrayLike, bad: ArrayLike | None = None, *, clip: Clip | None = None
) -> SampleStatistics:
    """Return the statistics of all finite values that are not bad.

    Parameters
    ----------
    values : array_like of float, any shape
        The sample.
    bad : array_like of bool, same shape, optional
        Values to leave out.
    clip : Clip, optional
        Clipping of the clipped mean; 3 sigma and 3 passes if not given.

    Returns
    -------
    statistics : SampleStatistics
        All NaN, with counts of zero, if no value is good.

    Raises
    ------
    ValueError
        If there are no values at all, or `bad` has another shape.

    Examples
    --------
    >>> sample_statistics([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100]).clip_mean
    5.5
    """
    from skytool.core import sample_kernels as kernels

    sample = native_float(values).ravel()
    if sample.size == 0:
        raise ValueError("no values to describe")
    flags = flags_of(bad, np.shape(values)).ravel()
    clip = clip or Clip()
    row = np.empty(kernels.N_FIELDS)
    kernels.describe_sample(sample, flags, kernels.CLIPPED, clip.sigma, clip.iterations, row)
    return SampleStatistics(
        count=int(row[kernels.COUNT]),
        mean=float(row[kernels.MEAN]),
        variance=float(row[kernels.VARIANCE]),
        median=float(row[kernels.MEDIAN]),
        q25=float(row[kernels.Q25]),
        q75=float(row[kernels.Q75]),
        clip_mean=float(row[kernels.CLIP_MEAN]),
        clip_variance=float(row[kernels.CLIP_VARIANCE]),
        clip_count=int(row[kernels.CLIP_COUNT]),
        clip_low=float(row[kernels.LOW]),
        clip_high=float(row[kernels.HIGH]),
    )


@dataclass(frozen=True, eq=False)
class StackStatistics:
    """A stack of images combined pixel by pixel; arrays of float64, shape ``(ny, nx)``.

    Parameters
    ----------
    value : ndarray
        The combined value; NaN where no value is good.
    error : ndarray
        Its standard error from the scatter of the values used; NaN for a single value.
    propagated : ndarray
        Its variance from the variances of the values used; NaN if none were given.
    count, kept : ndarray
        Number of good values, and of those used after clipping.
    low, high : ndarray
        Limits of the values used: ``low <= stack <= high`` tells which they are.
    """

    value: NDArray[np.float64]
    error: NDArray[np.float64]
    propagated: NDArray[np.float64]
    count: NDArray[np.float64]
    kept: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def stack_statistics(
    stack: ArrayLike,
    bad: ArrayLike | None = None,
    *,
    statistic: Statistic = Statistic.MEANCLIP,
    weights: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    clip: Clip | None = None,
) -> StackStatistics:
    r"""Combine images pixel by pixel.

    Parameters
    ----------
    stack : array_like of float, shape (n, ny, nx)
        Images; values that are not finite are left out.
    bad : array_like of bool, shape (n, ny, nx), optional
        Values to leave out.
    statistic : Statistic
        Mean, median or clipped mean.
    weights : array_like of float, shape (n,) or (n, ny, nx), optional
        Weights of means; values without a positive weight are left out. A median ignores them.
    variance : array_like of float, shape (n, ny, nx), optional
        Variances to propagate.
    clip : Clip, optional
        Clipping of the clipped mean; 3 sigma and 3 passes if not given.

    Returns
    -------
    combined : StackStatistics
        Value, errors and limits of each pixel.

    Raises
    ------
    ValueError
        If shapes disagree or the statistic cannot combine a stack.

    Notes
    -----
    With weights :math:`w`, :math:`W = \sum w` and :math:`W_2 = \sum w^2` of the values used, the
    mean is :math:`\sum w x / W`, the unbiased variance of a value of unit weight
    :math:`v = \sum w (x - \bar x)^2\, W / (W^2 - W_2)`, and the squared error
    :math:`v W_2 / W^2`; equal weights give the usual formulae. Clipping starts from the unweighted
    median and quartiles. The propagated variance is :math:`\sum w^2 \sigma^2 / W^2`; that of a
    median is the one of the mean times :math:`\pi / 2`. At most two of three values agree by
    chance within any limits, so clipping needs at least four to reject one.
    """
    from skytool.core import pixel_kernels as kernels
    from skytool.core import sample_kernels as fields

    images = native_float(stack)
    if images.ndim != 3:
        raise ValueError(f"a stack has shape (n, ny, nx), not {images.shape}")
    levels = {
        Statistic.MEAN: kernels.MEAN_LEVEL,
        Statistic.MEDIAN: kernels.MEDIAN_LEVEL,
        Statistic.MEANCLIP: kernels.CLIP_LEVEL,
    }
    if statistic not in levels:
        raise ValueError(f"a stack is not combined by {statistic}")
    clip = clip or Clip()
    is_median = statistic is Statistic.MEDIAN
    columns = [
        fields.MEDIAN if is_median else fields.CLIP_MEAN,
        kernels.SCATTER,
        kernels.KEPT_WEIGHT,
        kernels.KEPT_WEIGHT_SQUARED,
        kernels.PROPAGATED,
        fields.CLIP_COUNT,
        fields.LOW,
        fields.HIGH,
    ]
    out = np.empty((len(columns) + 1, *images.shape[1:]))
    kernels.combine_stack(
        images,
        flags_of(bad, images.shape),
        _stack_weights(None if is_median else weights, images),
        _stack_variance(variance, images),
        levels[statistic],
        clip.sigma,
        clip.iterations,
        np.array(columns),
        out,
    )
    value, scatter, weight_sum, weight_squares, propagated, kept, low, high, count = out
    factor = math.pi / 2 if is_median else 1.0
    with np.errstate(invalid="ignore"):  # NaN where no value is good
        error = np.sqrt(factor * scatter * weight_squares) / weight_sum
    return StackStatistics(value, error, factor * propagated, count, kept, low, high)


def noise_correlation(
    image: ArrayLike, bad: ArrayLike | None = None, *, max_lag: int = 4, max_pixels: int = 2**20
) -> float:
    r"""Return how much correlation raises the variance of an average of many pixels.

    Resampling makes neighbouring pixels share noise. The error of an average over a box much
    larger than the correlation length is the error for independent pixels times the square root
    of the returned factor, 1 for white noise.

    Parameters
    ----------
    image : array_like of float, shape (ny, nx)
        Noise: an image less everything that is not noise; finite values only are used.
    bad : array_like of bool, shape (ny, nx), optional
        Pixels to leave out.
    max_lag : int
        Largest distance along an axis at which pixels may be correlated [pixel].
    max_pixels : int
        About how many pixels to use at most; whole rows, evenly spaced, are taken.

    Returns
    -------
    factor : float
        Sum of the correlation coefficients over all lags, not below zero; NaN without data.

    Notes
    -----
    The coefficients are :math:`\rho_{ij} = \overline{x_{yx} x_{y+i,x+j}} / \overline{x^2}` over
    the pairs of good pixels, after subtraction of the mean. The factor's standard error is about
    :math:`(2 L + 1) / \sqrt{N}` for :math:`N` pixels and largest lag :math:`L`.
    """
    from skytool.core import pixel_kernels as kernels

    noise = native_float(image)
    flags = flags_of(bad, noise.shape) | ~np.isfinite(noise)
    if flags.all():
        return math.nan
    centered = np.where(flags, 0, noise - noise[~flags].mean(dtype=np.float64))
    step = max(1, -(-noise.size // max_pixels))
    rows = np.arange(0, noise.shape[0], step)
    sums = np.zeros((2, max_lag + 1, 2 * max_lag + 1))
    kernels.lagged_products(centered, flags, rows, max_lag, sums)
    covariance = np.divide(sums[0], sums[1], out=np.zeros_like(sums[0]), where=sums[1] > 0)
    at_zero = covariance[0, max_lag]
    if not at_zero > 0:
        return math.nan
    return float(max(2 * covariance.sum() / at_zero - 1, 0.0))


def native_float(values: ArrayLike) -> NDArray[Any]:
    """Return contiguous float32 or float64 values in the byte order of this machine."""
    array = np.asarray(values)
    dtype = np.float32 if array.dtype.kind == "f" and array.dtype.itemsize == 4 else np.float64
    return np.ascontiguousarray(array, dtype)


def _stack_weights(weights: ArrayLike | None, images: NDArray[Any]) -> NDArray[Any]:
    """Return weights of shape ``(n, ny, nx)`` or ``(n, 1, 1)`` and of the dtype of the images."""
    if weights is None:
        return np.ones((len(images), 1, 1), images.dtype)
    array = np.ascontiguousarray(weights, images.dtype)
    if array.shape == images.shape:
        return array
    if array.shape != images.shape[:1]:
        raise ValueError(f"weights of shape {array.shape} for a stack of shape {images.shape}")
    return array[:, None, None]


def _stack_variance(variance: ArrayLike | None, images: NDArray[Any]) -> NDArray[Any]:
    """Return variances of the shape and dtype of the images, or one NaN."""
    if variance is None:
        return np.full((1, 1, 1), np.nan, images.dtype)
    array = np.ascontiguousarray(variance, images.dtype)
    if array.shape != images.shape:
        raise ValueError(f"variances of shape {array.shape} for a stack of shape {images.shape}")
    return array


def flags_of(bad: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return flags of a shape: those given, or none set."""
    if bad is None:
        return np.zeros(shape, bool)
    flags = np.ascontiguousarray(bad, bool)
    if flags.shape != shape:
        raise ValueError(f"flags of shape {flags.shape} for values of shape {shape}")
    return flags
