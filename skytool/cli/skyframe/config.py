"""The settings of ``skytool skyframe`` as its stage takes them, checked against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from skytool.stages.skyframe import (
        ApplyConfig,
        BuildConfig,
        FocalPlaneConfig,
        MaskObjectsConfig,
    )


def build_config(settings: dict[str, Any]) -> BuildConfig:
    """Return the settings of the stage.

    Raises
    ------
    click.UsageError
        If settings exclude each other.
    IncompatibleError
        If a mask plane is unknown.
    """
    from skytool.stages.skyframe import BackgroundConfig, BuildConfig, CombineConfig

    size = settings["bin_size"]
    background = BackgroundConfig(
        statistic=settings["statistic"],
        x_bin_size=size or settings["x_bin_size"],
        y_bin_size=size or settings["y_bin_size"],
        algorithm=settings["algorithm"],
        mask=_planes(settings["background_mask"]),
        block_size=settings["block_size"],
        clip=settings["clip"],
        n_iter=settings["n_iter"],
    )
    model = settings["large_scale_model"]
    if model != "cells":
        _refuse_typed("large_scale", "--large-scale-model cells", but=("model", "order"))
    return BuildConfig(
        background=background,
        objects=_objects(settings),
        large_scale=_focal_plane(
            settings, "large_scale", model=model, order=settings["large_scale_order"]
        ),
        combine=CombineConfig(
            statistic=settings["combine"],
            by=settings["combine_by"],
            clip=settings["combine_clip"],
            n_iter=settings["combine_iter"],
            noise_pool=settings["noise_pool"],
        ),
        keep_common=settings["keep_common"],
        passes=settings["passes"],
        min_exposures=settings["min_exposures"],
        max_deviation=settings["max_deviation"],
        components=settings["components"],
        fill=settings["fill_missing"],
        restore_background=settings["restore_background"],
    )


def apply_config(settings: dict[str, Any]) -> ApplyConfig:
    """Return the settings of the stage.

    Raises
    ------
    click.UsageError
        If settings exclude each other.
    IncompatibleError
        If a mask plane is unknown.
    """
    from skytool.stages.skyframe import (
        ApplyConfig,
        BackgroundConfig,
        SkyMeasurementConfig,
        StatsConfig,
    )

    sky = SkyMeasurementConfig(
        sky_iter=settings["sky_iter"],
        sky_rej=settings["sky_rej"],
        x_num_samples=settings["x_num_samples"],
        y_num_samples=settings["y_num_samples"],
        background=BackgroundConfig(block_size=settings["block_size"]),
        stats=StatsConfig(
            statistic=settings["stats_statistic"],
            clip=settings["stats_clip"],
            n_iter=settings["stats_n_iter"],
            mask=_planes(settings["stats_mask"]),
        ),
        same_pixels=settings["same_pixels"],
        fit=settings["fit"],
        background_order=settings["background_order"],
        pistons=settings["pistons"],
        weighted=settings["weighted"],
        clip_about=settings["clip_about"],
        robust_start=settings["robust_start"],
        min_samples=settings["min_samples"],
        min_fraction=settings["min_fraction"],
        frame_noise=settings["frame_noise"],
    )
    model = settings["bg_model1"]
    if model == "polynomial" and sky.fit == "scale":
        raise click.UsageError(
            "--bg-model1 polynomial is what --fit background fits; with --fit scale give cells or "
            "none.",
            click.get_current_context(),
        )
    if model != "cells":
        _refuse_typed("bg_model1", "--bg-model1 cells")
    if not settings["do_bg_model2"]:
        _refuse_typed("bg_model2", "--do-bg-model2")
    return ApplyConfig(
        sky=sky,
        objects=_objects(settings),
        do_mask_objects=settings["do_mask_objects"],
        do_sky=settings["do_sky"],
        keep_averages=settings["keep_averages"],
        bg_model1=_focal_plane(settings, "bg_model1", model=model),
        undo_bg_model1=settings["undo_bg_model1"],
        do_bg_model2=settings["do_bg_model2"],
        bg_model2=_focal_plane(settings, "bg_model2", model="cells"),
        restore_background=settings["restore_background"],
    )


def _planes(names: tuple[str, ...]) -> tuple[str, ...]:
    from skytool.models.mask import parse_planes

    return parse_planes(",".join(names))


def _objects(settings: dict[str, Any]) -> MaskObjectsConfig:
    """Return how objects are found."""
    from skytool.stages.skyframe import MaskObjectsConfig

    lists = [settings[name] for name in ("detect_sigma", "detect_threshold", "grow")]
    if len({len(values) for values in lists}) > 1:
        raise click.UsageError(
            "--detect-sigma, --detect-threshold and --grow must have as many values.",
            click.get_current_context(),
        )
    return MaskObjectsConfig(
        detect_sigma=lists[0],
        threshold=lists[1],
        grow=lists[2],
        n_iter=settings["detect_iter"] if settings["do_mask_objects"] else 0,
        background_bin_size=settings["detect_bin_size"],
        background_cells=settings["detect_cells"],
        background_clip=settings["detect_clip"],
        noise=settings["detect_noise"],
        n_sigma_for_kernel=settings["detect_kernel"],
        min_pixels=settings["min_pixels"],
        search_border=settings["search_border"],
        fill=settings.get("fill_objects", "none"),
        fill_bin_size=settings.get("fill_bin_size", 256.0),
    )


def _focal_plane(
    settings: dict[str, Any], prefix: str, *, model: Any, order: int = 2
) -> FocalPlaneConfig:
    """Return a background over the focal plane."""
    from skytool.stages.skyframe import FocalPlaneConfig

    values = {
        name: settings[f"{prefix}_{name}"]
        for name in (
            *("x_size", "y_size", "pixel_size", "min_frac", "interpolation"),
            *("do_smooth", "smooth_scale", "binning"),
        )
    }
    return FocalPlaneConfig(
        model=model, order=order, mask=_planes(settings[f"{prefix}_mask"]), **values
    )


def _refuse_typed(prefix: str, needed: str, but: tuple[str, ...] = ()) -> None:
    """Refuse options of a background that was not asked for."""
    ctx = click.get_current_context()
    allowed = {prefix, *(f"{prefix}_{name}" for name in but)}
    for name in ctx.params:
        typed = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if name.startswith(f"{prefix}_") and name not in allowed and typed:
            raise click.UsageError(
                f"--{name.replace('_', '-')} does nothing without {needed}.", ctx
            )
