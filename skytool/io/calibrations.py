"""Calibrations of exposures from files beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from skytool.errors import InputError
from skytool.io.filespec import FileSpec

if TYPE_CHECKING:
    from skytool.models.records.detector_table import DetectorTable


def read_detector_table(file: str, *, tract: int | None = None) -> DetectorTable:
    """Read a table with a row for every detector of every visit.

    Parameters
    ----------
    file : str
        ``FILE`` or ``FILE[EXT]``: FITS, ECSV or CSV.
    tract : int, optional
        The tract whose rows count, where a table has a column of tracts.

    Raises
    ------
    InputError
        If the file cannot be read, is damaged, or its rows name no detectors.
    IncompatibleError
        If it has no rows for the tract.
    """
    from skytool.io.tables import read_columns
    from skytool.models.records.detector_table import DetectorTable

    name = FileSpec.parse(file).name
    return DetectorTable.from_columns(read_columns(file), name=name, tract=tract)


def read_wcs_cards(file: str, *, number: int) -> str | None:
    """Read celestial coordinates from a text header, as SCAMP writes them.

    Parameters
    ----------
    file : str
        The file; of an image with several extensions it has a header for each, ended by END.
    number : int
        Number of the extension of the image, 0 for the primary.

    Returns
    -------
    str or None
        The cards; None if there is no such file.

    Raises
    ------
    InputError
        If the file cannot be read, is no header, or lacks that of the extension.
    """
    from skytool.io.texts import text_of
    from skytool.models.records.external_calibration import wcs_cards

    path = Path(file)
    if not path.exists():
        return None
    text = text_of(FileSpec(path))
    if text is None:
        raise InputError(f"{file} is no text header.")
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.strip().upper() == "END":
            blocks.append([])
        else:
            blocks[-1].append(line)
    headers = ["\n".join(block) for block in blocks if any(line.strip() for line in block)]
    place = 0 if len(headers) == 1 else number - 1
    if not 0 <= place < len(headers):
        raise InputError(f"{file} holds {len(headers)} headers, none of extension {number}.")
    return wcs_cards(headers[place], name=path.name)
