"""``skytool dcr-shifts``: where refraction puts the subfilters of exposures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from skytool.cli.config import StageCommand
from skytool.cli.dcr.options import refraction_options
from skytool.cli.options import SKY_POSITION, common_options, input_files, reading_options

if TYPE_CHECKING:
    from skytool.cli.dcr.options import RefractionChoice
    from skytool.cli.options import RunOptions, SkyPosition
    from skytool.io.sources import ReadOptions


@click.command(cls=StageCommand, name="dcr-shifts")
@input_files(metavar="FILE...")
@click.option(
    "--num-subfilters",
    type=click.IntRange(min=1),
    default=3,
    help="Equal parts of the band, the bluest first.",
)
@click.option(
    "--position",
    type=SKY_POSITION,
    help="Where in the images, ICRS; by default in the middle of each.",
)
@refraction_options
@reading_options
@common_options(
    without=(
        *("jobs", "scheduler", "compress", "reuse", "progress", "depfile", "dry_run"),
        "allow_empty",
    )
)
def dcr_shifts(
    inputs: tuple[str, ...],
    num_subfilters: int,
    position: SkyPosition | None,
    choice: RefractionChoice,
    reading: ReadOptions,
    run: RunOptions,
) -> None:
    """Say where refraction puts the parts of a band in exposures.

    Rows have the exposure, the number of the subfilter, its wavelengths [nm], its shift along y
    and x [pixel] and towards the zenith [arcsec], all relative to the reference wavelength, the
    position angle of the zenith [deg], and the airmass. Only headers are read. With --json also
    the weather, the site, and where each number is from.

    \b
    Examples:
      skytool dcr-shifts warps/*.fits
      skytool dcr-shifts raw.fits --band decam-g --num-subfilters 5 --json
      skytool dcr-shifts a.fits --effective-wavelength 478 --bandwidth 147 --site ctio
    """
    from skytool.cli.dcr.shifts_units import report_shifts

    report_shifts(
        inputs,
        num_subfilters=num_subfilters,
        position=position,
        choice=choice,
        reading=reading,
        run=run,
    )
