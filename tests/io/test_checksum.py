import numpy as np
import pytest
from astropy.io import fits

from skytool.io.checksum import ALL_ONES, encoded, sum32, sum32_of_array


def test_the_example_of_the_standard_is_encoded():
    # FITS standard 4.0, appendix J.5: the sum 868229149 of an HDU, complement 3426738146
    assert encoded(868229149) == "hcHjjc9ghcEghc9g"


@pytest.mark.parametrize("total", [0, 1, 255, 1 << 24, 0x80000000, ALL_ONES - 1, ALL_ONES])
def test_the_code_makes_any_sum_all_ones(total):
    code = encoded(total)
    zeros = sum32(b"0" * 16)
    # the value of a card starts at the fourth byte of a word
    added = sum32(b"\0\0\0" + code.encode() + b"\0") - sum32(b"\0\0\0" + b"0" * 16 + b"\0")

    assert code.isalnum()
    assert zeros
    assert (total + added) % ALL_ONES == 0


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 2880, 10_001])
def test_sums_are_those_of_astropy(rng, size):
    data = rng.integers(0, 256, size).astype(np.uint8)
    hdu = fits.ImageHDU(data) if size else fits.ImageHDU()

    assert sum32(data.tobytes()) == hdu.add_datasum()


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8"])
def test_native_arrays_are_summed_as_they_are_stored(rng, dtype):
    values = (1e3 * rng.normal(size=(13, 7))).astype(dtype)

    assert sum32_of_array(values) == fits.ImageHDU(values.copy()).add_datasum()
