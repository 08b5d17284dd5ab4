"""What a FITS file says of its own size, compared with its size before memory is taken."""

from __future__ import annotations

import hashlib
import io
import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from skytool.errors import InputError
from skytool.io.checksum import ALL_ONES, sum32

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

BLOCK = 2880
CARD = 80

_BITPIX = frozenset({8, 16, 32, 64, -32, -64})
_LONGEST_HEADER = 64 << 20  # bytes; a stream of blanks is no header
_PIECE = 1 << 20
# No tile compression of real pixels gains more than this; smaller images are believed anyway.
_LARGEST_GAIN = 20_000
_ALWAYS_BELIEVED = 1 << 30
_END = b"END" + b" " * 77
_WANTED = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|GROUPS|EXTNAME|EXTVER|ZIMAGE|ZBITPIX|ZNAXIS\d*|"
    r"ZTILE\d+|CHECKSUM|DATASUM|SKYFMT|NEXTEND"
)
_STRING = re.compile(r"\s*'((?:[^']|'')*)'")


class Source(Protocol):
    """Bytes that are read from the front to the back."""

    def read(self, size: int) -> bytes:
        """Return the next bytes, fewer than asked for at the end only."""

    def skip(self, size: int) -> int:
        """Go on, and return by how much: less than asked for at the end only."""


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes, none at the end only."""


class FileSource:
    """A regular file: what is skipped is not read."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.left = file.seek(0, io.SEEK_END)
        file.seek(0)

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        data = self.file.read(size)
        self.left -= len(data)
        return data

    def skip(self, size: int) -> int:
        """Go on without reading."""
        step = min(size, self.left)
        self.file.seek(step, io.SEEK_CUR)
        self.left -= step
        return step


class SpoolSource:
    """A stream that cannot go back: whatever passes is kept in ``spool``.

    Parameters
    ----------
    stream : binary stream
        What is left to read.
    start : bytes
        What was read of it before.
    """

    def __init__(self, stream: Readable, start: bytes = b"") -> None:
        self.stream = stream
        self.start = start
        self.spool = io.BytesIO()

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        pieces = list(self._pieces(size))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def skip(self, size: int) -> int:
        """Go on, keeping what passes."""
        return sum(len(piece) for piece in self._pieces(size))

    def _pieces(self, size: int) -> Iterator[bytes]:
        while size and (piece := self._next(min(size, _PIECE))):
            self.spool.write(piece)
            size -= len(piece)
            yield piece

    def _next(self, size: int) -> bytes:
        if not self.start:
            return self.stream.read(size)
        piece, self.start = self.start[:size], self.start[size:]
        return piece


@dataclass(frozen=True)
class HduExtent:
    """Where an HDU lies in a file and what it holds, from its header alone.

    Parameters
    ----------
    index : int
        Number in the file, 0 for the primary.
    kind : str
        ``PRIMARY`` or the value of XTENSION.
    name : str
        EXTNAME in upper case.
    version : int
        EXTVER, 1 if there is none.
    start, data_start, data_size : int
        First byte of the header, first byte and length of the data without padding [byte].
    cards : mapping
        Value of each card looked at, a string as it is written.
    """

    index: int
    kind: str
    name: str
    version: int
    start: int
    data_start: int
    data_size: int
    cards: Mapping[str, str] = field(repr=False)

    @property
    def end(self) -> int:
        """First byte behind the HDU, padding included."""
        return self.data_start + padded(self.data_size)


