"""Noise of the image that a matching kernel is applied to: what it does to the fit, and to stamps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.fft import irfft2, next_fast_len, rfft2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.matching.kernel_stamps import KernelStamps

    Floats = NDArray[np.float64]

_HALF_LIGHT = 10.0  # light over noise, both squared, of a stamp that has half of the full weight
_LEAST_LIGHT = 1e-3  # of any stamp


def noise_of_columns(
    stamps: KernelStamps, basis: Floats, weight: Floats, *, own_constants: bool
) -> Floats:
    """Return what noise adds to the weighted products of the columns of stamps, on average.

    Parameters
    ----------
    stamps : KernelStamps
        Stamps, with the variance of independent pixels.
    basis : ndarray of float64, shape (n_basis, n, n)
        Kernels that the source is convolved with.
    weight : ndarray of float64, shape (n_stamps, b * b)
        Weights of the pixels that are compared.
    own_constants : bool
        Whether a constant of each stamp is eliminated; as if weights and variances were even.

    Returns
    -------
    ndarray of float64, shape (n_stamps, n_basis, n_basis)
        ``sum_p w(p) sum_u B_i(u) B_j(u) V(p - u)``, less what the constants take.
    """
    n, b = stamps.kernel_size, stamps.side
    size = (next_fast_len(n + 2 * b - 2),) * 2
    weights = weight.reshape(-1, b, b)[:, ::-1, ::-1]
    spectra = rfft2(stamps.known_source_variance, s=size) * rfft2(weights, s=size)
    by_shift = irfft2(spectra, s=size)[:, b - 1 : b - 1 + n, b - 1 : b - 1 + n]
    carried = np.maximum(by_shift[:, ::-1, ::-1], 0.0).reshape(len(stamps), n * n)
    flat = basis.reshape(len(basis), n * n)
    products = np.matmul(carried[:, None] * flat, flat.T)
    if own_constants:
        sums = _window_sums(basis, b).reshape(len(basis), -1)
        count = np.maximum(np.count_nonzero(weight, axis=1), 1)
        even = carried.mean(axis=1) / (count * b**2)
        products -= even[:, None, None] * (sums @ sums.T)
    return np.asarray(products, np.float64)


def _window_sums(basis: Floats, side: int) -> Floats:
    """Return the sums of kernels over all windows that meet them, ``(n_basis, a, a)``."""
    n = basis.shape[-1]
    total = np.pad(basis.cumsum(axis=1).cumsum(axis=2), ((0, 0), (1, 0), (1, 0)))
    at = np.arange(n + side - 1)
    low, high = np.clip(at - side + 1, 0, n), np.clip(at + 1, 0, n)
    rows = total[:, high] - total[:, low]
    return np.asarray(rows[:, :, high] - rows[:, :, low])


def light_shares(stamps: KernelStamps, light: Floats, weight: Floats, *, kernel: Floats) -> Floats:
    """Return factors on the weights of stamps, after how their light compares with noise.

    A stamp with less light than noise tells little and spoils what the others tell of the finest
    parts of a kernel.

    Parameters
    ----------
    stamps : KernelStamps
        Stamps.
    light : ndarray of float64, shape (n_stamps, b * b)
        The source convolved with a kernel common to all.
    weight : ndarray of float64, shape (n_stamps, b * b)
        Weights of the pixels that are compared.
    kernel : ndarray of float64, shape (n, n)
        That kernel.

    Returns
    -------
    ndarray of float64, shape (n_stamps,)
        Between zero and one.

    Notes
    -----
    The light is taken from the mean of both images, weighted with the inverse power of their noise
    on the scale of a star. Its errors are independent of those of their difference there, so that a
    stamp does not get more weight because its difference has one sign.
    """
    n = len(stamps)
    inner = (slice(None), stamps.inner, stamps.inner)
    own = stamps.target_variance[inner].reshape(n, -1)
    carried = stamps.variance(kernel).reshape(n, -1) - own
    slow = kernel.sum() ** 2 * stamps.known_source_variance[inner].reshape(n, -1)
    total = own + slow
    part = np.divide(own, total, out=np.zeros_like(own), where=total > 0.0)
    both = stamps.target.reshape(n, -1) * (1.0 - part) + light * part
    norm = np.maximum(weight.sum(axis=1), np.finfo(float).tiny)
    both = both - (np.sum(weight * both, axis=1) / norm)[:, None]
    noise = (1.0 - part) ** 2 * own + part**2 * carried
    count = np.maximum(np.count_nonzero(weight, axis=1), 1)
    power = np.sum(weight * (both**2 - noise), axis=1) / count
    power = np.maximum(power, _LEAST_LIGHT)
    return np.asarray(power / (power + _HALF_LIGHT), np.float64)
