"""How well a point spread function describes stars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.matching.kernel_basis import SIGMA_TO_FWHM
from skytool.core.psf.samples import StarImages
from skytool.core.psf.star_stamps import smoothing_for, star_moments
from skytool.models.psf.stars import PsfStars

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.psf.star_stamps import StarMoments
    from skytool.core.psf.stars import StarFit
    from skytool.models.psf.kinds import Psf

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

_STEP = 0.02  # [pixel] of differences for the derivatives of a star
_MAD_TO_SIGMA = 1.482602218505602
_BETTER_PART = 0.5  # of stars, by their brightness


@dataclass(frozen=True)
class DrawnPsf:
    """Stars drawn from any point spread function.

    Parameters
    ----------
    psf : Psf
        The function.
    """

    psf: Psf

    def images(self, *, y: Floats, x: Floats, rows: Floats, columns: Floats) -> Floats:
        """Return stars; see `~skytool.core.psf.samples.PsfSamples.images`."""
        return self._moved(y, x, rows, columns, 0.0, 0.0)

    def drawn(self, *, y: Floats, x: Floats, rows: Floats, columns: Floats) -> StarImages:
        """Return stars and their derivatives, from differences."""
        lattice = y, x, rows, columns
        below, above = (self._moved(*lattice, step, 0.0) for step in (-_STEP, _STEP))
        left, right = (self._moved(*lattice, 0.0, step) for step in (-_STEP, _STEP))
        return StarImages(
            self._moved(*lattice, 0.0, 0.0),
            (above - below) / (2.0 * _STEP),
            (right - left) / (2.0 * _STEP),
        )

    def _moved(
        self, y: Floats, x: Floats, rows: Floats, columns: Floats, dy: float, dx: float
    ) -> Floats:
        """Return stars away from their places."""
        h, w = rows.shape[1], columns.shape[1]
        places = zip(y, x, dy - rows[:, h // 2], dx - columns[:, w // 2], strict=True)
        stars = [
            self.psf.star(y=float(v), x=float(u), shape=(h, w), dy=float(to_y), dx=float(to_x))
            for v, u, to_y, to_x in places
        ]
        return np.stack(stars) if stars else np.empty((0, h, w))


def star_table(fit: StarFit, *, radius: float, used: Flags, reserved: Flags) -> PsfStars:
    """Return stars beside the function that they were fitted with.

    Parameters
    ----------
    fit : StarFit
        Fit of fluxes and places of all stars by the function.
    radius : float
        Adaptive radius of stars, roughly [pixel].
    used, reserved : ndarray of bool, shape (n,)
        What the stars were for.
    """
    y, x = fit.stars.positions
    own, model = (
        star_moments(stamps, radius, smoothing=smoothing_for(radius))
        for stamps in (fit.cleaned(), fit.columns[:, 0])
    )
    misfit, error = fit.misfit
    return PsfStars(
        y,
        x,
        fit.flux,
        fit.flux_error,
        *_shape(own),
        *_shape(model),
        misfit,
        error,
        fit.chi2,
        used,
        reserved,
    )


def _shape(moments: StarMoments) -> tuple[Floats, Floats, Floats]:
    """Return width and elongation."""
    return SIGMA_TO_FWHM * np.sqrt(0.5 * (moments.yy + moments.xx)), moments.e1, moments.e2


@dataclass(frozen=True)
class PsfQuality:
    """How the brighter half of stars differs from the point spread function; NaN without stars.

    Parameters
    ----------
    n_stars : int
        Number of all stars.
    residual : float
        Median power of star minus PSF over that of the star, less noise.
    size_offset, size_scatter : float
        Median of the relative difference of widths, and its standard deviation from the median
        deviation.
    ellipticity_scatter : float
        Root of the sum of the squared median differences of both components of the ellipticity.
    chi2 : float
        Median reduced chi-square.
    """

    n_stars: int
    residual: float
    size_offset: float
    size_scatter: float
    ellipticity_scatter: float
    chi2: float

    @classmethod
    def of(cls, stars: PsfStars) -> PsfQuality:
        """Return the figures of some stars."""
        known = np.isfinite(stars.fwhm) & np.isfinite(stars.psf_fwhm)
        stars = stars[known]
        n_stars = len(stars)
        if not n_stars:
            return cls(0, *([float("nan")] * 5))
        stars = stars[stars.snr >= np.quantile(stars.snr, 1.0 - _BETTER_PART)]
        size = stars.fwhm / stars.psf_fwhm - 1.0
        offset = float(np.median(size))
        squares = [
            np.median((own - psf) ** 2)
            for own, psf in ((stars.e1, stars.psf_e1), (stars.e2, stars.psf_e2))
        ]
        return cls(
            n_stars=n_stars,
            residual=float(np.median(stars.residual)),
            size_offset=offset,
            size_scatter=float(_MAD_TO_SIGMA * np.median(np.abs(size - offset))),
            ellipticity_scatter=float(np.sqrt(sum(squares))),
            chi2=float(np.median(stars.chi2)),
        )
