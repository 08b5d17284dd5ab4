"""Every option that more than one command has, once.

``input_files``            the arguments: files, ``@list``
``output_file``            ``-o``
``output_dir``             ``-d`` and ``--suffix``
``one_or_dir_output``      either of them, as one `Destination`
``reading_options``        how to read inputs, as one `skytool.io.sources.ReadOptions`
``common_options``         how to run, as one `RunOptions`
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skytool.cli import inputs, logs
from skytool.cli.config import OutputOption, RunOption
from skytool.cli.param_types import (
    GRID_SIZE,
    INPUT,
    PLANES,
    SKY_POSITION,
    Angle,
    CommaList,
    GridSize,
    SkyPosition,
)
from skytool.errors import AlgorithmError, NothingToDoError, SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

__all__ = [
    "GRID_SIZE",
    "INPUT",
    "PLANES",
    "SKY_POSITION",
    "Angle",
    "CommaList",
    "Destination",
    "GridSize",
    "RunOptions",
    "SkyPosition",
    "common_options",
    "input_files",
    "one_or_dir_output",
    "output_dir",
    "output_file",
    "output_paths",
    "reading_options",
]

type_path = click.Path(path_type=Path)


def input_files(function: Any = None, *, name: str = "inputs", metavar: str = "IN...") -> Any:
    """Add the argument ``inputs: tuple[str, ...]``: one file or more, or ``@list``."""
    decorate = click.argument(
        name, nargs=-1, required=True, type=INPUT, metavar=metavar, callback=inputs.expanded
    )
    return decorate(function) if function is not None else decorate


def output_file(function: Any) -> Any:
    """Add ``-o/--output FILE`` as ``output: Path``."""
    return _output_option(required=True)(function)


def output_dir(function: Any) -> Any:
    """Add ``-d/--output-dir DIR`` and ``--suffix TEXT`` as ``output_dir: Path``, ``suffix: str``."""
    return _dir_option(required=True)(_suffix_option()(function))


def _output_option(*, required: bool) -> Any:
    return click.option(
        "-o",
        "--output",
        cls=OutputOption,
        type=type_path,
        required=required,
        metavar="FILE",
        help="The product; - is standard output.",
    )


def _dir_option(*, required: bool) -> Any:
    return click.option(
        "-d",
        "--output-dir",
        cls=OutputOption,
        type=click.Path(file_okay=False, path_type=Path),
        required=required,
        metavar="DIR",
        help="Folder for the products; made if missing.",
    )


def _suffix_option() -> Any:
    return click.option(
        "--suffix",
        cls=OutputOption,
        default="",
        show_default=False,
        metavar="TEXT",
        help="Text before .fits in the names of the products.",
    )


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where products go: exactly one of a file and a folder.

    Parameters
    ----------
    output : Path, optional
        The one product; ``-`` is standard output.
    directory : Path, optional
        The folder of the products.
    suffix : str
        Text before ``.fits`` in names in the folder.
    """

    output: Path | None
    directory: Path | None
    suffix: str = ""

    def paths(self, inputs: Sequence[str]) -> list[Path]:
        """Return one product a input; see `output_paths`.

        Raises
        ------
        click.UsageError
            If ``-o`` is given for several inputs, or two products would have one name.
        """
        if self.directory is not None:
            return output_paths(inputs, self.directory, self.suffix)
        if len(inputs) != 1:
            raise click.UsageError(
                f"--output is for one input and there are {len(inputs)}; give --output-dir.",
                click.get_current_context(silent=True),
            )
        return [self.single()]

    def single(self) -> Path:
        """Return the one product named by ``-o``; a usage error if ``-d`` was given."""
        if self.output is None:
            raise click.UsageError(
                "this makes one product; give --output instead of --output-dir.",
                click.get_current_context(silent=True),
            )
        return self.output


