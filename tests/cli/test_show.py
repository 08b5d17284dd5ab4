import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from skytool.cli.show import command as show
from skytool.pictures.scaling import Stretch
from tests.cli.broken import BROKEN, make_broken
from tests.cli.warping import run
from tests.io.ours import exposure, write_ours

FIXTURES = Path(__file__).parents[2] / "data" / "fixtures" / "night"

drawing = pytest.importorskip("matplotlib", reason="`skytool show` draws with matplotlib")
pillow = pytest.importorskip("PIL.Image", reason="pictures are looked at with Pillow")


@pytest.fixture
def folder(tmp_path, monkeypatch, rng):
    """Be in a folder of files that cannot be read, two that can, and one that has everything."""
    monkeypatch.chdir(tmp_path)
    make_broken(tmp_path, rng)
    write_ours("rich.fits", exposure(rng))
    return tmp_path


def size_of(path):
    with pillow.open(path) as picture:
        return picture.size


def test_a_file_becomes_a_picture(folder):
    result = run("show", "rich.fits", "-o", "rich.png")

    assert result.exit_code == 0, result.stderr
    path, panels, width, height = result.stdout.rstrip("\n").split("\t")
    assert (path, panels) == ("rich.png", "1")
    assert size_of("rich.png") == (int(width), int(height))


def test_files_and_extensions_are_panels(folder):
    result = run("show", "rich.fits", "good.fits", "--extension", "IMAGE,MASK", "-o", "x.png")

    assert result.exit_code == 0, result.stderr
    assert result.stdout.split("\t")[1] == "4"
    four = size_of("x.png")
    run("show", "rich.fits", "-o", "y.png")
    one = size_of("y.png")
    assert four[0] > one[0]
    assert four[1] > one[1]


def test_every_fixture_has_a_picture(tmp_path):
    result = run("show", *sorted(FIXTURES.glob("v10[56]*.fits")), "-o", tmp_path / "night.png")

    assert result.exit_code == 0, result.stderr
    assert result.stdout.split("\t")[1] == "4"


def test_two_runs_in_different_places_make_the_same_bytes(folder, monkeypatch):
    run("show", "rich.fits", "-o", "a.png")
    monkeypatch.setenv("MPLBACKEND", "svg")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    Path("matplotlibrc").write_text("font.size: 31\nsavefig.dpi: 12\n")
    done = subprocess.run(
        [sys.executable, "-m", "skytool", "show", folder / "rich.fits", "-o", "b.png"],
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_no_window_and_no_global_figure_is_touched(folder):
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom skytool.cli.main import cli\n"
        "result = CliRunner().invoke(cli, ['show', 'rich.fits', '-o', 'x.png'])\n"
        "print(result.exit_code, 'matplotlib.pyplot' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stdout == "0 False\n", done.stderr


def test_without_matplotlib_one_line_names_the_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run("show", "rich.fits", "-o", "x.png")

    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
    assert "skytool[plot]" in result.stderr
    assert not Path("x.png").exists()


def pixels_of(*args):
    result = run("show", "rich.fits", "-o", "-", *args)
    assert result.exit_code == 0, result.stderr
    return np.array(pillow.open(io.BytesIO(result.stdout_bytes)).convert("RGB")).astype(int)


def test_options_change_what_is_drawn(folder):
    usual = pixels_of()
    for args in (
        ["--stretch", "linear"],
        ["--limits", "100,200"],
        ["--limits", "zscale", "--stretch", "linear"],
        ["--limits", "minmax"],
        ["--planes", "none"],
        ["--planes", "all"],
        ["--planes", "SAT,CR"],
        ["--extension", "variance"],
        ["--fwhm", "3", "--extension", "PSF"],
        ["--size", "500,480"],
    ):
        changed = pixels_of(*args)
        assert changed.shape != usual.shape or (changed != usual).any(), args
    np.testing.assert_array_equal(pixels_of("--stretch", "ASINH", "--planes", "auto"), usual)


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("PDF", b"%PDF-"), ("svg", b"<?xml")]
)
def test_the_ending_of_the_name_is_the_format(folder, ending, start):
    contents = []
    for name, zone in (("a", "UTC"), ("b", "Asia/Tokyo")):
        done = subprocess.run(
            [sys.executable, "-m", "skytool", "show", "rich.fits", "-o", f"{name}.{ending}"],
            capture_output=True,
            check=False,
            env={**os.environ, "TZ": zone, "PYTHONHASHSEED": str(ord(name))},
        )
        assert done.returncode == 0, done.stderr
        contents.append(Path(f"{name}.{ending}").read_bytes())

    assert contents[0].startswith(start)
    assert contents[0] == contents[1]
    for word in (b"CreationDate", b"dc:date", b"matplotlib.org"):
        assert word not in contents[0]


