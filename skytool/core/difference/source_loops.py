"""Compiled loops of measurement: sums over the pixels around sources."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.compiled import compiled, compiled_in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[Any]

N_SUMS = 19
"""Number of sums of `point_sums`."""


@compiled_in_order
def _spline_taps(fraction: float, taps: Plane, slopes: Plane) -> None:
    """Set the six weights of a B-spline of degree 5 and their derivatives.

    The taps belong to the samples -2 to 3 from the one at or below the position.
    """
    for k in range(6):
        t = fraction - (k - 2.0)
        size = abs(t)
        value, slope = 0.0, 0.0
        for edge, factor in ((3.0, 1.0), (2.0, -6.0), (1.0, 15.0)):
            if size < edge:
                power = (edge - size) ** 4
                value += factor * power * (edge - size)
                slope -= factor * power
        taps[k] = value / 120.0
        slopes[k] = slope / 24.0 if t > 0.0 else -slope / 24.0 if t < 0.0 else 0.0


@compiled_in_order
def draw_star(spline: Plane, factors: Plane, y: float, x: float, star: Plane) -> None:
    """Draw a star of flux one and its derivatives by its own position.

    `spline` has the shape ``(n, h + 6, w + 6)``, `factors` the shape ``(n,)``; y and x are the
    position from the middle of the stamp, within half a pixel. `star` gets the image, the
    derivative by y and that by x, shape ``(3, h, w)``.
    """
    n, high, wide = spline.shape
    h, w = high - 6, wide - 6
    shift_y, shift_x = math.floor(-y), math.floor(-x)
    taps_y, slopes_y = np.empty(6), np.empty(6)
    taps_x, slopes_x = np.empty(6), np.empty(6)
    _spline_taps(-y - shift_y, taps_y, slopes_y)
    _spline_taps(-x - shift_x, taps_x, slopes_x)
    half, slope = np.zeros((high, w)), np.zeros((high, w))
    line = np.empty(wide)
    for i in range(high):
        for j in range(wide):
            total = 0.0
            for k in range(n):
                total += factors[k] * spline[k, i, j]
            line[j] = total
        for j in range(w):
            first = j + 3 + shift_x - 2
            for k in range(6):
                at = first + k
                if 0 <= at < wide:
                    half[i, j] += taps_x[k] * line[at]
                    slope[i, j] += slopes_x[k] * line[at]
    star[:] = 0.0
    for i in range(h):
        first = i + 3 + shift_y - 2
        for k in range(6):
            at = first + k
            if at < 0 or at >= high:
                continue
            for j in range(w):
                star[0, i, j] += taps_y[k] * half[at, j]
                star[1, i, j] -= slopes_y[k] * half[at, j]
                star[2, i, j] -= taps_y[k] * slope[at, j]


@compiled
def _add_sums(star: Plane, pixels: Plane, noise: Plane, good: Plane, sums: Plane) -> None:
    """Add the sums of one row of a stamp; see `point_sums`."""
    for j in range(pixels.size):
        p, py, px = star[0, j], star[1, j], star[2, j]
        sums[16] += p * p
        if not good[j]:
            continue
        d, v = float(pixels[j]), float(noise[j])
        sums[0] += p * p
        sums[1] += p * py
        sums[2] += p * px
        sums[3] += py * py
        sums[4] += py * px
        sums[5] += px * px
        sums[6] += p * d
        sums[7] += py * d
        sums[8] += px * d
        sums[9] += p * p * v
        sums[10] += p * py * v
        sums[11] += p * px * v
        sums[12] += py * py * v
        sums[13] += py * px * v
        sums[14] += px * px * v
        sums[15] += d * d / v
        sums[17] += p * d / v
        sums[18] += p * p / v


@compiled_in_order
def point_sums(
    image: Plane,
    variance: Plane,
    good: Plane,
    spline: Plane,
    factors: Plane,
    y: Plane,
    x: Plane,
    sums: Plane,
    counts: Plane,
) -> None:
    """Sum products of data D, variance V, star P and its derivatives over the pixels of stars.

    The planes have the shape ``(ny, nx)``; `factors` has the shape ``(m, n)``, positions the shape
    ``(m,)``. `sums`, shape ``(m, 19)``, gets over good pixels PP, PY, PX, YY, YX, XX; PD, YD, XD;
    the first six times V; DD/V; over all pixels PP; over good ones PD/V, PP/V. `counts`, shape
    ``(m, 2)``, gets the number of good pixels and of those within the image.
    """
    ny, nx = image.shape
    h, w = spline.shape[1] - 6, spline.shape[2] - 6
    star = np.empty((3, h, w))
    outside = np.zeros(w, np.bool_)
    for k in range(y.size):
        sums[k] = 0.0
        counts[k] = 0
        if not (math.isfinite(y[k]) and math.isfinite(x[k])):
            continue
        row, column = math.floor(y[k] + 0.5), math.floor(x[k] + 0.5)
        draw_star(spline, factors[k], y[k] - row, x[k] - column, star)
        left, right = column - w // 2, column + w // 2 + 1
        low, high = min(max(left, 0), nx), max(min(right, nx), 0)
        for i in range(h):
            at = row + i - h // 2
            part = star[:, i]
            if at < 0 or at >= ny or low >= high:
                _add_sums(part, star[0, i], star[0, i], outside, sums[k])
                continue
            inner = part[:, low - left : high - left]
            _add_sums(
                inner, image[at, low:high], variance[at, low:high], good[at, low:high], sums[k]
            )
            for j in range(w):
                if j < low - left or j >= high - left:
                    sums[k, 16] += part[0, j] * part[0, j]
            counts[k, 1] += high - low
            for j in range(low, high):
                counts[k, 0] += good[at, j]


@compiled_in_order
def _quadrant(a: float, b: float, radius: float) -> float:
    """Return the area of the part of a circle with x > a and y > b, neither negative."""
    if a * a + b * b >= radius * radius:
        return 0.0
    area = -b * (math.sqrt(radius * radius - b * b) - a)
    for x, sign in ((math.sqrt(radius * radius - b * b), 0.5), (a, -0.5)):
        chord = math.sqrt(max(radius * radius - x * x, 0.0))
        area += sign * (x * chord + radius * radius * math.asin(min(x / radius, 1.0)))
    return area


@compiled_in_order
def _beyond(a: float, b: float, radius: float) -> float:
    """Return the area of the part of a circle with x > a and y > b."""
    inner = _quadrant(abs(a), abs(b), radius)
    right = 2.0 * _quadrant(abs(a), 0.0, radius)  # with x > |a|
    above = 2.0 * _quadrant(abs(b), 0.0, radius)  # with y > |b|
    if a >= 0.0 and b >= 0.0:
        return inner
    if a >= 0.0:
        return right - inner
    if b >= 0.0:
        return above - inner
    return math.pi * radius * radius - right - above + inner


@compiled_in_order
def _share(dy: float, dx: float, radius: float) -> float:
    """Return the part of a pixel that lies within a circle around the origin."""
    near_y, near_x = max(abs(dy) - 0.5, 0.0), max(abs(dx) - 0.5, 0.0)
    if near_y * near_y + near_x * near_x >= radius * radius:
        return 0.0
    far_y, far_x = abs(dy) + 0.5, abs(dx) + 0.5
    if far_y * far_y + far_x * far_x <= radius * radius:
        return 1.0
    left, right, low, high = dx - 0.5, dx + 0.5, dy - 0.5, dy + 0.5
    area = _beyond(left, low, radius) - _beyond(right, low, radius)
    area += _beyond(right, high, radius) - _beyond(left, high, radius)
    return min(max(area, 0.0), 1.0)


@compiled_in_order
def aperture_sums(
    image: Plane, variance: Plane, good: Plane, y: Plane, x: Plane, radius: float, sums: Plane
) -> None:
    """Sum pixels within circles; `sums`, shape ``(m, 3)``, gets flux, variance and good area."""
    ny, nx = image.shape
    for k in range(y.size):
        sums[k] = 0.0
        if not (math.isfinite(y[k]) and math.isfinite(x[k])):
            continue
        for i in range(max(int(y[k] - radius - 1), 0), min(int(y[k] + radius + 2), ny)):
            for j in range(max(int(x[k] - radius - 1), 0), min(int(x[k] + radius + 2), nx)):
                if good[i, j]:
                    share = _share(i - y[k], j - x[k], radius)
                    sums[k, 0] += share * image[i, j]
                    sums[k, 1] += share * share * variance[i, j]
                    sums[k, 2] += share


@compiled_in_order
def flags_near(
    mask: Plane, rows: Plane, columns: Plane, any_of: Plane, all_of: Plane, inside: Plane
) -> None:
    """Join the bits of the nine pixels around places: of any of them, and of all of them.

    `inside` tells whether the place itself is on the image.
    """
    ny, nx = mask.shape
    for k in range(rows.size):
        every, some, n = -1, 0, 0
        for i in range(max(rows[k] - 1, 0), min(rows[k] + 2, ny)):
            for j in range(max(columns[k] - 1, 0), min(columns[k] + 2, nx)):
                every &= mask[i, j]
                some |= mask[i, j]
                n += 1
        any_of[k] = some
        all_of[k] = every if n else 0
        inside[k] = 0 <= rows[k] < ny and 0 <= columns[k] < nx


@compiled_in_order
def flags_in_footprints(mask: Plane, labels: Plane, found: Plane) -> None:
    """Join the bits of all pixels of every footprint; `labels` are numbered from 1."""
    ny, nx = mask.shape
    for y in range(ny):
        for x in range(nx):
            if labels[y, x]:
                found[labels[y, x] - 1] |= mask[y, x]
