import io
import shutil
import subprocess
import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS, DistortionLookupTable
from numpy.testing import assert_allclose, assert_array_equal

from skytool import __version__
from skytool.errors import IncompatibleError, InputError
from skytool.io.fits import opened, write_hdus
from skytool.models.exposure import Exposure, Origin
from skytool.models.exposure_hdus import (
    check_format,
    detached,
    from_hdus,
    primary_header,
    squared_unit,
    to_hdus,
)
from skytool.models.mask import Mask
from skytool.models.photometric_calibration import PhotometricCalibration
from skytool.models.psf.kinds import BasisPsf, ConstantPsf
from skytool.models.sky.celestial import celestial_wcs
from skytool.models.tables import TableColumn, table_hdu

SHAPE = (37, 53)
TAN = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 123.456789012345678,
    "CRVAL2": -20.98765432109876,
    "CRPIX1": 25.123456789012345,
    "CRPIX2": 16.987654321098765,
    "CD1_1": -7.1234567890123456e-5,
    "CD1_2": 1.2345678901234567e-6,
    "CD2_1": 2.3456789012345678e-6,
    "CD2_2": 7.2109876543210987e-5,
}
PV = {
    "PV1_0": 0.0012345678901234567,
    "PV1_1": 1.0012345678901234,
    "PV1_2": -0.0012345678901234567,
    "PV1_7": 0.12345678901234567,
    "PV2_1": 1.0001234567890123,
    "PV2_8": -0.23456789012345678,
}
SIP = {
    "A_ORDER": 3,
    "B_ORDER": 2,
    "A_2_0": 1.2345678901234567e-6,
    "A_0_3": -3.2109876543210987e-9,
    "B_1_1": 2.2222222222222223e-7,
}


def cards(projection="TAN", without=(), **more):
    """Return WCS cards of a projection."""
    wanted = {key: value for key, value in TAN.items() if not key.startswith(tuple(without) or "?")}
    wanted |= {"CTYPE1": f"RA---{projection}", "CTYPE2": f"DEC--{projection}", **more}
    return wanted


