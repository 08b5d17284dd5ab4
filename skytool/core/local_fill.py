"""Values for pixels without one, from their surroundings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.mask_spread import spread_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REACH = 2  # half side of the window whose median replaces an isolated bad pixel
_BLOCK = 32  # side of the blocks whose medians fill the rest
_STEP = 2  # every second row and column enters a block's median
_CHUNK = 1 << 16


def fill_from_neighbors(
    plane: NDArray[np.floating], bad: NDArray[np.bool_]
) -> NDArray[np.floating]:
    """Replace bad pixels by a local median of good ones.

    Parameters
    ----------
    plane : ndarray of float, shape (ny, nx)
        Values; those of bad pixels are not looked at.
    bad : ndarray of bool, shape (ny, nx)
        True where a value is to be replaced; pixels that are not finite must be among them.

    Returns
    -------
    ndarray of float, shape (ny, nx)
        A copy with finite values everywhere; zero if no pixel is good.

    Notes
    -----
    A pixel with good ones less than three pixels away in x and y gets their median. The others get
    the median of a block of 32 by 32 pixels (of a quarter of them), or where that has no good pixel,
    of the nearest block that has. The result serves as input of transforms that cannot skip pixels: it continues the
    surroundings of small defects and the sky level of large ones.
    """
    out = plane.copy()
    window = np.ones((2 * _REACH + 1, 2 * _REACH + 1), dtype=np.bool_)
    positions = np.flatnonzero(bad & spread_mask(~bad, window))
    out[bad] = np.nan
    for start in range(0, len(positions), _CHUNK):
        chosen = positions[start : start + _CHUNK]
        out.flat[chosen] = _window_medians(plane, bad, chosen)
    rows, columns = np.nonzero(np.isnan(out))
    if len(rows):
        out[rows, columns] = _block_medians(plane, bad)[rows // _BLOCK, columns // _BLOCK]
    return out


def _window_medians(
    plane: NDArray[np.floating], bad: NDArray[np.bool_], positions: NDArray[np.int64]
) -> NDArray[np.floating]:
    """Return the median of the good pixels around each position; there is one at least."""
    ny, nx = plane.shape
    rows, columns = np.divmod(positions, nx)
    offsets = np.arange(-_REACH, _REACH + 1)
    near_y = (rows[:, None] + offsets)[:, :, None]
    near_x = (columns[:, None] + offsets)[:, None, :]
    inside = (near_y >= 0) & (near_y < ny) & (near_x >= 0) & (near_x < nx)
    near_y, near_x = np.clip(near_y, 0, ny - 1), np.clip(near_x, 0, nx - 1)
    good = inside & ~bad[near_y, near_x]
    values = np.where(good, plane[near_y, near_x], np.inf).reshape(len(positions), -1)
    return _sorted_medians(values, good.reshape(len(positions), -1).sum(axis=1))


def _sorted_medians(values: NDArray[Any], count: NDArray[np.int64]) -> NDArray[Any]:
    """Return the median of the ``count`` smallest values of every row, NaN where it is 0."""
    values.sort(axis=1)
    row = np.arange(len(values))
    low, high = (
        values[row, np.maximum(count - 1, 0) // 2],
        values[row, count // 2 % values.shape[1]],
    )
    with np.errstate(invalid="ignore"):
        middle = low + 0.5 * (high - low)
    return np.where(count > 0, middle, np.nan)


def _block_medians(plane: NDArray[np.floating], bad: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the median of the good pixels of each block, of the nearest one where it has none."""
    side = _BLOCK // _STEP
    used = np.where(bad, np.inf, plane)[::_STEP, ::_STEP]
    n_y, n_x = -(-used.shape[0] // side), -(-used.shape[1] // side)
    values = np.full((n_y * side, n_x * side), np.inf)
    values[: used.shape[0], : used.shape[1]] = used
    blocks = values.reshape(n_y, side, n_x, side).swapaxes(1, 2).reshape(n_y * n_x, -1)
    medians = _sorted_medians(blocks, np.isfinite(blocks).sum(axis=1)).reshape(n_y, n_x)
    empty = np.isnan(medians)
    if np.all(empty):
        return np.zeros((n_y, n_x))
    if np.any(empty):
        from scipy.ndimage import distance_transform_edt

        nearest = distance_transform_edt(empty, return_distances=False, return_indices=True)
        medians = medians[tuple(nearest)]
    return medians
