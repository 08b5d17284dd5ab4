"""The file of a warp, as other programs read it."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS

from tests.cli.warping import (
    SCALE,
    gaussians,
    lattice,
    read_warp,
    run,
    sky_cards,
    write_exposure,
    write_grid,
)

SHAPE = (150, 110)
GRID = (170, 140)


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """Warps of all kinds, by name."""
    folder = tmp_path_factory.mktemp("products")
    rng = np.random.default_rng(4)
    y, x = lattice(SHAPE, step=36, margin=20, rng=rng)
    image = gaussians(SHAPE, y, x, fwhm=3.0, flux=2e4) + rng.normal(0, 3, SHAPE)
    image[40, 50] = np.nan
    sky = fits.ImageHDU(np.array([[200.0, 4.0], [-3.0, 0.0]]), name="BKG")
    sky.header.update({"SKYMVER": 1, "SKYMODEL": "CHEBYSHEV2D", "BKGOP": "SUBTRACT"})
    sky.header.update({"SKYSCALE": 1.0, "BUNIT": "adu", "DOMAINX": 110, "DOMAINY": 150})
    name = write_exposure(
        folder / "in.fits",
        image,
        sky=sky_cards(SHAPE, kind="SIP", rotation=9),
        variance=9.0,
        mask={"SAT": np.s_[60:63, 40], "DETECTED": image > 30},
        extensions=[sky],
        VISIT="2026a",
        DETECTOR=3,
        FILTER="r",
        EXPTIME=30.0,
        MAGZERO=27.0,
        **{"MJD-OBS": 60700.25, "HIERARCH ESO TEL TEMP": 11.5},
        CHECKSUM="nonsense",
    )
    grid = write_grid(folder / "grid.hdr", sky_cards(GRID), GRID, origin=(31, 17))
    kinds = {
        "plain": (),
        "counts": ("--units", "input"),
        "zeropoint": ("--units", "zeropoint", "--zeropoint", 27.5),
        "fraction": ("--masked-fraction", "--kernel", "spline3"),
        "restored": ("--add-background", "stored", "--kernel", "exact"),
        "gzip": ("--compress", "gzip", "--masked-fraction"),
        "rice": ("--compress", "rice"),
    }
    for kind, options in kinds.items():
        args = ("warp", name, "--like", grid, "-o", folder / f"{kind}.fits", *options)
        result = run(*args)
        assert result.exit_code == 0, result.output
    return {kind: folder / f"{kind}.fits" for kind in kinds}


KINDS = ("plain", "counts", "zeropoint", "fraction", "restored")


def called(*command):
    return subprocess.run([*map(str, command)], capture_output=True, check=False, text=True)


@pytest.mark.parametrize("kind", [*KINDS, "gzip", "rice"])
def test_fitsverify_has_nothing_to_say(products, kind):
    if shutil.which("fitsverify") is None:
        pytest.skip("fitsverify is not installed")
    done = called("fitsverify", products[kind])

    assert done.returncode == 0
    assert "found 0 warning(s) and 0 error(s)" in done.stdout, done.stdout


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[3]])
def test_fitscheck_has_nothing_to_say(products, kind):
    """Sums of compressed extensions it cannot see."""
    done = called(Path(sys.executable).with_name("fitscheck"), products[kind])

    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("kind", [*KINDS, "gzip", "rice"])
def test_checksums_hold_and_astropy_is_silent(products, kind):
    with fits.open(products[kind], checksum=True, memmap=False) as hdus:
        hdus.verify("exception")
        for hdu in hdus:
            assert hdu.data is not None or hdu.name == "PRIMARY"
            if kind not in {"gzip", "rice"}:
                assert hdu.header["DATASUM"]
                assert hdu.header["CHECKSUM"]
                assert "20" not in str(hdu.header.comments["CHECKSUM"]), "no time in it"
        assert hdus[0].header["NEXTEND"] == len(hdus) - 1
        assert "DATE" not in hdus[0].header


@pytest.mark.parametrize("kind", KINDS)
def test_the_layout_is_the_documented_one(products, kind):
    warped = read_warp(products[kind])

    with fits.open(products[kind]) as hdus:
        for index, name in enumerate(("IMAGE", "MASK", "VARIANCE"), 1):
            header = hdus[index].header
            assert (header["EXTNAME"], header["EXTTYPE"]) == (name, name)
            assert header["INHERIT"] is True
            assert (header["LTV1"], header["LTV2"]) == (-17, -31)
            assert (header["CRVAL1A"], header["CRVAL2A"]) == (17, 31)
            assert header["CTYPE1A"] == "LINEAR"
            np.testing.assert_allclose(
                WCS(header).all_pix2world([[3, 90]], 0),
                WCS(sky_cards(GRID)).all_pix2world([[3, 90]], 0),
                atol=1e-11,
            )
        units = {"counts": ("adu", "adu2"), "zeropoint": (None, None)}
        expected = units.get(kind, ("nJy", "nJy2"))
        assert (hdus[1].header.get("BUNIT"), hdus[3].header.get("BUNIT")) == expected
        assert hdus[3].header["UTYPE"] == "VarianceUncertainty"
        mask = hdus["MASK"].header
        for index in range(len(warped.bits)):
            name, value = mask[f"MSKN{index:04d}"], mask[f"MSKM{index:04d}"]
            assert 1 << warped.bits[name] == value
    primary = warped.primary
    assert primary["SKYFMT"] == 1
    assert primary["SKYTYPE"] == "WARP"
    assert primary["SKYSTAGE"] == "warp"
    assert primary["WARPTYPE"] == "direct"
    assert primary["VISIT"] == "2026a"
    assert primary["FILTER"] == "r"
    assert primary["EXPTIME"] == 30
    assert primary["ESO TEL TEMP"] == 11.5
    zero_point = {"counts": 27.0, "zeropoint": 27.5}.get(kind, 31.4)
    assert primary["MAGZERO"] == pytest.approx(zero_point)
    assert primary["FLUXMAG0"] == pytest.approx(10 ** (0.4 * zero_point))
    assert warped.others["CONFIG"]["STAGE"].tolist() == ["warp"] * len(warped.others["CONFIG"])
    assert ("FRACMASK" in warped.others) == (kind == "fraction")


def test_every_option_is_in_the_settings(products):
    from skytool.cli.warp.command import warp as command

    names = set(read_warp(products["fraction"]).others["CONFIG"]["NAME"].tolist())
    settings = {
        "kernel",
        "overlap",
        "units",
        "fill-planes",
        "oversample",
        "masked-fraction",
        "like",
    }
    assert settings <= names
    sources = {
        row["NAME"]: (row["VALUE"], row["SOURCE"])
        for row in read_warp(products["fraction"]).others["CONFIG"]
    }
    assert sources["kernel"] == ('"spline3"', "command line")
    assert sources["overlap"] == ('"last"', "default")
    assert {"overwrite", "jobs", "json"}.isdisjoint(names), "what changes no pixel"
    assert names <= {param.opts[-1].lstrip("-") for param in command.params} | {
        option.lstrip("-") for param in command.params for option in param.opts
    }


def test_ccddata_reads_it_with_the_documented_arguments(products):
    warped = read_warp(products["plain"])
    ccd = CCDData.read(
        products["plain"],
        hdu="IMAGE",
        hdu_uncertainty="VARIANCE",
        hdu_mask=None,
        hdu_flags="MASK",
    )

    np.testing.assert_array_equal(ccd.data, warped.image)
    np.testing.assert_array_equal(ccd.uncertainty.array, warped.variance)
    np.testing.assert_array_equal(ccd.flags, warped.mask)
    assert str(ccd.unit) == "nJy"
    assert str(ccd.uncertainty.unit) == "nJy2"
    assert ccd.uncertainty.uncertainty_type == "var"
    at = ccd.wcs.pixel_to_world_values(10, 20)
    np.testing.assert_allclose(at, WCS(sky_cards(GRID)).pixel_to_world_values(10, 20), atol=1e-11)


def test_reproject_reads_it(products):
    from reproject import reproject_interp

    image, footprint = reproject_interp(
        products["plain"], fits.Header(WCS(sky_cards(GRID)).to_header()), shape_out=GRID, hdu_in=1
    )
    warped = read_warp(products["plain"])
    good = ~warped.empty & np.isfinite(image)

    assert footprint.shape == GRID
    assert good.sum() > 0.5 * image.size
    np.testing.assert_allclose(image[good], warped.image[good], rtol=1e-4, atol=1e-2)


def test_source_extractor_finds_the_stars(products, tmp_path):
    if shutil.which("source-extractor") is None:
        pytest.skip("source-extractor is not installed")
    (tmp_path / "x.param").write_text("X_IMAGE\nY_IMAGE\nFLUX_APER(1)\n")
    (tmp_path / "x.conv").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
    command = ["source-extractor", f"{products['plain']}[1]", "-c", "/dev/null"]
    command += ["-CATALOG_NAME", "x.cat", "-PARAMETERS_NAME", "x.param", "-FILTER_NAME", "x.conv"]
    command += ["-CATALOG_TYPE", "ASCII_HEAD", "-DETECT_THRESH", "10", "-PHOT_APERTURES", "16"]
    command += ["-BACK_TYPE", "MANUAL", "-BACK_VALUE", "0", "-VERBOSE_TYPE", "QUIET"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    found = np.loadtxt(tmp_path / "x.cat", ndmin=2)

    rng = np.random.default_rng(4)
    y, x = lattice(SHAPE, step=36, margin=20, rng=rng)
    ra, dec = WCS(sky_cards(SHAPE, kind="SIP", rotation=9)).all_pix2world(x, y, 0)
    x, y = WCS(sky_cards(GRID)).all_world2pix(ra, dec, 0)
    nanojanskys = 2e4 * 10 ** (0.4 * (31.4 - 27))
    for star_x, star_y in zip(x, y, strict=True):
        distance = np.hypot(found[:, 0] - 1 - star_x, found[:, 1] - 1 - star_y)
        assert distance.min() < 0.1
        assert found[distance.argmin(), 2] == pytest.approx(nanojanskys, rel=0.02)


def test_swarp_reads_it(products, tmp_path):
    if shutil.which("SWarp") is None:
        pytest.skip("SWarp is not installed")
    sky = sky_cards((90, 80), shift=(0.0, 0.0))
    header = fits.Header({"NAXIS": 2, "NAXIS1": 80, "NAXIS2": 90})
    header.update(sky)
    header.totextfile(tmp_path / "out.head", endcard=True)
    options = {
        "IMAGEOUT_NAME": "out.fits",
        "SUBTRACT_BACK": "N",
        "WRITE_XML": "N",
        "COMBINE_TYPE": "AVERAGE",
        "VERBOSE_TYPE": "QUIET",
    }
    command = ["SWarp", f"{products['plain']}[1]", "-c", "/dev/null"]
    command += [text for key, value in options.items() for text in (f"-{key}", value)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, text=True)

    assert done.returncode == 0, done.stderr
    with fits.open(tmp_path / "out.fits") as hdus:
        image = hdus[0].data
    # a whole shift of (40, 30) pixels: a copy
    expected = read_warp(products["plain"]).image[40:130, 30:110]
    inside = np.isfinite(expected)
    inside[[0, 1, 2, -3, -2, -1]] = inside[:, [0, 1, 2, -3, -2, -1]] = False
    np.testing.assert_allclose(image[inside], expected[inside], rtol=1e-5, atol=1e-2)
    assert SCALE == 0.25


def test_the_program_says_what_it_holds(products):
    result = run("info", products["plain"])
    assert result.exit_code == 0, result.output
    assert "WARP" in result.stdout
    assert run("info", *products.values(), "--check").exit_code == 0
