"""astropy's CCDData: the image in the primary, a mask of 0 and 1, and an uncertainty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from skytool.io.exports.cards import image_header, observation_header, place_header
from skytool.io.fits import write_foreign
from skytool.models.keywords import set_card
from skytool.models.psf.places import middle_star

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from skytool.models.exposure import Exposure


def write(
    exposure: Exposure,
    output: Path,
    *,
    bad_planes: Sequence[str],
    notes: fits.Header,
    overwrite: bool,
) -> None:
    """Write what ``CCDData.read(output)`` reads without further arguments.

    The uncertainty is a standard deviation, as most programs want it; a PSF becomes the image of
    a star in the middle.
    """
    bad = exposure.mask.any_of(bad_planes) | np.isnan(exposure.image)
    header = image_header(exposure)
    header.extend(observation_header(exposure, notes))
    uncertainty = image_header(exposure)
    set_card(uncertainty, "UTYPE", "StdDevUncertainty")
    hdus = [
        fits.PrimaryHDU(exposure.image, header),
        fits.ImageHDU(bad.astype(np.uint8), place_header(exposure), name="MASK"),
        fits.ImageHDU(np.sqrt(exposure.variance), uncertainty, name="UNCERT"),
    ]
    if exposure.psf is not None:
        star = middle_star(exposure.psf, exposure.shape)
        hdus.append(fits.ImageHDU(star.stamp, name="PSFIMAGE"))
    write_foreign({output: hdus}, overwrite=overwrite)
