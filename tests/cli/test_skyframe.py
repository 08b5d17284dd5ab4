import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from skytool.cli.main import cli
from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.curves import InterpolationStyle
from skytool.core.background.interpolation import InterpolationRule, interpolate_cells
from skytool.io.fits import opened
from skytool.models.skyframe import sky_frame_from_hdus
from tests.cli.skyframing import (
    LEVELS,
    SHAPE,
    apply,
    build,
    header,
    listing,
    plane,
    rows,
    run,
    scale_of,
    undo,
    write_camera,
    write_night,
    write_sky,
)
from tests.stages.skies import cell_means, low_order, pattern


@pytest.fixture
def names(tmp_path, monkeypatch, rng):
    """Be in a folder with five exposures."""
    monkeypatch.chdir(tmp_path)
    return write_night(rng)


def test_a_frame_holds_the_pattern_and_says_where_it_is_from(names):
    result = build(*names, "-o", "sky.fits", "--report", "r.jsonl")

    path, exposures, rms, error = result.stdout.split("\t")
    assert (path, exposures) == ("sky.fits", "5")
    cells = CellGrid.from_counts(SHAPE, (10, 12))
    truth = cell_means(pattern(SHAPE), cells)
    frame = plane("sky.fits")
    expected = 1 / np.sqrt(sum(LEVELS) * 256)
    difference = frame - truth
    assert np.std(difference - low_order(difference)) < 1.3 * expected
    assert float(error) == pytest.approx(expected, rel=0.3)
    assert float(rms) == pytest.approx(frame.std(), rel=0.02)
    cards = header("sky.fits")
    assert (cards["SKYTYPE"], cards["OBSTYPE"], cards["FILTER"]) == ("SKYFRAME", "SKY", "r")
    box = [cards[f"BOX.{key}"] for key in ("MINX", "MINY", "MAXX", "MAXY")]
    assert box == [0, 0, SHAPE[1] - 1, SHAPE[0] - 1]
    assert cards["ALGORITHM"] == "NATURAL_SPLINE"
    with fits.open("sky.fits") as hdus:
        assert [hdu.name for hdu in hdus[1:6]] == ["IMAGE", "MASK", "VARIANCE", "NIMAGE", "CHI2"]
        table = hdus["INPUTS"].data
        assert table["FILE"].tolist() == names
        assert table["SCALE"] == pytest.approx(LEVELS, rel=0.02)
        assert set(table["STATUS"]) == {"used"}
        settings = dict(zip(hdus["CONFIG"].data["NAME"], hdus["CONFIG"].data["VALUE"], strict=True))
    assert settings["bin-size"] == "16.0"
    (row,) = rows("r.jsonl")
    assert row["metrics"]["levels"].keys() == {"1", "2", "3", "4", "5"}


def test_frames_pass_the_verifier(names):
    build(*names, "-o", "sky.fits")
    apply(names[0], "--sky", "sky.fits", "-o", "flat.fits")

    for name in ("sky.fits", "flat.fits"):
        if shutil.which("fitsverify") is None:
            pytest.skip("fitsverify is not installed")
        done = subprocess.run(
            ["fitsverify", "-q", name], check=False, capture_output=True, text=True
        )
        assert "verification OK" in done.stdout, done.stdout


def test_apply_flattens_and_undo_restores_every_bit(names):
    build(*names[1:], "-o", "sky.fits")
    before = (plane(names[0]), plane(names[0], "MASK"), plane(names[0], "VARIANCE"))

    result = apply(names[0], "--sky", "sky.fits", "-d", "flat")
    undo("flat/v0.fits", "-d", "back")

    scale, error = scale_of(result)
    assert abs(scale - LEVELS[0]) < 5 * error
    flat = plane("flat/v0.fits")
    assert np.std(cell_means(flat, CellGrid.from_counts(SHAPE, (5, 6)))) < 0.3 * 0.01 * LEVELS[0]
    cards = header("flat/v0.fits")
    assert cards["SKYSCALE"] == pytest.approx(scale, rel=1e-5)
    assert cards["SKYFRAME"] == "sky.fits"
    np.testing.assert_array_equal(plane("back/v0.fits"), before[0])
    for place in ("flat", "back"):
        for name, pixels in zip(("MASK", "VARIANCE"), before[1:], strict=True):
            found = plane(f"{place}/v0.fits", name)
            if name == "VARIANCE":
                np.testing.assert_array_equal(found, pixels)
            else:
                assert (found != 0).sum() == (pixels != 0).sum()
    assert "SKYSCALE" not in header("back/v0.fits")
    with fits.open("back/v0.fits") as hdus:
        assert "BKG" not in hdus
    again = undo("back/v0.fits", "-d", "more", status=6)
    assert "carries no layer" in again.stderr


