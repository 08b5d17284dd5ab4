"""Which sources a footprint holds: one, a dipole, or several that overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.difference.blends import separate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytool.core.difference.detection import Detections
    from skytool.core.difference.dipole import Dipole
    from skytool.stages.diffim.sources_config import SourcesConfig
    from skytool.stages.diffim.sources_measure import Floats, Measured, Values


_MOST_PEAKS = 50  # of a footprint


@dataclass(frozen=True, eq=False)
class SourceRows:
    """Sources, one a row; arrays of shape ``(n,)``.

    Parameters
    ----------
    footprint, peak : ndarray of int
        Which footprint and which of all peaks they are.
    blended : ndarray of bool
        Which share their footprint with others.
    fitted : ndarray of float64, shape (n, 6)
        X, Y, XERR, YERR, FLUX, FLUXERR of those, fitted together; NaN of the others.
    """

    footprint: NDArray[np.intp]
    peak: NDArray[np.intp]
    blended: NDArray[np.bool_]
    fitted: Floats

    def put(self, values: Values, names: Sequence[str], error_scale: float = 1.0) -> None:
        """Replace columns of blended sources by what was fitted to all of a footprint."""
        order = ("X", "Y", "XERR", "YERR", "FLUX", "FLUXERR")
        for name in names:
            fitted = self.fitted[:, order.index(name)]
            scale = error_scale if name == "FLUXERR" else 1.0
            values[name] = np.where(self.blended, scale * fitted, values[name])


def separated(
    difference: Measured,
    snr: NDArray[np.float32],
    found: Detections,
    peaks: Floats,
    kept: NDArray[np.intp],
    dipoles: Sequence[Dipole | None],
    config: SourcesConfig,
) -> SourceRows:
    """Return the sources of footprints.

    Parameters
    ----------
    difference : Measured
        Where they were found.
    snr : ndarray of float32, shape (ny, nx)
        Significance of point sources there.
    found : Detections
        All footprints.
    peaks : ndarray of float64, shape (n_peaks, 2)
        Places of the peaks [pixel].
    kept : ndarray of int
        The footprints that are wanted.
    dipoles : sequence of Dipole or None
        What was fitted to each footprint; one that is a dipole is one source.
    config : SourcesConfig
        Whether and how.
    """
    ends = np.append(found.first[1:], found.row.size)
    footprints, rows, fitted = [], [], []
    for number in kept.tolist():
        mine = np.arange(found.first[number], ends[number])
        dipole = dipoles[number]
        alone = mine.size == 1 or (dipole is not None and dipole.is_dipole)
        if config.deblend and not alone:
            mine = mine[:_MOST_PEAKS]
            mine = mine[_prominent(snr, found, mine, config.prominence)]
        if config.deblend and not alone and mine.size > 1:
            blend = separate(
                difference.pixels,
                difference.psf,
                y=peaks[mine, 0],
                x=peaks[mine, 1],
                sign=np.where(found.negative[mine], -1.0, 1.0),
                threshold=config.threshold,
                apart=config.least_distance * difference.psf.fwhm,
            )
            if len(blend) > 1:
                places = blend.x, blend.y, blend.x_error, blend.y_error
                fitted.append(np.stack([*places, blend.flux, blend.flux_error], axis=1))
                footprints += [number] * len(blend)
                rows += mine[blend.peak].tolist()
                continue
        fitted.append(np.full((1, 6), np.nan))
        footprints.append(number)
        rows.append(int(mine[0]))
    table = np.concatenate(fitted) if fitted else np.empty((0, 6))
    return SourceRows(
        np.array(footprints, np.intp), np.array(rows, np.intp), np.isfinite(table[:, 0]), table
    )


def _prominent(
    snr: NDArray[np.float32], found: Detections, mine: NDArray[np.intp], depth: float
) -> NDArray[np.bool_]:
    """Return which peaks stand out of what is between them and every higher one of the footprint.

    The first is the highest. Peaks of the other sign have a zero between them and it.
    """
    row, column = found.row[mine], found.column[mine]
    kept = np.zeros(mine.size, np.bool_)
    kept[0] = True
    for number in range(1, mine.size):
        sign = -1.0 if found.negative[mine[number]] else 1.0
        least = found.significance[mine[number]] - depth
        kept[number] = all(
            np.nanmin(sign * _between(snr, row, column, number, int(higher))) <= least
            for higher in np.flatnonzero(kept)
        )
    return kept


def _between(
    snr: NDArray[np.float32],
    row: NDArray[np.intp],
    column: NDArray[np.intp],
    one: int,
    other: int,
) -> NDArray[np.float32]:
    """Return the pixels on the straight line between two peaks."""
    steps = int(max(abs(row[one] - row[other]), abs(column[one] - column[other]), 1))
    part = np.arange(steps + 1) / steps
    y = np.rint(row[one] + part * (row[other] - row[one])).astype(np.intp)
    x = np.rint(column[one] + part * (column[other] - column[one])).astype(np.intp)
    return snr[y, x]
