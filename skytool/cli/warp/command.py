"""``skytool warp``: the exposures of a visit on one grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from skytool.cli.config import StageCommand, settings_of
from skytool.cli.options import (
    INPUT,
    PLANES,
    CommaList,
    Number,
    common_options,
    input_files,
    one_or_dir_output,
    reading_options,
)
from skytool.cli.target import Target, target_options
from skytool.cli.warp.matching import Matching, matching_options
from skytool.cli.warp.selection import Selection, selection_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.io.sources import ReadOptions

F = TypeVar("F", bound="Callable[..., Any]")

KERNELS = (
    *("lanczos3", "lanczos4", "lanczos5", "spline3", "bilinear", "nearest"),
    *("adaptive", "exact"),
)

_KERNEL_OPTIONS = (
    click.option(
        "--kernel",
        "--warping-kernel-name",
        type=click.Choice(KERNELS, case_sensitive=False),
        default="lanczos3",
        help="Resampling kernel. lanczos5 and spline3 measure fluxes of well-sampled stars better "
        "and need more pixels around; adaptive and exact are those of reproject.",
    ),
    click.option(
        "--mask-kernel",
        "--mask-warping-kernel-name",
        type=click.Choice([*KERNELS[:6], ""]),
        default="bilinear",
        help="Kernel over which mask planes spread; '' is the whole footprint of --kernel.",
    ),
    click.option(
        "--grow-planes",
        "--grow-full-mask",
        type=PLANES,
        default="EDGE",
        help="Planes that spread over the whole footprint of --kernel.",
    ),
    click.option(
        "--oversample",
        default="auto",
        metavar="auto|N",
        help="Samples per pixel and axis; auto takes more than one where pixels of the grid are "
        "more than 1.5 times as wide as those of the exposure.",
    ),
    click.option(
        "--pixel-area",
        type=click.Choice(["centred", "backward"]),
        default="centred",
        help="Area of a pixel from its neighbours on both sides, or from those on the left and "
        "below, as the LSST pipelines take it.",
    ),
    click.option(
        "--surface-brightness",
        is_flag=True,
        help="Keep values per area instead of fluxes per pixel.",
    ),
    click.option(
        "--wcs-step",
        "--interp-length",
        type=click.IntRange(min=0),
        default=64,
        help="Spacing of the nodes between which positions are interpolated [pixel]; 0: none.",
    ),
    click.option(
        "--wcs-interpolation",
        type=click.Choice(["polynomial", "linear"]),
        default="polynomial",
        help="How positions are interpolated between the nodes.",
    ),
    click.option(
        "--wcs-tolerance",
        type=Number(minimum=0),
        default=1e-6,
        help="Largest error of an interpolated position [pixel]; the spacing is halved until it "
        "holds; 0: not verified.",
    ),
)

_PIXEL_OPTIONS = (
    click.option(
        "--fill",
        type=click.Choice(["interp", "zero", "none"]),
        default="interp",
        help="What replaces unusable pixels before resampling.",
    ),
    click.option(
        "--fill-planes",
        type=PLANES,
        default="BAD,SAT,CR,NO_DATA",
        help="Planes of unusable pixels, beside values that are not finite.",
    ),
    click.option(
        "--bad-planes",
        "--bad-mask-planes",
        type=PLANES,
        default="NO_DATA",
        help="Warped pixels with these planes are not used.",
    ),
    click.option(
        "--overlap",
        type=click.Choice(["last", "first", "best-variance", "mean"]),
        default="last",
        help="Which detector of the visit a pixel is taken from, in order of their numbers.",
    ),
    click.option(
        "--units",
        type=click.Choice(["auto", "njy", "zeropoint", "input"]),
        default="auto",
        help="Units of the warp: nJy, those of --zeropoint, or those of the first exposure; auto: "
        "nJy if all exposures are calibrated.",
    ),
    click.option(
        "--zeropoint", type=Number(), help="AB magnitude of one unit, with --units zeropoint [mag]."
    ),
    click.option(
        "--calib-variance",
        "--include-calib-var",
        is_flag=True,
        help="Add the error of the photometric calibration to the variance.",
    ),
    click.option(
        "--scale-variance",
        "--do-scale-variance",
        is_flag=True,
        help="Multiply the variance of the warp by the factor, VARSCALE, that makes it the one of "
        "the scatter of its sky.",
    ),
    click.option(
        "--add-background",
        type=INPUT,
        metavar="stored|FILE",
        help="Add a background that was subtracted before: the layers stored in the exposure, or "
        "a model; {stem}, {visit} and {detector} in the name stand for those of the exposure.",
    ),
    click.option(
        "--bg-subtracted/--no-bg-subtracted",
        default=True,
        help="Leave the background subtracted, or add the layers stored in the exposure as "
        "--add-background stored does.",
    ),
    click.option(
        "--sky-correction",
        "--do-apply-sky-corr",
        type=INPUT,
        metavar="FILE",
        help="Subtract a model of the sky, named like that of --add-background.",
    ),
    click.option(
        "--flat-background-ratio",
        "--do-apply-flat-background-ratio",
        type=INPUT,
        metavar="FILE",
        help="Flat field of the background over that of stars, an image named like the models of "
        "--add-background: with both models the exposure counts as divided by it.",
    ),
    click.option(
        "--write-empty",
        "--do-write-empty-warps",
        is_flag=True,
        help="Also write a warp without any value, of a visit that only seems to see the grid.",
    ),
    click.option(
        "--psf-overlap",
        type=click.Choice(["taken", "all"]),
        default="taken",
        help="PSF where several detectors see a star: that of the detector the pixels are taken "
        "from, or the mean of all.",
    ),
    click.option(
        "--psf-shift",
        type=click.Choice(["model", "lanczos5"]),
        default="model",
        help="How the PSF of a detector gets its place between pixels: by its model, or by "
        "resampling its image.",
    ),
    click.option(
        "--noise",
        "--number-of-noise-realizations",
        type=click.IntRange(min=0, max=99),
        default=0,
        metavar="N",
        help="Also write N realisations of the noise, resampled like the image.",
    ),
    click.option(
        "--noise-variance",
        type=click.Choice(["median", "pixel"]),
        default="median",
        help="Variance of the realisations: the median of each exposure, or that of each pixel.",
    ),
    click.option(
        "--noise-seed",
        "--seed-offset",
        type=click.IntRange(min=0),
        default=0,
        help="Seed of the random numbers.",
    ),
    click.option(
        "--masked-fraction",
        "--do-warp-masked-fraction",
        is_flag=True,
        help="Also write the fraction of every pixel that comes from unusable ones.",
    ),
)


def _warp_options(function: F) -> F:
    decorated: Any = function
    for option in reversed(_KERNEL_OPTIONS + _PIXEL_OPTIONS):
        decorated = option(decorated)
    return cast("F", decorated)


@click.command(cls=StageCommand)
@input_files
@one_or_dir_output
@target_options
@selection_options
@matching_options
@_warp_options
@click.option(
    "--group-by",
    type=CommaList(),
    metavar="KEYWORD,...|none",
    help="Header keywords that together name a visit, instead of the usual ones; none: every "
    "exposure by itself. With --output all inputs are one visit.",
)
@reading_options
@common_options
@click.pass_context
def warp(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    destination: Destination,
    target: Target,
    matching: Matching,
    selection: Selection,
    group_by: tuple[str, ...] | None,
    reading: ReadOptions,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Resample the exposures of a visit to one grid.

    Every exposure is brought to common flux units and resampled with its mask and variance; the
    exposures of one visit become one image, warp-VISIT.fits. Where no exposure covers the whole
    footprint of the kernel, the image is NaN, the variance infinite and the mask NO_DATA.

    \b
    Examples:
      skytool warp raw/v101_*.fits --like grid.hdr -o warp.fits
      skytool warp raw/*.fits --auto -d warps -j 2
      skytool warp raw/*.fits --center 150.1,2.2 --pixel-scale 0.2 --size 10m,10m -d warps
    """
    from skytool.cli.warp.units import warp_units

    warp_units(
        inputs,
        destination=destination,
        target=target,
        matching=matching,
        selection=selection,
        group_by=group_by,
        reading=reading,
        run=run,
        settings=settings,
        recorded=settings_of(ctx),
    )
