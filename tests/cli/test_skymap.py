"""``skytool skymap``, and warps to patches."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

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
)

SHAPE = (150, 110)
STAR = (70.3, 48.8)
SOURCE = sky_cards(SHAPE, rotation=23)
SMALL = ("--pixel-scale", 0.25, "--patch-inner-dimensions", "60,50", "--patch-border", 7)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Be in a folder with an exposure and a sky map around it."""
    monkeypatch.chdir(tmp_path)
    write_exposure("in.fits", gaussians(SHAPE, STAR[:1], STAR[1:], fwhm=3.0, flux=1e4), sky=SOURCE)
    assert run("skymap", "make", "in.fits", *SMALL, "-o", "map.fits").exit_code == 0
    return tmp_path


def rows(*args):
    """Run a command with --json and return what its lines say."""
    result = run("skymap", *args, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def make(*args, output="other.fits"):
    result = run("skymap", "make", *args, "-o", output)
    assert result.exit_code == 0, result.output
    return output


def tract_header(path):
    with fits.open(path) as hdus:
        return hdus["TRACTS"].header.copy()


def test_a_sky_map_around_an_image_has_one_tract_that_holds_it():
    with fits.open("map.fits") as hdus:
        row = hdus["TRACTS"].data[0]
        settings = {str(line["NAME"]): str(line["VALUE"]) for line in hdus["CONFIG"].data}
        inputs = [str(name) for name in hdus["INPUTS"].data["FILE"]]
    half_diagonal = np.hypot(150, 110) / 2 * SCALE / 3600

    assert row["RADIUS"] == pytest.approx(half_diagonal, rel=1e-6)
    np.testing.assert_allclose([row["RA"], row["DEC"]], [RA, DEC], atol=1e-6)
    # 186.01 pixels and whole patches of 50 and 60
    assert (row["NX"], row["NY"], row["NPATCHX"], row["NPATCHY"]) == (240, 200, 4, 4)
    # what nobody said is in the record, too
    assert (settings["tract-overlap"], settings["projection"]) == ("0.0", '"STG"')
    assert inputs == ["in.fits"]


def test_the_row_of_a_new_sky_map_says_how_large_it_is():
    result = run("skymap", "make", "--kind", "rings", "--num-rings", 3, "-o", "rings.fits")

    path, kind, tracts, patches = result.stdout.split()
    assert (path, kind, tracts) == ("rings.fits", "rings", "26")
    assert int(patches) == 26 * tract_patches("rings.fits")


def tract_patches(path):
    first = rows("list", path)[0]["metrics"]
    return first["patches_x"] * first["patches_y"]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        pytest.param(
            ("--kind", "rings", "--num-rings", 5),
            {"PIXSCALE": 0.333, "PROJECT": "STG", "OVERLAP": 1.0, "PATCHNX": 4000, "BORDERX": 100},
            id="rings",
        ),
        pytest.param(
            ("--kind", "dodeca"),
            {"PIXSCALE": 0.2, "PROJECT": "STG", "OVERLAP": 3.5, "PATCHNY": 4000, "BORDERY": 250},
            id="dodeca",
        ),
        pytest.param(
            ("--kind", "equat"),
            {"PROJECT": "CEA", "OVERLAP": 1.0, "NUMTRACT": 4, "DECMIN": -1.25, "DECMAX": 1.25},
            id="equat",
        ),
        pytest.param(
            ("--kind", "healpix", "--log2-n-side", 2, "--nest"),
            {"LOG2NSID": 2, "NEST": True, "ROTATION": 45.0, "OVERLAP": 1.0, "PROJECT": "STG"},
            id="healpix",
        ),
        pytest.param(
            ("--ra-list", "10,20", "--dec-list", "-5,5", "--radius-list", "0.5,1"),
            {"PIXSCALE": 0.333, "OVERLAP": 1.0, "ROTATION": 0.0, "CLIPPED": True},
            id="discrete",
        ),
        pytest.param(
            ("--kind", "rings", "--num-rings", 120, "--tract-builder", "cells"),
            {"PATCHNX": 3000, "PATCHNY": 3000, "BORDERX": 200, "BORDERY": 200, "CLIPPED": False},
            id="cells",
        ),
        pytest.param(
            (
                *("--kind", "dodeca", "--with-tracts-on-poles", "--projection", "zea"),
                *("--pixel-scale", "2arcsec", "--rotation", -12.5, "--tract-overlap", 0.25),
                *("--patch-inner-dimensions", "3000,2000", "--patch-border", 64),
            ),
            {
                "ONPOLES": True,
                "PROJECT": "ZEA",
                "PIXSCALE": 2.0,
                "ROTATION": -12.5,
                "OVERLAP": 0.25,
                "PATCHNX": 3000,
                "PATCHNY": 2000,
                "BORDERX": 64,
            },
            id="options",
        ),
        pytest.param(
            (
                *("--kind", "equat", "--num-tracts", 9, "--dec-range", "-3,-1"),
                *("--tract-builder", "cells", "--cell-inner-dimensions", "100,80"),
                *("--cell-border", 11, "--num-cells-per-patch-inner", 7),
                *("--num-cells-in-patch-border", 2),
            ),
            {
                "NUMTRACT": 9,
                "DECMIN": -3.0,
                "DECMAX": -1.0,
                "PATCHNX": 700,
                "PATCHNY": 560,
                "BORDERX": 211,
                "BORDERY": 171,
            },
            id="options of cells",
        ),
    ],
)
def test_options_and_defaults_reach_the_sky_map(args, expected):
    header = tract_header(make(*args))

    assert {key: header[key] for key in expected} == expected


