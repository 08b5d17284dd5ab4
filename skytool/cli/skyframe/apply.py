"""``skytool skyframe apply``: sky frames taken off exposures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from skytool.cli import inputs as input_lists
from skytool.cli.config import StageCommand, settings_of
from skytool.cli.options import (
    INPUT,
    common_options,
    input_files,
    one_or_dir_output,
    reading_options,
)
from skytool.cli.skyframe.apply_options import scale_options
from skytool.cli.skyframe.options import (
    background_options,
    block_option,
    focal_plane_option,
    group_option,
    object_options,
    restore_option,
)

if TYPE_CHECKING:
    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.io.sources import ReadOptions


@click.command(cls=StageCommand)
@input_files
@one_or_dir_output
@click.option(
    "--sky",
    type=INPUT,
    multiple=True,
    required=True,
    metavar="SKY...",
    callback=input_lists.expanded,
    help="Sky frames, one for each detector; may be repeated, and a sky frame among the inputs "
    "counts as one.",
)
@click.option(
    "--require-all",
    is_flag=True,
    help="Fail if a detector has no sky frame, instead of leaving it out with a warning.",
)
@click.option("--do-sky/--no-do-sky", default=True, help="Subtract the sky frame.")
@scale_options
@block_option
@click.option(
    "--bg-model1",
    type=click.Choice(["polynomial", "cells", "none"], case_sensitive=False),
    default="polynomial",
    help="Background that is subtracted as well: the smooth one that is fitted with the scale; one "
    "in cells of the focal plane, measured before; or none.",
)
@click.option(
    "--undo-bg-model1/--no-undo-bg-model1",
    default=False,
    help="Keep this background in the image in the end.",
)
@background_options("bg-model1", "the first background")
@click.option(
    "--do-bg-model2/--no-do-bg-model2",
    default=False,
    help="Subtract what is left after the sky frame, smoothed; it takes light of wide objects.",
)
@background_options(
    "bg-model2",
    "the second background",
    size=256.0,
    min_frac=0.3,
    do_smooth=True,
    smooth_scale=1.0,
)
@object_options
@restore_option
@click.option(
    "--flat-ratio",
    type=INPUT,
    metavar="FILE[EXT]",
    help="Image that exposures are multiplied with while backgrounds are measured: ratio of the "
    "flat field of the sky to that of stars; {detector} stands for the detector.",
)
@focal_plane_option
@group_option
@reading_options(without=("sky",))
@common_options
@click.pass_context
def apply(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    destination: Destination,
    sky: tuple[str, ...],
    focal_plane: str | None,
    group_by: tuple[str, ...] | None,
    reading: ReadOptions,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Take sky frames off exposures, scaled to the sky in them.

    All detectors of a visit share one scale. It is fitted to averages over superpixels, together
    with a constant for every detector and, as far as they call for it, a smooth background over
    the focal plane, which is subtracted as well. What is subtracted is stored in the product, from
    which skyframe undo restores the exposure; mask and variance stay as they are.

    \b
    Examples:
      skytool skyframe apply night/v7_*.fits --sky frames/*.fits -d corrected
      skytool skyframe apply v7.fits --sky sky.fits -o v7_flat.fits --undo-bg-model1
      skytool skyframe apply night/*.fits --sky sky.fits -d corrected --config lsst
    """
    from skytool.cli.skyframe.apply_units import apply_units

    apply_units(
        inputs,
        destination=destination,
        frames=sky,
        focal_plane=focal_plane,
        group_by=group_by,
        reading=reading,
        run=run,
        settings=settings,
        recorded=settings_of(ctx),
    )
