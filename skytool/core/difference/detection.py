"""Footprints and peaks of both signs in an image of significance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.difference.detection_loops import (
    footprint_boxes,
    label_pixels,
    local_maxima,
    paint_runs,
    renumber,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.intp]
    Flags = NDArray[np.bool_]

_POSITIVE, _NEGATIVE = 1, 2


@dataclass(frozen=True, eq=False)
class Detections:
    """Sources found in an image; what holds for every peak has the shape ``(n,)``.

    Parameters
    ----------
    row, column : ndarray of int
        Pixel of a peak; peaks of a footprint are together, the most significant first, and
        footprints are in the order of their highest peaks.
    significance : ndarray of float64
        Absolute value of the image there.
    negative : ndarray of bool
        Whether the image is negative there.
    footprint : ndarray of int
        Number of the footprint, from 0.
    first : ndarray of int, shape (n_footprints,)
        The highest peak of every footprint.
    area : ndarray of int, shape (n_footprints,)
        Number of pixels of the grown footprint.
    box : ndarray of int, shape (n_footprints, 4)
        Its first and last row, first and last column.
    has_positive, has_negative : ndarray of bool, shape (n_footprints,)
        Signs of its parts.
    positive, negative_mask : ndarray of bool, shape (ny, nx)
        Pixels of grown footprints of either sign.
    labels : ndarray of int32, shape (ny, nx)
        Number of the footprint from 1, or 0.
    """

    row: Integers
    column: Integers
    significance: Floats
    negative: Flags
    footprint: Integers
    first: Integers
    area: Integers
    box: Integers
    has_positive: Flags
    has_negative: Flags
    positive: Flags
    negative_mask: Flags
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return self.first.size

    @property
    def n_unmerged(self) -> int:
        """Number of footprints before those of unlike signs were united."""
        return int(np.count_nonzero(self.has_positive) + np.count_nonzero(self.has_negative))


def detect(
    snr: NDArray[np.float32],
    *,
    threshold: float = 5.0,
    min_pixels: int = 1,
    growth: int = 0,
) -> Detections:
    """Find sources of both signs.

    Parameters
    ----------
    snr : ndarray of float32, shape (ny, nx)
        Significance; NaN is not searched.
    threshold : float
        Least absolute value of a pixel.
    min_pixels : int
        Least number of connected pixels above it.
    growth : int
        Radius by which what is found grows [pixel].

    Returns
    -------
    Detections
        Pixels above the threshold that touch, also at a corner, are a footprint; peaks are its
        pixels above all eight neighbours. Footprints of one sign that touch after they have grown
        become one, then those of unlike signs that overlap.
    """
    shape = snr.shape
    flags = np.zeros(shape, np.uint8)
    with np.errstate(invalid="ignore"):
        above = {_POSITIVE: snr > threshold, _NEGATIVE: snr < -threshold}
    parts = []
    for bit, sign in ((_POSITIVE, 1.0), (_NEGATIVE, -1.0)):
        rows, columns = _found(above[bit], min_pixels)
        top = np.zeros(rows.size, np.bool_)
        local_maxima(snr, rows, columns, sign, top)
        paint_runs(rows, columns, _disc_widths(growth), bit, flags)
        parts.append((rows[top], columns[top], np.full(int(top.sum()), sign < 0.0)))
    row, column, negative = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    labels, has_positive, has_negative = _united(flags)
    height = np.abs(snr[row, column]).astype(np.float64)
    footprint = labels[row, column].astype(np.intp) - 1
    n = has_positive.size
    highest = np.zeros(n)
    np.maximum.at(highest, footprint, height)
    order = np.lexsort((column, row, -height, footprint, -highest[footprint]))
    row, column, height = row[order], column[order], height[order]
    negative, footprint = negative[order], footprint[order]
    first = np.flatnonzero(np.diff(footprint, prepend=-1))
    sorted_by = footprint[first]
    final = np.zeros(n + 1, np.int32)
    final[sorted_by + 1] = np.arange(1, n + 1)
    renumber(labels, labels, final, 0)
    box, area = np.zeros((n, 4), np.intp), np.zeros(n, np.intp)
    footprint_boxes(labels, box, area)
    return Detections(
        row=row,
        column=column,
        significance=height,
        negative=negative,
        footprint=np.repeat(np.arange(n), np.diff(np.append(first, row.size))),
        first=first,
        area=area,
        box=box,
        has_positive=has_positive[sorted_by],
        has_negative=has_negative[sorted_by],
        positive=(flags & _POSITIVE) != 0,
        negative_mask=(flags & _NEGATIVE) != 0,
        labels=labels,
    )


def grown_pixels(snr: NDArray[np.float32], *, threshold: float, growth: int) -> Flags:
    """Return the pixels within a distance of those above a threshold, of either sign."""
    flags = np.zeros(snr.shape, np.uint8)
    with np.errstate(invalid="ignore"):
        rows, columns = np.nonzero(np.abs(snr) > threshold)
    paint_runs(rows, columns, _disc_widths(growth), _POSITIVE, flags)
    return flags.view(np.bool_)


def _found(above: Flags, min_pixels: int) -> tuple[Integers, Integers]:
    """Return the pixels above the threshold that belong to large enough groups."""
    rows, columns = np.nonzero(above)
    if min_pixels <= 1 or not rows.size:
        return rows, columns
    labels = np.zeros(above.shape, np.int32)
    label_pixels(above.view(np.uint8), 1, labels)
    of_pixel = labels[rows, columns]
    large = np.bincount(of_pixel)[of_pixel] >= min_pixels
    return rows[large], columns[large]


def _disc_widths(radius: int) -> NDArray[np.int64]:
    """Return the half widths of the rows of a disc."""
    offsets = np.arange(-radius, radius + 1)
    return np.floor(np.sqrt(radius * radius - offsets * offsets)).astype(np.int64)


def _united(flags: NDArray[np.uint8]) -> tuple[NDArray[np.int32], Flags, Flags]:
    """Return the footprints of both signs, united where they overlap, and which signs they have."""
    by_sign = []
    for bit in (_POSITIVE, _NEGATIVE):
        labels = np.zeros(flags.shape, np.int32)
        by_sign.append((labels, label_pixels(flags, bit, labels)))
    (positive, n_positive), (negative, n_negative) = by_sign
    parents = np.arange(n_positive + n_negative + 1)
    overlap = np.nonzero(flags == (_POSITIVE | _NEGATIVE))
    pairs = np.unique(np.stack([positive[overlap], negative[overlap] + n_positive]), axis=1)
    for one, other in pairs.T:
        low, high = sorted((_top(parents, one), _top(parents, other)))
        parents[high] = low
    tops = np.array([_top(parents, label) for label in range(parents.size)], np.intp)
    roots, number = np.unique(tops[1:], return_inverse=True)
    has_positive, has_negative = np.zeros((2, roots.size), np.bool_)
    has_positive[number[:n_positive]] = True
    has_negative[number[n_positive:]] = True
    renumber(positive, negative, np.append(0, number + 1).astype(np.int32), n_positive)
    return positive, has_positive, has_negative


def _top(parents: Integers, label: int) -> int:
    while parents[label] != label:
        label = parents[label]
    return label
