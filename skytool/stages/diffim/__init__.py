"""Image differences with white noise, their own PSF, variance and mask."""

from skytool.stages.diffim.config import BasisConfig, DiffimConfig, StarsConfig
from skytool.stages.diffim.grids import aligned, check_pair
from skytool.stages.diffim.kernel_stars import SourceList
from skytool.stages.diffim.stage import DiffimResult, subtract

__all__ = [
    "BasisConfig",
    "DiffimConfig",
    "DiffimResult",
    "SourceList",
    "StarsConfig",
    "aligned",
    "check_pair",
    "subtract",
]
