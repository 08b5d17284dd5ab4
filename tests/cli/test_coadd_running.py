"""What a coadd remembers, how it runs, and what cannot be added."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from skytool.io.sources import read_exposure
from tests.cli.coadding import SHAPE, SKY, coadded, read, write_warp
from tests.cli.warping import failure, run, sky_cards, write_exposure, write_grid


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def warps(rng):
    """Three warps of noise."""
    return [
        write_warp(
            f"w{visit}.fits",
            rng.standard_normal(SHAPE),
            visit=visit,
            variance=rng.uniform(0.5, 2, SHAPE),
            mask={"CR": rng.random(SHAPE) < 0.01, "DETECTED": rng.random(SHAPE) < 0.1},
            AIRMASS=1.0 + visit / 100,
        )
        for visit in (3, 7, 8)
    ]


@pytest.fixture
def night(rng):
    """Warps that the program made: two visits of two detectors."""
    grid = write_grid("grid.hdr", sky_cards((90, 110)), (90, 110), origin=(40, 25))
    for visit in (5, 11):
        detectors = [
            write_exposure(
                f"v{visit}_d{number}.fits",
                rng.normal(50, 2, (100, 70)),
                sky=sky_cards((100, 70), rotation=visit, shift=(visit, 40 - 60 * number)),
                variance=4.0,
                VISIT=visit,
                DETECTOR=number,
                FILTER="r",
                MAGZERO=28.0,
                EXPTIME=20.0 + visit,
            )
            for number in range(2)
        ]
        assert run("warp", *detectors, "--like", grid, "-o", f"warp{visit}.fits").exit_code == 0
    return ["warp5.fits", "warp11.fits"]


def test_every_record_of_the_warps_is_kept_with_its_weight(night):
    made = coadded(night, "c.fits")

    visits, ccds, inputs = (made.tables[name] for name in ("VISITS", "CCDS", "INPUTS"))
    np.testing.assert_array_equal(visits["ID"], [5, 11])
    np.testing.assert_array_equal(ccds["ID"], [5000, 5001, 11000, 11001])
    np.testing.assert_array_equal(ccds["WEIGHT"], np.repeat(visits["WEIGHT"], 2))
    assert (visits["WEIGHT"] > 0).all()
    np.testing.assert_array_equal(
        inputs["FILE"],
        [*night, "v5_d0.fits", "v5_d1.fits", "v11_d0.fits", "v11_d1.fits"],
    )
    np.testing.assert_array_equal(inputs["ROLE"], ["warp"] * 2 + ["warp-input"] * 4)
    np.testing.assert_array_equal(inputs["NUSED"][:2] > 0, True)
    with fits.open(night[0]) as hdus:
        assert inputs["DATASUM"][0] == hdus["IMAGE"].header["DATASUM"]
    stages = made.tables["CONFIG"]["STAGE"].tolist()
    assert stages.count("warp") > 10
    assert stages.count("coadd") > 10


def test_the_primary_says_what_was_added(night):
    made = coadded(night, "c.fits", "--statistic", "median")

    assert made.primary["SKYTYPE"] == "COADD"
    assert made.primary["SKYSTAGE"] == "coadd"
    assert made.primary["STATIST"] == "median"
    assert made.primary["FILTER"] == "r"
    assert made.primary["NINPUT"] == 2
    assert made.primary["EXPTIME"] == 25 + 31
    assert made.primary["NCOVERED"] == np.count_nonzero(made.count)
    assert "VISIT" not in made.primary
    assert "2 inputs, median" in str(made.primary["HISTORY"])


def test_cards_that_differ_are_left_out_and_dates_averaged(warps):
    made = coadded(warps, "c.fits")

    assert made.primary["TELESCOP"] == "small"
    assert "AIRMASS" not in made.primary
    assert "MJD-OBS" not in made.primary
    # the middle of exposures of 30 s that begin at MJD-OBS
    middle = 60000 + np.mean([3, 7, 8]) / 100 + 15 / 86400
    assert made.primary["MJD-AVG"] == pytest.approx(middle, abs=1e-9)
    assert made.primary["EXPTIME"] == 90


def test_place_and_layout_are_those_of_the_warps(night):
    made = coadded(night, "c.fits")

    exposure, warp = read_exposure("c.fits"), read_exposure(night[0])
    assert made.names[:3] == ["PRIMARY", "IMAGE", "MASK"]
    assert exposure.origin == warp.origin == (40, 25)
    assert exposure.wcs.wcs.compare(warp.wcs.wcs)
    with fits.open("c.fits") as hdus:
        assert hdus["NIMAGE"].header["CRPIX1"] == hdus["IMAGE"].header["CRPIX1"]
        assert hdus["NIMAGE"].data.dtype == ">i2"


def test_visits_without_a_number_stay_apart():
    for k in range(3):
        write_warp(f"w{k}.fits", np.full(SHAPE, k + 1.0), visit=None)

    made = coadded([f"w{k}.fits" for k in range(3)], "c.fits", "--statistic", "mean")

    assert len(set(made.tables["VISITS"]["ID"])) == 3
    np.testing.assert_array_equal(made.tables["VISITS"]["NAME"], ["w0.fits", "w1.fits", "w2.fits"])
    assert len(set(made.tables["CCDS"]["ID"])) == 3
    np.testing.assert_array_equal(made.image, 2.0)


def test_detectors_of_a_visit_in_two_warps_are_one_visit():
    left, right = np.ones(SHAPE), np.full(SHAPE, 3.0)
    left[:, 40:], right[:, :40] = np.nan, np.nan
    write_warp("a.fits", left, visit=9, DETECTOR=1)
    write_warp("b.fits", right, visit=9, DETECTOR=2)

    made = coadded(["a.fits", "b.fits"], "c.fits")

    np.testing.assert_array_equal(made.tables["VISITS"]["ID"], [9])
    np.testing.assert_array_equal(made.tables["VISITS"]["WEIGHT"], [2.0])
    np.testing.assert_array_equal(made.tables["CCDS"]["ID"], [9001, 9002])
    assert not np.isnan(made.image).any()


def test_the_file_passes_the_verifiers(night):
    coadded(night, "c.fits")

    fitscheck = Path(sys.executable).with_name("fitscheck")
    checked = subprocess.run([fitscheck, "c.fits"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    if shutil.which("fitsverify") is None:
        pytest.skip("fitsverify is not installed")
    verified = subprocess.run(
        ["fitsverify", "-q", "c.fits"], capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0, verified.stdout


def test_the_same_warps_give_the_same_bytes(warps, night):
    for paths in (warps, night):
        first = run("coadd", *paths, "-o", "a.fits", "--overwrite")
        assert first.exit_code == 0, first.output
        for options in (("-j", 2), ("--strip-memory", 1), ()):
            assert run("coadd", *paths, "-o", "b.fits", "--overwrite", *options).exit_code == 0
            assert Path("a.fits").read_bytes() == Path("b.fits").read_bytes()


@pytest.mark.parametrize("statistic", ["mean", "meanclip", "median"])
def test_strips_change_nothing(tmp_path, rng, statistic):
    shape = (700, 90)  # three strips of the smallest memory
    paths = []
    for k in range(5):
        image = rng.standard_normal(shape)
        image[rng.random(shape) < 0.002] += 500
        image[rng.random(shape) < 0.002] = np.nan
        paths.append(write_warp(f"{k}.fits", image, visit=k, sky=sky_cards(shape), variance=1.0))

    run("coadd", *paths, "-o", "a.fits", "--statistic", statistic)
    run("coadd", *paths, "-o", "b.fits", "--statistic", statistic, "--strip-memory", 1)

    whole, strips = read("a.fits"), read("b.fits")
    for name in ("image", "mask", "variance", "count"):
        np.testing.assert_array_equal(getattr(strips, name), getattr(whole, name))
    assert whole.primary["SKYPRINT"] == strips.primary["SKYPRINT"]


def test_the_order_of_the_warps_does_not_matter(warps):
    first = coadded(warps, "a.fits")
    second = coadded(warps[::-1], "b.fits")

    np.testing.assert_array_equal(first.mask, second.mask)
    np.testing.assert_array_equal(first.count, second.count)
    np.testing.assert_allclose(first.image, second.image, rtol=0, atol=1e-6)
    np.testing.assert_allclose(first.variance, second.variance, rtol=1e-6)


def test_warps_of_all_kinds_of_compression_are_added(night):
    plain = coadded(night, "a.fits")
    packed = []
    for path in night:
        packed.append(path.replace(".fits", "_z.fits"))
        assert run("convert", path, "-o", packed[-1], "--compress", "gzip").exit_code == 0

    small = coadded(packed, "b.fits", "--compress", "gzip", "--strip-memory", 1)

    np.testing.assert_array_equal(small.image, plain.image)
    np.testing.assert_array_equal(small.mask, plain.mask)


def test_a_coadd_that_is_current_is_kept(warps):
    args = ("coadd", *warps, "-o", "c.fits", "--reuse", "--json")
    statuses = []
    for change in (None, None, "--sigma-clip", None, "input"):
        options = ("--sigma-clip", 5) if change == "--sigma-clip" else ()
        if change == "input":
            with fits.open(warps[1], mode="update") as hdus:
                hdus["IMAGE"].data[5, 5] += 1
        result = run(*args, *options)
        assert result.exit_code == 0, result.output
        statuses.append(json.loads(result.stdout)["status"])

    assert statuses == ["done", "reused", "done", "done", "done"]


def test_a_dry_run_checks_headers_and_writes_nothing(warps, folder):
    result = run("coadd", *warps, "-o", "c.fits", "-n", "--json")
    write_warp("other.fits", np.zeros(SHAPE), visit=1, FILTER="g")
    refused = run("coadd", *warps, "other.fits", "-o", "c.fits", "-n")

    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout)
    assert (row["status"], len(row["inputs"])) == ("planned", 3)
    assert row["metrics"] == {"inputs": 3, "shape": list(SHAPE)}
    assert refused.exit_code == 4
    assert not (folder / "c.fits").exists()


def test_the_row_says_what_was_made(warps):
    result = run("coadd", *warps, "-o", "c.fits", "--json")

    line = json.loads(result.stdout)
    made, row = read("c.fits"), line["metrics"]
    assert line["path"] == "c.fits"
    assert row["inputs"] == 3
    assert row["coverage"] == pytest.approx((made.count > 0).mean())
    assert row["mean_depth"] == pytest.approx(made.count.mean())
    assert row["clipped"] == pytest.approx(
        made.tables["INPUTS"]["NCLIPPED"].sum()
        / (made.count.sum() + made.flagged("CLIPPED").sum()),
        rel=0.01,
    )


def test_standard_input_and_output_are_possible(warps):
    result = run("coadd", "-", warps[1], "-o", "c.fits", input=Path(warps[0]).read_bytes())

    assert result.exit_code == 0, result.output
    assert read("c.fits").primary["NINPUT"] == 2


def refused(folder, *args, status, words):
    """Check that a run fails with one line and leaves the folder as it was."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = run("coadd", *args)
    assert result.exit_code == status, result.output
    line = failure(result)
    for word in words:
        assert word in line
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    return line


