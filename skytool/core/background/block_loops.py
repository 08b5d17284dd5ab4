"""Compiled loops over blocks of pixels: their means, and statistics of cells made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.compiled import compiled
from skytool.core.pixel_kernels import (
    KEPT_WEIGHT,
    KEPT_WEIGHT_SQUARED,
    N_STACK_FIELDS,
    SCATTER,
    combine,
)
from skytool.core.sample_kernels import (
    CLIP_COUNT,
    CLIP_MEAN,
    HIGH,
    LOW,
    MEDIAN,
    SCRATCH_SIZE,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_CELL_FIELDS = 11
VALUE, MIDDLE, SPREAD, WEIGHT, WEIGHT_SQUARED, KEPT, TOTAL, Y, X, LOWEST, HIGHEST = range(
    N_CELL_FIELDS
)
"""Columns of a row of results for a cell."""


@compiled
def average_blocks(
    image: NDArray[np.float32],
    flags: NDArray[Any],
    bad: int,
    counted: int,
    y_edges: NDArray[np.int64],
    x_edges: NDArray[np.int64],
    mean: NDArray[np.float32],
    count: NDArray[np.uint16],
    marked: NDArray[np.uint16],
) -> None:
    """Fill the mean and the number of the good pixels of every block; NaN and 0 without any.

    A pixel is good if it is finite and has none of the bits of `bad`; `marked` gets the number of
    pixels with bits of `counted`.
    """
    n_x = x_edges.size - 1
    total = np.empty(n_x)
    used = np.empty(n_x, np.int64)
    seen = np.empty(n_x, np.int64)
    for j in range(y_edges.size - 1):
        total[:] = 0.0
        used[:] = 0
        seen[:] = 0
        for y in range(y_edges[j], y_edges[j + 1]):
            for i in range(n_x):
                row = 0.0
                n = 0
                m = 0
                for x in range(x_edges[i], x_edges[i + 1]):
                    flag = flags[y, x]
                    good = np.isfinite(image[y, x]) and (flag & bad) == 0
                    row += image[y, x] if good else 0.0
                    n += 1 if good else 0
                    m += 1 if (flag & counted) != 0 else 0
                total[i] += row
                used[i] += n
                seen[i] += m
        for i in range(n_x):
            mean[j, i] = total[i] / used[i] if used[i] > 0 else np.nan
            count[j, i] = used[i]
            marked[j, i] = seen[i]


@compiled
def describe_weighted_cells(
    values: NDArray[Any],
    weights: NDArray[Any],
    y_edges: NDArray[np.int64],
    x_edges: NDArray[np.int64],
    y_at: NDArray[np.float64],
    x_at: NDArray[np.float64],
    level: int,
    sigma: float,
    iterations: int,
    rows: NDArray[np.float64],
) -> None:
    """Describe the values of positive weight in every cell.

    `values` and `weights` have shape ``(ny, nx)``, the edges count their rows and columns, and
    `y_at` and `x_at` are their positions. `rows` has shape ``(n_y, n_x, N_CELL_FIELDS)``.
    """
    widest = np.max(y_edges[1:] - y_edges[:-1]) * np.max(x_edges[1:] - x_edges[:-1])
    value = np.empty(widest)
    weight = np.empty(widest)
    y_of = np.empty(widest)
    x_of = np.empty(widest)
    variance = np.zeros(widest)
    buffers = np.empty((2, max(widest, SCRATCH_SIZE)))
    row = np.empty(N_STACK_FIELDS)
    for j in range(y_edges.size - 1):
        for i in range(x_edges.size - 1):
            n = 0
            total = 0.0
            for y in range(y_edges[j], y_edges[j + 1]):
                for x in range(x_edges[i], x_edges[i + 1]):
                    if weights[y, x] > 0 and np.isfinite(values[y, x]):
                        value[n] = values[y, x]
                        weight[n] = weights[y, x]
                        y_of[n] = y_at[y]
                        x_of[n] = x_at[x]
                        total += weights[y, x]
                        n += 1
            row[:] = np.nan
            combine(value, weight, variance, n, level, sigma, iterations, buffers, row)
            out = rows[j, i]
            out[VALUE] = row[CLIP_MEAN]
            out[MIDDLE] = row[MEDIAN]
            out[SPREAD] = row[SCATTER]
            out[WEIGHT] = row[KEPT_WEIGHT] if n > 0 else 0.0
            out[WEIGHT_SQUARED] = row[KEPT_WEIGHT_SQUARED] if n > 0 else 0.0
            out[KEPT] = row[CLIP_COUNT] if n > 0 else 0.0
            out[TOTAL] = total
            out[LOWEST] = row[LOW]
            out[HIGHEST] = row[HIGH]
            y_sum = 0.0
            x_sum = 0.0
            for k in range(n):
                inside = value[k] >= row[LOW] and value[k] <= row[HIGH]
                y_sum += weight[k] * y_of[k] if inside else 0.0
                x_sum += weight[k] * x_of[k] if inside else 0.0
            out[Y] = y_sum / out[WEIGHT] if out[WEIGHT] > 0.0 else np.nan
            out[X] = x_sum / out[WEIGHT] if out[WEIGHT] > 0.0 else np.nan


@compiled
def sum_kept(
    values: NDArray[Any],
    weights: NDArray[Any],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    y_edges: NDArray[np.int64],
    x_edges: NDArray[np.int64],
    quantity: NDArray[Any],
    sums: NDArray[np.float64],
) -> None:
    """Add up the weighted quantity over what is kept in every cell: ``low <= value <= high``.

    `quantity` has the shape of `values`, `sums` that of the cells.
    """
    for j in range(y_edges.size - 1):
        for i in range(x_edges.size - 1):
            total = 0.0
            for y in range(y_edges[j], y_edges[j + 1]):
                for x in range(x_edges[i], x_edges[i + 1]):
                    value = values[y, x]
                    kept = weights[y, x] > 0 and value >= low[j, i] and value <= high[j, i]
                    total += weights[y, x] * quantity[y, x] if kept else 0.0
            sums[j, i] = total


@compiled
def smooth(
    plane: NDArray[np.float32],
    taps_y: NDArray[np.float32],
    taps_x: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Convolve with the product of two symmetric rows of taps; beyond the edges is zero."""
    ny, nx = plane.shape
    half_y = taps_y.size // 2
    half_x = taps_x.size // 2
    row = np.zeros(nx + 2 * half_x, np.float32)
    for y in range(ny):
        row[:] = 0.0
        for k in range(max(-half_y, -y), min(half_y, ny - 1 - y) + 1):
            tap = taps_y[k + half_y]
            for x in range(nx):
                row[x + half_x] += tap * plane[y + k, x]
        out[y, :] = 0.0
        for k in range(taps_x.size):
            tap = taps_x[k]
            for x in range(nx):
                out[y, x] += tap * row[x + k]
