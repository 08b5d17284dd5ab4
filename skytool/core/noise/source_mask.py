"""Pixels of sources, for statistics of the sky: found above a local level, and grown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.mask_spread import spread_mask
from skytool.core.noise.estimate import sky_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BRIGHTER = 10.0  # each time a source is brighter by this factor it is grown by more
_LEVELS = 3
_QUARTILES = 1.348979500392163  # their distance in a unit normal distribution
_SAMPLE = 1 << 18


def source_mask(
    image: NDArray[np.floating],
    bad: NDArray[np.bool_] | None = None,
    *,
    threshold: float = 3.0,
    grow: int = 3,
) -> NDArray[np.bool_]:
    """Tell which pixels belong to sources.

    Parameters
    ----------
    image : ndarray of float, shape (ny, nx)
        Pixels; those that are not finite are left out.
    bad : ndarray of bool, shape (ny, nx), optional
        Pixels to leave out.
    threshold : float
        Height above the local sky at which a source begins, in the smoothed image [sigma].
    grow : int
        Radius by which sources are grown [pixel]; twice as much where they exceed ten times the
        threshold, three times as much at a hundred times.

    Returns
    -------
    mask : ndarray of bool, shape (ny, nx)
        True for pixels of sources.

    Notes
    -----
    Smoothed by the binomial kernel 1 2 1 along both axes, over the pixels that are good, and
    compared with the local sky level in tiles. The noise is that of the smoothed image.
    """
    good = np.isfinite(image) if bad is None else np.isfinite(image) & ~bad
    if not good.any():
        return np.zeros(image.shape, bool)
    tiles = sky_noise(image, ~good)
    excess = np.where(good, image - tiles.level_image(), 0.0).astype(np.float32)
    weight = _smoothed(good.astype(np.float32))
    excess = _smoothed(excess)
    np.divide(excess, weight, out=excess, where=weight > 0)
    excess /= np.maximum(tiles.rms_image(), np.finfo(np.float32).tiny)
    step = max(1, image.size // _SAMPLE)
    quartiles = np.percentile(excess[good][::step], [25, 75])
    sigma = (quartiles[1] - quartiles[0]) / _QUARTILES
    if not sigma > 0:
        return np.zeros(image.shape, bool)
    mask = np.zeros(image.shape, bool)
    for level in range(_LEVELS):
        bright = good & (excess > threshold * sigma * _BRIGHTER**level)
        mask |= spread_mask(bright, _disk(grow * (level + 1)))
    return mask


def _smoothed(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convolve with 1 2 1 along both axes; zero beyond the edges."""
    for axis in (0, 1):
        lines = np.moveaxis(image, axis, 0)
        out = 0.5 * lines
        out[1:] += 0.25 * lines[:-1]
        out[:-1] += 0.25 * lines[1:]
        image = np.moveaxis(out, 0, axis)
    return image


def _disk(radius: int) -> NDArray[np.bool_]:
    at = np.arange(-radius, radius + 1)
    return np.asarray(np.add.outer(at**2, at**2) <= (radius + 0.5) ** 2)
