"""Compiled loops that find values of one image that the others of the same sky contradict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.compiled import compiled
from skytool.core.pixel_kernels import CLIP_LEVEL, N_STACK_FIELDS, combine
from skytool.core.sample_kernels import HIGH, LOW, SCRATCH_SIZE, median_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Stack = NDArray[np.float32]
    Flags = NDArray[np.bool_]
    Values = NDArray[np.float64]

MAD_TO_SIGMA = 1.482602218505602  # 1 / the upper quartile of a normal distribution
_MEDIAN_NOISE = 1.5  # variance of a median over that of the mean of the same values, about
_SLOPE_NOISE = 3.0  # standard deviations by which medians differ without any slope


@compiled
def _gather(
    images: Stack, good: Flags, y: int, x: int, values: Values, place: NDArray[np.int64]
) -> int:
    """Collect the good values of a pixel and the images they are from; return how many."""
    n = 0
    for k in range(images.shape[0]):
        if good[k, y, x]:
            values[n] = images[k, y, x]
            place[n] = k
            n += 1
    return n


@compiled
def _center(values: Values, n: int, buffers: Values) -> float:
    """Return the median of the first values; of two the lower one, as most outliers are high."""
    if n == 2:
        return min(values[0], values[1])
    for i in range(n):
        buffers[0, i] = values[i]
    return median_of(buffers[0], n, buffers[1])


@compiled
def _slope(
    images: Stack,
    good: Flags,
    y: int,
    x: int,
    center: float,
    noise: float,
    values: Values,
    place: NDArray[np.int64],
    buffers: Values,
) -> float:
    """Return by how much medians of the eight pixels around differ from a centre, beyond noise."""
    _, ny, nx = images.shape
    steepest = 0.0
    for j in range(max(y - 1, 0), min(y + 2, ny)):
        for i in range(max(x - 1, 0), min(x + 2, nx)):
            if j == y and i == x:
                continue
            n = _gather(images, good, j, i, values, place)
            if n > 0:
                steepest = max(steepest, abs(_center(values, n, buffers) - center))
    return max(steepest - noise, 0.0)


@compiled
def _scatter(values: Values, kept: Flags, n: int, center: float, buffers: Values) -> float:
    """Return the scatter of three or more kept values by their median deviation, else zero."""
    m = 0
    for i in range(n):
        if kept[i]:
            buffers[0, m] = abs(values[i] - center)
            m += 1
    return MAD_TO_SIGMA * median_of(buffers[0], m, buffers[1]) if m > 2 else 0.0


@compiled
def _kept_center(values: Values, kept: Flags, n: int, buffers: Values) -> float:
    """Return the median of the kept values; two have their mean."""
    m = 0
    for i in range(n):
        if kept[i]:
            buffers[0, m] = values[i]
            m += 1
    return median_of(buffers[0], m, buffers[1])


@compiled
def _test(
    values: Values,
    sigmas: Values,
    n: int,
    center: float,
    scatter: float,
    sigma: float,
    slack: float,
    kept: Flags,
) -> int:
    """Tell which values lie near a centre, and return how many."""
    count = 0
    for i in range(n):
        kept[i] = abs(values[i] - center) <= sigma * max(sigmas[i], scatter) + slack
        count += kept[i]
    return count


@compiled
def _ranges(
    images: Stack,
    variances: Stack,
    good: Flags,
    y: int,
    lowest: NDArray[np.float32],
    highest: NDArray[np.float32],
    least: NDArray[np.float32],
) -> None:
    """Fill in the extremes of the good values of a row of pixels, and their least variance."""
    lowest[:] = np.inf
    highest[:] = -np.inf
    least[:] = np.inf
    for k in range(images.shape[0]):
        for x in range(lowest.size):
            value = images[k, y, x]
            use = good[k, y, x]
            lowest[x] = min(lowest[x], value if use else np.float32(np.inf))
            highest[x] = max(highest[x], value if use else np.float32(-np.inf))
            least[x] = min(least[x], variances[k, y, x] if use else np.float32(np.inf))


@compiled
def outliers_by_noise(
    images: Stack,
    variances: Stack,
    good: Flags,
    rows: tuple[int, int],
    limits: tuple[float, int, float, float],
    outlier: Flags,
    undecided: NDArray[np.bool_],
) -> None:
    """Find values far from the median of their pixel, in rows of the images.

    `limits` are the largest deviation in units of the noise, the number of passes, and the shares
    of the median and of its slope by which values may deviate beyond. `outlier` has the shape of
    the images, `undecided` that of one: where it would be more than half of the values.
    """
    n_images, _, nx = images.shape
    values, others, sigmas = np.empty(n_images), np.empty(n_images), np.empty(n_images)
    place, other_place = np.empty(n_images, np.int64), np.empty(n_images, np.int64)
    kept = np.empty(n_images, np.bool_)
    buffers = np.empty((2, max(n_images, SCRATCH_SIZE)))
    lowest, highest, least = np.empty((3, nx), np.float32)
    for y in range(rows[0], rows[1]):
        _ranges(images, variances, good, y, lowest, highest, least)
        for x in range(nx):
            # with a smaller range, no median can be that far from a value
            if highest[x] - lowest[x] > limits[0] * np.sqrt(least[x]):
                count = _clip_pixel(
                    images,
                    variances,
                    good,
                    y,
                    x,
                    limits,
                    values,
                    others,
                    sigmas,
                    place,
                    other_place,
                    kept,
                    buffers,
                )
                n = 0
                for k in range(n_images):
                    n += good[k, y, x]
                if 2 * count < n:
                    undecided[y, x] = True
                elif count < n:
                    for i in range(n):
                        outlier[place[i], y, x] = not kept[i]


@compiled
def _clip_pixel(
    images: Stack,
    variances: Stack,
    good: Flags,
    y: int,
    x: int,
    limits: tuple[float, int, float, float],
    values: Values,
    others: Values,
    sigmas: Values,
    place: NDArray[np.int64],
    other_place: NDArray[np.int64],
    kept: Flags,
    buffers: Values,
) -> int:
    """Tell in `kept` which values of a pixel agree with their median, and return how many."""
    sigma, iterations, amplitude, steepness = limits
    n = _gather(images, good, y, x, values, place)
    information = 0.0
    for i in range(n):
        variance = float(variances[place[i], y, x])
        sigmas[i] = np.sqrt(variance)
        information += 1.0 / variance
    kept[:n] = True
    center = _kept_center(values, kept, n, buffers)
    scatter = _scatter(values, kept, n, center, buffers)
    slack = amplitude * abs(center)
    count = _test(values, sigmas, n, center, scatter, sigma, slack, kept)
    if count == n:
        return count
    noise = _SLOPE_NOISE * np.sqrt(2.0 * _MEDIAN_NOISE / information)
    middle = _center(values, n, buffers)
    slope = _slope(images, good, y, x, middle, noise, others, other_place, buffers)
    slack += steepness * slope
    for _ in range(iterations):
        before = count
        count = _test(values, sigmas, n, center, scatter, sigma, slack, kept)
        if count in (n, before) or 2 * count < n:
            break
        center = _kept_center(values, kept, n, buffers)
        scatter = _scatter(values, kept, n, center, buffers)
    return count


@compiled
def outliers_by_scatter(
    images: Stack,
    variances: Stack,
    good: Flags,
    weights: NDArray[np.float64],
    rows: tuple[int, int],
    limits: tuple[float, int, float, float],
    outlier: Flags,
    undecided: NDArray[np.bool_],
) -> None:
    """Find values outside of the scatter of their pixel; arguments as for `outliers_by_noise`.

    `weights` are those of the images, or a single zero for inverse variances.
    """
    n_images, _, nx = images.shape
    values, variance, weight = np.empty(n_images), np.empty(n_images), np.empty(n_images)
    place = np.empty(n_images, np.int64)
    buffers = np.empty((2, max(n_images, SCRATCH_SIZE)))
    row = np.empty(N_STACK_FIELDS)
    per_pixel = weights[0] == 0.0
    for y in range(rows[0], rows[1]):
        for x in range(nx):
            n = _gather(images, good, y, x, values, place)
            if n < 2:
                continue
            for i in range(n):
                variance[i] = variances[place[i], y, x]
                weight[i] = 1.0 / variance[i] if per_pixel else weights[place[i]]
            row[:] = np.nan
            combine(values, weight, variance, n, CLIP_LEVEL, limits[0], limits[1], buffers, row)
            count = 0
            for i in range(n):
                inside = values[i] >= row[LOW] and values[i] <= row[HIGH]
                outlier[place[i], y, x] = not inside
                count += inside
            if 2 * count < n:
                undecided[y, x] = True
                for i in range(n):
                    outlier[place[i], y, x] = False


@compiled
def grow_outliers(
    images: Stack,
    variances: Stack,
    good: Flags,
    rows: tuple[int, int],
    limits: tuple[float, int, float, float],
    outlier: Flags,
    grown: Flags,
) -> None:
    """Find further values beside outliers of the same image, by a lower limit.

    `outlier` must be known one row farther on both sides than `rows`; `grown` is a copy of it that
    gets the further ones.
    """
    n_images, ny, nx = images.shape
    others = np.empty(n_images)
    place = np.empty(n_images, np.int64)
    buffers = np.empty((2, max(n_images, SCRATCH_SIZE)))
    for k in range(n_images):
        for y in range(max(rows[0] - 1, 0), min(rows[1] + 1, ny)):
            for x in range(nx):
                if not outlier[k, y, x]:
                    continue
                for j in range(max(y - 1, rows[0]), min(y + 2, rows[1])):
                    for i in range(max(x - 1, 0), min(x + 2, nx)):
                        if good[k, j, i] and not grown[k, j, i]:
                            grown[k, j, i] = _is_low_outlier(
                                images,
                                variances,
                                good,
                                outlier,
                                k,
                                j,
                                i,
                                limits,
                                others,
                                place,
                                buffers,
                            )


@compiled
def _is_low_outlier(
    images: Stack,
    variances: Stack,
    good: Flags,
    outlier: Flags,
    k: int,
    y: int,
    x: int,
    limits: tuple[float, int, float, float],
    others: Values,
    place: NDArray[np.int64],
    buffers: Values,
) -> bool:
    """Tell whether a value is far from the median of its pixel without outliers, itself included."""
    sigma, _, amplitude, steepness = limits
    n = 0
    information = 0.0
    for m in range(images.shape[0]):
        if good[m, y, x] and not outlier[m, y, x]:
            others[n] = images[m, y, x]
            information += 1.0 / variances[m, y, x]
            n += 1
    if n < 3:
        return False
    center = _center(others, n, buffers)
    noise = _SLOPE_NOISE * np.sqrt(2.0 * _MEDIAN_NOISE / information)
    slope = _slope(images, good, y, x, center, noise, others, place, buffers)
    width = sigma * np.sqrt(float(variances[k, y, x]))
    return abs(images[k, y, x] - center) > width + amplitude * abs(center) + steepness * slope
