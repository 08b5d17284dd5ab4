"""The compiled loop of resampling that averages several positions in every target pixel."""

from __future__ import annotations

import numpy as np

from skytool.core.compiled import compiled_in_order
from skytool.core.resampling.resample_loops import (
    Flag,
    Plane,
    Size,
    Taps,
    interpolate_weights,
    locate,
    rounded,
)


@compiled_in_order
def _mirrored(index: int, size: int) -> int:
    """Return the pixel that a position just beyond an end repeats."""
    if index < 0:
        return -index
    return index if index < size else 2 * (size - 1) - index


@compiled_in_order
def _combine(
    places: Plane, fractions: Plane, table: Plane, taps: Taps, size: Size, weights: Plane
) -> tuple[int, int, int, int]:
    """Add up the weights of all positions; return the rectangle of pixels they are for.

    `weights` belongs to the rectangle ``y start, y stop, x start, x stop`` from its first element
    on.
    """
    wy, wx = np.empty(len(taps)), np.empty(len(taps))
    last = taps[len(taps) - 1]
    y_start = max(0, places[:, 0].min() + taps[0])
    x_start = max(0, places[:, 1].min() + taps[0])
    y_stop = min(size[0], places[:, 0].max() + last + 1)
    x_stop = min(size[1], places[:, 1].max() + last + 1)
    weights[: y_stop - y_start, : x_stop - x_start] = 0.0
    for k in range(places.shape[0]):
        interpolate_weights(table, fractions[k, 0], taps, wy)
        interpolate_weights(table, fractions[k, 1], taps, wx)
        for j in range(len(taps)):
            y = _mirrored(places[k, 0] + taps[j], size[0]) - y_start
            for i in range(len(taps)):
                x = _mirrored(places[k, 1] + taps[i], size[1]) - x_start
                weights[y, x] += wy[j] * wx[i] / places.shape[0]
    return y_start, y_stop, x_start, x_stop


@compiled_in_order
def _place_all(
    us: Plane, vs: Plane, half_size: int, nearest: Flag, size: Size, places: Plane, fractions: Plane
) -> bool:
    """Locate all positions of a target pixel; return whether all footprints are on the source."""
    for k in range(us.shape[0]):
        place = locate(us[k], vs[k], half_size, size)
        if nearest:
            place = rounded(place)
        if not place[0]:
            return False
        places[k, 0], places[k, 1] = place[1], place[2]
        fractions[k, 0], fractions[k, 1] = place[3], place[4]
    return True


@compiled_in_order
def averaged_rows(
    plane: Plane,
    us: Plane,
    vs: Plane,
    areas: Plane,
    table: Plane,
    taps: Taps,
    half_size: int,
    squared: Flag,
    conserve_flux: Flag,
    nearest: Flag,
    first: int,
    out: Plane,
) -> None:
    """Fill rows with sums under the mean weights of several positions, or under their squares.

    `us` and `vs` hold the positions in every target pixel, shape ``(n_rows, n_columns, n)``;
    `areas` its source area.
    """
    n_positions = us.shape[2]
    places = np.empty((n_positions, 2), np.int64)
    fractions = np.empty((n_positions, 2))
    weights = np.empty((0, 0))
    for i in range(us.shape[0]):
        for j in range(us.shape[1]):
            if not _place_all(
                us[i, j], vs[i, j], half_size, nearest, plane.shape, places, fractions
            ):
                continue
            height = places[:, 0].max() - places[:, 0].min() + len(taps)
            width = places[:, 1].max() - places[:, 1].min() + len(taps)
            if height > weights.shape[0] or width > weights.shape[1]:
                weights = np.empty((2 * height, 2 * width))
            y0, y1, x0, x1 = _combine(places, fractions, table, taps, plane.shape, weights)
            total = 0.0
            for y in range(y0, y1):
                for x in range(x0, x1):
                    weight = weights[y - y0, x - x0]
                    if weight != 0.0:
                        total += (weight * weight if squared else weight) * plane[y, x]
            scale = areas[i, j] if conserve_flux else 1.0
            out[i, first + j] = total * (scale * scale if squared else scale)
