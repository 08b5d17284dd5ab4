"""Panels of the stars that a point spread function was measured with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.errors import IncompatibleError
from skytool.models.psf.stars import PSF_STARS, PsfStars
from skytool.pictures.scatter import Points, ScatterPanel

if TYPE_CHECKING:
    from skytool.models.exposure import Exposure
    from skytool.pictures.colours import Colour

_OTHERS: Colour = (0.62, 0.66, 0.72)
_USED: Colour = (0.11, 0.38, 0.75)
_RESERVED: Colour = (0.83, 0.33, 0.10)


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
    table = next((hdu for hdu in exposure.extensions if hdu.name == PSF_STARS), None)
    if table is None:
        raise IncompatibleError(
            f"{exposure.name} has no table {PSF_STARS}.", hint="Give what `skytool psf` made."
        )
    stars = PsfStars.from_hdu(table, name=exposure.name)
    stars = stars[np.isfinite(stars.fwhm) & np.isfinite(stars.psf_fwhm) & (stars.snr > 0.0)]
    if not len(stars):
        raise IncompatibleError(f"{exposure.name} has no star in its table {PSF_STARS}.")
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
