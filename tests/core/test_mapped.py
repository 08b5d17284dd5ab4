import mmap
import tempfile
from pathlib import Path

import numpy as np
import pytest

from skytool.core.mapped import forget

SMAPS = Path("/proc/self/smaps")


def resident(mapping):
    """Return the bytes of a mapping that are in memory."""
    address = np.frombuffer(mapping, np.uint8).ctypes.data
    lines = iter(SMAPS.read_text().splitlines())
    for line in lines:
        first, _, _ = line.partition("-")
        if first.isalnum() and int(first, 16) == address:
            return next(1024 * int(each.split()[1]) for each in lines if each.startswith("Rss:"))
    raise LookupError(address)


@pytest.fixture
def mapping():
    with tempfile.TemporaryFile() as file:
        file.truncate(64 * mmap.PAGESIZE)
        return mmap.mmap(file.fileno(), 64 * mmap.PAGESIZE)


def test_forgotten_rows_keep_their_values_and_leave_the_memory(mapping):
    array = np.frombuffer(mapping, np.float32).reshape(64, -1)
    array[:] = np.arange(array.size, dtype=np.float32).reshape(array.shape)
    if SMAPS.exists():
        assert resident(mapping) == 64 * mmap.PAGESIZE

    forget(array[8:56])

    if SMAPS.exists():
        assert resident(mapping) <= 16 * mmap.PAGESIZE
    np.testing.assert_array_equal(array.reshape(-1), np.arange(array.size, dtype=np.float32))


def test_rows_may_begin_and_end_anywhere_in_a_page(mapping):
    array = np.frombuffer(mapping, np.int16)[7:].reshape(-1, 5)
    array[:] = 3

    forget(array[11:4000])
    forget(array[:0])

    assert (array == 3).all()


def test_other_arrays_are_left_alone():
    array = np.arange(5000.0)

    forget(array)
    forget(array[10:20])
    forget(np.frombuffer(bytes(8), np.uint8))

    np.testing.assert_array_equal(array, np.arange(5000.0))
