"""Fluxes of exposures brought to one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skytool.core.background.cell_grid import CellGrid
from skytool.core.difference.flux_scale import flux_scale
from skytool.core.noise.source_mask import source_mask
from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from skytool.core.difference.flux_scale import FluxScale
    from skytool.models.exposure import Exposure
    from skytool.stages.match_bg.config import MatchConfig
    from skytool.stages.match_bg.stage import Piece

_SOURCES = ("DETECTED", "DETECTED_NEGATIVE")
_CELL = 128  # [pixel]


def fitted_scale(
    science: Sequence[Piece], reference: Sequence[Piece], config: MatchConfig, *, name: str
) -> FluxScale:
    """Return the factor that gives the sources of an exposure the fluxes of the reference.

    Of an exposure in several pieces the one that has most of the reference's pixels decides.

    Parameters
    ----------
    science, reference : sequence of Piece
        Both exposures.
    config : MatchConfig
        Settings.
    name : str
        What messages call the exposure.

    Raises
    ------
    AlgorithmError
        If they have too few sources in common.
    """
    pairs = [
        (common.shape[0] * common.shape[1], common, one, other)
        for one in science
        for other in reference
        if (common := one.window.common(other.window)) is not None
    ]
    if not pairs:
        raise AlgorithmError(f"{name} and the reference have no pixel in common.")
    _, window, one, other = max(pairs, key=lambda pair: pair[0])
    seen, wanted = one.read(), other.read()
    here, there = window.within(one.window), window.within(other.window)
    bad_planes = [plane for plane in config.bad_planes if plane not in _SOURCES]
    bad = seen.mask.any_of(bad_planes)[here] | wanted.mask.any_of(bad_planes)[there]
    try:
        return flux_scale(
            wanted.image[there],
            seen.image[here],
            sources=_sources(seen, bad_planes)[here] | _sources(wanted, bad_planes)[there],
            bad=bad,
            variances=(wanted.variance[there], seen.variance[here]),
            grid=CellGrid.from_bin_size(window.shape, _CELL),
        )
    except AlgorithmError as error:
        raise AlgorithmError(f"{name}: {error.message}.", hint=error.hint) from error


def _sources(exposure: Exposure, bad_planes: Sequence[str]) -> NDArray[np.bool_]:
    """Return the pixels of sources: those flagged, or those found where none are."""
    flagged = exposure.mask.any_of(_SOURCES)
    if flagged.any():
        return flagged
    return source_mask(exposure.image, exposure.mask.any_of(bad_planes))
