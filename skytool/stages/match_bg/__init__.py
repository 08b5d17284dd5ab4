"""Backgrounds of exposures of one field made common."""

from skytool.stages.match_bg.background_fit import BackgroundFit
from skytool.stages.match_bg.config import BAD_PLANES, EXTRAPOLATED, MatchConfig
from skytool.stages.match_bg.fitting import no_background
from skytool.stages.match_bg.frames import Frame, common_frame
from skytool.stages.match_bg.overlaps import Overlapping, fit_of, pair_cells, partner_of, solve
from skytool.stages.match_bg.quality import MatchQuality, check_quality
from skytool.stages.match_bg.selection import best_reference, figures_of, is_mosaic
from skytool.stages.match_bg.stage import (
    STAGE,
    Match,
    MatchedPiece,
    Piece,
    Reference,
    reference_for,
    unchanged,
)
from skytool.stages.match_bg.undo import undone, with_layer

__all__ = [
    "BAD_PLANES",
    "EXTRAPOLATED",
    "STAGE",
    "BackgroundFit",
    "Frame",
    "Match",
    "MatchConfig",
    "MatchQuality",
    "MatchedPiece",
    "Overlapping",
    "Piece",
    "Reference",
    "best_reference",
    "check_quality",
    "common_frame",
    "figures_of",
    "fit_of",
    "is_mosaic",
    "no_background",
    "pair_cells",
    "partner_of",
    "reference_for",
    "solve",
    "unchanged",
    "undone",
    "with_layer",
]