def test_what_was_subtracted_can_be_evaluated_without_the_program(names):
    build(*names, "-o", "sky.fits")
    apply(names[2], "--sky", "sky.fits", "-o", "flat.fits")

    with fits.open("flat.fits") as hdus:
        after, total = hdus["IMAGE"].data.astype(float), np.zeros(SHAPE)
        for hdu in (hdu for hdu in hdus if hdu.name == "BKG"):
            values = hdu.data.astype(float)
            if hdu.header["SKYMODEL"] == "CHEBYSHEV2D":
                v, u = ((2 * np.arange(n) + 1) / n - 1 for n in SHAPE)
                model = np.polynomial.chebyshev.chebgrid2d(v, u, values)
            else:  # natural splines through the middles of equal cells, along y, then along x
                from scipy.interpolate import CubicSpline

                assert hdu.header["INTERPSTYLE"] == 2
                model = values
                for axis in (0, 1):
                    n, cells = SHAPE[axis], values.shape[axis]
                    at = (np.arange(cells) + 0.5) * n / cells - 0.5
                    spline = CubicSpline(at, model, axis=axis, bc_type="natural")
                    inside = spline(np.clip(np.arange(n), at[0], at[-1]))
                    beyond = np.arange(n) - np.clip(np.arange(n), at[0], at[-1])
                    slope = spline(np.clip(np.arange(n), at[0], at[-1]), 1)
                    shape = [-1 if i == axis else 1 for i in (0, 1)]
                    model = inside + beyond.reshape(shape) * slope
            sign = -1 if hdu.header["BKGOP"] == "SUBTRACT" else 1
            total += sign * hdu.header["SKYSCALE"] * model

    np.testing.assert_allclose(after, plane(names[2]) + total, rtol=0, atol=2e-6 * 1300)


