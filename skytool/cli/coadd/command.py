"""``skytool coadd``: warps of several visits added to one image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from skytool.cli.config import RunOption, StageCommand, settings_of
from skytool.cli.options import (
    PLANES,
    common_options,
    input_files,
    output_file,
    reading_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from skytool.cli.options import RunOptions
    from skytool.io.sources import ReadOptions

F = TypeVar("F", bound="Callable[..., Any]")

_OPTIONS = (
    click.option(
        "--statistic",
        type=click.Choice(["mean", "meanclip", "median"], case_sensitive=False),
        default="meanclip",
        help="How the values of a pixel become one: weighted mean, the same without outliers, or "
        "median.",
    ),
    click.option(
        "--weight-by",
        type=click.Choice(["visit", "pixel", "equal"], case_sensitive=False),
        default="visit",
        help="Weights: the inverse of the mean variance of each input, the inverse variance of "
        "each pixel, which makes fluxes depend on brightness, or none.",
    ),
    click.option(
        "--bad-planes",
        type=PLANES,
        default="NO_DATA,BAD,SAT,CR,INTRP,STREAK",
        help="Pixels with these planes are left out.",
    ),
    click.option(
        "--sigma-clip",
        type=click.FloatRange(min=0, min_open=True),
        default=4.0,
        help="Largest deviation of what clipping keeps [sigma].",
    ),
    click.option(
        "--clip-iter",
        type=click.IntRange(min=1),
        default=3,
        help="Passes of the clipping at most.",
    ),
    click.option(
        "--clip-scale",
        type=click.Choice(["noise", "scatter"], case_sensitive=False),
        default="noise",
        help="What sigma is: the noise of each value, or the scatter of the values if that is "
        "larger; or the scatter alone, which also clips good pixels where inputs are few.",
    ),
    click.option(
        "--clip-amplitude",
        type=click.FloatRange(min=0),
        default=0.3,
        help="Part of its brightness by which a pixel may deviate beyond that, with --clip-scale "
        "noise: the middle of a star varies with the seeing.",
    ),
    click.option(
        "--clip-steepness",
        type=click.FloatRange(min=0),
        default=1.2,
        help="Part of the change of brightness to the next pixel by which a pixel may deviate "
        "beyond that, too: the wings of a star vary with the seeing and the astrometry.",
    ),
    click.option(
        "--clip-grow",
        type=click.FloatRange(min=0),
        default=2.0,
        help="Largest deviation beside a clipped pixel of the same warp, with --clip-scale noise "
        "[sigma]; one of --sigma-clip or more: as elsewhere.",
    ),
    click.option(
        "--propagate-planes",
        type=PLANES,
        default="SAT",
        help="Planes of pixels left out that the coadd gets all the same.",
    ),
    click.option(
        "--propagate-from",
        type=click.FloatRange(0, 1),
        default=0.1,
        help="Part of the weight of all inputs that pixels left out must have for that.",
    ),
    click.option(
        "--units",
        type=click.Choice(["auto", "njy", "zeropoint", "input"]),
        default="auto",
        help="Units of the coadd: nJy, those of --zeropoint, or those of the first warp; auto: nJy "
        "if all warps are calibrated.",
    ),
    click.option(
        "--zeropoint", type=float, help="AB magnitude of one unit, with --units zeropoint [mag]."
    ),
    click.option(
        "--strip-memory",
        cls=RunOption,
        type=click.IntRange(min=1),
        default=64,
        help="Memory for the rows of all warps that are in it at one time [MiB].",
    ),
)


def _coadd_options(function: F) -> F:
    decorated: Any = function
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return cast("F", decorated)


@click.command(cls=StageCommand)
@input_files(metavar="WARP...")
@output_file
@_coadd_options
@reading_options
@common_options
@click.pass_context
def coadd(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    output: Path,
    reading: ReadOptions,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Add warps of several visits to one image.

    All warps are on one grid and of one filter. They are brought to common flux units and combined
    pixel by pixel; the coadd has the variance of that, the number of warps at each pixel, the
    records of all that went into it, and their PSF. Pixels that only one warp sees differently,
    like cosmic rays, are left out and flagged CLIPPED.

    \b
    Examples:
      skytool coadd warps/*.fits -o coadd.fits
      skytool coadd warps/*.fits -o coadd.fits --statistic median --bad-planes NO_DATA,SAT
    """
    from skytool.cli.coadd.units import coadd_units

    coadd_units(
        inputs,
        output=output,
        reading=reading,
        run=run,
        settings=settings,
        recorded=settings_of(ctx),
    )
