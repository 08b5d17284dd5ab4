"""The options of ``skytool skyframe apply`` that say how scales are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from skytool.cli.options import PLANES, with_options
from skytool.cli.skyframe.options import POSITIVE, STATISTIC, choice

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

_MASKED = "BAD,SAT,CR,EDGE,STREAK,NO_DATA,DETECTED,DETECTED_NEGATIVE"


_SCALE_OPTIONS = [
    click.option(
        "--sky-iter",
        type=click.IntRange(min=0),
        default=3,
        help="Rounds of rejection of samples.",
    ),
    click.option(
        "--sky-rej",
        type=POSITIVE,
        default=3.0,
        help="Largest residual of a sample [sigma].",
    ),
    click.option(
        "--x-num-samples",
        type=click.IntRange(min=0),
        default=0,
        help="Boxes along x of a detector; 0: one for each superpixel.",
    ),
    click.option(
        "--y-num-samples",
        type=click.IntRange(min=0),
        default=0,
        help="Boxes along y of a detector; 0: one for each superpixel.",
    ),
    click.option(
        "--stats-statistic",
        type=STATISTIC,
        default="meanclip",
        help="Value of a box.",
    ),
    click.option(
        "--stats-clip",
        type=POSITIVE,
        default=4.0,
        help="Limit of the clipped mean in a box [sigma].",
    ),
    click.option(
        "--stats-n-iter",
        type=click.IntRange(min=1),
        default=3,
        help="Passes of the clipped mean in a box.",
    ),
    click.option(
        "--stats-mask",
        type=PLANES,
        default=_MASKED,
        help="Planes of pixels that are not used.",
    ),
    click.option(
        "--same-pixels/--no-same-pixels",
        default=True,
        help="Average image and frame over the same pixels of a box; otherwise the frame "
        "over all of them.",
    ),
    click.option(
        "--fit",
        type=choice("background", "scale"),
        default="background",
        help="Fit a smooth background together with the scale, or the scale alone.",
    ),
    click.option(
        "--background-order",
        type=click.IntRange(-1, 6),
        default=-1,
        help="Degree of this background over the focal plane; -1: what the samples call "
        "for, up to 3.",
    ),
    click.option(
        "--pistons/--no-pistons",
        default=True,
        help="Fit a constant for every detector.",
    ),
    click.option(
        "--weighted/--no-weighted",
        default=True,
        help="Weight samples by their errors.",
    ),
    click.option(
        "--clip-about",
        type=choice("median", "zero"),
        default="median",
        help="Middle of the residuals that are kept.",
    ),
    click.option(
        "--robust-start/--no-robust-start",
        default=True,
        help="Begin with least absolute deviations, and let rejected samples return.",
    ),
    click.option(
        "--min-samples",
        type=click.IntRange(min=1),
        default=5,
        help="Least number of samples.",
    ),
    click.option(
        "--min-fraction",
        type=click.FloatRange(0, 1),
        default=0.5,
        help="Least fraction of the samples that must agree.",
    ),
    click.option(
        "--frame-noise/--no-frame-noise",
        default=True,
        help="Correct the scale for the noise of the frame.",
    ),
    click.option(
        "--keep-averages/--no-keep-averages",
        default=True,
        help="Lay the surface of the frame so that its averages over superpixels, not its "
        "values in their middles, are those of the frame.",
    ),
]


def scale_options(function: F) -> F:
    """Add the options that say how a scale is measured."""
    return with_options(_SCALE_OPTIONS)(function)
