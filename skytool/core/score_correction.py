"""The filter that makes the difference of a preconvolved image a likelihood ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.convolve import convolve, convolve_variance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Plane = NDArray[np.float32]

_LEAST_GRID = 128
_GRID_PER_SIZE = 4  # side of the Fourier grid over that of the larger kernel
_BLIND = 1e-8  # power of the PSF, over that at frequency zero, below which it shows nothing
_OUTSIDE = 1e-8  # power of a kernel that may be cut off


@dataclass(frozen=True, eq=False)
class ScoreCorrection:
    """What a difference ``P * S - kernel x T`` has to be filtered with, and what that does.

    Parameters
    ----------
    kernel : ndarray of float64, shape (h, w)
        The filter, a convolution kernel.
    science, template : ndarray of float64, shape (h, w)
        Kernels from the science image and from the template to the score.
    flux_factor : float
        Score at the place of a point source of flux one.
    """

    kernel: Floats
    science: Floats
    template: Floats
    flux_factor: float

    def score(self, difference: Plane, *, threads: int = 1) -> Plane:
        """Return the score, shape ``(ny, nx)``, of a difference of finite pixels."""
        return np.asarray(convolve(difference, self.kernel, threads=threads), np.float32)

    def variance(
        self, science: Plane, template: Plane, *, by_pixel: bool = True, threads: int = 1
    ) -> Plane:
        """Return the variance of the score.

        Parameters
        ----------
        science, template : ndarray of float32, shape (ny, nx)
            Variances before anything was convolved; finite.
        by_pixel : bool
            Whether the variance of every pixel is carried where its noise goes, or both planes
            are only multiplied by the power of their kernels.
        threads : int
            Threads of the convolutions; the result does not depend on it.
        """
        if not by_pixel:
            powers = [np.float32(np.square(k).sum()) for k in (self.science, self.template)]
            return np.asarray(powers[0] * science + powers[1] * template, np.float32)
        total = convolve_variance(science, self.science, threads=threads)
        total += convolve_variance(template, self.template, threads=threads)
        return np.asarray(total, np.float32)


def score_correction(
    psf: Floats, kernel: Floats, *, science_variance: float, template_variance: float
) -> ScoreCorrection:
    """Return the correction of the difference of a preconvolved science image.

    Parameters
    ----------
    psf : ndarray of float64, shape (h, w)
        PSF of the science image, sum one; the image was correlated with it.
    kernel : ndarray of float64, shape (h', w')
        Convolution kernel that matched the template to the correlated image.
    science_variance, template_variance : float
        Typical variances of the images before anything was convolved.

    Notes
    -----
    ``phi = (v_S + v_T k^2) / (v_S + v_T |kernel|^2 / |P|^2)`` in Fourier space, k being the sum of
    the kernel. The score is proportional to the statistic of Zackay, Ofek & Gal-Yam (2016): the
    correlation of the decorrelated difference with its own PSF. Where the PSF has no power the
    ratio is that of two roundings, and the filter passes nothing.
    """
    from scipy.fft import irfft2, next_fast_len

    side = next_fast_len(
        max(_LEAST_GRID, _GRID_PER_SIZE * max(*psf.shape, *kernel.shape)), real=True
    )
    star, match = _transform(psf, side), _transform(kernel, side)
    power = np.maximum(np.abs(star) ** 2, np.finfo(np.float64).tiny)
    total = science_variance + template_variance * float(kernel.sum()) ** 2
    phi = total / (science_variance + template_variance * np.abs(match) ** 2 / power)
    phi *= power / (power + _BLIND)
    images = [
        _cut(irfft2(transform, s=(side, side)))
        for transform in (phi.astype(np.complex128), np.conj(star) * phi, match * phi)
    ]
    factor = float(irfft2((power * phi).astype(np.complex128), s=(side, side))[0, 0])
    return ScoreCorrection(images[0], images[1], images[2], factor)


def _transform(kernel: Floats, side: int) -> NDArray[np.complex128]:
    """Return the transform of a kernel with its middle pixel at the origin."""
    from scipy.fft import rfft2

    h, w = kernel.shape
    wrapped = np.zeros((side, side))
    wrapped[:h, :w] = kernel
    return np.asarray(rfft2(np.roll(wrapped, (-(h // 2), -(w // 2)), (0, 1))), np.complex128)


def _cut(image: Floats) -> Floats:
    """Return a kernel with its middle pixel in the middle, without its negligible outer part."""
    side = image.shape[0]
    half = (side - 1) // 2
    centred = np.roll(image, (half, half), (0, 1))[: 2 * half + 1, : 2 * half + 1]
    offsets = np.abs(np.arange(-half, half + 1))
    ring = np.maximum(offsets[:, None], offsets)
    power = np.bincount(ring.ravel(), weights=np.square(centred).ravel())
    beyond = np.cumsum(power[::-1])[::-1]
    enough = int(np.flatnonzero(np.append(beyond[1:], 0.0) <= _OUTSIDE * beyond[0])[0])
    inner = slice(half - enough, half + enough + 1)
    return np.ascontiguousarray(centred[inner, inner])
