"""``skytool match-bg``: the backgrounds of exposures of one field made common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from skytool.cli.config import StageCommand, settings_of
from skytool.cli.match_bg.options import match_options
from skytool.cli.options import common_options, input_files, one_or_dir_output, reading_options

if TYPE_CHECKING:
    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.io.sources import ReadOptions


def _refuse_settings(ctx: click.Context, settings: dict[str, Any]) -> None:
    """Refuse options that say how to match where nothing is matched."""
    for name in settings:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} does nothing with --undo.", ctx)


@click.command(cls=StageCommand)
@input_files
@one_or_dir_output
@match_options
@click.option(
    "--undo", is_flag=True, help="Take back the last match of the inputs, instead of matching."
)
@reading_options(without=("fwhm",))
@common_options
@click.pass_context
def match_bg(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    destination: Destination,
    undo: bool,
    reading: ReadOptions,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Make the backgrounds of exposures of one field common.

    matched = input + model, where the model is a smooth surface fitted to reference - input on
    the sky pixels that both have. The sky is not removed, it becomes that of the reference. Inputs
    must be on one grid of pixels (skytool warp), or be patches of one tract. The model is stored
    in the product; --undo takes it back. MATCHDIF and MATCHRES hold the differences of cells
    before and after. An input that cannot be matched is reported and the others go on.

    \b
    Examples:
      skytool match-bg warps/*.fits -d matched
      skytool match-bg warp-7.fits -r warp-1.fits -o matched-7.fits
      skytool match-bg warps/*.fits -d matched --mode global --order 1 --report qa.jsonl
      skytool match-bg matched/*.fits --undo -d restored
      skytool show matched/warp-7.fits --extension MATCHDIF,MATCHRES -o cells.png
    """
    if undo:
        _refuse_settings(ctx, settings)
        from skytool.cli.match_bg.undo import undo_units

        undo_units(
            inputs, destination=destination, reading=reading, run=run, recorded=settings_of(ctx)
        )
        return
    from skytool.cli.match_bg.units import match_units

    match_units(
        inputs,
        destination=destination,
        reading=reading,
        run=run,
        settings=settings,
        recorded=settings_of(ctx),
    )
