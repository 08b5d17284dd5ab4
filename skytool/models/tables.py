"""Small tables as FITS extensions, without the start-up time of a table library."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from astropy.io import fits

from skytool.errors import InputError
from skytool.models.keywords import set_card
from skytool.models.pixels import damage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_CODES = {"b": "L", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D", "u1": "B"}


class TableColumn(NamedTuple):
    """A column to write.

    Parameters
    ----------
    name : str
        Its name.
    values : array_like, shape (n,) or (n, m)
        Texts, truth values, integers or floats; of the last three also m in a row.
    unit : str
        FITS unit string, empty for none.
    comment : str
        What it is, for a TCOMM card; positions say here that they are 0-based.
    """

    name: str
    values: ArrayLike
    unit: str = ""
    comment: str = ""


def table_hdu(name: str, columns: Sequence[TableColumn]) -> fits.BinTableHDU:
    """Return a binary table.

    Parameters
    ----------
    name : str
        EXTNAME.
    columns : sequence of TableColumn
        Columns of equal length. Texts become ASCII (see `escaped`), trailing blanks are lost.

    Raises
    ------
    ValueError
        If the columns differ in length or hold something else.
    """
    arrays = [_array(column) for column in columns]
    if len({len(array) for array in arrays}) > 1:
        msg = f"the columns of the table {name} differ in length"
        raise ValueError(msg)
    defined = [
        fits.Column(column.name, _code(array), unit=column.unit or None, array=array)
        for column, array in zip(columns, arrays, strict=True)
    ]
    # data given to the constructor would import astropy.table
    hdu = fits.BinTableHDU(name=name)
    hdu.data = fits.FITS_rec.from_columns(fits.ColDefs(defined))
    hdu.update_header()
    for number, column in enumerate(columns, 1):
        set_card(hdu.header, f"TCOMM{number}", column.comment or None)
    return hdu


def table_columns(
    hdu: fits.BinTableHDU, *, name: str, required: Sequence[str] = ()
) -> dict[str, NDArray[np.generic]]:
    """Return the columns of a table in this machine's byte order, by name in upper case.

    Parameters
    ----------
    hdu : BinTableHDU
        Table of an open file.
    name : str
        What messages call the file.
    required : sequence of str
        Names of columns that must be there.

    Returns
    -------
    dict of str to ndarray, shape (n,) or (n, m)
        Texts are str without trailing blanks.

    Raises
    ------
    InputError
        If the extension is no table, is damaged, or lacks a column.
    """
    if getattr(hdu, "is_image", True):
        raise InputError(f"{name}: extension {hdu.name} holds no table.")
    with damage_errors(f"{name}: the table {hdu.name}"):
        data = hdu.data
        found = {} if data is None else {c.upper(): _read(data[c]) for c in hdu.columns.names}
    missing = [column for column in required if column not in found]
    if missing:
        raise InputError(
            f"{name}: the table {hdu.name} has no column {', '.join(missing)}.",
            hint=f"It has {', '.join(found)}.",
        )
    return found


def escaped(text: str) -> str:
    r"""Return ASCII text: other and control characters as ``\uXXXX``, which TOML reads, too."""
    return "".join(
        char if " " <= char <= "~" else f"\\u{ord(char):04x}" if char <= "\uffff" else _long(char)
        for char in text
    )


def _long(char: str) -> str:
    return f"\\U{ord(char):08x}"


def _array(column: TableColumn) -> NDArray[np.generic]:
    """Return the values of a column in a type that a table can hold."""
    array = np.asarray(column.values)
    if array.dtype.kind == "U":
        texts = [escaped(str(text)).encode("ascii") for text in array]
        return np.array(texts, dtype=f"S{max([1, *map(len, texts)])}")
    if array.dtype.kind not in "biuf" or array.ndim not in {1, 2}:
        msg = f"the column {column.name} cannot hold {array.dtype} of {array.ndim} axes"
        raise ValueError(msg)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        return array.astype(np.int64)
    return array


def _code(array: NDArray[np.generic]) -> str:
    """Return the TFORM value of a column."""
    if array.dtype.kind == "S":
        return f"{array.dtype.itemsize}A"
    code = _CODES["b" if array.dtype.kind == "b" else array.dtype.str[1:]]
    return code if array.ndim == 1 else f"{array.shape[1]}{code}"


def _read(values: NDArray[np.generic]) -> NDArray[np.generic]:
    if values.dtype.kind in "US":
        return np.array([str(text).rstrip() for text in values], dtype=np.str_)
    return np.array(values, dtype=values.dtype.newbyteorder("="))
