"""PSF-matched warps from the command line: what goes wrong, and what is said of it."""

import numpy as np
import pytest
from astropy.io import fits

from tests.cli.warping import (
    failure,
    gaussians,
    read_warp,
    run,
    sky_cards,
    warp,
    write_exposure,
    write_grid,
)

SHAPE = (100, 110)
GRID = (90, 95)
FWHM = 3.0
COMMON = ("--like", "grid.hdr", "--psf-matched", "-o", "m.fits")
LSST_RULE = ("--config", "lsst", "--wcs-step", "64")


def with_psf(name, fwhm=FWHM, side=25, **cards):
    """Write a detector with the PSF of its stars."""
    middle = [(size - 1) / 2 for size in SHAPE]
    star = gaussians(SHAPE, [middle[0]], [middle[1]], fwhm=fwhm, flux=1e4)
    write_exposure(name, star, sky=sky_cards(SHAPE), variance=4.0, **cards)
    if side:
        stamp = gaussians((side, side), [side // 2], [side // 2], fwhm=fwhm)
        hdu = fits.ImageHDU(stamp / stamp.sum(), name="PSF")
        hdu.header["PSFKIND"], hdu.header["SKYMVER"] = "CONSTANT", 1
        fits.append(name, hdu.data, hdu.header)
    return name


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_grid("grid.hdr", sky_cards(GRID, rotation=20), GRID)
    with_psf("in.fits")
    return tmp_path


class TestRefusals:
    def refused(self, folder, *args, status, words):
        before = sorted(path.name for path in folder.iterdir())
        result = run("warp", *args)
        assert result.exit_code == status, result.output
        line = failure(result)
        for word in words:
            assert word in line
        assert sorted(path.name for path in folder.iterdir()) == before

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--kernel-size", "20"], ["must be odd", "20"]),
            (["--matching-kernel-size", "1"], ["at least 3", "1"]),
            (["--no-auto-pad", "--pad-by", "3"], ["even", "3"]),
            (["--no-auto-pad", "--pad-by", "-2"], ["even and not negative"]),
            (["--pad-by", "4"], ["--pad-by does nothing with --auto-pad"]),
            (["--auto-pad-to", "2.1"], ["--auto-pad-to"]),
            (["--auto-pad-to", "0.9"], ["--auto-pad-to"]),
            (["--model-size", "12"], ["size", "12"]),
            (["--model-min-size", "31", "--model-max-size", "21"], ["size"]),
            (["--model-fwhm", "0"], ["fwhm", "positive"]),
            (["--model-fwhm", "wide"], ["--model-fwhm wide must be"]),
            (["--wing-amplitude", "-1"], ["wing"]),
            (["--cell", "0"], ["--cell"]),
            (["--size-cell-x", "0"], ["--size-cell-x"]),
            (["--alard-sig-gauss", "1,2", "--match-basis", "al"], ["2 widths for 3 degrees"]),
            (["--ridge", "0"], ["ridge"]),
            (["--no-direct", "--no-psf-matched"], ["--no-direct needs --psf-matched"]),
        ],
    )
    def test_of_settings_that_cannot_be(self, folder, options, words):
        self.refused(folder, "in.fits", *COMMON, *options, status=2, words=words)

    def test_of_options_of_the_match_without_one(self, folder):
        args = ("in.fits", "--like", "grid.hdr", "-o", "w.fits", "--model-fwhm", "4")
        self.refused(folder, *args, status=2, words=["--model-fwhm does nothing without"])

    @pytest.mark.parametrize("width", ["auto", "4.5"])
    def test_of_an_exposure_without_psf(self, folder, width):
        with_psf("bare.fits", side=0)
        args = ("bare.fits", *COMMON, "--model-fwhm", width)
        words = ["bare.fits has no PSF", "skytool psf", "--psf"]
        self.refused(folder, *args, status=4, words=words)

    def test_of_a_kernel_too_large_for_the_stamps(self, folder):
        with_psf("small.fits", side=17)
        options = ("--kernel-size", "31", "--no-auto-pad", "--model-fwhm", "4.5")
        words = ["small.fits: kernel size 31 is too large for PSF stamps of", "at most", "at least"]
        self.refused(folder, "small.fits", *COMMON, *options, status=5, words=words)

    def test_of_a_kernel_too_large_for_the_image(self, folder):
        args = ("in.fits", *COMMON, "--kernel-size", "201", "--model-fwhm", "4.5")
        self.refused(folder, *args, status=5, words=["a kernel of 201 pixels", "--kernel-size"])

    def test_of_a_damaged_psf(self, folder):
        with fits.open("in.fits", mode="update") as hdus:
            hdus["PSF"].data = -hdus["PSF"].data
        self.refused(folder, "in.fits", *COMMON, status=3, words=["in.fits", "PSF"])

    @pytest.mark.parametrize(
        ("patch", "status", "words"),
        [
            (("--tract", "7", "--patch", "0,0"), 4, "7"),
            (("--tract", "0", "--patch", "9,9"), 4, "9,9"),
            (("--tract", "0", "--patch", "999"), 4, "999"),
            (("--tract", "0"), 2, "--patch"),
        ],
    )
    def test_of_tracts_and_patches_out_of_range(self, folder, patch, status, words):
        assert run("skymap", "make", "in.fits", "-o", "map.fits").exit_code == 0
        args = ("in.fits", "--psf-matched", "-o", "m.fits", "--skymap", "map.fits", *patch)
        self.refused(folder, *args, status=status, words=[words])


