"""The options of ``skytool skyframe build`` that say how exposures are combined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from skytool.cli.options import with_options
from skytool.cli.param_types import Number
from skytool.cli.skyframe.options import POSITIVE, STATISTIC, choice

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")


_COMBINE_OPTIONS = [
    click.option(
        "--large-scale-model",
        type=choice("polynomial", "cells", "none"),
        default="polynomial",
        help="Smooth background of each exposure, beside its level: a polynomial over the "
        "focal plane, fitted together with the pattern; cells of the focal plane, taken off "
        "before; none.",
    ),
    click.option(
        "--large-scale-order",
        type=click.IntRange(0, 6),
        default=2,
        help="Degree of the polynomial.",
    ),
    click.option(
        "--keep-common",
        type=choice("auto", "always", "never"),
        default="auto",
        help="Whether what the polynomials of all exposures have in common is part of the "
        "pattern; auto: where it is more than chance makes of single exposures.",
    ),
    click.option(
        "--combine",
        type=STATISTIC,
        default="meanclip",
        help="How exposures are combined.",
    ),
    click.option(
        "--combine-by",
        type=choice("errors", "scatter"),
        default="errors",
        help="Weight and reject by the errors of the superpixels, or equal weights and "
        "rejection by the scatter of the exposures.",
    ),
    click.option(
        "--combine-clip",
        type=POSITIVE,
        default=4.0,
        help="Largest difference from the other exposures [sigma].",
    ),
    click.option(
        "--combine-iter",
        type=click.IntRange(min=1),
        default=3,
        help="Passes of the rejection.",
    ),
    click.option(
        "--noise-pool",
        type=Number(minimum=0),
        default=256.0,
        help="Blocks with the typical noise that count beside a superpixel's own.",
    ),
    click.option(
        "--fill-objects",
        type=choice("none", "model", "median"),
        default="none",
        help="What pixels of objects become: left out, a smooth model, or the median.",
    ),
    click.option(
        "--fill-bin-size",
        type=click.FloatRange(min=4),
        default=256.0,
        help="Cells of the smooth model [pixel].",
    ),
    click.option(
        "--passes",
        type=click.IntRange(1, 5),
        default=2,
        help="How often frames are made; from the second time on, objects are sought in "
        "exposures less the frame before.",
    ),
    click.option(
        "--min-exposures",
        type=click.IntRange(min=1),
        default=3,
        help="Least number of exposures of a detector, and of a superpixel with a value of "
        "its own.",
    ),
    click.option(
        "--max-deviation",
        type=Number(minimum=0),
        default=0.5,
        help="Leave an exposure out if the pattern of the others is weaker or stronger in "
        "it by more than this fraction; 0: never.",
    ),
    click.option(
        "--components",
        type=click.IntRange(1, 10),
        default=1,
        help="Number of patterns: the mean, and the principal ones of what varies.",
    ),
    click.option(
        "--fill-missing",
        type=choice("interpolate", "median"),
        default="interpolate",
        help="What superpixels without a value get: a value between those of their "
        "neighbours, or the median.",
    ),
]


def combine_options(function: F) -> F:
    """Add the options that say how exposures are combined to frames."""
    return with_options(_COMBINE_OPTIONS)(function)
