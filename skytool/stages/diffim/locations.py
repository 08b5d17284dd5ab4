"""How good a difference is at places all over the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.models.tables import TableColumn
from skytool.stages.diffim.sky_sources import even_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.models.matching_kernel import MatchingKernel
    from skytool.stages.diffim.sources import SourceReport
    from skytool.stages.diffim.stage import DiffimResult

    Floats = NDArray[np.float64]
    Box = tuple[slice, slice]

_SEED = 1  # of the sequence of places
_MILLION = 1e6  # pixels that densities are for


def location_columns(
    result: DiffimResult, report: SourceReport, *, n: int, size: int
) -> list[TableColumn]:
    """Return a table of what a difference is like at places that fill the image evenly.

    Parameters
    ----------
    result : DiffimResult
        The difference.
    report : SourceReport
        Its sources.
    n : int
        Number of places.
    size : int
        Side of the square around each that is looked at [pixel]; at the edges less of it is.

    Returns
    -------
    list of TableColumn
        Position; medians of science image, matched template and difference and of their variances
        over pixels with data; sources and dipoles in a million pixels, and the mean direction of
        the dipoles; sum of the kernel and how far it moves light; part of the pixels with each
        mask plane.
    """
    difference = report.difference
    ny, nx = difference.shape
    places = np.array(list(even_places((ny, nx), n=n, border=0, seed=_SEED))).reshape(-1, 2)
    boxes = [(_span(y, size, ny), _span(x, size, nx)) for y, x in places]
    columns = [
        TableColumn("X", places[:, 1], "pixel", "column, 0-based"),
        TableColumn("Y", places[:, 0], "pixel", "row, 0-based"),
    ]
    science, template = result.parts
    good = ~difference.mask.any_of(["NO_DATA"])
    for name, exposure in (("SCI", science), ("TPL", template), ("DIFF", difference)):
        for suffix, plane, square in (
            ("MED", exposure.image, ""),
            ("VAR", exposure.variance, "**2"),
        ):
            values = [_median(plane[box], good[box]) for box in boxes]
            unit = f"{difference.unit}{square}" if difference.unit else ""
            columns.append(TableColumn(f"{name}{suffix}", np.array(values), unit, "median"))
    columns += _densities(report, boxes)
    columns += _kernels(result.kernel, places)
    present = int(np.bitwise_or.reduce(difference.mask.array, axis=None))
    for name, bit in sorted(difference.mask.bits.items(), key=lambda item: item[1]):
        if present >> bit & 1:
            flag = np.int32(1 << bit)
            parts = [np.mean((difference.mask.array[box] & flag) != 0) for box in boxes]
            columns.append(TableColumn(f"M_{name}", np.array(parts), "", "part with this plane"))
    return columns


def _span(at: float, size: int, length: int) -> slice:
    """Return the pixels around a position, within the image."""
    first = int(np.floor(at + 0.5)) - size // 2
    return slice(max(first, 0), min(first + size, length))


def _median(plane: NDArray[np.float32], good: NDArray[np.bool_]) -> float:
    values = plane[good & np.isfinite(plane)]
    return float(np.median(values)) if values.size else np.nan


def _densities(report: SourceReport, boxes: list[Box]) -> list[TableColumn]:
    """Return the densities of sources and dipoles, and the mean direction of the dipoles."""
    found = report.catalogue.of_sky(sky=False).columns
    y, x = (np.asarray(found[name], np.float64) for name in ("Y", "X"))
    dipole = np.asarray(found.get("DIPOLE", np.zeros(y.size)), np.bool_)
    angle = np.asarray(found.get("DIPANGLE", np.full(y.size, np.nan)), np.float64)
    rows = np.full((len(boxes), 3), np.nan)
    for row, (of_y, of_x) in zip(rows, boxes, strict=True):
        inside = (y >= of_y.start - 0.5) & (y < of_y.stop - 0.5)
        inside &= (x >= of_x.start - 0.5) & (x < of_x.stop - 0.5)
        area = (of_y.stop - of_y.start) * (of_x.stop - of_x.start) / _MILLION
        dipoles = angle[inside & dipole]
        row[:2] = np.count_nonzero(inside) / area, dipoles.size / area
        if dipoles.size:
            row[2] = np.angle(np.exp(1j * dipoles).sum())
    return [
        TableColumn("SOURCES", rows[:, 0], "", "sources in a million pixels"),
        TableColumn("DIPOLES", rows[:, 1], "", "dipoles in a million pixels"),
        TableColumn("DIPANGLE", rows[:, 2], "rad", "mean direction of dipoles, x to y"),
    ]


def _kernels(kernel: MatchingKernel, places: Floats) -> list[TableColumn]:
    """Return the sum of the kernel at places, and how far it moves light."""
    images = kernel.kernel.at_many(y=places[:, 0], x=places[:, 1])
    sums = images.sum(axis=(1, 2))
    half_y, half_x = kernel.kernel.half
    down = np.einsum("nij,i->n", images, np.arange(-half_y, half_y + 1)) / sums
    across = np.einsum("nij,j->n", images, np.arange(-half_x, half_x + 1)) / sums
    return [
        TableColumn("KSUM", sums, "", "sum of the kernel"),
        TableColumn("KSHIFTX", across, "pixel", "how far the kernel moves light"),
        TableColumn("KSHIFTY", down, "pixel", "how far the kernel moves light"),
    ]
