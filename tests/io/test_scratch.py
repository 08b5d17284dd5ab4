import errno
import mmap
import os

import numpy as np
import pytest

from skytool.io import scratch
from skytool.io.scratch import Scratch

pytestmark = pytest.mark.skipif(
    not hasattr(os, "posix_fallocate"), reason="this system reserves no room for files"
)

LARGE = (scratch.SMALLEST // 4 // 1000 + 1, 1000)


def is_mapped(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, memoryview) and isinstance(array.obj, mmap.mmap)


def test_a_large_array_lies_beside_the_product_without_a_name(tmp_path):
    array = Scratch(tmp_path / "new" / "out.fits").empty(LARGE, np.float32)

    array[-1] = 2.5
    assert is_mapped(array)
    assert array.shape == LARGE
    assert array.dtype == np.float32
    assert (array[-1] == 2.5).all()
    assert list((tmp_path / "new").iterdir()) == []


def test_a_small_array_is_in_memory(tmp_path):
    array = Scratch(tmp_path / "out.fits").empty((300, 200), np.int16)

    assert not is_mapped(array)
    assert array.shape == (300, 200)


@pytest.mark.parametrize("output", ["-", "/dev/null"])
def test_arrays_of_what_goes_to_a_stream_are_in_memory(output):
    assert not is_mapped(Scratch(output).empty(LARGE, np.float32))


def test_an_array_that_the_disk_has_no_room_for_is_in_memory(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "posix_fallocate", full)

    assert not is_mapped(Scratch(tmp_path / "out.fits").empty(LARGE, np.float32))
