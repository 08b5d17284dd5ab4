"""Which exposure the others are matched to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.core.background.overlap_solve import connected_groups
from skytool.core.background.reference_cost import (
    NO_FIGURES,
    CostKind,
    ReferenceChoice,
    SkyFigures,
    choose_reference,
    combined_figures,
    plane_chi2,
    sky_figures,
)
from skytool.core.difference.cells import ImagePiece
from skytool.core.skyframe.superpixels import superpixels
from skytool.errors import AlgorithmError
from skytool.stages.match_bg.background_fit import Lattice
from skytool.stages.match_bg.prepared import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from skytool.core.skyframe.superpixels import SuperpixelRule
    from skytool.stages.match_bg.config import MatchConfig
    from skytool.stages.match_bg.stage import Piece

__all__ = [
    "ExposureFigures",
    "ReferenceChoice",
    "SkyFigures",
    "best_reference",
    "figures_of",
    "is_mosaic",
]

_SHARED = 0.5  # of the pixels of an exposure, that a reference for it should have too
_LINKED = 0.005  # of the pixels of the smaller of two exposures, that make an overlap


class ExposureFigures(NamedTuple):
    """What is measured of an exposure before anything is matched.

    Parameters
    ----------
    sky : SkyFigures
        What a choice of reference asks.
    seen : ndarray of bool, shape (n_y, n_x)
        Points of a lattice over the frame at which it has a value.
    """

    sky: SkyFigures
    seen: NDArray[np.bool_]


def figures_of(
    pieces: Sequence[Piece],
    frame_shape: tuple[int, int],
    config: MatchConfig,
    *,
    scale: float = 1.0,
) -> ExposureFigures:
    """Return what choices of reference and mode ask of an exposure.

    Parameters
    ----------
    pieces : sequence of Piece
        The exposure, or its patches.
    frame_shape : (int, int)
        Shape ``(ny, nx)`` of the frame.
    config : MatchConfig
        Settings.
    scale : float
        Factor to common fluxes.
    """
    lattice = Lattice(frame_shape)

    def images() -> Iterator[ImagePiece]:
        for piece in pieces:
            ready = prepare(piece.read(), piece.window, config, scale=scale)
            yield ImagePiece(ready.window, ready.image, ready.bad)

    watched = lattice.watch(images())
    if config.superpixels is not None and config.cost is CostKind.CHI2:
        sky = _superpixel_figures(watched, frame_shape, config, config.superpixels)
    else:
        sky = combined_figures([sky_figures(one.image, one.bad, config.cost) for one in watched])
    return ExposureFigures(sky, lattice.seen)


def _superpixel_figures(
    pieces: Iterator[ImagePiece],
    frame_shape: tuple[int, int],
    config: MatchConfig,
    rule: SuperpixelRule,
) -> SkyFigures:
    """Return the figures of the superpixels of an exposure; those without a value do not count."""
    found = superpixels(
        pieces, frame_shape, rule, statistic=config.cells.statistic, clip=config.cells.clip
    )
    if not found.valid.any():
        return NO_FIGURES
    means = found.mean
    return SkyFigures(
        variance=float(np.nanmean(found.pixel_variance)),
        level=float(np.nanmean(means)),
        coverage=float(found.valid.sum()),
        chi2=plane_chi2(means, found.variance, found.grid(frame_shape)),
    )


def best_reference(figures: Sequence[SkyFigures], config: MatchConfig) -> ReferenceChoice:
    """Return the exposure of least cost.

    Raises
    ------
    AlgorithmError
        If no exposure has a good pixel.
    """
    try:
        return choose_reference(figures, config.cost, config.cost_weights)
    except AlgorithmError as error:
        raise AlgorithmError(
            "no exposure has a good pixel to choose a reference by.",
            hint="Look at --bad-mask-planes and --mask-sources, or name one with --reference.",
        ) from error


def is_mosaic(seen: Sequence[NDArray[np.bool_]], reference: int) -> bool:
    """Tell whether exposures hang together by their overlaps rather than by one reference.

    What is fitted to an overlap says little about an exposure of which most lies beyond: where one
    shares less than half of its pixels with the reference, all overlaps are needed. They only help
    if they link every exposure to the others.

    Parameters
    ----------
    seen : sequence of ndarray of bool, shape (n_y, n_x)
        Points of one lattice at which each exposure has a value.
    reference : int
        Number of the best reference.
    """
    sizes = [max(int(one.sum()), 1) for one in seen]
    shared = [int((one & seen[reference]).sum()) for one in seen]
    if all(common >= _SHARED * size for common, size in zip(shared, sizes, strict=True)):
        return False
    links = [
        (i, j)
        for j in range(len(seen))
        for i in range(j)
        if int((seen[i] & seen[j]).sum()) >= max(_LINKED * min(sizes[i], sizes[j]), 1)
    ]
    return int(connected_groups(len(seen), links).max()) == 0
