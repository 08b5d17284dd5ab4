import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.toy import run


def made(folder="out"):
    return sorted(path.name for path in Path(folder).iterdir()) if Path(folder).exists() else []


@pytest.mark.parametrize("jobs", [1, 2, 0])
def test_results_do_not_depend_on_the_number_of_workers(folder, jobs):
    args = ["count", "warn.fits", "a.fits", "b.fits"]
    single = run(*args, "-d", "one", "-vv")
    result = run(*args, "-d", "out", "-vv", "-j", jobs)

    assert result.exit_code == 0
    assert result.stdout == single.stdout.replace("one/", "out/")
    for name in made("one"):
        assert Path("out", name).read_bytes() == Path("one", name).read_bytes()
    talk = [line for line in result.stderr.splitlines() if "INFO" not in line]
    assert talk == [line for line in single.stderr.splitlines() if "INFO" not in line]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(("name", "status"), [("bad", 4), ("bug", 1), ("memory", 5), ("disk", 3)])
def test_failures_in_workers_have_the_same_status_and_message(folder, jobs, name, status):
    result = run("count", "a.fits", f"{name}.fits", "-d", "out", "-j", jobs, "-q")

    assert result.exit_code == status
    assert made() == ["a.fits"]
    if name == "bug":
        assert 'raise ValueError("shapes differ")' in result.stderr
    else:
        assert len(result.stderr.splitlines()) == 1


def test_a_dry_run_says_what_would_be_made_and_writes_nothing(folder):
    args = ["count", "a.fits", "bug.fits", "-d", "out", "--table", "b.fits", "-n"]
    rows = run(*args, "--report", "r", "--depfile", "d")
    lines = [json.loads(line) for line in run(*args, "--json").stdout.splitlines()]

    assert rows.exit_code == 0
    assert rows.stdout == "out/a.fits\ta.fits\tb.fits\nout/bug.fits\tbug.fits\tb.fits\n"
    assert [(line["path"], line["status"], line["inputs"]) for line in lines] == [
        ("out/a.fits", "planned", ["a.fits", "b.fits"]),
        ("out/bug.fits", "planned", ["bug.fits", "b.fits"]),
    ]
    assert not any(Path(name).exists() for name in ("out", "r", "d"))


@pytest.mark.parametrize("extra", [["-n"], [], ["--reuse=exists"]])
def test_what_is_known_to_fail_fails_in_its_place(folder, extra):
    Path("odd-header.fits").write_text("odd")
    args = ["count", "empty.fits", "odd-header.fits", "a.fits", "-d", "out", *extra]
    first = run(*args)
    rest = run(*args, "-k", "--depfile", "d")

    assert (first.exit_code, rest.exit_code) == (3 if extra == ["-n"] else 6, 3)
    assert "odd-header.fits has no header." in rest.stderr
    assert "out/a.fits" in rest.stdout
    if extra != ["-n"]:
        assert "\n: " not in Path("d").read_text()
        assert Path("d").read_text().count("out/") == 2


def test_a_dry_run_has_the_status_of_the_run_for_outputs_that_exist(folder):
    Path("x").write_text("old")

    assert run("count", "a.fits", "-o", "x", "-n").exit_code == 3
    assert run("count", "a.fits", "-o", "x", "-n", "--overwrite").exit_code == 0
    assert Path("x").read_text() == "old"


def test_all_outputs_are_checked_before_any_is_made(folder):
    Path("out").mkdir()
    Path("out/b.fits").write_text("old")
    result = run("count", "a.fits", "b.fits", "-d", "out")

    assert result.exit_code == 3
    assert "out/b.fits exists" in result.stderr
    assert made() == ["b.fits"]
    assert Path("out/b.fits").read_text() == "old"


def test_an_output_is_never_an_input(folder):
    Path("link").symlink_to("a.fits")
    for output in ("a.fits", "./a.fits", "link"):
        assert run("count", "a.fits", "-o", output, "--overwrite").exit_code == 3
    assert run("count", "a.fits", "-o", "b.fits", "--table", "b.fits", "--overwrite").exit_code == 3
    assert Path("a.fits").read_text() == "a"


