"""``skytool info``: what files hold, and whether they are as they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from skytool.cli.config import StageCommand
from skytool.cli.inputs import expanded
from skytool.cli.options import INPUT, common_options
from skytool.cli.reading import reading_options

if TYPE_CHECKING:
    from skytool.cli.options import RunOptions
    from skytool.io.sources import ReadOptions


@click.command(cls=StageCommand)
@click.argument("inputs", nargs=-1, type=INPUT, metavar="FILE...", callback=expanded)
@click.option(
    "--check",
    is_flag=True,
    help="Only verify: checksums, planes, names of mask planes, coordinates, PSF, tables. One line "
    "a problem, and status 3 if there are any.",
)
@reading_options
@common_options(
    without=("jobs", "scheduler", "compress", "reuse", "progress", "depfile", "allow_empty")
)
@click.pass_context
def info(
    ctx: click.Context,
    inputs: tuple[str, ...],
    check: bool,
    reading: ReadOptions,
    run: RunOptions,
) -> None:
    """Say what files hold: planes, coordinates, scale, PSF, models, and where it all comes from.

    Every exposure is described: pixels, noise, mask planes with their share of the pixels. With
    --dry-run only headers are read. Without a file, --dq-map NAME prints what we take the mask
    values of a camera for, a TOML file to start from.

    \b
    Examples:
      skytool info warp.fits
      skytool info raw/*.fits.fz --json
      skytool info --check warps/*.fits
      skytool info --dq-map jwst > my-map.toml
    """
    if not inputs and reading.dq_map is not None:
        from skytool.io.dqmap import dq_map_text

        click.echo(dq_map_text(reading.dq_map), nl=False)
        return
    if not inputs:
        raise click.UsageError("Missing argument 'FILE...'.", ctx)
    from skytool.cli.info.files import check_files, describe_files

    if check:
        check_files(inputs, reading=reading, run=run)
    else:
        describe_files(inputs, reading=reading, run=run)
