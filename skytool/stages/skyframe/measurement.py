"""The steps of making and applying sky frames one by one, for scripts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.blocks import block_means, block_statistics
from skytool.core.background.curves import InterpolationStyle
from skytool.core.background.interpolation import InterpolationRule
from skytool.core.skyframe.combine import combine_by_errors, combine_by_scatter
from skytool.core.skyframe.scale import ScaleSamples, ScaleSolution
from skytool.core.skyframe.scale import solve_scales as solve
from skytool.core.statistics import Clip, Statistic
from skytool.errors import IncompatibleError
from skytool.models.background.hdus import Background, BackgroundLayer, BinnedBackground
from skytool.models.exposure import Origin
from skytool.models.mask import Mask
from skytool.models.skyframe import SkyFrame
from skytool.stages.skyframe.blocks import block_side, superpixel_grid
from skytool.stages.skyframe.config import (
    BackgroundConfig,
    CombineConfig,
    SkyMeasurementConfig,
)
from skytool.stages.skyframe.frames import filled_superpixels
from skytool.stages.skyframe.layers import STAGE, with_layers
from skytool.stages.skyframe.samples import (
    BoxSamples,
    measured_samples,
    model_blocks,
    sample_boxes,
    scale_rule,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure

    Floats = NDArray[np.float64]

_ZERO = Origin(0, 0)


def measure_background(exposure: Exposure, config: BackgroundConfig | None = None) -> Background:
    """Bin an exposure into superpixels.

    Parameters
    ----------
    exposure : Exposure
        The pixels.
    config : BackgroundConfig, optional
        Size and statistic.

    Returns
    -------
    Background
        One layer of cells; its variance is the squared standard error of the cells.
    """
    config = config or BackgroundConfig()
    cells = superpixel_grid(exposure.shape, config)
    bad = int(exposure.mask.bitmask(config.mask))
    side = block_side(cells, config.block_size)
    blocks = block_means(exposure.image, exposure.mask.array, cells, side, bad=bad)
    found = block_statistics(
        blocks,
        statistic=Statistic(config.statistic),
        clip=Clip(config.clip, config.n_iter),
    )
    model = BinnedBackground(
        found.value.astype(np.float32),
        cells,
        InterpolationRule(InterpolationStyle(config.algorithm)),
        np.zeros(cells.shape, np.int32),
        (found.error**2).astype(np.float32),
    )
    return Background.of(model, exposure.unit)


def average_backgrounds(
    backgrounds: Sequence[Background],
    config: CombineConfig | None = None,
    *,
    fill: str = "median",
    origin: Origin = _ZERO,
) -> SkyFrame:
    """Combine the superpixels of several exposures, each divided by its level, to a sky frame.

    Parameters
    ----------
    backgrounds : sequence of Background
        One layer of cells each, all with the same cells.
    config : CombineConfig, optional
        Statistic and rejection.
    fill : {"median", "interpolate"}
        What superpixels without a value get.
    origin : Origin
        Place of the first pixel in the parent frame.

    Raises
    ------
    IncompatibleError
        If a background has not exactly one layer of cells, or cells differ.
    AlgorithmError
        If no superpixel has a value.
    """
    config = config or CombineConfig()
    models = [_only_layer(each) for each in backgrounds]
    first = models[0]
    for number, model in enumerate(models[1:], start=2):
        same = model.shape == first.shape and model.cells.shape == first.cells.shape
        if not same:
            raise IncompatibleError(
                f"background {number} has {model.cells.shape} cells for {model.shape} pixels, the "
                f"first {first.cells.shape} for {first.shape}."
            )
    values = np.array([model.cells.ravel() for model in models], np.float64)
    clip, statistic = Clip(config.clip, config.n_iter), Statistic(config.statistic)
    if config.by == "scatter":
        found = combine_by_scatter(values, clip=clip, statistic=statistic)
    else:
        errors = np.sqrt(np.array([_variance(model).ravel() for model in models]))
        found = combine_by_errors(values, errors, clip=clip, statistic=statistic)
    value = found.value.reshape(first.cells.shape)
    missing = ~np.isfinite(value)
    model = replace(
        first,
        cells=filled_superpixels(value, fill, "the sky frame").astype(np.float32),
        variance=found.variance.reshape(value.shape).astype(np.float32),
        mask=Mask.empty(first.grid.shape).with_flagged(missing, "NO_DATA").array,
    )
    return background_to_exposure(model, origin=origin)


def _variance(model: BinnedBackground) -> Floats:
    if model.variance is None:
        raise IncompatibleError("a background brings no variance to weight it by.")
    return model.variance.astype(np.float64)


def _only_layer(background: Background) -> BinnedBackground:
    """Return the cells of a background of one layer."""
    models = [layer.model for layer in background.layers]
    if len(models) != 1 or not isinstance(models[0], BinnedBackground):
        raise IncompatibleError(
            f"a background of {len(models)} layers is not the superpixels of one exposure.",
            hint="Give what measure_background returns.",
        )
    return models[0]


def background_to_exposure(model: BinnedBackground, *, origin: Origin = _ZERO) -> SkyFrame:
    """Return cells as a sky frame, which can be stored.

    Parameters
    ----------
    model : BinnedBackground
        The cells; mask bits are those of `~skytool.models.mask.PLANES`.
    origin : Origin
        Place of the first pixel in the parent frame.
    """
    n_y, n_x = model.cells.shape
    mask = Mask.empty((n_y, n_x))
    if model.mask is not None:
        mask = Mask(model.mask, mask.bits)
    variance = model.variance
    if variance is None:
        variance = np.full((n_y, n_x), np.nan, np.float32)
    return SkyFrame(
        image=model.cells,
        variance=variance,
        mask=mask,
        shape=model.shape,
        origin=origin,
        algorithm=model.rule.style,
    )


def exposure_to_background(frame: SkyFrame) -> Background:
    """Return a sky frame as a background of one layer of cells."""
    return frame.background()


def measure_scale(
    exposure: Exposure, background: Background, config: SkyMeasurementConfig | None = None
) -> BoxSamples:
    """Average an exposure and a sky frame over boxes.

    Parameters
    ----------
    exposure : Exposure
        The pixels; a smooth background should be taken off unless one is fitted with the scale.
    background : Background
        The sky frame, one layer of cells.
    config : SkyMeasurementConfig, optional
        Number of boxes and statistic.

    Returns
    -------
    BoxSamples
        Row by row.

    Raises
    ------
    IncompatibleError
        If the frame is for images of another shape.
    """
    config = config or SkyMeasurementConfig()
    model = _only_layer(background)
    if model.shape != exposure.shape:
        raise IncompatibleError(
            f"{exposure.name} has {exposure.shape[1]} x {exposure.shape[0]} pixels, the sky frame "
            f"is for {model.shape[1]} x {model.shape[0]}."
        )
    boxes = sample_boxes(exposure.shape, config, model.grid)
    side = block_side(boxes, config.background.block_size)
    bad = int(exposure.mask.bitmask(config.stats.mask))
    blocks = block_means(exposure.image, exposure.mask.array, boxes, side, bad=bad)
    sky = model_blocks(model, blocks)[None]
    variance = np.full(boxes.shape, np.nan)
    nothing = np.zeros(blocks.shape)
    found = measured_samples(blocks, sky, nothing, config, variance)
    if not config.same_pixels:
        return found
    # Outliers are told from the difference to the pattern, for which an estimate will do.
    first = solve_scales([found], replace(config, fit="background", min_fraction=0.0))
    removed = first.scale[0] * sky[0] + first.smooth[0]
    return measured_samples(blocks, sky, removed, config, variance)


def solve_scales(
    samples: Sequence[BoxSamples], config: SkyMeasurementConfig | None = None
) -> ScaleSolution:
    """Find one scale for the samples of all detectors.

    Parameters
    ----------
    samples : sequence of BoxSamples
        What `measure_scale` returned for each.
    config : SkyMeasurementConfig, optional
        How; with ``fit="background"`` every detector has a constant of its own.

    Raises
    ------
    AlgorithmError
        If too few samples have values, or agree.
    """
    config = config or SkyMeasurementConfig()
    sizes = [len(each.image) for each in samples]
    smooth = np.zeros((sum(sizes), len(samples) if config.fit == "background" else 0))
    if config.fit == "background":
        smooth[np.arange(len(smooth)), np.repeat(np.arange(len(samples)), sizes)] = 1.0
    return solve(
        ScaleSamples(
            image=np.concatenate([each.image for each in samples]),
            sky=np.concatenate([each.sky for each in samples]),
            error=np.concatenate([each.error for each in samples]),
            sky_variance=np.concatenate([each.sky_variance for each in samples]),
            smooth=smooth,
        ),
        scale_rule(config),
    )


def subtract_sky_frame(exposure: Exposure, background: Background, scale: float) -> Exposure:
    """Return an exposure less a scaled sky frame, with the frame in its list of backgrounds.

    Parameters
    ----------
    exposure : Exposure
        The pixels; mask and variance stay what they are.
    background : Background
        The sky frame, one layer of cells.
    scale : float
        Its scale [unit of image].
    """
    layer = BackgroundLayer(_only_layer(background), scale=scale, stage=STAGE)
    return with_layers(exposure, [layer])
