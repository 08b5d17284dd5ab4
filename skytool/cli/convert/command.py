"""``skytool convert``: any layout that we read as ours, or as that of another program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from skytool.cli.config import StageCommand, settings_of
from skytool.cli.options import PLANES, common_options, input_files, one_or_dir_output
from skytool.cli.reading import reading_options

if TYPE_CHECKING:
    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.io.sources import ReadOptions

OWN = "skytool"
EXPORTS = ("swarp", "jwst", "ccddata", "lsst-background", "dcr-subfilters")
COMPRESSIBLE = frozenset({OWN, "jwst"})

BAD_PLANES = "BAD,SAT,CR,EDGE,NO_DATA,SAT_TEMPLATE,UNMASKEDNAN"
"""Planes of pixels that no statistics should use."""


@click.command(cls=StageCommand)
@input_files
@one_or_dir_output
@click.option(
    "--to",
    type=click.Choice((OWN, *EXPORTS), case_sensitive=False),
    default=OWN,
    help="Layout to write. swarp: an image and NAME.weight.fits; jwst: SCI, ERR, DQ; ccddata: an "
    "image, MASK, UNCERT; lsst-background: the background that was subtracted, a list of layers; "
    "dcr-subfilters: a DCR model as NAME.subfilter0.fits (the bluest) and so on, files of ours.",
)
@click.option(
    "--bad-planes",
    type=PLANES,
    default=BAD_PLANES,
    help="Planes whose pixels are bad where the layout has no planes.",
)
@reading_options
@common_options
@click.pass_context
def convert(
    ctx: click.Context,
    inputs: tuple[str, ...],
    destination: Destination,
    to: str,
    bad_planes: tuple[str, ...],
    reading: ReadOptions,
    run: RunOptions,
) -> None:
    """Write a file of any known layout in another.

    The product is one of ours, with all that the input holds: image, named mask planes, variance,
    coordinates, PSF, calibration; or, by --to, one for a program that cannot read ours. Of a file
    with several exposures --output takes one, FILE[EXT], and --output-dir all.

    \b
    Examples:
      skytool convert raw7_ooi_g.fits.fz -d ours
      skytool convert warp.fits -o for-swarp/warp.fits --to swarp
      skytool convert flat.fits --gain 1.7 --read-noise 4.5 --saturate 60000 -o flat-ours.fits
    """
    if to == OWN and ctx.get_parameter_source("bad_planes") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--bad-planes is for --to: our files keep every plane.", ctx)
    if run.compress != "none" and to not in COMPRESSIBLE:
        names = " and ".join(sorted(COMPRESSIBLE))
        raise click.UsageError(f"--compress does not go with --to {to}, only with {names}.", ctx)
    if to not in COMPRESSIBLE and destination.is_tiled:
        raise click.UsageError(f"--to {to} writes no compressed images, which .fz promises.", ctx)
    from skytool.cli.convert.units import convert_units

    convert_units(
        inputs,
        destination=destination,
        to=to,
        bad_planes=bad_planes,
        reading=reading,
        run=run,
        recorded=settings_of(ctx),
    )
