"""Compiled loops of detection: connected pixels, growth, and local maxima."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.compiled import compiled_in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[Any]


@compiled_in_order
def _root(parents: Plane, label: int) -> int:
    """Return the first label of a group, and shorten the way to it."""
    while parents[label] != label:
        parents[label] = parents[parents[label]]
        label = parents[label]
    return label


@compiled_in_order
def _joined(parents: Plane, one: int, other: int) -> int:
    """Join the groups of two labels under the lower one."""
    one, other = _root(parents, one), _root(parents, other)
    low, high = min(one, other), max(one, other)
    parents[high] = low
    return low


@compiled_in_order
def label_pixels(flags: Plane, bit: int, labels: Plane) -> int:
    """Give a number to every group of pixels with a bit that touch, also at a corner.

    `labels` is int32 and zero; groups are numbered from 1 in the order of their first pixels. The
    number of groups is returned.
    """
    ny, nx = flags.shape
    parents = np.zeros(1024, np.int32)
    n = 1
    for y in range(ny):
        for x in range(nx):
            if not flags[y, x] & bit:
                continue
            label = 0
            for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1)):
                i, j = y + dy, x + dx
                if i < 0 or j < 0 or j >= nx or labels[i, j] == 0:
                    continue
                near = labels[i, j]
                label = near if label == 0 else _joined(parents, label, near)
            if label == 0:
                if n == parents.size:
                    longer = np.zeros(2 * n, np.int32)
                    longer[:n] = parents
                    parents = longer
                label = n
                parents[n] = n
                n += 1
            labels[y, x] = label
    final = np.zeros(n, np.int32)
    count = 0
    for label in range(1, n):
        root = _root(parents, label)
        if root == label:
            count += 1
            final[label] = count
        else:
            final[label] = final[root]
    for y in range(ny):
        for x in range(nx):
            if labels[y, x]:
                labels[y, x] = final[labels[y, x]]
    return count


@compiled_in_order
def paint_runs(rows: Plane, columns: Plane, widths: Plane, bit: int, flags: Plane) -> None:
    """Set a bit in a disc around pixels; `widths` are the half widths of its rows."""
    ny, nx = flags.shape
    half = widths.size // 2
    for k in range(rows.size):
        for i in range(widths.size):
            y = rows[k] + i - half
            if y < 0 or y >= ny:
                continue
            for x in range(max(columns[k] - widths[i], 0), min(columns[k] + widths[i] + 1, nx)):
                flags[y, x] |= bit


@compiled_in_order
def local_maxima(values: Plane, rows: Plane, columns: Plane, sign: float, top: Plane) -> None:
    """Tell which pixels are higher than their eight neighbours, after multiplication by a sign.

    Of equal neighbours the one that comes first is the maximum; NaN is lower than everything.
    """
    ny, nx = values.shape
    for k in range(rows.size):
        y, x = rows[k], columns[k]
        value = sign * values[y, x]
        highest = True
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                i, j = y + dy, x + dx
                if (dy == 0 and dx == 0) or i < 0 or j < 0 or i >= ny or j >= nx:
                    continue
                near = sign * values[i, j]
                earlier = dy < 0 or (dy == 0 and dx < 0)
                if near > value or (earlier and near == value):
                    highest = False
        top[k] = highest


@compiled_in_order
def footprint_boxes(labels: Plane, boxes: Plane, areas: Plane) -> None:
    """Find first and last row, first and last column, and number of pixels of every footprint.

    Footprints are numbered from 1; `boxes` has the shape ``(n, 4)``.
    """
    ny, nx = labels.shape
    boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3] = ny, -1, nx, -1
    for y in range(ny):
        for x in range(nx):
            if not labels[y, x]:
                continue
            box = boxes[labels[y, x] - 1]
            areas[labels[y, x] - 1] += 1
            box[0], box[1] = min(box[0], y), max(box[1], y)
            box[2], box[3] = min(box[2], x), max(box[3], x)


@compiled_in_order
def renumber(labels: Plane, others: Plane, final: Plane, offset: int) -> None:
    """Replace the labels of two planes, of which the first counts where it has any.

    `final` gives the new label of every old one; those of `others` come after `offset`. The result
    is in `labels`.
    """
    ny, nx = labels.shape
    for y in range(ny):
        for x in range(nx):
            if labels[y, x]:
                labels[y, x] = final[labels[y, x]]
            elif others[y, x]:
                labels[y, x] = final[others[y, x] + offset]