class TestDiagnostics:
    """Every trouble of a match has a line with its remedy, and is an error with --strict."""

    @pytest.mark.parametrize(
        ("fwhm", "options", "words"),
        [
            (3.0, ["--kernel-size", "9", "--model-fwhm", "7.7"], ["too small", "--kernel-size 15"]),
            (
                3.0,
                [*LSST_RULE, "--model-fwhm", "7.7"],
                ["--cell 64", "--auto-pad-to 1.6", "--pad-by 6"],
            ),
            (5.0, ["--model-fwhm", "4.0"], ["deconvolves", "smallest safe value is --model-fwhm"]),
            (
                6.5,
                [*LSST_RULE, "--model-fwhm", "7.7"],
                ["amplifies noise", "--alard-sig-gauss 1.5"],
            ),
            (
                3.0,
                ["--kernel-size", "61", "--model-fwhm", "4.5"],
                ["a kernel of 61 pixels is far larger", "within 30 pixels", "--kernel-size 27"],
            ),
        ],
        ids=["boxy", "ugly", "deconvolution", "noise", "oversized"],
    )
    def test_troubles_have_a_remedy(self, fwhm, options, words):
        with_psf("in.fits", fwhm, side=41)
        margin = ("--match-margin", "40") if "lsst" in options else ()
        args = ("warp", "in.fits", *COMMON, *options, *margin)

        warned = run(*args)
        strict = run(*args, "--overwrite", "--strict")

        assert warned.exit_code == 0, warned.output
        line = next(line for line in warned.stderr.splitlines() if line.startswith("WARNING"))
        for word in words:
            assert word in line
        assert strict.exit_code == 5
        assert words[0] in failure(strict)

    def test_the_smallest_safe_value_is_safe(self):
        with_psf("in.fits", 5.0, side=41)
        warned = run("warp", "in.fits", *COMMON, "--model-fwhm", "4.0")
        safe = warned.stderr.rpartition("--model-fwhm ")[2].splitlines()[0].rstrip(".")

        args = ("warp", "in.fits", *COMMON, "--overwrite", "--model-fwhm")
        assert "deconvolves" not in run(*args, safe).stderr
        assert "deconvolves" in run(*args, float(safe) - 0.02).stderr

    @pytest.mark.parametrize("fwhm", [2.4, 3.0, 5.0, 7.0])
    def test_a_good_match_says_nothing(self, fwhm):
        with_psf("in.fits", fwhm, side=41)
        result = run("warp", "in.fits", *COMMON, "--strict")

        assert result.exit_code == 0
        assert "WARNING" not in result.stderr

    def test_numbers_of_the_match_are_recorded(self):
        matched = warp("in.fits", *COMMON[:3], "--model-fwhm", "4.5", output="m.fits")

        row = matched.others["CCDS"][0]
        assert row["FWHMIN"] == pytest.approx(FWHM, rel=0.02)
        assert row["FWHMOUT"] == pytest.approx(matched.primary["PSFFWHM"], rel=0.01)
        assert 0 < row["NOISEGN"] <= 0.03
        assert row["MATCHRES"] < 1e-3
        assert row["NCELLS"] == 4
        assert matched.primary["WARPTYPE"] == "psfMatched"


def test_failing_of_the_match_keeps_the_direct_warp(folder):
    with_psf("in.fits", side=17, VISIT=7)
    options = ("--kernel-size", "31", "--no-auto-pad", "--model-fwhm", "4.5")
    result = run("warp", "in.fits", "--like", "grid.hdr", "-d", "out", "--psf-matched", *options)

    assert result.exit_code == 5
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["warp-7.fits"]
    assert not read_warp("out/warp-7.fits").empty.all()


def test_cells_can_be_given_one_by_one():
    args = ("in.fits", *COMMON[:3], "--model-fwhm", "4.5")
    both = warp(*args, "--cell", "40,60", output="a.fits")
    each = warp(*args, "--size-cell-x", 40, "--size-cell-y", 60, output="b.fits")

    assert both.others["CCDS"]["NCELLS"] == each.others["CCDS"]["NCELLS"] != 4
    np.testing.assert_array_equal(both.image, each.image)


def test_reuse_makes_the_matched_warp_that_is_missing_beside_a_direct_one(folder):
    with_psf("in.fits", VISIT=7)
    args = ("warp", "in.fits", "--like", "grid.hdr", "-d", "out", "--psf-matched", "--reuse")
    assert run(*args).exit_code == 0
    before = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    assert sorted(before) == ["psfMatchedWarp-7.fits", "warp-7.fits"]

    again = run(*args)
    assert [line.split("\t")[1] for line in again.stdout.splitlines()] == ["reused", "reused"]
    (folder / "out" / "psfMatchedWarp-7.fits").unlink()
    assert run(*args).exit_code == 0
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == before
    wider = run(*args, "--model-fwhm", "5")
    assert "reused" not in wider.stdout
