"""Versions of the layouts in which models are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skytool.errors import InputError

if TYPE_CHECKING:
    from astropy.io import fits


def check_version(header: fits.Header, *, newest: int, name: str) -> int:
    """Return the version of the layout of a stored model.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header of the extension.
    newest : int
        Newest version that this program reads.
    name : str
        What messages call the extension.

    Raises
    ------
    InputError
        If the version is missing, is none, or is newer.
    """
    version = header.get("SKYMVER")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise InputError(f"{name}: SKYMVER is {version!r}, not the version of a stored model.")
    if version > newest:
        raise InputError(
            f"{name} was written by a newer skytool: the layout of the model is {version}, this "
            f"program reads up to {newest}.",
            hint="Update skytool.",
        )
    return version
