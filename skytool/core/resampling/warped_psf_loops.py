"""Compiled loop that resamples a small image under an affine map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.compiled import compiled_in_order
from skytool.core.resampling.kernels import PHASES

if TYPE_CHECKING:
    from numpy.typing import NDArray


@compiled_in_order
def fill_weights(
    table: NDArray[np.float64], fraction: float, nearest: Any, weights: NDArray[np.float64]
) -> None:
    """Fill in the weights of all taps at a sub-pixel fraction, interpolated in the table."""
    if nearest:
        fraction = 1.0 if fraction >= 0.5 else 0.0
    position = fraction * PHASES
    row = min(int(position), PHASES - 1)
    part = position - row
    for k in range(weights.size):
        weights[k] = table[row, k] + part * (table[row + 1, k] - table[row, k])


@compiled_in_order
def resampled_lattice(
    samples: NDArray[np.float64],
    table: NDArray[np.float64],
    first_tap: int,
    nearest: Any,
    matrix: NDArray[np.float64],
    y: float,
    x: float,
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add the values at ``(y, x) + matrix (row, column)``; nothing where taps leave the samples."""
    h, w = samples.shape
    n = table.shape[1]
    along_y = np.empty(n)
    along_x = np.empty(n)
    for j in range(rows.size):
        for i in range(columns.size):
            v = y + matrix[0, 0] * rows[j] + matrix[0, 1] * columns[i]
            u = x + matrix[1, 0] * rows[j] + matrix[1, 1] * columns[i]
            row = int(np.floor(v))
            column = int(np.floor(u))
            top = row + first_tap
            left = column + first_tap
            if top < 0 or left < 0 or top + n > h or left + n > w:
                continue
            fill_weights(table, v - row, nearest, along_y)
            fill_weights(table, u - column, nearest, along_x)
            total = 0.0
            for k in range(n):
                line = 0.0
                for m in range(n):
                    line += along_x[m] * samples[top + k, left + m]
                total += along_y[k] * line
            out[j, i] += total
