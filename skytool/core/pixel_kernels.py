"""Compiled loops over whole images: averages of a basis, combination of a stack, correlation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.compiled import compiled
from skytool.core.sample_kernels import (
    CLIP_COUNT,
    CLIP_MEAN,
    HIGH,
    IQR_TO_SIGMA,
    LOW,
    MEDIAN,
    N_FIELDS,
    Q25,
    Q75,
    SCRATCH_SIZE,
    quantile,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEAN_LEVEL, MEDIAN_LEVEL, CLIP_LEVEL = range(3)
"""What a stack is combined to."""

SCATTER, KEPT_WEIGHT, KEPT_WEIGHT_SQUARED, PROPAGATED = range(N_FIELDS, N_FIELDS + 4)
N_STACK_FIELDS = N_FIELDS + 4


@compiled
def average_basis(
    image: NDArray[Any],
    bad: NDArray[np.bool_],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    y_edges: NDArray[np.int64],
    x_edges: NDArray[np.int64],
    y_basis: NDArray[np.float64],
    x_sums: NDArray[np.float64],
    sums: NDArray[np.float64],
    used: NDArray[np.float64],
) -> None:
    """Add up products of two one-dimensional bases over the kept pixels of every cell.

    `y_basis` has shape ``(ny, n)``; `x_sums` has shape ``(nx + 1, n)`` and holds the sums of the
    x basis over all pixels before each, so that a run of kept pixels costs one subtraction. Only
    products of total degree below `n` are added, to `sums` of shape ``(n_y, n_x, n, n)``, and the
    number of kept pixels to `used`.
    """
    n = y_basis.shape[1]
    row = np.empty(n)
    for j in range(y_edges.size - 1):
        for y in range(y_edges[j], y_edges[j + 1]):
            for i in range(x_edges.size - 1):
                lowest = low[j, i]
                highest = high[j, i]
                row[:] = 0.0
                x = x_edges[i]
                stop = x_edges[i + 1]
                while x < stop:
                    while x < stop and not _kept(image[y, x], bad[y, x], lowest, highest):
                        x += 1
                    start = x
                    while x < stop and _kept(image[y, x], bad[y, x], lowest, highest):
                        x += 1
                    used[j, i] += x - start
                    for q in range(n):
                        row[q] += x_sums[x, q] - x_sums[start, q]
                for p in range(n):
                    for q in range(n - p):
                        sums[j, i, p, q] += y_basis[y, p] * row[q]


@compiled
def _kept(value: Any, bad: Any, low: float, high: float) -> Any:
    """Tell whether a pixel is good and between its limits."""
    return np.isfinite(value) and (not bad) and value >= low and value <= high


@compiled
def weighted_moments(
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    variances: NDArray[np.float64],
    n: int,
    row: NDArray[np.float64],
) -> None:
    """Fill a row with count, weighted mean, variance and sums of the values between its limits."""
    count = 0.0
    weight = 0.0
    squared = 0.0
    total = 0.0
    propagated = 0.0
    for i in range(n):
        if values[i] >= row[LOW] and values[i] <= row[HIGH]:
            count += 1.0
            weight += weights[i]
            squared += weights[i] ** 2
            total += weights[i] * values[i]
            propagated += weights[i] ** 2 * variances[i]
    mean = total / weight if weight > 0.0 else np.nan
    squares = 0.0
    for i in range(n):
        if values[i] >= row[LOW] and values[i] <= row[HIGH]:
            squares += weights[i] * (values[i] - mean) ** 2
    row[CLIP_COUNT] = count
    row[CLIP_MEAN] = mean
    row[KEPT_WEIGHT] = weight
    row[KEPT_WEIGHT_SQUARED] = squared
    row[PROPAGATED] = propagated / weight**2 if weight > 0.0 else np.nan
    freedom = weight**2 - squared  # zero, up to rounding, when one value carries all the weight
    many = count > 1.0 and freedom > 1e-12 * weight**2
    row[SCATTER] = squares * weight / freedom if many else np.nan


@compiled
def combine(
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    variances: NDArray[np.float64],
    n: int,
    level: int,
    sigma: float,
    iterations: int,
    buffers: NDArray[np.float64],
    row: NDArray[np.float64],
) -> None:
    """Combine the first `n` values of one pixel of a stack."""
    row[LOW] = -np.inf
    row[HIGH] = np.inf
    weighted_moments(values, weights, variances, n, row)
    if level == MEAN_LEVEL or n == 0:
        return
    ordered = buffers[0]
    scratch = buffers[1]
    for i in range(n):
        ordered[i] = values[i]
    row[MEDIAN] = quantile(ordered, 0, n, 0.5 * (n - 1), scratch)
    if level == MEDIAN_LEVEL:
        return
    row[Q25] = quantile(ordered, 0, n, 0.25 * (n - 1), scratch)
    row[Q75] = quantile(ordered, 0, n, 0.75 * (n - 1), scratch)
    center = row[MEDIAN]
    first = sigma * IQR_TO_SIGMA * (row[Q75] - row[Q25])
    width = first
    for k in range(iterations):
        row[LOW] = center - width
        row[HIGH] = center + width
        weighted_moments(values, weights, variances, n, row)
        if k + 1 < iterations:
            center = row[CLIP_MEAN]
            width = first if row[CLIP_COUNT] == 1.0 else sigma * np.sqrt(row[SCATTER])


@compiled
def combine_stack(
    stack: NDArray[Any],
    bad: NDArray[np.bool_],
    weights: NDArray[Any],
    variances: NDArray[Any],
    level: int,
    sigma: float,
    iterations: int,
    columns: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Combine every pixel of images of shape ``(n, ny, nx)``.

    Weights have shape ``(n, ny, nx)`` or ``(n, 1, 1)``, variances ``(n, ny, nx)`` or ``(1, 1, 1)``.
    `out` has shape ``(len(columns) + 1, ny, nx)``: the wanted columns of each pixel's row of
    results, then the number of good values.
    """
    n_images, ny, nx = stack.shape
    values = np.empty(n_images)
    weight = np.empty(n_images)
    variance = np.empty(n_images)
    buffers = np.empty((2, max(n_images, SCRATCH_SIZE)))
    row = np.empty(N_STACK_FIELDS)
    for y in range(ny):
        for x in range(nx):
            n = 0
            for k in range(n_images):
                value = stack[k, y, x]
                w = weights[k, min(y, weights.shape[1] - 1), min(x, weights.shape[2] - 1)]
                if np.isfinite(value) and (not bad[k, y, x]) and w > 0.0:
                    values[n] = value
                    weight[n] = w
                    variance[n] = variances[
                        min(k, variances.shape[0] - 1),
                        min(y, variances.shape[1] - 1),
                        min(x, variances.shape[2] - 1),
                    ]
                    n += 1
            row[:] = np.nan
            combine(values, weight, variance, n, level, sigma, iterations, buffers, row)
            for c in range(columns.size):
                out[c, y, x] = row[columns[c]]
            out[columns.size, y, x] = n


@compiled
def lagged_products(
    image: NDArray[Any],
    bad: NDArray[np.bool_],
    rows: NDArray[np.int64],
    max_lag: int,
    sums: NDArray[np.float64],
) -> None:
    """Add up products of pixels a lag apart, and their number, for lags of half of the plane.

    `sums` has shape ``(2, max_lag + 1, 2 * max_lag + 1)``, indexed by lag in y and by lag in x
    plus `max_lag`. Only the given rows serve as the first pixel of a pair.
    """
    ny, nx = image.shape
    for k in range(rows.size):
        y = rows[k]
        for dy in range(min(max_lag + 1, ny - y)):
            for dx in range(0 if dy == 0 else -max_lag, max_lag + 1):
                total = 0.0
                count = 0.0
                for x in range(max(0, -dx), min(nx, nx - dx)):
                    both = not (bad[y, x] | bad[y + dy, x + dx])
                    product = float(image[y, x]) * float(image[y + dy, x + dx])
                    total += product if both else 0.0
                    count += 1.0 if both else 0.0
                sums[0, dy, dx + max_lag] += total
                sums[1, dy, dx + max_lag] += count