def test_settings_of_a_file_make_a_sky_map(tmp_path):
    (tmp_path / "s.toml").write_text('[skymap.make]\nkind = "rings"\nnum-rings = 18\n')

    assert tract_header(make("--config", "s.toml"))["NAXIS2"] == 502


def test_a_list_of_tracts_is_the_same_as_its_rows():
    make("--kind", "rings", "--num-rings", 18)
    listed = [row["metrics"] for row in rows("list", "other.fits")]
    with fits.open("other.fits") as hdus:
        table = hdus["TRACTS"].data

        assert [row["tract"] for row in listed] == list(range(502))
        np.testing.assert_array_equal([row["ra"] for row in listed], table["RA"])
        np.testing.assert_array_equal([row["patches_y"] for row in listed], table["NPATCHY"])


def test_patches_are_listed_with_their_pixels():
    listed = rows("list", "map.fits", "--tract", 0)
    plain = run("skymap", "list", "map.fits", "--tract", 0).stdout.splitlines()

    assert len(listed) == len(plain) == 16
    sixth = listed[6]["metrics"]
    ra, dec = sixth.pop("ra"), sixth.pop("dec")
    assert sixth == {
        "tract": 0,
        "patch": "2,1",
        "patch_id": 6,
        "x0": 113,
        "y0": 43,
        "nx": 74,
        "ny": 64,
    }
    assert plain[6] == f"map.fits\t0\t2,1\t6\t{ra:.7f}\t{dec:.7f}\t113\t43\t74\t64"
    (found,) = rows("find", "map.fits", "--position", f"{ra},{dec}")
    assert found["metrics"] == {"tract": 0, "patch": "2,1", "patch_id": 6, "own": True}


def test_a_position_between_tracts_is_in_both_and_belongs_to_the_nearer():
    make("--ra-list", "359.6,0.4", "--dec-list", "10,10", "--radius-list", "0.5,0.5")
    found = rows("find", "other.fits", "--position", "00:00:12,+10:00:00")

    assert [(row["metrics"]["tract"], row["metrics"]["own"]) for row in found] == [
        (1, True),
        (0, False),
    ]


