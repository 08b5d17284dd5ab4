"""Outputs that are compressed because their names say so."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from typing import IO

WHOLE = frozenset({".gz", ".bz2", ".xz"})
"""Endings of files that are compressed as a whole."""

TILED = ".fz"
"""Ending of FITS files whose images are compressed by tiles."""

NOT_WRITTEN = frozenset({".7z", ".lz4", ".lzma", ".rar", ".z", ".zip", ".zst"})
"""Endings that promise what we do not write."""

_LEVEL = 6  # of gzip: as the program of that name


def ending(output: str | os.PathLike[str]) -> str:
    """Return the last suffix of a name in lower case."""
    return Path(output).suffix.lower()


@contextmanager
def packed(file: IO[bytes], kind: str) -> Iterator[IO[bytes]]:
    """Yield a file that compresses what is written to it, with equal bytes in equal runs.

    Parameters
    ----------
    file : file
        Where the compressed bytes go; it must take all that it is given at once.
    kind : str
        One of `WHOLE`. The gzip container (RFC 1952) has no name and the time zero in it.
    """
    if kind == ".gz":
        import gzip

        with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as gz:
            yield cast("IO[bytes]", gz)
    elif kind == ".bz2":
        import bz2

        with bz2.BZ2File(file, "wb") as bz:
            yield cast("IO[bytes]", bz)
    else:
        import lzma

        with lzma.LZMAFile(file, "wb") as xz:
            yield cast("IO[bytes]", xz)
