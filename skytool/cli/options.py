"""Every option that more than one command has, once.

``input_files``            the arguments: files, ``@list``
``output_file``            ``-o``
``output_dir``             ``-d`` and ``--suffix``
``one_or_dir_output``      either of them, as one `Destination`
``reading_options``        how to read inputs, as one `skytool.io.sources.ReadOptions`
``with_options``           several options that a module keeps in a list
``common_options``         how to run, as one `RunOptions`
"""

from __future__ import annotations

import functools
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import click

from skytool.cli import inputs, logs
from skytool.cli.config import OutputOption, RunOption
from skytool.cli.outputs import (
    Destination,
    one_or_dir_output,
    output_dir,
    output_file,
    output_paths,
)
from skytool.cli.param_types import (
    GRID_SIZE,
    INPUT,
    PLANES,
    SKY_POSITION,
    Angle,
    CommaList,
    GridSize,
    Number,
    SkyPosition,
)
from skytool.cli.reading import reading_options
from skytool.cli.sections import RUNNING, SectionOption
from skytool.errors import AlgorithmError, NothingToDoError, SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

F = TypeVar("F", bound="Callable[..., Any]")

__all__ = [
    "GRID_SIZE",
    "INPUT",
    "PLANES",
    "SKY_POSITION",
    "Angle",
    "CommaList",
    "Destination",
    "GridSize",
    "Number",
    "RunOptions",
    "SkyPosition",
    "common_options",
    "input_files",
    "one_or_dir_output",
    "output_dir",
    "output_file",
    "output_paths",
    "reading_options",
    "with_options",
]


def with_options(options: Sequence[Callable[[Any], Any]]) -> Callable[[F], F]:
    """Return a decorator that adds options, the first of them on top."""

    def decorate(function: F) -> F:
        decorated: Any = function
        for option in reversed(options):
            decorated = option(decorated)
        return cast("F", decorated)

    return decorate


@overload
def input_files(function: F) -> F: ...
@overload
def input_files(
    function: None = None, *, name: str = "inputs", metavar: str = "IN..."
) -> Callable[[F], F]: ...
def input_files(function: Any = None, *, name: str = "inputs", metavar: str = "IN...") -> Any:
    """Add the argument ``inputs: tuple[str, ...]``: one file or more, or ``@list``."""
    decorate = click.argument(
        name, nargs=-1, required=True, type=INPUT, metavar=metavar, callback=inputs.expanded
    )
    return decorate(function) if function is not None else decorate


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run a command; nothing here changes a pixel, but for a lossy ``compress``.

    Parameters
    ----------
    overwrite : bool
        Existing outputs may be replaced.
    jobs : int
        Worker processes; 0 is one for every usable core.
    scheduler : str, optional
        Address of a Dask scheduler to work on instead.
    json : bool
        JSON Lines on stdout.
    report : Path, optional
        File for the same lines.
    keep_going : bool
        Go on after a failure.
    dry_run : bool
        Check everything and write nothing.
    compress : str
        ``none``, ``gzip`` or ``rice``.
    progress : bool, optional
        Progress bar; None: where stderr is a terminal.
    strict : bool
        A warning is an error.
    allow_empty : bool
        Nothing to do is status 0.
    reuse : str, optional
        ``checked`` or ``exists``: which outputs need not be made again.
    depfile : Path, optional
        File for the dependencies, as a make rule.
    """

    overwrite: bool = False
    jobs: int = 1
    scheduler: str | None = None
    json: bool = False
    report: Path | None = None
    keep_going: bool = False
    dry_run: bool = False
    compress: str = "none"
    progress: bool | None = None
    strict: bool = False
    allow_empty: bool = False
    reuse: str | None = None
    depfile: Path | None = None

    @property
    def may_replace(self) -> bool:
        """Whether outputs that exist may be replaced: asked for, or not good enough to reuse."""
        return self.overwrite or self.reuse is not None


def _need_distributed(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse a scheduler where the package to talk to it is not installed."""
    if value is not None and not ctx.resilient_parsing:
        from importlib.util import find_spec

        if find_spec("distributed") is None:
            raise click.BadParameter(
                "needs the package distributed, which the extra 'cluster' installs.", ctx, param
            )
    return value


