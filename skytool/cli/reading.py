"""Options that say how to read inputs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar, overload

import click

from skytool.cli.config import RunOption
from skytool.cli.param_types import INPUT, NUMBER_OR_KEYWORD
from skytool.cli.sections import READING, SectionOption

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from skytool.io.sources import ReadOptions

F = TypeVar("F", bound="Callable[..., Any]")

_EXTENSION = "FILE[EXT]"

_option = functools.partial(click.option, cls=SectionOption, section=READING)

_READING: dict[str, Callable[[Any], Any]] = {
    "layout": _option(
        "--layout", metavar="NAME", help="Read the inputs as this layout instead of finding out."
    ),
    "hdu": _option(
        "--hdu", metavar="EXT", help="Extension that holds the image, by name or number."
    ),
    "mask": _option(
        "--mask", type=INPUT, metavar=_EXTENSION, help="Mask of the image, from another file."
    ),
    "variance": _option(
        "--variance",
        type=INPUT,
        metavar=_EXTENSION,
        help="Variance of the image [unit of the image squared].",
    ),
    "weight": _option(
        "--weight", type=INPUT, metavar=_EXTENSION, help="Inverse variance of the image."
    ),
    "error": _option(
        "--error",
        type=INPUT,
        metavar=_EXTENSION,
        help="Standard deviation of the image [unit of the image].",
    ),
    "psf": _option(
        "--psf", type=INPUT, metavar=_EXTENSION, help="PSF of the image, from another file."
    ),
    "dq_map": _option(
        "--dq-map",
        type=INPUT,
        metavar="FILE|NAME",
        help="What the values of a foreign mask mean: a TOML file or a camera we know.",
    ),
    "gain": _option(
        "--gain",
        type=NUMBER_OR_KEYWORD,
        help="Gain for the variance [electron per unit of the image]; !GAIN is a header keyword.",
    ),
    "read_noise": _option(
        "--read-noise",
        type=NUMBER_OR_KEYWORD,
        help="Read noise for the variance [electron]; !RDNOISE is a header keyword.",
    ),
    "sky": _option(
        "--sky",
        type=NUMBER_OR_KEYWORD,
        help="Sky that was subtracted, for the variance by --gain [unit of the image].",
    ),
    "noise_from_sky": _option(
        "--noise-from-sky",
        is_flag=True,
        help="Take the variance from the scatter of the sky pixels.",
    ),
    "saturate": _option(
        "--saturate",
        type=NUMBER_OR_KEYWORD,
        help="Level from which pixels are saturated [unit of the image].",
    ),
    "fwhm": _option(
        "--fwhm",
        type=NUMBER_OR_KEYWORD,
        help="Full width at half maximum of a Gaussian PSF [pixel].",
    ),
    "require_variance": _option(
        "--require-variance", is_flag=True, help="Refuse an input that brings no variance."
    ),
    "flux_keyword": _option(
        "--flux-keyword",
        metavar="KEYWORD",
        help="Header keyword of the flux scale; KEYWORD=njy: nJy of one unit of the image, "
        "KEYWORD=unit: its AB magnitude.",
    ),
    "weight_is": _option(
        "--weight-is",
        type=click.Choice(["inverse-variance", "exptime"]),
        help="What a weight image holds, where the layout cannot tell.",
    ),
    "verify": click.option(
        "--verify",
        cls=RunOption,
        section=READING,
        is_flag=True,
        help="Compare the checksums of the inputs before use.",
    ),
}


@overload
def reading_options(function: F) -> F: ...
@overload
def reading_options(
    function: None = None, *, without: Collection[str] = ()
) -> Callable[[F], F]: ...
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
        _refuse_two(values, ("variance", "weight", "error", "noise_from_sky", "gain"), "variance")
        _refuse_two(values, ("psf", "fwhm"), "PSF")
        from skytool.io.sources import ReadOptions

        reading = ReadOptions(**values)
        _refuse_impossible(reading)
        return function(*args, reading=reading, **kwargs)

    for name in reversed(names):
        with_reading = _READING[name](with_reading)
    return with_reading


def _refuse_impossible(reading: ReadOptions) -> None:
    """Refuse a layout that does not exist, and numbers that no image can have."""
    from skytool.errors import InputError
    from skytool.io.layouts import named_layout

    try:
        if reading.layout is not None:
            named_layout(reading.layout)
        for option in ("gain", "read_noise", "sky", "saturate", "fwhm"):
            if not str(getattr(reading, option)).startswith("!"):
                reading.number(option, {})
    except InputError as error:
        context = click.get_current_context(silent=True)
        raise click.UsageError(str(error), context) from error


def _refuse_two(values: dict[str, Any], names: tuple[str, ...], what: str) -> None:
    """Refuse two options that both say where something comes from."""
    given = [f"--{name.replace('_', '-')}" for name in names if values.get(name)]
    if len(given) > 1:
        raise click.UsageError(
            f"{given[0]} and {given[1]} both give the {what}; give one.",
            click.get_current_context(silent=True),
        )
