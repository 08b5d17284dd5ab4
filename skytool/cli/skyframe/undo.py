"""``skytool skyframe undo``: exposures as they were before sky frames were taken off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from skytool.cli.config import StageCommand, settings_of
from skytool.cli.options import common_options, input_files, one_or_dir_output, reading_options

if TYPE_CHECKING:
    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.io.sources import ReadOptions


@click.command(cls=StageCommand)
@input_files
@one_or_dir_output
@reading_options(without=("sky", "psf", "fwhm"))
@common_options
@click.pass_context
def undo(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    destination: Destination,
    reading: ReadOptions,
    run: RunOptions,
) -> None:
    """Put back what skyframe apply took off.

    The layers that the last skyframe apply stored are put back, and taken out of the record.
    Pixels agree with the original to the rounding of 32-bit numbers; all else is the same.

    \b
    Example:
      skytool skyframe undo corrected/*.fits -d restored
    """
    from skytool.cli.skyframe.undo_units import undo_units

    undo_units(inputs, destination=destination, reading=reading, run=run, recorded=settings_of(ctx))
