"""Manuals made from the help texts: a Markdown page and a man page for every command.

``python -m skytool.cli.manual --markdown docs/commands --man build/man``
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skytool import __version__
from skytool.cli.main import cli

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PROGRAM = "skytool"
SHARED_PAGE = "README.md"
_SHARED_BY = 4  # commands from which an option is explained in one place

_MADE = "<!-- Made from the help of the command by `make docs`: change the help, not this page. -->"
_STATUSES = (
    ("0", "every output asked for is there"),
    ("1", "a fault of the program: please report it, with the traceback"),
    ("2", "a mistake on the command line or in a settings file"),
    ("3", "a file that is missing, damaged, of no known layout, or in the way"),
    ("4", "inputs that do not fit together, or lack what the command needs"),
    ("5", "the method fails on these data"),
    ("6", "there is nothing to do"),
    ("130, 143", "stopped by an interrupt or a termination signal"),
)

Option = tuple[str, str]
"""Names with their value, and help."""


@dataclass(frozen=True)
class Page:
    """What the help of a command says.

    Parameters
    ----------
    words : tuple of str
        The words that call it, without the program.
    usage : str
        Its line of arguments.
    blocks : tuple of str
        Paragraphs, unwrapped; those with examples have a line for each.
    options : tuple of (str, str)
        Names with their value, and help.
    commands : tuple of (str, str)
        Of a group, its commands and what they do.
    """

    words: tuple[str, ...]
    usage: str
    blocks: tuple[str, ...]
    options: tuple[Option, ...]
    commands: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """Name of its pages, without suffix."""
        return "-".join((PROGRAM, *self.words))


def pages() -> list[Page]:
    """Return the pages of the program and all its commands, groups before their commands."""
    return list(_pages(cli, (), None))


def markdown_pages() -> dict[str, str]:
    """Return the text of every Markdown page, by file name."""
    found = pages()
    shared = _shared_options(found)
    texts = {f"{page.name}.md": _markdown(page, shared) for page in found if page.words}
    return {SHARED_PAGE: _index(found, shared), **texts}


def man_pages() -> dict[str, str]:
    """Return the text of every man page, by file name."""
    found = pages()
    return {f"{page.name}.1": _roff(page, found) for page in found}


def _pages(
    command: click.Command, words: tuple[str, ...], parent: click.Context | None
) -> Iterable[Page]:
    name = words[-1] if words else PROGRAM
    context = click.Context(command, info_name=name, parent=parent, **cli.context_settings)
    usage = " ".join(command.collect_usage_pieces(context))
    # without the option for help, which a command makes by the names of the first context it meets
    records = [param.get_help_record(context) for param in command.params]
    records.append((", ".join(context.help_option_names), "Show this message and exit."))
    below = []
    if isinstance(command, click.Group):
        below = [
            (each, command.get_command(context, each)) for each in command.list_commands(context)
        ]
    yield Page(
        words=words,
        usage=usage,
        blocks=tuple(_blocks(command.help or "")),
        options=tuple((each[0], _unwrapped(each[1])) for each in records if each and each[1]),
        commands=tuple((each, sub.get_short_help_str(200)) for each, sub in below if sub),
    )
    for each, sub in below:
        if sub is not None:
            yield from _pages(sub, (*words, each), context)


def _blocks(text: str) -> list[str]:
    r"""Return the paragraphs of a help text; those behind ``\b`` keep their lines."""
    parts = re.split(r"\n\s*\n", inspect.cleandoc(text).strip())
    return [
        "\n".join(part.splitlines()[1:]) if part.startswith("\b") else _unwrapped(part)
        for part in parts
    ]


def _unwrapped(text: str) -> str:
    return " ".join(text.split())


def _shared_options(found: Sequence[Page]) -> dict[Option, None]:
    """Return the options that many commands explain in the same words, in their order."""
    times = Counter(option for page in found for option in page.options)
    return {option: None for option, count in times.items() if count >= _SHARED_BY}


def _markdown(page: Page, shared: dict[Option, None]) -> str:
    command = " ".join((PROGRAM, *page.words))
    lines = [_MADE, "", f"# {command}", "", "```text", f"{command} {page.usage}", "```", ""]
    for block in page.blocks:
        lines += [*_markdown_block(block), ""]
    if page.commands:
        lines += ["| command | what it does |", "|---|---|"]
        lines += [
            f"| [`{command} {name}`]({page.name}-{name}.md) | {_cell(text)} |"
            for name, text in page.commands
        ]
        lines.append("")
    own = [option for option in page.options if option not in shared]
    if own:
        lines += ["## Options", "", *_table(own), ""]
    common = [option for option in page.options if option in shared]
    if common:
        names = ", ".join(f"`{names.split()[0].rstrip(',')}`" for names, _ in common)
        lines += [f"Further, as [many commands]({SHARED_PAGE}) have them: {names}.", ""]
    if own or common:
        lines += [f"[How it works](../methods.md#{page.words[0]})", ""]
    return "\n".join(lines)


def _index(found: Sequence[Page], shared: dict[Option, None]) -> str:
    lines = [_MADE, "", "# Commands", "", "| command | what it does |", "|---|---|"]
    lines += [
        f"| [`{' '.join((PROGRAM, *page.words))}`]({page.name}.md) | {_cell(_summary(page))} |"
        for page in found
        if page.words
    ]
    lines += ["", "## Options that many commands have", "", *_table(shared), ""]
    lines += ["## Exit status", "", "| status | meaning |", "|---|---|"]
    lines += [f"| {number} | {meaning} |" for number, meaning in _STATUSES]
    return "\n".join([*lines, ""])


def _summary(page: Page) -> str:
    return page.blocks[0] if page.blocks else ""


def _table(options: Iterable[Option]) -> list[str]:
    rows = [f"| `{names.replace('|', chr(92) + '|')}` | {_cell(text)} |" for names, text in options]
    return ["| option | meaning |", "|---|---|", *rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _markdown_block(block: str) -> list[str]:
    """Return a paragraph; lines of examples become a block of code."""
    first, *rest = block.splitlines()
    if not rest:
        return [block]
    body = inspect.cleandoc("\n".join(["", *rest])).splitlines()
    return [first, "", "```text", *body, "```"]


def _roff(page: Page, found: Sequence[Page]) -> str:
    name = page.name
    command = " ".join((PROGRAM, *page.words))
    lines = [
        f'.TH "{name.upper()}" 1 "" "{PROGRAM} {__version__}" "User Commands"',
        ".SH NAME",
        _escaped(f"{name} - {_summary(page).rstrip('.')}"),
        ".SH SYNOPSIS",
        f".B {_escaped(command)}",
        _escaped(page.usage),
        ".SH DESCRIPTION",
    ]
    for block in page.blocks:
        first, *rest = block.splitlines()
        lines += [".PP", _escaped(first)]
        if rest:
            lines += [".nf", *(_escaped(line) for line in rest), ".fi"]
    for title, entries in (("COMMANDS", page.commands), ("OPTIONS", page.options)):
        if entries:
            lines.append(f".SH {title}")
        for names, text in entries:
            lines += [".TP", f".B {_escaped(names)}", _escaped(text)]
    lines.append(".SH EXIT STATUS")
    for number, meaning in _STATUSES:
        lines += [".TP", f".B {number}", _escaped(meaning)]
    others = [f"{other.name}(1)" for other in _related(page, found)]
    if others:
        lines += [".SH SEE ALSO", _escaped(", ".join(others))]
    return "\n".join([*lines, ""])


def _related(page: Page, found: Sequence[Page]) -> list[Page]:
    """Return the pages one step above and below."""
    return [
        other
        for other in found
        if other.words[:-1] == page.words != other.words
        or (page.words and other.words == page.words[:-1])
    ]


def _escaped(text: str) -> str:
    """Return text in which roff sees no commands."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


@click.command()
@click.option("--markdown", type=click.Path(path_type=Path), help="Folder of the Markdown pages.")
@click.option("--man", type=click.Path(path_type=Path), help="Folder of the man pages.")
def main(markdown: Path | None, man: Path | None) -> None:
    """Write the manuals; pages of commands that are gone are removed."""
    for folder, texts in ((markdown, markdown_pages()), (man, man_pages())):
        if folder is None:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        for old in set(folder.glob("*.md" if folder == markdown else "*.1")):
            if old.name not in texts:
                old.unlink()
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
