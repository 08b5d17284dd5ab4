"""Rectangles of whole pixels in a larger frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from skytool.core.background.cell_grid import CellGrid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Window:
    """A rectangle of pixels.

    Parameters
    ----------
    y, x : int
        First pixel in the frame.
    shape : (int, int)
        Number of pixels ``(ny, nx)``.
    """

    y: int
    x: int
    shape: tuple[int, int]

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Self:
        """Return the window that is the frame itself."""
        return cls(y=0, x=0, shape=shape)

    @classmethod
    def around(cls, windows: Iterable[Window]) -> Self:
        """Return the smallest window that holds others; there must be one at least."""
        boxes = list(windows)
        y, x = min(box.y for box in boxes), min(box.x for box in boxes)
        ny = max(box.y + box.shape[0] for box in boxes) - y
        nx = max(box.x + box.shape[1] for box in boxes) - x
        return cls(y=y, x=x, shape=(ny, nx))

    @property
    def rows(self) -> slice:
        """Its rows in the frame."""
        return slice(self.y, self.y + self.shape[0])

    @property
    def columns(self) -> slice:
        """Its columns in the frame."""
        return slice(self.x, self.x + self.shape[1])

    def moved(self, *, y: int, x: int) -> Self:
        """Return the same rectangle in a frame whose first pixel is ``(y, x)`` of this frame."""
        return type(self)(y=self.y - y, x=self.x - x, shape=self.shape)

    def common(self, other: Window) -> Window | None:
        """Return the pixels of both, in the frame; None if there are none."""
        y, x = max(self.y, other.y), max(self.x, other.x)
        ny = min(self.rows.stop, other.rows.stop) - y
        nx = min(self.columns.stop, other.columns.stop) - x
        return Window(y=y, x=x, shape=(ny, nx)) if ny > 0 and nx > 0 else None

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Return the slices that cut this window out of an array of another one."""
        inner = self.moved(y=outer.y, x=outer.x)
        return inner.rows, inner.columns


class GridPart(NamedTuple):
    """The part of a grid of cells that lies in a window.

    Parameters
    ----------
    grid : CellGrid
        The cells, cut off at the edges of the window, in pixels of the window.
    row, column : int
        Place of its first cell in the whole grid.
    """

    grid: CellGrid
    row: int
    column: int


def grid_part(grid: CellGrid, window: Window) -> GridPart:
    """Return the cells of a grid that have pixels in a window of its image."""
    y_edges, row = _edges_within(grid.y_edges, window.y, window.shape[0])
    x_edges, column = _edges_within(grid.x_edges, window.x, window.shape[1])
    return GridPart(CellGrid(y_edges, x_edges), row, column)


def _edges_within(
    edges: NDArray[np.int64], start: int, length: int
) -> tuple[NDArray[np.int64], int]:
    """Return the edges from a pixel on over a length, and the cell of the first pixel."""
    first = int(np.searchsorted(edges, start, side="right")) - 1
    last = int(np.searchsorted(edges, start + length, side="left"))
    inside = np.clip(edges[first : last + 1], start, start + length) - start
    return inside, first