def one_or_dir_output(function: Any) -> Any:
    """Add ``-o`` and ``-d`` with ``--suffix``, of which one must be given, as ``destination``."""

    @functools.wraps(function)
    def with_destination(
        *args: Any, output: Path | None, output_dir: Path | None, suffix: str, **kwargs: Any
    ) -> Any:
        ctx = click.get_current_context(silent=True)
        if output is not None and output_dir is not None:
            raise click.UsageError("give --output or --output-dir, not both.", ctx)
        if output is None and output_dir is None:
            raise click.UsageError("give --output FILE or --output-dir DIR.", ctx)
        if output is not None and suffix:
            raise click.UsageError("--suffix goes with --output-dir, not with --output.", ctx)
        destination = Destination(output=output, directory=output_dir, suffix=suffix)
        return function(*args, destination=destination, **kwargs)

    decorated = _suffix_option()(with_destination)
    return _output_option(required=False)(_dir_option(required=False)(decorated))


def output_paths(inputs: Sequence[str], directory: Path, suffix: str = "") -> list[Path]:
    """Return the product of every input: its base name, with ``suffix``, in ``directory``.

    Compression suffixes are dropped: ``raw7.fits.fz`` makes ``raw7.fits``.

    Raises
    ------
    click.UsageError
        If two products would have one name, an input is standard input, or ``suffix`` has a
        slash.
    """
    from skytool.io.filespec import FileSpec

    ctx = click.get_current_context(silent=True)
    if "/" in suffix:
        raise click.UsageError(f"--suffix {suffix!r} must be part of a file name.", ctx)
    made: dict[Path, str] = {}
    for text in inputs:
        spec = FileSpec.parse(text)
        if spec.is_standard_stream:
            raise click.UsageError("standard input has no name; give --output.", ctx)
        path = directory / spec.product_name(suffix)
        if path in made:
            raise click.UsageError(f"{made[path]} and {text} would both become {path}.", ctx)
        made[path] = text
    return list(made)


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
    verify : bool
        Check CHECKSUM and DATASUM of the inputs.
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
    verify: bool = False
    progress: bool | None = None
    strict: bool = False
    allow_empty: bool = False
    reuse: str | None = None
    depfile: Path | None = None


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
        is_flag=True,
        envvar="SKYTOOL_OVERWRITE",
        help="Replace outputs that exist.",
    ),
    "jobs": click.option(
        "-j",
        "--jobs",
        cls=RunOption,
        type=click.IntRange(min=0),
        default=1,
        metavar="N",
        help="Worker processes; 0 is one for every usable core.",
    ),
    "scheduler": click.option(
        "--scheduler",
        cls=RunOption,
        callback=_need_distributed,
        metavar="ADDRESS",
        help="Work on the Dask cluster of this scheduler, which must see the same files.",
    ),
    "json": click.option(
        "--json", cls=RunOption, is_flag=True, help="Print JSON Lines instead of rows."
    ),
    "report": click.option(
        "--report",
        cls=OutputOption,
        type=_FILE,
        callback=_report_path,
        metavar="FILE",
        help="Write the JSON Lines to this file.",
    ),
    "keep_going": click.option(
        "-k", "--keep-going", cls=RunOption, is_flag=True, help="Go on after a failure."
    ),
    "dry_run": click.option(
        "-n",
        "--dry-run",
        cls=RunOption,
        is_flag=True,
        help="Check everything, print what would be made, write nothing.",
    ),
    "compress": click.option(
        "--compress",
        type=click.Choice(["none", "gzip", "rice"], case_sensitive=False),
        default="none",
        help="Compress outputs by tiles: gzip keeps every bit, rice does not.",
    ),
    "verify": click.option(
        "--verify", cls=RunOption, is_flag=True, help="Check the checksums of the inputs first."
    ),
    "progress": click.option(
        "--progress/--no-progress",
        cls=RunOption,
        default=None,
        help="Progress bar on stderr; by default where that is a terminal.",
    ),
    "strict": click.option(
        "--strict", cls=RunOption, is_flag=True, help="Take warnings for errors (status 5)."
    ),
    "allow_empty": click.option(
        "--allow-empty",
        cls=RunOption,
        is_flag=True,
        help="Exit with 0 instead of 6 where there is nothing to do.",
    ),
    "reuse": click.option(
        "--reuse",
        cls=RunOption,
        bare="checked",
        type=click.Choice(["checked", "exists"]),
        metavar="[=exists]",
        help="Keep outputs that were made from the same inputs with the same settings; "
        "=exists keeps whatever exists.",
    ),
    "depfile": click.option(
        "--depfile",
        cls=OutputOption,
        type=_FILE,
        metavar="FILE",
        help="Write a make rule with every file that was read.",
    ),
}


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
            with warnings.catch_warnings():
                if run.strict:
                    warnings.simplefilter("error", SkytoolWarning)
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