WCSES = {
    "TAN": cards(),
    "TAN-SIP": cards("TAN-SIP", **SIP),
    "TAN with PV": cards(**PV),
    "TPV": cards("TPV", **PV),
    "ZPN": cards("ZPN", PV2_1=1.0, PV2_3=42.123456789012345),
    "CEA": cards("CEA", PV2_1=0.9),
    "CROTA": cards(without=["CD"], CDELT1=-7.1e-5, CDELT2=7.2e-5, CROTA2=33.333333333333336),
    "PC": cards(
        without=["CD"], CDELT1=-7e-5, CDELT2=7e-5, PC1_1=0.8, PC1_2=0.6, PC2_1=-0.6, PC2_2=0.8
    ),
    "no matrix": cards(without=["CD"], CDELT1=-7e-5, CDELT2=7e-5),
    "galactic": cards(CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN"),
    "swapped": cards(CTYPE1="DEC--TAN", CTYPE2="RA---TAN", CRVAL1=-20.5, CRVAL2=123.5),
    "FK5": cards(RADESYS="FK5", EQUINOX=1975.0),
    "rotated pole": cards("STG", LONPOLE=150.0),
}


def wcs_of(wanted):
    header = fits.Header(wanted)
    header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, SHAPE[1], SHAPE[0]
    return celestial_wcs(header, name="test")


def exposure_of(rng, **changes):
    """Return an exposure with a pixel without a value, a saturated one, and everything else."""
    image = rng.normal(100, 5, SHAPE).astype("f4")
    variance = rng.uniform(20, 30, SHAPE).astype("f4")
    star = rng.integers(1, 9, (7, 9))
    star[3, 4] += 1024 - star.sum()  # the sum of the star is exactly 1
    image[4, 9], variance[4, 9] = np.nan, np.inf
    mask = Mask.empty(SHAPE, ["FOREIGN"])
    mask.array[4, 9] = mask.bitmask(["NO_DATA"])
    mask.array[30, 2] = mask.bitmask(["SAT", "FOREIGN"])
    header = fits.Header([("OBJECT", "M 31", "field"), ("EXPTIME", 90.5), ("MAGZPT", 25.1)])
    header.add_history("flat field 7")
    usual = {
        "image": image,
        "mask": mask,
        "variance": variance,
        "wcs": wcs_of(WCSES["TAN"]),
        "unit": "nJy",
        "calibration": PhotometricCalibration(1.0),
        "psf": ConstantPsf.from_image(star / 1024),
        "header": header,
        "origin": Origin(y=-11, x=4000),
        "name": "a.fits",
        "extensions": (fits.ImageHDU(rng.normal(size=(3, 5)), name="BKG", ver=2),),
    }
    return Exposure(**{**usual, **changes})


def hdulist(exposure, **primary):
    given = {"kind": "WARP", "stage": "warp", **primary}
    return fits.HDUList(
        [fits.PrimaryHDU(header=primary_header(exposure, **given)), *to_hdus(exposure)]
    )


def stored(exposure, path, compress="none", **primary):
    """Write an exposure and return what comes back."""
    header = primary_header(exposure, **{"kind": "WARP", "stage": "warp", **primary})
    write_hdus(path, to_hdus(exposure), primary=header, compress=compress, overwrite=True)
    with opened(path, verify=True) as hdus:
        return from_hdus(hdus, name="b.fits")


@pytest.mark.parametrize("compress", ["none", "gzip"])
def test_an_exposure_comes_back(tmp_path, rng, compress):
    exposure = exposure_of(rng)

    read = stored(exposure, tmp_path / "a.fits", compress)

    for name in ("image", "variance"):
        assert_array_equal(getattr(read, name), getattr(exposure, name))
        assert getattr(read, name).dtype == np.dtype("=f4")
    assert_array_equal(read.mask.array, exposure.mask.array)
    assert dict(read.mask.bits) == dict(exposure.mask.bits)
    assert read.unit == "nJy"
    assert read.origin == Origin(y=-11, x=4000)
    assert read.name == "b.fits"
    assert read.calibration.scale == pytest.approx(1.0, rel=1e-14)
    assert_array_equal(read.psf.kernel_image(y=3, x=5), exposure.psf.kernel_image(y=3, x=5))
    assert read.header["OBJECT"] == "M 31"
    assert read.header.comments["OBJECT"] == "field"
    assert list(read.header["HISTORY"]) == ["flat field 7"]
    (layer,) = read.extensions
    assert (layer.name, layer.ver) == ("BKG", 2)
    assert_array_equal(layer.data, exposure.extensions[0].data)


def test_the_second_time_through_a_file_changes_no_byte(tmp_path, rng):
    first, second = tmp_path / "a.fits", tmp_path / "b.fits"

    stored(stored(exposure_of(rng), first), second)

    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("compress", ["none", "gzip", "rice"])
def test_runs_a_second_apart_write_equal_bytes(tmp_path, compress):
    for name in ("a.fits", "b.fits"):
        if name == "b.fits":
            time.sleep(1.1)
        stored(exposure_of(np.random.default_rng(5)), tmp_path / name, compress)

    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()


def test_an_exposure_with_nothing_but_planes_comes_back(tmp_path, rng):
    bare = exposure_of(
        rng, wcs=None, psf=None, calibration=None, unit="", extensions=(), header=fits.Header()
    )

    read = stored(bare, tmp_path / "a.fits")

    assert_array_equal(read.image, bare.image)
    assert read.wcs is None
    assert read.psf is None
    assert read.calibration is None
    assert read.unit == ""
    assert read.extensions == ()
    assert not [key for key in read.header if key != "CREATOR"]


def test_nothing_that_comes_back_needs_the_file(tmp_path, rng):
    table = table_hdu(
        "STARS", [TableColumn("X", [1.5, 2.5], "pixel"), TableColumn("ID", ["a", "b"])]
    )
    counts = fits.ImageHDU(rng.integers(0, 9, SHAPE).astype("i2"), name="NIMAGE")
    flags = fits.ImageHDU(rng.integers(0, 60000, (3, 4)).astype("u2"), name="DQ")
    exposure = exposure_of(rng, extensions=(table, counts, flags))
    path = tmp_path / "a.fits"

    read = stored(exposure, path, "gzip")
    path.unlink()
    again = stored(read, tmp_path / "b.fits")

    for result in (read, again):
        stars, images, bits = result.extensions
        assert list(stars.data["ID"]) == ["a", "b"]
        assert_array_equal(stars.data["X"], [1.5, 2.5])
        assert stars.columns["X"].unit == "pixel"
        assert_array_equal(images.data, counts.data)
        assert images.data.dtype == np.dtype("=i2")
        assert_array_equal(bits.data, flags.data)


def test_the_layout_is_that_of_other_programs(rng):
    hdus = hdulist(exposure_of(rng), history="skytool 0.1.0 warp: 3 inputs")

    assert [hdu.name for hdu in hdus[:5]] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE", "PSF"]
    primary = hdus[0].header
    assert (primary["SKYFMT"], primary["SKYTYPE"], primary["SKYSTAGE"]) == (1, "WARP", "warp")
    assert primary["CREATOR"] == f"skytool {__version__}"
    assert primary["MAGZERO"] == 31.4
    assert primary["FLUXMAG0"] == pytest.approx(10**12.56, rel=1e-14)
    assert list(primary["HISTORY"]) == ["flat field 7", "skytool 0.1.0 warp: 3 inputs"]
    assert "BUNIT" not in primary
    assert "EXTNAME" not in primary
    assert [hdu.header["EXTTYPE"] for hdu in hdus[1:4]] == ["IMAGE", "MASK", "VARIANCE"]
    assert [hdu.header.get("BUNIT") for hdu in hdus[1:4]] == ["nJy", None, "nJy2"]
    assert [hdu.data.dtype.str[1:] for hdu in hdus[1:4]] == ["f4", "i4", "f4"]
    assert hdus["VARIANCE"].header["UTYPE"] == "VarianceUncertainty"
    for hdu in hdus[1:4]:
        assert hdu.header["INHERIT"] is True
        assert (hdu.header["LTV1"], hdu.header["LTV2"]) == (-4000, 11)
        assert (hdu.header["CRVAL1A"], hdu.header["CRVAL2A"]) == (4000, -11)
        assert (hdu.header["CTYPE1A"], hdu.header["CUNIT2A"]) == ("LINEAR", "pixel")
        assert hdu.header["CTYPE1"] == "RA---TAN"
    mask = hdus["MASK"].header
    assert mask["MP_DETECTED_NEGATIVE"] == 6
    numbers = {
        mask[f"MSKN{n:04d}"]: mask[f"MSKM{n:04d}"] for n in range(len(Mask.empty((1, 1)).bits))
    }
    assert numbers["NO_DATA"] == 256


def test_the_parent_frame_is_a_valid_alternate_wcs(rng):
    header = to_hdus(exposure_of(rng))[0].header

    parent = WCS(header, key="A")  # a warning would be an error

    assert_array_equal(parent.all_pix2world([0, 7], [0, 5], 0), [[4000, 4007], [-11, -6]])


@pytest.mark.parametrize("wanted", WCSES.values(), ids=WCSES)
def test_coordinates_come_back(tmp_path, rng, wanted):
    wcs = wcs_of(wanted)

    read = stored(exposure_of(rng, wcs=wcs), tmp_path / "a.fits").wcs

    y, x = np.mgrid[-40 : SHAPE[0] + 40 : 7, -40 : SHAPE[1] + 40 : 7]
    before, after = wcs.all_pix2world(x, y, 0), read.all_pix2world(x, y, 0)
    # 1e-9 pixel of 7e-5 deg is 7e-14 deg; longitudes of 360 have a last digit of 6e-14 deg
    assert_allclose(after, before, rtol=0, atol=1.3e-13)
    assert read.wcs.radesys == wcs.wcs.radesys
    assert read.pixel_shape == (SHAPE[1], SHAPE[0])


def test_distortions_given_as_tables_come_back(tmp_path, rng):
    wcs = wcs_of(WCSES["TAN-SIP"])
    for number, name in enumerate(("cpdis1", "cpdis2", "det2im1"), 1):
        values = rng.normal(size=(6, 8)).astype("f4")
        table = DistortionLookupTable(values, (1.0, 1.5), (1.0, 2.0 + number), (8.0, 9.0))
        setattr(wcs, name, table)
    exposure = exposure_of(rng, wcs=wcs)

    read = stored(exposure, tmp_path / "a.fits")
    again = stored(read, tmp_path / "b.fits")

    y, x = np.mgrid[0 : SHAPE[0] : 3, 0 : SHAPE[1] : 3]
    before = np.array(wcs.all_pix2world(x, y, 0))
    assert np.abs(before - wcs_of(WCSES["TAN-SIP"]).all_pix2world(x, y, 0)).max() > 1e-5
    for result in (read, again):
        assert_allclose(result.wcs.all_pix2world(x, y, 0), before, rtol=0, atol=1.3e-13)
        assert [hdu.name for hdu in result.extensions] == ["BKG"]
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()


def test_a_pixel_has_a_value_in_all_planes_or_in_none(tmp_path, rng):
    exposure = exposure_of(rng)
    exposure.image[1, 2] = np.nan
    exposure.image[2, 3] = np.inf
    exposure.variance[5, 6] = 0
    exposure.variance[7, 8] = np.nan
    exposure.mask.array[9, 10] = exposure.mask.bitmask(["NO_DATA", "CR"])

    stored(exposure, tmp_path / "a.fits")

    empty = np.zeros(SHAPE, bool)
    empty[[4, 1, 2, 5, 7, 9], [9, 2, 3, 6, 8, 10]] = True
    with fits.open(tmp_path / "a.fits") as hdus:
        assert_array_equal(np.isnan(hdus["IMAGE"].data), empty)
        assert_array_equal(hdus["MASK"].data & 256 != 0, empty)
        assert_array_equal(hdus["VARIANCE"].data == np.inf, empty)
        assert hdus["MASK"].data[9, 10] & 8


def test_a_file_that_others_changed_is_made_to_agree(rng):
    hdus = hdulist(exposure_of(rng))
    hdus["IMAGE"].data[8, 3] = np.nan
    hdus["VARIANCE"].data[9, 4] = -1

    read = from_hdus(hdus, name="a.fits")

    assert_array_equal(np.argwhere(read.mask.any_of(["UNMASKEDNAN"])), [[8, 3]])
    assert read.mask.any_of(["NO_DATA"])[[8, 9, 4], [3, 4, 9]].all()
    assert np.isnan(read.image[9, 4])
    assert read.variance[8, 3] == np.inf


def test_an_exposure_without_variance_is_not_written(rng):
    exposure = exposure_of(rng)
    exposure.variance[:] = np.inf

    with pytest.raises(IncompatibleError, match=r"a\.fits has values but no variance"):
        to_hdus(exposure)


def test_writing_changes_no_array(rng):
    exposure = exposure_of(rng)
    exposure.image[1, 2] = np.inf
    before = [a.copy() for a in (exposure.image, exposure.mask.array, exposure.variance)]

    to_hdus(exposure)

    for array, old in zip(
        (exposure.image, exposure.mask.array, exposure.variance), before, strict=True
    ):
        assert_array_equal(array, old)


def test_calibrations_come_back_with_their_errors(tmp_path, rng):
    calibration = PhotometricCalibration(scale=57.5, scale_error=0.25)

    read = stored(exposure_of(rng, calibration=calibration, unit="adu"), tmp_path / "a.fits")

    assert read.calibration.scale == pytest.approx(57.5, rel=1e-13)
    assert read.calibration.scale_error == pytest.approx(0.25, rel=1e-13)
    assert read.unit == "adu"


def test_a_varying_psf_comes_back(tmp_path, rng):
    basis = rng.normal(size=(3, 5, 7))
    basis[0] += 5
    psf = BasisPsf(basis, rng.normal(size=(3, 2, 2)) / 50 + [[[1, 0], [0, 0]]] * 3, SHAPE)

    read = stored(exposure_of(rng, psf=psf), tmp_path / "a.fits").psf

    assert_array_equal(read.kernel_image(y=30, x=11), psf.kernel_image(y=30, x=11))


def test_further_cards_of_the_primary_win(rng):
    header = primary_header(
        exposure_of(rng),
        kind="COADD",
        stage="coadd",
        history=["one", "two"],
        cards={"PSFFWHM": 3.5, "EXPTIME": (181.0, "[s] sum"), "SKYRMS": np.nan},
    )

    assert header["PSFFWHM"] == 3.5
    assert header.comments["PSFFWHM"].startswith("[pixel]")
    assert (header["EXPTIME"], header.comments["EXPTIME"]) == (181.0, "[s] sum")
    assert header.count("EXPTIME") == 1
    assert "SKYRMS" not in header
    assert list(header["HISTORY"]) == ["flat field 7", "one", "two"]


def broken(rng, change):
    hdus = hdulist(exposure_of(rng))
    change(hdus)
    return hdus


def remove(name):
    def change(hdus):
        del hdus[name]

    return change


def set_primary(key, value):
    def change(hdus):
        hdus[0].header[key] = value

    return change


def replace_mask(array):
    def change(hdus):
        hdus["MASK"].data = array

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_primary("SKYFMT", 2), r"written by a newer skytool.*Update"),
        (set_primary("SKYFMT", "one"), "SKYFMT is 'one'"),
        (set_primary("SKYFMT", True), "SKYFMT is True"),
        (set_primary("SKYFMT", 0), "SKYFMT is 0"),
        (set_primary("SKYTYPE", ""), "no SKYTYPE"),
        (remove("IMAGE"), "no extension IMAGE.*holds a WARP"),
        (remove("MASK"), "no extension MASK"),
        (remove("VARIANCE"), "no extension VARIANCE"),
        (replace_mask(np.zeros((4, 5), "i4")), "differ in shape: 37 x 53, 4 x 5, 37 x 53"),
        (replace_mask(np.zeros((2, *SHAPE), "i4")), r"a\.fits\[MASK\] has 3 axes"),
        (replace_mask(np.full(SHAPE, 1 << 29, "i4")), "which no MP_ card names"),
        (replace_mask(np.full(SHAPE, 0.5)), "holds fractions"),
    ],
)
def test_files_of_another_layout_are_refused(rng, change, message):
    with pytest.raises(InputError, match=message) as caught:
        from_hdus(broken(rng, change), name="a.fits")
    assert str(caught.value).startswith("a.fits")


