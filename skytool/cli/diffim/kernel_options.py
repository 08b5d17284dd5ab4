"""The options of ``skytool diffim`` that are about the matching kernel: tables of them."""

from __future__ import annotations

from typing import Any

import click

from skytool.cli.options import PLANES, CommaList

OptionTable = dict[str, tuple[str, dict[str, Any]]]
"""Of every option, its name among the settings and the other arguments of click."""

SHARE = click.FloatRange(0, 1)
POSITIVE = click.FloatRange(min=0, min_open=True)
_COUNT = click.IntRange(min=0)


class AutoNumber(click.ParamType[str]):
    """A whole number of at least zero, or ``auto``."""

    name = "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the text and return it."""
        text = str(value).strip().lower()
        if text != "auto" and not (text.isdecimal() and text.isascii()):
            self.fail(f"{value!r} is neither auto nor a whole number.", param, ctx)
        return text


def choice(*values: str, **more: Any) -> dict[str, Any]:
    """Return the arguments of an option with some values, the first of them the default."""
    return {"type": click.Choice(values, case_sensitive=False), "default": values[0], **more}


def plane_names(default: str, text: str) -> dict[str, Any]:
    """Return the arguments of an option for names of mask planes."""
    return {"type": PLANES, "default": default, "help": text}


BASIS: OptionTable = {
    "--kernel-basis-set": (
        "kind",
        choice("alard-lupton", "delta", help="Gaussians times polynomials, or single pixels."),
    ),
    "--kernel-size": (
        "size",
        {
            "type": click.IntRange(min=3),
            "default": 21,
            "help": "Side of the kernel where it does not follow from the PSFs, odd [pixel].",
        },
    ),
    "--scale-by-fwhm/--no-scale-by-fwhm": (
        "scale_by_fwhm",
        {"default": True, "help": "Take widths and size from the PSFs."},
    ),
    "--kernel-size-fwhm-scaling": (
        "size_scaling",
        {"type": POSITIVE, "default": 6.0, "help": "Kernel side over the largest width."},
    ),
    "--kernel-size-min": (
        "min_size",
        {"type": click.IntRange(min=3), "default": 21, "help": "Least side, odd [pixel]."},
    ),
    "--kernel-size-max": (
        "max_size",
        {"type": click.IntRange(min=3), "default": 35, "help": "Largest side, odd [pixel]."},
    ),
    "--alard-n-gauss": (
        "n_gauss",
        {"type": click.IntRange(1, 9), "default": 3, "help": "Number of Gaussians."},
    ),
    "--alard-deg-gauss": (
        "degrees",
        {
            "type": CommaList(click.IntRange(0, 9)),
            "default": "4,2,2",
            "help": "Degrees of their polynomials.",
        },
    ),
    "--alard-deg-gauss-deconv": (
        "deconvolution_degrees",
        {
            "type": CommaList(click.IntRange(0, 9)),
            "default": "6,4,4",
            "help": "The same where the PSF gets narrower.",
        },
    ),
    "--alard-sig-gauss": (
        "widths",
        {
            "type": CommaList(POSITIVE),
            "default": "0.7,1.5,3.0",
            "help": "Their widths where these do not follow from the PSFs [pixel].",
        },
    ),
    "--alard-gauss-beta": (
        "beta",
        {
            "type": click.FloatRange(min=1, min_open=True),
            "default": 2.0,
            "help": "Ratio of successive widths.",
        },
    ),
    "--alard-min-sig": (
        "min_sigma",
        {"type": POSITIVE, "default": 0.7, "help": "Least width [pixel]."},
    ),
    "--alard-min-sig-deconv": (
        "min_sigma_deconvolution",
        {"type": POSITIVE, "default": 0.4, "help": "The same where the PSF gets narrower."},
    ),
    "--regularization-type": (
        "regularization",
        choice(*("central", "forward", "none"), help="Penalty on roughness of a kernel of pixels."),
    ),
    "--central-regularization-stencil": (
        "stencil",
        {"type": click.Choice(["5", "9"]), "default": "9", "help": "Points of its Laplacian."},
    ),
    "--forward-regularization-orders": (
        "forward_orders",
        {
            "type": CommaList(click.IntRange(1, 3)),
            "default": "1,2",
            "help": "Orders of its forward differences.",
        },
    ),
    "--regularization-border-penalty": (
        "border_penalty",
        {"type": POSITIVE, "default": 3.0, "help": "Weight of the border of the kernel in it."},
    ),
    "--lambda-type": (
        "strength_kind",
        choice(
            "relative",
            "absolute",
            help="Whether its strength is over the trace of the equations.",
        ),
    ),
    "--lambda-value": (
        "strength",
        {"type": click.FloatRange(min=0), "default": 1e-4, "help": "Its strength."},
    ),
    "--num-principal-components": (
        "n_components",
        {
            "type": click.IntRange(min=1),
            "default": 5,
            "help": "Components that a kernel of pixels is reduced to.",
        },
    ),
}
STARS: OptionTable = {
    "--detection-threshold": (
        "min_snr",
        {"type": POSITIVE, "default": 10.0, "help": "Least S/N of sources for the kernel."},
    ),
    "--detection-threshold-max": (
        "max_snr",
        {"type": POSITIVE, "default": float("inf"), "help": "Largest S/N of these."},
    ),
    "--max-kernel-sources": (
        "most",
        {
            "type": click.IntRange(min=-1),
            "default": 400,
            "help": "Most sources for the kernel; 0 or -1: no limit.",
        },
    ),
    "--min-kernel-sources": (
        "least",
        {"type": click.IntRange(min=1), "default": 3, "help": "Fewest sources for the kernel."},
    ),
    "--allow-kernel-source-detection/--no-allow-kernel-source-detection": (
        "allow_detection",
        {
            "default": False,
            "help": "Search sources if no kernel can be fitted to those of --catalog.",
        },
    ),
    "--restrict-kernel-edge-sources/--no-restrict-kernel-edge-sources": (
        "edge",
        {"default": False, "help": "Keep sources away from the edge by the kernel, too."},
    ),
    "--exclude-mask-planes": (
        "bad_planes",
        plane_names(
            "NO_DATA,BAD,SAT,EDGE,CR,FAKE,STREAK,HIGH_VARIANCE",
            "Planes of pixels that no kernel is fitted to.",
        ),
    ),
    "--min-good-fraction": (
        "min_good",
        {"type": SHARE, "default": 0.8, "help": "Least part of good pixels in a stamp."},
    ),
    "--spread-kernel-sources/--no-spread-kernel-sources": (
        "spread",
        {"default": True, "help": "Leave out surplus sources where there are many of them."},
    ),
    "--size-cell": (
        "cell",
        {
            "type": CommaList(click.IntRange(min=8), length=2),
            "default": "128,128",
            "help": "Width and height of the cells that sources are taken from [pixel].",
        },
    ),
}
FIT: OptionTable = {
    "--spatial-kernel-order": (
        "kernel_order",
        {
            "type": AutoNumber(),
            "default": "auto",
            "help": "Order of the variation of the kernel over the image; auto: the one that "
            "predicts sources best.",
        },
    ),
    "--max-spatial-kernel-order": (
        "max_kernel_order",
        {"type": click.IntRange(0, 5), "default": 2, "help": "Highest order to choose from."},
    ),
    "--phot-scale-order": (
        "scale_order",
        {
            "type": click.IntRange(0, 5),
            "default": 0,
            "help": "Order of the variation of the sum of the kernel.",
        },
    ),
    "--spatial-bg-order": (
        "background_order",
        {
            "type": click.IntRange(-1, 8),
            "default": 2,
            "help": "Order of the background; -1 for none.",
        },
    ),
    "--background-from": (
        "background",
        choice("sky", "stamps", help="Where the background is fitted."),
    ),
    "--spatial-design": (
        "design",
        choice(
            *("exact", "stamp"),
            help="Where the variation over the image is evaluated: in every pixel, or at each "
            "source.",
        ),
    ),
    "--weights": (
        "weighting",
        choice(
            "pixel",
            "stamp",
            help="Weights by the variance of each pixel, or by the median of each stamp.",
        ),
    ),
    "--correct-kernel-noise/--no-correct-kernel-noise": (
        "correct_noise",
        {
            "default": True,
            "help": "Take off what noise of the convolved image does to the kernel, which it makes "
            "too smooth, and let sources count by their light over noise; with weights by pixel.",
        },
    ),
    "--lower-orders/--no-lower-orders": (
        "lower_orders",
        {"default": True, "help": "Lower orders until there are two sources for each term."},
    ),
    "--n-star-per-cell": (
        "stars_per_cell",
        {"type": _COUNT, "default": 0, "help": "Sources in use in each cell; 0: all."},
    ),
    "--max-spatial-iterations": (
        "max_iterations",
        {"type": click.IntRange(1, 20), "default": 3, "help": "Spatial fits that may reject."},
    ),
    "--single-kernel-clipping/--no-single-kernel-clipping": (
        "single_clipping",
        {"default": True, "help": "Reject sources by the residual of a kernel of their own."},
    ),
    "--kernel-sum-clipping/--no-kernel-sum-clipping": (
        "sum_clipping",
        {"default": True, "help": "Reject sources by the sum of that kernel."},
    ),
    "--spatial-kernel-clipping/--no-spatial-kernel-clipping": (
        "spatial_clipping",
        {"default": True, "help": "Reject sources by the residual of the common kernel."},
    ),
    "--max-ksum-sigma": (
        "max_sum_sigma",
        {"type": POSITIVE, "default": 3.0, "help": "Largest deviation of a sum [sigma]."},
    ),
    "--ksum-scatter": (
        "sum_scatter",
        choice("own", "all", help="Whether sigma is the error of each sum, or their scatter."),
    ),
    "--candidate-residual-mean-max": (
        "max_residual_mean",
        {"type": POSITIVE, "default": 0.25, "help": "Largest mean residual [sigma]."},
    ),
    "--candidate-residual-std-max": (
        "max_residual_std",
        {"type": POSITIVE, "default": 1.5, "help": "Largest scatter of residuals [sigma]."},
    ),
    "--model-accuracy": (
        "accuracy",
        {
            "type": SHARE,
            "default": 0.01,
            "help": "Residuals that are allowed beside noise, over the light of the source.",
        },
    ),
    "--candidate-core-radius": (
        "core_radius",
        {
            "type": click.IntRange(min=1),
            "help": "Half side of the part of a stamp that residuals are taken from [pixel]; by "
            "default all.",
        },
    ),
}