_EXTENSION = "FILE[EXT]"

_READING: dict[str, Callable[[Any], Any]] = {
    "layout": click.option(
        "--layout", metavar="NAME", help="Read the inputs as this layout instead of finding out."
    ),
    "hdu": click.option(
        "--hdu", metavar="EXT", help="Extension that holds the image, by name or number."
    ),
    "mask": click.option(
        "--mask", type=INPUT, metavar=_EXTENSION, help="Mask of the image, from another file."
    ),
    "variance": click.option(
        "--variance",
        type=INPUT,
        metavar=_EXTENSION,
        help="Variance of the image [unit of the image squared].",
    ),
    "weight": click.option(
        "--weight", type=INPUT, metavar=_EXTENSION, help="Inverse variance of the image."
    ),
    "error": click.option(
        "--error",
        type=INPUT,
        metavar=_EXTENSION,
        help="Standard deviation of the image [unit of the image].",
    ),
    "psf": click.option(
        "--psf", type=INPUT, metavar=_EXTENSION, help="PSF of the image, from another file."
    ),
    "dq_map": click.option(
        "--dq-map",
        metavar="FILE|NAME",
        help="What the values of a foreign mask mean: a TOML file or a camera we know.",
    ),
    "gain": click.option(
        "--gain",
        metavar="NUMBER|!KEYWORD",
        help="Gain for the variance [electron per unit of the image]; !GAIN is a header keyword.",
    ),
    "read_noise": click.option(
        "--read-noise",
        metavar="NUMBER|!KEYWORD",
        help="Read noise for the variance [electron]; !RDNOISE is a header keyword.",
    ),
    "noise_from_sky": click.option(
        "--noise-from-sky",
        is_flag=True,
        help="Take the variance from the scatter of the sky pixels.",
    ),
    "saturate": click.option(
        "--saturate",
        metavar="NUMBER|!KEYWORD",
        help="Level from which pixels are saturated [unit of the image].",
    ),
    "require_variance": click.option(
        "--require-variance", is_flag=True, help="Refuse an input that brings no variance."
    ),
    "flux_keyword": click.option(
        "--flux-keyword",
        metavar="KEYWORD",
        help="Header keyword of the flux scale [nJy per unit of the image].",
    ),
    "weight_is": click.option(
        "--weight-is",
        type=click.Choice(["inverse-variance", "exptime"]),
        help="What a weight image holds, where the layout cannot tell.",
    ),
}


def reading_options(function: Any = None, *, without: Collection[str] = ()) -> Any:
    """Add the options that say how to read inputs, which the command gets as ``reading``.

    ``reading`` is a `skytool.io.sources.ReadOptions`.

    Parameters
    ----------
    function : callable
        The command's function.
    without : collection of str
        Names of options (with underscores) that the command has no use for.
    """
    if function is None:
        return functools.partial(reading_options, without=without)
    names = [name for name in _READING if name not in without]

    @functools.wraps(function)
    def with_reading(*args: Any, **kwargs: Any) -> Any:
        values = {name: kwargs.pop(name) for name in names}
        _refuse_two_noises(values)
        from skytool.io.sources import ReadOptions

        return function(*args, reading=ReadOptions(**values), **kwargs)

    for name in reversed(names):
        with_reading = _READING[name](with_reading)
    return with_reading


def _refuse_two_noises(values: dict[str, Any]) -> None:
    """Refuse two options that both say where the variance comes from."""
    kinds = ("variance", "weight", "error", "noise_from_sky", "gain")
    given = [f"--{name.replace('_', '-')}" for name in kinds if values.get(name)]
    if len(given) > 1:
        raise click.UsageError(
            f"{given[0]} and {given[1]} both give the variance; give one.",
            click.get_current_context(silent=True),
        )
