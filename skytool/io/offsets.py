"""Offsets of exposures that are known beforehand, from a text file."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from skytool.errors import InputError
from skytool.io.filespec import FileSpec

if TYPE_CHECKING:
    from collections.abc import Iterable


def read_offsets(file: str) -> dict[str, float]:
    """Read offsets: a name and a number a line, apart by blanks, a tab or a comma.

    ``#`` begins a comment. Folders of names do not matter.

    Parameters
    ----------
    file : str
        The file.

    Returns
    -------
    dict of str to float
        Offset by name of the file.

    Raises
    ------
    InputError
        If the file cannot be read, a line is something else, or a name is there twice.
    """
    path = FileSpec.parse(file).path
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from error
    found: dict[str, float] = {}
    for number, line in enumerate(text.splitlines(), 1):
        entry = re.sub(r"(^|\s)#.*", "", line).strip()
        if not entry:
            continue
        parts = re.split(r"\s*,\s*|\s+", entry)
        name, value = parts[0].rpartition("/")[2], _number(parts[-1])
        if len(parts) != 2 or not name or value is None:
            raise InputError(
                f"{file}, line {number}: {entry!r} is no name with an offset.",
                hint="Write 'NAME VALUE', as 'warp-7.fits -12.5'.",
            )
        if name in found:
            raise InputError(f"{file}, line {number}: {name} is there twice.")
        found[name] = value
    return found


def offset_of(name: str, offsets: dict[str, float]) -> float | None:
    """Return the offset of a file, named with or without its suffixes; None if there is none."""
    return next((offsets[key] for key in _keys(name) if key in offsets), None)


def unknown_names(offsets: dict[str, float], names: Iterable[str]) -> list[str]:
    """Return the names with an offset that no file has."""
    known = {key for name in names for key in _keys(name)}
    return [name for name in offsets if name not in known]


def _keys(name: str) -> tuple[str, str]:
    spec = FileSpec.parse(name)
    return spec.file_name, spec.stem


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
