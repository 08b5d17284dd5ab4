r"""What is known of a sky before refraction tells anything of its colours.

The colour of a source is that of all its pixels: the coefficient :math:`c_l` of the spectrum is
taken as :math:`a_l T(p) \\rho(p)`, with the brightness T of the plain mean, the usual size
:math:`a_l` of the coefficient relative to the flux, and a field :math:`\\rho` of variance one that
is smooth over the size of a star. Blank sky has hardly any colour. Flux itself has the power
spectrum of stars, with which noise that no star can have is kept down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

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
    smoothing : float
        Standard deviation of the Gaussian by which the brightness is smoothed [pixel].
    floor : float
        Colour of blank sky [standard deviation of the mean of all exposures].
    """

    amplitude: float = 1.0
    decline: float = 0.4
    coherence: float = 2.0
    smoothing: float = 2.0
    floor: float = 0.2

    def amplitudes(self, n_terms: int) -> list[float]:
        """Return the size of every coefficient but the first, which is the flux."""
        return [self.amplitude * self.decline**term for term in range(n_terms - 1)]

    def brightness(self, mean: Image, noise: float) -> Image:
        """Return the brightness that colours are relative to.

        Parameters
        ----------
        mean : ndarray of float32, shape (ny, nx)
            Mean of the exposures; zero where there is none.
        noise : float
            Its standard deviation on blank sky.
        """
        from scipy.ndimage import gaussian_filter

        smooth = gaussian_filter(np.maximum(mean, 0.0), self.smoothing)
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


def flux_precision(
    stamp: NDArray[np.float64], peak: float, weight: float, shape: tuple[int, int]
) -> Image:
    r"""Return the inverse of the power spectrum of stars, the precision of flux beforehand.

    It is :math:`1 / (F^2 \sum p^2 \, |P(k)|^2)` with the flux F of a bright star, spread over the
    area :math:`1 / \sum p^2` of a star p.

    Parameters
    ----------
    stamp : ndarray of float64, shape (h, w)
        Star p, sum one.
    peak : float
        Brightness in the middle of that star.
    weight : float
        Sum of the weights of all exposures, for a limit where there is no power left.
    shape : tuple of int
        Shape ``(ny, nx)`` of the images.

    Returns
    -------
    ndarray of float32, shape (ny, nx // 2 + 1)
        For coefficients of ``rfft2`` with the norm ``ortho``.
    """
    flux = peak / float(stamp.max())
    density = flux**2 * float(np.square(stamp).sum())
    power = density * np.abs(stamp_transform(stamp, shape)) ** 2
    return np.asarray(1.0 / (power + 1e-3 / weight), dtype=np.float32)
