"""The pattern that a camera's response prints on the night sky: built, applied, taken back."""

from skytool.stages.skyframe.apply import (
    ApplyInput,
    DetectorCorrection,
    VisitSolution,
    solve_visit,
)
from skytool.stages.skyframe.blocks import SkyBlocks, sky_blocks, superpixel_grid
from skytool.stages.skyframe.build import BuildResult, ExposureReport, build_sky_frames
from skytool.stages.skyframe.config import (
    ApplyConfig,
    BackgroundConfig,
    BuildConfig,
    CombineConfig,
    FocalPlaneConfig,
    MaskObjectsConfig,
    SkyMeasurementConfig,
    StatsConfig,
)
from skytool.stages.skyframe.layers import (
    divided_layers,
    restoring_layers,
    with_layers,
    without_layers,
)
from skytool.stages.skyframe.measurement import (
    average_backgrounds,
    background_to_exposure,
    exposure_to_background,
    measure_background,
    measure_scale,
    solve_scales,
    subtract_sky_frame,
)
from skytool.stages.skyframe.night import BuildInput
from skytool.stages.skyframe.samples import BoxSamples, sample_boxes

__all__ = [
    "ApplyConfig",
    "ApplyInput",
    "BackgroundConfig",
    "BoxSamples",
    "BuildConfig",
    "BuildInput",
    "BuildResult",
    "CombineConfig",
    "DetectorCorrection",
    "ExposureReport",
    "FocalPlaneConfig",
    "MaskObjectsConfig",
    "SkyBlocks",
    "SkyMeasurementConfig",
    "StatsConfig",
    "VisitSolution",
    "average_backgrounds",
    "background_to_exposure",
    "build_sky_frames",
    "divided_layers",
    "exposure_to_background",
    "measure_background",
    "measure_scale",
    "restoring_layers",
    "sample_boxes",
    "sky_blocks",
    "solve_scales",
    "solve_visit",
    "subtract_sky_frame",
    "superpixel_grid",
    "with_layers",
    "without_layers",
]
