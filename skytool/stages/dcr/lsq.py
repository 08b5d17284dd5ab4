"""The direct solution, piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.dcr.basis import BandBasis
from skytool.core.dcr.region import solve_region, weighted_mean
from skytool.stages.dcr.inputs import region_exposure
from skytool.stages.dcr.result import Step, TileResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure
    from skytool.stages.dcr.config import DcrConfig
    from skytool.stages.dcr.inputs import TileInput
    from skytool.stages.dcr.iterative import StartingSky
    from skytool.stages.dcr.tiles import Tile

    Rows = Callable[[int, int, int], Exposure]

MOST_TERMS = 3
"""Coefficients of a spectrum at most: refraction tells no finer details."""


def spectral_basis(n_subfilters: int, throughput: NDArray[np.float64] | None = None) -> BandBasis:
    """Return the spectra that are solved for; ``throughput`` is that at the nodes of the band."""
    terms = min(n_subfilters, MOST_TERMS)
    return BandBasis.polynomials(n_subfilters, terms, throughput=throughput)


def solve_tile(
    tile: Tile,
    inputs: Sequence[TileInput],
    rows: Rows,
    config: DcrConfig,
    *,
    n_subfilters: int,
    bits: Mapping[str, int],
    sky: StartingSky | None = None,
) -> TileResult:
    """Solve for a piece of sky.

    Parameters
    ----------
    tile : Tile
        The piece.
    inputs : sequence of TileInput
        What the exposures contribute.
    rows : function
        ``rows(index, start, stop)`` returns some rows of an exposure.
    config : DcrConfig
        Settings.
    n_subfilters : int
        Number of subfilters.
    bits : mapping of str to int
        Numbers of the mask planes of the result.
    sky : StartingSky, optional
        What the solver begins with, there; by default, and where it has no value, the mean of
        the exposures.
    """
    exposures, places = [], []
    seen = np.zeros(tile.core.shape, np.int32)
    for place, entry in enumerate(inputs):
        if not entry.weight > 0.0:
            continue
        part = rows(place, tile.outer.rows.start, tile.outer.rows.stop)
        exposure = region_exposure(part, entry, tile, place, config.bad_planes)
        if not exposure.usable.any():
            continue
        exposures.append(exposure)
        places.append(place)
        planes = part.mask.renumbered(bits).array[:, tile.outer.columns]
        seen |= np.where(exposure.usable, planes, 0)[tile.cut].astype(np.int32)
    if not exposures:
        return TileResult.empty(tile.core.shape, n_subfilters, len(inputs))
    mean = weighted_mean(
        [entry.image for entry in exposures],
        [np.where(entry.usable, np.float32(entry.weight), np.float32(0)) for entry in exposures],
    )
    region = solve_region(
        exposures,
        mean,
        spectral_basis(n_subfilters, tile.throughput),
        config.lsq,
        core=tile.cut,
        start=None if sky is None else np.where(sky.valid, sky.image, mean),
    )
    misfits = np.zeros((len(inputs), 3))
    misfits[places] = region.misfits
    return TileResult(
        subfilters=region.subfilters,
        variance=region.variance,
        subfilter_variances=region.subfilter_variances,
        count=region.count,
        rejected=region.rejected,
        before=region.before,
        after=region.after,
        slope=region.slope,
        slope_error=region.slope_error,
        bits=seen,
        misfits=misfits,
        steps=[
            Step(round_, number, error)
            for round_, errors in enumerate(region.errors)
            for number, error in enumerate(errors, start=1)
        ],
    )
