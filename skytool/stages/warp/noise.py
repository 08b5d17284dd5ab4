"""What resampling does to noise: realisations of it, and the correlation it gets."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.noise.correlation import measure_correlation
from skytool.core.resampling.pixel_map import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.matching.spatial_kernel import SpatialKernel
    from skytool.core.noise.correlation import NoiseCorrelation
    from skytool.core.resampling.pixel_map import PixelMap
    from skytool.models.mask import Mask
    from skytool.stages.warp.config import WarpConfig
    from skytool.stages.warp.prepare import Prepared

_SIDE = 256  # [pixel] of the part of the target on which the correlation is measured
_MATCHED_SIDE = 512  # of which matched noise, alike over many pixels, leaves fewer independent ones
_REACH = 16  # [pixel] around its source, more than any kernel


def noise_images(prepared: Prepared, config: WarpConfig) -> list[NDArray[np.float32]]:
    """Return realisations of a detector's noise.

    Parameters
    ----------
    prepared : Prepared
        The detector.
    config : WarpConfig
        How many, of which variance, and from which seed.

    Returns
    -------
    list of ndarray of float32, shape (ny, nx)
        Gaussian noise of the median variance, or of that of every pixel. They depend on the seed,
        the name of the detector and its pixels, because files of several visits may have one name,
        but not on the order of detectors.
    """
    if not config.noise:
        return []
    rng = _generator(prepared, config, zlib.crc32(prepared.image.tobytes()))
    sigma = np.sqrt(prepared.variance)
    known = np.isfinite(sigma)
    if config.noise_variance == "median":
        typical = np.median(sigma[known]) if known.any() else np.float32(0.0)
        sigma = np.full_like(sigma, typical)
    else:
        sigma = np.where(known, sigma, np.float32(0.0))
    shape = prepared.image.shape
    return [sigma * rng.standard_normal(shape, dtype=np.float32) for _ in range(config.noise)]


def _generator(prepared: Prepared, config: WarpConfig, *more: int) -> np.random.Generator:
    seed = [config.noise_seed, zlib.crc32(prepared.name.encode()), *more]
    return np.random.default_rng(seed)


def noise_correlation(
    prepared: Prepared,
    pixel_map: PixelMap,
    config: WarpConfig,
    planes: Mask,
    oversample: int,
    *,
    kernel: SpatialKernel | None = None,
) -> NoiseCorrelation | None:
    """Measure the correlation of the noise of a warped detector.

    Parameters
    ----------
    prepared : Prepared
        The detector.
    pixel_map : PixelMap
        Where the target's pixels lie on it.
    config : WarpConfig
        Settings of the resampling.
    planes : Mask
        A mask with the planes of the warp.
    oversample : int
        Samples per target pixel and axis.
    kernel : SpatialKernel, optional
        What the warp is convolved with.

    Returns
    -------
    NoiseCorrelation or None
        Of white noise in the middle of what the target sees of the detector, over the standard
        deviation that squared kernels give it; None where it sees too little.
    """
    from skytool.stages.warp.resampling import detector_resampler

    window = _middle(pixel_map.window, _SIDE if kernel is None else _MATCHED_SIDE)
    part = _source_part(pixel_map, window, prepared.image.shape)
    if part is None:
        return None
    rng = _generator(prepared, config)
    shape = part.shape
    white = replace(
        prepared,
        image=rng.standard_normal(shape, dtype=np.float32),
        variance=np.ones(shape, np.float32),
        mask=None,
        unusable=np.zeros(shape, np.bool_),
    )
    moved = _MovedMap(pixel_map, part, pixel_map.shape, window)
    plain = replace(config, masked_fraction=False)
    warped = detector_resampler(white, moved, plain, planes, oversample).part(window)
    noise, variance = warped.image, warped.variance
    assert variance is not None  # noqa: S101  there is one to resample
    if kernel is not None:
        from skytool.core.convolve import convolve_planes

        convolved = convolve_planes(noise, kernel, variance=variance)
        noise, variance = convolved.image, convolved.variance
        assert variance is not None  # noqa: S101
    scaled = noise / np.sqrt(variance)
    if np.count_nonzero(np.isfinite(scaled)) < _REACH**2:
        return None
    return measure_correlation(scaled)


def _middle(window: Window, side: int) -> Window:
    """Return the middle of a window, with sides of a number of pixels at most."""
    starts, stops = [], []
    for start, stop in ((window.y_start, window.y_stop), (window.x_start, window.x_stop)):
        first = max(start, (start + stop - side) // 2)
        starts.append(first)
        stops.append(min(stop, first + side))
    return Window(starts[0], stops[0], starts[1], stops[1])


def _source_part(pixel_map: PixelMap, window: Window, shape: tuple[int, ...]) -> Window | None:
    """Return the part of a detector that a window needs; None if it sees none."""
    if 0 in window.shape:
        return None
    rows = np.arange(window.y_start, window.y_stop, dtype=np.float64)
    columns = np.arange(window.x_start, window.x_stop, dtype=np.float64)
    u, v = pixel_map.positions(rows, columns)
    if not np.isfinite(u).any():
        return None
    bounds = []
    for along, size in ((v, shape[0]), (u, shape[1])):
        low = max(0, math.floor(np.nanmin(along)) - _REACH)
        high = min(size, math.ceil(np.nanmax(along)) + _REACH + 1)
        if high <= low:
            return None
        bounds += [low, high]
    return Window(*bounds)


@dataclass(eq=False)
class _MovedMap:
    """A map to part of a detector, for a window of the target."""

    whole: PixelMap
    part: Window
    shape: tuple[int, int]
    window: Window

    def positions(
        self, y: NDArray[np.float64], x: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        u, v = self.whole.positions(y, x)
        return u - self.part.x_start, v - self.part.y_start

    def columns(self, y_start: int, y_stop: int) -> tuple[int, int]:
        del y_start, y_stop
        return self.window.x_start, self.window.x_stop
