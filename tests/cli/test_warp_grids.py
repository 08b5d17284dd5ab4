"""The grids that a warp can be asked for."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from tests.cli.warping import (
    DEC,
    RA,
    SCALE,
    failure,
    gaussians,
    measure,
    moved,
    read_warp,
    run,
    sky_cards,
    warp,
    write_exposure,
    write_grid,
)

SHAPE = (150, 110)
STAR = (70.3, 48.8)
SOURCE = sky_cards(SHAPE, kind="SIP", rotation=23)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = gaussians(SHAPE, STAR[:1], STAR[1:], fwhm=3.0, flux=1e4)
    write_exposure("in.fits", image, sky=SOURCE)
    return tmp_path


def assert_star_is_in_place(warped, *, scale=SCALE):
    at = moved(*np.array([STAR]).T, WCS(SOURCE), warped.wcs)
    star = measure(warped.image, *at, half_size=round(9 * SCALE / scale), fwhm=3.0 * SCALE / scale)
    assert abs(star.y - at[0]).max() < 0.02
    assert abs(star.x - at[1]).max() < 0.02
    np.testing.assert_allclose(star.flux, 1e4, rtol=3e-3)


def test_a_centre_a_scale_and_a_size_make_a_grid_north_up():
    warped = warp(
        *("in.fits", "--center", f"{RA},{DEC}", "--pixel-scale", 0.2, "--size", "131,170")
    )

    assert warped.image.shape == (170, 131)
    np.testing.assert_allclose(warped.wcs.all_pix2world([[65, 84.5]], 0), [[RA, DEC]], atol=1e-10)
    ahead = warped.wcs.all_pix2world([[65, 85.5], [64, 84.5]], 0)
    assert ahead[0, 1] - DEC == pytest.approx(0.2 / 3600, rel=1e-6)
    assert (ahead[1, 0] - RA) * np.cos(np.radians(DEC)) == pytest.approx(0.2 / 3600, rel=1e-6)
    assert (warped.header["CRPIX1"], warped.header["CRPIX2"]) == (66, 85.5)
    assert (warped.header["LTV1"], warped.header["LTV2"]) == (0, 0)
    assert_star_is_in_place(warped, scale=0.2)


def test_a_centre_may_be_sexagesimal_and_a_size_an_angle():
    warped = warp(
        *("in.fits", "--center", "10:00:24,+02:18:00", "--pixel-scale", "250mas"),
        *("--size", "0.5m,40s", "--projection", "stg", "--rotation", 30),
    )

    assert warped.image.shape == (160, 120)
    assert warped.header["CTYPE1"] == "RA---STG"
    # the y axis points 30 degrees from the north to the east
    here, above = warped.wcs.all_pix2world([[59.5, 79.5], [59.5, 89.5]], 0)
    east, north = (above - here) * [np.cos(np.radians(DEC)), 1] * 3600
    assert east == pytest.approx(2.5 * np.sin(np.radians(30)), rel=1e-4)
    assert north == pytest.approx(2.5 * np.cos(np.radians(30)), rel=1e-4)
    assert_star_is_in_place(warped)


@pytest.mark.parametrize("projection", ["TAN", "SIN", "ARC", "ZEA", "STG"])
def test_projections_put_a_star_where_it_is(projection):
    """The reference point is a quarter of a degree off."""
    grid = sky_cards((170, 140), kind=projection, shift=(3000, -2500))
    write_grid("g.hdr", grid, (170, 140))
    middle = WCS(SOURCE).all_pix2world([[54.5, 74.5]], 0)[0]
    there = WCS(grid).all_world2pix([middle], 0)[0]
    grid["CRPIX1"] += 69.5 - there[0]
    grid["CRPIX2"] += 84.5 - there[1]
    assert_star_is_in_place(warp("in.fits", "--like", write_grid("g.hdr", grid, (170, 140))))


def test_a_grid_may_be_that_of_an_extension_or_a_text_header():
    cards = sky_cards((160, 130), rotation=-40)
    hdu = fits.ImageHDU(np.zeros((160, 130), np.int16), cards, name="GRID")
    hdu.header["LTV1"], hdu.header["LTV2"] = -12.0, -345.0
    other = fits.ImageHDU(np.zeros((7, 9)), sky_cards((7, 9)), name="OTHER")
    fits.HDUList([fits.PrimaryHDU(), other, hdu]).writeto("ref.fits")
    write_grid("ref.hdr", cards, (160, 130), origin=(345, 12))
    lines = Path("ref.hdr").read_text().splitlines(keepends=True)
    Path("ref.head").write_text("".join(lines[:-1]))  # an END is not needed

    by_name = warp("in.fits", "--like", "ref.fits[GRID]", output="a.fits")
    for number, reference in enumerate(("ref.fits[2]", "ref.hdr", "ref.head")):
        same = warp("in.fits", "--like", reference, output=f"{number}.fits")
        np.testing.assert_array_equal(same.image, by_name.image)
        assert same.header["LTV2"] == -345
        assert same.header["CRVAL1A"] == 12
    assert_star_is_in_place(by_name)
    assert warp("in.fits", "--like", "ref.fits").image.shape == (7, 9), "the first image"


@pytest.mark.parametrize("kind", ["text", "FITS"])
def test_a_grid_may_come_through_a_pipe(folder, kind):
    write_grid("ref.hdr", sky_cards((160, 130), rotation=-40), (160, 130))
    expected = warp("in.fits", "--like", "ref.hdr", output="a.fits")
    source = "ref.hdr" if kind == "text" else "a.fits"
    os.mkfifo("pipe")
    with subprocess.Popen(["cp", source, "pipe"]):
        piped = warp("in.fits", "--like", "pipe", output="b.fits")
    standard = run(
        "warp", "in.fits", "--like", "-", "-o", "c.fits", input=(folder / source).read_bytes()
    )

    assert standard.exit_code == 0, standard.output
    np.testing.assert_array_equal(piped.image, expected.image)
    np.testing.assert_array_equal(read_warp("c.fits").image, expected.image)


@pytest.mark.parametrize("name", ["SCI", "IMAGE"])
def test_a_grid_may_be_given_in_the_pixels_of_a_parent(name):
    """A cut-out whose coordinates, and X0 and Y0, are those of the image it was cut from."""
    cards = sky_cards((160, 130), rotation=-40)
    write_grid("ref.hdr", cards, (160, 130), origin=(40, -25))
    cards["CRPIX1"] += -25
    cards["CRPIX2"] += 40
    hdu = fits.ImageHDU(np.zeros((160, 130), np.int16), cards, name=name)
    hdu.header["X0"], hdu.header["Y0"] = -25, 40
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto("cut.fits")

    expected = warp("in.fits", "--like", "ref.hdr", output="a.fits")
    cut = warp("in.fits", "--like", f"cut.fits[{name}]", output="b.fits")

    np.testing.assert_array_equal(cut.image, expected.image)
    assert (cut.header["LTV1"], cut.header["LTV2"]) == (25, -40)
    assert_star_is_in_place(cut)


def test_a_warp_is_the_grid_of_the_next_one():
    first = warp("in.fits", "--auto", output="first.fits")
    second = warp("in.fits", "--like", "first.fits", output="second.fits")

    np.testing.assert_array_equal(first.image, second.image)


def test_auto_encloses_everything_at_the_median_scale():
    for number, scale in enumerate((0.25, 0.26, 0.40), 1):
        cards = sky_cards((60, 45), scale=scale, rotation=31 * number, shift=(20 * number, 0))
        write_exposure(f"{number}.fits", np.ones((60, 45)), sky=cards, VISIT=3, DETECTOR=number)
    names = [f"{number}.fits" for number in (1, 2, 3)]

    warped = warp(*names, "--auto")

    np.testing.assert_allclose(proj_plane_pixel_scales(warped.wcs) * 3600, 0.26, rtol=1e-6)
    edges = []
    for name in names:
        with fits.open(name) as hdus:
            wcs = WCS(hdus[1].header)
        corners = np.array([[-0.5, -0.5], [44.5, -0.5], [44.5, 59.5], [-0.5, 59.5]])
        edges.append(warped.wcs.all_world2pix(wcs.all_pix2world(corners, 0), 0))
    edges = np.concatenate(edges)
    ny, nx = warped.image.shape
    low, high = edges.min(axis=0) + 0.5, np.array([nx, ny]) - 0.5 - edges.max(axis=0)
    assert (low >= -1e-6).all()
    assert (high >= -1e-6).all()
    assert (low + high < 1).all(), "no row or column too many"
    coarse = warp(*names, "--auto", "--pixel-scale", 0.5)
    np.testing.assert_allclose(proj_plane_pixel_scales(coarse.wcs) * 3600, 0.5, rtol=1e-6)


def test_a_border_grows_any_grid():
    write_grid("g.hdr", sky_cards((60, 50)), (60, 50), origin=(345, 12))
    plain = warp("in.fits", "--like", "g.hdr")
    grown = warp("in.fits", "--like", "g.hdr", "--border", 7)

    assert grown.image.shape == (74, 64)
    # positions come from other nodes
    np.testing.assert_allclose(grown.image[7:-7, 7:-7], plain.image, rtol=0, atol=1e-6 * 1e3)
    assert (grown.header["LTV1"], grown.header["LTV2"]) == (-5, -338)
    assert grown.header["CRPIX1"] == plain.header["CRPIX1"] + 7
    auto = [warp("in.fits", "--auto", *extra).image.shape for extra in ([], ["--border", 3])]
    assert auto[1] == (auto[0][0] + 6, auto[0][1] + 6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "name the target"),
        (["--auto", "--like", "in.fits"], "both name the target"),
        (["--center", "1,2"], "--pixel-scale and --size"),
        (["--center", "1,2", "--size", "10,10"], "--pixel-scale"),
        (["--auto", "--size", "10,10"], "--size does nothing"),
        (["--like", "in.fits[1]", "--pixel-scale", "1"], "--pixel-scale does nothing"),
        (["--like", "in.fits[1]", "--rotation", "1"], "--rotation does nothing"),
        (["--auto", "--projection", "SIN"], "--projection does nothing"),
        (["--center", "1,91", "--size", "9", "--pixel-scale", "1"], "declination"),
        (["--center", "1,9", "--size", "0,9", "--pixel-scale", "1"], "positive"),
        (["--center", "1,9", "--size", "9.5", "--pixel-scale", "1"], "whole number"),
        (["--center", "1,9", "--size", "9", "--pixel-scale", "0"], "positive"),
        (["--center", "1,9", "--size", "9", "--pixel-scale", "-1"], "positive"),
        (["--auto", "--border", "-1"], "border"),
    ],
)
def test_half_a_grid_and_two_grids_are_refused(options, words):
    result = run("warp", "in.fits", *options, "-o", "x.fits")

    assert result.exit_code == 2
    assert words in failure(result)


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}, "celestial"),
        ({"CD1_1": 0.0, "CD2_2": 0.0}, "singular"),
        ({"CRVAL1": "east"}, "CRVAL1"),
        ({"NAXIS1": 0}, "0 x 60 pixels"),
        ({"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, "WCS"),
    ],
)
def test_a_header_that_is_no_grid_is_refused(cards, words):
    write_grid("g.hdr", sky_cards((60, 50)) + fits.Header(), (60, 50))
    header = fits.Header.fromtextfile("g.hdr")
    header.update(cards)
    header.totextfile("bad.hdr")
    result = run("warp", "in.fits", "--like", "bad.hdr", "-o", "x.fits")

    assert result.exit_code == 4, result.stderr
    assert "bad.hdr" in result.stderr
    assert words in failure(result)


@pytest.mark.parametrize(
    ("reference", "status", "words"),
    [
        ("none.hdr", 3, "does not exist"),
        ("in.fits[SCI]", 3, "no extension SCI"),
        ("empty.hdr", 3, "empty"),
        (".", 3, "."),
    ],
)
def test_a_grid_that_cannot_be_read_is_refused(folder, reference, status, words):
    (folder / "empty.hdr").touch()
    result = run("warp", "in.fits", "--like", reference, "-o", "x.fits")

    assert result.exit_code == status, result.stderr
    assert words in failure(result)
    assert not (folder / "x.fits").exists()
