"""Opening FITS files, the one way in: checked, with closed handles and errors a user can act on."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import sys
import warnings
import zlib
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, BinaryIO, TextIO

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from skytool.errors import InputError, SkytoolError, SkytoolWarning
from skytool.io import structure
from skytool.io.filespec import FileSpec, extension_text
from skytool.io.streams import StreamMemory
from skytool.io.structure import (
    FileSource,
    HduExtent,
    SpoolSource,
    data_sum,
    verify_checksums,
    walk,
)
from skytool.io.writing import check_outputs, write_foreign, write_hdus
from skytool.models.pixels import double_array, image_array, integer_array

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

__all__ = [
    "adopted_warnings",
    "check_outputs",
    "checksum_problems",
    "content_key",
    "data_sums",
    "double_array",
    "image_array",
    "integer_array",
    "list_extensions",
    "opened",
    "opened_parts",
    "selected",
    "write_foreign",
    "write_hdus",
]

_GZIP, _BZIP2, _XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"
_COMPRESSED = (_GZIP, _BZIP2, _XZ)
_LONGEST_MAGIC = max(len(magic) for magic in _COMPRESSED)
_INFLATE_ERRORS = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)

_MANY = 8  # extensions, from which on those not wanted are better passed over

_streams: StreamMemory[bytes] = StreamMemory()


@contextmanager
def opened(
    file: str | os.PathLike[str] | FileSpec, *, verify: bool = False
) -> Iterator[fits.HDUList]:
    """Open a FITS file for reading within a ``with`` block.

    Plain files, ``.gz``, ``.bz2`` and ``.xz`` files (whatever their name), tile-compressed
    extensions, standard input (``-``), pipes and devices are read. Every size that a header
    states is compared with the file first. Pixels have to be taken within the block, best with
    `image_array`; afterwards the file is closed. Warnings of astropy become ours, and what
    it raises within the block, because headers and tables are read late, an `InputError`.

    Parameters
    ----------
    file : str, path-like or FileSpec
        The file; if it names an extension, that has to exist (`selected` returns it).
    verify : bool
        Compare CHECKSUM and DATASUM of every extension, where there are such cards.

    Yields
    ------
    `~astropy.io.fits.HDUList`
        The file, headers and pixels read when asked for.

    Raises
    ------
    InputError
        If the file is missing, unreadable, empty, damaged, truncated, not FITS, or lacks the
        extension, or a checksum differs.
    """
    spec = FileSpec.parse(file)
    with adopted_warnings(spec.name), ExitStack() as stack:
        stream, extents = _checked(spec, stack)
        if verify:
            verify_checksums(stream, extents, spec.name)
        stream.seek(0)
        try:
            # No memory map: pixels change their byte order anyway, and a file that another
            # program shortens would kill this one.
            hdus = stack.enter_context(fits.open(stream, mode="readonly", memmap=False))
            if spec.extension is not None:
                selected(hdus, spec)
            yield hdus
        except Exception as error:
            if not _is_of_file(error):
                raise
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(f"{spec} cannot be read: {reason[0].rstrip('.')}.") from error


@contextmanager
def opened_parts(
    file: str | os.PathLike[str] | FileSpec, numbers: Iterable[int], *, verify: bool = False
) -> Iterator[dict[int, fits.ImageHDU | fits.BinTableHDU]]:
    """Open some extensions of a FITS file, in a file of many without reading the headers between.

    Reaching the last of sixty compressed detectors takes astropy as long as reading its pixels.

    Parameters
    ----------
    file : str, path-like or FileSpec
        The file; an extension that it names does not matter.
    numbers : iterable of int
        Numbers of the extensions, 0 for the primary.
    verify : bool
        As for `opened`.

    Yields
    ------
    dict of int to HDU
        The extensions by number, to be used within the ``with`` block.

    Raises
    ------
    InputError
        As `opened`.
    """
    spec = FileSpec.parse(file).with_extension(None)
    wanted = sorted({0, *numbers})
    with adopted_warnings(spec.name), ExitStack() as stack:
        stream, extents = _checked(spec, stack)
        if wanted[-1] >= len(extents):
            raise InputError(f"{spec.path} has no extension {wanted[-1]}.")
        if verify:
            verify_checksums(stream, extents, spec.name)
        places = dict(enumerate(wanted))
        if len(extents) > _MANY:
            parts = io.BytesIO()
            for extent in (extents[number] for number in wanted):
                stream.seek(extent.start)
                parts.write(stream.read(extent.end - extent.start))
            stream = parts
        else:
            places = {number: number for number in wanted}
        stream.seek(0)
        try:
            hdus = stack.enter_context(fits.open(stream, mode="readonly", memmap=False))
            yield {number: hdus[place] for place, number in places.items()}
        except Exception as error:
            if not _is_of_file(error):
                raise
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(f"{spec} cannot be read: {reason[0].rstrip('.')}.") from error


def list_extensions(file: str | os.PathLike[str] | FileSpec) -> list[HduExtent]:
    """Return what the headers of a file say of its extensions, without astropy.

    Raises
    ------
    InputError
        As `opened`.
    """
    with ExitStack() as stack:
        return _checked(FileSpec.parse(file), stack)[1]


def data_sums(
    file: str | os.PathLike[str] | FileSpec, numbers: Iterable[int] | None = None
) -> list[str]:
    """Return the sum of the data of extensions, as DATASUM should state it, whatever it states.

    Parameters
    ----------
    file : str, path-like or FileSpec
        The file; an extension that it names does not matter.
    numbers : iterable of int, optional
        Numbers of the extensions, 0 for the primary; all of them if not given.

    Raises
    ------
    InputError
        As `opened`.
    """
    with ExitStack() as stack:
        stream, extents = _checked(FileSpec.parse(file), stack)
        wanted = extents if numbers is None else [extents[number] for number in numbers]
        return [str(data_sum(stream, extent)) for extent in wanted]


def checksum_problems(file: str | os.PathLike[str] | FileSpec) -> list[str]:
    """Return which extensions differ from their CHECKSUM or DATASUM, a sentence for each.

    Cards that are absent are no problem.

    Raises
    ------
    InputError
        As `opened`.
    """
    spec = FileSpec.parse(file)
    problems = []
    with ExitStack() as stack:
        stream, extents = _checked(spec, stack)
        for extent in extents:
            try:
                verify_checksums(stream, [extent], spec.file_name)
            except InputError as error:
                problems.append(error.message)
    return problems


def content_key(file: str | os.PathLike[str] | FileSpec) -> str:
    """Return a text that changes when any header or any data of a file change.

    It is that of the unpacked file: neither its name, folder nor time matter.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    InputError
        As `opened`.
    """
    with ExitStack() as stack:
        return structure.content_key(*_checked(FileSpec.parse(file), stack))


def selected(hdus: fits.HDUList, spec: FileSpec) -> fits.ImageHDU | fits.BinTableHDU:
    """Return the extension that a `FileSpec` names, the primary if it names none.

    Raises
    ------
    InputError
        If there is none; the message lists those present.
    """
    extension = 0 if spec.extension is None else spec.extension
    try:
        return hdus[extension]
    except (KeyError, IndexError):
        present = ", ".join(_labels(hdus))
        raise InputError(
            f"{spec.path} has no extension {extension_text(extension)}.",
            hint=f"It has {present}.",
        ) from None


@contextmanager
def adopted_warnings(name: str) -> Iterator[None]:
    """Make warnings that astropy gives within the block ours, with the file's name, each once.

    Parameters
    ----------
    name : str
        What the warnings call the file.
    """
    seen: set[str] = set()
    show = warnings.showwarning

    def log_or_show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, AstropyWarning):
            show(message, category, filename, lineno, file, line)
            return
        text = " ".join(str(message).split())
        if text not in seen:
            seen.add(text)
            warnings.warn(f"{name}: {text}", SkytoolWarning, stacklevel=3)

    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=AstropyWarning)
        warnings.showwarning = log_or_show
        yield


def _is_of_file(error: Exception) -> bool:
    """Return True for an error of the operating system or one that arose in astropy.io.fits."""
    if isinstance(error, SkytoolError):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return isinstance(error, OSError) or module.startswith("astropy.io.fits")


def _labels(hdus: fits.HDUList) -> list[str]:
    """Return how each extension can be named."""
    names = [hdu.name for hdu in hdus]
    labels = []
    for index, hdu in enumerate(hdus):
        version = f",{hdu.ver}" if names.count(hdu.name) > 1 else ""
        labels.append(f"{index} ({hdu.name}{version})" if hdu.name else str(index))
    return labels


def _checked(spec: FileSpec, stack: ExitStack) -> tuple[BinaryIO, list[HduExtent]]:
    """Open a file, closed by ``stack``, and check its structure."""
    try:
        return _walked(spec, stack)
    except FileNotFoundError:
        hint = "No file matches the pattern." if any(c in str(spec.path) for c in "*?") else ""
        raise InputError(f"{spec.path} does not exist.", hint=hint) from None
    except _INFLATE_ERRORS as error:
        raise InputError(f"{spec.path} is truncated or damaged: {error}.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{spec.path} cannot be read: {reason[:1].lower()}{reason[1:]}."
        ) from error
    except MemoryError as error:
        raise InputError(f"{spec.path} does not fit into the memory.") from error


def _walked(spec: FileSpec, stack: ExitStack) -> tuple[BinaryIO, list[HduExtent]]:
    if spec.is_standard_stream:
        if sys.stdin.isatty():
            raise InputError("standard input is a terminal.", hint="Pipe a FITS file into it.")
        return _remembered(spec)
    name = str(spec.path)
    status = spec.path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{name} is a folder.", hint="Name the files in it.")
    if not stat.S_ISREG(status.st_mode):
        return _remembered(spec)
    file: BinaryIO = stack.enter_context(spec.path.open("rb"))
    start = file.read(_LONGEST_MAGIC)
    file.seek(0)
    if not start.startswith(_COMPRESSED):
        return file, walk(FileSource(file), name)
    return _kept(SpoolSource(stack.enter_context(_inflated(file, start))), name)


def remember(spec: FileSpec, data: bytes) -> None:
    """Let a stream that was read elsewhere hold what was found there."""
    _streams[spec] = _spooled(io.BytesIO(data), spec.file_name)


def _remembered(spec: FileSpec) -> tuple[BinaryIO, list[HduExtent]]:
    """Return what a stream holds, reading it the first time only."""
    name = spec.file_name if spec.is_standard_stream else str(spec.path)
    if spec not in _streams:
        if spec.is_standard_stream:
            _streams[spec] = _spooled(sys.stdin.buffer, name)
        else:
            with spec.path.open("rb") as stream:
                _streams[spec] = _spooled(stream, name)
    file = io.BytesIO(_streams[spec])
    return file, walk(FileSource(file), name)


def _inflated(file: BinaryIO, start: bytes) -> io.BufferedIOBase:
    """Return what unpacks a compressed file, of which ``start`` are the first bytes."""
    if start.startswith(_GZIP):
        return gzip.GzipFile(fileobj=file)
    if start.startswith(_BZIP2):
        return bz2.BZ2File(file)
    return lzma.LZMAFile(file)


def _kept(source: SpoolSource, name: str) -> tuple[io.BytesIO, list[HduExtent]]:
    """Read a source into memory, checking on the way that it is FITS."""
    extents = walk(source, name)
    return source.spool, extents


def _spooled(stream: BinaryIO, name: str) -> bytes:
    """Return the FITS file that a stream holds, unpacked."""
    start = stream.read(_LONGEST_MAGIC)
    if not start.startswith(_COMPRESSED):
        return _kept(SpoolSource(stream, start), name)[0].getvalue()
    with _inflated(io.BytesIO(start + stream.read()), start) as inflated:
        return _kept(SpoolSource(inflated), name)[0].getvalue()
