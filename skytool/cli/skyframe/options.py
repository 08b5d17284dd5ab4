"""Options that ``skytool skyframe build`` and ``apply`` have in common, and of superpixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from skytool.cli.options import INPUT, PLANES, CommaList, with_options

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

_DEFECTS = "BAD,SAT,CR,EDGE,STREAK,NO_DATA"
_OBJECTS = "DETECTED,DETECTED_NEGATIVE"
_STYLES = ("constant", "linear", "natural_spline", "akima_spline")
POSITIVE = click.FloatRange(min=0, min_open=True)


def choice(*values: str) -> click.Choice[str]:
    """Return the type of one of some words, in upper or lower case."""
    return click.Choice(values, case_sensitive=False)


STATISTIC = choice("meanclip", "mean", "median")


def focal_plane_option(function: F) -> F:
    """Add ``--focal-plane``, a table of the places of detectors."""
    decorate = click.option(
        "--focal-plane",
        type=INPUT,
        metavar="FILE",
        help="Text file with the places of the detectors: a line for each with its number or name, "
        "x and y of its first pixel [pixel], angle [deg], and scale. By default from DETSEC or WCS.",
    )
    return decorate(function)


def group_option(function: F) -> F:
    """Add ``--group-by``."""
    decorate = click.option(
        "--group-by",
        type=CommaList(),
        metavar="KEYWORD,...|none",
        help="Header keywords that together name a visit, whose detectors share one sky, instead "
        "of the usual ones; none: every file by itself.",
    )
    return decorate(function)


restore_option = click.option(
    "--restore-background/--no-restore-background",
    default=True,
    help="First put back the backgrounds that are stored in the exposures.",
)


def superpixel_options(function: F) -> F:
    """Add the options of superpixels."""
    return with_options(
        [
            click.option(
                "--bin-size",
                type=click.FloatRange(min=2),
                help="Side of a superpixel, instead of --x-bin-size and --y-bin-size [pixel].",
            ),
            click.option(
                "--x-bin-size",
                "--background-x-bin-size",
                type=click.FloatRange(min=2),
                default=32.0,
                help="Width of a superpixel [pixel].",
            ),
            click.option(
                "--y-bin-size",
                "--background-y-bin-size",
                type=click.FloatRange(min=2),
                default=32.0,
                help="Height of a superpixel [pixel].",
            ),
            click.option(
                "--statistic",
                "--background-statistic",
                type=STATISTIC,
                default="meanclip",
                help="Value of a superpixel in one exposure.",
            ),
            click.option(
                "--clip",
                type=POSITIVE,
                default=4.0,
                help="Limit of the clipped mean in a superpixel [sigma].",
            ),
            click.option(
                "--n-iter",
                type=click.IntRange(min=1),
                default=3,
                help="Passes of the clipped mean in a superpixel.",
            ),
            click.option(
                "--algorithm",
                "--background-algorithm",
                type=choice(*_STYLES),
                default="natural_spline",
                help="How superpixels are joined.",
            ),
            click.option(
                "--background-mask",
                type=PLANES,
                default=f"{_DEFECTS},{_OBJECTS}",
                help="Planes of pixels that are not used.",
            ),
        ]
    )(function)


block_option = click.option(
    "--block-size",
    type=click.IntRange(1, 64),
    default=4,
    help="Side of the squares that pixels are averaged over first; at most a quarter of that of a "
    "superpixel or box [pixel].",
)


_OBJECT_OPTIONS = [
    click.option(
        "--do-mask-objects/--no-do-mask-objects",
        default=True,
        help="Seek objects beyond those that are flagged already.",
    ),
    click.option(
        "--detect-sigma",
        type=CommaList(POSITIVE),
        default="3,12",
        help="Gaussians that smooth the image, the narrowest first; objects of each size "
        "are sought in what is left by those before [pixel].",
    ),
    click.option(
        "--detect-threshold",
        type=CommaList(POSITIVE),
        default="4,4",
        help="Threshold for each of them [sigma].",
    ),
    click.option(
        "--grow",
        type=CommaList(click.FloatRange(min=0)),
        default="4,16",
        help="Radius by which objects grow, for each of them [pixel].",
    ),
    click.option(
        "--detect-iter",
        type=click.IntRange(min=1),
        default=2,
        help="Rounds of measuring the sky and seeking objects.",
    ),
    click.option(
        "--detect-bin-size",
        type=click.FloatRange(min=4),
        default=512.0,
        help="Cells of the sky that objects stand on [pixel].",
    ),
    click.option(
        "--detect-cells",
        type=click.IntRange(min=1),
        default=2,
        help="Least number of these cells along each axis.",
    ),
    click.option(
        "--detect-clip",
        type=POSITIVE,
        default=3.0,
        help="Clipping in these cells [sigma].",
    ),
    click.option(
        "--detect-noise",
        type=choice("scatter", "variance"),
        default="scatter",
        help="Noise from the scatter of the image, or from its variance.",
    ),
    click.option(
        "--detect-kernel",
        type=POSITIVE,
        default=7.0,
        help="Full width of the Gaussians [sigma].",
    ),
    click.option(
        "--min-pixels",
        type=click.IntRange(min=1),
        default=1,
        help="Least number of connected blocks in an object.",
    ),
    click.option(
        "--search-border/--no-search-border",
        default=True,
        help="Search also where the Gaussian does not fit into the image; otherwise leave "
        "that out.",
    ),
]


def object_options(function: F) -> F:
    """Add the options that say how objects are found."""
    return with_options(_OBJECT_OPTIONS)(function)


def background_options(prefix: str, what: str, **defaults: Any) -> Callable[[F], F]:
    """Return a decorator that adds the options of a background over the focal plane.

    Parameters
    ----------
    prefix : str
        Beginning of their names.
    what : str
        What the help calls the background.
    **defaults : object
        Defaults by names of options without the prefix.
    """
    size = defaults.get("size", 4096.0)
    return with_options(
        [
            click.option(
                f"--{prefix}-x-size",
                type=POSITIVE,
                default=size,
                help=f"Width of a cell of {what} [unit of the focal plane].",
            ),
            click.option(
                f"--{prefix}-y-size",
                type=POSITIVE,
                default=size,
                help=f"Height of a cell of {what} [unit of the focal plane].",
            ),
            click.option(
                f"--{prefix}-pixel-size",
                type=POSITIVE,
                default=1.0,
                help="Size of a pixel [unit of the focal plane].",
            ),
            click.option(
                f"--{prefix}-min-frac",
                type=click.FloatRange(0, 1),
                default=defaults.get("min_frac", 0.1),
                help="Least fraction of the pixels of a cell that must be good.",
            ),
            click.option(
                f"--{prefix}-mask",
                type=PLANES,
                default=f"{_DEFECTS},INTRP,{_OBJECTS}",
                help="Planes of pixels that do not enter cells.",
            ),
            click.option(
                f"--{prefix}-interpolation",
                type=choice(*_STYLES),
                default="akima_spline",
                help="How missing cells are filled and cells are joined.",
            ),
            click.option(
                f"--{prefix}-do-smooth/--no-{prefix}-do-smooth",
                default=defaults.get("do_smooth", False),
                help="Smooth the cells.",
            ),
            click.option(
                f"--{prefix}-smooth-scale",
                type=POSITIVE,
                default=defaults.get("smooth_scale", 2.0),
                help="By a Gaussian of this width [cell].",
            ),
            click.option(
                f"--{prefix}-binning",
                type=click.IntRange(min=1),
                default=64,
                help="Cells of the background of a single detector [pixel].",
            ),
        ]
    )
