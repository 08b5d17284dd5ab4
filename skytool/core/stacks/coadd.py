"""Images of the same sky on one grid combined to one image, with its variance and mask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ClipScale = Literal["noise", "scatter"]
Statistic = Literal["mean", "meanclip", "median"]

_TABULATED = 64  # numbers of values for which the variance of a median is integrated
_HALF_PI = math.pi / 2.0
_SECOND_TERM = 4.5  # of the expansion for even numbers, from integrals for 66 to 128


@dataclass(frozen=True)
class Clipping:
    """How outliers among the values of a pixel are found.

    Parameters
    ----------
    sigma : float
        Largest deviation of what is kept, in units of the scale.
    iterations : int
        Largest number of passes; each tests all values.
    scale : {"noise", "scatter"}
        ``noise``: the deviation from the median, compared with the standard deviation of the value
        itself or, if that is larger, with the scatter of all values, plus a share of the median.
        ``scatter``: the deviation from the median, then from the mean, compared with the scatter
        alone, as `skytool.core.statistics.stack_statistics` does.
    amplitude, steepness : float
        With the scale ``noise``, the shares of the median, and of its change to the pixels around,
        by which values may deviate beyond: stars differ in their middle and in their wings when
        the seeing does.
    grow_sigma : float
        With the scale ``noise``, the limit instead of `sigma` for the pixels around an outlier.
    """

    sigma: float = 4.0
    iterations: int = 3
    scale: ClipScale = "noise"
    amplitude: float = 0.3
    steepness: float = 1.2
    grow_sigma: float = 2.0


@dataclass(frozen=True)
class CoaddBits:
    """Mask bits that a combination reads and sets.

    Parameters
    ----------
    no_data, bad, edge : int
        Bits of pixels without a value, of those to leave out, and near the edge of a detector.
    clipped, rejected, sensor_edge, inexact_psf, suspect : int
        Bits to set: an input was clipped; one was left out for its mask; one ends here; any of
        these; the inputs disagree, and none could be told to be wrong.
    propagated : tuple of int
        Bits of inputs left out that are set if they have a part of the weight of all.
    """

    no_data: int
    bad: int
    edge: int
    clipped: int
    rejected: int
    sensor_edge: int
    inexact_psf: int
    suspect: int
    propagated: tuple[int, ...] = ()

    def array(self) -> NDArray[np.int32]:
        """Return the bits as the compiled loop takes them, first those that are passed on."""
        own = self.no_data | self.edge | self.rejected | self.sensor_edge
        named = (
            *(self.no_data, self.bad, self.edge, self.clipped, self.rejected),
            *(self.sensor_edge, self.inexact_psf, self.suspect),
        )
        return np.array([~own & 0x7FFFFFFF, *named], np.int32)


@dataclass(frozen=True, eq=False)
class CoaddPlanes:
    """Planes of a coadd, or some of its rows.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
        Values; NaN where there is none.
    variance : ndarray of float32, shape (ny, nx)
        Variance; +inf where there is no value.
    mask : ndarray of int32, shape (ny, nx)
        Bits of the inputs used, and those of the combination.
    count : ndarray of int16, shape (ny, nx)
        Number of inputs used.
    """

    image: NDArray[np.float32]
    variance: NDArray[np.float32]
    mask: NDArray[np.int32]
    count: NDArray[np.int16]

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> CoaddPlanes:
        """Return planes to be filled."""
        return cls(
            np.empty(shape, np.float32),
            np.empty(shape, np.float32),
            np.empty(shape, np.int32),
            np.empty(shape, np.int16),
        )

    def rows(self, start: int, stop: int) -> CoaddPlanes:
        """Return some rows, which share the memory."""
        part = slice(start, stop)
        return CoaddPlanes(self.image[part], self.variance[part], self.mask[part], self.count[part])


@dataclass(frozen=True, eq=False)
class Tally:
    """Pixels of each input, shape ``(n,)``, counted over all rows combined.

    Parameters
    ----------
    used, clipped : ndarray of int64
        Pixels that entered, and that were clipped.
    """

    used: NDArray[np.int64]
    clipped: NDArray[np.int64]

    @classmethod
    def zero(cls, n: int) -> Tally:
        """Return counts of nothing for a number of inputs."""
        return cls(np.zeros(n, np.int64), np.zeros(n, np.int64))


def coadd(
    images: NDArray[np.float32],
    variances: NDArray[np.float32],
    masks: NDArray[np.int32],
    *,
    weights: NDArray[np.float64] | None,
    bits: CoaddBits,
    out: CoaddPlanes,
    tally: Tally,
    rows: slice,
    statistic: Statistic = "meanclip",
    clipping: Clipping | None = None,
    propagate_from: float = 0.1,
) -> None:
    r"""Combine images pixel by pixel.

    Parameters
    ----------
    images, variances : ndarray of float32, shape (n, ny, nx)
        Values in one unit, and their variances. A value that is not finite, or whose variance is
        not positive and finite, is none.
    masks : ndarray of int32, shape (n, ny, nx)
        Bits of the values.
    weights : ndarray of float64, shape (n,), or None
        Positive weights of the images; None weights each value by its inverse variance.
    bits : CoaddBits
        Meaning of the bits.
    out : CoaddPlanes
        Planes to fill, of the shape of the rows to combine.
    tally : Tally
        Counts to add to.
    rows : slice
        Rows of the images to combine. Two rows more on either side, where there are any, serve to
        find where an input ends, and outliers.
    statistic : {"mean", "meanclip", "median"}
        Weighted mean, weighted mean after clipping, or median, which has no weights.
    clipping : Clipping, optional
        How outliers are found.
    propagate_from : float
        Part of the weight of all inputs from which the bits of those left out are passed on.

    Notes
    -----
    The variance of a mean is :math:`\sum w^2 \sigma^2 / (\sum w)^2`, exact for independent noise;
    clipping at few standard deviations adds some per cent to the true one. The variance of a
    median of n values is :math:`c_n n / (\sum 1 / \sigma)^2`: :math:`c_n` from `median_variance`
    is exact for equal noise. Clipping by noise and amplitude follows Gruen, Seitz & Bernstein
    (2014, PASP 126, 158), that by the slope and the lower limit around outliers Fruchter & Hook
    (2002, PASP 114, 144). It needs three values to tell which is wrong; where it would leave less
    than half of them, all are used.
    """
    from skytool.core.stacks.coadd_loops import combine_rows, find_values

    has, good = np.empty((2, *images.shape), np.bool_)
    find_values(images, variances, masks, bits.no_data, bits.bad, has, good)
    shared = np.zeros(1) if weights is None else np.ascontiguousarray(weights, np.float64)
    outlier = np.zeros(images.shape, np.bool_)
    undecided = np.zeros(images.shape[1:], np.bool_)
    if statistic == "meanclip":
        outlier = _outliers(
            images, variances, good, shared, rows, clipping or Clipping(), outlier, undecided
        )
    n = len(images)
    factors = [median_variance(m) for m in range(n + 1)] if statistic == "median" else []
    combine_rows(
        images,
        variances,
        masks,
        shared,
        has,
        good,
        outlier,
        undecided,
        (rows.start, rows.stop),
        np.array(factors),
        bits.array(),
        np.array(bits.propagated, np.int32),
        float(propagate_from),
        out.image,
        out.variance,
        out.mask,
        out.count,
        tally.used,
        tally.clipped,
    )


def _outliers(
    images: NDArray[np.float32],
    variances: NDArray[np.float32],
    good: NDArray[np.bool_],
    weights: NDArray[np.float64],
    rows: slice,
    clipping: Clipping,
    outlier: NDArray[np.bool_],
    undecided: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return which values are outliers, after filling the arrays given."""
    from skytool.core.stacks.outlier_loops import (
        grow_outliers,
        outliers_by_noise,
        outliers_by_scatter,
    )

    limits = clipping.sigma, clipping.iterations, clipping.amplitude, clipping.steepness
    limits = float(limits[0]), int(limits[1]), float(limits[2]), float(limits[3])
    around = max(rows.start - 1, 0), min(rows.stop + 1, images.shape[1])
    if clipping.scale == "scatter":
        outliers_by_scatter(images, variances, good, weights, around, limits, outlier, undecided)
        return outlier
    outliers_by_noise(images, variances, good, around, limits, outlier, undecided)
    if clipping.grow_sigma >= clipping.sigma:
        return outlier
    grown = outlier.copy()
    lower = float(clipping.grow_sigma), *limits[1:]
    grow_outliers(images, variances, good, (rows.start, rows.stop), lower, outlier, grown)
    return grown


