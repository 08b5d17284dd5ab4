"""The superpixels of all exposures, with what is known of the pattern taken off first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.chebyshev_fit import MAD_TO_SIGMA
from skytool.core.background.curves import InterpolationStyle
from skytool.core.mask_spread import spread_mask
from skytool.core.skyframe.combine import lower_middle
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

_ENOUGH = 5  # exposures, of which most have no object on a block
_QUANTILE = 0.3
_REACH = 2  # superpixels
_SIGNIFICANT = 5.0

Pixels = dict[tuple[str, str], Superpixels]
"""Superpixels by visit and detector."""


def measure(
    night: Night, config: BuildConfig, known: SkyFit | None, *, seek: bool, cleaned: bool
) -> Pixels:
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
    cleaned : bool
        Objects had been sought when that was found. If not, high values of a superpixel do not
        count in what is taken off.
    """
    pixels = {}
    for detector in night.detectors:
        keys = [key for key in night.inputs if key[1] == detector]
        models = None if known is None else _Models.of(night, known, keys, config, cleaned=cleaned)
        for key in keys:
            sky = night[key]
            model = None if models is None else models.of_exposure(key[0], sky)
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


@dataclass(eq=False)
class _Models:
    """What is known of the exposures of one detector.

    Parameters
    ----------
    known : SkyFit
        The fit.
    detector : str
        The detector.
    pattern : ndarray of float64, shape (n_y, n_x)
        The pattern, without gaps.
    style : InterpolationStyle
        How superpixels are joined.
    detail : ndarray of float64, shape (by, bx), or None
        The pattern within superpixels.
    """

    known: SkyFit
    detector: str
    pattern: Floats
    style: InterpolationStyle
    detail: Floats | None = None

    @classmethod
    def of(
        cls,
        night: Night,
        known: SkyFit,
        keys: list[tuple[str, str]],
        config: BuildConfig,
        *,
        cleaned: bool,
    ) -> _Models | None:
        """Return the models of a detector; None if it has no pattern yet."""
        detector = keys[0][1]
        values, _ = known.solution.relative(known.cells[detector])
        pattern = known.pattern(detector).value if cleaned else lower_middle(values, _QUANTILE)
        try:
            filled = filled_superpixels(
                pattern.reshape(night[keys[0]].blocks.cells.shape), "interpolate", detector
            )
        except AlgorithmError:
            return None
        style = InterpolationStyle(config.background.algorithm)
        models = cls(known, detector, filled, style)
        models.detail = models.find_detail(night, keys)
        return models

    def of_exposure(self, visit: str, sky: SkyBlocks) -> Floats | None:
        """Return what is known of an exposure, in blocks; None if that is nothing."""
        known = self.known
        if visit not in known.visits:
            return None
        row, shape = known.visits.index(visit), self.pattern.shape
        smooth = known.cells[self.detector].terms @ known.solution.slopes[row]
        varying = known.strengths[row] @ known.components[self.detector]
        level = known.level(visit)
        cells = level * (1 + self.pattern + varying.reshape(shape)) + smooth.reshape(shape)
        values = block_values(cells, sky.blocks, self.style)
        return values if self.detail is None else values + level * self.detail

    def find_detail(self, night: Night, keys: list[tuple[str, str]]) -> Floats | None:
        """Return the pattern within superpixels, relative to the sky; None of a few exposures.

        Edges that are sharper than superpixels are in all exposures, objects are not: what most
        exposures have in a block is the first and not the second. It is zero far from where it
        stands out of its noise; next to edges the surface through superpixels swings.
        """
        residuals = []
        for key in keys:
            sky = night[key]
            model = self.of_exposure(key[0], sky)
            if model is not None:
                relative = (sky.blocks.mean - model) / self.known.level(key[0])
                residuals.append(relative.astype(np.float32))
        if len(residuals) < _ENOUGH:
            return None
        stack = np.stack(residuals)
        lower = lower_middle(stack.reshape(len(stack), -1), _QUANTILE)
        detail = np.nan_to_num(lower).reshape(stack.shape[1:])
        noise = MAD_TO_SIGMA * np.median(np.abs(detail))
        sharp = np.abs(detail) > _SIGNIFICANT * noise
        if not sharp.any():
            return None
        reach = _REACH * max(n // m for n, m in zip(sharp.shape, self.pattern.shape, strict=True))
        near = spread_mask(sharp, np.ones((2 * reach + 1, 2 * reach + 1), np.bool_))
        return np.where(near, detail, 0.0)
