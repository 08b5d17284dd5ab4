"""The options of PSF-matched warps."""

from __future__ import annotations

import click

from skytool.cli.options import CommaList

SELECTION = (
    click.option(
        "--direct/--no-direct",
        "--make-direct/--no-make-direct",
        default=None,
        help="Make the warp as it is; by default, unless --output names a PSF-matched one.",
    ),
    click.option(
        "--psf-matched/--no-psf-matched",
        "--make-psf-matched/--no-make-psf-matched",
        default=False,
        help="Make a warp with the same PSF everywhere, psfMatchedWarp-VISIT.fits.",
    ),
    click.option(
        "--model-fwhm",
        "--default-fwhm",
        default="auto",
        metavar='auto|max|median|N|N"',
        help="Width of the core of the PSF to match to [pixel of the target, or arc seconds]; max: "
        "that of the widest PSF of all inputs, auto: a little more.",
    ),
)

MODEL = (
    click.option(
        "--model-wing/--no-model-wing",
        "--add-wing/--no-add-wing",
        default=True,
        help="The model has a second, wider Gaussian.",
    ),
    click.option(
        "--wing-fwhm-factor", type=float, default=2.5, help="Width of the wing over the core."
    ),
    click.option(
        "--wing-amplitude", type=float, default=0.1, help="Height of the wing over the core."
    ),
    click.option("--model-size", type=int, help="Side of the stamp of the model [pixel], odd."),
    click.option(
        "--model-size-factor",
        "--size-factor",
        type=float,
        default=3.0,
        help="Side of the stamp over the FWHM.",
    ),
    click.option(
        "--model-min-size",
        "--min-size",
        type=int,
        default=5,
        help="Least side of the stamp [pixel].",
    ),
    click.option(
        "--model-max-size", "--max-size", type=int, help="Largest side of the stamp [pixel]."
    ),
    click.option(
        "--model-taper",
        type=CommaList(float),
        default="0.8,1.2",
        metavar="A,B",
        help="Distances, over half the kernel side, between which the model is brought to zero; "
        "'' does not.",
    ),
)

MATCH = (
    click.option(
        "--match-basis",
        type=click.Choice(["wiener", "al"]),
        default="wiener",
        help="Kernel of free pixels, or of Gaussians times polynomials (Alard and Lupton).",
    ),
    click.option(
        "--kernel-size",
        "--matching-kernel-size",
        type=int,
        help="Side of the matching kernel [pixel], odd; from the model if not given.",
    ),
    click.option(
        "--alard-sig-gauss",
        type=CommaList(float),
        default="",
        metavar="S,...",
        help="Widths of the Gaussians [pixel]; from the PSFs if not given.",
    ),
    click.option(
        "--alard-deg-gauss",
        type=CommaList(int),
        default="4,2,2",
        metavar="N,...",
        help="Degrees of the polynomials on the Gaussians.",
    ),
    click.option(
        "--spatial-order",
        "--spatial-kernel-order",
        type=click.IntRange(min=0),
        default=2,
        help="Order of the polynomials of the position.",
    ),
    click.option(
        "--cell",
        "--size-cell",
        type=CommaList(click.IntRange(min=1)),
        default="128",
        metavar="NX[,NY]",
        help="Spacing of the positions at which the PSF is evaluated [pixel].",
    ),
    click.option(
        "--size-cell-x", type=click.IntRange(min=1), help="The first of --cell alone [pixel]."
    ),
    click.option(
        "--size-cell-y", type=click.IntRange(min=1), help="The second of --cell alone [pixel]."
    ),
    click.option(
        "--match-margin",
        type=click.IntRange(min=0),
        help="How far beyond the target exposures are resampled to be matched [pixel]; as far as "
        "the kernel reaches if not given.",
    ),
    click.option(
        "--ridge", type=click.FloatRange(min=0), default=1e-4, help="Weight of sum K^2 in the fit."
    ),
    click.option(
        "--max-noise-gain",
        type=float,
        default=1.0,
        help="Largest sum K^2; the ridge grows until it holds; 0: no limit.",
    ),
    click.option(
        "--match-region",
        type=click.Choice(["stamp", "valid"]),
        default="stamp",
        help="Pixels that are fitted: the whole stamp, or where the kernel lies inside it.",
    ),
    click.option(
        "--kernel-normalization",
        type=click.Choice(["whole", "first"]),
        default="whole",
        help="The sum of the kernel becomes one by dividing all of it, or by its first term.",
    ),
    click.option(
        "--auto-pad/--no-auto-pad",
        "--do-auto-pad-psf/--no-do-auto-pad-psf",
        default=True,
        help="Pad PSF stamps in proportion to the kernel.",
    ),
    click.option(
        "--auto-pad-to",
        "--auto-pad-psf-to",
        type=click.FloatRange(1.0, 2.0),
        default=1.4,
        help="Side of padded stamps over that of the kernel.",
    ),
    click.option(
        "--pad-by",
        "--pad-psf-by",
        type=int,
        default=0,
        help="Pixels added to the side of stamps without --auto-pad [pixel], even.",
    ),
    click.option(
        "--mask-fraction",
        type=click.FloatRange(0.0, 1.0),
        default=0.01,
        help="Part of the kernel that flagged pixels may hold before a matched pixel is flagged; "
        "0: none.",
    ),
    click.option(
        "--correlated-variance/--no-correlated-variance",
        default=True,
        help="Count in the variance of matched warps that resampling has made the noise of "
        "neighbours alike; otherwise pixels are taken for independent.",
    ),
)
