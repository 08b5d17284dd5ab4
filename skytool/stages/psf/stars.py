"""The stamps of the stars that a point spread function is fitted to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.psf.star_selection import Surroundings
from skytool.core.psf.star_stamps import cut_stamps
from skytool.core.psf.stars import Neighbours, Stars

if TYPE_CHECKING:
    from skytool.stages.psf.candidates import Candidates
    from skytool.stages.psf.config import PsfConfig
    from skytool.stages.psf.planes import Planes

_STAMP_REACH = 4.0  # half side [FWHM]
_SMALLEST_HALF = 6  # [pixel]
_MOST_NEIGHBOURS = 8


def stamp_half_size(fwhm: float, config: PsfConfig) -> int:
    """Return the half side of the stamps of a PSF [pixel]."""
    if config.size is not None:
        return config.size // 2
    return max(math.ceil(_STAMP_REACH * fwhm), _SMALLEST_HALF)


def selected_stars(candidates: Candidates, planes: Planes, half: int) -> Stars:
    """Return the stamps of the selected stars, with the other sources in them.

    Parameters
    ----------
    candidates : Candidates
        Sources of the exposure.
    planes : Planes
        The exposure.
    half : int
        Half side of the stamps [pixel].
    """
    used = np.flatnonzero(candidates.selected)
    row, column = candidates.row[used], candidates.column[used]
    stamps, weight = (
        cut_stamps(plane, row, column, half, fill=0.0).astype(np.float64)
        for plane in (planes.image, planes.weight)
    )
    centre = candidates.moments[used]
    around = _neighbours(candidates, used.tolist(), half)
    return Stars(stamps, weight, row, column, centre.y, centre.x, around)


def _neighbours(candidates: Candidates, used: list[int], half: int) -> Neighbours:
    """Return the sources in the stamps, of many those that disturb most."""
    peaks, fwhm = candidates.peaks, candidates.fwhm
    around = Surroundings(peaks, fwhm)
    reach = half + fwhm
    found: list[tuple[int, int, float, float]] = []
    for star, number in enumerate(used):
        others, distance = around.near(number, math.sqrt(2.0) * reach)
        dy = peaks.y[others] - candidates.row[number]
        dx = peaks.x[others] - candidates.column[number]
        light = peaks.significance[others] * around.halo(distance)
        light[np.maximum(np.abs(dy), np.abs(dx)) > reach] = 0.0
        worst = np.argsort(-light, kind="stable")[:_MOST_NEIGHBOURS]
        found += [(star, slot, dy[m], dx[m]) for slot, m in enumerate(worst) if light[m] > 0.0]
    if not found:
        return Neighbours.none()
    stars, slots, y, x = (np.array(values) for values in zip(*found, strict=True))
    return Neighbours(stars.astype(np.intp), slots.astype(np.intp), y, x)
