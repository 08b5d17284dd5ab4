"""Outputs that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from skytool.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_NAME = 255  # bytes of a name that file systems take
_HINTS = {
    errno.ENOSPC: "Free some space or write elsewhere.",
    errno.EDQUOT: "Free some of your quota or write elsewhere.",
    errno.EACCES: "Choose a folder you may write to.",
    errno.EPERM: "Choose a folder you may write to.",
    errno.EROFS: "Choose a folder you may write to.",
}


@contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a path to write to, and move what was written to ``path`` if the block succeeds.

    The part file lies in the same folder and keeps the suffix; it is made like any other file,
    so that the umask holds, and it is removed however the block is left. A link is replaced, its
    target is never touched. A device or a pipe is written to and never replaced. Folders that
    are missing are made.

    Parameters
    ----------
    path : path-like
        The output.
    overwrite : bool
        Replace a file that exists.

    Raises
    ------
    OutputError
        If the output exists and ``overwrite`` is False, or writing fails.
    """
    target = Path(path)
    with output_errors(target):
        if is_written_through(target):
            yield target
            return
        refuse_existing(target, overwrite=overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(_part_name(target.name))
        try:
            yield part
            refuse_existing(target, overwrite=overwrite)  # it may have been made meanwhile
            part.replace(target)
        finally:
            with contextlib.suppress(OSError):  # the first error is the one to report
                part.unlink()


def is_written_through(path: Path) -> bool:
    """Return True for a device, pipe or descriptor, which is written to and never replaced."""
    if path.is_dir() or not path.exists():
        return False
    place = path.absolute()
    # /dev/stdout and /dev/fd/3 are links, perhaps to regular files: the link is a system's own
    descriptor = place.is_relative_to("/proc") or (
        place.is_relative_to("/dev") and not place.is_relative_to("/dev/shm")  # noqa: S108
    )
    return descriptor or not path.is_file()


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise an `OutputError` if something is at ``path`` that may not be replaced."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder.", hint="Name a file.")
    if not overwrite and os.path.lexists(path):
        raise OutputError(f"{path} exists.", hint="Give --overwrite to replace it.")


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn errors of the file system into an `OutputError` that names the output.

    A pipe that nobody reads any more stays a `BrokenPipeError`.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{path} cannot be written: {reason[:1].lower()}{reason[1:]}.",
            hint=_HINTS.get(error.errno or 0, ""),
        ) from error


def _part_name(name: str) -> str:
    """Return a name that no other process uses, with the suffixes of ``name``."""
    token = f".{secrets.token_hex(4)}."
    room = _LONGEST_NAME - len(token)
    while len(os.fsencode(name)) > room:
        name = name[1:]
    return token + name
