"""Rules that hold for the whole repository."""

import ast
import os
import re
import subprocess
from pathlib import Path

import pytest

import skytool
from tests.minimum import oldest_versions

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "skytool").rglob("*.py"))
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 60


def tracked_texts():
    """Return every text file of the repository but this one, with its content."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:  # an unpacked archive
        kinds = (".py", ".md", ".toml", ".hdr")
        paths = [path for path in ROOT.rglob("*") if path.suffix in kinds]
    texts = {}
    for path in paths:
        if path == Path(__file__) or not path.is_file():
            continue
        content = path.read_bytes()
        if b"\0" not in content:
            texts[str(path.relative_to(ROOT))] = content.decode()
    return texts


def hits(pattern, texts):
    return [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(r"(?<![\w.~*/])/(home|root|work|Users)/", id="paths of one machine"),
        pytest.param(r"pypi\.|pythonhosted|anaconda\.org|debian\.org|npmjs", id="registries"),
        pytest.param(r"\bissue \d|specs?/\w+\.md|design\.md|cli-conventions", id="other papers"),
        pytest.param(r"\b(TODO|FIXME|HACK)\b|\bXXX\b:", id="unfinished work"),
        pytest.param(r"[ \t]+$", id="blanks at the end of lines"),
    ],
)
def test_no_text_contains(pattern):
    texts = {name: text for name, text in tracked_texts().items() if not name.endswith(".hdr")}

    assert texts
    assert hits(pattern, texts) == []


def test_warnings_are_given_and_never_only_logged():
    # so that --strict and reports learn of them
    texts = {
        str(path.relative_to(ROOT)): path.read_text() for path in MODULES if path.name != "logs.py"
    }

    assert hits(r"log(ger)?\.warn|getLogger\(.*\)\.warn", texts) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_and_its_functions_are_short(path):
    text = path.read_text()
    long = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""
            size = node.end_lineno - node.lineno + 1 - (docstring.count("\n") + bool(docstring))
            if size > MOST_LINES_OF_A_FUNCTION:
                long.append(f"{node.name}: {size} lines")

    assert text.count("\n") <= MOST_LINES
    assert long == []


def test_version_has_three_numbers_and_heads_the_changelog():
    changelog = (ROOT / "CHANGELOG.md").read_text()

    assert re.fullmatch(r"\d+\.\d+\.\d+", skytool.__version__)
    assert re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0] == skytool.__version__


def test_package_says_that_it_is_typed():
    assert (Path(skytool.__file__).parent / "py.typed").is_file()


def test_every_requirement_has_a_lower_bound():
    bounds = oldest_versions((ROOT / "pyproject.toml").read_text())

    assert {"numpy", "astropy", "click"} <= {bound.split("==")[0] for bound in bounds}
    with pytest.raises(ValueError, match="no lower bound: numpy"):
        oldest_versions('[project]\ndependencies = ["numpy"]')


def test_make_alone_names_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    command = ["make", "--no-print-directory"]  # which a make around this one may have switched on
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert {line.split()[0] for line in shown.splitlines()} == set(targets)


def test_script_of_continuous_integration_is_valid_and_executable():
    script = ROOT / ".ci" / "run"

    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
