"""Compiled loop over the pixels of several images of the same sky."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.compiled import compiled
from skytool.core.pixel_kernels import CLIP_LEVEL, N_STACK_FIELDS, combine
from skytool.core.sample_kernels import HIGH, LOW, SCRATCH_SIZE, median_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEAN, MEDIAN, CLIPPED_MEAN = range(3)
"""What the values of a pixel become."""

NO_CLIP, CLIP_NOISE, CLIP_SCATTER = range(3)
"""What a deviation is compared with."""

MAD_TO_SIGMA = 1.482602218505602  # 1 / the upper quartile of a normal distribution

_CARRIED, _NO_DATA, _BAD, _EDGE, _CLIPPED, _REJECTED, _SENSOR_EDGE, _INEXACT, _SUSPECT = range(9)
N_BITS = 9
"""Mask bits that the loop is told: those to pass on, and those of the named planes."""


@compiled
def _within(
    values: NDArray[np.float64],
    variances: NDArray[np.float64],
    n: int,
    center: float,
    scatter: float,
    sigma: float,
    amplitude: float,
    kept: NDArray[np.bool_],
) -> int:
    """Tell which values lie near a centre, and return how many."""
    count = 0
    slack = amplitude * abs(center)
    for i in range(n):
        width = max(np.sqrt(variances[i]), scatter)
        kept[i] = abs(values[i] - center) <= sigma * width + slack
        count += kept[i]
    return count


@compiled
def _clip_noise(
    values: NDArray[np.float64],
    variances: NDArray[np.float64],
    n: int,
    sigma: float,
    iterations: int,
    amplitude: float,
    buffers: NDArray[np.float64],
    kept: NDArray[np.bool_],
) -> int:
    """Tell which values agree with the median of those kept, and return how many.

    The scale of a value is its own noise, or the scatter of all if that is larger, which the
    median of the deviations tells from three values on.
    """
    work, scratch = buffers[0], buffers[1]
    kept[:n] = True
    lowest, highest, least = values[0], values[0], variances[0]
    for i in range(1, n):
        lowest = min(lowest, values[i])
        highest = max(highest, values[i])
        least = min(least, variances[i])
    if highest - lowest <= sigma * np.sqrt(least):  # then no value can be far off
        return n
    count = n
    for _ in range(iterations):
        m = 0
        for i in range(n):
            if kept[i]:
                work[m] = values[i]
                m += 1
        center = median_of(work, m, scratch)
        scatter = 0.0
        if m > 2:
            for i in range(m):
                work[i] = abs(work[i] - center)
            scatter = MAD_TO_SIGMA * median_of(work, m, scratch)
        before = count
        count = _within(values, variances, n, center, scatter, sigma, amplitude, kept)
        if count == before or 2 * count < n:
            break
    return count


@compiled
def _clip_scatter(
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    variances: NDArray[np.float64],
    n: int,
    sigma: float,
    iterations: int,
    buffers: NDArray[np.float64],
    row: NDArray[np.float64],
    kept: NDArray[np.bool_],
) -> int:
    """Tell which values agree with the others by their scatter alone, and return how many."""
    row[:] = np.nan
    combine(values, weights, variances, n, CLIP_LEVEL, sigma, iterations, buffers, row)
    count = 0
    for i in range(n):
        kept[i] = values[i] >= row[LOW] and values[i] <= row[HIGH]
        count += kept[i]
    return count


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
def coadd_rows(
    images: NDArray[np.float32],
    variances: NDArray[np.float32],
    masks: NDArray[np.int32],
    weights: NDArray[np.float64],
    rows: tuple[int, int],
    statistic: int,
    clip: tuple[int, float, int, float],
    median_factors: NDArray[np.float64],
    bits: NDArray[np.int32],
    propagated: NDArray[np.int32],
    propagate_from: float,
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.int32],
    count: NDArray[np.int16],
    clipped: NDArray[np.int64],
    used: NDArray[np.int64],
) -> None:
    """Combine rows of several images pixel by pixel; arguments as `skytool.core.coadd` has them."""
    n_images, ny, nx = images.shape
    start, stop = rows
    clip_kind, sigma, iterations, amplitude = clip
    per_pixel = weights[0] == 0.0
    has = np.empty((n_images, ny, nx), np.bool_)
    for k in range(n_images):
        for y in range(ny):
            for x in range(nx):
                v = variances[k, y, x]
                has[k, y, x] = (
                    np.isfinite(images[k, y, x])
                    and v > 0.0
                    and v < np.inf
                    and (masks[k, y, x] & bits[_NO_DATA]) == 0
                )
    values = np.empty(n_images)
    noise = np.empty(n_images)
    weight = np.empty(n_images)
    place = np.empty(n_images, np.int64)
    kept = np.empty(n_images, np.bool_)
    refused = np.empty(propagated.size)
    buffers = np.empty((2, max(n_images, SCRATCH_SIZE)))
    row = np.empty(N_STACK_FIELDS)
    for y in range(start, stop):
        for x in range(nx):
            n = 0
            flags = 0
            everything = 0.0
            refused[:] = 0.0
            for k in range(n_images):
                if not has[k, y, x]:
                    continue
                planes = masks[k, y, x]
                w = 1.0 / variances[k, y, x] if per_pixel else weights[k]
                everything += w
                if planes & bits[_BAD]:
                    flags |= bits[_REJECTED] | bits[_INEXACT]
                    for p in range(propagated.size):
                        if planes & propagated[p]:
                            refused[p] += w
                    continue
                values[n] = images[k, y, x]
                noise[n] = variances[k, y, x]
                weight[n] = w
                place[n] = k
                n += 1
            m = n
            kept[:n] = True
            if n > 1 and clip_kind != NO_CLIP:
                if clip_kind == CLIP_NOISE:
                    m = _clip_noise(values, noise, n, sigma, iterations, amplitude, buffers, kept)
                else:
                    m = _clip_scatter(
                        values, weight, noise, n, sigma, iterations, buffers, row, kept
                    )
                if 2 * m < n:  # the values do not say which of them are wrong
                    kept[:n] = True
                    m = n
                    flags |= bits[_SUSPECT]
                elif m < n:
                    flags |= bits[_CLIPPED] | bits[_INEXACT]
            total = 0.0
            sum_w = 0.0
            sum_wv = 0.0
            sum_inverse = 0.0
            j = 0
            for i in range(n):
                k = place[i]
                if not kept[i]:
                    clipped[k] += 1
                    continue
                used[k] += 1
                planes = masks[k, y, x]
                flags |= planes & bits[_CARRIED]
                if planes & bits[_EDGE] or _beside_nothing(has[k], y, x):
                    flags |= bits[_SENSOR_EDGE] | bits[_INEXACT]
                total += weight[i] * values[i]
                sum_w += weight[i]
                sum_wv += weight[i] ** 2 * noise[i]
                sum_inverse += 1.0 / np.sqrt(noise[i])
                buffers[0, j] = values[i]
                j += 1
            for p in range(propagated.size):
                if refused[p] > propagate_from * everything:
                    flags |= propagated[p]
            out = y - start
            count[out, x] = m
            if m == 0:
                image[out, x] = np.nan
                variance[out, x] = np.inf
                mask[out, x] = flags | bits[_NO_DATA]
                continue
            if statistic == MEDIAN:
                image[out, x] = median_of(buffers[0], m, buffers[1])
                variance[out, x] = median_factors[m] * m / sum_inverse**2
            else:
                image[out, x] = total / sum_w
                variance[out, x] = sum_wv / sum_w**2
            mask[out, x] = flags
