"""``skytool show``: a picture of exposures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from skytool.cli.config import StageCommand
from skytool.cli.options import PLANES, CommaList, common_options, input_files, output_file
from skytool.cli.reading import reading_options

if TYPE_CHECKING:
    from pathlib import Path

    from skytool.cli.options import RunOptions
    from skytool.io.sources import ReadOptions

STRETCHES = ("asinh", "linear", "sqrt", "log")
NAMED_LIMITS = ("auto", "zscale", "minmax")
OTHER_FORMATS = frozenset(
    {".eps", ".gif", ".jpeg", ".jpg", ".pdf", ".svg", ".tif", ".tiff", ".webp"}
)


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


@click.command(cls=StageCommand)
@input_files(metavar="FILE...")
@output_file
@click.option(
    "--extension",
    type=CommaList(),
    default="IMAGE",
    metavar="NAME,...",
    help="What to draw of every exposure: IMAGE, VARIANCE, MASK, PSF, BKG (the whole background), "
    "DCR (the subfilters of a DCR model as colours), "
    "BEFORE (the image with the background put back), SKYFIT (averages over superpixels against "
    "the sky frame, before and after), PSFSTARS (widths of stars beside the PSF), KERNELS, SNRHIST, "
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
def show(
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
    """Draw exposures as one PNG picture.

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

    if output.suffix.lower() in OTHER_FORMATS:
        raise click.UsageError(
            f"the picture is a PNG, and {output.name} would be taken for something else; "
            f"give --output {output.stem}.png.",
            click.get_current_context(),
        )
    show_files(
        inputs,
        output,
        extensions=extension,
        view={"stretch": stretch, "limits": limits, "planes": planes},
        size=size,
        reading=reading,
        run=run,
    )
