"""``skytool psf``: point spread functions measured on the stars of exposures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from skytool.cli.config import StageCommand, settings_of
from skytool.cli.options import (
    GRID_SIZE,
    INPUT,
    PLANES,
    common_options,
    input_files,
    one_or_dir_output,
    reading_options,
    with_options,
)

if TYPE_CHECKING:
    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.io.sources import ReadOptions

_MODEL_OPTIONS = (
    click.option(
        "--method",
        type=click.Choice(["basis", "grid"], case_sensitive=False),
        default="basis",
        help="The model: images times polynomials of the position; or an image of its own at every "
        "point of a grid, made by photutils, which needs many more stars.",
    ),
    click.option(
        "--spatial-order",
        type=click.IntRange(0, 6),
        help="Degree of the variation over the image; by default the one that predicts stars best.",
    ),
    click.option(
        "--max-spatial-order",
        type=click.IntRange(0, 6),
        default=2,
        help="Highest degree to choose from.",
    ),
    click.option(
        "--size",
        type=click.IntRange(min=5),
        help="Side of the images of the PSF, odd [pixel]; by default eight times the width of "
        "stars.",
    ),
    click.option(
        "--oversampling",
        type=click.IntRange(1, 8),
        help="Samples of the images per pixel; by default more than one for stars narrower than "
        "three pixels.",
    ),
    click.option(
        "--grid",
        type=GRID_SIZE,
        help="Points of the grid; by default as many as there are stars for.",
    ),
    click.option(
        "--accuracy",
        type=click.FloatRange(min=0),
        default=0.005,
        help="Error of the model relative to itself, beside the noise of pixels: bright stars do "
        "not count for more.",
    ),
)

_STAR_OPTIONS = (
    click.option(
        "--bad-planes",
        type=PLANES,
        default="BAD,SAT,INTRP,CR,EDGE,NO_DATA,STREAK,SPIKE,UNMASKEDNAN",
        help="Pixels with these planes are not used.",
    ),
    click.option(
        "--min-snr",
        type=click.FloatRange(min=0, min_open=True),
        default=20.0,
        help="Least signal-to-noise ratio of a star.",
    ),
    click.option(
        "--max-snr",
        type=click.FloatRange(min=0, min_open=True),
        help="Largest signal-to-noise ratio of a star.",
    ),
    click.option(
        "--max-neighbor",
        type=click.FloatRange(min=0),
        default=1.0,
        help="Brightest source in the image of a star, over the star.",
    ),
    click.option(
        "--min-stars",
        type=click.IntRange(min=1),
        default=3,
        help="Fewest stars to measure a PSF with.",
    ),
    click.option(
        "--max-stars",
        type=click.IntRange(min=1),
        default=300,
        help="Most stars to use: the brightest of every part of the image.",
    ),
    click.option(
        "--reserve-fraction",
        type=click.FloatRange(0, 0.5),
        default=0.2,
        help="Part of the stars, if there are 20 or more, that the PSF is not fitted to but judged "
        "by.",
    ),
)


@click.command(cls=StageCommand)
@input_files
@one_or_dir_output
@click.option(
    "--psf-from",
    type=INPUT,
    metavar="FILE[EXT]",
    help="PSF to attach instead of measuring one: an image, a stack of them, one of ours, or that "
    "of PSFEx; {stem} stands for the name of the input without its suffix. Stars judge it.",
)
@with_options(_MODEL_OPTIONS)
@with_options(_STAR_OPTIONS)
@reading_options(without=("psf", "fwhm"))
@common_options
@click.pass_context
def psf(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    destination: Destination,
    psf_from: str | None,
    reading: ReadOptions,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Measure the PSF of exposures on their stars.

    Sources that are bright enough, whole, alone, and of one size and shape are the stars. The PSF
    varies over the image as much as the stars tell; it is attached to the exposure, whose pixels
    stay as they are, with the table PSFSTARS of stars beside it. Some stars are kept apart: what
    the row of a file says of the PSF is measured on them.

    \b
    Examples:
      skytool psf night/*.fits -d with-psf -j 2
      skytool psf raw7.fits --gain 1.7 --read-noise 5 --saturate 60000 -o raw7-psf.fits
      skytool psf raw7.fits --psf-from raw7.psf -o raw7-psf.fits
      skytool psf raw7.fits --method grid --grid 3,3 -o raw7-psf.fits
    """
    from skytool.cli.psf.units import psf_units

    psf_units(
        inputs,
        destination=destination,
        psf_from=psf_from,
        reading=reading,
        run=run,
        settings=settings,
        recorded=settings_of(ctx),
    )
