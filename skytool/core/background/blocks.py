"""Images reduced to the means of small blocks, several of which make a cell.

Blocks of a few pixels keep what matters for a sky that varies over tens of pixels, at a fraction
of the memory, and sources can be found in them. With a block size of one pixel nothing is lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from skytool.core.background.cell_grid import CellGrid, cell_edges
from skytool.core.statistics import Clip, Statistic, native_float

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Blocks:
    """Means of the good pixels of blocks.

    Parameters
    ----------
    cells : CellGrid
        Cells of the image.
    grid : CellGrid
        Blocks of the image; every edge of a cell is one of a block.
    y_cell, x_cell : ndarray of int64, shape (n_y + 1,) and (n_x + 1,)
        First row and column of blocks of each cell, then their number.
    mean : ndarray of float32, shape (by, bx)
        Mean of the good pixels of each block [unit of image]; NaN where there is none.
    count : ndarray of uint16, shape (by, bx)
        Their number.
    marked : ndarray of uint16, shape (by, bx)
        Number of pixels with flags that were to be counted.
    """

    cells: CellGrid
    grid: CellGrid
    y_cell: NDArray[np.int64]
    x_cell: NDArray[np.int64]
    mean: NDArray[np.float32]
    count: NDArray[np.uint16]
    marked: NDArray[np.uint16]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of blocks ``(by, bx)``."""
        return self.grid.shape

    @property
    def bad(self) -> NDArray[np.bool_]:
        """True where a block has no good pixel."""
        return self.count == 0

    @property
    def size(self) -> float:
        """Mean side of a block [pixel]."""
        (ny, nx), (by, bx) = self.grid.image_shape, self.shape
        return math.sqrt(ny * nx / (by * bx))

    def with_mean(self, mean: NDArray[np.floating]) -> Self:
        """Return the same blocks with other values."""
        return replace(self, mean=mean.astype(np.float32))

    def without(self, bad: NDArray[np.bool_]) -> Self:
        """Return the blocks without some of them, which keep their values and lose their pixels."""
        return replace(self, count=np.where(bad, 0, self.count).astype(np.uint16))

    def regrouped(self, size: float) -> Self:
        """Return the same blocks in cells of another size [pixel], each of whole blocks."""
        in_blocks = CellGrid.from_bin_size(self.shape, max(size / self.size, 1.0))
        y_cell, x_cell = in_blocks.y_edges, in_blocks.x_edges
        cells = CellGrid(self.grid.y_edges[y_cell], self.grid.x_edges[x_cell])
        return replace(self, cells=cells, y_cell=y_cell, x_cell=x_cell)

    def expand(self, flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return flags of blocks as flags of pixels, shape ``(ny, nx)``."""
        return self.grid.expand(flags)


def block_means(
    image: ArrayLike,
    flags: NDArray[Any] | None,
    cells: CellGrid,
    size: int,
    *,
    bad: int = -1,
    counted: int = 0,
) -> Blocks:
    """Average the good pixels of blocks.

    Parameters
    ----------
    image : array_like of float, shape (ny, nx)
        Pixels; those that are not finite are left out.
    flags : ndarray of int or bool, shape (ny, nx), or None
        Bits of every pixel.
    cells : CellGrid
        Cells that the blocks must tile.
    size : int
        Wanted side of a block [pixel], at most 64; every cell is divided into the same number of
        blocks, whose sides come near this.
    bad : int
        Bits of pixels to leave out; any bit by default.
    counted : int
        Bits of pixels that are counted in `Blocks.marked`.

    Raises
    ------
    ValueError
        If shapes disagree.
    """
    from skytool.core.background.block_loops import average_blocks

    pixels = native_float(image).astype(np.float32, copy=False)
    if pixels.shape != cells.image_shape:
        raise ValueError(f"an image of shape {pixels.shape} for cells of {cells.image_shape}")
    bits = np.zeros(pixels.shape, np.uint8) if flags is None else np.ascontiguousarray(flags)
    if bits.shape != pixels.shape:
        raise ValueError(f"flags of shape {bits.shape} for pixels of {pixels.shape}")
    if bits.dtype == np.bool_:
        bits = bits.view(np.uint8)
    (y_edges, y_cell), (x_edges, x_cell) = (
        _divided(edges, size) for edges in (cells.y_edges, cells.x_edges)
    )
    grid = CellGrid(y_edges, x_edges)
    mean = np.empty(grid.shape, np.float32)
    count, marked = np.empty(grid.shape, np.uint16), np.empty(grid.shape, np.uint16)
    average_blocks(pixels, bits, bad, counted, y_edges, x_edges, mean, count, marked)
    return Blocks(cells, grid, y_cell, x_cell, mean, count, marked)


def _divided(edges: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the edges of blocks along an axis, and the first block of every cell."""
    lengths = np.diff(edges)
    if size == 1:
        return np.arange(edges[-1] + 1, dtype=np.int64), edges
    n = int(np.clip(math.floor(float(np.mean(lengths)) / size + 0.5), 1, lengths.min()))
    parts = [
        start + cell_edges(int(length), n)[:-1]
        for start, length in zip(edges[:-1], lengths, strict=True)
    ]
    return np.append(np.concatenate(parts), edges[-1]), np.arange(len(edges), dtype=np.int64) * n


@dataclass(frozen=True, eq=False)
class BlockStatistics:
    """One value for each cell, from its blocks; arrays of float64, shape ``(n_y, n_x)``.

    Parameters
    ----------
    value : ndarray
        The statistic [unit of image]; NaN without data.
    error : ndarray
        Its standard error from the scatter of the blocks; NaN where that is undefined.
    noise : ndarray
        Standard deviation of a pixel, as far as the noise of pixels is independent [unit of image].
    count : ndarray
        Good pixels.
    kept : ndarray
        Good pixels of the blocks that entered the value.
    y, x : ndarray
        Mean position of these blocks [pixel]; NaN without any.
    low, high : ndarray
        Limits of the means of blocks that entered.
    """

    value: Floats
    error: Floats
    noise: Floats
    count: Floats
    kept: Floats
    y: Floats
    x: Floats
    low: Floats
    high: Floats


def block_statistics(
    blocks: Blocks, *, statistic: Statistic = Statistic.MEANCLIP, clip: Clip | None = None
) -> BlockStatistics:
    """Return a statistic of the blocks of every cell, each weighted by its good pixels.

    Parameters
    ----------
    blocks : Blocks
        Blocks; those without good pixels do not count.
    statistic : Statistic
        Mean, median (of blocks, without weights) or clipped mean.
    clip : Clip, optional
        Clipping of the clipped mean; 3 sigma and 3 passes if not given.

    Raises
    ------
    ValueError
        If the statistic is another one.
    """
    from skytool.core import pixel_kernels as kernels
    from skytool.core.background import block_loops as loops

    levels = {
        Statistic.MEAN: kernels.MEAN_LEVEL,
        Statistic.MEDIAN: kernels.MEDIAN_LEVEL,
        Statistic.MEANCLIP: kernels.CLIP_LEVEL,
    }
    if statistic not in levels:
        raise ValueError(f"blocks are not combined by {statistic}")
    clip = clip or Clip()
    rows = np.empty((*blocks.cells.shape, loops.N_CELL_FIELDS))
    loops.describe_weighted_cells(
        blocks.mean,
        blocks.count,
        blocks.y_cell,
        blocks.x_cell,
        blocks.grid.y_centers,
        blocks.grid.x_centers,
        levels[statistic],
        clip.sigma,
        clip.iterations,
        rows,
    )
    weight, squared = rows[..., loops.WEIGHT], rows[..., loops.WEIGHT_SQUARED]
    noise = np.sqrt(rows[..., loops.SPREAD])
    is_median = statistic is Statistic.MEDIAN
    factor = math.sqrt(math.pi / 2) if is_median else 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        error = factor * noise * np.sqrt(squared) / weight
        # The scatter is that of a block with the mean number of good pixels.
        pixel_noise = noise * np.sqrt(weight / rows[..., loops.KEPT])
    return BlockStatistics(
        value=rows[..., loops.MIDDLE if is_median else loops.VALUE].copy(),
        error=error,
        noise=pixel_noise,
        count=rows[..., loops.TOTAL].copy(),
        kept=weight.copy(),
        y=rows[..., loops.Y].copy(),
        x=rows[..., loops.X].copy(),
        low=rows[..., loops.LOWEST].copy(),
        high=rows[..., loops.HIGHEST].copy(),
    )


def kept_average(blocks: Blocks, statistics: BlockStatistics, quantity: NDArray[Any]) -> Floats:
    """Average a quantity over exactly the blocks that entered the values of cells.

    Parameters
    ----------
    blocks : Blocks
        The blocks.
    statistics : BlockStatistics
        What `block_statistics` returned for them.
    quantity : ndarray of float, shape (by, bx)
        The quantity in every block; finite where there are good pixels.

    Returns
    -------
    averages : ndarray of float64, shape (n_y, n_x)
        Weighted by good pixels; NaN for cells without any.
    """
    from skytool.core.background.block_loops import sum_kept

    sums = np.empty(blocks.cells.shape)
    sum_kept(
        blocks.mean,
        blocks.count,
        statistics.low,
        statistics.high,
        blocks.y_cell,
        blocks.x_cell,
        np.ascontiguousarray(quantity),
        sums,
    )
    return np.divide(
        sums, statistics.kept, out=np.full_like(sums, np.nan), where=statistics.kept > 0
    )
