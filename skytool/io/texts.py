"""Text files among the inputs: headers and tables that people write and read."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from skytool.errors import InputError
from skytool.io.streams import StreamMemory

if TYPE_CHECKING:
    from skytool.io.filespec import FileSpec

_LARGEST = 1 << 26  # bytes; a table of a million rows
_BLOCK = 2880
_BINARY = (b"SIMPLE  =", b"XTENSION", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")

_texts: StreamMemory[str | None] = StreamMemory()


def text_of(spec: FileSpec) -> str | None:
    """Return what a file or a stream holds as text.

    Parameters
    ----------
    spec : FileSpec
        The file, ``-`` or a pipe.

    Returns
    -------
    str or None
        None if it is FITS, compressed, no text, or nothing that can be read; a stream can still
        be opened as FITS then.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if spec in _texts:
        return _texts[spec]
    try:
        if spec.is_standard_stream:
            if sys.stdin.isatty():
                return None
            data = sys.stdin.buffer.read()
        elif spec.path.is_file():
            return _text_of_file(spec)
        elif spec.path.is_dir() or not spec.path.exists():
            return None
        else:
            data = spec.path.read_bytes()
    except OSError as error:
        raise InputError(f"{spec} cannot be read: {error.strerror}.") from error
    text = _decoded(data)
    _texts[spec] = text
    if text is None:
        from skytool.io.fits import remember

        remember(spec, data)
    return text


def _text_of_file(spec: FileSpec) -> str | None:
    """Return the text of a file, looking no farther than needed into one that is none."""
    with spec.path.open("rb") as stream:
        start = stream.read(_BLOCK)
        if _is_binary(start):
            return None
        data = start + stream.read(_LARGEST + 1 - len(start))
    return None if len(data) > _LARGEST else _decoded(data)


def _decoded(data: bytes) -> str | None:
    return None if _is_binary(data) or b"\0" in data else data.decode("latin-1")


def _is_binary(data: bytes) -> bool:
    """Return whether bytes are FITS, or compressed.

    A text header may begin with SIMPLE too, but real FITS has no line break in its first block.
    """
    if data.startswith(b"SIMPLE  =") and b"\n" in data[:_BLOCK]:
        return False
    return data.startswith(_BINARY)
