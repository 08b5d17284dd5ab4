"""The options of ``skytool match-bg`` that say how to match."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from skytool.cli.options import INPUT, PLANES, CommaList

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

_WEIGHT = click.FloatRange(0, 1, max_open=True)
_STYLES = (*("constant", "linear", "natural_spline", "cubic_spline", "akima_spline", "nearest"),)


class NumberOrAuto(click.ParamType[str]):
    """A number, or ``auto``.

    Parameters
    ----------
    integer : bool
        Whether it must be whole.
    minimum : float
        The least value.
    """

    name = "auto|N"

    def __init__(self, *, integer: bool, minimum: float) -> None:
        self.integer, self.minimum = integer, minimum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the text and return it."""
        text = str(value).strip().lower()
        if text == "auto":
            return text
        kind: click.ParamType[Any] = click.INT if self.integer else click.FLOAT
        number = kind.convert(text, param, ctx)
        if not (math.isfinite(number) and number >= self.minimum):
            self.fail(f"{value!r} is neither auto nor {self.minimum:g} or more.", param, ctx)
        return text


def _choice(*values: str) -> click.Choice[str]:
    return click.Choice(values, case_sensitive=False)


_REFERENCE_OPTIONS = (
    click.option(
        "--mode",
        type=_choice("auto", "reference", "global"),
        default="auto",
        help="reference: every input is matched to one exposure. global: the differences of all "
        "pairs that overlap are solved for at once. auto: global for the parts of a mosaic, that "
        "is where an input shares less than half of its pixels with the best reference; with "
        "--reference or curves always reference.",
    ),
    click.option(
        "-r",
        "--reference",
        type=INPUT,
        metavar="FILE[EXT]",
        help="Exposure that the others are matched to, an input or not; by default the input of "
        "least cost. With --mode global the one that stays as it is.",
    ),
    click.option("--ref-warp-visit", metavar="VISIT", help="Visit, among the inputs, to match to."),
    click.option(
        "--reference-cost",
        type=_choice("noise", "variance", "chi2"),
        default="noise",
        help="What makes an exposure a poor reference: noise and level of its sky; variance and "
        "mean of its pixels; noise and distance of its sky from a plane. Small coverage always.",
    ),
    click.option(
        "--best-ref-weight-coverage",
        "--best-ref-weight-global-coverage",
        type=_WEIGHT,
        default=0.8,
        help="Weight of the coverage in the cost.",
    ),
    click.option(
        "--best-ref-weight-variance",
        type=_WEIGHT,
        default=0.15,
        help="Weight of the noise or variance in the cost.",
    ),
    click.option(
        "--best-ref-weight-level",
        type=_WEIGHT,
        default=0.05,
        help="Weight of the level in the cost, without use for chi2.",
    ),
    click.option(
        "--best-ref-weight-chi2",
        type=_WEIGHT,
        default=0.1,
        help="Weight of the distance from a plane in the cost, with --reference-cost chi2.",
    ),
    click.option(
        "--gauge",
        type=_choice("reference", "mean", "lowest"),
        default="reference",
        help="What stays as it is with --mode global, in every group of inputs that hangs "
        "together: its reference, the mean of all, or the exposure with the lowest sky.",
    ),
    click.option(
        "--group-by",
        type=CommaList(),
        metavar="KEYWORD,...|none",
        help="Header keywords that together name a visit, whose files get one model. By default "
        "patches of a tract are grouped by the usual keywords, and other files are not.",
    ),
    click.option(
        "--offsets",
        type=INPUT,
        metavar="FILE",
        help="Text file of inputs whose offset is known: one a line, its name and what is added to "
        "its pixels [unit of image], as 'warp-7.fits -12.5'. The others are matched as ever; with "
        "--mode global to fit these.",
    ),
    click.option(
        "--scale",
        type=_choice("calibration", "fit", "none"),
        default="calibration",
        help="Factor that is applied first: from the photometric calibrations, where they are "
        "known and differ; from the fluxes of the sources; or none.",
    ),
)

