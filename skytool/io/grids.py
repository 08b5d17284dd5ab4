"""Target grids from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skytool.errors import InputError
from skytool.io.filespec import FileSpec

if TYPE_CHECKING:
    from skytool.models.geometry import TargetGrid

_LARGEST_TEXT = 1 << 20  # bytes; a header of 10 000 lines is a tenth of it


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
    from skytool.models.geometry import TargetGrid

    spec = FileSpec.parse(file)
    text = None if spec.extension is not None else _text(spec)
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
        return TargetGrid.from_header(hdu.header, name=spec.name, hdus=hdus)


def _text(spec: FileSpec) -> str | None:
    """Return the file as text, or None if it is no text header."""
    if spec.is_standard_stream or not spec.path.is_file():
        return None
    try:
        with spec.path.open("rb") as stream:
            data = stream.read(_LARGEST_TEXT + 1)
    except OSError as error:
        raise InputError(f"{spec} cannot be read: {error.strerror}.") from error
    # a text header may begin with SIMPLE too, but real FITS has no line break in its first block
    lines = data.startswith(b"SIMPLE  =") and b"\n" in data[:2880]
    if not lines and data.startswith((b"SIMPLE  =", b"XTENSION", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")):
        return None
    if len(data) > _LARGEST_TEXT or b"\0" in data:
        return None
    return data.decode("latin-1")
