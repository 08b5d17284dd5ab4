import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from skytool import __version__
from skytool.cli import main
from tests.cli.toy import COMMANDS, ROOT, run, start, wait_for


def python(*args, **kwargs):
    return subprocess.run(
        [sys.executable, *args],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
        cwd=ROOT,
        **kwargs,
    )


def errors_of(result):
    return [line for line in result.stderr.splitlines() if line.startswith("skytool: error:")]


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_the_commands_and_imports_none(option):
    result = run(option)

    assert result.exit_code == 0
    for name, (_, text) in COMMANDS.items():
        assert name in result.stdout
        assert text in result.stdout


def test_help_imports_no_numerical_library():
    code = (
        "import sys; from skytool.cli.main import main; sys.argv = ['skytool', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'numpy', 'astropy', 'scipy', 'numba', 'distributed'} & set(sys.modules)))"
    )

    assert python("-c", code).stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_help_takes_a_fifth_of_a_second():
    def seconds():
        before = os.times()
        assert python("-m", "skytool", "--help").returncode == 0
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])

    assert min(seconds() for _ in range(5)) < 0.2


def test_python_m_is_the_same_program():
    assert python("-m", "skytool", "--help").stdout.startswith("Usage: skytool [OPTIONS] COMMAND")


def test_shells_get_their_completion():
    env = {**os.environ, "_SKYTOOL_COMPLETE": "bash_source"}
    assert "_skytool_completion" in python("-m", "skytool", env=env).stdout

    env = {
        **os.environ,
        "_SKYTOOL_COMPLETE": "bash_complete",
        "COMP_WORDS": "toy co",
        "COMP_CWORD": "1",
    }
    done = python("-c", "from tests.cli.toy import program; program(prog_name='skytool')", env=env)
    assert done.stdout == "plain,count\n"
    env["COMP_WORDS"], env["COMP_CWORD"] = "toy count --bin", "2"
    done = python("-c", "from tests.cli.toy import program; program(prog_name='skytool')", env=env)
    assert done.stdout == "plain,--bin-size\n"


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_listed_command_exists_and_has_its_name(name):
    module, _, attribute = main.COMMANDS[name][0].partition(":")

    assert getattr(importlib.import_module(module), attribute).name == name


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_is_printed(option):
    assert run(option).stdout == f"skytool, version {__version__}\n"


@pytest.mark.parametrize("args", [("-v", "-V"), ("-V", "-v")])
def test_version_with_v_names_the_libraries_in_any_order(args):
    lines = run(*args).stdout.splitlines()

    assert lines[0] == f"skytool, version {__version__}"
    assert {"python", "numpy", "scipy", "astropy", "reproject", "photutils"} <= {
        line.split()[0] for line in lines[1:]
    }


def test_an_unknown_command_is_a_usage_error_with_a_suggestion():
    result = run("cuont")

    assert result.exit_code == 2
    assert errors_of(result) == [
        "skytool: error: no command 'cuont'. Did you mean 'count'? See 'skytool --help'."
    ]


def test_an_unknown_option_is_a_usage_error_in_one_line(folder):
    result = run("count", "a.fits", "--bin-sise", 3)

    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "--bin-size" in result.stderr
    assert "See 'skytool count --help'" in result.stderr


def test_options_may_not_be_abbreviated(folder):
    assert run("count", "a.fits", "-o", "x", "--bin", 3).exit_code == 2


def test_a_command_of_a_group_runs(folder):
    assert "build" in run("sky", "-h").stdout
    result = run("sky", "build", "a.fits", "-o", "x")

    assert result.exit_code == 0
    assert result.stdout == "x\t1\tnan\n"


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("bad", 4, "bad.fits does not fit. Take another."),
        ("empty", 6, "empty.fits does not overlap."),
        ("few", 5, "few.fits has too few stars."),
        ("disk", 3, "disk.fits: No space left on device."),
        ("memory", 5, "not enough memory (Unable to allocate 3 GiB)."),
    ],
)
def test_a_failure_is_one_line_and_its_status(folder, name, status, words):
    result = run("count", f"{name}.fits", "-o", "x")

    assert result.exit_code == status
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"skytool: error: {words}")
    assert result.stdout == ""
    assert not Path("x").exists()


