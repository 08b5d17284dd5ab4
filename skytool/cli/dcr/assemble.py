"""``skytool dcr-assemble``: the sky as refraction makes it, from warps of several epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from skytool.cli.config import StageCommand, settings_of
from skytool.cli.dcr.assemble_options import COMMON, ITERATIVE, LSQ, refuse_other_solver
from skytool.cli.dcr.options import refraction_options
from skytool.cli.options import (
    common_options,
    input_files,
    output_file,
    reading_options,
    with_options,
)

if TYPE_CHECKING:
    from pathlib import Path

    from skytool.cli.dcr.options import RefractionChoice
    from skytool.cli.options import RunOptions
    from skytool.io.sources import ReadOptions


@click.command(cls=StageCommand, name="dcr-assemble")
@input_files(metavar="WARP...")
@output_file
@with_options(COMMON)
@refraction_options
@with_options(LSQ)
@with_options(ITERATIVE)
@reading_options
@common_options
@click.pass_context
def dcr_assemble(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    output: Path,
    choice: RefractionChoice,
    reading: ReadOptions,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Model the sky in parts of a band, from warps with different refraction.

    All warps are on one grid and of one filter, taken at several airmasses and angles of the
    zenith. The product has an image of every subfilter without refraction, their sum with mask
    and variance, the spectral slope of every pixel with its error, and the residuals of the warps
    before and after. Of it dcr-template makes templates for any exposure.

    \b
    Examples:
      skytool dcr-assemble warps/*.fits -o model.fits
      skytool dcr-assemble warps/*.fits -o model.fits --band decam-g --psf-aware -j 4
      skytool dcr-assemble @warps.txt -o model.fits --solver iterative --template coadd.fits
    """
    refuse_other_solver(ctx)
    from skytool.cli.dcr.assemble_units import assemble_units

    assemble_units(
        inputs,
        output=output,
        choice=choice,
        reading=reading,
        run=run,
        settings=settings,
        recorded=settings_of(ctx),
    )
