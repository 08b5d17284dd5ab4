"""What an exposure shows of subfilter images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.dcr.basis import BandBasis, transfers
from skytool.core.dcr.shift import padded_shape, shifted_split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Floats = NDArray[np.float64]


def predict_split(
    images: Sequence[Image], shifts: Floats, *, order: int = 3, threshold: float = 0.0
) -> Image:
    """Return the sum of subfilter images, each moved by the two shifts of its halves.

    Parameters
    ----------
    images : sequence of ndarray of float32, shape (ny, nx)
        Subfilters.
    shifts : ndarray of float64, shape (n_subfilters, 2, 2)
        ``(dy, dx)`` of both halves of each [pixel].
    order : int
        Degree of the splines.
    threshold : float
        Difference of the shifts below which a subfilter is moved as a whole [pixel].

    Returns
    -------
    ndarray of float32, shape (ny, nx)
    """
    total = np.zeros(images[0].shape, np.float32)
    for image, pair in zip(images, shifts, strict=True):
        total += shifted_split(image, pair[:, 0], pair[:, 1], order=order, threshold=threshold)
    return total


def predict_spectral(
    images: Sequence[Image],
    dy: Floats,
    dx: Floats,
    *,
    smooth: bool,
    throughput: Floats | None = None,
) -> Image:
    """Return the sum of subfilter images, moved at many wavelengths without interpolation.

    Parameters
    ----------
    images : sequence of ndarray of float32, shape (ny, nx)
        Subfilters; the sky beyond is empty.
    dy, dx : ndarray of float64, shape (n_nodes,)
        Shifts at `~skytool.core.dcr.basis.band_nodes` [pixel].
    smooth : bool
        Whether spectra are polynomials with the fluxes of the subfilters, or flat in each.
    throughput : ndarray of float64, shape (n_nodes,), optional
        Throughput that goes with polynomials, there; the same everywhere by default.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
    """
    from scipy import fft

    n = len(images)
    basis = BandBasis.steps(n)
    if smooth:
        basis = BandBasis.polynomials(n, n, throughput=throughput).cardinal()
    shape = padded_shape(images[0].shape, dy, dx)
    total = np.zeros((shape[0], shape[1] // 2 + 1), np.complex64)
    for image, factor in zip(images, transfers(shape, basis, dy, dx), strict=True):
        total += factor * fft.rfft2(np.asarray(image, np.float32), s=shape)
    ny, nx = images[0].shape
    return np.ascontiguousarray(fft.irfft2(total, s=shape)[:ny, :nx])
