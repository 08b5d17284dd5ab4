"""The compiled loop of resampling by the overlap of target pixels with source pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skytool.core.compiled import compiled_in_order
from skytool.core.resampling.resample_loops import SNAP

Plane = NDArray[Any]
Box = tuple[int, int, int, int]
Flag = int  # 0 or 1


@compiled_in_order
def _add_in_row(
    shares: Plane, row: int, x_from: float, x_to: float, height: float, first: int
) -> None:
    """Add the area to the right of a piece of an edge within one row of pixels.

    `height` is signed; the pieces of a closed outline add up to the area inside.
    """
    low, high = min(x_from, x_to), max(x_from, x_to)
    width = high - low
    column = int(np.floor(low))
    while True:
        stop = min(high, column + 1.0)
        part = height if width == 0.0 else height * (stop - low) / width
        middle = 0.5 * (low + stop) - column
        shares[row, column - first] += part * (1.0 - middle)
        for beyond in range(column - first + 1, shares.shape[1]):
            shares[row, beyond] += part
        if stop >= high:
            return
        low, column = stop, column + 1


@compiled_in_order
def _add_edge(
    shares: Plane, y_from: float, x_from: float, y_to: float, x_to: float, first: tuple[int, int]
) -> None:
    """Add the area to the right of one edge of an outline, negative where it goes up."""
    if y_from == y_to:
        return
    sign = 1.0
    if y_to < y_from:
        y_from, x_from, y_to, x_to = y_to, x_to, y_from, x_from
        sign = -1.0
    slope = (x_to - x_from) / (y_to - y_from)
    y, x = y_from, x_from
    while y < y_to:
        row = int(np.floor(y))
        y_next = min(row + 1.0, y_to)
        x_next = x_to if y_next == y_to else x_from + (y_next - y_from) * slope
        _add_in_row(shares, row - first[0], x, x_next, sign * (y_next - y), first[1])
        y, x = y_next, x_next


@compiled_in_order
def _snapped(position: float) -> float:
    """Return a position in units of pixel edges, without the rounding of coordinates."""
    near = np.rint(position)
    return near if abs(position - near) < SNAP else position


@compiled_in_order
def _outline(u: Plane, v: Plane, i: int, j: int, ys: Plane, xs: Plane) -> None:
    """Take the corners of a target pixel in turn, counted from the outer edge of the source."""
    ys[0], xs[0] = _snapped(v[i, j] + 0.5), _snapped(u[i, j] + 0.5)
    ys[1], xs[1] = _snapped(v[i, j + 1] + 0.5), _snapped(u[i, j + 1] + 0.5)
    ys[2], xs[2] = _snapped(v[i + 1, j + 1] + 0.5), _snapped(u[i + 1, j + 1] + 0.5)
    ys[3], xs[3] = _snapped(v[i + 1, j] + 0.5), _snapped(u[i + 1, j] + 0.5)


@compiled_in_order
def _box(ys: Plane, xs: Plane) -> Box:
    """Return the pixels about an outline: y start, y stop, x start, x stop."""
    return (
        int(np.floor(ys.min())),
        int(np.ceil(ys.max())),
        int(np.floor(xs.min())),
        int(np.ceil(xs.max())),
    )


@compiled_in_order
def _shares_of(ys: Plane, xs: Plane, box: Box, shares: Plane) -> float:
    """Fill in the area of every pixel of the box that is inside the outline; return their sum."""
    first = (box[0], box[2])
    height, width = box[1] - box[0], box[3] - box[2]
    shares[: height + 1, : width + 1] = 0.0
    for k in range(4):
        after = (k + 1) % 4
        part = shares[: height + 1, : width + 1]
        _add_edge(part, ys[k], xs[k], ys[after], xs[after], first)
    total = 0.0
    for j in range(height):
        for i in range(width):
            shares[j, i] = abs(shares[j, i])
            total += shares[j, i]
    return total


@compiled_in_order
def overlap_rows(
    image: Plane,
    variance: Plane,
    mask: Plane,
    bad: Plane,
    u: Plane,
    v: Plane,
    conserve_flux: Flag,
    first: int,
    areas: Plane,
    out_image: Plane,
    out_variance: Plane,
    out_mask: Plane,
    out_bad: Plane,
) -> None:
    """Fill rows of all planes with the parts of the source pixels that lie in every target pixel.

    `u` and `v` hold the source columns and rows of the corners of the target pixels, shape
    ``(n_rows + 1, n_columns + 1)``; `areas` receives the source areas. Nothing is written where a
    target pixel is not wholly on the source.
    """
    ny, nx = image.shape
    ys, xs = np.empty(4), np.empty(4)
    shares = np.empty((8, 8))
    for i in range(u.shape[0] - 1):
        for j in range(u.shape[1] - 1):
            _outline(u, v, i, j, ys, xs)
            if not (ys.min() >= 0.0 and ys.max() <= ny and xs.min() >= 0.0 and xs.max() <= nx):
                continue
            y0, y1, x0, x1 = box = _box(ys, xs)
            if max(y1 - y0, x1 - x0) >= shares.shape[0]:
                size = 2 * max(y1 - y0, x1 - x0)
                shares = np.empty((size, size))
            total = _shares_of(ys, xs, box, shares)
            value, spread, share, bits = 0.0, 0.0, 0.0, 0
            for y in range(y0, y1):
                for x in range(x0, x1):
                    weight = shares[y - y0, x - x0]
                    if weight > SNAP * total:
                        value += weight * image[y, x]
                        if variance.shape[0] > 0:
                            spread += weight * weight * variance[y, x]
                        if mask.shape[0] > 0:
                            bits |= mask[y, x]
                        if bad.shape[0] > 0:
                            share += weight * bad[y, x]
            scale = 1.0 if conserve_flux else 1.0 / total
            column = first + j
            areas[i, j] = total
            out_image[i, column] = scale * value
            if mask.shape[0] > 0:
                out_mask[i, column] = bits
            if variance.shape[0] > 0:
                out_variance[i, column] = scale * scale * spread
            if bad.shape[0] > 0:
                out_bad[i, column] = share / total
