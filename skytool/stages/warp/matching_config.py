"""What can be set for a PSF-matched warp."""

from __future__ import annotations

from dataclasses import dataclass, field

from skytool.core.matching.model_psf import ModelPsf
from skytool.core.matching.psf_match_config import PsfMatchConfig


@dataclass(frozen=True, kw_only=True)
class MatchingConfig:
    """Settings of PSF-matched warps.

    Parameters
    ----------
    model : ModelPsf
        PSF that all warps are brought to.
    match : PsfMatchConfig
        Settings of the matching kernel.
    cell_y, cell_x : int
        Spacing of the positions at which the PSF is evaluated [pixel].
    margin : int or None
        How far beyond the target detectors are resampled before they are matched [pixel]; None
        for as far as the kernel reaches.
    mask_fraction : float
        Part of the weight of the kernel that flagged pixels may hold before a matched pixel is
        flagged; 0 flags all that the kernel reaches.
    correlated_variance : bool
        Whether the variance counts that resampling has made the noise of neighbours alike;
        otherwise it is that of independent pixels, and too small.
    """

    model: ModelPsf = field(default_factory=ModelPsf)
    match: PsfMatchConfig = field(default_factory=PsfMatchConfig)
    cell_y: int = 128
    cell_x: int = 128
    margin: int | None = None
    mask_fraction: float = 0.01
    correlated_variance: bool = True
