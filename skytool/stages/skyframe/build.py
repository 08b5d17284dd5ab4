"""Sky frames from many exposures of the night sky."""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.skyframe.checks import mask_overlap
from skytool.errors import AlgorithmError, SkytoolWarning
from skytool.models.keywords import common_cards
from skytool.stages.skyframe.fit import SkyFit, fit_sky
from skytool.stages.skyframe.frames import finished_frame
from skytool.stages.skyframe.measure import Pixels, measure
from skytool.stages.skyframe.night import Night

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from skytool.core.skyframe.focal_plane_grid import Affine
    from skytool.models.skyframe import SkyFrame
    from skytool.stages.skyframe.config import BuildConfig
    from skytool.stages.skyframe.night import BuildInput

    Floats = NDArray[np.float64]

_log = logging.getLogger(__name__)

_SAME_FIELD = 0.5  # correlation of masks
_MANY_CELLS = 0.05
_SIGNIFICANT = 5.0


@dataclass(frozen=True)
class ExposureReport:
    """What became of one visit.

    Parameters
    ----------
    visit : str
        The visit.
    level : float
        Level of the sky [unit of image]; NaN if it is unknown.
    used : bool
        Whether it entered the frames.
    reason : str
        Why it did not.
    slope, slope_error, correlation, chi2 : float
        Comparison with the pattern of the other visits, as in
        `~skytool.core.skyframe.checks.ExposureChecks`.
    strengths : tuple of float
        Of the further patterns, in units of the level.
    """

    visit: str
    level: float
    used: bool
    reason: str = ""
    slope: float = math.nan
    slope_error: float = math.nan
    correlation: float = math.nan
    chi2: float = math.nan
    strengths: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class BuildResult:
    """Sky frames and how they were made.

    Parameters
    ----------
    frames : dict of str to SkyFrame
        A frame for every detector.
    exposures : tuple of ExposureReport
        One for every visit, in order.
    skipped : dict of (str, str) to str
        Visits and detectors that were not used, and why.
    mask_overlap : float
        Mean correlation of the places of objects in different visits: large if they see the same
        field.
    filter_name : str
        Filter of all exposures; empty if unknown.
    """

    frames: dict[str, SkyFrame]
    exposures: tuple[ExposureReport, ...]
    skipped: dict[tuple[str, str], str]
    mask_overlap: float
    filter_name: str


def build_sky_frames(
    inputs: Iterable[BuildInput],
    config: BuildConfig,
    *,
    places: Mapping[str, Affine] | None = None,
) -> BuildResult:
    """Build the sky frames of all detectors.

    Parameters
    ----------
    inputs : iterable of BuildInput
        Detectors of exposures.
    config : BuildConfig
        Settings.
    places : mapping of str to Affine, optional
        Where the detectors lie on the focal plane; needed for several only.

    Raises
    ------
    IncompatibleError
        If exposures of a detector differ in shape or place, the filters differ, or nothing tells
        where a detector lies.
    AlgorithmError
        If too few exposures are usable, or a detector has no data at all.

    Notes
    -----
    In units of the level of its sky every exposure shows the same pattern. Levels, smooth
    backgrounds of single exposures and the pattern are fitted together. With two passes the frame
    of the first, made with clipping alone, is taken off the exposures before objects are sought in
    them: then neither is a pattern of the camera taken for an object, nor does one hide in it.
    """
    night = Night.of(inputs)
    pixels = measure(night, config, None, seek=config.passes == 1, cleaned=False)
    overlap = _overlaps(pixels)
    fit = fit_sky(night, pixels, config, places, {})
    for number in range(2, config.passes + 1):
        _log.info("pass %d of %d", number, config.passes)
        pixels = measure(night, config, fit, seek=True, cleaned=number > 2)
        fit = fit_sky(night, pixels, config, places, fit.rejected)
    return _result(night, pixels, fit, config, overlap)


