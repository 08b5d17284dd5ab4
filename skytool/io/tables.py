"""Tables that users give: FITS, ECSV or CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.errors import InputError
from skytool.io.filespec import FileSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ECSV = "# %ECSV"


def read_columns(file: str) -> dict[str, NDArray[np.generic]]:
    """Return the columns of a table.

    Parameters
    ----------
    file : str
        ``FILE`` or ``FILE[EXT]``; of FITS without an extension the first table. What is no FITS is
        read as ECSV, if its first line says so, and otherwise as CSV.

    Returns
    -------
    dict of str to ndarray, shape (n,) or (n, m)
        By name, as the file has it. Missing numbers are NaN, missing texts empty.

    Raises
    ------
    InputError
        If the file cannot be read, is damaged, or holds no table.
    """
    from skytool.io.texts import text_of

    spec = FileSpec.parse(file)
    text = None if spec.extension is not None else text_of(spec)
    return _fits_columns(spec) if text is None else _text_columns(text, spec.file_name)


def _fits_columns(spec: FileSpec) -> dict[str, NDArray[np.generic]]:
    from skytool.io.fits import opened, selected
    from skytool.models.tables import table_columns

    with opened(spec) as hdus:
        if spec.extension is not None:
            return table_columns(selected(hdus, spec), name=spec.file_name)
        tables = [hdu for hdu in hdus if not hdu.is_image]
        if not tables:
            raise InputError(f"{spec} holds no table.")
        return table_columns(tables[0], name=spec.file_name)


def _text_columns(text: str, name: str) -> dict[str, NDArray[np.generic]]:
    from astropy.table import Table

    layout = "ascii.ecsv" if text.startswith(_ECSV) else "ascii.csv"
    options = {} if layout == "ascii.ecsv" else {"comment": "#"}
    try:
        table = Table.read(text.splitlines(), format=layout, **options)
    except Exception as error:  # its readers raise errors of many kinds for a damaged table
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{name} is neither FITS nor a table as text: {reason.rstrip('.')}."
        ) from error
    if not table.colnames:
        raise InputError(f"{name} holds no table.")
    return {column: _filled(table[column]) for column in table.colnames}


def _filled(column: object) -> NDArray[np.generic]:
    """Return the values of a column, missing ones as NaN or an empty text."""
    values: Any = np.ma.asarray(column)
    if values.dtype.kind in "OU":
        return np.array([str(value) for value in np.ma.filled(values, "")], dtype=np.str_)
    if not np.ma.is_masked(values):
        return np.asarray(np.ma.getdata(values))
    return np.ma.filled(values.astype(np.float64), np.nan)
