"""The settings of ``skytool match-bg`` as the stage takes them, checked against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from skytool.core.background.polynomial_match import PolynomialRule
    from skytool.core.skyframe.superpixels import SuperpixelRule
    from skytool.stages.match_bg import MatchConfig

_UNUSED = {  # options that do nothing unless another one has a value
    "gauge": ("mode", "global"),
    "fit_variance": ("add_fit_variance", True),
    "best_ref_weight_chi2": ("reference_cost", "chi2"),
    "x_bin": ("tract_grid", True),
    "y_bin": ("tract_grid", True),
    "min_frac": ("tract_grid", True),
    "interpolation": ("tract_grid", True),
    "do_smooth": ("tract_grid", True),
    "smooth_scale": ("do_smooth", True),
    "binning": ("tract_grid", True),
}


def match_config(settings: dict[str, Any]) -> MatchConfig:
    """Return the settings of the stage.

    Raises
    ------
    click.UsageError
        If settings exclude each other, or one that was typed has no use.
    IncompatibleError
        If a mask plane is unknown.
    """
    _check(settings)
    from skytool.core.background.curves import Extrapolation, InterpolationStyle
    from skytool.core.background.interpolation import InterpolationRule, UndersampleStyle
    from skytool.core.background.reference_cost import CostKind, CostWeights
    from skytool.core.difference.cells import CellRule
    from skytool.core.statistics import Clip, Statistic
    from skytool.models.mask import parse_planes
    from skytool.stages.match_bg import MatchConfig

    clip = Clip(settings["num_sigma_clip"], settings["num_iter"])
    undersample = UndersampleStyle(settings["undersample_style"])
    extrapolation = Extrapolation(settings["extrapolation"])

    def curves(style: str) -> InterpolationRule:
        return InterpolationRule(InterpolationStyle(style), undersample, extrapolation)

    correlation = settings["noise_correlation"]
    return MatchConfig(
        measure_correlation=correlation == "auto",
        bin_size=_whole(settings["bin_size"]),
        use_polynomial=settings["use_polynomial"],
        bad_planes=parse_planes(",".join(settings["bad_mask_planes"])),
        cells=CellRule(
            statistic=Statistic(settings["grid_statistic"]),
            clip=clip,
            min_fraction=settings["min_fraction"],
            min_neighbors=settings["min_neighbors"],
            basis=settings["cell_basis"],
            correlation=1.0 if correlation == "auto" else float(correlation),
        ),
        polynomial=_polynomial(settings),
        spline=curves(settings["interp_style"]),
        fill=curves(settings["interpolation"]),
        reach_cells=settings["reach_cells"],
        increase_as=settings["increase_as"],
        stdev_epsilon=settings["grid_stdev_epsilon"],
        report_grid=settings["report_grid"],
        quality_pixels=settings["quality_pixels"],
        quality_clip=clip,
        cost=CostKind(settings["reference_cost"]),
        cost_weights=CostWeights(
            coverage=settings["best_ref_weight_coverage"],
            variance=settings["best_ref_weight_variance"],
            level=settings["best_ref_weight_level"],
            chi2=settings["best_ref_weight_chi2"],
        ),
        gauge=settings["gauge"],
        mask_sources=settings["mask_sources"],
        extrapolation_plane=settings["extrapolation_mask"],
        add_fit_variance=settings["add_fit_variance"],
        fit_variance=settings["fit_variance"],
        max_ratio=settings["max_ratio"],
        max_rms=settings["max_rms"],
        superpixels=_superpixels(settings),
        binning=settings["binning"],
    )


def _check(settings: dict[str, Any]) -> None:
    """Refuse settings that exclude each other, and typed ones without use."""
    ctx = click.get_current_context()
    if settings["mode"] == "global":
        if not settings["use_polynomial"] or settings["tract_grid"]:
            raise click.UsageError("--mode global needs polynomials.", ctx)
        if settings["smoothing"] != "0":
            raise click.UsageError("--smoothing does nothing with --mode global.", ctx)
        if settings["scale"] == "fit":
            raise click.UsageError("--scale fit does not go with --mode global.", ctx)
        for name in ("reference", "ref_warp_visit"):
            if settings[name] is not None and settings["gauge"] == "mean":
                option = name.replace("_", "-")
                raise click.UsageError(f"--{option} does nothing with --gauge mean.", ctx)
    if settings["reference"] is not None and settings["ref_warp_visit"] is not None:
        raise click.UsageError("--reference and --ref-warp-visit both name the reference.", ctx)
    if settings["tract_grid"] and _is_typed(ctx, "use_polynomial") and settings["use_polynomial"]:
        raise click.UsageError("--use-polynomial and --tract-grid are two models; give one.", ctx)
    if not settings["use_polynomial"] and settings["undersample_style"] == "increase_nxnysample":
        raise click.UsageError("increase_nxnysample is for polynomials only.", ctx)
    for name, (other, value) in _UNUSED.items():
        if _is_typed(ctx, name) and settings[other] != value:
            option, needed = name.replace("_", "-"), other.replace("_", "-")
            wanted = f"--{needed}" if value is True else f"--{needed} {value}"
            raise click.UsageError(f"--{option} does nothing without {wanted}.", ctx)


def _is_typed(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _whole(text: str) -> int | None:
    return None if text == "auto" else int(text)


def _polynomial(settings: dict[str, Any]) -> PolynomialRule:
    """Return how polynomials are fitted."""
    from skytool.core.background.interpolation import UndersampleStyle
    from skytool.core.background.polynomial_match import PolynomialRule
    from skytool.core.statistics import Clip

    smoothing = settings["smoothing"]
    clip = settings["fit_clip"]
    return PolynomialRule(
        order=_whole(settings["order"]),
        max_order=settings["max_order"],
        undersample=UndersampleStyle(settings["undersample_style"]),
        weighted=settings["approx_weighting"],
        weight_power=settings["weight_power"],
        pooling=settings["weight_pooling"],
        clip=Clip(clip, 5) if clip > 0 else None,
        max_condition=settings["max_condition"],
        flat_scatter=settings["cell_scatter"] == "flat",
        smoothing=None if smoothing == "auto" else float(smoothing),
    )


def _superpixels(settings: dict[str, Any]) -> SuperpixelRule | None:
    """Return how superpixels are made, if they are wanted."""
    if not settings["tract_grid"]:
        return None
    from skytool.core.skyframe.superpixels import SuperpixelRule

    return SuperpixelRule(
        y_bin=settings["y_bin"],
        x_bin=settings["x_bin"],
        min_fraction=settings["min_frac"],
        smooth_scale=settings["smooth_scale"] if settings["do_smooth"] else 0.0,
    )
