"""Arrays that lie in a file: which of their pixels are in memory."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def forget(array: NDArray[Any]) -> None:
    """Take an array that is mapped to a file out of memory; do nothing to any other.

    Its values stay: they come back when they are asked for.

    Parameters
    ----------
    array : ndarray of any shape
        C-contiguous; a part of a mapped array, some rows of it for example, or the whole.
    """
    base = _owner(array)
    if not isinstance(base, mmap.mmap) or array.size == 0:
        return
    first = array.ctypes.data - np.frombuffer(base, np.uint8).ctypes.data
    start = first // mmap.PAGESIZE * mmap.PAGESIZE
    base.madvise(mmap.MADV_DONTNEED, start, first + array.nbytes - start)


def is_mapped(array: NDArray[Any]) -> bool:
    """Return whether an array, or what it is a view of, is mapped to a file."""
    return isinstance(_owner(array), mmap.mmap)


def _owner(array: NDArray[Any]) -> Any:
    """Return what the memory of an array belongs to, None if that is an array itself."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base.obj if isinstance(base, memoryview) else base
