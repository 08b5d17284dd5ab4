"""Large arrays in files without a name, whose pixels need not all be in memory."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.io.atomic import is_written_through

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

SMALLEST = 1 << 25
"""Arrays of fewer bytes are in memory."""

_STANDARD_STREAM = "-"


class Scratch:
    """Makes arrays that lie on disk, beside the product that they will become.

    The files have no name and are gone when the arrays are, or the process. An array that the disk
    has no room for is in memory. Pixels that were used stay in memory until `core.mapped.forget`.

    Parameters
    ----------
    output : path-like
        The product; for one that goes to a stream or a device, all arrays are in memory.
    """

    def __init__(self, output: str | os.PathLike[str]) -> None:
        path = Path(output)
        stream = os.fspath(output) == _STANDARD_STREAM or is_written_through(path)
        self._folder = None if stream else path.absolute().parent

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array; what is in it is not said."""
        kind = np.dtype(dtype)
        size = kind.itemsize * int(np.prod(shape, dtype=np.int64))
        if self._folder is None or size < SMALLEST or not hasattr(os, "posix_fallocate"):
            return np.empty(shape, kind)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder) as file:
                # without room of its own, a page would end the process when it is written
                os.posix_fallocate(file.fileno(), 0, size)
                mapping = mmap.mmap(file.fileno(), size)
        except OSError:
            return np.empty(shape, kind)
        return np.frombuffer(mapping, kind).reshape(shape)