def test_detectors_get_frames_and_visits_one_scale(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    names = write_camera(rng)

    result = build(*names, "-d", "sky")
    apply(
        names[0],
        names[1],
        "--sky",
        "sky/sky-1.fits",
        "sky/sky-2.fits",
        "-d",
        "flat",
    )

    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == [
        "sky/sky-1.fits",
        "sky/sky-2.fits",
    ]
    for detector, truth in (("1", pattern(SHAPE)), ("2", pattern(SHAPE)[::-1])):
        frame = plane(f"sky/sky-{detector}.fits")
        expected = cell_means(truth, CellGrid.from_counts(SHAPE, frame.shape))
        assert np.std(frame - expected) < 1.4 / np.sqrt(sum(LEVELS) * 256)
    scales = {header(f"flat/v0_d{detector}.fits")["SKYSCALE"] for detector in (1, 2)}
    assert len(scales) == 1
    assert scales.pop() == pytest.approx(LEVELS[0], rel=0.05)


def test_a_detector_without_frame_is_left_out_or_refused(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    names = write_camera(rng)
    build(*names, "-d", "sky")
    args = (*names[:2], "--sky", "sky/sky-1.fits", "-d", "flat")

    refused = apply(*args, "--require-all", status=4)
    done = apply(*args)

    assert "is of detector 2, for which there is no sky frame" in refused.stderr
    assert "It is left out" in done.stderr
    assert listing("flat") == ["v0_d1.fits"]


def test_one_output_is_not_for_two_detectors(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)

    result = build(*write_camera(rng), "-o", "sky.fits", status=4)

    assert "the inputs are of 2 detectors: 1, 2" in result.stderr
    assert not (tmp_path / "sky.fits").exists()


def test_a_table_may_say_where_detectors_lie(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    names = write_camera(rng)
    (tmp_path / "plane.txt").write_text("1 0 0 0 1\n2 220 0 0 1\n")

    build(*names, "-d", "table", "--focal-plane", "plane.txt")
    build(*names, "-d", "wcs")
    (tmp_path / "plane.txt").write_text("1 0 0 0 1\n")
    refused = build(*names, "-d", "no", "--focal-plane", "plane.txt", status=4)

    np.testing.assert_allclose(
        plane("table/sky-1.fits"), plane("wcs/sky-1.fits"), rtol=0, atol=2e-5
    )
    assert "where detector 2 lies" in refused.stderr


def test_workers_do_not_change_a_byte(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    names = write_camera(rng, LEVELS[:3])
    for jobs, folder in ((1, "one"), (2, "two")):
        build(*names, "-d", f"{folder}/sky", "-j", jobs)
        apply(
            *names,
            "--sky",
            "one/sky/sky-1.fits",
            "--sky",
            "one/sky/sky-2.fits",
            "-d",
            f"{folder}/flat",
            "-j",
            jobs,
        )

    for part in ("sky", "flat"):
        assert listing(f"one/{part}") == listing(f"two/{part}")
        for name in listing(f"one/{part}"):
            one, two = ((tmp_path / side / part / name).read_bytes() for side in ("one", "two"))
            assert one == two


def test_outputs_are_kept_and_used_again(names):
    build(*names, "-o", "sky.fits")
    before = header("sky.fits")["SKYPRINT"]

    assert "exists" in build(*names, "-o", "sky.fits", status=3).stderr
    again = build(*names, "-o", "sky.fits", "--reuse", "--json")
    other = build(*names, "-o", "sky.fits", "--reuse", "--passes", "1", "--json")

    assert json.loads(again.stdout)["status"] == "reused"
    assert json.loads(other.stdout)["status"] == "done"
    assert header("sky.fits")["SKYPRINT"] != before
    args = (names[0], "--sky", "sky.fits", "-d", "flat", "--json", "--reuse")
    assert json.loads(apply(*args).stdout)["status"] == "done"
    assert json.loads(apply(*args).stdout)["status"] == "reused"


def test_a_dry_run_checks_and_writes_nothing(names):
    result = build(*names, "-o", "sky.fits", "-n", "--json")

    assert json.loads(result.stdout)["metrics"]["exposures"] == 5
    assert "sky.fits" not in listing()


def test_a_frame_of_two_patterns_is_applied_with_two_scales(names):
    build(*names, "-o", "sky.fits", "--components", "2", "--large-scale-order", "1")
    apply(names[0], "--sky", "sky.fits", "-o", "flat.fits", "--report", "r.jsonl")

    with fits.open("flat.fits") as hdus:
        files = [hdu.header.get("SKYFILE") for hdu in hdus if hdu.name == "BKG"]
    assert files == [None, "sky.fits", "sky.fits[SKYCOMP,1]"]
    assert len(rows("r.jsonl")[0]["metrics"]["component_scales"]) == 1


def test_a_frame_of_lsst_is_applied(names, rng):
    cells = CellGrid.from_counts(SHAPE, (10, 12))
    primary = fits.PrimaryHDU()
    for key, value in (("MINX", 0), ("MINY", 0), ("MAXX", SHAPE[1] - 1), ("MAXY", SHAPE[0] - 1)):
        primary.header[f"HIERARCH BOX.{key}"] = value
    primary.header["HIERARCH ALGORITHM"] = "AKIMA_SPLINE"
    mask = fits.ImageHDU(np.zeros((10, 12), np.int32), name="MASK")
    mask.header["MP_BAD"] = 0
    values = cell_means(pattern(SHAPE), cells).astype(np.float32)
    hdus = [primary, fits.ImageHDU(values, name="IMAGE"), mask]
    hdus.append(fits.ImageHDU(np.full((10, 12), 1e-9, np.float32), name="VARIANCE"))
    fits.HDUList(hdus).writeto("lsst.fits")

    result = apply(names[0], "--sky", "lsst.fits", "-o", "flat.fits")

    scale, error = scale_of(result)
    assert abs(scale - LEVELS[0]) < 5 * error


def sized(prefix, size):
    return [f"--{prefix}-x-size", size, f"--{prefix}-y-size", size]


def test_the_lsst_preset_runs_and_says_so(names):
    preset = ("--config", "lsst", "--no-do-mask-objects")
    build(*names, "-o", "sky.fits", *preset, *sized("large-scale", 300))
    sizes = [*sized("bg-model1", 300), *sized("bg-model2", 100)]
    apply(names[0], "--sky", "sky.fits", "-o", "flat.fits", *preset, *sizes)

    with fits.open("flat.fits") as hdus:
        config = hdus["CONFIG"].data
        sources = dict(zip(config["NAME"], config["SOURCE"], strict=True))
        kinds = [hdu.header["SKYMODEL"] for hdu in hdus if hdu.name == "BKG"]
    assert sources["same-pixels"] == "config lsst"
    assert kinds == ["BINNED", "SKYFRAME", "BINNED"]


def test_printed_settings_go_back_in(names, tmp_path):
    printed = run("skyframe", "build", "--print-config", "--config", "lsst").stdout
    (tmp_path / "again.toml").write_text(printed)

    again = run("skyframe", "build", "--print-config", "--config", "again.toml").stdout

    def values(text):
        return [line.partition("  #")[0] for line in text.splitlines()]

    assert values(printed)[0] == "[skyframe.build]"
    assert values(again) == values(printed)


def test_a_flat_ratio_multiplies_exposures_while_they_are_measured(names):
    build(*names, "-o", "sky.fits")
    fits.PrimaryHDU(np.full(SHAPE, 1.1, np.float32)).writeto("ratio.fits")
    args = (names[0], "--sky", "sky.fits")

    plain = apply(*args, "-o", "a.fits").stdout.split("\t")
    ratio = apply(*args, "-o", "b.fits", "--flat-ratio", "ratio.fits").stdout.split("\t")
    undo("b.fits", "-o", "c.fits")

    assert float(ratio[1]) == pytest.approx(1.1 * float(plain[1]), rel=1e-3)
    np.testing.assert_allclose(plane("b.fits"), plane("a.fits"), rtol=0, atol=0.05)
    np.testing.assert_allclose(plane("c.fits"), plane(names[0]), rtol=2.4e-7)


@pytest.mark.parametrize(
    ("values", "words"), [(1000.0, "with a median of 1000"), (-1.0, "0 of 30720")]
)
def test_an_image_that_is_no_ratio_of_flats_is_refused(names, values, words):
    build(*names, "-o", "sky.fits")
    fits.PrimaryHDU(np.full(SHAPE, values, np.float32)).writeto("ratio.fits")

    result = run(
        "skyframe", "apply", names[0], "--sky", "sky.fits", "-o", "b.fits",
        "--flat-ratio", "ratio.fits", status=3,
    )  # fmt: skip

    assert "ratio.fits is no ratio of two flats" in result.stderr
    assert words in result.stderr


def test_files_of_one_name_in_two_folders_are_two_visits(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    names = []
    for i, level in enumerate(LEVELS[:4]):
        (tmp_path / f"night{i}").mkdir()
        names.append(str(write_sky(f"night{i}/sky.fits", rng, level)))

    build(*names, "-o", "frame.fits")

    with fits.open("frame.fits") as hdus:
        table = hdus["INPUTS"].data
        assert table["FILE"].tolist() == 4 * ["sky.fits"]
        assert table["SCALE"] == pytest.approx(LEVELS[:4], rel=0.02)
        assert table["VISIT"].tolist() == ["sky.fits", *(f"sky.fits ({n})" for n in (2, 3, 4))]


def test_layers_of_other_stages_stay(names, rng):
    build(*names, "-o", "sky.fits")
    apply(names[0], "--sky", "sky.fits", "-o", "a.fits")
    again = apply("a.fits", "--sky", "sky.fits", "-o", "b.fits")

    undo("b.fits", "-o", "c.fits")

    assert float(again.stdout.split("\t")[1]) == pytest.approx(
        header("a.fits")["SKYSCALE"], rel=0.01
    )
    np.testing.assert_allclose(plane("c.fits"), plane(names[0]), rtol=2.4e-7)


def test_files_that_name_one_visit_only_are_visits_of_their_own(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    names = [
        str(write_sky(f"f{i}.fits", rng, level, VISIT=7)) for i, level in enumerate(LEVELS[:3])
    ]

    build(*names, "-o", "sky.fits")
    refused = build(*names, "-o", "no.fits", "--group-by", "VISIT", status=4)

    assert header("sky.fits")["NINPUT"] == 3
    assert "are both detector" in refused.stderr


def test_the_simulated_night_is_flattened(tmp_path, monkeypatch):
    folder = Path(__file__).parents[2] / "data/fixtures/night"
    files = sorted(map(str, folder.glob("*.fits")))
    monkeypatch.chdir(tmp_path)

    run("skyframe", "build", *files, "-d", "sky")
    apply(
        *files[:2],
        "--sky",
        "sky/sky-1.fits",
        "--sky",
        "sky/sky-2.fits",
        "-d",
        "flat",
        "--report",
        "r.jsonl",
    )

    before = [abs(row["metrics"]["correlation_before"]) for row in rows("r.jsonl")]
    after = [abs(row["metrics"]["correlation_after"]) for row in rows("r.jsonl")]
    assert min(before) > 0.7
    assert max(after) < 0.3


def test_real_frames_of_a_fixed_camera_are_flattened(shared, tmp_path, monkeypatch):
    files = [str(shared / f"data/allsky/frame_0{i}.fits") for i in range(10)]
    monkeypatch.chdir(tmp_path)

    run("skyframe", "build", *files[:7], "-o", "sky.fits")
    result = apply(*files[7:], "--sky", "sky.fits", "-d", "flat", "--report", "r.jsonl")

    scales = [float(line.split("\t")[1]) for line in result.stdout.splitlines()]
    assert np.ptp(scales) / np.mean(scales) < 0.03
    for i in (7, 8, 9):
        with fits.open(files[i]) as hdus:
            raw = hdus[0].data.astype(np.float32)
        flat = plane(f"flat/frame_0{i}.fits")
        cells = CellGrid.from_counts(raw.shape, (16, 16))
        level = np.median(raw)
        before, after = (np.std(cell_means(image, cells)) / level for image in (raw, flat))
        assert before > 0.07
        assert after < 0.01
    for row in rows("r.jsonl"):
        assert row["metrics"]["rms_before"] > 0.05 * row["metrics"]["scale"]
        assert row["metrics"]["rms_after"] < 0.1 * row["metrics"]["rms_before"]
    assert header("sky.fits")["BOX.MINX"] == 479


def test_standard_streams_carry_exposures(names):
    build(*names, "-o", "sky.fits")

    result = CliRunner().invoke(
        cli,
        ["skyframe", "apply", "-", "--sky", "sky.fits", "-o", "flat.fits"],
        input=Path(names[0]).read_bytes(),
    )

    assert result.exit_code == 0, result.stderr
    apply(names[0], "--sky", "sky.fits", "-o", "same.fits")
    np.testing.assert_array_equal(plane("flat.fits"), plane("same.fits"))


def test_frames_in_files_are_the_frames_in_memory(names):
    build(*names, "-o", "sky.fits")

    with opened("sky.fits") as hdus:
        frame = sky_frame_from_hdus(hdus, name="sky.fits")

    rule = InterpolationRule(InterpolationStyle.NATURAL_SPLINE)
    cells = CellGrid.from_counts(SHAPE, (10, 12))
    np.testing.assert_array_equal(
        frame.background().evaluate(SHAPE), interpolate_cells(plane("sky.fits"), cells, rule)
    )