_MODEL_OPTIONS = (
    click.option(
        "--use-polynomial/--no-use-polynomial",
        default=True,
        help="Model the difference by a Chebyshev polynomial, or by curves through the cells.",
    ),
    click.option(
        "--order",
        type=NumberOrAuto(integer=True, minimum=0),
        default="auto",
        help="Total degree of the polynomial; auto: the one that predicts cells best that are "
        "left out.",
    ),
    click.option(
        "--max-order",
        type=click.IntRange(0, 30),
        default=8,
        help="Highest degree that auto considers.",
    ),
    click.option(
        "--smoothing",
        type=NumberOrAuto(integer=False, minimum=0),
        default="0",
        help="Penalty on terms of high degree, instead of a choice of the degree; auto: by "
        "cross-validation.",
    ),
    click.option(
        "--undersample-style",
        type=_choice("throw_exception", "reduce_interp_order", "increase_nxnysample"),
        default="reduce_interp_order",
        help="Where there are too few cells: fail, take a simpler model, or smaller cells.",
    ),
    click.option(
        "--increase-as",
        type=_choice("size", "count"),
        default="size",
        help="What the number that increase_nxnysample finds means: a side of the cells, or "
        "their number along each axis.",
    ),
    click.option(
        "--approx-weighting/--no-approx-weighting",
        default=True,
        help="Weight cells by their errors in the fit of a polynomial.",
    ),
    click.option(
        "--weight-power",
        type=click.FloatRange(0, 2, min_open=True),
        default=2.0,
        help="Weights are 1 / error to this power.",
    ),
    click.option(
        "--weight-pooling",
        type=click.FloatRange(min=0),
        default=50.0,
        help="Pixels of typical scatter added to the estimate of each cell's scatter.",
    ),
    click.option(
        "--fit-clip",
        type=click.FloatRange(min=0),
        default=5.0,
        help="Cells further from the fit are left out [sigma]; 0: none.",
    ),
    click.option(
        "--max-condition",
        type=click.FloatRange(min=1),
        default=50.0,
        help="Largest condition number of a fit.",
    ),
    click.option(
        "--interp-style",
        type=_choice(*_STYLES),
        default="akima_spline",
        help="Curves through the cells, with --no-use-polynomial.",
    ),
    click.option(
        "--extrapolation",
        type=_choice("constant", "linear", "quadratic"),
        default="linear",
        help="How curves go on beyond the outer cells.",
    ),
    click.option(
        "--reach-cells",
        type=click.FloatRange(min=0),
        default=1.0,
        help="How far a model goes on beyond its cells before it keeps its value [cell]; inf: "
        "without end.",
    ),
)

_CELL_OPTIONS = (
    click.option(
        "--bin-size",
        type=NumberOrAuto(integer=True, minimum=1),
        default="auto",
        help="Side of a cell at most [pixel]; auto: a sixteenth of the shorter "
        "side of what both exposures have, 32 to 128.",
    ),
    click.option(
        "--grid-statistic",
        type=_choice("mean", "median", "meanclip", "mode", "biweight"),
        default="meanclip",
        help="Value of a cell.",
    ),
    click.option(
        "--num-sigma-clip",
        type=click.FloatRange(min=0, min_open=True),
        default=5.0,
        help="Clipping limit of meanclip [sigma].",
    ),
    click.option(
        "--num-iter", type=click.IntRange(min=1), default=5, help="Passes of the clipping."
    ),
    click.option(
        "--bad-mask-planes",
        type=PLANES,
        default="NO_DATA,DETECTED,DETECTED_NEGATIVE,SAT,BAD,INTRP,CR,EDGE,STREAK",
        help="Planes of pixels that do not count.",
    ),
    click.option(
        "--mask-sources",
        type=_choice("auto", "always", "never"),
        default="auto",
        help="Find sources and leave them out; auto: in exposures where no pixel is DETECTED.",
    ),
    click.option(
        "--min-fraction",
        type=click.FloatRange(0, 1),
        default=0.1,
        help="Least share of good pixels of a cell.",
    ),
    click.option(
        "--min-neighbors",
        type=click.IntRange(0, 8),
        default=0,
        help="Least number of the neighbours of a cell that have a value too.",
    ),
    click.option(
        "--cell-basis",
        type=_choice("average", "center"),
        default="average",
        help="Take the terms of a polynomial over the pixels that entered a cell, or at its "
        "centre. Curves go through cells moved to their centres, or as they are.",
    ),
    click.option(
        "--cell-scatter",
        type=_choice("flat", "raw"),
        default="flat",
        help="Errors of cells follow from their scatter, without what the slope of a polynomial "
        "gives, or as it is.",
    ),
    click.option(
        "--noise-correlation",
        type=NumberOrAuto(integer=False, minimum=0.01),
        default="auto",
        help="Factor by which correlated noise raises the variance of a mean of many pixels; auto: "
        "measured.",
    ),
    click.option(
        "--grid-stdev-epsilon",
        type=click.FloatRange(min=0),
        default=1e-8,
        help="Where no cell has a larger standard deviation, cells are not weighted [unit of "
        "image].",
    ),
)

