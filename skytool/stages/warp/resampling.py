"""One prepared detector resampled to the target and merged into the warp of its visit."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.resampling.pixel_map import PixelMap, Window
from skytool.core.resampling.resample import Positions, Resampler
from skytool.models.sky.geometry import source_positions
from skytool.stages.warp.mosaic import Mosaic, Strip
from skytool.stages.warp.noise import noise_correlation, noise_images, pixel_area

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytool.core.noise.correlation import NoiseCorrelation
    from skytool.core.resampling.reprojection import AreaResampler
    from skytool.models.mask import Mask
    from skytool.models.sky.geometry import TargetGrid
    from skytool.stages.warp.config import WarpConfig
    from skytool.stages.warp.prepare import Prepared

_log = logging.getLogger(__name__)

OVERSAMPLED_FROM = 1.5
"""Width of a target pixel [pixel of the detector] from which one sample of it is too few."""


@dataclass(frozen=True)
class WarpedDetector:
    """How a detector was resampled; see `~skytool.stages.warp.stage.DetectorReport`."""

    good_pixels: int
    area: float
    oversample: int
    pixel_map: PixelMap
    correlation: NoiseCorrelation | None

    @property
    def wcs_step(self) -> float:
        """Spacing of the exact positions [pixel]; 0 if all are."""
        return self.pixel_map.step

    @property
    def wcs_error(self) -> float:
        """Largest error found of an interpolated position [pixel]."""
        return self.pixel_map.max_error


def warp_detector(
    prepared: Prepared, grid: TargetGrid, config: WarpConfig, planes: Mask, mosaic: Mosaic
) -> WarpedDetector:
    """Resample a detector and merge it into the warp, in place.

    Parameters
    ----------
    prepared : Prepared
        The detector.
    grid : TargetGrid
        The target.
    config : WarpConfig
        Settings.
    planes : Mask
        A mask with the planes of the warp.
    mosaic : Mosaic
        The warp so far.
    """
    pixel_map = detector_map(prepared, grid, config)
    oversample = detector_oversample(config, pixel_map)
    noise = noise_images(prepared, config)
    resampler = detector_resampler(prepared, pixel_map, config, planes, oversample, noise)
    bad = planes.bitmask(config.bad_planes)
    good_pixels, resampled, area = 0, 0, 0.0
    for window in _strips(pixel_map.window, config.strip_rows):
        warped = resampler.part(window)
        assert warped.variance is not None  # noqa: S101  there is one to resample
        strip = Strip(
            y=window.y_start,
            x=window.x_start,
            image=warped.image,
            variance=warped.variance,
            mask=warped.mask,
            good=np.isfinite(warped.image) & np.isfinite(warped.variance),
            fraction=warped.bad_fraction,
            noise=warped.extras if noise else None,
        )
        good_pixels += mosaic.add(strip, bad=bad, overlap=config.overlap)
        resampled += warped.n_good
        area += warped.n_good * (warped.mean_area if warped.n_good else 0.0)
    return WarpedDetector(
        good_pixels=good_pixels,
        area=area / resampled if resampled else math.nan,
        oversample=oversample,
        pixel_map=pixel_map,
        correlation=noise_correlation(prepared, pixel_map, config, planes, oversample),
    )


def detector_map(prepared: Prepared, grid: TargetGrid, config: WarpConfig) -> PixelMap:
    """Return the positions of the target's pixels on a detector."""
    pixel_map = PixelMap(
        source_positions(grid.wcs, prepared.wcs, source_shape=prepared.image.shape),
        grid.shape,
        source_shape=prepared.image.shape,
        step=config.wcs_step,
        tolerance=config.wcs_tolerance or None,
        method=config.wcs_interpolation,
    )
    if 0 < pixel_map.step < config.wcs_step or (pixel_map.step == 0 < config.wcs_step):
        _log.info(
            "%s: positions are interpolated over %g pixels instead of %d, to be right within %g",
            prepared.name,
            pixel_map.step,
            config.wcs_step,
            config.wcs_tolerance,
        )
    return pixel_map


def detector_oversample(config: WarpConfig, pixel_map: PixelMap) -> int:
    """Return the samples per target pixel and axis."""
    return 1 if config.takes_areas else config.oversample or _oversample(pixel_map)


def _strips(window: Window, rows: int) -> list[Window]:
    """Cut a window into strips of some rows."""
    return [
        Window(start, min(start + rows, window.y_stop), window.x_start, window.x_stop)
        for start in range(window.y_start, window.y_stop, rows)
    ]


def _oversample(pixel_map: PixelMap) -> int:
    """Return how many samples per axis keep up with the detector's pixels."""
    window = pixel_map.window
    if 0 in window.shape:
        return 1
    area = pixel_area(pixel_map, window)
    width = math.sqrt(area) if math.isfinite(area) else 1.0
    return round(width) if width > OVERSAMPLED_FROM else 1


def detector_resampler(
    prepared: Prepared,
    pixel_map: Positions,
    config: WarpConfig,
    planes: Mask,
    oversample: int,
    extras: Sequence[NDArray[np.float32]] = (),
) -> Resampler | AreaResampler:
    """Return what resamples parts of a detector."""
    sources = prepared.image, prepared.variance, prepared.mask, pixel_map
    options: dict[str, Any] = {
        "no_data": int(planes.bitmask(["NO_DATA"])),
        "grow": int(planes.bitmask(config.grow_planes)),
        "conserve_flux": not (config.surface_brightness or prepared.per_area),
        "bad": prepared.unusable if config.masked_fraction else None,
        "extras": extras,
    }
    if config.takes_areas:
        from skytool.core.resampling.reprojection import area_resampler

        return area_resampler(config.kernel, *sources, **options)
    return Resampler(
        *sources,
        kernel=config.kernel,
        mask_kernel=config.mask_kernel or "none",
        centred_area=config.pixel_area == "centred",
        oversample=oversample,
        **options,
    )
