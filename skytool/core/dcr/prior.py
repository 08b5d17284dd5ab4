r"""What is known of a sky before refraction tells anything of its colours.

The colour of a source is that of all its pixels: the coefficient :math:`c_l` of the spectrum is
taken as :math:`a_l T(p) \rho(p)`, with the brightness T, the usual size :math:`a_l` of the
coefficient relative to the flux, and a field :math:`\rho` of variance one that is smooth over the
size of a star. Blank sky has hardly any colour. Flux is that of points, seen with the PSF: without
it their sizes :math:`\tau(p)` are those of the stars in their places, and small everywhere else, so
that what is around stars and what no star can be is kept down as noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.dcr.stamps import stamp_transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ColourPrior:
    """Colours that sources are expected to have.

    Parameters
    ----------
    amplitude : float
        Usual size of the first coefficient relative to the flux: by how much the flux density at
        the red end of the band differs from that in the middle.
    decline : float
        Size of each further coefficient relative to the one before.
    coherence : float
        Distance over which colours are alike, standard deviation of a Gaussian [pixel].
    floor : float
        Colour of blank sky [standard deviation of the mean of all exposures].
    """

    amplitude: float = 1.0
    decline: float = 0.35
    coherence: float = 2.0
    floor: float = 0.2

    def amplitudes(self, n_terms: int) -> list[float]:
        """Return the size of every coefficient but the first, which is the flux."""
        return [self.amplitude * self.decline**term for term in range(n_terms - 1)]

    def brightness(self, flux: Image, noise: float, *, smoothing: float = 0.0) -> Image:
        """Return the brightness that colours are relative to.

        Parameters
        ----------
        flux : ndarray of float32, shape (ny, nx)
            Flux, as far as it is known; zero where it is not.
        noise : float
            Standard deviation of the mean of all exposures on blank sky.
        smoothing : float
            Standard deviation of a Gaussian by which it is smoothed [pixel].
        """
        from scipy.ndimage import gaussian_filter

        smooth = np.maximum(flux, 0.0)
        if smoothing:
            smooth = gaussian_filter(smooth, smoothing)
        return np.asarray(smooth + self.floor * noise, dtype=np.float32)

    def filter(self, shape: tuple[int, int]) -> Image:
        """Return the filter that makes a coherent field of variance one from white noise.

        Returns
        -------
        ndarray of float32, shape (ny, nx // 2 + 1)
            Factors of the coefficients of ``rfft2``.
        """
        square = np.fft.fftfreq(shape[0])[:, None] ** 2 + np.fft.rfftfreq(shape[1]) ** 2
        factors = np.exp(-2.0 * (np.pi * self.coherence) ** 2 * square)
        variance = np.fft.irfft2(factors**2, s=shape)[0, 0]
        return np.asarray(factors / np.sqrt(variance), dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class FluxPrior:
    """How bright the sky is expected to be, as points that were seen with a PSF.

    Parameters
    ----------
    level : float
        Usual size of a pixel of the sky without PSF, where no source is seen [standard deviation of
        the mean of all exposures]: sources of a few sigma are expected everywhere.
    """

    level: float = 5.0

    def spread(self, flux: Image, sharpener: Image, noise: float) -> Image:
        """Return the usual size of the pixels of the sky without PSF.

        Parameters
        ----------
        flux : ndarray of float32, shape (ny, nx)
            Flux, as far as it is known.
        sharpener : ndarray of float32, shape (ny, nx // 2 + 1)
            What takes the PSF off without much noise, by `sharpeners`.
        noise : float
            Standard deviation of the mean of all exposures on blank sky.

        Returns
        -------
        ndarray of float32, shape (ny, nx)
        """
        from scipy import fft
        from scipy.ndimage import gaussian_filter

        points = fft.irfft2(fft.rfft2(flux) * sharpener, s=flux.shape)
        size = gaussian_filter(np.maximum(points, 0.0), _POINT)
        size += _BLURRED * gaussian_filter(np.maximum(flux, 0.0), _BLUR)
        return np.asarray(np.hypot(size, self.level * noise), dtype=np.float32)


_POINT = 0.7  # pixel, over which points are spread, for they are between pixels
_BLURRED, _BLUR = (
    0.3,
    1.0,
)  # part of the flux, and pixels: what a PSF that is not quite right leaves

_LEAST_POWER = 0.02
"""Transform of a PSF below which a sky without PSF is not restored."""

_LEAST_CERTAIN_POWER = 0.05
"""The same for points that are to be seen above the noise."""

_SMOOTH_SKY = 300.0
"""Distance over which a background may vary freely [pixel]."""

_SMOOTH_SKY_GAIN = 30.0


def sharpeners(stamp: NDArray[np.float64], shape: tuple[int, int]) -> tuple[Image, Image]:
    r"""Return filters that take a PSF off a sky.

    The first is :math:`(1 + \epsilon) / (|P| + \epsilon)`, less for a smooth background: it makes
    of any sky something compact and of about the same size at all frequencies. The second is
    Wiener's, :math:`P / (P^2 + \epsilon^2)`, which keeps noise down.

    Parameters
    ----------
    stamp : ndarray of float64, shape (h, w)
        Star, sum one.
    shape : tuple of int
        Shape ``(ny, nx)`` of the images.

    Returns
    -------
    pair of ndarray of float32, shape (ny, nx // 2 + 1)
        Factors of the coefficients of ``rfft2``.
    """
    power = np.abs(stamp_transform(stamp, shape)).astype(np.float64)
    square = np.fft.fftfreq(shape[0])[:, None] ** 2 + np.fft.rfftfreq(shape[1]) ** 2
    smooth = 1.0 + _SMOOTH_SKY_GAIN * np.exp(-square * _SMOOTH_SKY**2)
    sharp = (1.0 + _LEAST_POWER) / (power + _LEAST_POWER) / smooth
    quiet = power / (np.square(power) + _LEAST_CERTAIN_POWER**2)
    return sharp.astype(np.float32), quiet.astype(np.float32)