@cache
def median_variance(n: int) -> float:
    r"""Return n times the variance of the median of n normal values of unit variance.

    For an even number the median is the mean of the two in the middle. The limit is
    :math:`\pi / 2`; up to 64 values the distribution of the order statistics is integrated, beyond
    that the first terms of an expansion in 1 / n are used, right to 1e-4.

    Raises
    ------
    ValueError
        If n is negative.
    """
    if n < 0:
        raise ValueError("a median of less than no values")
    if n <= 2:
        return 1.0
    if n > _TABULATED:
        if n % 2:
            return _HALF_PI * (1.0 - (2.0 - _HALF_PI) / n)
        return _HALF_PI * (1.0 - (3.0 - _HALF_PI) / n) + _SECOND_TERM / n**2
    return n * (_odd_variance(n) if n % 2 else _even_variance(n))


@cache
def _lattice() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return abscissae, and density and distribution of the normal law there."""
    t = np.linspace(-8.0, 8.0, 16001)  # much finer than the distance of neighbours in a sample
    density = np.exp(-0.5 * t**2) / math.sqrt(2.0 * math.pi)
    below = np.array([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in t.tolist()])
    return t, density, below


def _odd_variance(n: int) -> float:
    """Return the variance of the middle one of an odd number of normal values."""
    t, density, below = _lattice()
    half = n // 2
    scale = math.exp(math.lgamma(n + 1.0) - 2.0 * math.lgamma(half + 1.0))
    return float(np.sum(t**2 * scale * (below * (1.0 - below)) ** half * density) * (t[1] - t[0]))


def _even_variance(n: int) -> float:
    """Return the variance of the mean of the middle two of an even number of normal values."""
    t, density, below = _lattice()
    half = n // 2
    step = t[1] - t[0]
    scale = math.exp(math.lgamma(n + 1.0) - 2.0 * math.lgamma(float(half)))
    low = below ** (half - 1) * density
    high = (1.0 - below) ** (half - 1) * density
    # sum over a < b of (a + b)^2 / 4, from sums over all b above each a; the diagonal counts half
    tails = [np.cumsum((high * t**k)[::-1])[::-1] - 0.5 * high * t**k for k in range(3)]
    inner = t**2 * tails[0] + 2.0 * t * tails[1] + tails[2]
    return float(scale * 0.25 * np.sum(low * inner) * step**2)