def _report_path(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and str(value) == "-":
        raise click.BadParameter("needs a file; --json writes to standard output.", ctx, param)
    return value


_FILE = click.Path(dir_okay=False, path_type=Path)

_RUN: dict[str, Callable[[Any], Any]] = {
    "overwrite": click.option(
        "--overwrite",
        cls=RunOption,
        section=RUNNING,
        is_flag=True,
        envvar="SKYTOOL_OVERWRITE",
        help="Replace outputs that exist.",
    ),
    "jobs": click.option(
        "-j",
        "--jobs",
        cls=RunOption,
        section=RUNNING,
        type=click.IntRange(min=0),
        default=1,
        metavar="N",
        help="Worker processes; 0 is one for every usable core.",
    ),
    "scheduler": click.option(
        "--scheduler",
        cls=RunOption,
        section=RUNNING,
        callback=_need_distributed,
        metavar="ADDRESS",
        help="Work on the Dask cluster of this scheduler, which must see the same files.",
    ),
    "json": click.option(
        "--json",
        cls=RunOption,
        section=RUNNING,
        is_flag=True,
        help="Print JSON Lines instead of rows.",
    ),
    "report": click.option(
        "--report",
        cls=OutputOption,
        section=RUNNING,
        type=_FILE,
        callback=_report_path,
        metavar="FILE",
        help="Write the JSON Lines to this file.",
    ),
    "keep_going": click.option(
        "-k",
        "--keep-going",
        cls=RunOption,
        section=RUNNING,
        is_flag=True,
        help="Go on after a failure.",
    ),
    "dry_run": click.option(
        "-n",
        "--dry-run",
        cls=RunOption,
        section=RUNNING,
        is_flag=True,
        help="Check everything, print what would be made, write nothing.",
    ),
    "compress": click.option(
        "--compress",
        cls=SectionOption,
        section=RUNNING,
        type=click.Choice(["none", "gzip", "rice"], case_sensitive=False),
        default="none",
        help="Compress outputs by tiles: gzip keeps every bit, rice does not.",
    ),
    "progress": click.option(
        "--progress/--no-progress",
        cls=RunOption,
        section=RUNNING,
        default=None,
        help="Progress bar on stderr; by default where that is a terminal.",
    ),
    "strict": click.option(
        "--strict",
        cls=RunOption,
        section=RUNNING,
        is_flag=True,
        help="Take warnings for errors (status 5).",
    ),
    "allow_empty": click.option(
        "--allow-empty",
        cls=RunOption,
        section=RUNNING,
        is_flag=True,
        help="Exit with 0 instead of 6 where there is nothing to do.",
    ),
    "reuse": click.option(
        "--reuse",
        cls=RunOption,
        section=RUNNING,
        bare="checked",
        type=click.Choice(["checked", "exists"]),
        metavar="[=exists]",
        help="Keep outputs that were made from the same inputs with the same settings; "
        "=exists keeps whatever exists.",
    ),
    "depfile": click.option(
        "--depfile",
        cls=OutputOption,
        section=RUNNING,
        type=_FILE,
        metavar="FILE",
        help="Write a make rule with every file that was read.",
    ),
}


@overload
def common_options(function: F) -> F: ...
@overload
def common_options(function: None = None, *, without: Collection[str] = ()) -> Callable[[F], F]: ...
def common_options(function: Any = None, *, without: Collection[str] = ()) -> Any:
    """Add the options of `RunOptions`, which the command gets as ``run``.

    Parameters
    ----------
    function : callable
        The command's function.
    without : collection of str
        Fields of `RunOptions` that the command has no use for.
    """
    if function is None:
        return functools.partial(common_options, without=without)
    names = [name for name in _RUN if name not in without]

    @functools.wraps(function)
    def with_run(*args: Any, **kwargs: Any) -> Any:
        run = RunOptions(**{name: kwargs.pop(name) for name in names})
        try:
            with logs.warnings_as_errors() if run.strict else nullcontext():
                return function(*args, run=run, **kwargs)
        except SkytoolWarning as warning:
            raise AlgorithmError(str(warning), hint="(--strict)") from warning
        except NothingToDoError as error:
            if not run.allow_empty:
                raise
            logs.failure(str(error))
            return None

    for name in reversed(names):
        with_run = _RUN[name](with_run)
    return with_run