TARGET = ("-o", "c.fits")


def elsewhere(name, **values):
    sky = fits.Header(SKY, copy=True)
    sky["CRPIX1"] += 3.3
    return write_warp(name, np.ones(SHAPE), visit=50, sky=sky, **values)


def larger(name):
    shape = (SHAPE[0] + 1, SHAPE[1])
    return write_warp(name, np.ones(shape), visit=50, sky=SKY)


def moved(name):
    sky = fits.Header(SKY, copy=True)
    sky["CRPIX1"] -= 10
    return write_warp(name, np.ones(SHAPE), visit=50, sky=sky, origin=(0, 10))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (elsewhere, ["not on one grid", "3.3 pixels apart"]),
        (larger, ["75 x 60", "75 x 61"]),
        (moved, ["begin at other pixels", "(10, 0)"]),
    ],
)
def test_warps_on_other_grids_are_refused_with_the_remedy(warps, folder, make, words):
    make("x.fits")

    refused(
        folder,
        *warps,
        "x.fits",
        *TARGET,
        status=4,
        words=[*words, "w3.fits", "skytool warp x.fits --like w3.fits -o OUT.fits"],
    )


def test_coordinates_that_are_written_in_another_way_are_the_same(warps):
    sky = fits.Header(SKY, copy=True)
    sky["CRVAL1"] += 1e-12
    write_warp("x.fits", np.ones(SHAPE), visit=50, sky=sky)

    assert coadded([*warps, "x.fits"], "c.fits").primary["NINPUT"] == 4


