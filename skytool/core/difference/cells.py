"""Cells of an image that may come in pieces, each with its part of a common frame of pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from skytool.core.background.cell_grid import neighbor_count
from skytool.core.background.cells import CellStatistics, cell_averages, cell_statistics
from skytool.core.background.chebyshev import axis_terms, point_basis, term_degrees
from skytool.core.statistics import Clip, Statistic
from skytool.core.windows import grid_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from skytool.core.background.cell_grid import CellGrid
    from skytool.core.windows import Window

    Floats = NDArray[np.float64]

CellBasis = Literal["average", "center"]


class ImagePiece(NamedTuple):
    """A part of an image.

    Parameters
    ----------
    window : Window
        Its place in the frame.
    image : ndarray of float, shape (ny, nx)
        Pixels; NaN where there is no value.
    bad : ndarray of bool, shape (ny, nx)
        Pixels to leave out.
    """

    window: Window
    image: NDArray[np.float32]
    bad: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class CellRule:
    """How pixels become cells.

    Parameters
    ----------
    statistic : Statistic
        Kind of value.
    clip : Clip
        Clipping of the clipped mean and the mode.
    min_fraction : float
        Least fraction of a cell's pixels that must be good; one good pixel is always necessary.
    min_neighbors : int
        Least number of the eight neighbours of a cell that must have a value.
    basis : {"average", "center"}
        Whether the terms of a polynomial are averaged over the pixels that entered a cell, or
        taken at its centre.
    correlation : float
        Factor by which correlation of the noise raises the variance of an average.
    """

    statistic: Statistic = Statistic.MEANCLIP
    clip: Clip = field(default_factory=lambda: Clip(5.0, 5))
    min_fraction: float = 0.1
    min_neighbors: int = 0
    basis: CellBasis = "average"
    correlation: float = 1.0


@dataclass(frozen=True, eq=False)
class FrameCells:
    """The cells of a frame.

    Parameters
    ----------
    cells : CellStatistics
        Their values.
    basis : ndarray of float64, shape (n_y, n_x, n_terms), or None
        Terms of a polynomial over the frame, in the order of `term_degrees`.
    """

    cells: CellStatistics
    basis: Floats | None


class _Fragment(NamedTuple):
    """The cells of a piece, and their place in the grid of the frame."""

    cells: CellStatistics
    averages: Floats | None
    row: int
    column: int

    @property
    def place(self) -> tuple[slice, slice]:
        n_y, n_x = self.cells.value.shape
        return slice(self.row, self.row + n_y), slice(self.column, self.column + n_x)


def frame_cells(
    pieces: Iterable[ImagePiece], grid: CellGrid, rule: CellRule, *, order: int | None = None
) -> FrameCells:
    """Return the cells of an image that comes in pieces.

    Parameters
    ----------
    pieces : iterable of ImagePiece
        Each is asked for when the one before is done. Pixels of several pieces count several times.
    grid : CellGrid
        Cells of the frame.
    rule : CellRule
        How pixels become cells.
    order : int, optional
        Highest total degree of the terms wanted; none if not given.

    Notes
    -----
    A cell in several pieces has the mean of the values and of the terms of its fragments, weighted
    with the number of pixels that entered each. For means this is exact: both are averages over
    the same pixels.
    """
    fragments = [_fragment(piece, grid, rule, order) for piece in pieces]
    cells = _joined(fragments, grid)
    valid = cells.count >= np.maximum(rule.min_fraction * grid.areas, 1)
    valid &= neighbor_count(valid) >= rule.min_neighbors
    basis = None
    if order is not None:
        basis = _frame_basis(fragments, grid, rule, order)
    return FrameCells(cells.only(valid), basis)


def centered_values(frame: FrameCells, terms: Floats) -> Floats:
    """Return the values of cells, moved from their pixels to their centres along a polynomial.

    Parameters
    ----------
    frame : FrameCells
        Cells with averaged terms.
    terms : ndarray of float64, shape (n_terms,)
        Factors of the terms of a polynomial fitted to the cells.

    Returns
    -------
    values : ndarray of float64, shape (n_y, n_x)
        Value less the mean of the polynomial over the pixels of the cell, plus the polynomial at
        the centre: what missing pixels and curvature do to a mean is taken off.
    """
    if frame.basis is None:
        raise ValueError("cells without terms cannot be moved to their centres")
    grid = frame.cells.grid
    order = (math.isqrt(8 * len(terms) + 1) - 3) // 2
    at_center = _center_basis(grid, order)
    return np.asarray(frame.cells.value + (at_center - frame.basis[..., : len(terms)]) @ terms)


def _fragment(piece: ImagePiece, grid: CellGrid, rule: CellRule, order: int | None) -> _Fragment:
    """Return the cells of one piece, with averaged terms if they are wanted."""
    part = grid_part(grid, piece.window)
    cells = cell_statistics(
        piece.image,
        piece.bad,
        part.grid,
        statistic=rule.statistic,
        clip=rule.clip,
        correlation=rule.correlation,
    )
    averages = None
    if order is not None and rule.basis == "average":
        ny, nx = grid.image_shape
        rows, columns = piece.window.rows, piece.window.columns
        every = cell_averages(
            piece.image,
            piece.bad,
            part.grid,
            low=cells.low,
            high=cells.high,
            y_basis=axis_terms(order, np.arange(rows.start, rows.stop), ny),
            x_basis=axis_terms(order, np.arange(columns.start, columns.stop), nx),
        )
        p, q = term_degrees(order).T
        averages = every[..., p, q]
    moved = replace(cells, y=cells.y + piece.window.y, x=cells.x + piece.window.x)
    return _Fragment(moved, averages, part.row, part.column)


def _joined(fragments: Sequence[_Fragment], grid: CellGrid) -> CellStatistics:
    """Return the statistics of the cells of the frame."""
    if len(fragments) == 1 and fragments[0].cells.value.shape == grid.shape:
        return replace(fragments[0].cells, grid=grid)
    count, kept = np.zeros(grid.shape, np.int64), np.zeros(grid.shape, np.int64)
    sums = {name: np.zeros(grid.shape) for name in ("value", "error", "y", "x", "square")}
    low, high = np.full(grid.shape, np.nan), np.full(grid.shape, np.nan)
    for fragment in fragments:
        cells, place = fragment.cells, fragment.place
        n = np.where(cells.valid, cells.kept, 0)
        count[place] += cells.count
        kept[place] += n
        known = {
            "value": cells.value,
            "y": cells.y,
            "x": cells.x,
            "square": np.nan_to_num(cells.variance) + cells.value**2,
            "error": n * cells.error**2,
        }
        for name, values in known.items():
            sums[name][place] += np.where(n > 0, n * values, 0.0)
        low[place] = np.fmin(low[place], cells.low)
        high[place] = np.fmax(high[place], cells.high)
    with np.errstate(invalid="ignore"):
        means = {name: total / kept for name, total in sums.items()}
        return CellStatistics(
            grid=grid,
            value=means["value"],
            error=np.sqrt(means["error"] / kept),
            count=count,
            kept=kept,
            y=means["y"],
            x=means["x"],
            variance=np.maximum(means["square"] - means["value"] ** 2, 0.0),
            low=low,
            high=high,
        )


def _frame_basis(
    fragments: Sequence[_Fragment], grid: CellGrid, rule: CellRule, order: int
) -> Floats:
    """Return the terms of the cells of the frame."""
    if rule.basis == "center":
        return _center_basis(grid, order)
    if len(fragments) == 1 and fragments[0].cells.value.shape == grid.shape:
        return np.asarray(fragments[0].averages)
    sums = np.zeros((*grid.shape, len(term_degrees(order))))
    kept = np.zeros(grid.shape)
    for fragment in fragments:
        n = np.where(fragment.cells.valid, fragment.cells.kept, 0)[..., None]
        sums[fragment.place] += np.where(n > 0, n * np.asarray(fragment.averages), 0.0)
        kept[fragment.place] += n[..., 0]
    return np.divide(
        sums, kept[..., None], out=np.full_like(sums, np.nan), where=kept[..., None] > 0
    )


def _center_basis(grid: CellGrid, order: int) -> Floats:
    y, x = np.meshgrid(grid.y_centers, grid.x_centers, indexing="ij")
    return point_basis(order, grid.image_shape, y=y, x=x)
