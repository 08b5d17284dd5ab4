"""The reduction driven by make: what it makes again, and when; with a stand-in for the program."""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from tests.test_house import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

STAND_IN = """\
import sys
from pathlib import Path

arguments = sys.argv[1:]
with open("log", "a") as log:
    print(*arguments[:2], file=log)
folder = None
for option, value in zip(arguments, arguments[1:]):
    if option in {"-o", "--score", "--sources", "--kernel-out"}:
        Path(value).write_text("made")
    if option == "-d":
        folder = Path(value)
if folder is not None:
    for name in arguments[2:arguments.index("--sky")]:
        (folder / Path(name).name).write_text("made")
"""
VISITS = ("101", "102", "103", "105")
AFTER_AN_EXPOSURE = {"psf", "warp", "match-bg", "coadd", "show", "diffim"} | {
    *("dcr-assemble", "dcr-template")
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "program.py").write_text(STAND_IN)
    (tmp_path / "night").mkdir()
    (tmp_path / "target.hdr").touch()
    for visit in VISITS:
        for detector in (1, 2):
            (tmp_path / "night" / f"v{visit}_d{detector}.fits").touch()
    return tmp_path


def reduce(folder, *arguments):
    """Run the reduction and return what was called, in order."""
    log = folder / "log"
    log.write_text("")
    command = [
        *("make", "-f", ROOT / "examples" / "reduce.mk", "NIGHT=night", "TARGET=target.hdr"),
        *(f"VISITS={' '.join(VISITS)}", "REDUCED=out"),
        *(f"SKYTOOL={sys.executable} program.py", *arguments),
    ]
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return log.read_text().splitlines()


def commands_of(calls):
    return [call.split()[0] for call in calls]


def test_everything_is_made_once_and_only_once(folder):
    first = commands_of(reduce(folder, "-j", "3"))

    assert {name: first.count(name) for name in sorted(set(first))} == {
        "coadd": 1,
        "dcr-assemble": 1,
        "dcr-template": 1,
        "diffim": 1,
        "match-bg": 4,
        "psf": 8,
        "show": 7,
        "skyframe": 6,
        "warp": 8,
    }
    assert reduce(folder) == []


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ("sources/v105.fits", {"diffim", "show"}),
        ("score/v105.fits", {"diffim", "show"}),
        ("kernel/v105.fits", {"diffim", "show"}),
        ("template/v105.fits", {"dcr-template", "diffim", "show"}),
        ("matched/v102.fits", {"warp"}),
        ("warps/v105.fits", {"warp", "match-bg", "dcr-template", "diffim", "show"}),
        ("clean/v101_d2.fits", {"skyframe", *AFTER_AN_EXPOSURE}),
        ("psf/v101_d1.fits", AFTER_AN_EXPOSURE),
        ("pictures/sky.png", {"show"}),
        ("dcr-model.fits", {"dcr-assemble", "dcr-template", "diffim", "show"}),
    ],
)
def test_a_lost_file_is_made_again_with_what_depends_on_it(folder, lost, expected):
    reduce(folder)
    time.sleep(0.02)
    (folder / "out" / lost).unlink()

    assert set(commands_of(reduce(folder))) == expected
    assert reduce(folder) == []


def test_a_new_exposure_changes_what_comes_of_it(folder):
    reduce(folder)
    time.sleep(0.02)
    (folder / "target.hdr").touch()

    calls = commands_of(reduce(folder))

    assert "psf" not in calls
    assert calls.count("warp") == 8
    assert calls.count("diffim") == 1


def test_a_recipe_that_fails_leaves_nothing_to_go_on_with(folder):
    broken = STAND_IN + "\nif arguments[0] == 'coadd':\n    sys.exit(5)\n"
    (folder / "program.py").write_text(broken)
    with pytest.raises(AssertionError):
        reduce(folder, "-k")
    assert not (folder / "out" / "coadd.fits").exists()

    (folder / "program.py").write_text(STAND_IN)
    assert set(commands_of(reduce(folder))) == {"coadd", "show"}


def test_summary_finds_the_transient(tmp_path):
    from astropy.table import Table

    truth = Table.read(ROOT / "data" / "fixtures" / "truth.fits", hdu="SOURCES")
    transient = truth[truth["KIND"] == "transient"][0]
    columns = {
        "RA": [transient["RA"] + 0.5 / 3600, transient["RA"] + 0.01],
        "DEC": [transient["DEC"], transient["DEC"]],
        "SNR": [40.0, 55.0],
        "FLUXNJY": [5.1e4, -2e4],
        "ERRNJY": [1e3, 900.0],
    }
    Table(columns, meta={"EXTNAME": "SOURCES"}).write(tmp_path / "sources.fits")
    program = [sys.executable, ROOT / "examples" / "summary.py", tmp_path / "sources.fits"]

    done = subprocess.run(
        [*program, ROOT / "data" / "fixtures" / "truth.fits"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "50.00 uJy, is found" in done.stdout
    assert done.stdout.splitlines()[-1].split()[2:4] == ["S/N", "40.0"]
    assert len(subprocess.check_output(program, text=True).splitlines()) == 3


def test_summary_shows_counts_where_no_flux_is_known(tmp_path):
    from astropy.table import Table

    columns = {"RA": [1.0], "DEC": [-2.0], "SNR": [7.0], "FLUX": [512.0], "FLUXERR": [70.0]}
    Table(columns, meta={"EXTNAME": "SOURCES"}).write(tmp_path / "sources.fits")

    program = [sys.executable, ROOT / "examples" / "summary.py", tmp_path / "sources.fits"]
    assert "512 +- 70 counts" in subprocess.check_output(program, text=True)


@pytest.mark.slow
def test_a_variable_star_is_found_in_real_frames(shared, tmp_path):
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    command = [
        *("make", "-f", ROOT / "examples" / "variable.mk", f"DATA={shared / 'data'}"),
        *(f"REDUCED={tmp_path}", f"SKYTOOL={sys.executable} -m skytool"),
    ]
    env["PYTHONPATH"] = str(ROOT)
    subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=True)

    from astropy.table import Table

    sources = Table.read(tmp_path / "sources.fits", hdu="SOURCES")
    brightest = sources[sources["SNR"].argmax()]
    assert abs(brightest["X"] - 266) < 2
    assert abs(brightest["Y"] - 218) < 2
    assert (tmp_path / "difference.png").is_file()


@pytest.mark.slow
def test_the_program_makes_what_is_lost_again_to_the_byte(tmp_path):
    def made(*arguments):
        command = [
            *("make", "-f", ROOT / "examples" / "reduce.mk", "VISITS=101 102 103", "DETECTORS=1"),
            *(f"NIGHT={ROOT / 'data/fixtures/night'}", "REDUCED=out", "SCIENCE=none"),
            *(f"TARGET={ROOT / 'data/fixtures/target.hdr'}", "out/coadd.fits", *arguments),
            f"SKYTOOL={sys.executable} -m skytool",
        ]
        env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        env["PYTHONPATH"] = str(ROOT)
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return re.findall(r"-m skytool ([\w-]+)", done.stdout)

    made("-j", "2")
    products = sorted((tmp_path / "out").rglob("*.fits"))
    before = {path: path.read_bytes() for path in products}
    assert made() == []
    (tmp_path / "out" / "warps" / "v101.fits").unlink()

    assert made("-j", "2") == ["warp", "match-bg", "coadd"]
    assert {path: path.read_bytes() for path in products} == before
