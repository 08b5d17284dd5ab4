"""What the documents say is so: links, targets of make, and every block of code."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from skytool.cli.manual import man_pages, markdown_pages
from tests.test_house import ROOT

COMMANDS = ROOT / "docs" / "commands"
WRITTEN = [
    ROOT / "README.md",
    ROOT / "data" / "fixtures" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name_of(path):
    return str(path.relative_to(ROOT))


def code(document):
    """Return the language and text of the blocks that can run, in order."""
    found = BLOCK.findall(document.read_text())
    return [(language, text) for language, text in found if language in {"sh", "python"}]


def anchors(document):
    """Return the names that links may put behind ``#``."""
    titles = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", [*WRITTEN, *sorted(COMMANDS.glob("*.md"))], ids=name_of)
def test_links_lead_somewhere(document):
    text = document.read_text()
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    files = re.findall(r"`((?:data|examples|tests|skytool|docs)/[\w./]+)`", text)

    for link in links:
        target, _, anchor = link.partition("#")
        file = document.parent / target if target else document
        assert file.exists(), link
        assert not anchor or anchor in anchors(file), link
    assert all((ROOT / file).exists() for file in files), files


@pytest.mark.parametrize(
    "document", [document for document in WRITTEN if code(document)], ids=name_of
)
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_code_in_document_runs(document, tmp_path):
    pytest.importorskip("matplotlib", reason="`skytool show` draws with matplotlib")
    (tmp_path / "data").symlink_to(ROOT / "data")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for language, text in code(document):
        if re.match(r"make|git", text):
            continue  # what `make` does is tested as a whole
        command = {"sh": ["bash", "-eu", "-c"], "python": [sys.executable, "-W", "error", "-c"]}
        result = subprocess.run(
            [*command[language], text],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{text}\n{result.stderr}"
        assert result.stdout.strip() or language == "sh", text


def test_make_targets_in_documents_exist():
    named = [
        target
        for document in WRITTEN
        for target in re.findall(r"(?:^|`)make ([a-z]+)", document.read_text(), re.MULTILINE)
    ]

    assert {"demo", "test"} <= set(named)
    for target in named:
        subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=True)


def test_pages_of_commands_are_those_of_their_help():
    kept = {path.name: path.read_text() for path in COMMANDS.glob("*.md")}

    assert kept == markdown_pages(), "run `make docs`"


def test_options_beside_the_names_of_lsst_exist():
    sections = (ROOT / "docs" / "lsst-options.md").read_text().split("\n## ")[1:]
    pages = markdown_pages()

    assert sections
    for section in sections:
        title = section.splitlines()[0]
        command = re.findall(r"`(skytool [\w -]+)`", title)[0].replace(" ", "-")
        known = "\n".join(text for name, text in pages.items() if name.startswith(command))
        named = set(re.findall(r"`(--[a-z][\w-]*)", section))
        assert named, title
        assert named <= set(re.findall(r"--[a-z][\w-]*", known)), title


def test_man_pages_are_well_formed(tmp_path):
    pages = man_pages()

    assert {"skytool.1", "skytool-warp.1", "skytool-skyframe-build.1"} <= set(pages)
    for text in pages.values():
        assert re.findall(r"^\.SH (\S+)", text, re.MULTILINE)[:3] == [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
        ]
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    for name, text in pages.items():
        (tmp_path / name).write_text(text)
        command = ["groff", "-man", "-ww", "-z", "-K", "utf8", name]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert result.stderr == "", name


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["skytool", "war"], "warp"),
        (["skytool", "skyframe", "bu"], "build"),
        (["skytool", "warp", "--psf-m"], "--psf-matched"),
        (["skytool", "warp", "--kernel", "lanc"], "lanczos3"),
    ],
    ids=["command", "subcommand", "option", "value"],
)
def test_shell_completes(words, expected):
    env = {
        **os.environ,
        "_SKYTOOL_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    program = "from skytool.cli.main import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program, "skytool"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"plain,{expected}" in result.stdout.splitlines(), result.stderr