def test_images_are_found_in_the_patches_that_they_reach():
    found = rows("find", "map.fits", "in.fits")
    with fits.open("map.fits") as hdus:
        cards, row = hdus["TRACTS"].header, hdus["TRACTS"].data[0]
        header = fits.Header(
            {key: cards[f"TR{key}"] for key in ("CTYPE1", "CTYPE2", "CD1_1", "CD2_2")}
        )
        header.update({key: float(row[key]) for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")})
    y, x = np.indices(SHAPE).reshape(2, -1)
    u, v = moved(np.array(y, float), np.array(x, float), WCS(SOURCE), WCS(header))[::-1]
    expected = set()
    for py, px in np.ndindex(4, 4):
        lo_y, hi_y = max(50 * py - 7, 0), min(50 * py + 57, 200)
        lo_x, hi_x = max(60 * px - 7, 0), min(60 * px + 67, 240)
        if ((u > lo_x) & (u < hi_x - 1) & (v > lo_y) & (v < hi_y - 1)).any():
            expected.add(f"{px},{py}")

    assert {row["path"] for row in found} == {"in.fits"}
    assert {row["metrics"]["patch"] for row in found} == expected
    assert 4 < len(expected) < 16


def test_a_failure_among_several_is_reported_at_the_end():
    far = sky_cards(SHAPE, ra=RA + 3)
    write_exposure("far.fits", np.ones(SHAPE), sky=far)
    write_exposure("lost.fits", np.ones(SHAPE), sky={})
    result = run(
        *("skymap", "find", "map.fits", "far.fits", "lost.fits", "in.fits", "-k"),
        *("--position", "0,0"),
    )

    assert result.exit_code == 4
    assert "far.fits reaches no patch of map.fits" in result.stderr
    assert "lost.fits has no celestial WCS" in result.stderr
    assert "0.0,0.0 lies in no tract of map.fits" in result.stderr
    assert {line.split("\t")[0] for line in result.stdout.splitlines()} == {"in.fits"}


@pytest.mark.parametrize("args", [("--position", "10,10"), ("far.fits",)])
def test_nothing_found_is_nothing_to_do(args):
    write_exposure("far.fits", np.ones(SHAPE), sky=sky_cards(SHAPE, ra=RA + 3))
    result = run("skymap", "find", "map.fits", *args)

    assert result.exit_code == 6
    assert "map.fits" in failure(result)


@pytest.mark.parametrize("patch", ["2,1", "6"])
def test_a_warp_to_a_patch_has_its_pixels_and_names_it(patch):
    warped = warp("in.fits", "--skymap", "map.fits", "--tract", 0, "--patch", patch)
    header = warped.header
    (place,) = (row["metrics"] for row in rows("list", "map.fits", "--tract", 0)[6:7])

    assert warped.image.shape == (place["ny"], place["nx"]) == (64, 74)
    assert (header["LTV1"], header["LTV2"]) == (-place["x0"], -place["y0"])
    assert (warped.primary["TRACT"], warped.primary["PATCH"]) == (0, "2,1")
    middle = 120 + 29.5 - place["x0"], 50 + 24.5 - place["y0"]
    sky = warped.wcs.wcs_pix2world(*middle, 0)
    np.testing.assert_allclose(sky, [place["ra"], place["dec"]], rtol=0, atol=1e-9)


def test_a_border_around_a_patch_adds_pixels_and_moves_nothing():
    ra, dec = (float(v) for v in WCS(SOURCE).wcs_pix2world(STAR[1], STAR[0], 0))
    (own,) = rows("find", "map.fits", "--position", f"{ra},{dec}")
    target = ("--skymap", "map.fits", "--tract", 0, "--patch", own["metrics"]["patch"])
    plain, bordered = (warp("in.fits", *target, "--border", border) for border in (0, 21))
    window = bordered.image[21:-21, 21:-21]
    places = []
    for warped in (plain, bordered):
        at = moved(*np.array([STAR]).T, WCS(SOURCE), warped.wcs)
        star = measure(warped.image, *at, half_size=6, fwhm=3.0)
        assert star.flux == pytest.approx(1e4, rel=3e-3)
        places.append((star.y[0] - warped.header["LTV2"], star.x[0] - warped.header["LTV1"]))

    assert bordered.header["LTV1"] == plain.header["LTV1"] + 21
    assert bordered.header["LTV2"] == plain.header["LTV2"] + 21
    np.testing.assert_allclose(places[0], places[1], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(np.isnan(window), np.isnan(plain.image))
    np.testing.assert_allclose(window, plain.image, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (("--tract", 1, "--patch", "0,0"), 4, "map.fits has no tract 1. It has tracts 0 to 0."),
        (("--tract", 0, "--patch", "4,0"), 4, "no patch 4,0. It has patches 0,0 to 3,3."),
        (("--tract", 0, "--patch", "16"), 4, "no patch 16. It has patches 0 to 15."),
        (("--tract", 0, "--patch", "x"), 2, "'x' is no patch; write X,Y"),
        (("--tract", 0, "--patch", "1,2,3"), 2, "is no patch"),
        (("--tract", -1, "--patch", "0,0"), 2, "--tract"),
        (("--tract", 0), 2, "--skymap needs --patch."),
        ((), 2, "--skymap needs --tract and --patch."),
        (("--tract", 0, "--patch", "0,0", "--auto"), 2, "both name the target"),
        (("--tract", 0, "--patch", "0,0", "--pixel-scale", 1), 2, "does nothing with --skymap"),
    ],
)
def test_a_target_that_is_no_patch_is_refused(args, status, message):
    result = run("warp", "in.fits", "--skymap", "map.fits", *args, "-o", "warp.fits")

    assert result.exit_code == status
    assert message in failure(result)


def test_a_tract_without_a_sky_map_is_refused():
    result = run("warp", "in.fits", "--auto", "--tract", 0, "-o", "warp.fits")

    assert result.exit_code == 2
    assert "--tract does nothing with --auto." in failure(result)


@pytest.mark.parametrize("command", ["list", "find", "warp"])
@pytest.mark.parametrize("file", ["in.fits", "absent.fits", "text.fits"])
def test_what_is_no_sky_map_is_refused(command, file, folder):
    (folder / "text.fits").write_text("no FITS\n")
    args = {
        "list": ("skymap", "list", file),
        "find": ("skymap", "find", file, "--position", "1,2"),
        "warp": (
            *("warp", "in.fits", "--skymap", file, "--tract", 0, "--patch", "0,0"),
            *("-o", "warp.fits"),
        ),
    }
    result = run(*args[command])

    assert result.exit_code == 3
    assert file in failure(result)


RINGS = ("--kind", "rings", "--num-rings", 3)


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        ((), 2, "needs --ra-list and --dec-list and --radius-list, or images."),
        (("--ra-list", "1", "--dec-list", "2"), 2, "needs --radius-list, or images."),
        (("--ra-list", "1,2", "--dec-list", "2", "--radius-list", "1"), 4, "2, 1 and 1"),
        (("--ra-list", "1", "--dec-list", "95", "--radius-list", "1"), 4, "no centre"),
        (("--ra-list", "1", "--dec-list", "x", "--radius-list", "1"), 2, "'x' is not a valid"),
        (("in.fits", "--ra-list", "1"), 2, "--ra-list and images both place the tracts"),
        (("in.fits", *RINGS), 2, "images do nothing with --kind rings."),
        (("in.fits", "absent.fits"), 3, "absent.fits"),
        (("--kind", "rings"), 2, "--kind rings needs --num-rings."),
        (("--kind", "rings", "--num-rings", 0), 2, "--num-rings"),
        (("--kind", "rings", "--num-rings", 5000), 4, "5000 rings"),
        ((*RINGS, "--num-tracts", 3), 2, "--num-tracts does nothing with --kind rings."),
        ((*RINGS, "--cell-border", 3), 2, "--cell-border does nothing with --tract-builder legacy"),
        (
            (*RINGS, "--tract-builder", "cells", "--patch-border", 3),
            2,
            "--patch-border does nothing with --tract-builder cells",
        ),
        ((*RINGS, "--projection", "XYZ"), 4, "no projection 'XYZ'"),
        ((*RINGS, "--projection", "TAN", "--tract-overlap", 70), 4, "TAN cannot show a tract"),
        ((*RINGS, "--patch-inner-dimensions", "0,5"), 2, "--patch-inner-dimensions"),
        ((*RINGS, "--patch-inner-dimensions", "5"), 2, "must be 2 values"),
        (("--kind", "equat", "--dec-range", "2,1"), 4, "declinations 2 to 1"),
        (("--kind", "circles"), 2, "circles"),
    ],
)
def test_impossible_sky_maps_are_refused(args, status, message, folder):
    result = run("skymap", "make", *args, "-o", "new.fits")

    assert result.exit_code == status
    assert message in failure(result)
    assert not (folder / "new.fits").exists()