def test_a_bug_shows_its_traceback_the_version_and_the_command(folder):
    result = run("count", "bug.fits", "-o", "x")

    assert result.exit_code == 1
    assert f"a bug in skytool {__version__}" in result.stderr
    assert 'raise ValueError("shapes differ")' in result.stderr
    assert result.stderr.splitlines()[-1] == "ValueError: shapes differ"


def test_a_traceback_of_a_failure_is_shown_on_request_only(folder):
    assert "Traceback" not in run("count", "bad.fits", "-o", "x", "-v").stderr
    for args in (["-vv", "count"], ["-v", "count", "-v"], ["count", "-v", "-v"]):
        result = run(*args, "bad.fits", "-o", "x")
        assert result.exit_code == 4
        assert "Traceback" in result.stderr


def test_verbosity_counts_before_and_after_the_command(folder):
    loud = "DEBUG skytool.toy: looking at a.fits\n"

    assert run("count", "a.fits", "-o", "1").stderr == ""
    assert run("-v", "count", "a.fits", "-o", "2").stderr == loud
    assert run("count", "a.fits", "-o", "3", "-v").stderr == loud
    assert run("-q", "count", "a.fits", "-o", "4", "-v").stderr == ""
    assert run("count", "a.fits", "-o", "5").stderr == "", "a run must not change the next"


def test_quiet_leaves_warnings_and_very_quiet_errors_only(folder):
    assert run("-q", "count", "warn.fits", "b.fits", "-d", "1").stderr.splitlines() == [
        "WARNING skytool: warn.fits is odd"
    ]
    assert run("-qq", "count", "warn.fits", "b.fits", "-d", "2").stderr == ""
    assert "does not fit" in run("-qqqq", "count", "bad.fits", "-o", "3").stderr


def test_a_python_warning_is_one_log_line_once(folder):
    _, stderr = start("count", "foreign.fits", "-o", "x", folder=folder).communicate(timeout=30)

    assert stderr == "WARNING RuntimeWarning: numbers are odd\n"


def test_strict_makes_warnings_errors(folder):
    result = run("count", "warn.fits", "-o", "x", "--strict")

    assert result.exit_code == 5
    assert errors_of(result) == ["skytool: error: warn.fits is odd (--strict)"]
    assert not Path("x").exists()
    assert run("count", "warn.fits", "-o", "x").exit_code == 0


@pytest.mark.parametrize(
    ("name", "text"), [("foreign.fits", "numbers are odd"), ("early.fits", "early.fits looks odd")]
)
@pytest.mark.parametrize("jobs", [1, 2])
def test_strict_holds_for_every_warning_that_would_be_shown(folder, name, text, jobs):
    Path(name).write_text("x")
    process = start("count", name, "b.fits", "-d", "x", "--strict", "-j", jobs, folder=folder)
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 5
    assert stderr.splitlines()[-1] == f"skytool: error: {text} (--strict)"
    assert not Path("x", name).exists()


def test_strict_holds_for_what_was_warned_of_before_it_was_known(folder, monkeypatch):
    monkeypatch.setenv("SKYTOOL_COUNT_BINSIZE", "3")
    result = run("count", "a.fits", "-o", "x", "--strict")

    assert result.exit_code == 5
    assert "SKYTOOL_COUNT_BINSIZE of the environment names no option" in errors_of(result)[0]
    assert not Path("x").exists()


def test_a_log_file_gets_everything_with_times(folder):
    args = ["count", "warn.fits", "bad.fits", "-d", "out", "--log-file", "log"]
    result = run(*args, "-q")

    text = Path("log").read_text()
    assert "DEBUG" not in result.stderr
    assert "DEBUG skytool.toy: looking at warn.fits" in text
    assert "WARNING skytool: warn.fits is odd" in text
    assert "ERROR skytool: bad.fits does not fit." in text
    assert text[:2] == "20"
    run(*args, "--overwrite")
    assert Path("log").read_text().startswith(text), "it is appended to"


