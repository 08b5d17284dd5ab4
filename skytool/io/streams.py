"""Memory of streams: each can be read only once, but a command looks at it several times."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from skytool.io.filespec import FileSpec

T = TypeVar("T")


class StreamMemory(Generic[T]):
    """What was read from standard input, pipes and devices.

    What came from standard input is forgotten with it: in one process another one may be put in
    its place.
    """

    def __init__(self) -> None:
        self._inputs: WeakKeyDictionary[BinaryIO, T] = WeakKeyDictionary()
        self._pipes: dict[str, T] = {}

    def __contains__(self, spec: FileSpec) -> bool:
        """Tell whether a stream was read before."""
        if spec.is_standard_stream:
            return sys.stdin.buffer in self._inputs
        return _place(spec) in self._pipes

    def __getitem__(self, spec: FileSpec) -> T:
        """Return what a stream held."""
        if spec.is_standard_stream:
            return self._inputs[sys.stdin.buffer]
        return self._pipes[_place(spec)]

    def __setitem__(self, spec: FileSpec, value: T) -> None:
        """Remember what a stream held."""
        if spec.is_standard_stream:
            self._inputs[sys.stdin.buffer] = value
        else:
            self._pipes[_place(spec)] = value


def _place(spec: FileSpec) -> str:
    """Return what tells a pipe from another one that gets the same name later."""
    try:
        status = spec.path.stat()
    except OSError:
        return str(spec.path)
    return f"{spec.path} {status.st_dev} {status.st_ino}"
