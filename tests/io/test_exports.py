import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS

from skytool.cli.convert import command as convert
from skytool.errors import IncompatibleError, OutputError, SkytoolWarning
from skytool.io.dqmap import DqMap
from skytool.io.exports import EXPORTS, export_exposure
from skytool.io.exports.jwst import FLAGS
from skytool.io.sources import find_sources, read_exposure
from skytool.models.background.hdus import background_from_hdus
from skytool.models.mask import Mask
from skytool.models.photometry import PhotometricCalibration
from tests.io.ours import exposure

BAD = ("BAD", "SAT", "CR", "EDGE", "NO_DATA")
PIXELS = ("swarp", "jwst", "ccddata")


def notes():
    header = fits.Header([("SKYPRINT", "0123")])
    header.add_history("skytool 0.1.0 convert: rich.fits")
    return header


def export(made, path, to, *, bad_planes=BAD, **options):
    export_exposure(made, path, to=to, bad_planes=bad_planes, notes=notes(), **options)
    return path


def same_places(a, b, shape):
    """Return the largest distance of the sky positions of two exposures [pixel]."""
    y, x = np.meshgrid([0, shape[0] - 1], [0, shape[1] / 2, shape[1] - 1], indexing="ij")
    there = np.array(a.wcs.all_pix2world(x, y, 0)) - np.array(b.wcs.all_pix2world(x, y, 0))
    return np.abs(there).max() * 3600 / 0.25


@pytest.mark.parametrize("to", PIXELS)
@pytest.mark.parametrize("sip", [False, True])
def test_an_export_is_read_back_with_the_same_pixels(tmp_path, rng, to, sip):
    made = exposure(rng, sip=sip)
    back = read_exposure(export(made, tmp_path / "out.fits", to))
    chosen = made.mask.any_of(BAD)
    # SWarp's weights say nothing of bad pixels, the image does
    kept = ~chosen if to == "swarp" else np.isfinite(made.image)

    np.testing.assert_array_equal(np.isfinite(back.image), kept)
    np.testing.assert_array_equal(back.image[kept], made.image[kept])
    # a root and a square, or two reciprocals, of float32
    np.testing.assert_allclose(back.variance[kept], made.variance[kept], rtol=2.5e-7)
    np.testing.assert_array_equal(back.mask.any_of(["BAD", "NO_DATA"]), chosen)
    assert same_places(back, made, made.shape) < 1e-6
    assert back.unit == "adu"
    assert back.origin == made.origin
    assert back.calibration.zero_point == pytest.approx(27.25, abs=1e-9)
    assert back.calibration.scale_error == pytest.approx(made.calibration.scale_error, rel=1e-6)
    assert (back.header["VISIT"], back.header["AIRMASS"]) == (12, 1.25)
    assert "rich.fits" in str(back.header["HISTORY"])


@pytest.mark.parametrize("to", PIXELS)
def test_chosen_planes_decide_which_pixels_are_bad(tmp_path, rng, to):
    made = exposure(rng)
    back = read_exposure(export(made, tmp_path / "out.fits", to, bad_planes=("CR",)))

    bad = back.mask.any_of(["BAD", "NO_DATA"]) & ~made.mask.any_of(["BAD", "NO_DATA"])
    np.testing.assert_array_equal(bad, made.mask.any_of(["CR"]))


@pytest.mark.parametrize("to", [*PIXELS, "lsst-background"])
def test_exports_are_valid_and_the_same_bytes_each_time(tmp_path, rng, to):
    made = exposure(rng)
    first = export(made, tmp_path / "a.fits", to)
    second = export(made, tmp_path / "b.fits", to)

    for one, two in zip(
        EXPORTS[to].paths(first, {}, "rich.fits"),
        EXPORTS[to].paths(second, {}, "rich.fits"),
        strict=True,
    ):
        assert one.read_bytes() == two.read_bytes()
        with fits.open(one, checksum=True) as hdus:
            assert all("CHECKSUM" in hdu.header for hdu in hdus)
        if shutil.which("fitsverify"):
            done = subprocess.run(["fitsverify", "-q", one], capture_output=True, check=False)
            assert b"verification OK" in done.stdout
    with fits.open(first) as hdus:
        assert hdus[0].header["SKYPRINT"] == "0123"


