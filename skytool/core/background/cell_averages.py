"""Surfaces through cells whose averages over the cells are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.interpolation import InterpolationRule, interpolate_outer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_PER_CELL = 8
_ROUNDS = 5
_PATCH = 21  # cells, beyond which none has a part in the average of another


def averages_of_surface(
    values: NDArray[np.floating], grid: CellGrid, rule: InterpolationRule
) -> Floats:
    """Return the average over every cell of the surface through values at the centres.

    Parameters
    ----------
    values : ndarray of float, shape (n_y, n_x)
        Values at the centres of the cells.
    grid : CellGrid
        The cells.
    rule : InterpolationRule
        How they are joined.

    Returns
    -------
    averages : ndarray of float64, shape (n_y, n_x)
        By eight points along each axis, which leaves an error of one part in 64 of the difference
        between average and value.
    """
    points = [_points(edges) for edges in (grid.y_edges, grid.x_edges)]
    surface = interpolate_outer(
        values,
        y_knots=grid.y_centers,
        x_knots=grid.x_centers,
        y=points[0],
        x=points[1],
        rule=rule,
    )
    n_y, n_x = grid.shape
    return np.asarray(surface.reshape(n_y, _PER_CELL, n_x, _PER_CELL).mean(axis=(1, 3)))


def _points(edges: NDArray[np.int64]) -> Floats:
    """Return equally spaced points inside of every cell along an axis."""
    shares = (np.arange(_PER_CELL) + 0.5) / _PER_CELL
    starts, lengths = edges[:-1, None] - 0.5, np.diff(edges)[:, None]
    return np.asarray((starts + lengths * shares).ravel())


def knots_of_averages(
    averages: NDArray[np.floating], grid: CellGrid, rule: InterpolationRule
) -> Floats:
    """Return values at the centres of cells whose surface has about the given averages.

    A surface through averages runs too low where it bends down and too high where it bends up, by
    ``h**2 / 24`` times the second derivative for cells of size h.

    Parameters
    ----------
    averages : ndarray of float, shape (n_y, n_x)
        Measured averages, without gaps.
    grid : CellGrid
        The cells.
    rule : InterpolationRule
        How they are joined.

    Notes
    -----
    The difference between the given averages and those of the surface is smoothed by the weights
    1 2 1 along both axes before it is added: of the narrowest bends it holds as much noise as
    signal. A few rounds make it small for all that are wider.
    """
    knots = np.asarray(averages, np.float64)
    for _ in range(_ROUNDS):
        knots = knots + _smoothed(averages - averages_of_surface(knots, grid, rule))
    return knots


def _smoothed(values: Floats) -> Floats:
    """Average neighbours along both axes; beyond the edges values go on as they are there."""
    for axis in (0, 1):
        pads = [(1, 1) if i == axis else (0, 0) for i in (0, 1)]
        lines = np.moveaxis(np.pad(values, pads, mode="edge"), axis, 0)
        values = np.moveaxis(0.25 * lines[:-2] + 0.5 * lines[1:-1] + 0.25 * lines[2:], 0, axis)
    return values


def noise_of_averages(rule: InterpolationRule, *, keep_averages: bool) -> float:
    """Return the variance of the averages of a surface through cells with independent unit errors.

    Parameters
    ----------
    rule : InterpolationRule
        How cells are joined.
    keep_averages : bool
        Whether the surface is laid by `knots_of_averages`.
    """
    impulse = np.zeros((_PATCH, _PATCH))
    impulse[_PATCH // 2, _PATCH // 2] = 1.0
    edges = np.arange(_PATCH + 1, dtype=np.int64) * _PER_CELL
    grid = CellGrid(edges, edges)
    knots = knots_of_averages(impulse, grid, rule) if keep_averages else impulse
    return float(np.sum(averages_of_surface(knots, grid, rule) ** 2))
