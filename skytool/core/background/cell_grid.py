"""Division of an image into cells, and what lies between or outside of the cells with a value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rounding = Literal["nearest", "up", "down"]


def cell_edges(length: int, n: int, *, rounding: Literal["nearest", "down"] = "nearest") -> Any:
    """Return the edges of `n` cells along an axis: cell i holds pixels e[i] to e[i + 1] - 1.

    Parameters
    ----------
    length : int
        Number of pixels.
    n : int
        Number of cells, at most `length`; their sizes differ by at most one pixel.
    rounding : {"nearest", "down"}
        How ``i * length / n`` becomes an integer; halves go up.

    Returns
    -------
    edges : ndarray of int64, shape (n + 1,)
        From 0 to `length`.

    Raises
    ------
    AlgorithmError
        If a cell would be empty.

    Examples
    --------
    >>> cell_edges(10, 4).tolist()
    [0, 3, 5, 8, 10]
    """
    if not 1 <= n <= length:
        raise AlgorithmError(
            f"{length} pixels cannot be divided into {n} cells", hint="Choose larger cells."
        )
    half = n // 2 if rounding == "nearest" else 0
    return np.minimum((np.arange(n + 1, dtype=np.int64) * length + half) // n, length)


@dataclass(frozen=True, eq=False)
class CellGrid:
    """Cells in rows and columns that tile an image.

    Parameters
    ----------
    y_edges, x_edges : ndarray of int64, shape (n_y + 1,) and (n_x + 1,)
        First pixel of each cell, then the number of pixels along the axis [pixel].
    """

    y_edges: NDArray[np.int64]
    x_edges: NDArray[np.int64]

    @classmethod
    def from_counts(
        cls,
        image_shape: tuple[int, int],
        counts: tuple[int, int],
        *,
        rounding: Literal["nearest", "down"] = "nearest",
    ) -> Self:
        """Divide an image of shape ``(ny, nx)`` into ``(n_y, n_x)`` cells of nearly equal size."""
        return cls(
            cell_edges(image_shape[0], counts[0], rounding=rounding),
            cell_edges(image_shape[1], counts[1], rounding=rounding),
        )

    @classmethod
    def from_bin_size(
        cls,
        image_shape: tuple[int, int],
        bin_size: tuple[float, float] | float,
        *,
        rounding: Rounding = "up",
    ) -> Self:
        """Divide an image into nearly equal cells of about a size.

        Parameters
        ----------
        image_shape : (int, int)
            Shape ``(ny, nx)``.
        bin_size : float or (float, float)
            Wanted size in y and x [pixel].
        rounding : {"up", "nearest", "down"}
            How the number of cells is rounded: "up" makes cells not larger than asked. There is
            at least one.
        """
        sizes = np.broadcast_to(bin_size, 2).tolist()
        rounded = {
            "up": math.ceil,
            "nearest": lambda ratio: math.floor(ratio + 0.5),
            "down": math.floor,
        }[rounding]
        n_y, n_x = (
            max(rounded(length / size), 1) for length, size in zip(image_shape, sizes, strict=True)
        )
        return cls.from_counts(image_shape, (n_y, n_x))

    @classmethod
    def of_fixed_size(cls, image_shape: tuple[int, int], bin_size: int) -> Self:
        """Divide an image into cells of exactly a size; the last of a row or column is the rest."""
        y_edges, x_edges = (
            np.append(np.arange(0, length, bin_size, dtype=np.int64), length)
            for length in image_shape
        )
        return cls(y_edges, x_edges)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells ``(n_y, n_x)``."""
        return len(self.y_edges) - 1, len(self.x_edges) - 1

    @property
    def image_shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of the image."""
        return int(self.y_edges[-1]), int(self.x_edges[-1])

    @property
    def y_centers(self) -> NDArray[np.float64]:
        """Middle of each row of cells [pixel], shape ``(n_y,)``."""
        return (self.y_edges[:-1] + self.y_edges[1:]) / 2 - 0.5

    @property
    def x_centers(self) -> NDArray[np.float64]:
        """Middle of each column of cells [pixel], shape ``(n_x,)``."""
        return (self.x_edges[:-1] + self.x_edges[1:]) / 2 - 0.5

    @property
    def areas(self) -> NDArray[np.int64]:
        """Number of pixels in each cell, shape ``(n_y, n_x)``."""
        return np.multiply.outer(np.diff(self.y_edges), np.diff(self.x_edges))

    def expand(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return an image in which every pixel has the value of its cell.

        Parameters
        ----------
        values : ndarray, shape (n_y, n_x)
            One value a cell.

        Returns
        -------
        image : ndarray, shape (ny, nx)
            Of the same dtype.
        """
        rows = np.repeat(values, np.diff(self.x_edges), axis=1)
        return np.repeat(rows, np.diff(self.y_edges), axis=0)


def extrapolated_cells(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which cells are outside of the cells with a value.

    Parameters
    ----------
    valid : ndarray of bool, shape (n_y, n_x)
        True where a cell has a value.

    Returns
    -------
    outside : ndarray of bool, shape (n_y, n_x)
        True for cells without a value that do not lie between two that have one, either in their
        row or in their column: a model is extrapolated there, and interpolated in the rest.
    """
    between = np.zeros_like(valid)
    for axis in (0, 1):
        before = np.logical_or.accumulate(valid, axis=axis)
        after = np.flip(np.logical_or.accumulate(np.flip(valid, axis), axis=axis), axis)
        between |= before & after
    return ~between


def neighbor_count(valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many of the eight neighbours of each cell have a value, shape ``(n_y, n_x)``."""
    n_y, n_x = valid.shape
    padded = np.pad(valid.astype(np.int64), 1)
    around = sum(padded[j : j + n_y, i : i + n_x] for j in range(3) for i in range(3))
    return np.asarray(around - valid)


def model_range(
    image: NDArray[Any], grid: CellGrid, covered: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the extremes of a model over the pixels of the covered cells.

    Parameters
    ----------
    image : ndarray of float, shape (ny, nx)
        The model.
    grid : CellGrid
        The cells.
    covered : ndarray of bool, shape (n_y, n_x)
        Cells that count.

    Returns
    -------
    lowest, highest : float
        Infinite, and including everything, if no cell is covered. Limiting the model to this
        range changes nothing where it is covered, keeps it continuous, and stops extrapolation
        from running away.
    """
    if not covered.any():
        return -math.inf, math.inf
    extremes = []
    for extreme in (np.minimum, np.maximum):
        rows = extreme.reduceat(image, grid.y_edges[:-1], axis=0)
        extremes.append(extreme.reduceat(rows, grid.x_edges[:-1], axis=1)[covered])
    return float(extremes[0].min()), float(extremes[1].max())
