"""Compiled loops of resampling: weighted sums of the source pixels around every position.

Every loop takes some target rows: `u` and `v` hold the source columns and rows [pixel] of the
target's pixels, `areas` their source areas [pixel], all of shape ``(n_rows, n_columns)``. Results
go to rows of the target from the column `first` on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skytool.core.compiled import compiled_in_order
from skytool.core.difference.footprint_sums import squared_weighted_sum, weighted_sum

Plane = NDArray[Any]
Taps = tuple[int, ...]
Part = tuple[int, int, int, int]
Size = tuple[int, int]
Flag = int  # 0 or 1
Place = tuple[bool, int, int, float, float]

SNAP = 1e-7
"""Positions this near to a whole number [pixel] are one: rounding of celestial coordinates."""

_HALF = 0.5 - SNAP

TILE = 32
"""Side [pixel] of the tiles that say what the mask holds nearby; more than the reach of a kernel."""


@compiled_in_order
def locate(x: float, y: float, half_size: int, size: Size) -> Place:
    """Return whether the footprint is on the source, the lower pixel (y, x), the fractions (y, x)."""
    low = half_size - 1
    high_y, high_x = size[0] - half_size - 1, size[1] - half_size - 1
    inside = x > low - SNAP and x < high_x + 1.0 and y > low - SNAP and y < high_y + 1.0
    if not inside:  # also where a position is NaN
        return False, 0, 0, 0.0, 0.0
    near_x, near_y = np.rint(x), np.rint(y)
    x = near_x if abs(x - near_x) < SNAP else x
    y = near_y if abs(y - near_y) < SNAP else y
    ix, iy = int(x), int(y)
    return ix <= high_x and iy <= high_y, iy, ix, y - iy, x - ix


@compiled_in_order
def rounded(place: Place) -> Place:
    """Return the place of the nearest pixel, halves going up."""
    good, iy, ix, fy, fx = place
    return good, iy + int(fy >= _HALF), ix + int(fx >= _HALF), 0.0, 0.0


@compiled_in_order
def _step(place: Plane, i: int, j: int, di: int, dj: int, centred: Flag) -> float:
    """Return how far a position moves from a target pixel to the next one in a direction."""
    after, before = place[i + di, j + dj], place[i - di, j - dj]
    if not centred or np.isnan(after):
        return place[i, j] - before
    if np.isnan(before):
        return after - place[i, j]
    return 0.5 * (after - before)


@compiled_in_order
def pixel_areas(u: Plane, v: Plane, centred: Flag, areas: Plane) -> None:
    """Fill the source areas of target pixels.

    `u` and `v` are the source positions, with a row and a column more on all sides. The area is
    that of the parallelogram of the steps to the neighbours: between those on both sides, or
    from those before.
    """
    for i in range(1, u.shape[0] - 1):
        for j in range(1, u.shape[1] - 1):
            along_x = _step(u, i, j, 0, 1, centred) * _step(v, i, j, 1, 0, centred)
            across = _step(v, i, j, 0, 1, centred) * _step(u, i, j, 1, 0, centred)
            areas[i - 1, j - 1] = abs(along_x - across)


@compiled_in_order
def interpolate_weights(table: Plane, fraction: float, taps: Taps, weights: Plane) -> None:
    """Take the weights of a sub-pixel fraction from a table."""
    position = fraction * (table.shape[0] - 1)
    row = int(position)
    between = position - row
    for k in range(len(taps)):
        weights[k] = table[row, k] + between * (table[row + 1, k] - table[row, k])


@compiled_in_order
def _sum_part(plane: Plane, y: int, x: int, wy: Plane, wx: Plane, part: Part) -> float:
    """Return the weighted sum over the taps of a part ``(y start, y stop, x start, x stop)``."""
    total = 0.0
    for j in range(part[0], part[1]):
        along = 0.0
        for i in range(part[2], part[3]):
            along += wx[i] * plane[y + j, x + i]
        total += wy[j] * along
    return total


@compiled_in_order
def _square(wy: Plane, wx: Plane) -> None:
    """Square weights in place."""
    for k in range(wy.shape[0]):
        wy[k] *= wy[k]
        wx[k] *= wx[k]


@compiled_in_order
def _any_bits(mask: Plane, y: int, x: int, part: Part) -> int:
    """Return the union of the mask over the taps of a part."""
    bits = 0
    for j in range(part[0], part[1]):
        for i in range(part[2], part[3]):
            bits |= mask[y + j, x + i]
    return bits


@compiled_in_order
def _part(place: Place, first: int, n_taps: int, size: Size) -> Part:
    """Return the taps of both axes that carry weight and lie on the image, as half-open ranges."""
    _, iy, ix, fy, fx = place
    y0, y1 = max(0, -(iy + first)), min(n_taps, size[0] - (iy + first))
    x0, x1 = max(0, -(ix + first)), min(n_taps, size[1] - (ix + first))
    if fy == 0.0:
        y0, y1 = -first, 1 - first
    if fx == 0.0:
        x0, x1 = -first, 1 - first
    return y0, y1, x0, x1


@compiled_in_order
def weighted_rows(
    image: Plane,
    variance: Plane,
    u: Plane,
    v: Plane,
    table: Plane,
    taps: Taps,
    half_size: int,
    areas: Plane,
    conserve_flux: Flag,
    nearest: Flag,
    first: int,
    out_image: Plane,
    out_variance: Plane,
) -> None:
    """Fill rows of the image, and of the variance if there is one, with weighted sums.

    Taps that have no weight are left out. Nothing is written where the footprint is not on the
    source.
    """
    size, phases = image.shape, table.shape[0] - 1
    has_variance = variance.shape[0] > 0
    wy, wx = np.empty(len(taps)), np.empty(len(taps))
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            place = locate(u[i, j], v[i, j], half_size, size)
            if not place[0]:
                continue
            if nearest:
                place = rounded(place)
            _, iy, ix, fy, fx = place
            scale = areas[i, j] if conserve_flux else 1.0
            y, x = iy + taps[0], ix + taps[0]
            spread = 0.0
            if fy == 0.0 and fx == 0.0:
                value = float(image[iy, ix])
                if has_variance:
                    spread = float(variance[iy, ix])
            elif fy != 0.0 and fx != 0.0:
                row_y, row_x = int(fy * phases), int(fx * phases)
                by, bx = fy * phases - row_y, fx * phases - row_x
                value = weighted_sum(image, y, x, table, row_y, by, row_x, bx, taps)
                if has_variance:
                    spread = squared_weighted_sum(variance, y, x, table, row_y, by, row_x, bx, taps)
            else:
                interpolate_weights(table, fy, taps, wy)
                interpolate_weights(table, fx, taps, wx)
                part = _part(place, taps[0], len(taps), size)
                value = _sum_part(image, y, x, wy, wx, part)
                if has_variance:
                    _square(wy, wx)
                    spread = _sum_part(variance, y, x, wy, wx, part)
            out_image[i, first + j] = scale * value
            if has_variance:
                out_variance[i, first + j] = scale * scale * spread


@compiled_in_order
def _reflect(weights: Plane, index: int, size: int) -> None:
    """Move the weights of taps beyond the image to the pixels that the filter mirrors there."""
    for k in range(weights.shape[0]):
        position = index + k
        if position < 0:
            weights[-position - index] += weights[k]
        elif position >= size:
            weights[2 * (size - 1) - position - index] += weights[k]


@compiled_in_order
def filtered_rows(
    coefficients: Plane,
    original: Plane,
    u: Plane,
    v: Plane,
    table: Plane,
    taps: Taps,
    half_size: int,
    areas: Plane,
    conserve_flux: Flag,
    first: int,
    out_image: Plane,
) -> None:
    """Fill rows of the image from the coefficients of a filtered image.

    Positions on a pixel take its original value, as filter and sum cost a rounding.
    """
    phases = table.shape[0] - 1
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            good, iy, ix, fy, fx = locate(u[i, j], v[i, j], half_size, original.shape)
            if not good:
                continue
            if fy == 0.0 and fx == 0.0:
                value = float(original[iy, ix])
            else:
                row_y, row_x = int(fy * phases), int(fx * phases)
                by, bx = fy * phases - row_y, fx * phases - row_x
                y, x = iy + taps[0], ix + taps[0]
                value = weighted_sum(coefficients, y, x, table, row_y, by, row_x, bx, taps)
            scale = areas[i, j] if conserve_flux else 1.0
            out_image[i, first + j] = scale * value


@compiled_in_order
def effective_variance_rows(
    variance: Plane,
    u: Plane,
    v: Plane,
    table: Plane,
    taps: Taps,
    half_size: int,
    areas: Plane,
    conserve_flux: Flag,
    first: int,
    out_variance: Plane,
) -> None:
    """Fill rows of the variance of a filtered image, with its weights of the pixels themselves.

    The footprint may reach beyond the source, where the filter mirrors the image.
    """
    size, n_taps, phases = variance.shape, len(taps), table.shape[0] - 1
    whole = (0, n_taps, 0, n_taps)
    wy, wx = np.empty(n_taps), np.empty(n_taps)
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            place = locate(u[i, j], v[i, j], half_size, size)
            good, iy, ix, fy, fx = place
            if not good:
                continue
            y, x = iy + taps[0], ix + taps[0]
            part = _part(place, taps[0], n_taps, size)
            if part == whole:
                row_y, row_x = int(fy * phases), int(fx * phases)
                by, bx = fy * phases - row_y, fx * phases - row_x
                spread = squared_weighted_sum(variance, y, x, table, row_y, by, row_x, bx, taps)
            else:
                interpolate_weights(table, fy, taps, wy)
                interpolate_weights(table, fx, taps, wx)
                if fy != 0.0:
                    _reflect(wy, y, size[0])
                if fx != 0.0:
                    _reflect(wx, x, size[1])
                _square(wy, wx)
                spread = _sum_part(variance, y, x, wy, wx, part)
            scale = areas[i, j] if conserve_flux else 1.0
            out_variance[i, first + j] = scale * scale * spread


@compiled_in_order
def bad_rows(bad: Plane, u: Plane, v: Plane, half_size: int, first: int, out_bad: Plane) -> None:
    """Fill rows of the bilinear interpolation of flags."""
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            good, iy, ix, fy, fx = locate(u[i, j], v[i, j], half_size, bad.shape)
            if good:  # the footprint of any kernel has a pixel above and to the right
                lower = (1.0 - fx) * bad[iy, ix] + fx * bad[iy, ix + 1]
                upper = (1.0 - fx) * bad[iy + 1, ix] + fx * bad[iy + 1, ix + 1]
                out_bad[i, first + j] = (1.0 - fy) * lower + fy * upper


@compiled_in_order
def poison_rows(
    poison: Plane,
    tiles: Plane,
    u: Plane,
    v: Plane,
    half_size: int,
    taps: tuple[int, int],
    first: int,
    out_image: Plane,
) -> None:
    """Write NaN where a pixel of the footprint, `taps` from a first one on, is marked."""
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            place = locate(u[i, j], v[i, j], half_size, poison.shape)
            good, iy, ix = place[0:3]
            if good and tiles[iy // TILE, ix // TILE]:
                part = _part(place, taps[0], taps[1], poison.shape)
                if _any_bits(poison, iy + taps[0], ix + taps[0], part):
                    out_image[i, first + j] = np.nan


@compiled_in_order
def mask_rows(
    mask: Plane,
    tiles: Plane,
    u: Plane,
    v: Plane,
    half_size: int,
    mask_half_size: int,
    taps: tuple[int, int],
    grow: int,
    nearest: Flag,
    first: int,
    out_mask: Plane,
) -> None:
    """Fill rows of the mask.

    Bits come from those taps of the mask kernel that carry weight; bits in `grow` from the whole
    footprint, `taps` from a first one on.
    """
    size = mask.shape
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            place = locate(u[i, j], v[i, j], half_size, size)
            good, iy, ix, fy, fx = place
            if not good:
                continue
            nearby = tiles[iy // TILE, ix // TILE]
            bits = 0
            if nearby and mask_half_size == 0:
                bits = mask[iy + int(fy >= _HALF), ix + int(fx >= _HALF)]
            elif nearby and mask_half_size == 1:
                y, x = iy + int(fy != 0.0), ix + int(fx != 0.0)
                bits = mask[iy, ix] | mask[iy, x] | mask[y, ix] | mask[y, x]
            elif nearby:
                part = _part(place, 1 - mask_half_size, 2 * mask_half_size, size)
                bits = _any_bits(mask, iy + 1 - mask_half_size, ix + 1 - mask_half_size, part)
            if nearby & grow:
                if nearest:
                    place = rounded(place)
                part = _part(place, taps[0], taps[1], size)
                bits |= _any_bits(mask, place[1] + taps[0], place[2] + taps[0], part) & grow
            out_mask[i, first + j] = bits


@compiled_in_order
def finish_rows(
    areas: Plane,
    no_data: int,
    first: int,
    out_image: Plane,
    out_variance: Plane,
    out_mask: Plane,
    out_bad: Plane,
) -> tuple[int, float]:
    """Empty the pixels whose image or variance is no number; return the others' number and area."""
    n_good, area = 0, 0.0
    has_variance, has_bad = out_variance.shape[0] > 0, out_bad.shape[0] > 0
    for row in range(out_image.shape[0]):
        for j in range(areas.shape[1]):
            column = first + j
            good = np.isfinite(out_image[row, column])
            if good and has_variance:
                good = not np.isnan(out_variance[row, column])
            if good:
                n_good += 1
                area += areas[row, j]
                continue
            out_image[row, column] = np.nan
            out_mask[row, column] = no_data
            if has_variance:
                out_variance[row, column] = np.inf
            if has_bad:
                out_bad[row, column] = np.nan
    return n_good, area
