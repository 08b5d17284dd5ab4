"""How many peaks pure noise has above a threshold after a matched filter."""

from __future__ import annotations

import math

import numpy as np

# Part of the peaks of a continuous field that pixels see, at 4 sigma, by the standard deviation of
# a Gaussian PSF [pixel]: counted in 1e8 pixels of simulated noise, as local maxima among eight
# neighbours.
_SIGMA = (1.0, 1.2, 1.5, 1.7, 2.0, 2.5, 3.0)
_COUNTED = (23.3, 18.8, 13.8, 11.4, 8.93, 6.10, 4.46)  # per million pixels, of one sign
_COUNTED_AT = 4.0


def noise_peaks(sigma: float, threshold: float) -> float:
    """Return the expected number of peaks of one sign per pixel of white noise.

    Parameters
    ----------
    sigma : float
        Standard deviation of the Gaussian PSF that the noise is filtered with [pixel].
    threshold : float
        Least height [standard deviation of the filtered noise].

    Notes
    -----
    A continuous Gaussian field has ``u exp(-u^2 / 2) / (2 sigma^2 (2 pi)^(3/2))`` maxima above u
    in a unit of area, for large u (Adler 1981, with the correlation length ``sqrt(2) sigma`` of
    the filter applied to white noise). Where the PSF is narrow the highest point of a maximum is
    between pixels: the field at the nearest one is lower by ``u d^2 / (4 sigma^2)``, d being the
    distance, and fewer maxima pass. The loss was counted at one threshold; its logarithm grows
    with the square of the threshold.
    """
    part = np.interp(
        sigma,
        _SIGMA,
        [n * 1e-6 / _continuous(s, _COUNTED_AT) for s, n in zip(_SIGMA, _COUNTED, strict=True)],
    )
    lost = math.log(float(part)) * (threshold / _COUNTED_AT) ** 2
    return _continuous(sigma, threshold) * math.exp(lost)


def _continuous(sigma: float, threshold: float) -> float:
    """Return the number of maxima of a continuous field per pixel."""
    height = threshold * math.exp(-0.5 * threshold**2)
    return height / (2.0 * sigma**2 * (2.0 * math.pi) ** 1.5)
