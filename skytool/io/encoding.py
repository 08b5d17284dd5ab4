"""Extensions as bytes: checksummed, piece by piece, without a time."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from skytool.core.mapped import forget
from skytool.io.checksum import encoded, sum32, sum32_of_array
from skytool.io.structure import BLOCK, CARD, padded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from numpy.typing import NDArray

_PIECE = 1 << 18  # bytes swapped at once: they stay in the cache of the processor
_PLAIN_TYPES = frozenset({"u1", "i2", "i4", "i8", "f4", "f8"})


def hdu_bytes(
    hdu: fits.PrimaryHDU | fits.ImageHDU | fits.BinTableHDU,
) -> Iterator[bytes | memoryview]:
    """Yield the bytes of an HDU, padding and checksums included, piece by piece.

    Parameters
    ----------
    hdu : PrimaryHDU, ImageHDU or BinTableHDU
        An extension, or a primary of native floats, signed integers or bytes; CHECKSUM and
        DATASUM are set in its header.
    """
    if not is_plain(hdu):
        yield from _table_bytes(hdu)
        return
    hdu.update_header()
    total = 0
    for piece in _pieces(hdu.data):
        total = sum32_of_array(piece, total)
        forget(piece)
    yield header_bytes(hdu.header, total)
    for piece in _pieces(hdu.data):
        yield _stored(piece)
        forget(piece)
    yield _padding(hdu.data)


def write_hdu(file: IO[bytes], hdu: fits.PrimaryHDU | fits.ImageHDU | fits.BinTableHDU) -> None:
    """Write the bytes that `hdu_bytes` yields to a file that can go back.

    The header, which states the sum of the data, is written last: the data are gone through once.

    Parameters
    ----------
    file : binary file
        At the place of the HDU; it need not be there yet.
    hdu : PrimaryHDU, ImageHDU or BinTableHDU
        As for `hdu_bytes`.
    """
    if not is_plain(hdu):
        for part in _table_bytes(hdu):
            write_all(file, part)
        return
    hdu.update_header()
    start, total = file.tell(), 0
    file.seek(len(header_bytes(hdu.header, total)), io.SEEK_CUR)
    for piece in _pieces(hdu.data):
        total = sum32_of_array(piece, total)
        write_all(file, _stored(piece))
        forget(piece)
    write_all(file, _padding(hdu.data))
    end = file.tell()
    file.seek(start)
    write_all(file, header_bytes(hdu.header, total))
    file.seek(end)


def _pieces(data: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the pixels of a plane in this machine's byte order, piece by piece."""
    flat = np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("=")).reshape(-1)
    step = _PIECE // flat.dtype.itemsize
    return (flat[start : start + step] for start in range(0, flat.size, step))


def _stored(piece: NDArray[Any]) -> memoryview:
    """Return the bytes of pixels as a file has them."""
    return piece.astype(piece.dtype.newbyteorder(">")).data.cast("B")


def _padding(data: NDArray[Any]) -> bytes:
    """Return what fills the last block of a plane."""
    return bytes(padded(data.nbytes) - data.nbytes)


def header_bytes(header: fits.Header, datasum: int) -> bytes:
    """Return a header in whole blocks, with its checksums.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Cards; CHECKSUM and DATASUM are set in it, with comments that say no time.
    datasum : int
        Sum of the data.
    """
    header.remove("CHECKSUM", ignore_missing=True)
    header.remove("DATASUM", ignore_missing=True)
    blank = "0" * 16
    header["CHECKSUM"] = (blank, "sum of header and data")
    header["DATASUM"] = (str(datasum), "sum of the data")
    text = header.tostring().encode("ascii")
    code = encoded(sum32(text, datasum))
    header["CHECKSUM"] = code
    return text.replace(f"CHECKSUM= '{blank}'".encode(), f"CHECKSUM= '{code}'".encode(), 1)


def is_plain(hdu: fits.PrimaryHDU | fits.ImageHDU | fits.BinTableHDU) -> bool:
    """Return True for an image that is stored as it is, without scaling or compression."""
    return (
        type(hdu) in {fits.ImageHDU, fits.PrimaryHDU}
        and isinstance(hdu.data, np.ndarray)
        and hdu.data.dtype.str[1:] in _PLAIN_TYPES
        and "BZERO" not in hdu.header
        and "BSCALE" not in hdu.header
    )


def _table_bytes(hdu: fits.ImageHDU | fits.BinTableHDU) -> Iterator[bytes | memoryview]:
    """Yield the bytes of an extension as astropy writes it, with sums of ours."""
    whole = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(whole, output_verify="silentfix+ignore")
    view = whole.getbuffer()[BLOCK:]  # behind the primary
    header = fits.Header.fromstring(_header_part(view))
    size = len(header.tostring())
    data = view[size:]
    yield header_bytes(header, sum32(data))
    yield data


def _header_part(view: memoryview) -> bytes:
    """Return the header that bytes start with."""
    end = 0
    while True:
        block = bytes(view[end : end + BLOCK])
        end += BLOCK
        if any(block[at : at + CARD] == b"END".ljust(CARD) for at in range(0, BLOCK, CARD)):
            return bytes(view[:end])


def write_all(file: IO[bytes], piece: bytes | memoryview) -> None:
    """Write all of a piece: an unbuffered file may take only a part of it at a time."""
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]
