"""``skytool diffim``: the difference of two exposures of one field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from skytool.cli.config import OutputOption, StageCommand, settings_of
from skytool.cli.diffim.options import difference_options
from skytool.cli.diffim.sources import source_options
from skytool.cli.options import INPUT, CommaList, common_options, output_file, reading_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from skytool.cli.diffim.sources import SourceOptions
    from skytool.cli.options import RunOptions
    from skytool.io.sources import ReadOptions

F = TypeVar("F", bound="Callable[..., Any]")


def _output(name: str, text: str) -> Callable[[F], F]:
    return click.option(
        name,
        cls=OutputOption,
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help=text,
    )


@click.command(cls=StageCommand)
@click.argument("science", type=INPUT, metavar="SCIENCE")
@click.argument("template", type=INPUT, metavar="TEMPLATE")
@output_file
@_output("--matched-template", "File for the convolved image.")
@_output("--kernel-out", "File for the kernel alone.")
@click.option(
    "--kernel-in",
    type=INPUT,
    metavar="FILE",
    help="Take the kernel and background of this file instead of fitting them.",
)
@click.option(
    "--catalog",
    type=INPUT,
    metavar="FILE",
    help="Sources to fit the kernel to: a FITS or text table with positions and S/N or fluxes.",
)
@click.option(
    "--catalog-first-pixel",
    type=click.IntRange(0, 1),
    help="Number of the first pixel in the positions of --catalog; by default 1 in columns named "
    "like those of SExtractor, else 0.",
)
@click.option(
    "--bad-source-flags",
    type=CommaList(click.STRING),
    default="",
    help="Columns of --catalog that mark sources as unfit, beside those known by their names.",
)
@click.option(
    "--external-calibrations",
    "--do-apply-external-calibrations",
    "--do-apply-finalized-psf",
    type=INPUT,
    metavar="FILE[EXT]",
    help="PSF of the science image instead of its own, as skytool psf writes it.",
)
@click.option(
    "--align",
    is_flag=True,
    help="Resample the template to the grid of the science image, if it is on another.",
)
@click.option(
    "--preconvolve",
    is_flag=True,
    help="Make the score, and detect sources, from the science image correlated with its PSF before "
    "the match, instead of from the difference.",
)
@click.option("--template-psf", type=INPUT, metavar="FILE[EXT]", help="PSF of the template.")
@click.option("--template-mask", type=INPUT, metavar="FILE[EXT]", help="Mask of the template.")
@click.option(
    "--template-variance", type=INPUT, metavar="FILE[EXT]", help="Variance of the template."
)
@difference_options
@source_options
@reading_options
@common_options
@click.pass_context
def diffim(
    ctx: click.Context,
    /,
    science: str,
    template: str,
    output: Path,
    source: SourceOptions,
    reading: ReadOptions,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Subtract a template from a science image.

    The template is convolved with a kernel that varies over the image and makes its stars like
    those of the science image; then the noise of the difference is made white. The difference has
    its own PSF, variance and mask, and is in units of the science image. Both images must be on one
    grid of pixels (skytool warp --like); the template may be larger.

    \b
    Examples:
      skytool diffim science.fits template.fits -o difference.fits
      skytool diffim science.fits template.fits -o d.fits --score s.fits --sources c.fits
      skytool diffim science.fits template.fits -o d.fits --kernel-out k.fits --check --json
    """
    from skytool.cli.diffim.units import DiffimFiles, diffim_units

    external = settings.pop("external_calibrations")
    if external is not None:
        if reading.psf is not None:
            raise click.UsageError("--psf and --external-calibrations both give a PSF.", ctx)
        reading = replace(reading, psf=external)
    files = DiffimFiles(
        science=science,
        template=template,
        output=output,
        matched=settings.pop("matched_template"),
        kernel_out=settings.pop("kernel_out"),
        kernel_in=settings.pop("kernel_in"),
        catalog=settings.pop("catalog"),
        first_pixel=settings.pop("catalog_first_pixel"),
        bad_flags=settings.pop("bad_source_flags"),
        align=settings.pop("align"),
        preconvolve=settings.pop("preconvolve"),
        template_planes={
            name: settings.pop(f"template_{name}") for name in ("psf", "mask", "variance")
        },
    )
    diffim_units(
        files,
        source=source,
        reading=reading,
        run=run,
        settings=settings,
        recorded=settings_of(ctx),
    )
