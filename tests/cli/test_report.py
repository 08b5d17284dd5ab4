import gzip
import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

from skytool.cli.options import RunOptions
from skytool.cli.report import SCHEMA, Reporter
from skytool.errors import IncompatibleError, NothingToDoError
from tests.cli.toy import ROOT, run, start


def lines_of(text):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def test_rows_are_the_path_and_the_columns(capsys):
    with Reporter("toy", ["rms", "count", "ok", "none"], run=RunOptions()) as report:
        report.row("a.fits", {"rms": 1 / 3, "count": np.int64(7), "ok": True, "more": "x"})

    assert capsys.readouterr().out == "a.fits\t0.333333\t7\t1\tnan\n"


def test_the_header_line_comes_with_v_only(folder):
    assert run("count", "a.fits", "-o", "x").stdout == "x\t1\tnan\n"
    assert run("count", "a.fits", "-o", "y", "-v").stdout == "path\tbytes\tunknown\ny\t1\tnan\n"


def test_json_lines_hold_everything_and_no_nan(capsys):
    metrics = {
        "nan": float("nan"),
        "inf": np.float32("-inf"),
        "array": np.array([[1.0, np.nan]]),
        "nested": {"count": np.int16(3), 4: (1, Path("p"))},
        "none": None,
        "bool": np.bool_(True),
    }
    with Reporter("toy", [], run=RunOptions(json=True)) as report:
        report.row("é.fits", metrics, warnings=["odd"], inputs=["in.fits"])

    assert lines_of(capsys.readouterr().out) == [
        {
            "schema": SCHEMA,
            "stage": "toy",
            "path": "é.fits",
            "status": "done",
            "metrics": {
                "nan": None,
                "inf": None,
                "array": [[1.0, None]],
                "nested": {"count": 3, "4": [1, "p"]},
                "none": None,
                "bool": True,
            },
            "inputs": ["in.fits"],
            "warnings": ["odd"],
        }
    ]


def test_a_failure_has_a_line_with_its_facts(capsys):
    error = IncompatibleError("a does not fit.", hint="Take b.", ratio=float("nan"), name="a")
    options = RunOptions(json=True, keep_going=True)
    with pytest.raises(click.exceptions.Exit) as left, Reporter("toy", [], run=options) as report:
        report.failure("a.fits", error)

    assert left.value.exit_code == 4
    (line,) = lines_of(capsys.readouterr().out)
    assert line["status"] == "failed"
    assert line["exit_code"] == 4
    assert line["error"] == "a does not fit. Take b."
    assert line["facts"] == {"ratio": None, "name": "a"}


@pytest.mark.parametrize("extra", [[], ["--json"], ["-v"]])
def test_the_report_file_has_the_json_lines_whatever_is_on_stdout(folder, extra):
    result = run("count", "a.fits", "warn.fits", "-d", "out", "--report", "r.json", *extra)

    assert result.exit_code == 0
    lines = lines_of(Path("r.json").read_text())
    assert [line["path"] for line in lines] == ["out/a.fits", "out/warn.fits"]
    assert lines[1]["warnings"] == ["warn.fits is odd"]
    if extra == ["--json"]:
        assert result.stdout == Path("r.json").read_text()


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_warning_is_in_the_line_that_follows_it(folder, jobs):
    for name in ("early.fits", "warn-bad.fits"):
        Path(name).write_text("x")
    args = ["a.fits", "early.fits", "warn-bad.fits", "warn.fits", "foreign.fits"]
    process = start("count", *args, "-d", "out", "--json", "-k", "-qq", "-j", jobs, folder=folder)
    stdout, _ = process.communicate(timeout=60)

    assert {line["path"]: line["warnings"] for line in lines_of(stdout)} == {
        "out/a.fits": ["early.fits looks odd"],  # before any of the work
        "out/early.fits": [],
        "warn-bad.fits": ["warn-bad.fits is odd"],
        "out/warn.fits": ["warn.fits is odd"],
        "out/foreign.fits": ["numbers are odd"],
    }


def test_one_run_does_not_report_the_warnings_of_the_last(folder):
    Path("early-bad.fits").write_text("x")
    run("count", "early-bad.fits", "missing.fits", "-d", "x")

    (line,) = lines_of(run("count", "a.fits", "-o", "y", "--json").stdout)
    assert line["warnings"] == []


def test_a_report_is_compressed_if_its_name_says_so(folder):
    args = ("count", "a.fits", "-o", "x", "--overwrite")
    run(*args, "--report", "r.jsonl")
    run(*args, "--report", "r.jsonl.gz")

    assert gzip.decompress(Path("r.jsonl.gz").read_bytes()) == Path("r.jsonl").read_bytes()


def test_the_report_file_is_written_though_the_run_fails(folder):
    for extra in ([], ["-k"]):
        run("count", "a.fits", "bad.fits", "-d", "out", "--report", "r", "--overwrite", *extra)

        lines = lines_of(Path("r").read_text())
        assert [line["status"] for line in lines] == ["done", "failed"]


