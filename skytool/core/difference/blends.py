"""Sources whose footprints are one: their positions and fluxes fitted together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.difference.source_psf import star_in_window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.difference.source_measure import Pixels
    from skytool.core.difference.source_psf import SourcePsf

    Floats = NDArray[np.float64]
    Window = tuple[slice, slice]

_MOST = 12  # sources of one footprint
_ROUNDS = 8
_STEP = 0.5  # [pixel] that a position may move in one round
_SETTLED = 1e-3  # [pixel]


@dataclass(frozen=True, eq=False)
class Blend:
    """The sources of a footprint; arrays of shape ``(n,)``, the one of the highest peak first.

    Parameters
    ----------
    peak : ndarray of int
        Which of the peaks that were given each one is.
    y, x, flux : ndarray of float64
        Position [pixel] and flux [unit of the image].
    y_error, x_error, flux_error : ndarray of float64
        Standard deviations, with what the others take from them.
    """

    peak: NDArray[np.intp]
    y: Floats
    x: Floats
    flux: Floats
    y_error: Floats
    x_error: Floats
    flux_error: Floats

    def __len__(self) -> int:
        return self.peak.size


def separate(
    pixels: Pixels,
    psf: SourcePsf,
    *,
    y: Floats,
    x: Floats,
    sign: Floats,
    threshold: float,
    apart: float,
) -> Blend:
    """Tell the point sources of a footprint from each other.

    Parameters
    ----------
    pixels : Pixels
        The difference.
    psf : SourcePsf
        Its point spread function.
    y, x : ndarray of float64, shape (n,)
        Peaks, the highest first [pixel].
    sign : ndarray of float64, shape (n,)
        1 or -1.
    threshold : float
        Least significance of a source beside the others.
    apart : float
        Least distance from any brighter one [pixel].

    Returns
    -------
    Blend
        The highest peak, and those others that are resolved from all before them and whose flux,
        fitted together with theirs, is significant and has the sign of the peak.

    Notes
    -----
    Least squares of all fluxes and positions, as for single sources; the errors are those of pixels
    of the given variance.
    """
    chosen = [0]
    for number in range(1, y.size):
        if len(chosen) == _MOST:
            break
        if np.hypot(y[chosen] - y[number], x[chosen] - x[number]).min() < apart:
            continue
        trial = [*chosen, number]
        flux, error = _Window(pixels, psf, y[trial], x[trial]).fluxes()
        if flux[-1] * sign[number] >= threshold * error[-1]:
            chosen = trial
    fitted = _Window(pixels, psf, y[chosen], x[chosen])
    fitted.settle(reach=0.5 * apart)
    flux, error = fitted.fluxes()
    of_y, of_x = fitted.position_errors(flux)
    return Blend(
        np.array(chosen, np.intp),
        fitted.places[:, 0],
        fitted.places[:, 1],
        flux,
        of_y,
        of_x,
        error,
    )


class _Window:
    """The pixels around some sources, and stars at their places."""

    def __init__(self, pixels: Pixels, psf: SourcePsf, y: Floats, x: Floats) -> None:
        self.psf = psf
        self.places = np.stack([y, x], axis=1)
        spans = []
        for at, half, size in zip((y, x), psf.half, pixels.image.shape, strict=True):
            first, last = int(np.floor(at.min())) - half, int(np.ceil(at.max())) + half + 1
            spans.append(slice(max(first, 0), min(last, size)))
        self.window: Window = spans[0], spans[1]
        self.good = pixels.good[self.window]
        self.data = pixels.image[self.window][self.good].astype(np.float64)
        self.variance = pixels.variance[self.window][self.good].astype(np.float64)

    def _stars(self) -> Floats:
        """Return stars and their derivatives in the good pixels, shape ``(3, n, m)``."""
        stars = [star_in_window(self.psf, self.window, y=y, x=x) for y, x in self.places]
        return np.stack(stars, axis=1)[:, :, self.good]

    def fluxes(self) -> tuple[Floats, Floats]:
        """Return the fluxes at the places, and their standard deviations."""
        stars = self._stars()[0]
        inverse = np.linalg.pinv(stars @ stars.T, hermitian=True)
        covariance = inverse @ ((stars * self.variance) @ stars.T) @ inverse
        return inverse @ (stars @ self.data), np.sqrt(np.diagonal(covariance))

    def settle(self, *, reach: float) -> None:
        """Move the places to those of least squares, at most some way."""
        start = self.places.copy()
        flux, _ = self.fluxes()
        for _ in range(_ROUNDS):
            stars = self._stars()
            design = np.concatenate([stars[0], *(flux[:, None] * stars[k] for k in (1, 2))])
            left = self.data - flux @ stars[0]
            inverse = np.linalg.pinv(design @ design.T, rcond=1e-9, hermitian=True)
            step = (inverse @ (design @ left)).reshape(3, -1)
            move = np.clip(step[1:].T, -_STEP, _STEP)
            self.places = np.clip(self.places + move, start - reach, start + reach)
            flux, _ = self.fluxes()
            if np.abs(move).max() < _SETTLED:
                break

    def position_errors(self, flux: Floats) -> tuple[Floats, Floats]:
        """Return the standard deviations of y and x."""
        stars = self._stars()
        design = np.concatenate([stars[0], *(flux[:, None] * stars[k] for k in (1, 2))])
        inverse = np.linalg.pinv(design @ design.T, rcond=1e-9, hermitian=True)
        covariance = inverse @ ((design * self.variance) @ design.T) @ inverse
        errors = np.sqrt(np.maximum(np.diagonal(covariance), 0.0)).reshape(3, -1)
        return errors[1], errors[2]
