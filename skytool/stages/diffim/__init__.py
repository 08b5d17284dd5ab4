"""Image differences with white noise, their own PSF, variance and mask."""

from skytool.stages.diffim.config import BasisConfig, DiffimConfig, StarsConfig
from skytool.stages.diffim.grids import aligned
from skytool.stages.diffim.kernel_stars import SourceList
from skytool.stages.diffim.stage import DiffimResult, subtract

__all__ = [
    "BasisConfig",
    "DiffimConfig",
    "DiffimResult",
    "SourceList",
    "StarsConfig",
    "aligned",
    "subtract",
]
