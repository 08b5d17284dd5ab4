"""The significance of a point source at every pixel of an image of white noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.convolve import convolve
from skytool.core.mask_spread import spread_mask_by_weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.difference.source_psf import SourcePsf

    Plane = NDArray[np.float32]

_STRIP = 64  # rows worked on together
_MOST_MISSING = 0.5  # of the sum of squares of the PSF


@dataclass(frozen=True, eq=False)
class Score:
    """An image correlated with its PSF; planes of float32, shape ``(ny, nx)``.

    Parameters
    ----------
    signal : ndarray
        ``Q = sum P w D``; the flux of a source in the pixel is ``Q / sum P^2`` [unit of the
        image]. NaN where the pixels around are mostly missing.
    variance : ndarray
        Its variance; infinite there.
    """

    signal: Plane
    variance: Plane

    @cached_property
    def snr(self) -> Plane:
        """Signal-to-noise ratio: on empty sky a Gaussian random field of unit variance."""
        return significance(self.signal, self.variance)


def significance(signal: Plane, variance: Plane) -> Plane:
    """Return a signal over its standard deviation; NaN where there is none."""
    out = np.empty(signal.shape, np.float32)
    for start in range(0, len(out), _STRIP):
        rows = slice(start, start + _STRIP)
        part, noise = out[rows], variance[rows]
        with np.errstate(invalid="ignore", divide="ignore"):
            part[...] = signal[rows] / np.sqrt(noise)
        part[~(np.isfinite(part) & np.isfinite(noise))] = np.nan
    return out


def matched_filter(
    image: NDArray[np.floating],
    variance: NDArray[np.floating],
    bad: NDArray[np.bool_],
    psf: SourcePsf,
    *,
    threads: int = 1,
) -> Score:
    """Filter an image with its PSF.

    Parameters
    ----------
    image, variance : ndarray of float, shape (ny, nx)
        White noise of this variance, and sources.
    bad : ndarray of bool, shape (ny, nx)
        Pixels without weight; those whose image or variance is not finite, or whose variance is
        not positive, have none either.
    psf : SourcePsf
        Point spread function at every pixel.
    threads : int
        Threads of the convolutions; the result does not depend on it.

    Returns
    -------
    Score
        NaN where more than half of the sum of squares of the PSF falls on pixels without weight or
        beyond the edges.

    Notes
    -----
    With weights w of one and zero, ``Q = sum P w D`` and ``var Q = sum P^2 w V``, exactly for a PSF
    and a variance that differ from pixel to pixel; their ratio is that of the flux of least squares
    to its error. A gap in the data lowers the significance of a source that lies on it and flags
    nothing beside it. Pixels are not weighted by their inverse variance, because a variance that
    follows the data would make positive fluxes too small.
    """
    good = np.isfinite(image) & np.isfinite(variance) & ~bad
    np.logical_and(good, variance > 0.0, out=good, where=good)
    star = psf.kernel.flipped()
    square = psf.power.flipped()
    signal = convolve(np.where(good, image, np.float32(0.0)), star, threads=threads)
    power = convolve(np.where(good, variance, np.float32(0.0)), square, threads=threads)
    half = max(psf.half)
    missing = np.pad((~good).astype(np.uint8), half, constant_values=1)
    lost = spread_mask_by_weight(missing, square.shifted(dy=half, dx=half), _MOST_MISSING)
    inner = (slice(half, half + image.shape[0]), slice(half, half + image.shape[1]))
    unusable = (lost[inner] != 0) | ~(power > 0.0)
    signal[unusable] = np.nan
    power[unusable] = np.inf
    return Score(signal, power)
