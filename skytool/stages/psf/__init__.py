"""Point spread functions measured on the stars of an exposure."""

from skytool.stages.psf.candidates import REASONS
from skytool.stages.psf.config import BAD_PLANES, PsfConfig
from skytool.stages.psf.quality import PsfQuality
from skytool.stages.psf.stage import PsfMeasurement, judge_psf, measure_psf

__all__ = [
    "BAD_PLANES",
    "REASONS",
    "PsfConfig",
    "PsfMeasurement",
    "PsfQuality",
    "judge_psf",
    "measure_psf",
]
