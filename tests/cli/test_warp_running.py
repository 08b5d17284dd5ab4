"""How a warp runs: again, in parallel, in pipes, halfway; and that its bytes do not depend on it."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from tests.cli.warping import (
    failure,
    gaussians,
    lattice,
    read_warp,
    run,
    sky_cards,
    warp,
    write_exposure,
    write_grid,
)

ROOT = Path(__file__).parents[2]
SHAPE = (90, 70)
GRID = (100, 170)
GRID_OPTIONS = ("--like", "grid.hdr")


def write_detector(rng, visit, number):
    y, x = lattice(SHAPE, step=30, margin=14, rng=rng)
    return write_exposure(
        f"v{visit}_d{number}.fits",
        gaussians(SHAPE, y, x, fwhm=3.0, flux=1e4) + rng.normal(0, 2, SHAPE),
        sky=sky_cards(SHAPE, kind="SIP", shift=(visit, 40 if number == 1 else -38), rotation=visit),
        variance=4.0,
        mask={"CR": rng.random(SHAPE) < 0.005, "DETECTED": rng.random(SHAPE) < 0.05},
        VISIT=visit,
        DETECTOR=number,
        FILTER="r",
        MAGZERO=27.0,
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Be in a folder with a grid."""
    monkeypatch.chdir(tmp_path)
    write_grid("grid.hdr", sky_cards(GRID), GRID, origin=(30, 50))
    return tmp_path


@pytest.fixture
def names(folder, rng):
    """Two visits of two detectors."""
    return [write_detector(rng, visit, number) for visit in (5, 11) for number in (1, 2)]


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def rows_of(result):
    assert result.exit_code == 0, result.output
    return {row["path"]: row for row in map(json.loads, result.stdout.splitlines())}


