import io

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_array_equal

from skytool.errors import IncompatibleError, InputError
from skytool.models.mask import Mask
from skytool.models.pixels import (
    agreeing_planes,
    double_array,
    flag_unexplained,
    image_array,
    integer_array,
)

SHAPE = (3, 5)


def opened(hdu):
    """Return an extension as it is read from a file."""
    whole = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(whole)
    whole.seek(0)
    return fits.open(whole, memmap=False)[1]


def scaled(values, bscale, bzero, blank=None):
    hdu = fits.ImageHDU(np.array(values, dtype="f4"))
    hdu.scale("int16", bscale=bscale, bzero=bzero)
    if blank is not None:
        hdu.header["BLANK"] = blank
    return opened(hdu)


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8", "u2", "u4"])
def test_images_of_every_type_become_native_floats(dtype):
    values = np.arange(15).reshape(SHAPE).astype(dtype)

    image = image_array(opened(fits.ImageHDU(values)))

    assert image.dtype == np.dtype("=f4")
    assert image.flags.c_contiguous
    assert image.flags.writeable
    assert_array_equal(image, np.arange(15).reshape(SHAPE))


@pytest.mark.parametrize("mode", ["readonly", "update", "denywrite", "copyonwrite"])
@pytest.mark.parametrize("memmap", [True, False])
@pytest.mark.parametrize(
    ("read", "dtype"), [(image_array, "f4"), (double_array, "f8"), (integer_array, "i4")]
)
def test_pixels_are_the_same_when_read_again(tmp_path, mode, memmap, read, dtype):
    values = np.arange(15).reshape(SHAPE).astype(dtype)
    path = tmp_path / "image.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(values)]).writeto(path)

    with fits.open(path, mode=mode, memmap=memmap) as hdus:
        first = read(hdus[1]).copy()
        second = read(hdus[1])
        second[1, 2] = 77  # belongs to the caller alone
        third = read(hdus[1])

        for found in (first, third):
            assert_array_equal(found, values)


def test_scaled_integers_become_what_they_mean():
    values = np.arange(15).reshape(SHAPE) * 0.5 + 10

    assert_array_equal(image_array(scaled(values, 0.5, 10)), values)


def test_blank_pixels_become_nan():
    values = np.arange(15).reshape(SHAPE) * 0.5 + 10

    image = image_array(scaled(values, 0.5, 10, blank=4))

    assert np.isnan(image[0, 4])
    assert np.isnan(image).sum() == 1


def test_blank_pixels_of_compressed_images_become_nan():
    values = np.arange(1500).reshape(30, 50).astype("i2")
    tiles = fits.CompImageHDU(values, fits.Header([("BLANK", 77)]), compression_type="RICE_1")

    image = image_array(opened(tiles))

    assert_array_equal(np.argwhere(np.isnan(image)), [[1, 27]])


def test_quantised_images_keep_their_gaps(rng):
    values = rng.normal(size=(40, 50)).astype("f4")
    values[7, 9] = np.nan
    tiles = fits.CompImageHDU(values, compression_type="RICE_1", quantize_level=16)

    assert_array_equal(np.isnan(image_array(opened(tiles))), np.isnan(values))


def test_values_beyond_single_precision_are_infinite():
    image = image_array(opened(fits.ImageHDU(np.array([[1e300, -1e300, 2.0]]))))

    assert_array_equal(image, [[np.inf, -np.inf, 2.0]])


def test_double_precision_is_kept_when_asked(rng):
    values = rng.normal(size=SHAPE)

    assert_array_equal(double_array(opened(fits.ImageHDU(values))), values)


def test_axes_of_length_one_are_dropped():
    values = np.arange(15.0).reshape(1, 3, 1, 5)

    assert_array_equal(image_array(opened(fits.ImageHDU(values))), values.reshape(SHAPE))
    assert image_array(opened(fits.ImageHDU(values[:, :1]))).shape == (1, 5)
    assert image_array(opened(fits.ImageHDU(np.arange(15.0).reshape(3, 1, 5))), ndim=3).ndim == 3


@pytest.mark.parametrize("shape", [(15,), (2, 3, 5), (0, 5), (3, 0)])
def test_other_numbers_of_axes_are_refused(shape):
    with pytest.raises(InputError, match=r"a\.fits\[SCI\]") as caught:
        image_array(opened(fits.ImageHDU(np.zeros(shape))), name="a.fits[SCI]")
    assert " x ".join(map(str, shape)) in str(caught.value)


def test_extensions_without_pixels_are_refused():
    with pytest.raises(InputError, match="holds no pixels"):
        image_array(fits.PrimaryHDU())
    table = fits.BinTableHDU.from_columns([fits.Column("X", "D", array=[1.0])], name="STARS")
    with pytest.raises(InputError, match="extension STARS holds a table"):
        image_array(opened(table))