def test_unlike_warps_are_refused(warps, folder):
    write_warp("filter.fits", np.ones(SHAPE), visit=50, FILTER="g")
    write_warp("kind.fits", np.ones(SHAPE), visit=51, WARPTYPE="psfMatched")
    write_warp("unit.fits", np.ones(SHAPE), visit=52, MAGZERO=None, unit="adu")
    write_warp("other.fits", np.ones(SHAPE), visit=53, MAGZERO=None, unit="electron")

    refused(folder, *warps, "filter.fits", *TARGET, status=4, words=["filters differ", "'g'"])
    refused(
        folder, *warps, "kind.fits", *TARGET, status=4, words=["w8.fits", "psfMatched", "direct"]
    )
    refused(folder, *warps, "unit.fits", *TARGET, status=4, words=["unit.fits has no photometric"])
    refused(
        folder, "unit.fits", "other.fits", *TARGET, status=4, words=["is in adu", "in electron"]
    )


def test_unusable_files_are_refused(warps, folder):
    (folder / "text.fits").write_text("SIMPLE? no")
    content = (folder / warps[0]).read_bytes()
    (folder / "cut.fits").write_bytes(content[: len(content) // 2])
    with fits.open(warps[0]) as hdus:
        for name in ("CCDS", "VISITS"):
            columns = [fits.Column("ID", "K", array=[1])]
            hdus.append(fits.BinTableHDU.from_columns(columns, name=name))
        hdus.writeto("tables.fits")

    for name, words in {
        "missing.fits": "does not exist",
        "text.fits": "not a FITS file",
        "cut.fits": "truncated",
        "tables.fits": "the table VISITS is damaged",
    }.items():
        refused(folder, *warps, name, *TARGET, status=3, words=[name, words])


def test_warps_without_usable_pixels_are_nothing_to_do(folder):
    write_warp("a.fits", np.full(SHAPE, np.nan), visit=1)
    write_warp("b.fits", np.ones(SHAPE), visit=2, mask={"BAD": np.s_[:, :]})

    refused(folder, "a.fits", "b.fits", *TARGET, status=6, words=["no input has a usable pixel"])
    assert run("coadd", "a.fits", "b.fits", *TARGET, "--allow-empty").exit_code == 0
    assert not (folder / "c.fits").exists()


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--units", "zeropoint"), 2, "--zeropoint go together"),
        (("--zeropoint", "27"), 2, "--zeropoint go together"),
        (("--bad-planes", "NODATA"), 4, "NO_DATA"),
        (("--propagate-planes", "SATT"), 4, "SAT"),
        (("--sigma-clip", "0"), 2, "sigma-clip"),
        (("--clip-iter", "0"), 2, "clip-iter"),
        (("--statistic", "mean", "--sigma-clip", "5"), 2, "without --statistic meanclip"),
        (("--statistic", "median", "--clip-grow", "3"), 2, "without --statistic meanclip"),
        (("--clip-scale", "scatter", "--clip-amplitude", "1"), 2, "with --clip-scale scatter"),
        (("--propagate-from", "2"), 2, "propagate-from"),
        (("--statistic", "mode"), 2, "mode"),
        (("--weight-by", "exptime"), 2, "exptime"),
    ],
)
def test_impossible_settings_are_refused(warps, folder, options, status, words):
    refused(folder, *warps, *TARGET, *options, status=status, words=[words])


