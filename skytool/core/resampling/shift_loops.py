"""Compiled loops of the shifts of images: splines evaluated at the same place in every pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[Any]
    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]


@compiled
def spline_sums(
    spline: Plane,
    moved: Plane,
    rows: Indices,
    row_weights: Floats,
    top: int,
    columns: Indices,
    column_weights: Floats,
    left: int,
) -> None:
    """Set pixels to weighted sums of coefficients.

    Pixel ``(top + i, left + j)`` of ``moved`` becomes the sum over k and l of the coefficients
    ``(rows[i + k], columns[j + l])`` times ``row_weights[k]`` and ``column_weights[l]``.
    """
    nx = spline.shape[1]
    n_row, n_column = row_weights.size, column_weights.size
    line = np.empty(nx)
    wide = np.empty(columns.size)
    for i in range(rows.size - n_row + 1):
        line[:] = 0.0
        for k in range(n_row):
            weight, source = row_weights[k], spline[rows[i + k]]
            for x in range(nx):
                line[x] += weight * source[x]
        for j in range(columns.size):
            wide[j] = line[columns[j]]
        for j in range(columns.size - n_column + 1):
            total = 0.0
            for k in range(n_column):
                total += column_weights[k] * wide[j + k]
            moved[top + i, left + j] = total


@compiled
def spread_sums(
    image: Plane,
    spread: Floats,
    rows: Indices,
    row_weights: Floats,
    top: int,
    columns: Indices,
    column_weights: Floats,
    left: int,
) -> None:
    """Add to ``spread`` the adjoint of `spline_sums` applied to an image."""
    nx = spread.shape[1]
    n_row, n_column = row_weights.size, column_weights.size
    line = np.empty(nx)
    wide = np.empty(columns.size)
    for i in range(rows.size - n_row + 1):
        wide[:] = 0.0
        for k in range(n_column):
            weight = column_weights[k]
            for j in range(columns.size - n_column + 1):
                wide[j + k] += weight * image[top + i, left + j]
        line[:] = 0.0
        for j in range(columns.size):
            line[columns[j]] += wide[j]
        for k in range(n_row):
            weight, target = row_weights[k], spread[rows[i + k]]
            for x in range(nx):
                target[x] += weight * line[x]
