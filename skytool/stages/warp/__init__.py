"""The exposures of a visit resampled to one grid."""

from skytool.stages.warp.config import WarpConfig
from skytool.stages.warp.stage import (
    Detector,
    DetectorReport,
    VisitWarps,
    WarpResult,
    warp_and_match_visit,
    warp_visit,
)
from skytool.stages.warp.visits import Member, Visit, group_visits, select_overlapping

__all__ = [
    "Detector",
    "DetectorReport",
    "Member",
    "Visit",
    "VisitWarps",
    "WarpConfig",
    "WarpResult",
    "group_visits",
    "select_overlapping",
    "warp_and_match_visit",
    "warp_visit",
]