_TRACT_OPTIONS = (
    click.option(
        "--tract-grid/--no-tract-grid",
        default=False,
        help="Model the difference on superpixels of the whole tract, each twice as wide as its "
        "spacing, instead of cells.",
    ),
    click.option(
        "--x-bin",
        type=click.FloatRange(min=2),
        default=128.0,
        help="Spacing of superpixels [pixel].",
    ),
    click.option(
        "--y-bin",
        type=click.FloatRange(min=2),
        default=128.0,
        help="Spacing of superpixels [pixel].",
    ),
    click.option(
        "--min-frac",
        type=click.FloatRange(0, 4),
        default=0.1,
        help="Least number of good pixels of a superpixel, in units of X-BIN times Y-BIN.",
    ),
    click.option(
        "--interpolation",
        type=_choice(*_STYLES),
        default="akima_spline",
        help="Curves that fill superpixels without a value.",
    ),
    click.option(
        "--do-smooth/--no-do-smooth", default=False, help="Smooth the superpixels by a Gaussian."
    ),
    click.option(
        "--smooth-scale",
        type=click.FloatRange(min=0, min_open=True),
        default=2.0,
        help="Sigma of that Gaussian [superpixel].",
    ),
    click.option(
        "--binning",
        type=click.IntRange(min=1),
        default=64,
        help="Side of the cells that each file gets from the superpixels [pixel].",
    ),
)

_QUALITY_OPTIONS = (
    click.option(
        "--max-ratio",
        type=click.FloatRange(min=0, min_open=True),
        help="Refuse a match whose mean square exceeds its variance by more than this factor.",
    ),
    click.option(
        "--max-rms",
        type=click.FloatRange(min=0, min_open=True),
        help="Refuse a match whose cells miss the model by more than this, rms [unit of image].",
    ),
    click.option(
        "--report-grid",
        type=_choice("model", "fixed"),
        default="model",
        help="Cells of that rms: those of the model, or cells of exactly the bin size.",
    ),
    click.option(
        "--quality-pixels",
        type=click.IntRange(min=0),
        default=1 << 20,
        help="Pixels, about, that the typical variance is taken from; 0: all.",
    ),
    click.option(
        "--add-fit-variance",
        is_flag=True,
        help="Add the variance of the model to that of the exposure.",
    ),
    click.option(
        "--fit-variance",
        type=_choice("model", "rms"),
        default="model",
        help="What that is: propagated from the cells, or the squared rms of the fit.",
    ),
    click.option(
        "--extrapolation-mask/--no-extrapolation-mask",
        default=True,
        help="Flag pixels where the model is extrapolated as EXTRAPOLATED.",
    ),
)


def match_options(function: F) -> F:
    """Add all of these options."""
    decorated: Any = function
    groups = (
        *(_REFERENCE_OPTIONS, _MODEL_OPTIONS, _CELL_OPTIONS, _TRACT_OPTIONS, _QUALITY_OPTIONS),
    )
    for option in reversed([option for group in groups for option in group]):
        decorated = option(decorated)
    return cast("F", decorated)
