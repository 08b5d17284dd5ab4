"""Checksums of FITS headers and data (FITS standard 4.0, appendix J)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALL_ONES = 0xFFFFFFFF

_PIECE = 1 << 28  # bytes summed at once: 2**26 words of 32 bits fit 2**32 times into 64 bits
_NOT_ALPHANUMERIC = frozenset(b":;<=>?@[\\]^_`")


def sum32(data: bytes | memoryview, total: int = 0) -> int:
    """Return the ones' complement sum of big-endian 32-bit words.

    Parameters
    ----------
    data : bytes-like
        Bytes; a length that is no multiple of four is filled up with zeros.
    total : int
        Sum of what is before.
    """
    whole = len(data) // 4 * 4
    for start in range(0, whole, _PIECE):
        words = np.frombuffer(data[start : min(start + _PIECE, whole)], dtype=">u4")
        total += int(words.sum(dtype=np.uint64))
    if whole < len(data):
        total += int.from_bytes(bytes(data[whole:]).ljust(4, b"\0"), "big")
    return _folded(total)


def sum32_of_array(array: NDArray[np.generic], total: int = 0) -> int:
    """Return the sum of an array as FITS stores it, in big-endian order.

    The sum does not depend on the order of the words, so that native numbers of four and eight
    bytes are summed as they lie in memory; no swapped copy is made.

    Parameters
    ----------
    array : ndarray of any shape
        Native byte order, C-contiguous.
    total : int
        Sum of what is before, of a length that is a multiple of four bytes.
    """
    if array.dtype.itemsize < 4:
        return sum32(array.astype(array.dtype.newbyteorder(">")).tobytes(), total)
    words = array.reshape(-1).view(np.uint32)
    for start in range(0, words.size, _PIECE):
        total += int(words[start : start + _PIECE].sum(dtype=np.uint64))
    return _folded(total)


def encoded(total: int) -> str:
    """Return the 16 characters that make the sum of an HDU all ones.

    Parameters
    ----------
    total : int
        Sum of the HDU in which the value of CHECKSUM is sixteen times ``0``.
    """
    complement = ALL_ONES - total
    columns = [_four_characters(complement >> shift & 0xFF) for shift in (24, 16, 8, 0)]
    text = "".join(chr(columns[byte][row]) for row in range(4) for byte in range(4))
    return text[-1] + text[:-1]  # the value of a card starts at the fourth byte of a word


def _folded(total: int) -> int:
    while total >> 32:
        total = (total & ALL_ONES) + (total >> 32)
    return total


def _four_characters(byte: int) -> list[int]:
    """Return four characters, letters and digits only, that exceed four zeros by ``byte``."""
    quotient, remainder = divmod(byte, 4)
    characters = [ord("0") + quotient] * 4
    characters[0] += remainder
    while not _NOT_ALPHANUMERIC.isdisjoint(characters):
        for first in (0, 2):
            if not _NOT_ALPHANUMERIC.isdisjoint(characters[first : first + 2]):
                characters[first] += 1
                characters[first + 1] -= 1
    return characters
