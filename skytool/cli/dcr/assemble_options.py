"""Options of ``skytool dcr-assemble`` that say how the model is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from skytool.cli.options import INPUT, PLANES
from skytool.cli.param_types import CommaList

if TYPE_CHECKING:
    from collections.abc import Callable

SOLVERS = ("lsq", "iterative")
"""Solvers, the default first; the help of an option that is for one begins with its name."""

_POSITIVE = click.FloatRange(min=0, min_open=True)
_AT_LEAST_ZERO = click.FloatRange(min=0)


class SubfilterNumber(click.ParamType[int]):
    """A number of subfilters, or ``auto``, which is 0."""

    name = "N|auto"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the number."""
        text = str(value).strip().lower()
        if text in {"auto", "0"}:
            return 0
        if not text.isdecimal() or not 1 <= int(text) <= 20:
            self.fail(f"{value!r} is neither auto nor a number from 1 to 20.", param, ctx)
        return int(text)


COMMON = (
    click.option(
        "--template",
        type=INPUT,
        metavar="FILE[EXT]",
        help="Coadd on the same grid for the solver to begin with; by default the mean of the "
        "warps. The direct solution depends on it within --accuracy only.",
    ),
    click.option(
        "--num-subfilters",
        type=SubfilterNumber(),
        default="3",
        metavar="N|auto",
        help="Equal parts of the band, the bluest first; auto, or 0: as many as smear less than "
        "half a pixel each.",
    ),
    click.option(
        "--solver",
        type=click.Choice(SOLVERS, case_sensitive=False),
        default="lsq",
        help="Direct regularised least squares, or the steps of Sullivan & Reiss (DMTN-037).",
    ),
    click.option(
        "--bad-planes",
        type=PLANES,
        default="NO_DATA,BAD,SAT,CR,INTRP,STREAK",
        help="Pixels with these planes are left out.",
    ),
    click.option(
        "--subregion-size",
        type=CommaList(click.IntRange(min=32), length=2),
        default="1000,1000",
        metavar="NX,NY",
        help="Largest piece that is solved for at once [pixel].",
    ),
    click.option(
        "--border",
        type=click.IntRange(min=8),
        default=40,
        help="Pixels around a piece that help with the direct solution, beyond the largest shift.",
    ),
)

LSQ = (
    click.option(
        "--psf-aware/--no-psf-aware",
        default=False,
        help="lsq: model the sky with the sharpest PSF, of which every exposure shows it with its "
        "own; otherwise PSFs count as equal.",
    ),
    click.option(
        "--robust-sigma",
        type=_AT_LEAST_ZERO,
        default=5.0,
        help="lsq: deviation from which on the weight of a pixel falls; 0: never [sigma].",
    ),
    click.option(
        "--robust-amplitude",
        type=_AT_LEAST_ZERO,
        default=0.1,
        help="lsq: part of its brightness by which a pixel may deviate beyond that.",
    ),
    click.option(
        "--robust-rounds",
        type=click.IntRange(min=0),
        default=3,
        help="lsq: how often weights are made anew at most.",
    ),
    click.option(
        "--colour-amplitude",
        type=_POSITIVE,
        default=1.0,
        help="lsq: usual difference of the flux density at the red end of the band from that in "
        "the middle, relative to the latter.",
    ),
    click.option(
        "--colour-coherence",
        type=_POSITIVE,
        default=2.0,
        help="lsq: distance over which colours are alike [pixel].",
    ),
    click.option(
        "--colour-floor",
        type=_POSITIVE,
        default=0.2,
        help="lsq: colour of blank sky [sigma of the mean of the exposures].",
    ),
    click.option(
        "--flux-level",
        type=_POSITIVE,
        default=5.0,
        help="lsq: usual size of the pixels of blank sky without PSF; less is a smoother sky "
        "between the stars [sigma of the mean of the exposures].",
    ),
    click.option(
        "--accuracy",
        type=_POSITIVE,
        default=0.02,
        help="lsq: distance to the solution at which to stop [sigma a pixel].",
    ),
    click.option(
        "--max-solver-steps",
        type=click.IntRange(min=1),
        default=200,
        help="lsq: steps at most, each time weights are new.",
    ),
)


def _switch(name: str, *, default: bool, text: str) -> Callable[[Any], Any]:
    return click.option(f"--{name}/--no-{name}", default=default, help=f"iterative: {text}")


ITERATIVE = (
    click.option(
        "--max-num-iter",
        type=click.IntRange(min=0),
        help="iterative: go on to further steps at most so often, beyond the first two; by default "
        "three times the number of subfilters.",
    ),
    click.option(
        "--min-num-iter",
        type=click.IntRange(min=0),
        help="iterative: steps at least, beyond the first; by default the number of subfilters.",
    ),
    click.option(
        "--convergence-threshold",
        type=_AT_LEAST_ZERO,
        default=0.001,
        help="iterative: relative change of the convergence that ends it.",
    ),
    _switch("use-convergence", default=True, text="end before the most steps, if it converges."),
    click.option(
        "--base-gain",
        type=_POSITIVE,
        help="iterative: smallest weight of a step; by default 1 / (subfilters - 1).",
    ),
    _switch("use-progressive-gain", default=True, text="let the weight of steps grow."),
    _switch("do-airmass-weight", default=False, text="let residuals count by airmass."),
    _switch("use-model-weights", default=True, text="keep subfilters alike away from sources."),
    click.option(
        "--model-weights-width",
        type=_AT_LEAST_ZERO,
        default=3.0,
        help="iterative: smoothing of the area of sources for that [pixel].",
    ),
    _switch("split-subfilters", default=True, text="move the halves of a subfilter apart."),
    click.option(
        "--split-threshold",
        type=_AT_LEAST_ZERO,
        default=0.0,
        help="iterative: difference of their shifts from which on [pixel].",
    ),
    click.option(
        "--regularize-model-iterations",
        type=_AT_LEAST_ZERO,
        default=2.0,
        help="iterative: largest ratio of an image to that of the step before; 0: any.",
    ),
    click.option(
        "--regularize-model-frequency",
        type=_AT_LEAST_ZERO,
        default=4.0,
        help="iterative: largest ratio of subfilters; 0: any.",
    ),
    click.option(
        "--regularization-width",
        type=click.IntRange(min=0),
        default=2,
        help="iterative: radius of the smallest area that is limited so [pixel].",
    ),
    click.option(
        "--convergence-mask-planes",
        type=PLANES,
        default="DETECTED",
        help="iterative: planes of sources; where none is set, sources are found.",
    ),
    click.option(
        "--image-interp-order",
        type=click.IntRange(0, 5),
        default=3,
        help="iterative: degree of the splines that shift images.",
    ),
    click.option(
        "--accelerate-model",
        type=click.FloatRange(min=1),
        default=3.0,
        help="iterative: factor on the differences between subfilters.",
    ),
    _switch("keep-best", default=True, text="go back to the best solution if it diverges."),
    _switch("keep-negative", default=True, text="limit negative values by their own size."),
)


def refuse_other_solver(ctx: click.Context) -> None:
    """Refuse options on the command line that are for the solver that is not chosen.

    Those of a configuration stay: it may be for both.
    """
    solver = ctx.params["solver"]
    for param in ctx.command.params:
        other = (getattr(param, "help", None) or "").partition(": ")[0]
        if other == solver or other not in SOLVERS or param.name is None:
            continue
        if ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{param.opts[0]} is for --solver {other}.", ctx)
