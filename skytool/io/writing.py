"""Writing FITS files, the one way out: whole or not at all, checksummed, the same bytes each time."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.io import fits

from skytool import __version__
from skytool.errors import OutputError
from skytool.io.atomic import is_written_through, output_errors, replacing
from skytool.io.encoding import hdu_bytes, header_bytes, write_all, write_hdu
from skytool.io.filespec import FileSpec
from skytool.io.packing import NOT_WRITTEN, TILED, WHOLE, ending, packed
from skytool.models.keywords import set_card

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import IO

_NAMED_AT_ONCE = 5
_STANDARD_STREAM = "-"


def write_hdus(
    output: str | os.PathLike[str],
    hdus: Iterable[fits.ImageHDU | fits.BinTableHDU],
    *,
    primary: fits.Header | None = None,
    overwrite: bool = False,
    compress: str = "none",
) -> None:
    """Write extensions behind a primary without data, with CHECKSUM and DATASUM everywhere.

    The bytes depend on the arguments only: no time is written. The file is complete or does not
    exist; of several extensions the largest is swapped and written piece by piece, so that
    nothing but one piece is needed in memory (with compression, one compressed extension).

    Parameters
    ----------
    output : path-like
        The file; ``-`` is standard output; devices and pipes are written to. A file whose name ends
        in ``.gz``, ``.bz2`` or ``.xz`` is compressed as a whole, one in ``.fz`` by tiles, as by
        ``compress="gzip"`` unless that says otherwise.
    hdus : iterable of HDU
        Image and table extensions, native or big-endian. Their pixels are not changed; CHECKSUM and
        DATASUM of their headers are set.
    primary : `~astropy.io.fits.Header`, optional
        Cards of the primary. CREATOR and NEXTEND are added.
    overwrite : bool
        Replace a file that exists.
    compress : {"none", "gzip", "rice"}
        Tile compression of the planes, see `~skytool.io.compression.compressed_bytes`.

    Raises
    ------
    OutputError
        If the output exists, is a terminal, or cannot be written.
    ValueError
        If ``compress`` has another value.
    """
    extensions = list(hdus)
    if compress == "none" and ending(output) == TILED:
        compress = "gzip"
    with _sink(output, overwrite=overwrite) as file:
        write_all(file, _primary_bytes(primary, len(extensions)))
        if compress == "none":
            for hdu in extensions:
                _write(file, hdu)
            return
        from skytool.io.compression import compressed_bytes

        for part in compressed_bytes(extensions, compress):
            for piece in part:
                write_all(file, piece)


def write_foreign(
    files: Mapping[Path, Sequence[fits.PrimaryHDU | fits.ImageHDU | fits.BinTableHDU]],
    *,
    overwrite: bool = False,
) -> None:
    """Write the files of another program's layout, all of them or none.

    Nothing is added but CHECKSUM and DATASUM; else as `write_hdus`.

    Parameters
    ----------
    files : mapping of Path to sequence of HDU
        What each file holds; the first HDU is a primary, which may have pixels.
    overwrite : bool
        Replace files that exist.

    Raises
    ------
    OutputError
        If an output exists, is a terminal, or cannot be written.
    """
    with ExitStack() as stack:
        sinks = [stack.enter_context(_sink(path, overwrite=overwrite)) for path in files]
        for sink, hdus in zip(sinks, files.values(), strict=True):
            for hdu in hdus:
                _write(sink, hdu)


def write_bytes(output: str | os.PathLike[str], content: bytes, *, overwrite: bool = False) -> None:
    """Write a file that is not FITS, whole or not at all; compressed if its name says so.

    Raises
    ------
    OutputError
        If the output exists, is a terminal, or cannot be written.
    """
    with _sink(output, overwrite=overwrite) as file:
        write_all(file, content)


def check_outputs(
    outputs: Iterable[str | os.PathLike[str]],
    inputs: Iterable[str | os.PathLike[str] | FileSpec] = (),
    *,
    overwrite: bool = False,
) -> None:
    """Refuse outputs that cannot or must not be written, all of them before any computing.

    Parameters
    ----------
    outputs : iterable of path-like
        All files that a run will write.
    inputs : iterable of path-like or FileSpec
        All files that it will read.
    overwrite : bool
        Outputs may exist; an output that is also an input, by whatever name or link, is refused
        all the same.

    Raises
    ------
    OutputError
        If two outputs are one file, an output is an input, exists, is a folder, its folder cannot be
        written to, or its name promises a compression that we do not write.
    """
    paths = [Path(os.fspath(output)) for output in outputs]
    _refuse_twice(paths)
    files = [path for path in paths if str(path) != _STANDARD_STREAM and not _is_special(path)]
    read = {key for file in inputs if (key := _identity(FileSpec.parse(file).path)) is not None}
    _refuse(
        [path for path in files if _identity(path) in read],
        "is an input, too",
        "Name another output; an input is never replaced.",
    )
    _refuse([path for path in files if path.is_dir()], "is a folder", "Name a file.")
    _refuse(
        [path for path in files if ending(path) in NOT_WRITTEN],
        "names a compression that is not written here",
        f"Name it .fits, or with {', '.join(sorted(WHOLE))} or {TILED} behind.",
    )
    if not overwrite:
        existing = [path for path in files if os.path.lexists(path)]
        _refuse(existing, "exists", "Give --overwrite to replace it.")
    for folder in dict.fromkeys(path.parent for path in files):
        _check_folder(folder)


def _refuse_twice(paths: list[Path]) -> None:
    """Refuse paths that lead to one file, other than devices."""
    places = Counter(
        str(path) if str(path) == _STANDARD_STREAM else str(path.parent.resolve() / path.name)
        for path in paths
        if str(path) == _STANDARD_STREAM or not _is_special(path)
    )
    _refuse(
        [Path(place) for place, count in places.items() if count > 1],
        "would be written twice",
        "Give each output a name of its own.",
    )


def _refuse(paths: list[Path], what: str, hint: str) -> None:
    if not paths:
        return
    named = ", ".join(str(path) for path in paths[:_NAMED_AT_ONCE])
    more = len(paths) - _NAMED_AT_ONCE
    others = f" (and {more} more outputs)" if more > 0 else ""
    raise OutputError(f"{named} {what}{others}.", hint=hint, outputs=len(paths))


def _is_special(path: Path) -> bool:
    with output_errors(path):
        return is_written_through(path)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what all names and links of a regular file have in common."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _check_folder(folder: Path) -> None:
    """Refuse a folder that neither exists nor can be made, or that cannot be written to."""
    place = folder.absolute()
    with output_errors(folder):
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise OutputError(f"{place} is not a folder.", hint="Name another output.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(
            f"the folder {place} cannot be written to.", hint="Choose a folder you may write to."
        )


@contextmanager
def _sink(output: str | os.PathLike[str], *, overwrite: bool) -> Iterator[IO[bytes]]:
    """Yield an open file that becomes the output, or standard output."""
    if os.fspath(output) == _STANDARD_STREAM:
        if sys.stdout.isatty():
            raise OutputError(
                "standard output is a terminal.", hint="Pipe it into a program or file."
            )
        with output_errors(Path("standard output")):
            sys.stdout.flush()
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        return
    with replacing(output, overwrite=overwrite) as path:
        if ending(output) in WHOLE:
            with path.open("wb") as file, packed(file, ending(output)) as sink:
                yield sink
        else:
            # unbuffered: the pieces are large already, and no flush can fail behind the last
            with path.open("wb", buffering=0) as unbuffered:
                yield unbuffered


def _write(file: IO[bytes], hdu: fits.PrimaryHDU | fits.ImageHDU | fits.BinTableHDU) -> None:
    """Write an HDU, in one go where the file can go back; a stream cannot."""
    if isinstance(file, io.FileIO) and stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        write_hdu(file, hdu)
        return
    for piece in hdu_bytes(hdu):
        write_all(file, piece)


def _primary_bytes(cards: fits.Header | None, n_extensions: int) -> bytes:
    hdu = fits.PrimaryHDU(header=cards)
    if "CREATOR" not in hdu.header:
        set_card(hdu.header, "CREATOR", f"skytool {__version__}")
    set_card(hdu.header, "NEXTEND", n_extensions, "number of extensions")
    return header_bytes(hdu.header, 0)
