"""Noise of an image, measured on the image itself or predicted from gain and read noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LAG = 8
"""Distance [pixel] of the pixel pairs whose differences give the noise: beyond the correlation
that resampling kernels leave, short against the gradients of a sky background."""

_MIN_TILE = 64
_MAX_TILES = 32
_MAX_SAMPLES = 1 << 20
_MIN_SAMPLES = 64
_CLIP = 3.0
_CLIPPED_STD = 0.986579  # standard deviation of a unit normal distribution cut at 3 sigma
_MAD_TO_STD = 1.482602


@dataclass(frozen=True, eq=False)
class NoiseMap:
    """Sky level and noise of an image in rectangular tiles.

    Parameters
    ----------
    level : ndarray of float64, shape (ty, tx)
        Sky level of every tile [unit of the image].
    rms : ndarray of float64, shape (ty, tx)
        Standard deviation of a pixel of empty sky [unit of the image].
    shape : tuple of int
        Shape ``(ny, nx)`` of the image.
    tile : tuple of int
        Size ``(y, x)`` of a tile [pixel]; the last ones may be smaller.
    """

    level: NDArray[np.float64]
    rms: NDArray[np.float64]
    shape: tuple[int, int]
    tile: tuple[int, int]

    @property
    def typical_level(self) -> float:
        """Median sky level over the tiles; NaN if no pixel was usable."""
        return float(np.median(self.level))

    @property
    def typical_rms(self) -> float:
        """Median noise over the tiles; NaN if no pixel was usable."""
        return float(np.median(self.rms))

    def level_image(self) -> NDArray[np.float64]:
        """Return the sky level of every pixel, shape ``(ny, nx)``, linear between tile centres."""
        return self._expanded(self.level)

    def rms_image(self) -> NDArray[np.float64]:
        """Return the noise of every pixel, shape ``(ny, nx)``, linear between tile centres."""
        return self._expanded(self.rms)

    def _expanded(self, tiles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a tile map at every pixel, constant outside the outermost tile centres."""
        rows = _hat(self.shape[0], tiles.shape[0], self.tile[0])
        columns = _hat(self.shape[1], tiles.shape[1], self.tile[1])
        return rows @ tiles @ columns.T


