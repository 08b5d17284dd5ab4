"""Curves of the throughput of a filter, as users give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.errors import InputError
from skytool.io.filespec import FileSpec
from skytool.io.tables import read_columns
from skytool.models.dcr.bands import Band, band_of_curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_LONGEST_NM = 3000.0  # larger numbers are Angstrom
_LONGEST_MICROMETRE = 30.0  # and numbers up to this one micrometres


def read_throughput(file: str) -> Band:
    """Return the band of a throughput curve.

    Parameters
    ----------
    file : str
        ``FILE`` or ``FILE[EXT]``: a table, FITS or text, whose first two columns are the wavelength,
        in nanometres, Angstrom or micrometres, which its numbers tell, and the throughput in any
        unit. Columns of text may be parted by blanks, and need no names.

    Returns
    -------
    Band
        From and to where the curve rises above and falls below one per cent of its highest value.

    Raises
    ------
    InputError
        If it holds no such curve.
    """
    name = FileSpec.parse(file).file_name
    wavelength, throughput = _two_columns(file, name)
    good = np.isfinite(wavelength) & np.isfinite(throughput)
    order = np.argsort(wavelength[good], kind="stable")
    wavelength, throughput = wavelength[good][order], throughput[good][order]
    wrong = wavelength.size < 2 or wavelength[0] <= 0.0 or np.any(np.diff(wavelength) <= 0.0)
    if wrong or not throughput.max() > 0.0:
        raise InputError(
            f"{name} holds no curve of wavelengths that grow and a throughput that is positive."
        )
    longest = wavelength[-1]
    unit = 0.1 if longest > _LONGEST_NM else 1e3 if longest < _LONGEST_MICROMETRE else 1.0
    return band_of_curve(wavelength * unit, np.maximum(throughput, 0.0), name=name)


def _two_columns(file: str, name: str) -> tuple[Floats, Floats]:
    """Return the first two columns of a table."""
    from skytool.io.texts import text_of

    spec = FileSpec.parse(file)
    text = None if spec.extension is not None else text_of(spec)
    if text is not None and not text.startswith("# %ECSV"):
        rows = [line.split("#")[0].replace(",", " ").split() for line in text.splitlines()]
        columns = _numbers([row for row in rows if row], name)
        return columns[:, 0], columns[:, 1]
    found = list(read_columns(file).values())[:2]
    if len(found) < 2 or {column.dtype.kind for column in found} - set("iuf"):
        raise InputError(f"{name} has no two columns of numbers.")
    wavelength, throughput = (np.asarray(column, np.float64) for column in found)
    return wavelength, throughput


def _numbers(rows: list[list[str]], name: str) -> Floats:
    """Return the first two columns of lines of text, without a line of names."""
    for start in (0, 1):
        try:
            values = np.array([[float(word) for word in row[:2]] for row in rows[start:]])
        except ValueError:
            continue
        if values.ndim == 2 and values.shape[1] == 2:
            return values
    raise InputError(f"{name} has no two columns of numbers.")
