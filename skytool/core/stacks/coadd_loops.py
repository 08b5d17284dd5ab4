"""Compiled loops over the pixels of several images of the same sky."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.compiled import compiled
from skytool.core.sample_kernels import SCRATCH_SIZE, median_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Stack = NDArray[np.float32]
    Flags = NDArray[np.bool_]

_CARRIED, _NO_DATA, _BAD, _EDGE, _CLIPPED, _REJECTED, _SENSOR_EDGE, _INEXACT, _SUSPECT = range(9)
_ALL, _TOTAL, _WEIGHT, _SPREAD, _INVERSE = range(5)  # sums over the images


@compiled
def find_values(
    images: Stack,
    variances: Stack,
    masks: NDArray[np.int32],
    no_data: int,
    bad: int,
    has: Flags,
    good: Flags,
) -> None:
    """Tell where images have values, and where values are good."""
    n_images, ny, nx = images.shape
    for k in range(n_images):
        for y in range(ny):
            for x in range(nx):
                variance = variances[k, y, x]
                planes = masks[k, y, x]
                value = (
                    np.isfinite(images[k, y, x])
                    and variance > 0.0
                    and variance < np.inf
                    and (planes & no_data) == 0
                )
                has[k, y, x] = value
                good[k, y, x] = value and (planes & bad) == 0


@compiled
def _edge_flags(has: Flags, y: int, value: Any, flags: NDArray[np.int32]) -> None:
    """Flag pixels of a row of one image that have a value, and a neighbour that has none."""
    ny, nx = has.shape
    above, below = max(y - 1, 0), min(y + 1, ny - 1)
    for x in range(nx):
        whole = has[above, x] & has[below, x] & has[y, max(x - 1, 0)] & has[y, min(x + 1, nx - 1)]
        flags[x] |= 0 if whole or not has[y, x] else value


@compiled
def _add_row(
    row: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]],
    weight: float,
    has: NDArray[np.bool_],
    good: NDArray[np.bool_],
    outlier: NDArray[np.bool_],
    bits: NDArray[np.int32],
    edges: NDArray[np.int32],
    flags: NDArray[np.int32],
    numbers: NDArray[np.int32],
    sums: NDArray[np.float64],
) -> tuple[int, int]:
    """Add a row of one image to the sums; return how many values were used, and how many clipped.

    `row` holds image, variance and mask. A `weight` of zero stands for inverse variances.
    """
    at_edge = np.int32(bits[_SENSOR_EDGE] | bits[_INEXACT])
    left_out = np.int32(bits[_REJECTED] | bits[_INEXACT])
    cut = np.int32(bits[_CLIPPED] | bits[_INEXACT])
    n_used, n_clipped = 0, 0
    image, variance, mask = row
    for x in range(image.size):
        value = has[x]
        use = good[x] and not outlier[x]
        v = float(variance[x]) if value else 1.0
        w = (1.0 / v if weight == 0.0 else weight) if value else 0.0
        own = mask[x] & bits[_CARRIED] | edges[x]
        own |= at_edge if mask[x] & bits[_EDGE] else 0
        flags[x] |= own if use else 0
        flags[x] |= left_out if value and not good[x] else 0
        flags[x] |= cut if outlier[x] else 0
        n_used += use
        n_clipped += outlier[x]
        numbers[x] += use
        sums[_ALL, x] += w
        w = w if use else 0.0
        sums[_TOTAL, x] += w * (image[x] if use else 0.0)
        sums[_WEIGHT, x] += w
        sums[_SPREAD, x] += w * w * v
        sums[_INVERSE, x] += 1.0 / np.sqrt(v) if use else 0.0
    return n_used, n_clipped


@compiled
def _add_refused(
    variance: NDArray[np.float32],
    mask: NDArray[np.int32],
    weight: float,
    has: NDArray[np.bool_],
    good: NDArray[np.bool_],
    propagated: NDArray[np.int32],
    refused: NDArray[np.float64],
) -> None:
    """Add the weights of the values of a row that are left out, for each plane to propagate."""
    for p in range(propagated.size):
        for x in range(mask.size):
            if mask[x] & propagated[p] and has[x] and not good[x]:
                refused[p, x] += 1.0 / variance[x] if weight == 0.0 else weight


@compiled
def _finish_row(
    sums: NDArray[np.float64],
    numbers: NDArray[np.int32],
    flags: NDArray[np.int32],
    bits: NDArray[np.int32],
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.int32],
    count: NDArray[np.int16],
) -> None:
    """Fill in a row of the coadd from the sums over the images."""
    for x in range(numbers.size):
        empty = numbers[x] == 0
        count[x] = numbers[x]
        mask[x] = flags[x] | (bits[_NO_DATA] if empty else 0)
        image[x] = np.nan if empty else sums[_TOTAL, x] / sums[_WEIGHT, x]
        variance[x] = np.inf if empty else sums[_SPREAD, x] / sums[_WEIGHT, x] ** 2


@compiled
def combine_rows(
    images: Stack,
    variances: Stack,
    masks: NDArray[np.int32],
    weights: NDArray[np.float64],
    has: Flags,
    good: Flags,
    outlier: Flags,
    undecided: NDArray[np.bool_],
    rows: tuple[int, int],
    median_factors: NDArray[np.float64],
    bits: NDArray[np.int32],
    propagated: NDArray[np.int32],
    propagate_from: float,
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.int32],
    count: NDArray[np.int16],
    used: NDArray[np.int64],
    clipped: NDArray[np.int64],
) -> None:
    """Combine rows of images; arguments as `skytool.core.stacks.coadd` has them.

    `weights` are those of the images, or a single zero for inverse variances. A mean is made if
    `median_factors` is empty.
    """
    n_images, _, nx = images.shape
    per_pixel = weights[0] == 0.0
    refused = np.empty((propagated.size, nx))
    sums = np.empty((5, nx))
    flags, edges, numbers = np.empty((3, nx), np.int32)
    at_edge = np.int32(bits[_SENSOR_EDGE] | bits[_INEXACT])
    for y in range(rows[0], rows[1]):
        out = y - rows[0]
        sums[:, :] = 0.0
        refused[:, :] = 0.0
        numbers[:] = 0
        for x in range(nx):
            flags[x] = bits[_SUSPECT] if undecided[y, x] else 0
        for k in range(n_images):
            weight = 0.0 if per_pixel else weights[k]
            edges[:] = 0
            _edge_flags(has[k], y, at_edge, edges)
            row = images[k, y], variances[k, y], masks[k, y]
            n_used, n_clipped = _add_row(
                row, weight, has[k, y], good[k, y], outlier[k, y], bits, edges, flags, numbers, sums
            )
            used[k] += n_used
            clipped[k] += n_clipped
            _add_refused(
                variances[k, y], masks[k, y], weight, has[k, y], good[k, y], propagated, refused
            )
        for p in range(propagated.size):
            for x in range(nx):
                flags[x] |= propagated[p] if refused[p, x] > propagate_from * sums[_ALL, x] else 0
        _finish_row(sums, numbers, flags, bits, image[out], variance[out], mask[out], count[out])
        if median_factors.size:
            inverse = sums[_INVERSE]
            _take_medians(images, good, y, numbers, inverse, median_factors, image, variance, out)


@compiled
def _take_medians(
    images: Stack,
    good: Flags,
    y: int,
    numbers: NDArray[np.int32],
    sum_inverse: NDArray[np.float64],
    factors: NDArray[np.float64],
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    out: int,
) -> None:
    """Replace the means of a row by medians, and their variances."""
    n_images = images.shape[0]
    values = np.empty(n_images)
    scratch = np.empty(max(n_images, SCRATCH_SIZE))
    for x in range(numbers.size):
        n = numbers[x]
        if n == 0:
            continue
        m = 0
        for k in range(n_images):
            if good[k, y, x]:
                values[m] = images[k, y, x]
                m += 1
        image[out, x] = median_of(values, n, scratch)
        variance[out, x] = factors[n] * n / sum_inverse[x] ** 2
