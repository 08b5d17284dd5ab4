"""The superpixels of all exposures, with what is known of the pattern taken off first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skytool.core.curves import InterpolationStyle
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
    import numpy as np
    from numpy.typing import NDArray

    from skytool.stages.skyframe.config import BuildConfig
    from skytool.stages.skyframe.fit import SkyFit
    from skytool.stages.skyframe.night import Night

    Floats = NDArray[np.float64]

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
        rejected, so that the pattern is neither, and put back.
    seek : bool
        Seek objects.
    """
    pixels = {}
    for key in night.inputs:
        sky = night[key]
        model = None if known is None else _model(known, key, sky, config)
        blocks = sky.blocks if model is None else sky.blocks.with_mean(sky.blocks.mean - model)
        clean = without_objects(blocks, config.objects, sky.variance) if seek else blocks
        found = superpixels(clean, blocks, config.background, config.combine.noise_pool)
        if model is not None:
            found = replace(found, value=found.value + whole_cell_means(model, clean))
            clean = clean.with_mean(clean.mean + model)
        pixels[key] = replace(
            found,
            masked=found.masked + sky.flagged,
            blocks=clean if config.large_scale.model == "cells" else None,
        )
    return pixels


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
    row = known.visits.index(visit)
    smooth = (known.cells[detector].terms @ known.solution.slopes[row]).reshape(shape)
    model = known.solution.level[row] * (1 + filled) + smooth
    return block_values(model, sky.blocks, InterpolationStyle(config.background.algorithm))
