"""``skytool show``: a picture of exposures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from skytool.cli.config import OutputOption, StageCommand
from skytool.cli.options import PLANES, CommaList, common_options, input_files
from skytool.cli.reading import reading_options

if TYPE_CHECKING:
    from skytool.cli.options import RunOptions
    from skytool.io.sources import ReadOptions

STRETCHES = ("asinh", "linear", "sqrt", "log")
NAMED_LIMITS = ("auto", "zscale", "minmax")
FORMATS = ("png", "pdf", "svg")


def _limits(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> str | tuple[float, float]:
    """Return the name of limits, or the two numbers."""
    if len(value) == 1 and value[0].lower() in NAMED_LIMITS:
        return value[0].lower()
    try:
        low, high = (float(text) for text in value)
    except ValueError:
        names = ", ".join(NAMED_LIMITS)
        raise click.BadParameter(f"write LOW,HIGH or one of {names}.", ctx, param) from None
    if not low < high < float("inf") or low == float("-inf"):
        raise click.BadParameter(f"{low:g} is not below {high:g}.", ctx, param)
    return low, high


def _planes(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...] | None:
    """Return the planes to draw, None for the usual ones."""
    if value == ("AUTO",):
        return None
    return () if value == ("NONE",) else value


def _format_of(ctx: click.Context, output: Path) -> str:
    """Return the format that the name of the picture ends in, PNG for what is no regular file."""
    from skytool.io.atomic import is_written_through

    ending = output.suffix.lower().removeprefix(".")
    if ending in FORMATS:
        return ending
    if str(output) == "-" or is_written_through(output):
        return FORMATS[0]
    known = ", ".join(f".{name}" for name in FORMATS)
    raise click.UsageError(
        f"{output.name} has the ending of no picture; it can be {known}: --output {output.stem}.png.",
        ctx,
    )


@click.command(cls=StageCommand)
@input_files(metavar="FILE...")
@click.option(
    "-o",
    "--output",
    cls=OutputOption,
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The picture, .png, .pdf or .svg; - is standard output, in PNG.",
)
@click.option(
    "--extension",
    type=CommaList(),
    default="IMAGE",
    metavar="NAME,...",
    help="What to draw of every exposure: IMAGE, VARIANCE, MASK, PSF, BKG (the whole background), "
    "DCR (the subfilters of a DCR model as colours), "
    "BEFORE (the image with the background put back), SKYFIT (averages over superpixels against "
    "the sky frame, before and after), PSFSTARS (widths of stars beside the PSF), PSFFWHM (a map of the width of the PSF), PSFRESID (what the PSF leaves of used and reserved stars), KERNELS, SNRHIST, "
    "SOURCES (of a difference its kernel at nine places, the histogram of signal-to-noise ratios, "
    "and where sources are), or another extension; each gets a panel.",
)
@click.option(
    "--stretch",
    type=click.Choice(STRETCHES, case_sensitive=False),
    help="How shades follow values: asinh for images, linear for models, unless given.",
)
@click.option(
    "--limits",
    type=CommaList(),
    default="auto",
    metavar="LOW,HIGH|auto|zscale|minmax",
    callback=_limits,
    help="Values of black and white [unit of the image]; auto: as zscale for the sky, and up to "
    "bright sources where the stretch is not linear.",
)
@click.option(
    "--planes",
    type=PLANES,
    default="auto",
    metavar="PLANE,...|auto|all|none",
    callback=_planes,
    help="Mask planes to draw over the image; auto: all but those that lie on sources.",
)
@click.option(
    "--size",
    type=CommaList(click.IntRange(100, 20_000), length=2),
    metavar="WIDTH,HEIGHT",
    help="Room for the picture [pixel of the picture].",
)
@reading_options
@common_options(without=("jobs", "scheduler", "compress", "reuse", "progress", "allow_empty"))
@click.pass_context
def show(
    ctx: click.Context,
    inputs: tuple[str, ...],
    output: Path,
    extension: tuple[str, ...],
    stretch: str | None,
    limits: str | tuple[float, float],
    planes: tuple[str, ...] | None,
    size: tuple[int, int] | None,
    reading: ReadOptions,
    run: RunOptions,
) -> None:
    """Draw exposures as one picture: PNG, PDF or SVG, as the ending of --output says.

    The sky is dark, sources are bright, mask planes have colours, pixels without value are
    slate; arrows point north and east. Several exposures are panels of one picture. Numbers along
    the edges are pixels of the parent frame, 0-based. Needs matplotlib, the extra plot.

    \b
    Examples:
      skytool show warp.fits -o warp.png
      skytool show warp.fits --extension IMAGE,VARIANCE,MASK,PSF -o all.png
      skytool show warps/*.fits --limits=-100,2000 --planes none -o night.png
      skytool show flat.fits --extension BEFORE,IMAGE,BKG,SKYFIT -o sky.png
    """
    from skytool.cli.show.units import show_files

    show_files(
        inputs,
        output,
        extensions=extension,
        view={"stretch": stretch, "limits": limits, "planes": planes},
        size=size,
        kind=_format_of(ctx, output),
        reading=reading,
        run=run,
    )
