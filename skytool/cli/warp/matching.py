"""The options of PSF-matched warps, and the settings they mean."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from skytool.cli.warp.matching_options import MATCH, MODEL, SELECTION
from skytool.cli.warp.settings import refuse_unused
from skytool.errors import AlgorithmError, IncompatibleError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from skytool.io.sources import ExposureSource
    from skytool.models.sky.geometry import TargetGrid
    from skytool.stages.warp.matching_config import MatchingConfig

F = TypeVar("F", bound="Callable[..., Any]")

_log = logging.getLogger(__name__)

_WIDER = 1.05
"""Width of an automatic model over that of the widest PSF: matching to an equal one amplifies noise."""

_PLACES = 3  # along each side of an exposure, at which the width of its PSF is looked up

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
_OTHERS = (
    *("cell", "size_cell_x", "size_cell_y", "match_margin", "mask_fraction"),
    "correlated_variance",
)
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
        from skytool.core.matching.model_psf import ModelPsf
        from skytool.core.matching.psf_match_config import PsfMatchConfig
        from skytool.stages.warp.matching_config import MatchingConfig

        values = self.values
        model_values = {field: values[name] for name, field in _MODEL_FIELDS.items()}
        match_values: dict[str, Any] = {}
        for name, field in _MATCH_FIELDS.items():
            match_values[field] = (values[name] or None) if name in _EMPTY_IS_NONE else values[name]
        cells = values["cell"]
        cell_x, cell_y = values["size_cell_x"] or cells[0], values["size_cell_y"] or cells[-1]
        try:
            model = self._model(ModelPsf(**model_values), sources, grid)
            match = PsfMatchConfig(**match_values)
        except ValueError as error:
            raise click.UsageError(f"{error}.", click.get_current_context()) from error
        return MatchingConfig(
            model=model,
            match=match,
            cell_x=cell_x,
            cell_y=cell_y,
            margin=values["match_margin"],
            mask_fraction=values["mask_fraction"],
            correlated_variance=values["correlated_variance"],
        )

    def _model(self, model: Any, sources: Sequence[ExposureSource], grid: TargetGrid) -> Any:
        """Return the model with its width."""
        from dataclasses import replace

        if self.model_fwhm not in {"auto", "max", "median"}:
            return replace(model, fwhm=_pixels(self.model_fwhm, grid))
        import numpy as np

        widths = {source.name: psf_widths(source, grid) for source in sources}
        if not widths:
            return model
        name = max(widths, key=lambda key: max(widths[key]))
        widest = max(widths[name])
        if self.model_fwhm == "median":
            width = float(np.median([np.median(each) for each in widths.values()]))
        else:
            width = widest * (_WIDER if self.model_fwhm == "auto" else 1.0)
        model = model.with_adaptive_fwhm(width)
        _log.info(
            "--model-fwhm %.3f pixels; the widest PSF, that of %s, has %.3f by adaptive moments",
            model.fwhm,
            name,
            widest,
        )
        return model


def psf_widths(source: ExposureSource, grid: TargetGrid) -> list[float]:
    """Return the widths of an exposure's PSF all over it, by adaptive moments [target pixel].

    Raises
    ------
    IncompatibleError
        If it has no PSF.
    AlgorithmError
        If its PSF has no width.
    """
    from skytool.core.psf.adaptive_moments import adaptive_moments
    from skytool.io.assembly import read_psf
    from skytool.models.psf.places import stars_across
    from skytool.models.sky.celestial import pixel_scale
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
    scale /= pixel_scale(grid.wcs, y=middle[0], x=middle[1], name=grid.name)
    stars = [star for row in stars_across(psf, source.shape, n=_PLACES) for star in row if star]
    try:
        widths = [adaptive_moments(star.stamp).fwhm * scale for star in stars]
    except ValueError as error:
        raise AlgorithmError(f"the PSF of {source.name} has no width: {error}.") from error
    if not widths:
        raise AlgorithmError(f"the PSF of {source.name} has no star at any place of the image.")
    return widths


def _pixels(text: str, grid: TargetGrid) -> float:
    """Return a width in pixels, given in pixels or arc seconds."""
    from skytool.models.sky.celestial import pixel_scale

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


def matching_options(function: F) -> F:
    """Add the options of PSF-matched warps, which the command gets as ``matching``."""
    groups = SELECTION + MODEL + MATCH
    names = [*_MODEL_FIELDS, *_MATCH_FIELDS, *_OTHERS]

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
            refuse_unused(["model_fwhm", *names], "without --psf-matched", ctx)
        elif values["auto_pad"]:
            refuse_unused(["pad_by"], "with --auto-pad", ctx)
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
