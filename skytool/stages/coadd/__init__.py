"""Warps of several visits added to one image."""

from skytool.core.stacks.coadd import Clipping
from skytool.stages.coadd.config import BAD_PLANES, CoaddConfig
from skytool.stages.coadd.inputs import CoaddInput, check_warps
from skytool.stages.coadd.stage import CoaddResult, InputReport, coadd_warps

__all__ = [
    "BAD_PLANES",
    "Clipping",
    "CoaddConfig",
    "CoaddInput",
    "CoaddResult",
    "InputReport",
    "check_warps",
    "coadd_warps",
]
