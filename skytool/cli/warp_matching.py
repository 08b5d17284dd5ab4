"""The options of PSF-matched warps, and the settings they mean."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from skytool.cli.options import CommaList
from skytool.errors import IncompatibleError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from skytool.io.sources import ExposureSource
    from skytool.models.geometry import TargetGrid
    from skytool.stages.warp.matching_config import MatchingConfig

F = TypeVar("F", bound="Callable[..., Any]")

_log = logging.getLogger(__name__)

_WIDER = 1.05
"""Width of an automatic model over that of the widest PSF: matching to an equal one amplifies noise."""

_MODEL_FIELDS = {
    "model_wing": "add_wing",
    "wing_fwhm_factor": "wing_fwhm_factor",
    "wing_amplitude": "wing_amplitude",
    "model_size": "size",
    "model_size_factor": "size_factor",
    "model_min_size": "min_size",
    "model_max_size": "max_size",
}
_MATCH_FIELDS = {
    "match_basis": "basis",
    "kernel_size": "kernel_size",
    "alard_sig_gauss": "sigmas",
    "alard_deg_gauss": "degrees",
    "spatial_order": "spatial_order",
    "ridge": "ridge",
    "max_noise_gain": "max_noise_gain",
    "match_region": "region",
    "kernel_normalization": "normalization",
    "model_taper": "taper",
    "auto_pad": "auto_pad",
    "auto_pad_to": "auto_pad_to",
    "pad_by": "pad_by",
}
_EMPTY_IS_NONE = {"alard_sig_gauss", "model_taper", "max_noise_gain"}


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Which warps to make, and how to match them.

    Parameters
    ----------
    direct, matched : bool
        Whether the warp as it is and the PSF-matched one are wanted.
    model_fwhm : str
        ``auto``, ``max``, ``median``, or a number of pixels or of arc seconds (``0.8"``).
    values : dict
        The other options by name.
    """

    direct: bool
    matched: bool
    model_fwhm: str
    values: dict[str, Any]

    def config(self, sources: Sequence[ExposureSource], grid: TargetGrid) -> MatchingConfig | None:
        """Return the settings of the match; None if no matched warp is wanted.

        Parameters
        ----------
        sources : sequence of ExposureSource
            The exposures, whose PSFs the width of the model may depend on.
        grid : TargetGrid
            The target, in whose pixels widths count.

        Raises
        ------
        click.UsageError
            If a value is impossible.
        IncompatibleError
            If an exposure has no PSF.
        """
        if not self.matched:
            return None
        from skytool.core.model_psf import ModelPsf
        from skytool.core.psf_match_config import PsfMatchConfig
        from skytool.stages.warp.matching_config import MatchingConfig

        values = self.values
        model_values = {field: values[name] for name, field in _MODEL_FIELDS.items()}
        match_values: dict[str, Any] = {}
        for name, field in _MATCH_FIELDS.items():
            match_values[field] = (values[name] or None) if name in _EMPTY_IS_NONE else values[name]
        cells = values["cell"]
        try:
            model = self._model(ModelPsf(**model_values), sources, grid)
            match = PsfMatchConfig(**match_values)
        except ValueError as error:
            raise click.UsageError(f"{error}.", click.get_current_context()) from error
        return MatchingConfig(
            model=model,
            match=match,
            cell_x=cells[0],
            cell_y=cells[-1],
            margin=values["match_margin"],
            mask_fraction=values["mask_fraction"],
        )

    def _model(self, model: Any, sources: Sequence[ExposureSource], grid: TargetGrid) -> Any:
        """Return the model with its width."""
        from dataclasses import replace

        if self.model_fwhm not in {"auto", "max", "median"}:
            return replace(model, fwhm=_pixels(self.model_fwhm, grid))
        import numpy as np

        widths = {source.name: psf_width(source, grid) for source in sources}
        if not widths:
            return model
        name = max(widths, key=lambda key: widths[key])
        if self.model_fwhm == "median":
            width = float(np.median(list(widths.values())))
        else:
            width = widths[name] * (_WIDER if self.model_fwhm == "auto" else 1.0)
        model = model.with_adaptive_fwhm(width)
        _log.info(
            "--model-fwhm %.3f pixels; the widest PSF, that of %s, has %.3f by adaptive moments",
            model.fwhm,
            name,
            widths[name],
        )
        return model


