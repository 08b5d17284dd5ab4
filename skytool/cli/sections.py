"""The sections in which the help of a command shows its options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

OWN = "Options"
READING = "Options for reading the inputs"
RUNNING = "Options for running"


class SectionOption(click.Option):
    """An option that the help shows in a section: those that many commands have come last."""

    def __init__(self, *args: Any, section: str = OWN, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


def write_options(
    params: Sequence[click.Parameter], ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    """Write the help of options, section by section.

    Parameters
    ----------
    params : sequence of Parameter
        All parameters of the command; the one for help itself belongs to `RUNNING`.
    ctx : Context
        The command.
    formatter : HelpFormatter
        Where the text goes.
    """
    sections: dict[str, list[tuple[str, str]]] = {OWN: [], READING: [], RUNNING: []}
    for param in params:
        record = param.get_help_record(ctx)
        if record is None or isinstance(param, click.Argument):
            continue
        section = RUNNING if param.name == "help" else getattr(param, "section", OWN)
        sections[section].append(record)
    for title, records in sections.items():
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def with_short_metavars(params: Sequence[click.Parameter]) -> None:
    """Let the help call numbers ``N`` and ``NUMBER``, whatever their range, which it shows, too."""
    for param in params:
        if param.metavar is not None or param.nargs != 1:
            continue
        if isinstance(param.type, click.types.IntParamType):
            param.metavar = "N"
        elif isinstance(param.type, click.types.FloatParamType):
            param.metavar = "NUMBER"
