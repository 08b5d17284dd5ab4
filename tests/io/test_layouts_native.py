import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import InputError
from skytool.io.fits import write_hdus
from skytool.io.sources import ReadOptions, find_sources, read_exposure
from skytool.models.exposure import Exposure, Origin
from skytool.models.exposure_hdus import primary_header, to_hdus
from skytool.models.mask import Mask
from skytool.models.sky.celestial import celestial_wcs
from tests.io.foreign import (
    SHAPE,
    assert_planes_agree,
    planes,
    planes_at,
    primary,
    wcs_header,
    write,
)


@pytest.fixture
def stored(tmp_path, rng):
    """An exposure and the file of it."""
    pixels = planes(rng)
    mask = Mask.empty(SHAPE, ["GHOST"])
    mask.array[3, 4] |= mask.bitmask(["CR", "GHOST"])
    image = pixels.image.copy()
    image[5, 6] = np.nan
    exposure = Exposure(
        image,
        mask,
        pixels.variance,
        wcs=celestial_wcs(wcs_header(), name="made"),
        unit="electron",
        header=fits.Header([("VISIT", 12), ("FILTER", "r")]),
        origin=Origin(17, -4),
    )
    path = tmp_path / "warp-12.fits"
    header = primary_header(exposure, kind="WARP", stage="warp")
    write_hdus(path, to_hdus(exposure), primary=header, overwrite=False)
    return exposure, path


def test_a_file_of_ours_is_read_as_it_was_written(stored):
    exposure, path = stored
    (source,) = find_sources(path)
    assert (source.layout, source.name, source.shape) == ("skytool", "warp-12.fits", SHAPE)
    assert source.origin == (17, -4)
    assert source.header["VISIT"] == 12
    again = source.read()
    assert_planes_agree(again)
    valid = np.isfinite(exposure.image)
    assert np.array_equal(again.image[valid], exposure.image[valid])
    assert np.array_equal(again.variance[valid], exposure.variance[valid])
    assert planes_at(again, 3, 4) == {"CR", "GHOST"}
    assert planes_at(again, 5, 6) == {"NO_DATA"}
    assert (again.unit, again.origin) == ("electron", (17, -4))
    assert np.array_equal(source.wcs().wcs.crval, again.wcs.wcs.crval)


def test_planes_of_ours_can_be_replaced(stored):
    exposure, path = stored
    mask = np.zeros(SHAPE, np.int16)
    mask[8, 9] = 2
    fits.PrimaryHDU(mask).writeto(path.with_name("mask.fits"))
    fits.PrimaryHDU(np.full(SHAPE, 0.04)).writeto(path.with_name("weight.fits"))
    options = ReadOptions(
        mask=str(path.with_name("mask.fits")),
        weight=str(path.with_name("weight.fits")),
        weight_is="inverse-variance",
        dq_map="banzai",
        saturate=4000,
        fwhm=2.5,
    )
    again = read_exposure(path, options)
    assert_planes_agree(again)
    assert planes_at(again, 8, 9) == {"SAT"}
    assert planes_at(again, 3, 4) == set()
    assert np.array_equal(again.mask.any_of(["SAT"]), (exposure.image >= 4000) | (mask == 2))
    assert again.variance[0, 0] == pytest.approx(25.0)
    assert again.psf.fwhm(y=0.0, x=0.0) == pytest.approx(2.5, rel=0.01)


def test_an_extension_of_ours_can_be_read_alone(stored):
    _, path = stored
    source = find_sources(f"{path}[VARIANCE]")[0]
    assert source.layout == "bare"
    assert find_sources(f"{path}[IMAGE]")[0].layout == "skytool"


def test_a_file_of_ours_without_an_exposure_is_refused(tmp_path):
    kernel = fits.ImageHDU(np.ones((5, 7)), name="KERNEL")
    path = write(tmp_path / "kernel.fits", primary(SKYFMT=1, SKYTYPE="KERNEL"), kernel)
    with pytest.raises(InputError, match="1 KERNEL: 2-d image of 7 x 5 pixels"):
        find_sources(path)


def test_a_file_of_a_newer_program_is_refused(stored):
    _, path = stored
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["SKYFMT"] = 99
    with pytest.raises(InputError, match="newer"):
        read_exposure(path)
