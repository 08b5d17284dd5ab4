"""Which exposure the others are matched to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.difference_cells import ImagePiece
from skytool.core.reference_cost import (
    NO_FIGURES,
    CostKind,
    ReferenceChoice,
    SkyFigures,
    choose_reference,
    combined_figures,
    plane_chi2,
    sky_figures,
)
from skytool.core.superpixels import superpixels
from skytool.errors import AlgorithmError
from skytool.stages.match_bg.prepared import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from skytool.core.superpixels import SuperpixelRule
    from skytool.stages.match_bg.config import MatchConfig
    from skytool.stages.match_bg.stage import Piece

__all__ = ["ReferenceChoice", "SkyFigures", "best_reference", "figures_of"]


def figures_of(
    pieces: Sequence[Piece],
    frame_shape: tuple[int, int],
    config: MatchConfig,
    *,
    scale: float = 1.0,
) -> SkyFigures:
    """Return what a choice of reference asks of an exposure.

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

    def images() -> Iterator[ImagePiece]:
        for piece in pieces:
            ready = prepare(piece.read(), piece.window, config, scale=scale)
            yield ImagePiece(ready.window, ready.image, ready.bad)

    if config.superpixels is not None and config.cost is CostKind.CHI2:
        return _superpixel_figures(images(), frame_shape, config, config.superpixels)
    return combined_figures([sky_figures(one.image, one.bad, config.cost) for one in images()])


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
