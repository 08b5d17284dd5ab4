"""The superpixels of all exposures, with what is known of the pattern taken off first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.chebyshev_fit import MAD_TO_SIGMA
from skytool.core.curves import InterpolationStyle
from skytool.core.sky_combine import masked_median
from skytool.errors import AlgorithmError
from skytool.stages.skyframe.blocks import (
    SkyBlocks,
    Superpixels,
    block_values,
    superpixels,
    whole_cell_means,
    without_objects,
)
from skytool.stages.skyframe.frames import filled_superpixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.stages.skyframe.config import BuildConfig
    from skytool.stages.skyframe.fit import SkyFit
    from skytool.stages.skyframe.night import Night

    Floats = NDArray[np.float64]

_ENOUGH = 5  # exposures whose median is not that of objects
_SIGNIFICANT = 5.0

Pixels = dict[tuple[str, str], Superpixels]
"""Superpixels by visit and detector."""


def measure(night: Night, config: BuildConfig, known: SkyFit | None, *, seek: bool) -> Pixels:
    """Measure the superpixels of all exposures.

    Parameters
    ----------
    night : Night
        The exposures.
    config : BuildConfig
        Settings.
    known : SkyFit or None
        What was found before. It is taken off the exposures while objects are sought and outliers
        rejected, so that the pattern is neither, and put back. So is what is the same in most
        exposures within superpixels.
    seek : bool
        Seek objects.
    """
    pixels = {}
    for detector in night.detectors:
        keys = [key for key in night.inputs if key[1] == detector]
        detail = None if known is None else _detail(night, known, keys, config)
        for key in keys:
            sky = night[key]
            model = None if known is None else _model(known, key, sky, config)
            if model is not None and known is not None and detail is not None:
                model += known.level(key[0]) * detail
            pixels[key] = _measured(sky, model, config, seek=seek)
    return pixels


def _measured(
    sky: SkyBlocks, model: Floats | None, config: BuildConfig, *, seek: bool
) -> Superpixels:
    """Measure one exposure, of which a model is known in blocks."""
    blocks = sky.blocks if model is None else sky.blocks.with_mean(sky.blocks.mean - model)
    clean = without_objects(blocks, config.objects, sky.variance) if seek else blocks
    found = superpixels(clean, blocks, config.background, config.combine.noise_pool)
    if model is not None:
        found = replace(found, value=found.value + whole_cell_means(model, clean))
        clean = clean.with_mean(clean.mean + model)
    return replace(
        found,
        masked=found.masked + sky.flagged,
        blocks=clean if config.large_scale.model == "cells" else None,
    )


def _detail(
    night: Night, known: SkyFit, keys: list[tuple[str, str]], config: BuildConfig
) -> Floats | None:
    """Return the pattern within superpixels, relative to the sky; None of a few exposures.

    Edges that are sharper than superpixels are in all exposures, objects are not: the median of
    the exposures, block by block, has the first and not the second. What does not stand out of its
    noise is zero.
    """
    residuals = []
    for key in keys:
        sky = night[key]
        model = _model(known, key, sky, config)
        if model is not None:
            relative = (sky.blocks.mean - model) / known.level(key[0])
            residuals.append(relative.astype(np.float32))
    if len(residuals) < _ENOUGH:
        return None
    stack = np.stack(residuals)
    flat = stack.reshape(len(stack), -1)
    detail = masked_median(flat, np.isfinite(flat))
    noise = MAD_TO_SIGMA * np.median(np.abs(detail))
    sharp = np.where(np.abs(detail) > _SIGNIFICANT * noise, detail, 0.0)
    return sharp.reshape(stack.shape[1:]) if sharp.any() else None


def _model(
    known: SkyFit, key: tuple[str, str], sky: SkyBlocks, config: BuildConfig
) -> Floats | None:
    """Return what is known of an exposure, in blocks; None if that is nothing."""
    visit, detector = key
    if visit not in known.visits:
        return None
    shape = sky.blocks.cells.shape
    pattern = known.pattern(detector).value.reshape(shape)
    try:
        filled = filled_superpixels(pattern, "interpolate", detector)
    except AlgorithmError:
        return None
    slopes = known.solution.slopes[known.visits.index(visit)]
    smooth = (known.cells[detector].terms @ slopes).reshape(shape)
    model = known.level(visit) * (1 + filled) + smooth
    return block_values(model, sky.blocks, InterpolationStyle(config.background.algorithm))
