"""The background that is left of a difference, measured on its sky."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.background.chebyshev import ChebyshevModel, n_terms, point_basis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_CELL = 32  # [pixel]
_LEAST_CELLS = 8  # along the shorter axis
_LEAST_ROWS = 4  # of a cell that are used
_LEAST_FRACTION = 0.2  # of good pixels in a cell
_PER_TERM = 2  # cells for each term
_CLIP = 4.0  # of pixels [standard deviation], and of the levels of cells [their scatter]
_ROUNDS = 3
_SAMPLED = 2  # rows of which one tells the first level of a cell


def sky_background(
    difference: NDArray[np.floating],
    variance: float,
    bad: NDArray[np.bool_],
    order: int,
) -> Floats:
    """Fit a polynomial to the sky of a difference.

    Parameters
    ----------
    difference : ndarray of float, shape (ny, nx)
        Image less the convolved other one.
    variance : float
        Variance of its sky.
    bad : ndarray of bool, shape (ny, nx)
        Pixels to leave out.
    order : int
        Highest total degree; it is lowered where there are fewer than two cells for each term.

    Returns
    -------
    ndarray of float64, shape (order + 1, order + 1)
        Chebyshev coefficients; zero without any cell.

    Notes
    -----
    The first surface goes through the medians of cells. Then pixels that are more than four
    standard deviations off are left out, and the surface is fitted to the means of cells, which
    count by their numbers of pixels, and of which those are left out that are off themselves.
    """
    ny, nx = difference.shape
    step = max(1, difference.size >> 20)
    rows = slice(None, None, step)
    difference, bad = difference[rows], bad[rows]
    cells = _Cells((ny, nx), step)
    surface = _fitted(cells, order, *_medians(cells, difference, bad))
    for _ in range(_ROUNDS - 1):
        if surface is None:
            return np.zeros((1, 1))
        left = difference - ChebyshevModel.from_terms(surface, (ny, nx)).image(rows=rows)
        off = bad | (left * left > np.float32(_CLIP**2 * variance))
        count = cells.sums(~off)
        total = cells.sums(np.where(off, np.float32(0.0), difference))
        mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        surface = _fitted(cells, order, mean, count)
    if surface is None:
        return np.zeros((1, 1))
    return ChebyshevModel.from_terms(surface, (ny, nx)).coefficients


class _Cells:
    """Cells of an image of which some rows are used; the last of a row or column is the rest."""

    def __init__(self, shape: tuple[int, int], step: int) -> None:
        self.shape = shape
        size = max(min(_CELL, min(shape) // _LEAST_CELLS), 1)
        self.size = (max(-(-size // step), min(size, _LEAST_ROWS)), size)
        lengths = (-(-shape[0] // step), shape[1])
        self.starts = [
            np.arange(0, length, side) for length, side in zip(lengths, self.size, strict=True)
        ]
        stops = [np.append(at[1:], n) for at, n in zip(self.starts, lengths, strict=True)]
        self.centres = [
            (start + stop - 1) / 2 for start, stop in zip(self.starts, stops, strict=True)
        ]
        self.centres[0] = self.centres[0] * step
        counts = [stop - start for start, stop in zip(self.starts, stops, strict=True)]
        self.areas = np.outer(*counts)

    def sums(self, plane: NDArray[Any]) -> Floats:
        """Return the sum of every cell."""
        rows = np.add.reduceat(plane, self.starts[0], axis=0, dtype=np.float64)
        return np.asarray(np.add.reduceat(rows, self.starts[1], axis=1), np.float64)


def _medians(
    cells: _Cells, difference: NDArray[np.floating], bad: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Return the medians of some rows of every cell, and the numbers of good pixels."""
    values = np.where(bad, np.float32(np.nan), difference)
    levels = np.full(cells.areas.shape, np.nan)
    n_x = cells.areas.shape[1]
    for row, y in enumerate(cells.starts[0]):
        strip = values[y : y + cells.size[0] : _SAMPLED]
        padded = np.full((len(strip), n_x * cells.size[1]), np.float32(np.inf))
        padded[:, : strip.shape[1]] = np.where(np.isfinite(strip), strip, np.float32(np.inf))
        ordered = np.sort(padded.reshape(len(strip), n_x, -1).swapaxes(0, 1).reshape(n_x, -1))
        count = np.isfinite(ordered).sum(axis=1)
        known = np.flatnonzero(count)
        last = count[known] - 1
        low, high = ordered[known, last // 2], ordered[known, (last + 1) // 2]
        levels[row, known] = 0.5 * (low + high)
    return levels, cells.sums(~bad)


def _fitted(cells: _Cells, order: int, level: Floats, count: Floats) -> Floats | None:
    """Return the terms of the polynomial through the levels of cells; None without cells."""
    used = np.isfinite(level) & (count >= _LEAST_FRACTION * cells.areas)
    if not used.any():
        return None
    while order > 0 and _PER_TERM * n_terms(order) > np.count_nonzero(used):
        order -= 1
    rows, columns = np.nonzero(used)
    y, x = cells.centres[0][rows], cells.centres[1][columns]
    basis = point_basis(order, cells.shape, y=y, x=x)
    value, root = level[used], np.sqrt(count[used])
    kept = np.ones(value.size, np.bool_)
    terms = np.zeros(basis.shape[1])
    for _ in range(_ROUNDS):
        weight = root * kept
        terms = np.linalg.lstsq(basis * weight[:, None], value * weight, rcond=None)[0]
        left = np.abs((value - basis @ terms) * root)
        kept = left <= _CLIP * 1.4826 * np.median(left[kept])
        if _PER_TERM * n_terms(order) > np.count_nonzero(kept):
            break
    return terms
