"""Options that say where products go, and the names that products get."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from skytool.cli.config import OutputOption

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

F = TypeVar("F", bound="Callable[..., Any]")


def output_file(function: F) -> F:
    """Add ``-o/--output FILE`` as ``output: Path``."""
    decorated: F = _output_option(required=True)(function)
    return decorated


def output_dir(function: F) -> F:
    """Add ``-d/--output-dir DIR`` and ``--suffix TEXT`` as ``output_dir: Path``, ``suffix: str``."""
    decorated: F = _dir_option(required=True)(_suffix_option()(function))
    return decorated


def _output_option(*, required: bool) -> Callable[[Any], Any]:
    return click.option(
        "-o",
        "--output",
        cls=OutputOption,
        type=click.Path(path_type=Path),
        required=required,
        metavar="FILE",
        help="The product; - is standard output. Its folder is made if missing; an ending .gz, .bz2, "
        ".xz or .fz compresses it.",
    )


def _dir_option(*, required: bool) -> Callable[[Any], Any]:
    return click.option(
        "-d",
        "--output-dir",
        cls=OutputOption,
        type=click.Path(file_okay=False, path_type=Path),
        required=required,
        metavar="DIR",
        help="Folder for the products; made if missing.",
    )


def _suffix_option() -> Callable[[Any], Any]:
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

    @property
    def is_tiled(self) -> bool:
        """Whether the one product is named as a file of compressed images, ``.fz``."""
        from skytool.io.packing import TILED, ending

        return self.output is not None and ending(self.output) == TILED

    def named(self, name: str) -> Path:
        """Return the product of a name of the command's own, with the suffix, in the folder."""
        if self.directory is None:
            return self.single()
        stem, dot, extension = name.rpartition(".")
        return self.directory / f"{stem}{self.suffix}{dot}{extension}"


def one_or_dir_output(function: F) -> F:
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

    inner = _dir_option(required=False)(_suffix_option()(with_destination))
    decorated: F = _output_option(required=False)(inner)
    return decorated


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
