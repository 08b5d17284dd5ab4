"""Which of the candidates for a kernel are in use: the first of every cell that are not rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def cell_numbers(
    y: NDArray[np.intp],
    x: NDArray[np.intp],
    *,
    shape: tuple[int, int],
    cell: tuple[int, int],
) -> NDArray[np.intp]:
    """Return the number of the cell that each candidate is in.

    Parameters
    ----------
    y, x : ndarray of int, shape (n,)
        Pixels.
    shape : (int, int)
        Shape ``(ny, nx)`` of the image.
    cell : (int, int)
        Size ``(y, x)`` of a cell [pixel]; those of the last row and column may be smaller.
    """
    n_x = -(-shape[1] // cell[1])
    return np.asarray(y // cell[0] * n_x + x // cell[1], np.intp)


def active_candidates(
    cells: NDArray[np.intp], rejected: NDArray[np.bool_], per_cell: int
) -> NDArray[np.bool_]:
    """Return which candidates are in use.

    Parameters
    ----------
    cells : ndarray of int, shape (n,)
        Cell of each candidate; candidates are in the order in which they are preferred.
    rejected : ndarray of bool, shape (n,)
        Those that cannot be used.
    per_cell : int
        Most in a cell; below one for all.
    """
    usable = ~rejected
    if per_cell < 1:
        return usable
    order = np.argsort(cells, kind="stable")
    inside = usable[order].cumsum() - usable[order]
    sorted_cells = cells[order]
    first = np.searchsorted(sorted_cells, sorted_cells)
    turn = np.empty(cells.size, np.intp)
    turn[order] = inside - inside[first] if cells.size else inside
    return usable & (turn < per_cell)
