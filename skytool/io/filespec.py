"""Names of files on the command line: ``FILE``, ``FILE[EXT]``, ``FILE[EXT,VERSION]``, ``-``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from skytool.errors import InputError

Extension = str | int | tuple[str, int]

_BRACKETS = re.compile(r"(?P<path>.+)\[(?P<extension>[^\[\]]*)\]", re.DOTALL)
_SUFFIX = re.compile(r"(\.(fits|fit|fts))(\.(fz|gz|bz2|xz|z))?|\.(fz|gz|bz2|xz|z)", re.IGNORECASE)


@dataclass(frozen=True)
class FileSpec:
    """A file, and the extension of it that is meant.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file; ``-`` is standard input or output.
    extension : str, int, tuple of str and int, or None
        Name, number (0 is the primary), or name and EXTVER; None where the user named none.
    """

    path: Path
    extension: Extension | None = None

    @classmethod
    def parse(cls, text: str | os.PathLike[str] | FileSpec) -> Self:
        """Take the text of a command-line argument apart.

        A name that really ends in ``]`` wins where such a file exists.

        Raises
        ------
        InputError
            If brackets hold no name, number or name with a number.
        """
        if isinstance(text, FileSpec):
            return cls(text.path, text.extension)
        name = os.fspath(text)
        if not name or "\0" in name:
            raise InputError(f"{name!r} is no file name.")
        match = _BRACKETS.fullmatch(name)
        if match is None or _exists(name):
            return cls(_path(name))
        return cls(_path(match["path"]), _parse_extension(match["extension"], name))

    @property
    def is_standard_stream(self) -> bool:
        """True for ``-``."""
        return str(self.path) == "-"

    @property
    def name(self) -> str:
        """What messages and tables call it: no folder, with the extension, as ``a.fits[SCI,2]``."""
        return f"{self.file_name}{self._brackets()}"

    @property
    def file_name(self) -> str:
        """Name of the file without its folder."""
        return "standard input" if self.is_standard_stream else self.path.name

    @property
    def stem(self) -> str:
        """Name without folder and suffixes: ``raw7`` of ``night/raw7.fits.fz``."""
        if self.is_standard_stream:
            return "stdin"
        return self.path.name[: -len(self.suffix)] if self.suffix else self.path.name

    @property
    def suffix(self) -> str:
        """Suffix, that of a compression included: ``.fits.fz`` of ``raw7.fits.fz``."""
        name = self.path.name
        for start in (index for index, char in enumerate(name) if char == "." and index):
            if _SUFFIX.fullmatch(name, start):
                return name[start:]
        return self.path.suffix

    def product_name(self, suffix: str = "") -> str:
        """Return the name that a product of this file gets: ``<stem><suffix>.fits``."""
        return f"{self.stem}{suffix}.fits"

    def with_extension(self, extension: Extension | None) -> Self:
        """Return the same file with another extension."""
        return type(self)(self.path, extension)

    def __str__(self) -> str:
        """Return the text that `parse` takes."""
        return f"{self.path}{self._brackets()}"

    def _brackets(self) -> str:
        return "" if self.extension is None else f"[{extension_text(self.extension)}]"


def _path(name: str) -> Path:
    """Return the path of a name; ``./-`` is a file, not a standard stream."""
    path = Path(name)
    return path.absolute() if str(path) == "-" != name else path


def _exists(name: str) -> bool:
    """Return True if there is such a file, False also where nobody may look."""
    try:
        return Path(name).exists()
    except OSError:
        return False


def extension_text(extension: Extension) -> str:
    """Return an extension as a user writes it: ``SCI``, ``2`` or ``SCI,2``."""
    if isinstance(extension, tuple):
        return f"{extension[0]},{extension[1]}"
    return str(extension)


def _parse_extension(text: str, argument: str) -> Extension:
    name, comma, version = (part.strip() for part in text.partition(","))
    if not comma and name.isascii() and name.isdigit():
        return int(name)
    if name and not comma and ":" not in name:
        return name
    if name and comma and version.isascii() and version.isdigit():
        return name, int(version)
    raise InputError(
        f"{argument}: [{text}] names no extension.",
        hint="Write FILE[NAME], FILE[NUMBER] or FILE[NAME,VERSION].",
    )