def sky_noise(
    image: NDArray[np.floating], bad: NDArray[np.bool_] | None = None, *, lag: int = LAG
) -> NoiseMap:
    """Measure the sky level and the noise of an image in tiles.

    Parameters
    ----------
    image : ndarray of float, shape (ny, nx)
        Pixel values; non-finite ones are ignored.
    bad : ndarray of bool, shape (ny, nx), optional
        True where a pixel is not to be used.
    lag : int
        Distance of the pixel pairs [pixel].

    Returns
    -------
    NoiseMap
        Level and noise per tile; NaN everywhere if no pixel can be used.

    Notes
    -----
    The noise is the standard deviation of the differences of pixels ``lag`` apart in x and in y,
    divided by the square root of two: smooth backgrounds cancel, and at the default lag noise
    that resampling has correlated is measured in full. Sources are removed by clipping at three
    standard deviations, starting from the median absolute deviation, with the correction of a
    normal distribution cut there. A three by three median over the tiles removes tiles that lie
    on a large source. There are at most 32 by 32 tiles, and rows are left out where an image has
    more than two million pixels, so that the cost hardly grows beyond that.
    """
    ny, nx = image.shape
    step = max(1, (ny * nx) // _MAX_SAMPLES)
    tile = (_tile_size(ny, step), _tile_size(nx, 1))
    sampled = _usable(image, bad, slice(None, None, step))
    level = _tile_levels(_tiles(sampled, tile[0] // step, tile[1]))
    lag_y, lag_x = min(lag, max(ny // 2, 1)), min(lag, max(nx // 2, 1))
    pairs_x = np.full_like(sampled, np.nan)
    pairs_x[:, lag_x:] = sampled[:, lag_x:] - sampled[:, :-lag_x]
    pairs_y = np.full_like(sampled, np.nan)
    later = _usable(image, bad, slice(lag_y, None, step))
    pairs_y[: len(later)] = later - sampled[: len(later)]
    pairs = np.concatenate(
        [_tiles(pairs, tile[0] // step, tile[1]) for pairs in (pairs_x, pairs_y)], axis=-1
    )
    rms = _tile_spread(pairs) / np.sqrt(2.0)
    return NoiseMap(_smoothed(level), _smoothed(rms), (ny, nx), tile)


def counting_variance(
    level: NDArray[np.float64], *, gain: float, read_noise: float
) -> NDArray[np.float64]:
    """Return the variance of pixels from photon statistics and read noise.

    Parameters
    ----------
    level : ndarray of float, shape (ny, nx)
        Expected value with the sky in it [unit of the image].
    gain : float
        Electrons per unit of the image, larger than zero.
    read_noise : float
        Standard deviation of the read-out [electron].

    Returns
    -------
    ndarray of float64, shape (ny, nx)
        ``max(level, 0) / gain + (read_noise / gain)**2`` [unit of the image squared].
    """
    return np.maximum(level, 0.0) / gain + (read_noise / gain) ** 2


def with_source_noise(
    sky_variance: NDArray[np.float64],
    image: NDArray[np.floating],
    level: NDArray[np.float64],
    *,
    gain: float,
) -> NDArray[np.float32]:
    """Return the variance of the sky plus the photon noise of what is above the sky level.

    Parameters
    ----------
    sky_variance : ndarray of float64, shape (ny, nx)
        Variance of empty sky [unit of the image squared].
    image : ndarray of float, shape (ny, nx)
        Pixel values; where they are not finite the result is +inf.
    level : ndarray of float64, shape (ny, nx)
        Sky level in the image [unit of the image].
    gain : float
        Electrons per unit of the image; infinity adds nothing.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        Never below the variance of the sky: a pixel scattered low is no less noisy than its
        neighbours.
    """
    finite = np.isfinite(image)
    excess = np.where(finite, np.maximum(image - level, 0.0), 0.0)
    return np.where(finite, sky_variance + excess / gain, np.inf).astype(np.float32)


def _tile_size(length: int, step: int) -> int:
    """Return the tile size along an axis, a multiple of ``step``: 64 pixels or more."""
    size = max(_MIN_TILE, -(-length // _MAX_TILES))
    return -(-size // step) * step


def _usable(
    image: NDArray[np.floating], bad: NDArray[np.bool_] | None, rows: slice
) -> NDArray[np.float64]:
    """Return the chosen rows with NaN where a pixel is not to be used."""
    values = image[rows].astype(np.float64)
    values[~np.isfinite(values)] = np.nan
    if bad is not None:
        values[bad[rows]] = np.nan
    return values


def _tiles(values: NDArray[np.float64], tile_y: int, tile_x: int) -> NDArray[np.float64]:
    """Return the pixels of every tile, shape (ty, tx, n), padded with NaN."""
    ny, nx = values.shape
    ty, tx = -(-ny // tile_y), -(-nx // tile_x)
    padded = np.full((ty * tile_y, tx * tile_x), np.nan)
    padded[:ny, :nx] = values
    return padded.reshape(ty, tile_y, tx, tile_x).transpose(0, 2, 1, 3).reshape(ty, tx, -1)


def _medians(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median along the last axis, NaN apart; NaN where there are too few values."""
    ordered = np.sort(values, axis=-1)  # NaN goes last
    count = np.isfinite(ordered).sum(axis=-1)
    last = np.maximum(count - 1, 0)
    low = np.take_along_axis(ordered, (last // 2)[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(ordered, ((last + 1) // 2)[..., None], axis=-1)[..., 0]
    return np.where(count >= _MIN_SAMPLES, 0.5 * (low + high), np.nan)


def _tile_levels(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of every tile after clipping at three standard deviations."""
    level = _medians(values)
    for _ in range(2):
        spread = _MAD_TO_STD * _medians(np.abs(values - level[..., None]))
        inside = np.abs(values - level[..., None]) <= _CLIP * spread[..., None]
        level = _medians(np.where(inside, values, np.nan))
    return level


def _tile_spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the clipped standard deviation about zero of every tile."""
    sizes = np.abs(values)
    spread = _MAD_TO_STD * _medians(sizes)
    # Where more than half of the differences are zero, as of coarse integers, so is the median:
    # differences of one step are kept whatever the spread.
    step = np.min(np.where(sizes > 0, sizes, np.inf), axis=-1)
    step = np.where(np.isfinite(step), step, 0.0)
    for _ in range(3):
        limit = np.maximum(_CLIP * spread, 1.5 * step)
        inside = sizes <= limit[..., None]
        count = inside.sum(axis=-1)
        total = np.square(sizes, where=inside, out=np.zeros_like(sizes)).sum(axis=-1)
        spread = np.where(
            count >= _MIN_SAMPLES, np.sqrt(total / np.maximum(count, 1)) / _CLIPPED_STD, np.nan
        )
    return spread


def _smoothed(tiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the three by three median of a tile map, with empty tiles filled."""
    good = np.isfinite(tiles)
    if not good.any():
        return tiles
    filled = np.where(good, tiles, np.median(tiles[good]))
    ty, tx = tiles.shape
    padded = np.pad(filled, 1, mode="edge")
    around = [padded[j : j + ty, i : i + tx] for j in range(3) for i in range(3)]
    return np.median(np.stack(around), axis=0)


def _hat(length: int, n_tiles: int, tile: int) -> NDArray[np.float64]:
    """Return weights, shape (length, n_tiles), of linear interpolation between tile centres."""
    weights = np.zeros((length, n_tiles))
    if n_tiles == 1:
        weights[:] = 1.0
        return weights
    edges = np.minimum(np.arange(n_tiles + 1) * tile, length)
    centres = 0.5 * (edges[:-1] + edges[1:]) - 0.5
    position = np.clip(np.arange(length), centres[0], centres[-1])
    right = np.clip(np.searchsorted(centres, position), 1, n_tiles - 1)
    fraction = (position - centres[right - 1]) / (centres[right] - centres[right - 1])
    index = np.arange(length)
    weights[index, right - 1] = 1.0 - fraction
    weights[index, right] = fraction
    return weights
