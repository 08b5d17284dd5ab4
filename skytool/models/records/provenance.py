"""Where a product comes from: its inputs, the settings of every stage, and a fingerprint of both."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np

from skytool import __version__
from skytool.models.tables import TableColumn, escaped, table_columns, table_hdu

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from astropy.io import fits
    from numpy.typing import NDArray

INPUTS = "INPUTS"
"""EXTNAME of the table of inputs."""

CONFIG = "CONFIG"
"""EXTNAME of the table of settings."""

ExtraValue = str | bool | int | float | tuple[float, ...]


@dataclass(frozen=True)
class InputRecord:
    """One input image of a product, used or not.

    Parameters
    ----------
    role : str
        What it was: science, template, reference, sky, warp-input.
    file : str
        Name without folder.
    extname, extver : str, int
        Extension that held the image.
    datasum : str
        DATASUM of that extension.
    visit, detector : str
        As the header spells them; empty if unknown.
    weight : float
        Weight in the product; NaN where there is none.
    scale : float
        Factor from the input's units to those of the product; NaN where there is none.
    status : str
        ``used`` or ``skipped``.
    reason : str
        Why it was skipped.
    extra : mapping of str to value
        Further columns by name in upper case: text, truth value, integer, float or a tuple of floats.
    """

    role: str
    file: str
    extname: str = ""
    extver: int = 1
    datasum: str = ""
    visit: str = ""
    detector: str = ""
    weight: float = np.nan
    scale: float = np.nan
    status: str = "used"
    reason: str = ""
    extra: Mapping[str, ExtraValue] = field(default_factory=dict)


@dataclass(frozen=True)
class SettingRecord:
    """A setting of a stage.

    Parameters
    ----------
    stage : str
        Command, as ``warp`` or ``skyframe build``.
    name : str
        Name of the option without dashes in front.
    value : str
        Value as TOML; empty if it is not set.
    source : str
        ``command line``, ``environment``, ``file`` or ``default``.
    """

    stage: str
    name: str
    value: str
    source: str


_INPUT_COLUMNS = (
    ("ROLE", "role", "what the input was"),
    ("FILE", "file", "name without folder"),
    ("EXTNAME", "extname", "extension of the image"),
    ("EXTVER", "extver", "its version"),
    ("DATASUM", "datasum", "DATASUM of the image"),
    ("VISIT", "visit", "visit"),
    ("DETECTOR", "detector", "detector"),
    ("WEIGHT", "weight", "weight in the product"),
    ("SCALE", "scale", "factor from units of the input"),
    ("STATUS", "status", "used or skipped"),
    ("REASON", "reason", "why it was skipped"),
)
_CONFIG_COLUMNS = (
    ("STAGE", "stage", "command"),
    ("NAME", "name", "option"),
    ("VALUE", "value", "as TOML"),
    ("SOURCE", "source", "where the value came from"),
)


def inputs_table(
    records: Sequence[InputRecord], *, units: Mapping[str, str] | None = None
) -> fits.BinTableHDU:
    """Return the INPUTS table, a row for each record.

    Parameters
    ----------
    records : sequence of InputRecord
        Inputs in their order. A further column that a record lacks is NaN, empty or False there.
    units : mapping of str to str, optional
        FITS units of further columns.

    Raises
    ------
    ValueError
        If a record lacks a further column of integers, or one has values of several kinds.
    """
    columns = [
        TableColumn(name, _values([getattr(record, key) for record in records]), comment=comment)
        for name, key, comment in _INPUT_COLUMNS
    ]
    for name in dict.fromkeys(name for record in records for name in record.extra):
        given = [record.extra.get(name) for record in records]
        columns.append(TableColumn(name, _filled(name, given), (units or {}).get(name, "")))
    return table_hdu(INPUTS, columns)


def read_inputs(hdu: fits.BinTableHDU, *, name: str) -> list[InputRecord]:
    """Return the records of an INPUTS table.

    Parameters
    ----------
    hdu : BinTableHDU
        What `inputs_table` made.
    name : str
        What messages call the file.

    Raises
    ------
    InputError
        If columns are missing.
    """
    names = {column: key for column, key, _ in _INPUT_COLUMNS}
    columns = table_columns(hdu, name=name, required=list(names))
    count = len(columns["FILE"])
    records = []
    for row in range(count):
        values = {column: _python(array[row]) for column, array in columns.items()}
        known = {key: values.pop(column) for column, key in names.items()}
        records.append(InputRecord(**cast("dict[str, str]", known), extra=values))  # type: ignore[arg-type]
    return records


def config_table(records: Iterable[SettingRecord]) -> fits.BinTableHDU:
    """Return the CONFIG table, a row for each setting."""
    rows = list(records)
    return table_hdu(
        CONFIG,
        [
            TableColumn(name, _values([getattr(row, key) for row in rows]), comment=comment)
            for name, key, comment in _CONFIG_COLUMNS
        ],
    )


def read_config(hdu: fits.BinTableHDU, *, name: str) -> list[SettingRecord]:
    """Return the records of a CONFIG table.

    Raises
    ------
    InputError
        If columns are missing.
    """
    names = [column for column, _, _ in _CONFIG_COLUMNS]
    columns = table_columns(hdu, name=name, required=names)
    rows = zip(*(columns[column] for column in names), strict=True)
    return [SettingRecord(*(str(value) for value in row)) for row in rows]


def merged_settings(blocks: Iterable[Iterable[SettingRecord]]) -> list[SettingRecord]:
    """Return the settings of several inputs, and of what was done with them, one after another.

    Equal records, as those of inputs that were made in the same way, are kept once; where inputs
    were made in different ways, all settings stay.
    """
    return list(dict.fromkeys(record for block in blocks for record in block))


def earlier_settings(
    extensions: Iterable[fits.ImageHDU | fits.BinTableHDU], *, name: str
) -> list[SettingRecord]:
    """Return the settings that the CONFIG tables among extensions hold."""
    return merged_settings(read_config(hdu, name=name) for hdu in extensions if hdu.name == CONFIG)


def without_provenance(
    extensions: Iterable[fits.ImageHDU | fits.BinTableHDU],
) -> list[fits.ImageHDU | fits.BinTableHDU]:
    """Return extensions without the INPUTS and CONFIG tables, which each product has anew."""
    return [hdu for hdu in extensions if hdu.name not in {INPUTS, CONFIG}]


def fingerprint(
    datasums: Iterable[str], settings: Iterable[SettingRecord], *, version: str = __version__
) -> str:
    """Return a text that changes whenever a product may change.

    Parameters
    ----------
    datasums : iterable of str
        Sums of all inputs, in their order.
    settings : iterable of SettingRecord
        All settings; their order and sources do not matter.
    version : str
        Version of the program.

    Returns
    -------
    str
        64 hexadecimal digits (SHA-256).
    """
    values = sorted({(record.stage, record.name, record.value) for record in settings})
    text = json.dumps([version, list(datasums), values])
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def history_line(stage: str, text: str) -> str:
    """Return the line that a stage adds to the history: ``skytool 0.1.0 warp: 3 inputs``.

    What a card cannot hold, as in names of files, is `escaped`.
    """
    return escaped(f"skytool {__version__} {stage}: {text}")


def _values(values: Sequence[object]) -> NDArray[np.generic]:
    """Return an array of a column; an empty one counts as text."""
    return np.array(values) if values else np.array([], dtype=np.str_)


def _filled(name: str, values: Sequence[ExtraValue | None]) -> NDArray[np.generic]:
    """Return a further column, what is missing filled in."""
    given = [value for value in values if value is not None]
    kinds = {float if type(value) is int else type(value) for value in given}
    if len(kinds) > 1:
        msg = f"the column {name} has values of several kinds"
        raise ValueError(msg)
    first = given[0]
    blank: ExtraValue
    if isinstance(first, tuple):
        blank = (np.nan,) * len(first)
    elif isinstance(first, str):
        blank = ""
    elif isinstance(first, bool):
        blank = False
    elif len(given) < len(values) and all(isinstance(value, int) for value in given):
        msg = f"the column {name} of integers has no value in some rows"
        raise ValueError(msg)
    else:
        blank = np.nan
    return np.array([blank if value is None else value for value in values])


def _python(value: object) -> ExtraValue:
    """Return an element of a column as Python has it."""
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    return cast("ExtraValue", value.item() if isinstance(value, np.generic) else value)