def test_the_report_file_obeys_the_rules_of_outputs(folder):
    Path("r").write_text("mine")
    refused = run("count", "a.fits", "-o", "x", "--report", "r")

    assert refused.exit_code == 3
    assert "r exists" in refused.stderr
    assert Path("r").read_text() == "mine"
    assert not Path("x").exists(), "refused before anything is made"
    assert run("count", "a.fits", "-o", "x", "--report", "r", "--overwrite").exit_code == 0
    assert run("count", "a.fits", "-o", "y", "--report", "y").exit_code == 3
    assert run("count", "a.fits", "-o", "y", "--report", "-").exit_code == 2
    assert run("count", "a.fits", "-o", "y", "--report", "a.fits", "--overwrite").exit_code == 3


def test_keep_going_makes_the_rest_and_lists_the_failures_at_the_end(folder):
    args = ["a.fits", "few.fits", "bad.fits", "b.fits", "-d", "out"]
    result = run("count", *args, "-k")

    assert sorted(path.name for path in Path("out").iterdir()) == ["a.fits", "b.fits"]
    assert result.exit_code == 5, "that of the first failure"
    assert result.stderr.splitlines()[-3:] == [
        "skytool: error: 2 of 4 failed:",
        "skytool: error: few.fits has too few stars.",
        "skytool: error: bad.fits does not fit. Take another.",
    ]


def test_without_keep_going_the_first_failure_ends_the_run(folder):
    result = run("count", "a.fits", "few.fits", "bad.fits", "b.fits", "-d", "out")

    assert result.exit_code == 5
    assert [path.name for path in Path("out").iterdir()] == ["a.fits"]
    assert result.stderr.splitlines()[-1] == "skytool: error: few.fits has too few stars."
    assert result.stderr.count("too few stars") == 1


@pytest.mark.parametrize(
    ("names", "status", "allowed"),
    [
        (["empty", "bad"], 4, 4),
        (["bad", "few"], 4, 4),
        (["empty", "empty2"], 6, 0),
        (["a", "empty"], 6, 0),
        (["disk", "bad"], 3, 3),
        (["memory", "bad"], 5, 5),
        (["bug", "bad"], 1, 1),
    ],
)
def test_the_status_is_that_of_the_first_failure_but_6_only_if_all_are(
    folder, names, status, allowed
):
    args = ["count", *(f"{name}.fits" for name in names), "-d", "out", "-k", "--overwrite"]

    assert run(*args).exit_code == status
    assert run(*args, "--allow-empty").exit_code == allowed


def test_a_strict_run_that_keeps_going_fails_with_5(folder):
    assert run("count", "warn.fits", "bad.fits", "-d", "out", "-k", "--strict").exit_code == 5


def test_a_bug_that_does_not_end_the_run_shows_its_traceback(folder):
    result = run("count", "bug.fits", "a.fits", "-d", "out", "-k")

    assert 'raise ValueError("shapes differ")' in result.stderr
    assert Path("out/a.fits").exists()


def test_the_order_of_failures_is_that_of_the_inputs():
    report = Reporter("toy", [], run=RunOptions(keep_going=True))
    report.failure("b", NothingToDoError("b."), index=1)
    report.failure("c", IncompatibleError("c."), index=2)
    report.failure("a", NothingToDoError("a."), index=0)
    with pytest.raises(click.exceptions.Exit) as left:
        report.finish()

    assert left.value.exit_code == 4


def test_off_a_terminal_every_unit_has_a_line_and_nothing_moves(folder):
    result = run("count", "a.fits", "b.fits", "-d", "out", "--progress")

    assert result.stderr == "INFO skytool: 1 of 2: a.fits\nINFO skytool: 2 of 2: b.fits\n"


def at_terminal(folder, *args, **env):
    """Run the toy with stderr on a terminal, and return what it shows."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cli.toy", *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "NO_COLOR": "1", **env},
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        stdin=subprocess.DEVNULL,
    ) as process:
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], 20)[0]:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        assert process.wait(20) == 0
    os.close(ours)
    return shown.decode()


def test_at_a_terminal_there_is_a_bar(folder):
    shown = at_terminal(folder, "count", "a.fits", "b.fits", "-d", "out")

    assert "2/2" in shown
    assert "INFO" not in shown


def test_a_log_line_clears_the_bar_first(folder):
    shown = at_terminal(folder, "count", "a.fits", "warn.fits", "-d", "out", NO_COLOR="")

    assert "\r\x1b[K\x1b[33m\x1b[1mWARNING\x1b[0m skytool: warn.fits is odd\r\n" in shown


@pytest.mark.parametrize(
    "args", [["a.fits", "b.fits", "--no-progress"], ["a.fits", "b.fits", "-q"], ["a.fits"]]
)
def test_there_is_no_bar_if_unwanted_or_pointless(folder, args):
    assert "\r\x1b" not in at_terminal(folder, "count", *args, "-d", "out")
    assert "[#" not in at_terminal(folder, "count", *args, "-d", "out", "--overwrite")
