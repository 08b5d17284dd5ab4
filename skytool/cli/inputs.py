"""Input files of a command line: ``@list`` files, patterns nobody expanded, files named twice."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skytool.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

_LISTS = "skytool.lists"
_COMMENT = re.compile(r"(^|\s)#.*")


def expanded(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    """Return the inputs with every ``@list`` replaced by its entries, in their order.

    A list has one path a line, relative to the folder of the list; ``#`` starts a comment;
    ``@-`` is standard input. ``./@odd`` is a file whose name begins with ``@``.

    Raises
    ------
    click.BadParameter
        If a list or one of its entries is missing, lists are nested, or a file is named twice.
    InputError
        If a pattern such as ``*.fits`` matches no file.
    """
    if ctx.resilient_parsing:
        return tuple(values)
    found: list[str] = []
    for value in values:
        if value.startswith("@"):
            found += _entries(ctx, param, value[1:])
        else:
            _refuse_pattern(value)
            found.append(value)
    if not found and param.required:
        raise click.BadParameter("the list names no file.", ctx, param)
    _refuse_twice(ctx, param, found)
    return tuple(found)


def list_files(ctx: click.Context) -> list[Path]:
    """Return the ``@list`` files that were read."""
    return list(ctx.meta.get(_LISTS, []))


def _entries(ctx: click.Context, param: click.Parameter, name: str) -> list[str]:
    """Return the entries of one list file, all of them files that exist."""
    from skytool.io.filespec import FileSpec

    if name == "-":
        text, folder = sys.stdin.read(), ""
    else:
        try:
            text = Path(name).read_text(encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise click.BadParameter(f"@{name}: {error.strerror}.", ctx, param) from error
        folder = os.path.dirname(name)  # noqa: PTH120  "" stays "", so names stay as written
        ctx.meta.setdefault(_LISTS, []).append(Path(name))
    entries, troubles = [], []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        entry = _COMMENT.sub("", line).strip()
        if not entry:
            continue
        if entry.startswith("@"):
            troubles.append(f"line {number}: {entry} is a list in a list")
            continue
        place = os.path.join(folder, entry)  # noqa: PTH118  keeps a leading ./ as written
        if not FileSpec.parse(place).path.exists():
            troubles.append(f"line {number}: no file {place}")
        entries.append(place)
    if troubles:
        raise click.BadParameter(f"@{name}: {'; '.join(troubles)}.", ctx, param)
    return entries


def _refuse_pattern(value: str) -> None:
    """Say that a pattern matched nothing, where the shell left one as it was."""
    from skytool.io.filespec import FileSpec

    if "*" in value and not FileSpec.parse(value).path.exists():
        raise InputError(f"no file matches {value}.", hint="Check the folder and the pattern.")


def _refuse_twice(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> None:
    """Refuse one file (or one extension of it) given twice: it would count twice."""
    from skytool.io.filespec import FileSpec

    seen: dict[object, str] = {}
    for value in values:
        spec = FileSpec.parse(value)
        try:
            status = os.stat(spec.path)  # noqa: PTH116
        except OSError:
            identity: object = os.path.abspath(spec.path)  # noqa: PTH100  no link to follow
        else:
            identity = (status.st_dev, status.st_ino)
        key = (identity, spec.extension)
        if key in seen:
            other = "" if seen[key] == value else f", also as {seen[key]}"
            raise click.BadParameter(f"{value} is given twice{other}.", ctx, param)
        seen[key] = value
