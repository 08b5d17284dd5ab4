"""Warps whose variance is that of the scatter of their sky."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from skytool.stages.warp.stage import WarpResult

_NO_SKY = ("DETECTED", "DETECTED_NEGATIVE", "BAD", "SAT", "NO_DATA", "INTRP")


def rescaled(result: WarpResult) -> WarpResult:
    """Return a warp whose variance is that of the scatter of its sky.

    Parameters
    ----------
    result : WarpResult
        The warp; realisations of its noise are scaled, too.

    Raises
    ------
    AlgorithmError
        If the scatter is too far from the variance, or cannot be told.
    """
    from skytool.core.noise.variance_scale import variance_scale

    exposure, noise = result.exposure, result.noise
    bad = exposure.mask.any_of(_NO_SKY)
    try:
        scale = variance_scale(exposure.image, exposure.variance, bad)
    except AlgorithmError as error:
        reason = error.message.rstrip(".")
        raise AlgorithmError(f"the variance of the warp cannot be scaled: {reason}.") from error
    if noise is not None:
        noise = noise * np.float32(np.sqrt(scale))
    exposure = exposure.with_values(variance=exposure.variance * np.float32(scale))
    return replace(result, exposure=exposure, noise=noise, variance_scale=scale)