def old(*names):
    for name in names:
        os.utime(name, (1e9, 1e9))


def test_reuse_makes_only_what_is_not_current_and_touches_the_rest(folder):
    args = ["count", "a.fits", "b.fits", "-d", "out", "--json"]
    run(*args)
    Path("out/b.fits").write_text("from other settings")
    old("out/a.fits", "out/b.fits")
    result = run(*args, "--reuse")

    assert result.exit_code == 0, result.stderr
    status = {line["path"]: line["status"] for line in map(json.loads, result.stdout.splitlines())}
    assert status == {"out/a.fits": "reused", "out/b.fits": "done"}
    assert Path("out/b.fits").read_text() == Path("out/a.fits").read_text()
    assert Path("out/a.fits").stat().st_mtime > 1.1e9, "make must find it newer than its inputs"
    assert list(status) == ["out/a.fits", "out/b.fits"]
    Path("out/a.fits").unlink()
    order = [json.loads(line)["path"] for line in run(*args, "--reuse").stdout.splitlines()]
    assert order == ["out/a.fits", "out/b.fits"], "in the order of the inputs"
    changed = run(*args, "--reuse", "--clip", 9)
    assert '"reused"' not in changed.stdout


def test_reuse_of_whatever_exists_looks_at_nothing_else(folder):
    Path("out").mkdir()
    Path("out/a.fits").write_text("mine")
    result = run("count", "a.fits", "b.fits", "-d", "out", "--reuse=exists")

    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "out/a.fits\treused"
    assert Path("out/a.fits").read_text() == "mine"
    assert made() == ["a.fits", "b.fits"]


def test_a_dependency_file_is_a_rule_that_make_understands(folder):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("in $put#1.fits", "table.fits"):
        Path(name).write_text(name)
    Path("my.toml").write_text("[count]\nclip = 2\n")
    Path("list.txt").write_text("in $put#1.fits\n")
    # a comment of a list needs a space before it, so the name above is whole
    args = ["@list.txt", "-o", "out.fits", "--table", "table.fits", "--config", "my.toml"]
    result = run("count", *args, "--config", "lsst", "--depfile", "d.mk")

    assert result.exit_code == 0, result.stderr
    Path("Makefile").write_text("out.fits: ; touch $@\ninclude d.mk\n")

    def remade():
        done = subprocess.run(["make", "-q", "out.fits"], capture_output=True, check=False)
        assert done.returncode in {0, 1}, done.stderr
        return done.returncode == 1

    assert not remade()
    for name in ("in $put#1.fits", "table.fits", "my.toml", "list.txt"):
        now = Path("out.fits").stat().st_mtime
        os.utime(name, (now + 9, now + 9))
        assert remade(), name
        os.utime(name, (now - 9, now - 9))
        assert not remade(), name
    Path("table.fits").unlink()
    assert remade(), "an input that is gone is no error of make"
    assert "presets" not in Path("d.mk").read_text()


def test_standard_output_holds_the_product_or_rows_but_not_both(folder):
    result = run("count", "a.fits", "-o", "-")
    assert result.stdout == "", "the row would end up in the product"
    Path("-").unlink()

    assert run("count", "a.fits", "-o", "-", "-n").stdout == ""
    for extra in (["--json"], ["--depfile", "d"]):
        result = run("count", "a.fits", "-o", "-", *extra)
        assert result.exit_code == 2
        assert "standard output" in result.stderr


def test_a_stream_is_read_by_this_process_and_never_by_a_cluster(folder):
    os.mkfifo("stream.fits")
    result = run("count", "stream.fits", "b.fits", "-d", "out", "-j2", "-n")
    assert result.exit_code == 0

    result = run("count", "stream.fits", "-o", "x", "--scheduler", "tcp://127.0.0.1:1")
    assert result.exit_code == 2
    assert "--scheduler needs files" in result.stderr