def test_a_file_of_no_layout_is_refused():
    with pytest.raises(InputError, match="SKYFMT is None"):
        check_format(fits.Header(), name="a.fits")
    with pytest.raises(InputError, match="no SKYTYPE"):
        check_format(fits.Header([("SKYFMT", 1)]), name="a.fits")
    assert check_format(fits.Header([("SKYFMT", 1), ("SKYTYPE", "KERNEL ")]), name="a") == "KERNEL"


@pytest.mark.parametrize(
    ("unit", "squared"),
    [
        ("", ""),
        ("nJy", "nJy2"),
        ("electron", "electron2"),
        ("MJy/sr", "MJy2/sr2"),
        ("electron / s", "electron2/s2"),
        ("m s", "m2 s2"),
        ("km**2", "km4"),
        ("kg m-2", "kg2 m-4"),
        ("electron/s", "electron2/s2"),
    ],
)
def test_units_are_squared(unit, squared):
    from astropy import units

    assert squared_unit(unit) == squared
    assert units.Unit(squared) == units.Unit(unit) ** 2


def test_the_power_of_what_is_no_unit_is_written():
    assert squared_unit("DN[2]") == "(DN[2])**2"


def test_detached_extensions_keep_their_numbers(tmp_path, rng):
    scaled = fits.ImageHDU(np.arange(12.0).reshape(3, 4), name="SCALED")
    scaled.scale("int16", bscale=0.5, bzero=3)
    empty = fits.ImageHDU(header=fits.Header([("GAIN", 1.5)]), name="EMPTY")
    text = fits.TableHDU.from_columns([fits.Column("A", "A5", array=["x", "yy"])], name="TEXT")
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), scaled, empty, text]).writeto(path, checksum=True)

    with opened(path) as hdus:
        copies = [detached(hdu, name="a.fits") for hdu in hdus[1:]]
    path.unlink()

    assert_array_equal(copies[0].data, np.arange(12.0).reshape(3, 4))
    assert copies[1].header["GAIN"] == 1.5
    assert list(copies[2].data["A"]) == ["x", "yy"]
    assert all("CHECKSUM" not in copy.header for copy in copies)
    fits.HDUList([fits.PrimaryHDU(), *copies]).writeto(io.BytesIO())