def test_outputs_are_not_lost(warps, folder):
    (folder / "c.fits").write_text("precious")

    refused(folder, *warps, *TARGET, status=3, words=["c.fits exists"])
    refused(folder, *warps, "-o", warps[1], "--overwrite", status=3, words=["w7.fits"])
    refused(folder, *warps, warps[0], *TARGET, "--overwrite", status=2, words=["given twice"])


def test_one_warp_is_a_coadd_too(warps):
    made = coadded(warps[:1], "c.fits", "--bad-planes", "NO_DATA")

    whole = read_exposure(warps[0])
    np.testing.assert_array_equal(made.image, whole.image)
    np.testing.assert_allclose(made.variance, whole.variance, rtol=1e-6)


def test_the_settings_print_and_read_back(warps):
    printed = run("coadd", "--print-config", "--sigma-clip", "5", "--clip-scale", "scatter")
    assert printed.exit_code == 0, printed.output
    Path("settings.toml").write_text(printed.stdout, encoding="utf-8")

    run("coadd", *warps, "-o", "a.fits", "--sigma-clip", "5", "--clip-scale", "scatter")
    run("coadd", *warps, "-o", "b.fits", "--config", "settings.toml")

    first, second = read("a.fits"), read("b.fits")
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.mask, second.mask)
