"""Matching of backgrounds from the command line; files are read back with astropy alone."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from tests.cli.broken import BROKEN, make_broken
from tests.cli.warping import failure, run, sky_cards, write_exposure

SHAPE = (150, 170)
NOISE = 2.0


def plane_of(k):
    """The sky of exposure k: a plane."""
    y, x = np.indices(SHAPE)
    return 20.0 * k + 0.05 * (k + 1) * x - 0.03 * k * y


def write_one(name, rng, k, *, lost=None, **cards):
    image = plane_of(k) + rng.normal(0, NOISE, SHAPE)
    variance = np.full(SHAPE, NOISE**2)
    mask = {"DETECTED": np.s_[40:44, 60:64], "SAT": np.s_[10:12, 20:22]}
    if lost is not None:
        image[lost] = np.nan
        variance[lost] = np.inf
        mask["NO_DATA"] = lost
    sky = cards.pop("sky", sky_cards(SHAPE))
    values = {"VISIT": 100 + k, "FILTER": "r", **cards}
    return write_exposure(name, image, sky=sky, variance=variance, mask=mask, **values)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def names(folder, rng):
    """Three exposures on one grid."""
    return [write_one(f"w{k}.fits", rng, k) for k in range(3)]


def rows_of(result):
    return {row["path"]: row for row in map(json.loads, result.stdout.splitlines())}


def done(*args):
    result = run("match-bg", *args)
    assert result.exit_code == 0, result.output
    return result


def plane(path, name="IMAGE"):
    return fits.getdata(path, name).astype(np.float64)


def model_by_numpy(path):
    """Evaluate the layer of a product from the words in its header, without the program."""
    with fits.open(path) as hdus:
        header, factors = hdus["BKG"].header, hdus["BKG"].data
    ny, nx = fits.getdata(path, "IMAGE").shape
    if header["SKYMODEL"] == "CONSTANT":
        return np.full((ny, nx), factors[0, 0])
    assert header["SKYMODEL"] == "CHEBYSHEV2D"
    y = np.clip(np.arange(ny), header.get("YLIMIT1", -np.inf), header.get("YLIMIT2", np.inf))
    x = np.clip(np.arange(nx), header.get("XLIMIT1", -np.inf), header.get("XLIMIT2", np.inf))
    y, x = (
        (2 * at + 1) / length - 1 for at, length in ((y, header["DOMAINY"]), (x, header["DOMAINX"]))
    )
    surface = np.polynomial.chebyshev.chebgrid2d(y, x, factors)
    return np.clip(surface, header.get("VLIMIT1", -np.inf), header.get("VLIMIT2", np.inf))


# --- products -----------------------------------------------------------------------------------


def test_every_input_gets_the_sky_of_the_reference(names):
    result = done(*names, "-d", "out", "-r", names[1], "--json")

    rows = rows_of(result)
    assert list(rows) == ["out/w0.fits", "out/w1.fits", "out/w2.fits"]
    for k, (path, row) in enumerate(rows.items()):
        added = plane(path) - plane(names[k])
        # Three factors on 2.5e4 pixels of noise 2.8: 0.03 in all.
        assert np.abs(added - (plane_of(1) - plane_of(k))).max() < 0.15
        assert row["metrics"]["is_reference"] == (k == 1)
        assert row["metrics"]["reference"] == "w1.fits"
        if k != 1:
            assert row["metrics"]["ratio"] == pytest.approx(1.0, abs=0.03)
            assert row["metrics"]["offset_left"] < 0.1


def test_the_stored_layer_is_what_was_added(names):
    done(*names, "-d", "out", "-r", names[0])

    for k in (1, 2):
        path = f"out/w{k}.fits"
        np.testing.assert_allclose(
            plane(path), plane(names[k]) + model_by_numpy(path), rtol=2e-7, atol=4e-6
        )


def test_the_reference_among_the_inputs_gets_nothing(names):
    done(names[1], "-r", names[1], "-o", "m.fits")

    np.testing.assert_array_equal(plane("m.fits"), plane(names[1]))
    assert not model_by_numpy("m.fits").any()


def test_mask_and_variance_stay(names):
    done(names[1], "-r", names[0], "-o", "m.fits")

    for name in ("MASK", "VARIANCE"):
        np.testing.assert_array_equal(plane("m.fits", name), plane(names[1], name))


def test_an_input_alone_passes_through(names):
    result = done(names[2], "-o", "m.fits", "--json")

    np.testing.assert_array_equal(plane("m.fits"), plane(names[2]))
    assert json.loads(result.stdout)["metrics"]["is_reference"]


@pytest.mark.parametrize("mode", ["auto", "global"])
def test_what_is_read_several_times_is_spoken_of_once(folder, rng, mode):
    names = []
    for k in range(3):
        image = fits.PrimaryHDU((plane_of(k) + rng.normal(0, NOISE, SHAPE)).astype(np.float32))
        image.header.update(sky_cards(SHAPE))
        image.writeto(f"bare{k}.fits")
        names.append(f"bare{k}.fits")

    lines = run("match-bg", *names, "-d", "out", "--mode", mode).stderr.splitlines()

    for words in ("variance from the scatter", "sources are found here"):
        assert sum(words in line for line in lines) == 3
    assert len(set(lines)) == len(lines)


def test_undoing_restores_the_input(names):
    done(*names, "-d", "out", "-r", names[0], "--add-fit-variance")
    done("out/w1.fits", "out/w2.fits", "--undo", "-d", "back")

    for k in (1, 2):
        path = f"back/w{k}.fits"
        np.testing.assert_allclose(plane(path), plane(names[k]), atol=3e-5)
        np.testing.assert_array_equal(plane(path, "MASK"), plane(names[k], "MASK"))
        np.testing.assert_allclose(plane(path, "VARIANCE"), plane(names[k], "VARIANCE"), rtol=3e-7)
        with fits.open(path) as hdus:
            assert "BKG" not in hdus
            assert "BKGREF" not in hdus[0].header


@pytest.mark.parametrize("mode", ["reference", "global"])
def test_differences_of_cells_are_stored_and_drawn(names, mode):
    options = ("--mode", mode, "-r", names[0], "--bin-size", "30", "--order", "1")
    done(names[0], names[1], "-d", "out", *options)

    grid = plane("out/w1.fits", "MATCHDIF").shape
    assert grid == (5, 6)
    whole = (plane_of(0) - plane_of(1))[:150, :168].reshape(5, 30, 6, 28).mean(axis=(1, 3))
    # Cells are 28 or 29 pixels wide, of noise 2.8 each: 0.1 a cell; the slope is 0.05 a pixel.
    np.testing.assert_allclose(plane("out/w1.fits", "MATCHDIF"), whole, atol=0.6)
    assert 0.03 < plane("out/w1.fits", "MATCHRES").std() < 0.3
    extensions = ("--extension", "MATCHDIF,MATCHRES")
    assert run("show", "out/w1.fits", *extensions, "-o", "cells.png").exit_code == 0
    done("out/w1.fits", "--undo", "-o", "back.fits")
    with fits.open("back.fits") as hdus:
        assert "MATCHDIF" not in hdus
        assert "MATCHRES" not in hdus


def test_undoing_what_was_not_matched_is_refused(names):
    result = run("match-bg", names[0], "--undo", "-o", "m.fits")

    assert result.exit_code == 6
    assert "w0.fits has no layer" in failure(result)
    assert not Path("m.fits").exists()


def no_values(cells, _):
    cells[:] = np.nan


def another_width(_, header):
    header["BKGD_WIDTH"] = 12


def no_width(_, header):
    del header["BKGD_WIDTH"]


def unknown_style(_, header):
    header["INTERPSTYLE"] = 77


def negative_scale(_, header):
    header["PHOTSCAL"] = -1.0


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_values, "the model of its background has no value in places"),
        (another_width, "a background for 12 x 150 pixels does not go with"),
        (no_width, "'BKGD_WIDTH' not found"),
        (unknown_style, "the cards of its cells are wrong: 77"),
        (negative_scale, "PHOTSCAL -1.0 of its background is no factor"),
    ],
)
def test_a_damaged_list_of_backgrounds_is_refused(names, damage, words):
    options = ("--no-use-polynomial", "--bin-size", "30")
    done(names[1], "-r", names[0], "-o", "m.fits", *options)
    with fits.open("m.fits", mode="update") as hdus:
        for hdu in hdus:  # sums of what was intact
            for key in ("CHECKSUM", "DATASUM"):
                hdu.header.remove(key, ignore_missing=True)
        damage(hdus["BKG"].data, hdus["BKG"].header)

    result = run("match-bg", "m.fits", "--undo", "-o", "back.fits")

    assert result.exit_code == 3
    assert "m.fits" in failure(result)
    assert words in failure(result)
    assert not Path("back.fits").exists()


def test_records_name_inputs_and_settings(names):
    done(names[1], "-r", names[0], "-o", "m.fits", "--order", "1")

    with fits.open("m.fits") as hdus:
        header = hdus[0].header
        assert (header["SKYTYPE"], header["SKYSTAGE"], header["BKGREF"]) == (
            *("EXPOSURE", "match-bg", "w0.fits"),
        )
        inputs = hdus["INPUTS"].data
        assert inputs["ROLE"].tolist() == ["science", "reference"]
        assert inputs["FILE"].tolist() == ["w1.fits", "w0.fits"]
        config = {row["NAME"]: (row["VALUE"], row["SOURCE"]) for row in hdus["CONFIG"].data}
    assert config["order"] == ('"1"', "command line")
    assert config["bin-size"][1] == "default"


# --- reference ----------------------------------------------------------------------------------


def test_the_exposure_that_covers_most_becomes_the_reference(folder, rng):
    lost = np.zeros(SHAPE, bool)
    lost[:, 100:] = True
    names = [
        write_one("a.fits", rng, 0, lost=lost),
        write_one("b.fits", rng, 1),
        write_one("c.fits", rng, 2, lost=lost[::-1]),
    ]
    rows = rows_of(done(*names, "-d", "out", "--json"))

    metrics = [row["metrics"] for row in rows.values()]
    assert [one["is_reference"] for one in metrics] == [False, True, False]
    for one in metrics:
        terms = [one[f"cost_{name}"] for name in ("coverage", "variance", "level")]
        assert one["cost"] == pytest.approx(sum(terms))


def test_a_visit_may_be_named_as_the_reference(names):
    rows = rows_of(done(*names, "-d", "out", "--ref-warp-visit", "102", "--json"))

    assert [row["metrics"]["is_reference"] for row in rows.values()] == [False, False, True]
    result = run("match-bg", *names, "-d", "no", "--ref-warp-visit", "7")
    assert result.exit_code == 3
    assert "no input is of visit 7" in failure(result)


@pytest.mark.parametrize("cost", ["noise", "variance", "chi2"])
def test_every_cost_reports_its_terms(names, cost):
    rows = rows_of(done(*names, "-d", "out", "--reference-cost", cost, "--json"))

    metrics = next(iter(rows.values()))["metrics"]
    assert ("cost_chi2" in metrics) == (cost == "chi2")
    assert sum(row["metrics"]["is_reference"] for row in rows.values()) == 1


# --- global -------------------------------------------------------------------------------------


def test_all_pairs_are_solved_for_together(folder, rng):
    left, right = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    left[:, 100:] = right[:, :70] = True
    names = [
        write_one("a.fits", rng, 0, lost=left),
        write_one("b.fits", rng, 1),
        write_one("c.fits", rng, 2, lost=right),
    ]
    options = ("--mode", "global", "--order", "1", "-r", "a.fits", "--json")
    rows = rows_of(done(*names, "-d", "out", *options))

    for k, (path, row) in enumerate(rows.items()):
        added = plane(path) - plane(names[k])
        seen = np.isfinite(added)
        assert np.abs(added - (plane_of(0) - plane_of(k)))[seen].max() < 0.5
        assert row["metrics"]["group"] == 0
        assert row["metrics"]["anchor"] == "a.fits"
    assert fits.getval("out/a.fits", "BKGREF") == "a.fits"  # not what it is compared with


@pytest.mark.parametrize("gauge", ["reference", "mean", "lowest"])
def test_fluxes_follow_calibrations_whatever_stays_as_it_is(folder, rng, gauge):
    images = [50.0 - plane_of(k) + rng.normal(0, NOISE, SHAPE) for k in range(3)]
    images[0][:, 100:] = np.nan  # not the one that stays as it is
    matched = []
    for folder_name, factors in (("same", (1.0, 1.0, 1.0)), ("other", (4.0, 2.0, 0.5))):
        for k, factor in enumerate(factors):
            write_exposure(
                f"{folder_name}{k}.fits",
                images[k] * factor,
                sky=sky_cards(SHAPE),
                variance=np.full(SHAPE, (NOISE * factor) ** 2),
                mask={"DETECTED": np.s_[40:44, 60:64]},
                MAGZERO=25 + 2.5 * np.log10(factor),
            )
        files = [f"{folder_name}{k}.fits" for k in range(3)]
        done(*files, "-d", folder_name, "--mode", "global", "--order", "1", "--gauge", gauge)
        scales = [1 / fits.getval(f"{folder_name}/{name}", "FLUXMAG0") for name in files]
        assert np.ptp(scales) < 1e-6 * scales[0]
        matched.append([plane(f"{folder_name}/{f}") * scales[0] for f in files])

    tolerance = 1e-5 * np.nanmax(np.abs(matched[0]))  # rounding of pixels and zero points
    np.testing.assert_allclose(matched[1], matched[0], rtol=0, atol=tolerance)


def test_groups_that_do_not_overlap_are_told_apart(folder, rng):
    left, right = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    left[:, 80:] = right[:, :90] = True
    names = [
        write_one(f"{name}.fits", rng, k, lost=lost)
        for k, (name, lost) in enumerate(zip("abcd", (left, left, right, right), strict=True))
    ]
    options = ("--mode", "global", "--order", "0", "--json")
    rows = rows_of(done(*names, "-d", "out", *options))

    assert [row["metrics"]["group"] for row in rows.values()] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("lost", "options"),
    [("values", ()), ("values", ("--gauge", "mean")), ("flags", ("-r", "w0.fits"))],
)
def test_an_input_without_a_good_pixel_fails_in_global_mode_too(names, rng, lost, options):
    everywhere = np.ones(SHAPE, bool)
    if lost == "values":
        write_one("empty.fits", rng, 3, lost=everywhere)
    else:
        image = rng.normal(0, NOISE, SHAPE)
        write_exposure("empty.fits", image, sky=sky_cards(SHAPE), mask={"SAT": everywhere})

    result = run("match-bg", *names, "empty.fits", "-d", "out", "--mode", "global", *options)

    assert result.exit_code == 5
    assert "empty.fits has no good pixel" in result.stderr
    assert sorted(path.name for path in Path("out").iterdir()) == ["w0.fits", "w1.fits", "w2.fits"]


def test_parts_of_a_mosaic_are_solved_for_together(folder, rng):
    names = []
    for k, (name, first, last) in enumerate((("a", 0, 80), ("b", 45, 130), ("c", 95, 170))):
        lost = np.ones(SHAPE, bool)
        lost[:, first:last] = False
        names.append(write_one(f"{name}.fits", rng, k, lost=lost))
    modes = {}
    for options in ((), ("--mode", "reference"), ("-r", "b.fits")):
        done(*names, "-d", "out", "--overwrite", *options)
        modes[options] = {fits.getval(f"out/{name}", "BKGMODE") for name in names}

    assert [*modes.values()] == [{"global"}, {"reference"}, {"reference"}]


def test_what_hangs_together_nowhere_is_no_mosaic():
    from skytool.stages.match_bg import is_mosaic

    def seen(first, last):
        out = np.zeros((20, 100), bool)
        out[:, first:last] = True
        return out

    chain = [seen(0, 40), seen(30, 70), seen(60, 100)]
    assert is_mosaic(chain, 1)
    assert not is_mosaic([seen(0, 60), seen(10, 90), seen(30, 100)], 1)
    assert not is_mosaic([*chain[:2], seen(75, 100)], 1)
    assert not is_mosaic([*chain, seen(0, 0)], 1)


# --- failures -----------------------------------------------------------------------------------


def test_an_input_without_overlap_fails_and_the_others_are_matched(folder, rng):
    left = np.zeros(SHAPE, bool)
    left[:, 80:] = True
    names = [
        write_one("ref.fits", rng, 0, lost=left),
        write_one("far.fits", rng, 1, lost=~left),
        write_one("near.fits", rng, 2),
    ]
    before = Path("far.fits").read_bytes()

    result = run("match-bg", *names, "-d", "out", "-r", "ref.fits")

    assert result.exit_code == 5
    assert "far.fits and ref.fits have no pixel in common" in result.stderr
    assert sorted(path.name for path in Path("out").iterdir()) == ["near.fits", "ref.fits"]
    assert Path("far.fits").read_bytes() == before


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"sky": sky_cards(SHAPE, shift=(0.0, 0.4))}, "0.4 pixels apart"),
        ({"sky": sky_cards(SHAPE, rotation=3.0)}, "pixels apart"),
    ],
)
def test_other_grids_are_refused_with_the_command_that_helps(names, rng, cards, words):
    write_one("other.fits", rng, 1, **cards)

    result = run("match-bg", names[0], "other.fits", "-d", "out")

    line = failure(result)
    assert result.exit_code == 4
    assert words in line
    assert "skytool warp other.fits --like w0.fits -o OUT.fits" in line
    assert not Path("out").exists()


def test_other_shapes_are_refused_with_both_sizes(names):
    small = write_exposure(
        "small.fits", np.zeros((140, 170)), sky=sky_cards((140, 170)), variance=4.0
    )
    result = run("match-bg", names[0], small, "-d", "out")

    assert result.exit_code == 4
    assert "w0.fits has 170 x 150 pixels, small.fits has 170 x 140" in failure(result)


def test_other_units_are_refused(names):
    write_exposure("e.fits", plane_of(0), sky=sky_cards(SHAPE), variance=4.0, unit="electron")
    result = run("match-bg", names[0], "e.fits", "-d", "out")

    assert result.exit_code == 4
    assert "w0.fits is in adu, e.fits in electron" in failure(result)


def test_too_few_cells_for_the_order_are_an_error(names):
    options = ("--bin-size", "100", "--use-polynomial", "--order", "4")
    result = run("match-bg", names[1], "-r", names[0], "-o", "m.fits", *options)

    assert result.exit_code == 5
    assert "2 cells of 100 pixels" in failure(result)


def test_a_match_worse_than_the_limit_is_not_written(names):
    options = ("--order", "0", "--max-ratio", "1.01")
    result = run("match-bg", names[2], "-r", names[0], "-o", "m.fits", *options)

    assert result.exit_code == 5
    assert "times its variance, more than 1.01" in failure(result)
    assert not Path("m.fits").exists()


@pytest.mark.parametrize(("name", "status", "words"), BROKEN)
def test_broken_inputs(folder, rng, name, status, words):
    make_broken(folder, rng)

    result = run("match-bg", name, "-r", "good.fits", "-o", "m.fits")

    assert result.exit_code == status
    assert words in failure(result)
    assert not Path("m.fits").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--order", "-1"), "neither auto nor 0 or more"),
        (("--order", "two"), "is not a valid integer"),
        (("--mode", "global", "--no-use-polynomial"), "--mode global needs polynomials"),
        (("--gauge", "mean"), "--gauge does nothing without --mode global"),
        (("--mode", "global", "--scale", "fit"), "--scale fit does not go with --mode global"),
        (
            ("--mode", "global", "--gauge", "mean", "-r", "w0.fits"),
            "--reference does nothing with --gauge mean",
        ),
        (("--x-bin", "64"), "--x-bin does nothing without --tract-grid"),
        (("--use-polynomial", "--tract-grid"), "are two models"),
        (("--undo", "--order", "1"), "--order does nothing with --undo"),
        (("-r", "w0.fits", "--ref-warp-visit", "101"), "both name the reference"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(names, options, words):
    result = run("match-bg", *names, "-d", "out", *options)

    assert result.exit_code == 2
    assert words in failure(result)


def test_an_unknown_plane_is_an_error(names):
    result = run("match-bg", *names, "-d", "out", "--bad-mask-planes", "SATT")

    assert result.exit_code == 4
    assert "unknown mask plane 'SATT'. Did you mean SAT?" in failure(result)


def test_existing_products_stay(names):
    Path("m.fits").write_text("old")

    assert run("match-bg", names[1], "-r", names[0], "-o", "m.fits").exit_code == 3
    assert Path("m.fits").read_text() == "old"


def test_a_dry_run_reads_no_pixel_and_writes_nothing(names, monkeypatch):
    from skytool.io.sources import ExposureSource

    monkeypatch.setattr(ExposureSource, "read", lambda _: pytest.fail("pixels are read"))

    result = done(*names, "-d", "out", "-n")

    assert len(result.stdout.splitlines()) == 3
    assert not Path("out").exists()


# --- running ------------------------------------------------------------------------------------


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["reference", "global"])
def test_workers_make_the_same_bytes(names, mode):
    done(*names, "-d", "one", "--mode", mode)
    done(*names, "-d", "two", "--mode", mode, "-j", 2)

    assert bytes_of("two") == bytes_of("one")


def test_printed_settings_make_the_same_bytes(names):
    options = ("--order", "1", "--bin-size", "40", "-r", names[0])
    Path("c.toml").write_text(run("match-bg", *options, "--print-config").stdout)
    done(names[1], "-o", "a.fits", *options)
    done(names[1], "-o", "b.fits", "--config", "c.toml")

    for name in ("IMAGE", "BKG"):
        np.testing.assert_array_equal(plane("a.fits", name), plane("b.fits", name))


@pytest.mark.parametrize("mode", ["reference", "global"])
def test_current_products_are_reused(names, rng, mode):
    options = (*names, "-d", "out", "--mode", mode, "--json")
    done(*options)

    statuses = {row["status"] for row in rows_of(done(*options, "--reuse")).values()}
    assert statuses == {"reused"}
    write_one("w2.fits", rng, 2)
    statuses = {row["status"] for row in rows_of(done(*options, "--reuse")).values()}
    assert statuses == {"done"}


def test_the_report_holds_the_lines_of_json(names):
    result = done(*names, "-d", "out", "--json", "--report", "qa.jsonl")

    assert Path("qa.jsonl").read_text() == result.stdout


def test_given_offsets_are_added_as_they_are(names):
    Path("offsets.txt").write_text("# known\nw1.fits -12.5\n")
    rows = rows_of(done(*names, "-d", "out", "-r", names[0], "--offsets", "offsets.txt", "--json"))

    np.testing.assert_allclose(plane("out/w1.fits") - plane(names[1]), -12.5, atol=1e-5)
    assert [row["metrics"]["style"] for row in rows.values()] == ["none", "given", "polynomial"]
    Path("offsets.txt").write_text("w9.fits 1\n")
    result = run("match-bg", *names, "-d", "no", "--offsets", "offsets.txt")
    assert result.exit_code == 4
    assert "an offset for w9.fits, which is no input" in failure(result)


@pytest.mark.parametrize("preset", ["lsst", "lsst-tract"])
def test_presets_are_accepted(names, preset):
    more = ("--bin-size", "40") if preset == "lsst" else ("--x-bin", "40", "--y-bin", "40")
    done(names[1], "-r", names[0], "-o", "m.fits", "--config", preset, *more)

    with fits.open("m.fits") as hdus:
        assert [hdu.name for hdu in hdus[4:7]] == ["BKG", "BKGMASK", "BKGVAR"]
    assert np.abs(plane("m.fits") - plane(names[1]) - (plane_of(0) - plane_of(1))).max() < 2.0


def test_standard_streams_carry_inputs_anew_in_every_run(names):
    for k in (1, 2):
        done(names[k], "-r", names[k - 1], "-o", f"m{k}.fits")

    for form in (("{science}", "-r", "-"), ("-", "-r", "{reference}")):
        for k in (1, 2):
            pair = {"science": names[k], "reference": names[k - 1]}
            content = Path(pair["reference" if form[-1] == "-" else "science"]).read_bytes()
            arguments = [part.format(**pair) for part in form]
            result = run("match-bg", *arguments, "-o", "-", "-q", input=content)

            assert result.exit_code == 0, result.stderr
            with fits.open(io.BytesIO(result.stdout_bytes)) as hdus:
                matched = fits.getdata(f"m{k}.fits", "IMAGE")
                np.testing.assert_array_equal(hdus["IMAGE"].data, matched)
