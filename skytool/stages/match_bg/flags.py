"""Pixels that a match has flagged in a plane that was there before, on record to be taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from skytool.errors import InputError
from skytool.models.mask import Mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLAGS = "BKGFLAGS"
"""EXTNAME of the table of these pixels, one row for pixels side by side."""

_COLUMNS = ("Y", "X", "NUMBER")


def flags_hdu(where: NDArray[np.bool_], plane: str, *, version: int) -> fits.BinTableHDU:
    """Return pixels as a table.

    Parameters
    ----------
    where : ndarray of bool, shape (ny, nx)
        The pixels.
    plane : str
        The mask plane that they are flagged in.
    version : int
        EXTVER of the table.
    """
    walls = np.zeros((where.shape[0], where.shape[1] + 2), np.int8)
    walls[:, 1:-1] = where
    steps = np.diff(walls, axis=1)
    y, first = np.nonzero(steps > 0)
    _, end = np.nonzero(steps < 0)
    columns = [
        fits.Column(name, "J", array=values.astype(np.int32))
        for name, values in zip(_COLUMNS, (y, first, end - first), strict=True)
    ]
    hdu = fits.BinTableHDU.from_columns(columns, name=FLAGS, ver=version)
    hdu.header["BKGFLAG"] = (plane, "mask plane of these pixels")
    return hdu


def without_flags(mask: Mask, hdu: fits.BinTableHDU, *, name: str) -> Mask:
    """Return a mask without the flags of a table.

    Raises
    ------
    InputError
        If the table does not go with the mask.
    """
    damaged = InputError(f"{name}[{FLAGS}] is damaged: it does not go with the mask.")
    plane = hdu.header.get("BKGFLAG")
    if not isinstance(plane, str) or plane not in mask.bits:
        raise damaged
    array = mask.array.copy()
    ny, nx = array.shape
    try:
        runs = np.stack([np.asarray(hdu.data[name], np.int64) for name in _COLUMNS], axis=1)
    except (KeyError, ValueError) as error:
        raise damaged from error
    y, x, number = runs.T
    if (runs < 0).any() or (y >= ny).any() or (x + number > nx).any():
        raise damaged
    kept = np.int32(~(1 << mask.bits[plane]))
    for row, first, length in runs.tolist():
        array[row, first : first + length] &= kept
    return Mask(array, mask.bits)