@pytest.mark.parametrize("compress", ["none", "gzip", "rice"])
@pytest.mark.parametrize("wanted", ["TAN-SIP", "TPV"])
def test_fitsverify_finds_no_fault(tmp_path, rng, compress, wanted):
    if shutil.which("fitsverify") is None:
        pytest.skip("fitsverify is not installed")
    path = tmp_path / "a.fits"
    stored(exposure_of(rng, wcs=wcs_of(WCSES[wanted])), path, compress)

    done = subprocess.run(["fitsverify", "-q", path], check=False, capture_output=True, text=True)

    assert done.stdout.startswith("verification OK"), done.stdout


def test_ccddata_reads_the_file(tmp_path, rng):
    exposure = exposure_of(rng)
    path = tmp_path / "a.fits"
    stored(exposure, path)

    read = CCDData.read(
        path, hdu="IMAGE", hdu_uncertainty="VARIANCE", hdu_mask=None, hdu_flags="MASK"
    )

    assert_array_equal(read.data, exposure.image)
    assert_array_equal(read.uncertainty.array, exposure.variance)
    assert_array_equal(read.flags, exposure.mask.array)
    assert str(read.unit) == "nJy"
    assert str(read.uncertainty.unit) == "nJy2"
    assert_allclose(
        read.wcs.all_pix2world(3, 4, 0), exposure.wcs.all_pix2world(3, 4, 0), rtol=1e-14
    )