def test_an_image_that_does_not_scatter_is_drawn(folder):
    fits.PrimaryHDU(np.full((50, 70), 7.5, np.float32)).writeto("flat.fits")
    result = run("show", "flat.fits", "--extension", "IMAGE,VARIANCE", "-o", "x.png")

    assert result.exit_code == 0, result.stderr
    pixels = np.array(pillow.open("x.png").convert("RGB"))
    height, width = pixels.shape[:2]
    assert np.ptp(pixels[height // 2, width // 5 : width // 4].reshape(-1)) == 0


def test_the_command_offers_what_there_is():
    assert tuple(Stretch) == show.STRETCHES


@pytest.mark.parametrize(("name", "status", "text"), BROKEN)
@pytest.mark.parametrize("dry", [[], ["-n"]], ids=["run", "dry"])
def test_what_cannot_be_read_gives_one_line_and_no_picture(folder, name, status, text, dry):
    before = sorted(folder.rglob("*"))
    result = run("show", name, "-o", "x.png", *dry)

    assert result.exit_code == status
    assert text in result.stderr
    assert len([line for line in result.stderr.splitlines() if "error" in line]) == 1
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("args", "status", "text"),
    [
        ([], 2, "Missing option '-o'"),
        (["-o", "good.fits", "--overwrite"], 2, "good.fits has the ending of no picture"),
        (["-o", "old.png"], 3, "old.png exists. Give --overwrite"),
        (["-o", "dir.png"], 3, "dir.png is a folder"),
        (["-o", "text.fits/x.png"], 3, "not a folder"),
        (["-o", "x.JPG"], 2, "x.JPG has the ending of no picture; it can be .png, .pdf, .svg"),
        (["-o", "x.txt"], 2, "x.txt has the ending of no picture; it can be .png, .pdf, .svg"),
        (["-o", "x.fits"], 2, "x.fits has the ending of no picture"),
        (["-o", "x.png.gz"], 2, "x.png.gz has the ending of no picture"),
        (["-o", "x"], 2, "--output x.png"),
        (["-o", "x.png", "--limits", "3"], 2, "LOW,HIGH or one of auto, zscale, minmax"),
        (["-o", "x.png", "--limits", "5,3"], 2, "5 is not below 3"),
        (["-o", "x.png", "--limits", "0,nan"], 2, "0 is not below nan"),
        (["-o", "x.png", "--stretch", "cubic"], 2, "'cubic' is not one of"),
        (["-o", "x.png", "--size", "5,5"], 2, "5 is not in the range"),
        (["-o", "x.png", "--size", "500"], 2, "must be 2 values"),
        (["-o", "x.png", "--planes", "SATT"], 4, "Did you mean SAT?"),
        (["-o", "x.png", "--extension", ""], 2, "--extension names nothing"),
        (["-o", "x.png", "--extension", "NOSUCH"], 4, "no extension NOSUCH"),
        (["-o", "x.png", "--extension", "PSF"], 4, "good.fits has no PSF"),
        (["./good.fits", "-o", "x.png"], 2, "is given twice"),
        (["-o", "-", "--json"], 2, "--json cannot go with a product on standard output"),
    ],
)
def test_mistakes_give_one_line_and_no_picture(folder, args, status, text):
    Path("old.png").write_bytes(b"old")
    Path("dir.png").mkdir()
    before = {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
    result = run("show", "good.fits", *args)

    assert result.exit_code == status, result.stderr
    assert text in result.stderr
    assert {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")} == before


def test_what_cannot_be_read_is_left_out_if_asked(folder):
    Path("list").write_text("good.fits\ntruncated.fits\nother.fits\n")
    result = run("show", "@list", "-o", "x.png", "-k", "--json")
    lines = {line["path"]: line for line in map(json.loads, result.stdout.splitlines())}

    assert result.exit_code == 3
    assert lines["x.png"]["metrics"]["panels"] == 2
    assert lines["x.png"]["inputs"] == ["good.fits", "other.fits"]
    assert lines["truncated.fits"]["status"] == "failed"


def test_a_plan_reads_no_pixels_and_writes_nothing(folder):
    result = run("show", "rich.fits", "good.fits", "-o", "x.png", "-n", "--json")

    assert result.exit_code == 0
    (line,) = [json.loads(text) for text in result.stdout.splitlines()]
    assert line["metrics"] == {"panels": 2}
    assert not Path("x.png").exists()


def test_a_picture_goes_through_pipes_and_to_devices(folder):
    content = Path("rich.fits").read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "skytool", "show", "-", "-o", "-"],
        input=content,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"\x89PNG")
    assert run("show", "rich.fits", "-o", "/dev/null").exit_code == 0
    assert Path("/dev/null").is_char_device()


def test_a_full_disk_leaves_nothing(folder, small_disk):
    (small_disk / "fill").write_bytes(bytes(50_000))
    result = run("show", "rich.fits", "-o", small_disk / "x.png")

    assert result.exit_code == 3
    assert "o space left on device" in result.stderr
    assert [path.name for path in small_disk.iterdir()] == ["fill"]