def padded(size: int) -> int:
    """Return a size rounded up to whole blocks [byte]."""
    return -(-size // BLOCK) * BLOCK


def walk(source: Source, name: str) -> list[HduExtent]:
    """Go through the headers of a file and check that all they promise is there.

    Parameters
    ----------
    source : Source
        The file from its start.
    name : str
        What messages call it.

    Raises
    ------
    InputError
        If the file is empty, not FITS, ends too early, or a header states impossible sizes.
    """
    extents: list[HduExtent] = []
    position = 0
    while True:
        header = _read_header(source, name, first=not extents)
        if header is None:
            _check_count(extents, name)
            return extents
        extent = _extent(header, len(extents), position, name)
        missing = padded(extent.data_size) - source.skip(padded(extent.data_size))
        if missing:
            raise InputError(
                f"{name} is truncated: extension {_label(extent)} ends {missing} bytes too early.",
                missing=missing,
            )
        extents.append(extent)
        position = extent.end


def data_sum(file: BinaryIO, extent: HduExtent) -> int:
    """Return the sum of the data of an extension as they are, whatever its DATASUM says."""
    file.seek(extent.data_start)
    return _sum_of(file, extent.end - extent.data_start)


def content_key(file: BinaryIO, extents: list[HduExtent]) -> str:
    """Return a text that changes when any header or any data of a file change."""
    digest = hashlib.sha256()
    for extent in extents:
        file.seek(extent.start)
        digest.update(file.read(extent.data_start - extent.start))
        digest.update(data_sum(file, extent).to_bytes(4, "big"))
    return digest.hexdigest()


def verify_checksums(file: BinaryIO, extents: list[HduExtent], name: str) -> None:
    """Compare CHECKSUM and DATASUM with the bytes of a file; cards that are absent are no fault.

    Raises
    ------
    InputError
        If a sum differs; the message names the extension.
    """
    for extent in extents:
        datasum = extent.cards.get("DATASUM", "").strip()
        checksum = extent.cards.get("CHECKSUM", "").strip()
        if not datasum and not checksum:
            continue
        data = data_sum(file, extent)
        stated = int(datasum) if datasum.isdigit() else -1
        if datasum and (stated < 0 or stated % ALL_ONES != data % ALL_ONES):
            raise InputError(
                f"{name}: the pixels of extension {_label(extent)} differ from DATASUM."
            )
        file.seek(extent.start)
        if checksum and _sum_of(file, extent.data_start - extent.start, data) not in {0, ALL_ONES}:
            raise InputError(f"{name}: extension {_label(extent)} differs from its CHECKSUM.")


def _check_count(extents: list[HduExtent], name: str) -> None:
    """Check that a file of skytool is not cut between two extensions."""
    promised = extents[0].cards.get("NEXTEND", "")
    if "SKYFMT" in extents[0].cards and promised.isdigit() and len(extents) <= int(promised):
        raise InputError(
            f"{name} is truncated: it has {len(extents) - 1} of {promised} extensions."
        )


def _sum_of(file: BinaryIO, size: int, total: int = 0) -> int:
    while size:
        piece = file.read(min(size, _PIECE))
        if not piece:
            break
        total = sum32(piece, total)
        size -= len(piece)
    return total


def _label(extent: HduExtent) -> str:
    return f"{extent.index} ({extent.name or extent.kind})"


def _read_header(source: Source, name: str, *, first: bool) -> list[bytes] | None:
    """Return the cards of the next header, None at the end of the file."""
    cards: list[bytes] = []
    while True:
        block = source.read(BLOCK)
        if not cards:
            if first:
                _check_start(block, name)
            elif not block.startswith(b"XTENSION"):
                _check_tail(block, name)
                return None
        if len(block) < BLOCK:
            raise InputError(f"{name} is truncated: it ends within a header.")
        cards += [block[at : at + CARD] for at in range(0, BLOCK, CARD)]
        if _END in cards[-(BLOCK // CARD) :]:
            return cards[: cards.index(_END)]
        if len(cards) * CARD > _LONGEST_HEADER:
            raise InputError(f"{name} is damaged: a header has no END card.")


def _check_start(block: bytes, name: str) -> None:
    if not block:
        raise InputError(f"{name} is empty.")
    if not block.startswith(b"SIMPLE  ="):
        raise InputError(f"{name} is not a FITS file: it does not start with SIMPLE.")


def _check_tail(block: bytes, name: str) -> None:
    """Refuse an extension that is cut in its first card; other bytes at the end may stay."""
    if block and b"XTENSION".startswith(block[:8]):
        raise InputError(f"{name} is truncated: it ends within a header.")


def _extent(header: list[bytes], index: int, start: int, name: str) -> HduExtent:
    cards: dict[str, str] = {}
    for card in header:
        key = card[:8].decode("latin-1").rstrip()
        if card[8:9] == b"=" and _WANTED.fullmatch(key):
            cards.setdefault(key, _value(card[10:].decode("latin-1")))
    kind = cards.get("XTENSION", "IMAGE").rstrip() if index else "PRIMARY"
    n_blocks = -(-(len(header) + 1) * CARD // BLOCK)
    extent = HduExtent(
        index=index,
        kind=kind,
        name=cards.get("EXTNAME", "").strip().upper(),
        version=_whole(cards, "EXTVER", 1) if cards.get("EXTVER", "").lstrip("-").isdigit() else 1,
        start=start,
        data_start=start + n_blocks * BLOCK,
        data_size=0,
        cards=cards,
    )
    try:
        size = _data_size(cards)
        _check_tiles(cards, size)
    except ValueError as error:
        raise InputError(f"{name} is damaged: extension {_label(extent)} has {error}.") from error
    return replace(extent, data_size=size)


def _value(text: str) -> str:
    match = _STRING.match(text)
    return match[1].replace("''", "'") if match else text.partition("/")[0].strip()


def _whole(cards: Mapping[str, str], key: str, default: int | None = None) -> int:
    """Return the value of a card that has to be a whole number."""
    if key not in cards and default is not None:
        return default
    text = cards.get(key, "")
    try:
        return int(text)
    except ValueError:
        msg = f"the card {key} = {text!r}" if key in cards else f"no card {key}"
        raise ValueError(msg) from None


def _lengths(cards: Mapping[str, str], prefix: str) -> list[int]:
    """Return the lengths of all axes, the fastest first."""
    count = _whole(cards, f"{prefix}NAXIS")
    if not 0 <= count <= 999:
        msg = f"{count} axes"
        raise ValueError(msg)
    lengths = [_whole(cards, f"{prefix}NAXIS{axis}") for axis in range(1, count + 1)]
    if any(length < 0 for length in lengths):
        msg = f"axes of the lengths {lengths}"
        raise ValueError(msg)
    return lengths


def _data_size(cards: Mapping[str, str]) -> int:
    """Return the size of the data [byte], FITS standard 4.0, equations 1, 2 and 4."""
    bitpix = _whole(cards, "BITPIX")
    if bitpix not in _BITPIX:
        msg = f"BITPIX = {bitpix}"
        raise ValueError(msg)
    lengths = _lengths(cards, "")
    if not lengths:
        return 0
    n_parameters, n_groups = _whole(cards, "PCOUNT", 0), _whole(cards, "GCOUNT", 1)
    if n_parameters < 0 or n_groups < 0:
        msg = f"PCOUNT = {n_parameters} and GCOUNT = {n_groups}"
        raise ValueError(msg)
    if lengths[0] == 0 and cards.get("GROUPS", "") == "T":
        lengths = lengths[1:]
    return abs(bitpix) // 8 * n_groups * (n_parameters + math.prod(lengths))


def _check_tiles(cards: Mapping[str, str], size: int) -> None:
    """Check that the table of a compressed image can hold the image its cards promise."""
    if cards.get("ZIMAGE") != "T":
        return
    lengths = _lengths(cards, "Z")
    bitpix = _whole(cards, "ZBITPIX")
    if bitpix not in _BITPIX:
        msg = f"ZBITPIX = {bitpix}"
        raise ValueError(msg)
    tiles = [
        _whole(cards, f"ZTILE{axis}", length if axis == 1 else 1)
        for axis, length in enumerate(lengths, 1)
    ]
    if any(tile < 1 for tile in tiles):
        msg = f"tiles of {tiles} pixels"
        raise ValueError(msg)
    n_tiles = math.prod(-(-length // tile) for length, tile in zip(lengths, tiles, strict=True))
    n_rows = _whole(cards, "NAXIS2")
    if n_rows != n_tiles:
        msg = f"{n_rows} tiles where an image of {lengths} pixels has {n_tiles}"
        raise ValueError(msg)
    full = abs(bitpix) // 8 * math.prod(lengths)
    if full > max(_ALWAYS_BELIEVED, _LARGEST_GAIN * size):
        msg = f"an image of {lengths} pixels compressed to {size} bytes, which cannot be"
        raise ValueError(msg)