@pytest.mark.parametrize("to", [*PIXELS, "lsst-background"])
def test_an_existing_file_of_an_export_is_kept(tmp_path, rng, to):
    made = exposure(rng)
    last = EXPORTS[to].paths(tmp_path / "out.fits", {}, "rich.fits")[-1]
    last.write_text("old")

    with pytest.raises(OutputError, match=f"{last.name} exists"):
        export(made, tmp_path / "out.fits", to)
    assert [path.name for path in tmp_path.iterdir()] == [last.name]
    export(made, tmp_path / "out.fits", to, overwrite=True)
    assert last.read_bytes().startswith(b"SIMPLE")


def test_the_command_offers_what_there_is():
    assert tuple(EXPORTS) == convert.EXPORTS
    assert {to for to in EXPORTS if EXPORTS[to].compressible} == convert.COMPRESSIBLE - {
        convert.OWN
    }


def test_swarp_gets_zeros_where_there_is_no_value(tmp_path, rng):
    made = exposure(rng)
    path = export(made, tmp_path / "night" / "out.fits.fits", "swarp")
    nothing, bad = np.isnan(made.image), made.mask.any_of(BAD)

    with fits.open(path) as hdus:
        assert len(hdus) == 1
        assert (hdus[0].data[nothing] == 0).all()
    with fits.open(path.with_name("out.fits.weight.fits")) as hdus:
        assert (hdus[0].data[bad] == 0).all()
        assert (hdus[0].data[~bad] > 0).all()
        assert WCS(hdus[0].header).wcs.crval[0] == pytest.approx(150.1)


