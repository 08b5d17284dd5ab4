"""Target grids from files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skytool.errors import InputError
from skytool.io.filespec import FileSpec

if TYPE_CHECKING:
    from astropy.io import fits

    from skytool.models.sky.geometry import TargetGrid

_PARENT_IMAGES = ("SCI", "IMAGE")  # whose coordinates, beside X0 and Y0, are those of the parent


def read_grid(file: str) -> TargetGrid:
    """Return the grid of a FITS image, or of a text header.

    Parameters
    ----------
    file : str
        ``FILE`` or ``FILE[EXT]``. Without an extension the first image with a size is taken. What
        does not begin as FITS is read as an ASCII header (``.head``, ``.hdr``).

    Raises
    ------
    InputError
        If the file cannot be read.
    IncompatibleError
        If it describes no grid.
    """
    from skytool.io.fits import opened, selected
    from skytool.io.skywcs import in_array_pixels, origin_of
    from skytool.io.texts import text_of
    from skytool.models.sky.geometry import TargetGrid

    spec = FileSpec.parse(file)
    text = None if spec.extension is not None else text_of(spec)
    if text is not None:
        return TargetGrid.from_text(text, name=spec.file_name)
    with opened(spec) as hdus:
        if spec.extension is not None:
            hdu = selected(hdus, spec)
        else:
            images = [hdu for hdu in hdus if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2]
            if not images:
                raise InputError(f"{spec} has no image to take a grid from.")
            hdu = images[0]
        if not (hdu.name in _PARENT_IMAGES and {"X0", "Y0"} <= set(hdu.header)) or _is_own(hdus):
            return TargetGrid.from_header(hdu.header, name=spec.name, hdus=hdus)
        origin = origin_of(hdu.header)
        header = in_array_pixels(hdu.header, origin)
        return replace(TargetGrid.from_header(header, name=spec.name, hdus=hdus), origin=origin)


def _is_own(hdus: fits.HDUList) -> bool:
    """Return whether a file is one of skytool, whose coordinates are those of its arrays."""
    return "SKYFMT" in hdus[0].header