def skytool(*args, env=None, **options):
    """Run the program as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "skytool", *map(str, args)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        **options,
    )


class TestBytes:
    @pytest.mark.slow
    def test_do_not_depend_on_workers_order_or_folder(self, names, tmp_path):
        assert run("warp", *names, *GRID_OPTIONS, "-d", "one").exit_code == 0
        assert run("warp", *names[::-1], *GRID_OPTIONS, "-d", "two", "-j", 2).exit_code == 0
        paths = [tmp_path / name for name in names]
        assert run("warp", *paths, "--like", tmp_path / "grid.hdr", "-d", "three").exit_code == 0

        one = bytes_of("one")
        assert [*one] == ["warp-11.fits", "warp-5.fits"]
        assert bytes_of("two") == one
        for name, data in bytes_of("three").items():
            with fits.open(io.BytesIO(data)) as there, fits.open(io.BytesIO(one[name])) as here:
                for old, new in zip(here[1:4], there[1:4], strict=True):
                    assert old.header["DATASUM"] == new.header["DATASUM"]
        assert not any(str(tmp_path).encode() in data for data in bytes_of("three").values())

    def test_do_not_depend_on_where_the_planes_are_kept(self, names, monkeypatch):
        args = ("warp", *names[:2], *GRID_OPTIONS, "--noise", 1, "--masked-fraction")
        assert run(*args, "-o", "memory.fits").exit_code == 0
        monkeypatch.setattr("skytool.io.scratch.SMALLEST", 1)
        assert run(*args, "-o", "disk.fits").exit_code == 0
        packed = run(*args, "-o", "packed.fits", "--compress", "gzip")
        assert packed.exit_code == 0, packed.output

        assert Path("disk.fits").read_bytes() == Path("memory.fits").read_bytes()
        np.testing.assert_array_equal(fits.getdata("packed.fits", 1), fits.getdata("disk.fits", 1))

    @pytest.mark.slow
    def test_do_not_depend_on_time_language_or_hashes(self, names):
        start = time.time()
        env = {"TZ": "Asia/Tokyo", "LC_ALL": "de_DE.UTF-8", "PYTHONHASHSEED": "2"}
        args = ("warp", *names[:2], *GRID_OPTIONS, "-o")
        for compress in ("none", "gzip"):
            assert run(*args, f"{compress}0.fits", "--compress", compress).exit_code == 0
        time.sleep(max(0.0, start + 1.1 - time.time()))  # another second for those who write it
        for compress in ("none", "gzip"):
            done = skytool(*args, f"{compress}1.fits", "--compress", compress, env=env)
            assert done.returncode == 0, done.stderr
        for compress in ("none", "gzip"):
            assert Path(f"{compress}0.fits").read_bytes() == Path(f"{compress}1.fits").read_bytes()

    @pytest.mark.slow
    def test_are_the_same_from_a_cluster(self, names, cluster):
        assert run("warp", *names, *GRID_OPTIONS, "-d", "here").exit_code == 0
        result = run("warp", *names, *GRID_OPTIONS, "-d", "there", "--scheduler", cluster)

        assert result.exit_code == 0, result.output
        assert bytes_of("there") == bytes_of("here")

    def test_compressed_without_loss_are_the_same_pixels(self, names):
        plain = warp(*names[:2], *GRID_OPTIONS, output="plain.fits")
        args = (*names[:2], *GRID_OPTIONS, "--compress", "gzip")
        packed = warp(*args, output="packed.fits")

        for plane in ("image", "mask", "variance"):
            np.testing.assert_array_equal(getattr(packed, plane), getattr(plain, plane))
        with fits.open("packed.fits", disable_image_compression=True) as hdus:
            assert hdus[1].header["ZCMPTYPE"] == "GZIP_2"
        # a compressed warp is an input like any other
        again = [
            warp(name, *GRID_OPTIONS, output=f"again-{name}")
            for name in ("plain.fits", "packed.fits")
        ]
        np.testing.assert_array_equal(again[0].image, again[1].image)

    def test_compressed_with_loss_keep_flags_and_errors_small(self, names):
        plain = warp(*names[:2], *GRID_OPTIONS, output="plain.fits")
        packed = warp(*names[:2], *GRID_OPTIONS, "--compress", "rice", output="packed.fits")

        np.testing.assert_array_equal(packed.mask, plain.mask)
        good = ~plain.empty
        noise = np.sqrt(np.median(plain.variance[good]))
        # quantised in steps of a sixteenth of the noise
        assert np.abs(packed.image - plain.image)[good].max() < noise / 8

    def test_from_printed_settings_are_the_same(self, names):
        options = (
            "--kernel",
            "spline3",
            "--overlap",
            "mean",
            "--masked-fraction",
            "--fill",
            "zero",
        )
        target = ("--center", "150.1,2.3", "--pixel-scale", 0.26, "--size", "150,90")
        args = ("warp", *names[:2], *target, *options, "-o")
        printed = run(*args, "a.fits", "--print-config")
        assert printed.exit_code == 0, printed.output
        Path("my.toml").write_text(printed.stdout)

        assert run(*args, "a.fits").exit_code == 0
        assert run("warp", *names[:2], "--config", "my.toml", "-o", "b.fits").exit_code == 0
        with fits.open("a.fits") as first, fits.open("b.fits") as second:
            for old, new in zip(first[1:-1], second[1:-1], strict=True):
                assert old.header["DATASUM"] == new.header["DATASUM"], old.name
            assert first["CONFIG"].data["VALUE"].tolist() == second["CONFIG"].data["VALUE"].tolist()


class TestReuse:
    @pytest.fixture
    def args(self, names):
        """Arguments of a run that is done: two detectors of a visit, one of another."""
        args = ["warp", *names[:3], *GRID_OPTIONS, "-d", "out", "--reuse", "--json"]
        rows = rows_of(run(*args))
        assert {row["status"] for row in rows.values()} == {"done"}
        for path in Path("out").iterdir():
            os.utime(path, (1e9, 1e9))
        return args

    @staticmethod
    def statuses(*args):
        return [row["status"] for row in rows_of(run(*args)).values()]

    def test_of_everything_computes_nothing(self, args, monkeypatch):
        before = bytes_of("out")

        def refuse(*_):
            raise AssertionError("nothing is to be resampled")

        monkeypatch.setattr("skytool.stages.warp.warp_visit", refuse)
        assert self.statuses(*args) == ["reused", "reused"]
        assert bytes_of("out") == before
        for path in Path("out").iterdir():
            assert path.stat().st_mtime > 1.1e9, "make must find it newer than its inputs"

    @pytest.mark.parametrize(
        "option",
        [
            ["--kernel", "lanczos5"],
            ["--overlap", "mean"],
            ["--border", "1"],
            ["--masked-fraction"],
            ["--gain", "2"],
            ["--compress", "gzip"],
        ],
    )
    def test_not_of_what_other_settings_made(self, args, option):
        args = [arg for arg in args if not arg.startswith("v5")]
        assert self.statuses(*args, *option) == ["done"]
        assert self.statuses(*args, *option) == ["reused"]

    @pytest.mark.parametrize("plane", [0, 1, 2, 3])
    def test_not_of_a_changed_input(self, args, plane):
        with fits.open("v5_d2.fits", mode="update") as hdus:
            if plane:
                hdus[plane].data[40, 30] += 1 << 3 if plane == 2 else 1
            else:
                hdus[0].header["MAGZERO"] = 26.9
        assert self.statuses(*args) == ["done", "reused"]

    def test_not_of_changed_coordinates(self, args):
        with fits.open("v11_d1.fits", mode="update") as hdus:
            hdus[1].header["CRVAL1"] += 1e-6
        assert self.statuses(*args) == ["reused", "done"]

    def test_of_an_input_that_only_moved(self, args):
        for name in Path().glob("v*.fits"):
            os.utime(name)
            Path("moved").mkdir(exist_ok=True)
            shutil.copy(name, Path("moved", name.name))
        assert self.statuses(*args) == ["reused", "reused"]
        inputs = [f"moved/{arg}" if arg.startswith("v") else arg for arg in args]
        assert self.statuses("warp", *inputs[1:]) == ["reused", "reused"]

    def test_not_of_a_changed_grid(self, args):
        write_grid("grid.hdr", sky_cards(GRID, rotation=1), GRID, origin=(30, 50))
        assert self.statuses(*args) == ["done", "done"]

    def test_not_of_a_missing_input_of_the_visit(self, args):
        assert self.statuses(*[arg for arg in args if arg != "v5_d2.fits"]) == ["done", "reused"]

    @pytest.mark.parametrize("damage", ["cut", "flip", "text"])
    def test_not_of_a_damaged_product(self, args, damage):
        path = Path("out/warp-5.fits")
        whole = path.read_bytes()
        if damage == "cut":
            path.write_bytes(whole[: len(whole) // 2])
        elif damage == "flip":
            path.write_bytes(whole[:50000] + bytes([whole[50000] ^ 1]) + whole[50001:])
        else:
            path.write_text("not a warp")
        assert self.statuses(*args) == ["done", "reused"]
        assert path.read_bytes() == whole

    def test_of_whatever_exists_on_demand(self, args):
        Path("out/warp-5.fits").write_text("mine")
        args[args.index("--reuse")] = "--reuse=exists"
        assert self.statuses(*args, "--kernel", "lanczos5") == ["reused", "reused"]
        assert Path("out/warp-5.fits").read_text() == "mine"

    @pytest.mark.usefixtures("folder")
    @pytest.mark.parametrize("sibling", ["ood", "oow"])
    def test_not_of_a_changed_sibling(self, rng, sibling):
        cards = sky_cards(SHAPE)
        cards["PLVER"], cards["EXPNUM"] = "V4.8", 77
        planes = {
            "ooi": rng.normal(100, 2, SHAPE).astype(np.float32),
            "oow": np.full(SHAPE, 0.25, np.float32),
            "ood": np.zeros(SHAPE, np.int16),
        }
        for kind, plane in planes.items():
            fits.PrimaryHDU(plane, cards).writeto(f"c4d_{kind}_z.fits")
        args = ("warp", "c4d_ooi_z.fits", *GRID_OPTIONS, "-d", "o", "--json", "--reuse")
        assert self.statuses(*args) == ["done"]
        assert self.statuses(*args) == ["reused"]
        with fits.open(f"c4d_{sibling}_z.fits", mode="update") as hdus:
            hdus[0].data[30:33, 20] = 1
        assert self.statuses(*args) == ["done"]

    @pytest.mark.parametrize("option", ["--mask", "--variance", "--dq-map"])
    def test_not_of_a_changed_file_of_an_option(self, names, option):
        values = {
            "--mask": np.zeros(SHAPE, np.int32),
            "--variance": np.full(SHAPE, 4.0, np.float32),
        }
        plane = values.get(option, values["--mask"])
        fits.PrimaryHDU(plane).writeto("plane.fits")
        extra = [option, "plane.fits"]
        if option != "--variance":
            Path("map.toml").write_text('kind = "bits"\nBAD = [1]\nCR = [2]\n')
            extra = ["--mask", "plane.fits", "--dq-map", "map.toml"]
        args = ("warp", names[0], *GRID_OPTIONS, "-d", "o", "--json", "--reuse", *extra)
        assert self.statuses(*args) == ["done"]
        assert self.statuses(*args) == ["reused"]
        if option == "--dq-map":
            Path("map.toml").write_text('kind = "bits"\nSAT = [1]\nCR = [2]\n')
        else:
            with fits.open("plane.fits", mode="update") as hdus:
                hdus[0].data[30:33, 20] = 1
        assert self.statuses(*args) == ["done"]

    def test_not_of_a_changed_model_of_the_sky(self, names):
        fits.PrimaryHDU(np.ones(SHAPE, np.float32)).writeto("sky.fits")
        args = ("warp", names[0], *GRID_OPTIONS, "-d", "o", "--json", "--reuse")
        args += ("--sky-correction", "sky.fits")
        assert self.statuses(*args) == ["done"]
        assert self.statuses(*args) == ["reused"]
        with fits.open("sky.fits", mode="update") as hdus:
            hdus[0].data[30:33, 20] = 7
        assert self.statuses(*args) == ["done"]


class TestPlans:
    def test_a_dry_run_reads_no_pixel_and_writes_nothing(self, names, monkeypatch):
        def refuse(*_):
            raise AssertionError("no pixel is to be read")

        monkeypatch.setattr("skytool.io.sources.ExposureSource.read", refuse)
        before = sorted(Path().iterdir())
        rows = rows_of(run("warp", *names, *GRID_OPTIONS, "-d", "out", "-n", "--json"))

        assert [*rows] == ["out/warp-5.fits", "out/warp-11.fits"]
        for row in rows.values():
            assert row["status"] == "planned"
            assert row["metrics"] == {"detectors": 2, "shape": [100, 170]}
            assert "grid.hdr" in row["inputs"]
        assert sorted(Path().iterdir()) == before

    def test_a_dry_run_has_the_status_of_the_run(self, names):
        warp(*names[:2], *GRID_OPTIONS)
        for args, status in (
            ([*names, "-o", "warp.fits"], 3),
            ([*names, "-o", "warp.fits", "--overwrite"], 0),
            ([names[0], "none.fits", "-d", "out"], 3),
            ([*names, "-d", "out", "--bad-planes", "HOT"], 4),
        ):
            assert run("warp", *args, *GRID_OPTIONS, "-n").exit_code == status

    def test_dependencies_name_every_file_that_was_read(self, names):
        Path("list.txt").write_text("\n".join(names[:2]) + "\n")
        Path("my.toml").write_text('[warp]\nkernel = "lanczos4"\n')
        fits.PrimaryHDU(np.ones(SHAPE, np.float32)).writeto("sky.fits")
        options = ("--config", "my.toml", "--sky-correction", "sky.fits")
        args = ("@list.txt", *GRID_OPTIONS, "-o", "w.fits", *options)
        assert run("warp", *args, "--depfile", "w.d").exit_code == 0

        rule = Path("w.d").read_text().splitlines()[0]
        assert rule.startswith("w.fits: ")
        expected = {*names[:2], "grid.hdr", "list.txt", "my.toml", "sky.fits"}
        assert set(rule.removeprefix("w.fits: ").split()) == expected

    def test_dependencies_are_files_not_streams(self, names):
        data = Path(names[0]).read_bytes()
        args = ("warp", "-", *GRID_OPTIONS, "-o", "w.fits", "--depfile", "w.d")
        assert run(*args, input=data).exit_code == 0
        assert Path("w.d").read_text() == "w.fits: grid.hdr\n\ngrid.hdr:\n"

    def test_dependencies_hold_tables_and_text_headers(self, names):
        Path("cal.csv").write_text("visit,zp\n5,25.0\n")
        header = fits.getheader(names[0], 1)
        cards = [card for card in header.cards if re.match("C[RTD]|CUNIT", card.keyword)]
        Path("v5_d1.head").write_text(fits.Header(cards).tostring(sep="\n", padding=False))
        options = ("--photocal", "cal.csv", "--wcs", "{stem}.head", "--depfile", "w.d")
        result = run("warp", names[0], *GRID_OPTIONS, "-o", "w.fits", *options)

        assert result.exit_code == 0, result.output
        rule = Path("w.d").read_text().splitlines()[0].removeprefix("w.fits: ")
        assert set(rule.split()) == {names[0], "grid.hdr", "cal.csv", "v5_d1.head"}

    def test_reports_are_the_same_lines_in_a_file(self, names):
        result = run("warp", *names, *GRID_OPTIONS, "-d", "out", "--json", "--report", "r.jsonl")

        assert Path("r.jsonl").read_text() == result.stdout
        row = json.loads(result.stdout.splitlines()[0])
        warped = read_warp(row["path"])
        assert row["metrics"]["detectors"] == 2
        assert row["metrics"]["good_pixels"] == warped.primary["GOODPIX"]
        assert row["metrics"]["coverage"] == pytest.approx((~warped.empty).mean())
        assert row["metrics"]["overlap_pixels"] == warped.primary["NOVERLAP"]


class TestFailures:
    def break_wcs(self, name):
        with fits.open(name, mode="update") as hdus:
            for hdu in hdus[1:]:
                hdu.header["CD1_1"] = hdu.header["CD2_2"] = 0.0
                hdu.header["CD1_2"] = hdu.header["CD2_1"] = 0.0

    @pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
    def test_keep_going_makes_all_that_can_be_made(self, names, jobs):
        Path(names[1]).write_text("not FITS")
        self.break_wcs(names[2])
        args = ("warp", *names, *GRID_OPTIONS, "-d", "out", "-j", jobs)
        stopped = run(*args)
        assert stopped.exit_code == 3
        assert not Path("out").exists()

        result = run(*args, "-k")

        assert result.exit_code == 3, "that of the first failure"
        assert sorted(path.name for path in Path("out").iterdir()) == [
            "warp-11.fits",
            "warp-5.fits",
        ]
        for visit, used in ((5, ["v5_d1.fits"]), (11, ["v11_d2.fits"])):
            ccds = read_warp(f"out/warp-{visit}.fits").others["CCDS"]
            assert ccds["FILE"].tolist() == used
        for name in names[1:3]:
            assert any("error" in line and name in line for line in result.stderr.splitlines())
        inputs = read_warp("out/warp-11.fits").others["INPUTS"]
        assert inputs["STATUS"].tolist() == ["used", "skipped"]

    def test_a_visit_that_fails_while_it_runs_leaves_the_others(self, names):
        with fits.open(names[0], mode="update") as hdus:
            hdus["MASK"].data[:] = 1 << 29  # seen when pixels are read
        args = ("warp", *names, *GRID_OPTIONS, "-d", "out")
        assert run(*args).exit_code == 3
        result = run(*args, "-k", "--overwrite")

        assert result.exit_code == 3
        assert "out/warp-11.fits" in result.stdout
        assert [path.name for path in Path("out").iterdir()] == ["warp-11.fits"]

    def test_nothing_to_do_is_status_6(self, names):
        write_grid("far.hdr", sky_cards(GRID, ra=151.0), GRID)
        args = ("warp", *names, "--like", "far.hdr", "-o", "w.fits")
        result = run(*args)
        assert result.exit_code == 6
        assert "no exposure overlaps far.hdr" in failure(result)
        assert run(*args, "--allow-empty").exit_code == 0
        assert not Path("w.fits").exists()

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("event", "number", "status"),
        [
            ("open", signal.SIGTERM, 143),
            ("os.rename", signal.SIGTERM, 143),
            ("os.rename", signal.SIGINT, 130),
        ],
    )
    def test_a_run_that_is_ended_while_it_writes_leaves_the_old_product(
        self, names, tmp_path, event, number, status
    ):
        Path("w.fits").write_text("old")
        code = (
            "import os, sys\n"
            "def hook(event, args):\n"
            f"    name = str(args[0]) if event == {event!r} else ''\n"
            "    if name.endswith('.w.fits') and not fired:\n"
            f"        fired.append(1); os.kill(os.getpid(), {int(number)})\n"
            "fired = []; sys.addaudithook(hook)\n"
            "from skytool.cli.main import main; main()\n"
        )
        args = [*names[:2], *GRID_OPTIONS, "-o", "w.fits", "--overwrite", "-q"]
        done = subprocess.run(
            [sys.executable, "-c", code, "warp", *args],
            capture_output=True,
            check=False,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        assert Path("w.fits").read_text() == "old"
        assert not list(tmp_path.glob("*.w.fits"))


class TestStreams:
    def test_from_a_pipe_into_a_pipe(self, names):
        expected = warp(names[0], *GRID_OPTIONS)
        done = skytool(
            *("warp", "-", *GRID_OPTIONS, "-o", "-", "-q"), input=Path(names[0]).read_bytes()
        )

        assert done.returncode == 0, done.stderr
        with fits.open(io.BytesIO(done.stdout)) as hdus:
            hdus.verify("exception")
            np.testing.assert_array_equal(hdus[1].data, expected.image)
            np.testing.assert_array_equal(hdus[2].data, expected.mask)
            assert (
                hdus["INPUTS"].data["DATASUM"].tolist()
                == expected.others["INPUTS"]["DATASUM"].tolist()
            )

    def test_process_substitution_works_for_input_and_grid(self, names):
        if shutil.which("bash") is None:
            pytest.skip("bash is not installed")
        expected = warp(names[0], *GRID_OPTIONS)
        program = f"{sys.executable} -m skytool warp"
        script = f"{program} <(cat {names[0]}) --like <(cat warp.fits) -o w.fits -q"
        done = subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

        assert done.returncode == 0, done.stderr
        np.testing.assert_array_equal(read_warp("w.fits").image, expected.image)

    def test_to_a_terminal_or_with_json_is_refused(self, names):
        result = run("warp", names[0], *GRID_OPTIONS, "-o", "-", "--json")
        assert result.exit_code == 2

    def test_lists_are_read_from_their_own_folder(self, names):
        lists = Path("lists")
        lists.mkdir()
        (lists / "night.txt").write_text(
            f"# the first visit\n../{names[0]}\n\n../{names[1]} # both\n"
        )
        assert run("warp", "@lists/night.txt", *GRID_OPTIONS, "-o", "a.fits").exit_code == 0
        assert len(read_warp("a.fits").others["CCDS"]) == 2

        (lists / "bad.txt").write_text(f"../{names[0]}\nnone1.fits\nnone2.fits\n")
        result = run("warp", "@lists/bad.txt", *GRID_OPTIONS, "-o", "b.fits")
        assert result.exit_code == 2
        assert "none1.fits" in failure(result)
        assert "none2.fits" in failure(result)
