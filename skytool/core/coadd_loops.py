"""Compiled loops over the pixels of several images of the same sky."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.compiled import compiled
from skytool.core.sample_kernels import SCRATCH_SIZE, median_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Stack = NDArray[np.float32]
    Flags = NDArray[np.bool_]

_CARRIED, _NO_DATA, _BAD, _EDGE, _CLIPPED, _REJECTED, _SENSOR_EDGE, _INEXACT, _SUSPECT = range(9)


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
def _beside_nothing(has: NDArray[np.bool_], y: int, x: int) -> bool:
    """Tell whether one of the four neighbours of a pixel has no value."""
    ny, nx = has.shape
    return (
        (y > 0 and not has[y - 1, x])
        or (y < ny - 1 and not has[y + 1, x])
        or (x > 0 and not has[y, x - 1])
        or (x < nx - 1 and not has[y, x + 1])
    )


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
    """Combine rows of images pixel by pixel; arguments as `skytool.core.coadd` has them.

    `weights` are those of the images, or a single zero for inverse variances. A mean is made if
    `median_factors` is empty.
    """
    n_images, _, nx = images.shape
    per_pixel = weights[0] == 0.0
    refused = np.empty(propagated.size)
    values = np.empty(n_images)
    scratch = np.empty(max(n_images, SCRATCH_SIZE))
    for y in range(rows[0], rows[1]):
        for x in range(nx):
            n = 0
            flags = bits[_SUSPECT] if undecided[y, x] else 0
            everything, total, sum_w, sum_wv, sum_inverse = 0.0, 0.0, 0.0, 0.0, 0.0
            refused[:] = 0.0
            for k in range(n_images):
                if not has[k, y, x]:
                    continue
                v = float(variances[k, y, x])
                w = 1.0 / v if per_pixel else weights[k]
                planes = masks[k, y, x]
                everything += w
                if not good[k, y, x]:
                    flags |= bits[_REJECTED] | bits[_INEXACT]
                    for p in range(propagated.size):
                        if planes & propagated[p]:
                            refused[p] += w
                    continue
                if outlier[k, y, x]:
                    flags |= bits[_CLIPPED] | bits[_INEXACT]
                    clipped[k] += 1
                    continue
                used[k] += 1
                flags |= planes & bits[_CARRIED]
                if planes & bits[_EDGE] or _beside_nothing(has[k], y, x):
                    flags |= bits[_SENSOR_EDGE] | bits[_INEXACT]
                values[n] = images[k, y, x]
                total += w * values[n]
                sum_w += w
                sum_wv += w**2 * v
                sum_inverse += 1.0 / np.sqrt(v)
                n += 1
            for p in range(propagated.size):
                if refused[p] > propagate_from * everything:
                    flags |= propagated[p]
            out = y - rows[0]
            count[out, x] = n
            if n == 0:
                image[out, x] = np.nan
                variance[out, x] = np.inf
                mask[out, x] = flags | bits[_NO_DATA]
                continue
            if median_factors.size:
                image[out, x] = median_of(values, n, scratch)
                variance[out, x] = median_factors[n] * n / sum_inverse**2
            else:
                image[out, x] = total / sum_w
                variance[out, x] = sum_wv / sum_w**2
            mask[out, x] = flags