def psf_width(source: ExposureSource, grid: TargetGrid) -> float:
    """Return the width of an exposure's PSF in its middle, by adaptive moments [target pixel].

    Raises
    ------
    IncompatibleError
        If it has no PSF.
    """
    from skytool.io.assembly import read_psf
    from skytool.models.celestial import pixel_scale
    from skytool.stages.warp.visits import wcs_of

    psf = read_psf(source)
    if psf is None:
        raise IncompatibleError(
            f"{source.name} has no PSF to match.",
            hint="Measure one with skytool psf, or give --psf.",
        )
    y, x = ((size - 1) / 2 for size in source.shape)
    middle = [(size - 1) / 2 for size in grid.shape]
    scale = pixel_scale(wcs_of(source), y=y, x=x, name=source.name)
    return (
        psf.adaptive_fwhm(y=y, x=x)
        * scale
        / pixel_scale(grid.wcs, y=middle[0], x=middle[1], name=grid.name)
    )


def _pixels(text: str, grid: TargetGrid) -> float:
    """Return a width in pixels, given in pixels or arc seconds."""
    from skytool.models.celestial import pixel_scale

    number, in_arcsec = text.strip(), False
    for unit in ('"', "arcsec", "px"):
        if number.endswith(unit):
            number, in_arcsec = number.removesuffix(unit), unit != "px"
            break
    try:
        width = float(number)
    except ValueError:
        raise click.UsageError(
            f'--model-fwhm {text} must be auto, max, median, a number of pixels, or 0.8".',
            click.get_current_context(),
        ) from None
    if in_arcsec:
        y, x = ((size - 1) / 2 for size in grid.shape)
        width /= pixel_scale(grid.wcs, y=y, x=x, name=grid.name)
    return width


_SELECTION = (
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

_MODEL = (
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

_MATCH = (
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
)


def _refuse_unused(ctx: click.Context, names: Sequence[str]) -> None:
    """Refuse options of a match on the command line where nothing is matched."""
    from click.core import ParameterSource

    for name in names:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option} does nothing without --psf-matched.", ctx)


def matching_options(function: F) -> F:
    """Add the options of PSF-matched warps, which the command gets as ``matching``."""
    groups = _SELECTION + _MODEL + _MATCH
    names = [*_MODEL_FIELDS, *_MATCH_FIELDS, "cell", "match_margin", "mask_fraction"]

    @functools.wraps(function)
    def with_matching(*args: Any, **kwargs: Any) -> Any:
        values = {name: kwargs.pop(name) for name in names}
        direct, matched = kwargs.pop("direct"), kwargs.pop("psf_matched")
        ctx = click.get_current_context()
        one = kwargs["destination"].output is not None
        if direct is None:
            direct = not (one and matched)
        if not direct and not matched:
            raise click.UsageError("--no-direct needs --psf-matched: nothing else is made.", ctx)
        if one and direct and matched:
            raise click.UsageError(
                "--output is for one product; give --output-dir for --direct with --psf-matched.",
                ctx,
            )
        if not matched:
            _refuse_unused(ctx, ["model_fwhm", *names])
        if len(values["cell"]) > 2 or not values["cell"]:
            raise click.UsageError("--cell is one size, or NX,NY.", ctx)
        matching = Matching(
            direct=direct, matched=matched, model_fwhm=kwargs.pop("model_fwhm"), values=values
        )
        return function(*args, matching=matching, **kwargs)

    decorated: Any = with_matching
    for option in reversed(groups):
        decorated = option(decorated)
    return cast("F", decorated)