@pytest.mark.skipif(shutil.which("SWarp") is None, reason="SWarp is not installed")
def test_swarp_resamples_an_export_where_its_coordinates_say(tmp_path, rng):
    made = exposure(rng, sip=True)
    image = np.zeros(made.shape, np.float32)
    image[8, 60] = 1e4  # a corner, where the distortion is largest
    empty = made.with_values(image=image, variance=np.ones_like(image), mask=Mask.empty(made.shape))
    path = export(empty, tmp_path / "out.fits", "swarp")
    options = "-SUBTRACT_BACK N -RESAMPLING_TYPE BILINEAR -PROJECTION_ERR 0 -WRITE_XML N"
    subprocess.run(
        ["SWarp", path, "-WEIGHT_TYPE", "MAP_WEIGHT", "-VERBOSE_TYPE", "QUIET", *options.split()],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    with fits.open(tmp_path / "coadd.fits") as hdus:
        y, x = np.indices(hdus[0].data.shape)
        light = hdus[0].data / hdus[0].data.sum()
        place = WCS(hdus[0].header).all_pix2world((light * x).sum(), (light * y).sum(), 0)

    truth = made.wcs.all_pix2world(60, 8, 0)
    linear = made.wcs.wcs_pix2world(60, 8, 0)
    assert np.hypot(*(np.array(linear) - truth)) * 3600 / 0.25 > 0.05
    assert np.hypot(*(np.array(place) - truth)) * 3600 / 0.25 < 0.01


def test_a_distortion_that_swarp_cannot_know_is_no_secret(tmp_path, rng):
    made = exposure(rng)
    wcs = made.wcs.deepcopy()
    wcs.wcs.ctype = ["RA---SIN-SIP", "DEC--SIN-SIP"]
    wcs.sip = exposure(rng, sip=True).wcs.sip

    with pytest.warns(SkytoolWarning, match=r"rich\.fits: SWarp does not know its SIP"):
        export(made.with_values(wcs=wcs), tmp_path / "out.fits", "swarp")


def test_ccddata_is_read_by_astropy_without_arguments(tmp_path, rng):
    made = exposure(rng)
    path = export(made, tmp_path / "out.fits", "ccddata")
    ccd = CCDData.read(path)

    assert ccd.unit == "adu"
    np.testing.assert_array_equal(ccd.data, made.image)
    np.testing.assert_array_equal(ccd.mask, made.mask.any_of(BAD))
    np.testing.assert_allclose(ccd.uncertainty.array**2, made.variance, rtol=2.5e-7)
    star = made.psf.kernel_image(y=44.5, x=34.5)
    np.testing.assert_array_equal(ccd.psf, star)
    assert np.allclose(ccd.wcs.all_pix2world(3, 4, 0), made.wcs.all_pix2world(3, 4, 0), atol=1e-12)


@pytest.mark.parametrize("telescope", ["", "JWST"])
def test_flags_of_jwst_mean_to_us_what_they_were(tmp_path, rng, telescope):
    made = exposure(rng)
    if telescope:
        made.header["TELESCOP"] = telescope
    path = export(made, tmp_path / "out.fits", "jwst")
    (source,) = find_sources(path)
    back = source.read()

    assert source.layout == ("jwst" if telescope else "sci")
    for plane in ("SAT", "CR", "SUSPECT"):
        np.testing.assert_array_equal(back.mask.any_of([plane]), made.mask.any_of([plane]))
    with fits.open(path) as hdus:
        unusable = hdus["DQ"].data & 1 == 1
        assert hdus["DQ"].data.dtype == np.uint32
        np.testing.assert_array_equal(unusable, made.mask.any_of(BAD))
        np.testing.assert_array_equal(np.isnan(hdus["ERR"].data), np.isnan(made.image))
    assert back.psf.fwhm(y=45, x=30) == pytest.approx(made.psf.fwhm(y=45, x=30))


def test_flags_of_jwst_are_in_our_map_of_jwst():
    ours = DqMap.load("jwst")
    for plane, (bit, _) in FLAGS.items():
        (meaning,) = [name for name, values in ours.planes.items() if 1 << bit in values]
        # what no detector looks at has no data, and is bad in any case
        assert meaning == ("BAD" if plane == "NO_DATA" else plane)


def test_planes_that_jwst_has_no_flag_for_are_named(tmp_path, rng, caplog):
    caplog.set_level("INFO")
    export(exposure(rng), tmp_path / "out.fits", "jwst")

    assert "JWST has no flag for DETECTED, which is left out" in caplog.text


def test_planes_of_jwst_files_can_be_compressed_and_those_in_primaries_not(tmp_path, rng):
    made = exposure(rng)
    plain = export(made, tmp_path / "a.fits", "jwst")
    packed = export(made, tmp_path / "b.fits", "jwst", compress="gzip")

    np.testing.assert_array_equal(read_exposure(packed).image, read_exposure(plain).image)
    assert packed.stat().st_size < plain.stat().st_size
    with pytest.raises(ValueError, match="its image is in the primary"):
        export(made, tmp_path / "c.fits", "swarp", compress="gzip")


@pytest.mark.parametrize("to", PIXELS)
def test_zero_points_of_the_camera_that_no_longer_hold_are_left_out(tmp_path, rng, to):
    scaled = exposure(rng)
    scaled = scaled.with_values(
        unit="adu/s", calibration=PhotometricCalibration.from_zero_point(24.0)
    )
    scaled.header.update({"MAGZPT": 29.9, "PHOTZP": 24.0})
    back = read_exposure(export(scaled, tmp_path / "out.fits", to))

    assert back.calibration.zero_point == pytest.approx(24.0, abs=1e-9)
    assert "MAGZPT" not in back.header
    agreeing = scaled.with_values(header=fits.Header([("PHOTZP", 24.0)]))
    back = read_exposure(export(agreeing, tmp_path / "b.fits", to))
    assert back.header["PHOTZP"] == 24.0


def test_a_background_of_lsst_is_what_was_subtracted(tmp_path, rng):
    made = exposure(rng)
    path = export(made, tmp_path / "out.fits", "lsst-background")

    with fits.open(path) as hdus:
        assert len(hdus) % 3 == 0
        assert {hdu.data.shape for hdu in hdus} == {(2, 2)}
        cards = hdus[0].header
        assert (cards["BKGD_X0"], cards["BKGD_Y0"]) == (-4, 17)
        assert (cards["BKGD_WIDTH"], cards["BKGD_HEIGHT"]) == (70, 90)
        assert (cards["APPROXSTYLE"], cards["APPROXORDERX"], cards["APPROXWEIGHTING"]) == (0, 1, 0)
        listed = background_from_hdus(hdus, name="out.fits").evaluate(made.shape)
    # 1.5 times the polynomial, at corner pixels half a pixel inside of the edges
    y, x = 2 * (0 + 0.5) / 90 - 1, 2 * (0 + 0.5) / 70 - 1
    assert listed[0, 0] == pytest.approx(1.5 * (100 + 3 * x - 7 * y), rel=1e-6)
    stored = background_from_hdus(made.extensions, name="made").evaluate(made.shape)
    np.testing.assert_allclose(listed, stored, rtol=1e-6)


def test_backgrounds_that_lsst_cannot_have_are_refused(tmp_path, rng):
    made = exposure(rng)
    bare = made.with_values(extensions=())
    limited = made.with_values(extensions=tuple(hdu.copy() for hdu in made.extensions))
    limited.extensions[0].header.update({"YLIMIT1": 10.0, "YLIMIT2": 60.0})

    for unfit, reason in ((bare, "no extension BKG"), (limited, "a polynomial with limits")):
        with pytest.raises(IncompatibleError, match=reason):
            export(unfit, tmp_path / "out.fits", "lsst-background")
    assert not list(Path(tmp_path).iterdir())