def _result(
    night: Night, pixels: Pixels, fit: SkyFit, config: BuildConfig, overlap: float
) -> BuildResult:
    """Return the frames, and warn of what makes them doubtful."""
    frames = {detector: _frame(night, fit, config, detector) for detector in fit.cells}
    _warn(frames, overlap, len(fit.visits))
    return BuildResult(
        frames=frames,
        exposures=tuple(_report(fit, visit) for visit in night.visits),
        skipped=_skipped(night, pixels, fit),
        mask_overlap=overlap,
        filter_name=night.filter_name,
    )


def _frame(night: Night, fit: SkyFit, config: BuildConfig, detector: str) -> SkyFrame:
    """Return the frame of a detector.

    Raises
    ------
    AlgorithmError
        If too few exposures have seen it.
    """
    first = night.first(detector)
    values = fit.cells[detector].values
    used = [visit for visit, row in zip(fit.visits, values, strict=True) if np.isfinite(row).any()]
    if len(used) < config.min_exposures:
        raise AlgorithmError(
            f"detector {detector} has data in {len(used)} exposures; a sky frame needs "
            f"{config.min_exposures}.",
            hint="Give more exposures of it, or lower --min-exposures.",
        )
    return finished_frame(
        fit.pattern(detector),
        first.blocks,
        config,
        origin=first.origin,
        components=fit.components[detector],
        header=common_cards(night[visit, detector].header for visit in used),
        name=f"the sky frame of detector {detector}" if detector else "the sky frame",
    )


def _overlaps(pixels: Pixels) -> float:
    """Return how alike the places of objects are in different visits, by their first measurement.

    Objects are what is flagged, found, or stands out within superpixels.
    """
    detectors = list(dict.fromkeys(detector for _, detector in pixels))
    sizes = {detector: each.value.size for (_, detector), each in pixels.items()}
    covered = []
    for visit in dict.fromkeys(visit for visit, _ in pixels):
        found = [(pixels.get((visit, detector)), sizes[detector]) for detector in detectors]
        covered.append(
            np.concatenate(
                [
                    np.zeros(size) if each is None else (each.masked + each.rejected).ravel()
                    for each, size in found
                ]
            )
        )
    return mask_overlap(np.array(covered))


def _report(fit: SkyFit, visit: str) -> ExposureReport:
    """Return what became of a visit."""
    if visit not in fit.visits:
        return ExposureReport(visit, math.nan, used=False, reason=fit.rejected[visit])
    row, checks = fit.visits.index(visit), fit.checks
    return ExposureReport(
        visit=visit,
        level=float(fit.solution.level[row]),
        used=True,
        slope=float(checks.slope[row]),
        slope_error=float(checks.slope_error[row]),
        correlation=float(checks.correlation[row]),
        chi2=float(checks.chi2[row]),
        strengths=tuple(fit.strengths[row].tolist()),
    )


def _skipped(night: Night, pixels: Pixels, fit: SkyFit) -> dict[tuple[str, str], str]:
    """Return which detectors of which visits were not used, and why."""
    skipped = {}
    for visit, detector in night.inputs:
        if visit in fit.rejected:
            skipped[visit, detector] = fit.rejected[visit]
        elif not np.isfinite(pixels[visit, detector].value).any():
            skipped[visit, detector] = "has no superpixel with data"
    return skipped


def _warn(frames: Mapping[str, SkyFrame], overlap: float, n_exposures: int) -> None:
    """Warn where the light of objects may have stayed in frames."""
    if overlap > _SAME_FIELD:
        warnings.warn(
            f"objects or sharp edges lie on the same pixels in different exposures (correlation "
            f"{overlap:.2f}): light of objects that is not masked stays in the sky frame. Give "
            "exposures of different fields.",
            SkytoolWarning,
            stacklevel=3,
        )
    if n_exposures < 2:
        return
    limit = 1 + _SIGNIFICANT * math.sqrt(2 / (n_exposures - 1))
    for frame in frames.values():
        if frame.chi2 is None:
            continue
        share = float(np.mean(frame.chi2[np.isfinite(frame.chi2)] > limit))
        if share > _MANY_CELLS:
            warnings.warn(
                f"{frame.name}: {100 * share:.0f} % of the superpixels differ between exposures by "
                f"more than their errors (chi-square above {limit:.1f}, see extension CHI2).",
                SkytoolWarning,
                stacklevel=3,
            )
