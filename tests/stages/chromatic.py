"""Exposures of stars with spectra of all slopes, smeared by refraction, without the package."""

from dataclasses import dataclass

import numpy as np
from scipy.special import erf

MIDDLE, WIDTH = 478.5, 147.0
SCALE = 0.2  # arcsec a pixel
AIRMASSES = (1.02, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 1.15, 1.35)


def dispersion(wavelengths, airmass):
    """Return the refraction relative to the middle of the band [pixel], Filippenko (1982)."""

    def index(nm):
        s2 = (1000.0 / nm) ** 2
        dry = 64.328 + 29498.1 / (146 - s2) + 255.4 / (41 - s2)
        pressure, temperature = 554.2, 10.0  # of 738.9 hPa, in mm of mercury
        return (
            1e-6
            * dry
            * pressure
            * (1 + (1.049 - 0.0157 * temperature) * 1e-6 * pressure)
            / (720.883 * (1 + 0.003661 * temperature))
        )

    tangent = np.tan(np.arccos(1 / airmass))
    return 206264.8 * (index(wavelengths) - index(MIDDLE)) * tangent / SCALE


@dataclass
class Sky:
    """Stars: positions, fluxes, and relative slopes of their spectra."""

    y: np.ndarray
    x: np.ndarray
    flux: np.ndarray
    slope: np.ndarray
    shape: tuple[int, int]
    fwhm: float = 4.0

    @classmethod
    def random(cls, rng, shape, number, *, faintest=3.2, brightest=5.0):
        y, x = (rng.uniform(12, side - 12, number) for side in shape)
        return cls(
            y, x, 10 ** rng.uniform(faintest, brightest, number), rng.uniform(-0.8, 0.8, number),
            shape,
        )  # fmt: skip

    def exposure(self, airmass, angle, *, fwhm=None, n_waves=21):
        """Return the image without noise; ``angle`` is the direction of the zenith from y to x."""
        places = (np.arange(n_waves) + 0.5) / n_waves * 2 - 1
        amplitudes = dispersion(MIDDLE + places * WIDTH / 2, airmass)
        image = np.zeros(self.shape)
        for place, amplitude in zip(places, amplitudes, strict=True):
            weight = self.flux * (1 + self.slope * place) / n_waves
            y = self.y + amplitude * np.cos(angle)
            x = self.x + amplitude * np.sin(angle)
            image += self._stars(y, x, weight, fwhm or self.fwhm)
        return image

    def shifts(self, waves, airmass, angle):
        """Return ``(dy, dx)`` at wavelengths from -1 to 1 of the band."""
        amplitudes = dispersion(MIDDLE + np.asarray(waves) * WIDTH / 2, airmass)
        return amplitudes * np.cos(angle), amplitudes * np.sin(angle)

    def _stars(self, y, x, weight, fwhm):
        along_y, along_x = (
            profile(np.arange(side), centre, fwhm)
            for side, centre in zip(self.shape, (y, x), strict=True)
        )
        return (along_y * weight) @ along_x.T


def profile(pixels, centres, fwhm):
    """Return Gaussians integrated over pixels, shape (n_pixels, n_centres)."""
    edges = np.append(pixels - 0.5, pixels[-1] + 0.5)
    scaled = (edges[:, None] - np.atleast_1d(centres)) / (fwhm / 2.3548 * np.sqrt(2))
    return np.diff(erf(scaled), axis=0) / 2


def stamp(fwhm, half=12):
    """Return a star in the middle of its stamp, sum one."""
    line = profile(np.arange(-half, half + 1), 0.0, fwhm)
    image = line @ line.T
    return image / image.sum()
