"""What resampling does to noise: realisations of it, and the correlation it gets."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.noise.correlation import convolved_correlation, response_correlation
from skytool.core.resampling.kernels import resampling_kernel
from skytool.core.resampling.pixel_map import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.matching.spatial_kernel import SpatialKernel
    from skytool.core.noise.correlation import NoiseCorrelation
    from skytool.core.resampling.pixel_map import PixelMap
    from skytool.models.mask import Mask
    from skytool.stages.warp.config import WarpConfig
    from skytool.stages.warp.prepare import Prepared

_SIDE = 512  # [pixel] of the part of the target on which the correlation is followed
_REACH = 16  # [pixel] around its source, more than any kernel
_AREA_REACH = 6  # half of a kernel that averages over areas [pixel]
_JITTER = 4  # [pixel]: places between pixels are to be met alike
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0  # whose multiples fill an interval evenly
_KERNELS = 5  # places along an axis at which a kernel of the match is taken


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
    """Return the correlation of the noise of a warped detector.

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
        Of white noise in the middle of what the target sees of the detector, relative to the
        variance that squared kernels give it; None where it sees too little.

    Notes
    -----
    Single bright pixels all over the detector are resampled like it; the covariance of noise is
    the sum of the autocorrelations of what becomes of them, which needs no random numbers.
    """
    from skytool.stages.warp.resampling import detector_resampler

    window = _middle(pixel_map.window, _SIDE)
    part = _source_part(pixel_map, window, prepared.image.shape)
    if part is None:
        return None
    image, half = _bright_pixels(pixel_map, window, part, _reach(config))
    if not image.any():
        return None
    single = replace(
        prepared,
        image=image,
        variance=np.ones(part.shape, np.float32),
        mask=None,
        unusable=np.zeros(part.shape, np.bool_),
    )
    moved = _MovedMap(pixel_map, part, pixel_map.shape, window)
    plain = replace(config, masked_fraction=False)
    responses = detector_resampler(single, moved, plain, planes, oversample).part(window).image
    found = response_correlation(np.nan_to_num(responses), max_lag=half)
    found = replace(found, samples=float(np.count_nonzero(image)))
    if kernel is None:
        return found
    y_start, y_stop, x_start, x_stop = kernel.domain
    inside = (np.arange(_KERNELS) + 0.5) / _KERNELS
    y, x = np.meshgrid(
        y_start + (y_stop - y_start) * inside, x_start + (x_stop - x_start) * inside, indexing="ij"
    )
    return convolved_correlation(found, kernel.at_many(y=y.ravel(), x=x.ravel()))


def _bright_pixels(
    pixel_map: PixelMap, window: Window, part: Window, reach: int
) -> tuple[NDArray[np.float32], int]:
    """Return part of a detector with single bright pixels, and how far their light goes.

    It stays within the window and does not meet that of another, and all kernels that hold it lie
    on the detector. `reach` is half a kernel [pixel of the detector]; how far light goes counts in
    pixels of the target.
    """
    image = np.zeros(part.shape, np.float32)
    area = pixel_area(pixel_map, window)
    if not area > 0.0:
        return image, 0
    half = math.ceil(reach / math.sqrt(area)) + 1
    spacing = 3 * half + 1 + _JITTER
    # anywhere between pixels of the target, or those of the detector would not count alike
    rows, columns = (
        np.minimum(first + _JITTER * (np.arange(first.size) * _GOLDEN % 1.0), stop - half - 1.0)
        for first, stop in (
            (np.arange(start + half, stop - half, spacing), stop)
            for start, stop in zip(window[::2], window[1::2], strict=True)
        )
    )
    if not rows.size or not columns.size:  # the window is too narrow for the light of one
        return image, 0
    u, v = pixel_map.positions(rows, columns)
    seen = np.isfinite(u) & np.isfinite(v)
    y, x = np.rint(v[seen]) - part.y_start, np.rint(u[seen]) - part.x_start
    whole = np.ones(y.size, np.bool_)
    for at, size in zip((y, x), part.shape, strict=True):
        whole &= (at >= 2 * reach) & (at < size - 2 * reach)
    image[y[whole].astype(np.intp), x[whole].astype(np.intp)] = 1.0
    return image, half


def pixel_area(pixel_map: PixelMap, window: Window) -> float:
    """Return the area of a target pixel in the middle of a window [pixel of the detector]."""
    y, x = ((start + stop) // 2 for start, stop in zip(window[::2], window[1::2], strict=True))
    u, v = pixel_map.positions(y + np.arange(2.0), x + np.arange(2.0))
    along_y, along_x = (
        (u[1, 0] - u[0, 0], v[1, 0] - v[0, 0]),
        (u[0, 1] - u[0, 0], v[0, 1] - v[0, 0]),
    )
    return float(abs(along_x[0] * along_y[1] - along_x[1] * along_y[0]))


def _reach(config: WarpConfig) -> int:
    """Return half of a resampling kernel [pixel of the detector]."""
    if config.takes_areas:
        return _AREA_REACH
    return len(resampling_kernel(config.kernel).effective_taps) // 2


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
