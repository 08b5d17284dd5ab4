"""``skytool skyframe build``: sky frames from exposures of the night sky."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from skytool.cli.config import StageCommand, settings_of
from skytool.cli.options import common_options, input_files, one_or_dir_output, reading_options
from skytool.cli.skyframe.build_options import combine_options
from skytool.cli.skyframe.options import (
    background_options,
    block_option,
    focal_plane_option,
    group_option,
    object_options,
    restore_option,
    superpixel_options,
)

if TYPE_CHECKING:
    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.io.sources import ReadOptions


@click.command(cls=StageCommand)
@input_files
@one_or_dir_output
@superpixel_options
@block_option
@combine_options
@background_options("large-scale", "the background")
@object_options
@restore_option
@focal_plane_option
@group_option
@reading_options(without=("psf", "fwhm"))
@common_options
@click.pass_context
def build(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    destination: Destination,
    focal_plane: str | None,
    group_by: tuple[str, ...] | None,
    reading: ReadOptions,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Make sky frames from exposures of different fields.

    Every exposure is modelled as its level times one plus the pattern, and a smooth background of
    its own. Objects are left out. The exposures must be flat-fielded, of one filter, and have
    their sky, or carry the background that was taken off. With -o all are of one detector; with
    -d there is one frame for each detector, sky-DETECTOR.fits. The frame is binned: IMAGE is the
    pattern relative to the level, VARIANCE its error, NIMAGE the exposures, CHI2 their agreement.

    \b
    Examples:
      skytool skyframe build night/*.fits -o sky.fits
      skytool skyframe build night/*.fits -d frames --bin-size 64 -j 4
      skytool skyframe build night/*.fits -o sky.fits --components 2 --report build.jsonl
    """
    from skytool.cli.skyframe.build_units import build_units

    build_units(
        inputs,
        destination=destination,
        focal_plane=focal_plane,
        group_by=group_by,
        reading=reading,
        run=run,
        settings=settings,
        recorded=settings_of(ctx),
    )
