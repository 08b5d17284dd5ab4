"""The options of ``skytool diffim`` that are about the difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from skytool.cli.diffim.kernel_options import (
    BASIS,
    FIT,
    POSITIVE,
    SHARE,
    STARS,
    OptionTable,
    choice,
    plane_names,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from skytool.stages.diffim import DiffimConfig

F = TypeVar("F", bound="Callable[..., Any]")

_STAGE: OptionTable = {
    "--mode": (
        "mode",
        choice(
            *("auto", "convolve-template", "convolve-science"),
            help="Which image is convolved; auto: the one with the narrower PSF.",
        ),
    ),
    "--do-cosmic-rays/--no-do-cosmic-rays": (
        "cosmic_rays",
        {
            "default": True,
            "help": "Flag pixels of the difference that are sharper than a star, before they are "
            "spread.",
        },
    ),
    "--do-decorrelation/--no-do-decorrelation": (
        "decorrelate",
        {"default": True, "help": "Make the noise of the difference white."},
    ),
    "--measure-noise/--no-measure-noise": (
        "measure_noise",
        {
            "default": True,
            "help": "Measure what correlation is left, as of resampled images, and remove it.",
        },
    ),
    "--complete-var-plane-propagation/--no-complete-var-plane-propagation": (
        "pixel_variance",
        {
            "default": True,
            "help": "Carry the variance of every pixel through all convolutions, or scale the "
            "variances of the inputs.",
        },
    ),
    "--do-subtract-background/--no-do-subtract-background": (
        "subtract_background",
        {"default": True, "help": "Subtract the background that was fitted."},
    ),
    "--do-scale-variance/--no-do-scale-variance": (
        "scale_variance",
        {"default": True, "help": "Scale variances to the scatter of the pixels."},
    ),
    "--variance-from": (
        "variance_from",
        choice(
            "difference",
            "images",
            help="What tells the scatter: the difference, where no sources are, or each image.",
        ),
    ),
    "--max-variance-factor": (
        "max_variance_factor",
        {"type": POSITIVE, "default": 10.0, "help": "Largest factor on a variance."},
    ),
    "--required-template-fraction": (
        "required_fraction",
        {"type": SHARE, "default": 0.1, "help": "Least part of the image that is covered."},
    ),
    "--min-template-fraction-for-expected-success": (
        "expected_fraction",
        {
            "type": SHARE,
            "default": 0.2,
            "help": "Covered part below which a failure to fit a kernel is taken for nothing to do.",
        },
    ),
    "--preserve-template-mask": (
        "preserve_planes",
        plane_names("NO_DATA,BAD,HIGH_VARIANCE", "Planes of the template that are kept."),
    ),
    "--rename-template-mask": (
        "rename_planes",
        plane_names(
            "SAT,INJECTED,INJECTED_CORE",
            "Planes of the template that are kept as PLANE_TEMPLATE.",
        ),
    ),
    "--preserve-mask-planes": (
        "fixed_planes",
        plane_names(
            "INJECTED,INJECTED_CORE,INJECTED_TEMPLATE,INJECTED_CORE_TEMPLATE",
            "Planes that convolution does not spread.",
        ),
    ),
    "--bad-mask-planes": (
        "fill_planes",
        plane_names("NO_DATA,BAD,SAT,CR", "Planes of pixels that whitening does not spread."),
    ),
    "--mask-spread-fraction": (
        "mask_spread",
        {
            "type": SHARE,
            "default": 0.01,
            "help": "Part of the weight of the kernel that flagged pixels may hold without "
            "flagging the result.",
        },
    ),
    "--white-mask-spread-fraction": (
        "white_mask_spread",
        {
            "type": SHARE,
            "default": 0.02,
            "help": "The same of the kernel that makes noise white.",
        },
    ),
    "--bad-subtraction-ratio-threshold": (
        "max_residual_ratio",
        {
            "type": POSITIVE,
            "default": 0.2,
            "help": "Mean ratio of residuals to stars above which the difference is bad.",
        },
    ),
    "--bad-subtraction-variation-threshold": (
        "max_residual_scatter",
        {"type": POSITIVE, "default": 0.4, "help": "The same of the scatter of this ratio."},
    ),
}
_RAYS: OptionTable = {
    "--cr-threshold": (
        "threshold",
        {"type": POSITIVE, "default": 6.0, "help": "Least height of a cosmic ray [sigma]."},
    ),
    "--cr-min-counts": (
        "min_counts",
        {
            "type": click.FloatRange(min=0),
            "default": 0.0,
            "help": "Least sum of its pixels [unit of the image].",
        },
    ),
    "--cr-sharpness": (
        "sharpness",
        {
            "type": POSITIVE,
            "default": 0.35,
            "help": "Light beside a pixel over that of a star, below which it is a cosmic ray.",
        },
    ),
}
_PARTS = {"": _STAGE, "cosmic_ray": _RAYS, "basis": BASIS, "stars": STARS, "fit": FIT}


def difference_options(function: F) -> F:
    """Add the options that say how to subtract, under the names of `stage_config`."""
    decorated: Any = function
    for part in reversed(_PARTS):
        for declaration, (_, arguments) in reversed(_PARTS[part].items()):
            decorated = click.option(declaration, **arguments)(decorated)
    return cast("F", decorated)


def _key(declaration: str) -> str:
    """Return the name that click gives an option."""
    return declaration.split("/", maxsplit=1)[0].removeprefix("--").replace("-", "_")


def stage_config(settings: dict[str, Any]) -> DiffimConfig:
    """Return the settings of the stage, checked against each other.

    Raises
    ------
    click.UsageError
        If they do not go together.
    """
    from skytool.core.difference.cosmic_rays import CosmicRayRule
    from skytool.core.matching.kernel_fit_config import FitConfig
    from skytool.models.mask import parse_planes
    from skytool.stages.diffim import BasisConfig, DiffimConfig, StarsConfig

    values = {
        part: {name: settings[_key(declaration)] for declaration, (name, _) in table.items()}
        for part, table in _PARTS.items()
    }
    extra = ("FAKE", *(f"INJECTED{text}" for text in ("", "_CORE", "_TEMPLATE", "_CORE_TEMPLATE")))
    for part in ("", "stars"):
        for name in values[part]:
            if name.endswith("_planes"):
                values[part][name] = parse_planes(",".join(values[part][name]), extra)
    order = values["fit"]["kernel_order"]
    values["fit"]["kernel_order"] = None if order == "auto" else int(order)
    values["basis"]["stencil"] = int(values["basis"]["stencil"])
    values["stars"]["cell"] = tuple(reversed(values["stars"]["cell"]))
    try:
        return DiffimConfig(
            cosmic_ray=CosmicRayRule(**values["cosmic_ray"]),
            basis=BasisConfig(**values["basis"]),
            stars=StarsConfig(**values["stars"]),
            fit=FitConfig(**values["fit"]),
            **values[""],
        )
    except ValueError as error:
        raise click.UsageError(f"{error}.", click.get_current_context()) from error
