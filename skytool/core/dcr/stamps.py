"""Point spread functions in the Fourier plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LEAST_POWER = 1e-3
"""Transform of the sharpest PSF from which on it can be compared with others."""


def stamp_transform(stamp: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.complex64]:
    """Return the Fourier transform of a point spread function about its middle pixel.

    Parameters
    ----------
    stamp : ndarray of float64, shape (h, w)
        Odd sides; cut about the middle if larger than the images.
    shape : tuple of int
        Shape ``(ny, nx)`` of the images.

    Returns
    -------
    ndarray of complex64, shape (ny, nx // 2 + 1)
    """
    from scipy import fft

    for axis, length in enumerate(shape):
        spare = max(stamp.shape[axis] - length, 0)
        cut = slice((spare + 1) // 2, stamp.shape[axis] - (spare + 1) // 2)
        stamp = stamp[cut] if axis == 0 else stamp[:, cut]
    padded = np.zeros(shape)
    padded[: stamp.shape[0], : stamp.shape[1]] = stamp
    middle = (-(stamp.shape[0] // 2), -(stamp.shape[1] // 2))
    return np.asarray(fft.rfft2(np.roll(padded, middle, axis=(0, 1))), dtype=np.complex64)


def sharpest_stamp(stamps: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the PSF with the smallest effective area."""
    return max(stamps, key=lambda stamp: float(np.square(stamp).sum()))


def broadening(
    stamp: NDArray[np.float64], sharpest: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.complex64]:
    """Return what makes a sharp PSF another, where it has any power.

    Parameters
    ----------
    stamp, sharpest : ndarray of float64, shape (h, w)
        The other and the sharp one.
    shape : tuple of int
        Shape ``(ny, nx)`` of the images.

    Returns
    -------
    ndarray of complex64, shape (ny, nx // 2 + 1)
        Factors of the coefficients of ``rfft2``.
    """
    best = stamp_transform(sharpest, shape)
    power = np.square(np.abs(best))
    quotient = stamp_transform(stamp, shape) * best.conj()
    wanted = power > _LEAST_POWER**2
    return np.divide(quotient, power, out=np.zeros_like(best), where=wanted)
