"""Compiled loops over samples of pixels: quantiles by selection, clipping, robust locations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.compiled import compiled, compiled_in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

IQR_TO_SIGMA = 0.741301109252802  # 1 / (2 sqrt(2) erfinv(1/2)), for a normal distribution

N_FIELDS = 12
COUNT, MEAN, VARIANCE, MEDIAN, Q25, Q75, CLIP_MEAN, CLIP_VARIANCE, CLIP_COUNT, LOW, HIGH, ROBUST = (
    range(N_FIELDS)
)
"""Columns of a row of results."""

MOMENTS, QUARTILES, CLIPPED, MODE, BIWEIGHT = range(5)
"""How much to compute: every level includes those before it, but the last two exclude each other."""

SCRATCH_SIZE = 64
_SORTED_DIRECTLY = 16
_BINS = 256
_MANY = 1024  # values, from which on a histogram finds quartiles faster than partitions do


@compiled
def insertion_sort(values: NDArray[Any], start: int, stop: int) -> None:
    """Sort ``values[start:stop]`` in place."""
    for i in range(start + 1, stop):
        value = values[i]
        j = i - 1
        while j >= start and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value


@compiled
def _pivot(values: NDArray[Any], start: int, stop: int, k: int, scratch: NDArray[Any]) -> Any:
    """Return an element a little beyond the k-th smallest, on the side of the middle."""
    size = stop - start
    n = 5 if size < 128 else (15 if size < 1024 else SCRATCH_SIZE - 1)
    step = size // n
    for i in range(n):
        scratch[i] = values[start + i * step + step // 2]
    insertion_sort(scratch, 0, n)
    # Overshooting by a standard deviation of the rank makes it likely that the element sought
    # lies in the smaller part (Floyd & Rivest 1975).
    fraction = (k - start) / size
    margin = np.sqrt(n * fraction * (1.0 - fraction)) + 0.5
    rank = fraction * n + (margin if fraction < 0.5 else -margin)
    return scratch[min(max(int(rank), 0), n - 1)]


@compiled
def select(values: NDArray[Any], start: int, stop: int, k: int, scratch: NDArray[Any]) -> None:
    """Reorder ``values[start:stop]`` so that none before index `k` is larger, none behind smaller."""
    while stop - start > _SORTED_DIRECTLY:
        pivot = _pivot(values, start, stop, k, scratch)
        below = start
        for i in range(start, stop):  # swaps without a branch: the outcome cannot be predicted
            value = values[i]
            values[i] = values[below]
            values[below] = value
            below += value < pivot
        if k < below:
            stop = below
            continue
        upto = below
        for i in range(below, stop):
            value = values[i]
            values[i] = values[upto]
            values[upto] = value
            upto += value <= pivot
        if k < upto:
            return
        start = upto
    insertion_sort(values, start, stop)


@compiled
def _smallest(values: NDArray[Any], start: int, stop: int) -> Any:
    """Return the smallest of ``values[start:stop]``."""
    smallest = values[start]
    for i in range(start + 1, stop):
        smallest = min(smallest, values[i])
    return smallest


@compiled
def quantile(
    values: NDArray[Any],
    start: int,
    stop: int,
    position: float,
    scratch: NDArray[Any],
) -> float:
    """Return the value at a fractional `position` of the sorted sample.

    Only ``values[start:stop]`` is reordered: what is outside has its place already.
    """
    k = int(position)
    fraction = position - k
    select(values, start, stop, k, scratch)
    value = float(values[k])
    if fraction > 0.0:
        value += fraction * (float(_smallest(values, k + 1, stop)) - value)
    return value


@compiled_in_order  # a bin must not depend on where in the loop a value stands
def _put_in_bins(
    values: NDArray[Any],
    n: int,
    low: float,
    scale: float,
    bins: NDArray[np.uint8],
    counts: NDArray[np.int64],
) -> None:
    """Count the first `n` values in bins, in which no value is smaller than one of a bin before."""
    for i in range(n):
        place = (float(values[i]) - low) * scale
        bins[i] = np.uint8(min(max(place, 0.0), _BINS - 1.0))
        counts[bins[i]] += 1


@compiled
def _quartiles(
    values: NDArray[Any], n: int, scratch: NDArray[Any], row: NDArray[np.float64]
) -> None:
    """Fill in the quartiles of many values: only those in the bins that hold one are sorted."""
    step = n // (SCRATCH_SIZE - 1)
    for i in range(SCRATCH_SIZE - 1):
        scratch[i] = values[i * step + step // 2]
    insertion_sort(scratch, 0, SCRATCH_SIZE - 1)
    low = float(scratch[0])
    width = float(scratch[SCRATCH_SIZE - 2]) - low
    scale = _BINS / width if width > 0.0 else 0.0
    bins = np.empty(n, np.uint8)
    counts = np.zeros(_BINS, np.int64)
    _put_in_bins(values, n, low, scale if scale < np.inf else 0.0, bins, counts)
    wanted = np.zeros(_BINS, np.bool_)
    skipped = np.zeros(3, np.int64)
    for quarter in range(3):
        k = int(0.25 * (quarter + 1) * (n - 1))
        below = 0
        for b in range(_BINS):
            first = below
            below += counts[b]
            if counts[b] and first <= min(k + 1, n - 1) and k < below:
                wanted[b] = True
    for quarter in range(3):
        k = int(0.25 * (quarter + 1) * (n - 1))
        below = 0
        for b in range(_BINS):
            below += counts[b]
            if k < below:
                break
            if not wanted[b]:
                skipped[quarter] += counts[b]
    size = 0
    for b in range(_BINS):
        size += counts[b] if wanted[b] else 0
    kept = np.empty(size, values.dtype)
    j = 0
    for i in range(n):
        if wanted[bins[i]]:
            kept[j] = values[i]
            j += 1
    for quarter, field in ((0, Q25), (1, MEDIAN), (2, Q75)):
        position = 0.25 * (quarter + 1) * (n - 1) - skipped[quarter]
        row[field] = quantile(kept, 0, size, position, scratch)


@compiled
def median_of(values: NDArray[Any], n: int, scratch: NDArray[Any]) -> float:
    """Return the median of the first `n` values, reordering them."""
    return quantile(values, 0, n, 0.5 * (n - 1), scratch)


@compiled
def moments_between(
    values: NDArray[Any], n: int, low: float, high: float, origin: float
) -> tuple[float, float, float]:
    """Return count, mean and sample variance of the values in ``[low, high]``.

    `origin` should be near the mean: sums are taken about it. The variance is NaN for one value.
    """
    count = 0.0
    total = 0.0
    squares = 0.0
    for i in range(n):
        value = float(values[i])
        inside = (value >= low) & (value <= high)
        difference = value - origin if inside else 0.0
        count += 1.0 if inside else 0.0
        total += difference
        squares += difference * difference
    if count == 0.0:
        return 0.0, np.nan, np.nan
    mean = total / count
    if count == 1.0:
        return count, origin + mean, np.nan
    # Rounding can make the difference negative where all values are equal.
    variance = max((squares - total * mean) / (count - 1.0), 0.0)
    return count, origin + mean, variance


@compiled
def _moments(values: NDArray[Any], n: int, row: NDArray[np.float64]) -> None:
    """Fill in mean and sample variance of the first `n` values; the latter is NaN for one."""
    origin = np.float64(values[0])
    total = 0.0
    squares = 0.0
    for i in range(n):
        difference = np.float64(values[i]) - origin
        total += difference
        squares += difference * difference
    row[MEAN] = origin + total / n
    if n > 1:
        # Rounding can make the difference negative where all values are equal.
        row[VARIANCE] = max((squares - total * total / n) / (n - 1.0), 0.0)


@compiled
def clip(
    values: NDArray[Any], n: int, sigma: float, iterations: int, row: NDArray[np.float64]
) -> None:
    """Clip about the median, then about the clipped mean, testing every value in every pass."""
    center = row[MEDIAN]
    first = sigma * IQR_TO_SIGMA * (row[Q75] - row[Q25])
    width = first
    for i in range(iterations):
        row[LOW] = center - width
        row[HIGH] = center + width
        count, mean, variance = moments_between(values, n, row[LOW], row[HIGH], center)
        row[CLIP_COUNT] = count
        row[CLIP_MEAN] = mean
        row[CLIP_VARIANCE] = variance
        if i + 1 < iterations:
            center = mean
            width = first if count == 1.0 else sigma * np.sqrt(variance)


@compiled
def _clipped_mode(values: NDArray[Any], n: int, row: NDArray[Any], scratch: NDArray[Any]) -> float:
    """Return 2.5 median - 1.5 mean of the kept values, or their median where they are too skew."""
    kept = 0
    for i in range(n):
        value = values[i]
        values[i] = values[kept]
        values[kept] = value
        kept += (value >= row[LOW]) & (value <= row[HIGH])
    if kept == 0:
        return np.nan
    median = median_of(values, kept, scratch)
    mean = float(row[CLIP_MEAN])
    if kept == 1 or row[CLIP_VARIANCE] == 0.0:
        return mean
    if abs(mean - median) > 0.3 * np.sqrt(row[CLIP_VARIANCE]):
        return median
    return 2.5 * median - 1.5 * mean


@compiled
def _biweight(values: NDArray[Any], n: int, row: NDArray[Any], scratch: NDArray[Any]) -> None:
    """Put the biweight location and midvariance in the columns of the clipped mean."""
    median = row[MEDIAN]
    deviations = np.empty(n, values.dtype)
    for i in range(n):
        deviations[i] = abs(values[i] - median)
    mad = median_of(deviations, n, scratch)
    row[CLIP_COUNT] = n
    row[ROBUST] = median
    row[CLIP_VARIANCE] = 0.0 if n > 1 else np.nan
    if mad == 0.0:
        return
    weights = 0.0
    shift = 0.0
    upper = 0.0
    lower = 0.0
    for i in range(n):
        difference = float(values[i]) - median
        u = (difference / (6.0 * mad)) ** 2
        if u < 1.0:
            weights += (1.0 - u) ** 2
            shift += difference * (1.0 - u) ** 2
        u = (difference / (9.0 * mad)) ** 2
        if u < 1.0:
            upper += difference**2 * (1.0 - u) ** 4
            lower += (1.0 - u) * (1.0 - 5.0 * u)
    row[ROBUST] = median + shift / weights
    if n > 1:
        row[CLIP_VARIANCE] = n * upper / lower**2


@compiled
def _few_quartiles(
    values: NDArray[Any], n: int, scratch: NDArray[Any], row: NDArray[np.float64]
) -> None:
    """Fill in the quartiles of a few values, which are reordered."""
    middle = (n - 1) // 2
    row[MEDIAN] = quantile(values, 0, n, 0.5 * (n - 1), scratch)
    if n < 4:  # the quartiles lie next to the median: no half to search
        row[Q25] = quantile(values, 0, n, 0.25 * (n - 1), scratch)
        row[Q75] = quantile(values, 0, n, 0.75 * (n - 1), scratch)
    else:
        row[Q25] = quantile(values, 0, middle + 1, 0.25 * (n - 1), scratch)
        row[Q75] = quantile(values, middle, n, 0.75 * (n - 1), scratch)


@compiled
def describe(
    values: NDArray[Any],
    n: int,
    level: int,
    sigma: float,
    iterations: int,
    scratch: NDArray[Any],
    row: NDArray[np.float64],
) -> None:
    """Fill a row of results for the first `n` values, which are reordered."""
    row[:] = np.nan
    row[COUNT] = n
    row[CLIP_COUNT] = 0.0
    if n == 0:
        return
    _moments(values, n, row)
    row[CLIP_COUNT] = n
    row[LOW] = -np.inf
    row[HIGH] = np.inf
    if level < QUARTILES:
        return
    if n < _MANY:
        _few_quartiles(values, n, scratch, row)
    else:
        _quartiles(values, n, scratch, row)
    if level == BIWEIGHT:
        _biweight(values, n, row, scratch)
    elif level >= CLIPPED:
        clip(values, n, sigma, iterations, row)
        if level == MODE:
            row[ROBUST] = _clipped_mode(values, n, row, scratch)


@compiled
def describe_sample(
    image: NDArray[Any],
    bad: NDArray[np.bool_],
    level: int,
    sigma: float,
    iterations: int,
    row: NDArray[np.float64],
) -> None:
    """Describe all finite pixels of a flat array that are not `bad`."""
    values = np.empty(image.size, image.dtype)
    scratch = np.empty(SCRATCH_SIZE, image.dtype)
    n = 0
    for i in range(image.size):
        values[n] = image[i]
        n += np.isfinite(image[i]) & (not bad[i])
    describe(values, n, level, sigma, iterations, scratch, row)


@compiled
def describe_cells(
    image: NDArray[Any],
    bad: NDArray[np.bool_],
    y_edges: NDArray[np.int64],
    x_edges: NDArray[np.int64],
    level: int,
    sigma: float,
    iterations: int,
    rows: NDArray[np.float64],
) -> None:
    """Describe every cell of an image; `rows` has shape ``(n_y, n_x, N_FIELDS)``."""
    widest = np.max(y_edges[1:] - y_edges[:-1]) * np.max(x_edges[1:] - x_edges[:-1])
    values = np.empty(widest, image.dtype)
    scratch = np.empty(SCRATCH_SIZE, image.dtype)
    for j in range(y_edges.size - 1):
        for i in range(x_edges.size - 1):
            n = 0
            for y in range(y_edges[j], y_edges[j + 1]):
                for x in range(x_edges[i], x_edges[i + 1]):
                    values[n] = image[y, x]
                    n += np.isfinite(image[y, x]) & (not bad[y, x])
            describe(values, n, level, sigma, iterations, scratch, rows[j, i])