def test_an_existing_sky_map_is_replaced_only_on_demand():
    before = tract_header("map.fits")
    refused = run("skymap", "make", *RINGS, "-o", "map.fits")

    assert refused.exit_code == 3
    assert "map.fits" in failure(refused)
    assert tract_header("map.fits") == before
    assert run("skymap", "make", *RINGS, "-o", "map.fits", "--overwrite").exit_code == 0
    assert tract_header("map.fits")["NUMRINGS"] == 3


def test_a_dry_run_writes_nothing(folder):
    result = run("skymap", "make", "in.fits", "-o", "new.fits", "-n")

    assert result.exit_code == 0
    assert result.stdout == "new.fits\tin.fits\n"
    assert not (folder / "new.fits").exists()


def test_a_list_or_a_search_needs_something_to_look_for():
    result = run("skymap", "find", "map.fits")

    assert result.exit_code == 2
    assert "give images, or --position" in failure(result)
    absent = run("skymap", "list", "map.fits", "--tract", 7)
    assert absent.exit_code == 4
    assert "It has tracts 0 to 0." in failure(absent)


def test_a_sky_map_passes_the_checks_of_files():
    result = run("info", "--check", "map.fits")

    assert result.exit_code == 0
    assert "ok" in result.stdout
    assert "SKYMAP" in run("info", "map.fits").stdout


def test_a_warp_to_a_patch_is_reused_until_the_sky_map_changes():
    target = ("--skymap", "map.fits", "--tract", 0, "--patch", "1,1")
    first = run("warp", "in.fits", *target, "-o", "warp.fits", "--reuse", "--json")
    again = run("warp", "in.fits", *target, "-o", "warp.fits", "--reuse", "--json")
    make("in.fits", *SMALL, "--rotation", 1, "--overwrite", output="map.fits")
    changed = run("warp", "in.fits", *target, "-o", "warp.fits", "--reuse", "--json")

    status = [json.loads(result.stdout)["status"] for result in (first, again, changed)]
    assert status == ["done", "reused", "done"]
    assert read_warp("warp.fits").primary["PATCH"] == "1,1"
