"""Pictures of a point spread function and of the stars that it was measured with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.psf.adaptive_moments import adaptive_moments
from skytool.errors import AlgorithmError, IncompatibleError
from skytool.models.psf.places import stars_across
from skytool.models.psf.stars import PSF_STARS, PsfStars
from skytool.pictures.scatter import Points, ScatterPanel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure
    from skytool.models.psf.kinds import Psf
    from skytool.models.psf.places import Star
    from skytool.pictures.colours import Colour

_OTHERS: Colour = (0.62, 0.66, 0.72)
_USED: Colour = (0.11, 0.38, 0.75)
_RESERVED: Colour = (0.83, 0.33, 0.10)
_PLACES = 16  # along each side, at which widths are mapped
_BRIGHTER = 0.5  # quantile of signal-to-noise ratios from which stars are stacked


def psf_stars_panel(exposure: Exposure, title: str) -> ScatterPanel:
    """Return how much wider stars are than the PSF, against their signal-to-noise ratios.

    Parameters
    ----------
    exposure : Exposure
        An exposure whose PSF was measured.
    title : str
        First line above the panel.

    Raises
    ------
    IncompatibleError
        If there is no table of stars, or none with a width in it.
    """
    stars = _measured_stars(exposure)
    kinds = (
        ("not alike", _OTHERS, ~stars.used & ~stars.reserved),
        ("used", _USED, stars.used),
        ("reserved", _RESERVED, stars.reserved),
    )
    excess = 100.0 * (stars.fwhm / stars.psf_fwhm - 1.0)
    ellipticity = np.hypot(stars.e1 - stars.psf_e1, stars.e2 - stars.psf_e2)
    return ScatterPanel(
        points=tuple(
            Points(f"{name}: {np.count_nonzero(of)}", colour, np.log10(stars.snr[of]), excess[of])
            for name, colour, of in kinds
            if of.any()
        ),
        title=title,
        subtitle=f"median difference of ellipticities: {np.median(ellipticity):.4f}",
        x_label="logarithm of the signal-to-noise ratio",
        y_label="width of stars beyond that of the PSF [%]",
    )


def psf_widths_image(exposure: Exposure) -> NDArray[np.float32]:
    """Return the width of the PSF at places all over an exposure, by adaptive moments [pixel].

    Raises
    ------
    IncompatibleError
        If it has no PSF.
    """
    stars = stars_across(_psf(exposure), exposure.shape, n=_PLACES)
    return np.array([[_width(star) for star in row] for row in stars], np.float32)


def residuals_image(exposure: Exposure) -> NDArray[np.float32]:
    """Return what is left of stars less their PSF, over its peak: of used and of reserved stars.

    It is the median of the brighter half of each kind, side by side.

    Raises
    ------
    IncompatibleError
        If there is no PSF, or no table of stars.
    """
    psf, stars = _psf(exposure), _measured_stars(exposure)
    parts = []
    for of in (stars.used, stars.reserved):
        if of.any():
            bright = of & (stars.snr >= np.quantile(stars.snr[of], _BRIGHTER))
            parts.append(_stacked_residual(exposure, psf, stars[bright]))
    if not parts:
        raise IncompatibleError(f"{exposure.name} has no star in its table {PSF_STARS}.")
    return np.hstack(parts).astype(np.float32)


def _psf(exposure: Exposure) -> Psf:
    if exposure.psf is None:
        raise IncompatibleError(
            f"{exposure.name} has no PSF.", hint="Measure one with skytool psf, or give --psf."
        )
    return exposure.psf


def _measured_stars(exposure: Exposure) -> PsfStars:
    """Return the stars of an exposure that have a width."""
    table = next((hdu for hdu in exposure.extensions if hdu.name == PSF_STARS), None)
    if table is None:
        raise IncompatibleError(
            f"{exposure.name} has no table {PSF_STARS}.", hint="Give what `skytool psf` made."
        )
    stars = PsfStars.from_hdu(table, name=exposure.name)
    stars = stars[np.isfinite(stars.fwhm) & np.isfinite(stars.psf_fwhm) & (stars.snr > 0.0)]
    if not len(stars):
        raise IncompatibleError(f"{exposure.name} has no star in its table {PSF_STARS}.")
    return stars


def _width(star: Star | None) -> float:
    """Return the width of a star; NaN where there is none."""
    if star is None:
        return np.nan
    try:
        return adaptive_moments(star.stamp).fwhm
    except ValueError:
        return np.nan


def _stacked_residual(exposure: Exposure, psf: Psf, stars: PsfStars) -> NDArray[np.float64]:
    """Return the median of stars less their PSF, over the peak of the PSF; NaN beyond the image."""
    half_y, half_x = (size // 2 for size in psf.shape)
    around = np.full((len(stars), *psf.shape), np.nan)
    ny, nx = exposure.shape
    for index in range(len(stars)):
        y, x = stars.y[index], stars.x[index]
        middle_y, middle_x = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
        rows = np.arange(max(middle_y - half_y, 0), min(middle_y + half_y + 1, ny))
        columns = np.arange(max(middle_x - half_x, 0), min(middle_x + half_x + 1, nx))
        if not (rows.size and columns.size):
            continue
        part = np.ix_(rows, columns)
        inside = np.ix_(rows - middle_y + half_y, columns - middle_x + half_x)
        try:
            star = psf.image(y=y, x=x)
        except AlgorithmError:
            continue
        level = stars.flux[index] * star
        around[index][inside] = (exposure.image[part] - level[inside]) / level.max()
    seen = np.isfinite(around).any(axis=0)
    stacked = np.full(psf.shape, np.nan)
    stacked[seen] = np.nanmedian(around[:, seen], axis=0)
    return stacked
