import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import IncompatibleError, SkytoolWarning
from skytool.io.sources import find_sources, read_exposure
from tests.io.foreign import (
    SHAPE,
    assert_planes_agree,
    image_hdu,
    planes,
    planes_at,
    primary,
    wcs_header,
    write,
)

BITS = {"CR": 0, "NO_DATA": 2, "SAT": 5, "NOT_DEBLENDED": 7, "INJECTED": 12}


def afw_file(path, rng, *, named=True, archive=False, mask_shape=SHAPE, compressed=True):
    """Write a file as afw does, with bits in an order of its own."""
    pixels = planes(rng)
    mask = np.zeros(mask_shape, np.int32)
    mask[3, 4] = 1 << BITS["SAT"]
    mask[5, 6] = (1 << BITS["CR"]) | (1 << BITS["INJECTED"])
    mask[7, 8] = 1 << BITS["NO_DATA"]
    bits = fits.Header()
    for name, bit in BITS.items():
        bits[f"HIERARCH MP_{name}"] = bit
    header = wcs_header()
    header["LTV1"], header["LTV2"] = -1200, -340
    hdus = [primary(BUNIT="adu", FLUXMAG0=3.1e11, EXPTIME=30.0, FILTER="r")]
    for name, data, cards in (
        ("IMAGE", pixels.image, header),
        ("MASK", mask, bits),
        ("VARIANCE", pixels.variance, None),
    ):
        hdu = image_hdu(data, name if named else None, header=cards, compressed=compressed)
        hdu.header["EXTTYPE"] = name
        hdus.append(hdu)
    if archive:
        columns = [fits.Column("id", "J", array=np.arange(3))]
        hdus.append(fits.BinTableHDU.from_columns(columns, name="ARCHIVE_INDEX"))
    return write(path, *hdus), pixels


@pytest.mark.parametrize("named", [True, False])
def test_an_afw_file_is_read_with_its_own_bit_numbers(tmp_path, rng, named):
    path, pixels = afw_file(tmp_path / "calexp.fits", rng, named=named)
    (source,) = find_sources(path)
    assert source.layout == "lsst"
    exposure = source.read()
    assert_planes_agree(exposure)
    valid = ~exposure.mask.any_of(["NO_DATA"])
    assert np.count_nonzero(~valid) == 1
    assert np.array_equal(exposure.image[valid], pixels.image[valid])
    assert np.array_equal(exposure.variance[valid], pixels.variance[valid])
    assert planes_at(exposure, 3, 4) == {"SAT"}
    assert planes_at(exposure, 5, 6) == {"CR", "INJECTED"}
    assert planes_at(exposure, 7, 8) == {"NO_DATA"}
    assert exposure.mask.bits["SAT"] == BITS["SAT"]


def test_an_afw_file_gives_unit_origin_coordinates_and_cards(tmp_path, rng):
    path, _ = afw_file(tmp_path / "calexp.fits", rng)
    exposure = read_exposure(path)
    assert exposure.unit == "adu"
    assert exposure.origin == (340, 1200)
    assert exposure.wcs.all_pix2world(32.0, 51.0, 0) == pytest.approx([150.1, 2.3], abs=1e-9)
    assert exposure.header["FILTER"] == "r"
    assert "LTV1" not in exposure.header
    assert exposure.calibration.scale == pytest.approx(3.631e12 / 3.1e11, rel=1e-4)


def test_an_archive_that_is_not_read_is_said_once(tmp_path, rng):
    path, _ = afw_file(tmp_path / "coadd.fits", rng, archive=True)
    with pytest.warns(SkytoolWarning, match=r"coadd\.fits: its LSST archive") as caught:
        find_sources(path)
    assert len(caught) == 1


def test_a_mask_of_another_shape_is_refused(tmp_path, rng):
    path, _ = afw_file(tmp_path / "calexp.fits", rng, mask_shape=(90, 71))
    with pytest.raises(IncompatibleError, match=r"calexp\.fits\[MASK\] has 71 x 90 .*70 x 90"):
        find_sources(path)


def images_file(path, rng):
    """Write a file as lsst.images does."""
    pixels = planes(rng)
    names = ["BAD", "SATURATED", "INTERPOLATED", "COSMIC_RAY", "DETECTION_EDGE", "ODD"]
    cards = fits.Header()
    for index, name in enumerate(names):
        cards[f"MSKN{index:04d}"] = name
        cards[f"MSKM{index:04d}"] = 1 << index
        cards[f"MSKD{index:04d}"] = "meaning"
    mask = np.zeros(SHAPE, np.int32)
    mask[2, 2:8] = [1 << index for index in range(6)]
    header = wcs_header()
    for axis, value in ((1, 211.0), (2, 1009.0)):
        header[f"CTYPE{axis}A"] = "LINEAR"
        header[f"CRPIX{axis}A"] = 1.0
        header[f"CRVAL{axis}A"] = value
        header[f"CUNIT{axis}A"] = "pixel"
    column = fits.Column("JSON", "20A", array=["{}"])
    write(
        path,
        primary(JSONADDR=1, JSONSIZE=2, INDXADDR=3, INDXSIZE=4),
        image_hdu(pixels.image, "IMAGE", header=header, BUNIT="nJy"),
        image_hdu(mask, "MASK", header=cards),
        image_hdu(pixels.variance, "VARIANCE", BUNIT="nJy2"),
        fits.BinTableHDU.from_columns([column], name="JSON"),
    )
    return str(path), pixels


def test_planes_of_lsst_images_get_our_names(tmp_path, rng):
    path, pixels = images_file(tmp_path / "visit.fits", rng)
    with pytest.warns(SkytoolWarning, match="archive"):
        (source,) = find_sources(path)
    assert source.layout == "lsst-images"
    exposure = source.read()
    assert_planes_agree(exposure)
    assert np.array_equal(exposure.image, pixels.image)
    expected = ["BAD", "SAT", "INTRP", "CR", "EDGE", "ODD"]
    assert [planes_at(exposure, 2, 2 + i) for i in range(6)] == [{name} for name in expected]
    assert exposure.unit == "nJy"
    assert exposure.origin == (1009, 211)
    assert exposure.calibration.scale == pytest.approx(1.0)
