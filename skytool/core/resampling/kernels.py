"""One-dimensional resampling kernels and their tables of weights.

A kernel gives the weights of the source pixels around a position ``u``: with
``f = u - floor(u)`` the tap at offset `t` from ``floor(u)`` has the weight ``K(t - f)``. Kernels
in two dimensions are products of two of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

PHASES = 4096
"""Intervals of a table. Linear interpolation between them is exact to h^2 K''/8 = 3e-8."""

_LANCZOS_ORDERS = {"lanczos3": 3, "lanczos4": 4, "lanczos5": 5}
_SPLINE_POLE = np.sqrt(3.0) - 2.0
_SPLINE_REACH = 6

KERNEL_NAMES = ("lanczos3", "lanczos4", "lanczos5", "spline3", "bilinear", "nearest")
"""Names that `resampling_kernel` knows."""


def lanczos(x: ArrayLike, order: int) -> NDArray[np.float64]:
    """Return the Lanczos kernel ``sinc(x) sinc(x / order)``, not normalised, zero beyond `order`.

    At non-zero whole numbers the result is exactly zero, so that a shift by whole pixels has a
    single tap.
    """
    distance = np.abs(np.asarray(x, dtype=np.float64))
    value = np.sinc(distance) * np.sinc(distance / order)
    zero = (distance >= order) | ((distance > 0) & (distance == np.rint(distance)))
    return np.where(zero, 0.0, value)


def cubic_b_spline(x: ArrayLike) -> NDArray[np.float64]:
    """Return the cubic B-spline, a smooth bump with the support ``|x| < 2``."""
    distance = np.abs(np.asarray(x, dtype=np.float64))
    inner = 2.0 / 3.0 - distance**2 * (1.0 - distance / 2.0)
    outer = np.maximum(2.0 - distance, 0.0) ** 3 / 6.0
    return np.where(distance < 1.0, inner, outer)


def cardinal_spline(x: ArrayLike) -> NDArray[np.float64]:
    """Return the cubic spline that is 1 at zero and 0 at all other whole numbers.

    Cubic spline interpolation of samples is the convolution with this function, which alternates
    in sign and falls by a factor ``2 - sqrt(3)`` a pixel without end (Unser, Aldroubi & Eden 1993,
    IEEE Trans. Signal Process. 41, 821).
    """
    position = np.asarray(x, dtype=np.float64)
    gain = -6.0 * _SPLINE_POLE / (1.0 - _SPLINE_POLE**2)
    total = np.zeros_like(position)
    nearest = np.rint(position)
    for step in range(-2, 3):  # the B-splines that reach the position
        knot = nearest + step
        total += gain * _SPLINE_POLE ** np.abs(knot) * cubic_b_spline(position - knot)
    return total


@dataclass(frozen=True, eq=False)
class ResamplingKernel:
    """Tabulated weights of a kernel.

    Parameters
    ----------
    name : str
        One of `KERNEL_NAMES`.
    half_size : int
        `n`: a position is valid if the taps ``-(n - 1)..n`` lie on the image.
    taps : tuple of int
        Offsets of the taps.
    table : ndarray of float64, shape (PHASES + 1, n_taps)
        Weights at ``f = row / PHASES``, of sum 1.
    effective_taps : tuple of int
        Offsets of the taps of `effective`.
    effective : ndarray of float64, shape (PHASES + 1, n_effective)
        Weights of the image's own pixels; differ from `table` if the image is filtered first.
    prefilter : bool
        True if `table` applies to the B-spline coefficients of the image.
    """

    name: str
    half_size: int
    taps: tuple[int, ...]
    table: NDArray[np.float64]
    effective_taps: tuple[int, ...]
    effective: NDArray[np.float64]
    prefilter: bool = False

    def weights(self, fraction: float) -> NDArray[np.float64]:
        """Return the effective weights at a sub-pixel fraction, interpolated in the table."""
        position = fraction * PHASES
        row = min(int(position), PHASES - 1)
        below, above = self.effective[row], self.effective[row + 1]
        return below + (position - row) * (above - below)


def _taps(half_size: int) -> tuple[int, ...]:
    """Return the offsets ``-(n - 1)..n``."""
    return tuple(range(1 - half_size, half_size + 1))


def _offsets(half_size: int) -> NDArray[np.float64]:
    """Return offsets ``-(n - 1)..n`` minus all tabulated fractions, shape (PHASES + 1, 2 n)."""
    return np.array(_taps(half_size)) - np.arange(PHASES + 1.0)[:, np.newaxis] / PHASES


@cache
def resampling_kernel(name: str) -> ResamplingKernel:
    """Return a kernel by its name.

    Parameters
    ----------
    name : str
        ``lanczos3``, ``lanczos4``, ``lanczos5``: windowed sinc, sharp, 2 n taps (Duchon 1979,
        J. Appl. Meteorol. 18, 1016). ``spline3``: interpolating cubic spline, four taps on
        B-spline coefficients; its effective weights are cut at 12 taps, where they are below
        1e-3. ``bilinear``: blurs. ``nearest``: moves pixels; fractions from 0.5 go up.

    Returns
    -------
    ResamplingKernel
        The same object at every call; its arrays are read-only.

    Raises
    ------
    ValueError
        If there is no kernel of this name.
    """
    if name not in KERNEL_NAMES:
        msg = f"{name!r} is not a resampling kernel; known are {', '.join(KERNEL_NAMES)}"
        raise ValueError(msg)
    half_size = effective_half_size = 1
    if name in _LANCZOS_ORDERS:
        half_size = effective_half_size = _LANCZOS_ORDERS[name]
        table = effective = lanczos(_offsets(half_size), half_size)
    elif name == "spline3":
        half_size, effective_half_size = 3, _SPLINE_REACH
        table = cubic_b_spline(_offsets(2))
        effective = cardinal_spline(_offsets(_SPLINE_REACH))
    elif name == "bilinear":
        table = effective = 1.0 - np.abs(_offsets(1))
    else:
        upper = np.arange(PHASES + 1) >= PHASES / 2
        table = effective = np.stack([~upper, upper], axis=1).astype(np.float64)
    table /= table.sum(axis=1, keepdims=True)
    for array in (table, effective):
        array.setflags(write=False)
    return ResamplingKernel(
        name=name,
        half_size=half_size,
        taps=_taps(table.shape[1] // 2),
        table=table,
        effective_taps=_taps(effective_half_size),
        effective=effective,
        prefilter=name == "spline3",
    )


@dataclass(frozen=True)
class NoisePrediction:
    """What resampling does to white noise of unit variance, averaged over sub-pixel positions.

    Parameters
    ----------
    variance : float
        Variance of a resampled pixel.
    correlations : tuple of float
        Correlation of neighbours along an axis at distances of 1, 2, ... pixels.
    sum_factor : float
        Square root of the sum of all covariances over the variance: by how much the error of
        the sum over a large area exceeds what the variances alone give.
    """

    variance: float
    correlations: tuple[float, ...]
    sum_factor: float


def predicted_noise(name: str, *, max_lag: int = 3) -> NoisePrediction:
    """Predict variance and correlation of white noise after resampling onto pixels of equal size.

    Parameters
    ----------
    name : str
        Name of the kernel.
    max_lag : int
        Largest distance [pixel].

    Returns
    -------
    NoisePrediction
        For a rotation or distortion that runs through all sub-pixel positions.

    Notes
    -----
    With weights ``w_t`` of phase `f`, the covariance at the lag `k` is the mean over `f` of
    ``sum_t w_t w_(t+k)``, the lag 0 also in the other axis. The sum over all lags is 1, as the
    weights have unit sum.
    """
    weights = resampling_kernel(name).effective[:-1]  # the last phase is the first one again
    n = weights.shape[1]
    covariances = [
        float(np.mean(np.sum(weights[:, : n - lag] * weights[:, lag:], axis=1))) if lag < n else 0.0
        for lag in range(max_lag + 1)
    ]
    along = covariances[0]
    return NoisePrediction(
        variance=along**2,
        correlations=tuple(value / along for value in covariances[1:]),
        sum_factor=1.0 / along,
    )


def variance_factor(name: str, *, y_fraction: float, x_fraction: float) -> float:
    """Return the sum of squared weights at a sub-pixel position: the variance of white noise."""
    kernel = resampling_kernel(name)
    along_y, along_x = kernel.weights(y_fraction), kernel.weights(x_fraction)
    return float(np.sum(along_y**2) * np.sum(along_x**2))
