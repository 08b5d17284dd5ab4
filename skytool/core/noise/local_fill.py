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
_STRIP = 256  # rows worked on together


def fill_from_neighbors(
    plane: NDArray[np.floating],
    bad: NDArray[np.bool_],
    *,
    out: NDArray[np.floating] | None = None,
) -> NDArray[np.floating]:
    """Replace bad pixels by a local median of good ones.

    Parameters
    ----------
    plane : ndarray of float, shape (ny, nx)
        Values; those of bad pixels are not looked at.
    bad : ndarray of bool, shape (ny, nx)
        True where a value is to be replaced; pixels that are not finite must be among them.
    out : ndarray of float, shape (ny, nx), optional
        Where the result goes if not into a copy: the plane itself, or one that is equal to it.

    Returns
    -------
    ndarray of float, shape (ny, nx)
        Finite values everywhere; zero if no pixel is good.

    Notes
    -----
    A pixel with good ones less than three pixels away in x and y gets their median. The others get
    the median of a block of 32 by 32 pixels (of a quarter of them), or where that has no good pixel,
    of the nearest block that has. The result serves as input of transforms that cannot skip pixels: it continues the
    surroundings of small defects and the sky level of large ones.
    """
    if out is None:
        out = plane.copy()
    window = np.ones((2 * _REACH + 1, 2 * _REACH + 1), dtype=np.bool_)
    isolated = []
    for start in range(0, len(plane), _STRIP):
        here = bad[start : start + _STRIP]
        if not here.any():
            continue
        top = max(start - _REACH, 0)
        near = spread_mask(~bad[top : start + _STRIP + _REACH], window)[start - top :][: len(here)]
        positions = np.flatnonzero(here & near) + start * plane.shape[1]
        for first in range(0, len(positions), _CHUNK):
            chosen = positions[first : first + _CHUNK]
            out.flat[chosen] = _window_medians(plane, bad, chosen)
        isolated.append(np.flatnonzero(here & ~near) + start * plane.shape[1])
    if sum(map(len, isolated)):
        rows, columns = np.divmod(np.concatenate(isolated), plane.shape[1])
        out[rows, columns] = _block_medians(plane, bad, rows // _BLOCK, columns // _BLOCK)
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


def _block_medians(
    plane: NDArray[np.floating],
    bad: NDArray[np.bool_],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the median of the good pixels of some blocks, of the nearest one where it has none."""
    side = _BLOCK // _STEP
    used = np.where(bad[::_STEP, ::_STEP], np.inf, plane[::_STEP, ::_STEP])
    n_y, n_x = -(-used.shape[0] // side), -(-used.shape[1] // side)
    values = np.full((n_y * side, n_x * side), np.inf, used.dtype)
    values[: used.shape[0], : used.shape[1]] = used
    blocks = values.reshape(n_y, side, n_x, side).swapaxes(1, 2).reshape(n_y * n_x, -1)
    count = np.isfinite(blocks).sum(axis=1)
    number = row * n_x + column
    empty = count == 0
    if empty.all():
        return np.zeros(number.shape)
    if empty[number].any():
        from scipy.ndimage import distance_transform_edt

        nearest = distance_transform_edt(
            empty.reshape(n_y, n_x), return_distances=False, return_indices=True
        )
        number = (nearest[0] * n_x + nearest[1]).ravel()[number]
    wanted, place = np.unique(number, return_inverse=True)
    medians = _sorted_medians(blocks[wanted].astype(np.float64), count[wanted])
    return np.asarray(medians[place], np.float64)