def test_damaged_tiles_are_refused(rng):
    tiles = fits.CompImageHDU(rng.normal(size=(40, 50)), compression_type="GZIP_1", name="SCI")
    whole = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(whole)
    content = bytearray(whole.getvalue())
    at = content.rindex(b"\x1f\x8b")
    content[at + 10 : at + 60] = bytes(50)

    with fits.open(io.BytesIO(content)) as hdus, pytest.raises(InputError, match="SCI is damaged"):
        image_array(hdus[1])


def test_an_image_that_does_not_fit_into_memory_is_refused(monkeypatch):
    hdu = opened(fits.ImageHDU(np.zeros(SHAPE)))

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(type(hdu), "data", property(fail))
    with pytest.raises(InputError, match="does not fit into the memory"):
        image_array(hdu)


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "u2", "u4"])
def test_flags_keep_their_type(dtype):
    values = np.arange(15).reshape(SHAPE).astype(dtype)
    values[0, 0] = np.iinfo(dtype).max

    flags = integer_array(opened(fits.ImageHDU(values)))

    assert flags.dtype == np.dtype(dtype)
    assert flags.dtype.isnative
    assert_array_equal(flags, values)


def test_whole_floats_are_flags_and_fractions_are_not():
    values = np.arange(15.0).reshape(SHAPE).astype("f4")

    flags = integer_array(opened(fits.ImageHDU(values)))

    assert flags.dtype == np.int64
    assert_array_equal(flags, values)
    for wrong in (0.5, np.nan, np.inf):
        values[1, 2] = wrong
        with pytest.raises(InputError, match="fractions"):
            integer_array(opened(fits.ImageHDU(values)))


def planes():
    image = np.arange(15, dtype=np.float32).reshape(SHAPE)
    variance = image + 1
    return image, Mask.empty(SHAPE), variance


def test_planes_that_agree_are_not_copied():
    image, mask, variance = planes()
    image[1, 2], variance[1, 2] = np.nan, np.inf
    mask.array[1, 2] = mask.bitmask(["NO_DATA", "SAT"])

    same = agreeing_planes(image, mask, variance, name="a")

    assert same[0] is image
    assert same[1] is mask
    assert same[2] is variance


@pytest.mark.parametrize("pixel", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("spread", [np.nan, np.inf, 0.0, -1.0])
def test_a_pixel_without_a_value_has_none_in_all_planes(pixel, spread):
    image, mask, variance = planes()
    image[0, 1] = pixel
    variance[2, 3] = spread
    mask.array[1, 4] = mask.bitmask(["NO_DATA"])
    mask.array[0, 1] = mask.bitmask(["SAT"])
    before = [array.copy() for array in (image, mask.array, variance)]

    filled, flags, spreads = agreeing_planes(image, mask, variance, name="a")

    expected = np.zeros(SHAPE, bool)
    expected[[0, 1, 2], [1, 4, 3]] = True
    assert_array_equal(np.isnan(filled), expected)
    assert_array_equal(flags.any_of(["NO_DATA"]), expected)
    assert_array_equal(spreads == np.inf, expected)
    assert flags.any_of(["SAT"])[0, 1]
    assert_array_equal(filled[~expected], image[~expected])
    assert_array_equal(spreads[~expected], variance[~expected])
    for array, old in zip((image, mask.array, variance), before, strict=True):
        assert_array_equal(array, old)


def test_an_image_without_any_variance_is_refused():
    image, mask, variance = planes()

    with pytest.raises(IncompatibleError, match=r"a\.fits has values but no variance"):
        agreeing_planes(image, mask, variance * np.nan, name="a.fits")


def test_an_image_without_values_needs_no_variance():
    image, mask, variance = planes()

    filled, flags, _ = agreeing_planes(image * np.nan, mask, variance * np.nan, name="a.fits")

    assert np.isnan(filled).all()
    assert flags.any_of(["NO_DATA"]).all()


def test_nan_without_a_flag_is_flagged():
    image, mask, _ = planes()
    image[0, 1] = image[2, 2] = np.nan
    mask.array[2, 2] = mask.bitmask(["CR"])

    flags = flag_unexplained(image, mask)

    assert_array_equal(np.argwhere(flags.any_of(["UNMASKEDNAN"])), [[0, 1]])
    assert_array_equal(np.argwhere(flags.any_of(["NO_DATA"])), [[0, 1]])
    assert not mask.any_of(["NO_DATA"]).any()
    assert flag_unexplained(np.nan_to_num(image), mask) is mask