def test_a_log_is_not_appended_to_an_image(folder):
    image = b"SIMPLE  =                    T".ljust(2880)
    Path("image.fits").write_bytes(image)
    result = run("count", "a.fits", "-o", "x", "--log-file", "image.fits")

    assert result.exit_code == 3
    assert "image.fits is a FITS file, and no log." in result.stderr
    assert Path("image.fits").read_bytes() == image
    assert not Path("x").exists()


def test_a_log_file_that_cannot_be_written_is_status_3(folder):
    result = run("count", "a.fits", "-o", "x", "--log-file", "no/log")

    assert result.exit_code == 3
    assert "no/log" in result.stderr


def test_colour_is_for_terminals_and_for_two_words_only(folder, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = run("count", "warn.fits", "bad.fits", "-d", "1", color=True).stderr
    plain = run("count", "warn.fits", "bad.fits", "-d", "2").stderr
    monkeypatch.setenv("NO_COLOR", "1")
    asked = run("count", "warn.fits", "bad.fits", "-d", "3", color=True).stderr

    assert "\x1b[33m\x1b[1mWARNING\x1b[0m skytool: warn.fits" in coloured
    assert "skytool: \x1b[31m\x1b[1merror\x1b[0m: bad.fits" in coloured
    assert "\x1b" not in plain
    assert "\x1b" not in asked


def test_a_pipe_nobody_reads_is_no_complaint(folder):
    (folder / "pipe.fits").write_text("x")
    result = run("count", "pipe.fits", "-o", "x")

    assert result.exit_code == 141
    assert result.stderr == ""


def test_head_may_close_the_pipe(folder):
    names = []
    for number in range(300):
        (folder / f"n{number}.fits").touch()
        names.append(f"n{number}.fits")
    process = start("count", "-q", *names, "-d", "out", "--json", folder=folder)
    with process:
        process.stdout.readline()
        process.stdout.close()

        assert process.wait(30) == 141
        assert process.stderr.read() == ""


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals_end_the_run_and_leave_no_part_file(folder, jobs, number, status):
    for name in ("sleep1.fits", "sleep2.fits"):
        (folder / name).touch()
    (folder / "out").mkdir()
    process = start("count", "sleep1.fits", "sleep2.fits", "-d", "out", "-j", jobs, folder=folder)
    wait_for(lambda: len(list((folder / "out").iterdir())) == jobs)
    before = time.monotonic()
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)

    assert process.returncode == status
    assert time.monotonic() - before < 15, "the workers do not end by themselves"
    assert list((folder / "out").iterdir()) == []
    assert "Traceback" not in stderr


def test_control_c_at_a_terminal_reaches_the_workers_too(folder):
    for name in ("sleep1.fits", "sleep2.fits"):
        (folder / name).touch()
    (folder / "out").mkdir()
    process = start("count", "sleep1.fits", "sleep2.fits", "-d", "out", "-j2", folder=folder)
    wait_for(lambda: len(list((folder / "out").iterdir())) == 2)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)

    assert process.returncode == 130
    assert stderr == "skytool: error: interrupted.\n"
    assert list((folder / "out").iterdir()) == []


def test_workers_end_when_their_parent_is_killed(folder):
    for name in ("sleep1.fits", "sleep2.fits"):
        (folder / name).touch()
    (folder / "out").mkdir()
    process = start("count", "sleep1.fits", "sleep2.fits", "-d", "out", "-j2", folder=folder)
    wait_for(lambda: len(list((folder / "out").iterdir())) == 2)
    process.kill()
    process.communicate(timeout=30)

    wait_for(lambda: not list((folder / "out").iterdir()))


def test_a_real_process_never_lets_astropy_open_the_network_or_print():
    code = (
        "from skytool.environment import settle_environment; settle_environment()\n"
        "from astropy import log\nfrom astropy.logger import conf as c\n"
        "from astropy.utils.data import conf as d\nfrom astropy.utils.iers import conf as i\n"
        "print(d.allow_internet, i.auto_download, c.log_warnings, log.level)"
    )

    assert python("-W", "error", "-c", code).stdout.split() == ["False", "False", "False", "30"]


def test_stdout_holds_rows_only(folder):
    result = run("-vv", "count", "a.fits", "warn.fits", "-d", "out", "--json")

    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["path"] for line in lines] == ["out/a.fits", "out/warn.fits"]
