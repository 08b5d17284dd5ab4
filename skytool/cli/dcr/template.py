"""``skytool dcr-template``: the template of an exposure, with its refraction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from skytool.cli.config import StageCommand, settings_of
from skytool.cli.dcr.options import pointing_options
from skytool.cli.options import INPUT, common_options, input_files, output_file, reading_options

if TYPE_CHECKING:
    from pathlib import Path

    from skytool.cli.dcr.options import RefractionChoice
    from skytool.cli.options import RunOptions
    from skytool.io.sources import ReadOptions


@click.command(cls=StageCommand, name="dcr-template")
@input_files(metavar="MODEL...")
@click.option(
    "--for",
    "science",
    type=INPUT,
    required=True,
    metavar="FILE[EXT]",
    help="Exposure whose refraction and pixels the template gets.",
)
@output_file
@click.option(
    "--order",
    type=click.Choice(["auto", "spectral", "1", "2", "3", "4", "5"], case_sensitive=False),
    default="auto",
    help="Degree of the splines that shift subfilters; spectral: at many wavelengths and without "
    "interpolation; auto: that for smooth spectra, 3 for others.",
)
@click.option(
    "--kernel",
    default="lanczos3",
    help="Kernel that resamples to the pixels of the exposure, where they are others.",
)
@click.option(
    "--template-border-size",
    type=click.IntRange(min=0),
    default=20,
    help="Pixels around the exposure that are made for that kernel [pixel].",
)
@click.option(
    "--allow-missing", is_flag=True, help="Go on if subfilters are missing, as if they were empty."
)
@pointing_options
@reading_options
@common_options(without=("jobs", "scheduler", "keep_going", "progress"))
@click.pass_context
def dcr_template(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    science: str,
    output: Path,
    order: str,
    kernel: str,
    template_border_size: int,
    allow_missing: bool,
    choice: RefractionChoice,
    reading: ReadOptions,
    run: RunOptions,
) -> None:
    """Make the template of an exposure from DCR models.

    Every model that reaches the exposure is shown with the refraction of the exposure and put on
    its pixels, with mask and variance, ready for diffim. A model is a file of dcr-assemble, or one
    file for each of its subfilters.

    \b
    Examples:
      skytool dcr-template model.fits --for science.fits -o template.fits
      skytool dcr-template patches/*.fits --for raw.fits[N4] -o template.fits --site ctio
    """
    from skytool.cli.dcr.template_units import template_units

    template_units(
        inputs,
        science=science,
        output=output,
        config={"order": order, "kernel": kernel, "border": template_border_size},
        allow_missing=allow_missing,
        choice=choice,
        reading=reading,
        run=run,
        recorded=settings_of(ctx),
    )
