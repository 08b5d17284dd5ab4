"""One visit of ``skytool warp``: read, resampled and written."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skytool.cli.placeholders import named_after
from skytool.cli.stage_files import Product
from skytool.errors import SkytoolError, SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from skytool.io.sources import ExposureSource
    from skytool.models.records.provenance import SettingRecord
    from skytool.models.sky.geometry import TargetGrid
    from skytool.stages.warp import Detector, Member, Visit, WarpConfig, WarpResult
    from skytool.stages.warp.matching_config import MatchingConfig

_log = logging.getLogger(__name__)

STORED = "stored"
_MOST_OVERLAP = 0.5  # share of the pixels


@dataclass(frozen=True, kw_only=True)
class WarpTask:
    """One visit to resample and write.

    Parameters
    ----------
    visit : Visit
        The exposures that see the target.
    rejected : tuple of (Member, str)
        The others, and why.
    grid : TargetGrid
        The target.
    place : mapping of str to (value, str)
        Header cards that name the target.
    config : WarpConfig
        Settings of the stage.
    add_background, sky_correction, flat_background_ratio : str or None
        Names of models, see `skytool.io.backgrounds`.
    settings : tuple of SettingRecord
        All settings, for the record.
    matching : MatchingConfig or None
        Settings of the PSF-matched warp.
    direct_output, matched_output : str or None
        The products that are wanted.
    overwrite : bool
        Whether they may be replaced.
    compress : str
        How they are compressed.
    """

    visit: Visit[ExposureSource]
    rejected: tuple[tuple[Member[ExposureSource], str], ...]
    grid: TargetGrid
    place: Mapping[str, tuple[int | str, str]]
    config: WarpConfig
    add_background: str | None
    sky_correction: str | None
    flat_background_ratio: str | None
    settings: tuple[SettingRecord, ...]
    matching: MatchingConfig | None
    direct_output: str | None
    matched_output: str | None
    overwrite: bool
    compress: str


def make_warp(task: WarpTask) -> list[Product]:
    """Read, resample and write one visit."""
    from skytool.cli.warp.product import write_warp
    from skytool.io.scratch import Scratch
    from skytool.stages.warp import warp_and_match_visit

    scratch = Scratch(task.direct_output or task.matched_output or "-")
    direct, matched = warp_and_match_visit(
        _detectors(task), task.grid, task.config, task.matching, scratch.empty
    )
    _warn_of_overlap(task, direct)
    products = []
    for output, result in ((task.direct_output, direct), (task.matched_output, matched)):
        if output is None or result is None:
            continue
        if isinstance(result, SkytoolError):
            raise result
        write_warp(task, result, output)
        _summarise(task, result)
        products.append(Product(path=output, metrics=_metrics(task, result)))
    return products


def _warn_of_overlap(task: WarpTask, result: WarpResult) -> None:
    """Warn if detectors overlap as those of no camera do."""
    shared = result.overlap_pixels / max(result.covered_pixels, 1)
    if shared > _MOST_OVERLAP and task.config.overlap != "mean":
        warnings.warn(
            f"visit {task.visit.name}: {shared:.0%} of its pixels are seen by several detectors, "
            f"of which --overlap {task.config.overlap} takes one; is it one visit?",
            SkytoolWarning,
            stacklevel=2,
        )


def _detectors(task: WarpTask) -> Iterator[Detector]:
    """Read one detector after the other."""
    for member in task.visit.members:
        yield _detector(task, member)  # kept by no name, so that its memory can be given back


def _detector(task: WarpTask, member: Member[ExposureSource]) -> Detector:
    """Read one detector."""
    from skytool.io.backgrounds import read_background, stored_background
    from skytool.stages.warp import Detector

    exposure = member.candidate.read()
    files = model_files(task, member)
    models = {role: read_background(file) for role, file in files.items()}
    if task.add_background == STORED:
        models["background"] = stored_background(exposure)
    return Detector(exposure, models.get("background"), models.get("sky"), models.get("flat-ratio"))


def model_files(task: WarpTask, member: Member[ExposureSource]) -> dict[str, str]:
    """Return the files of the models for a detector, by what is done with them.

    Parameters
    ----------
    task : WarpTask
        Names the models.
    member : Member
        The detector.

    Returns
    -------
    dict of str to str
        Of ``background``, which is added, ``sky``, which is subtracted, and ``flat-ratio``, by
        which both are multiplied before, those that are in files.
    """
    added = None if task.add_background == STORED else task.add_background
    names = {
        "background": added,
        "sky": task.sky_correction,
        "flat-ratio": task.flat_background_ratio,
    }
    return {role: named_after(name, member) for role, name in names.items() if name is not None}


def _summarise(task: WarpTask, result: WarpResult) -> None:
    """Log a line for each detector."""
    kind = "psfMatchedWarp" if result.matches else "warp"
    matches = result.matches or (None,) * len(result.detectors)
    for report, match in zip(result.detectors, matches, strict=True):
        line = f"{report.good_pixels} pixels, scale {report.scale:.6g}"
        if match is not None:
            line += (
                f", FWHM {match.fwhm_in:.3f} to {match.fwhm_out:.3f} of {match.fwhm_model:.3f} "
                f"pixels, sum K^2 {match.noise_gain:.3g}, residual {match.residual:.2g}, "
                f"{match.n_cells} cells"
            )
        elif result.matches:
            line += ", not matched"
        _log.info("%s %s: %s: %s", kind, task.visit.name, report.name, line)


def _metrics(task: WarpTask, result: WarpResult) -> dict[str, Any]:
    """Return the numbers of a warp for the report."""
    covered = result.covered_pixels
    return {
        "detectors": result.used_detectors,
        "good_pixels": result.good_pixels,
        "overlap_pixels": result.overlap_pixels,
        "coverage": covered / result.n_image.size,
        "wcs_error": max(report.wcs_error for report in result.detectors),
        **({} if result.variance_scale is None else {"variance_scale": result.variance_scale}),
        "ccds": [
            {"name": report.name, "good_pixels": report.good_pixels, "scale": report.scale}
            for report in result.detectors
        ],
        "rejected": [
            {"name": member.candidate.name, "reason": reason} for member, reason in task.rejected
        ],
        **_match_metrics(result),
    }


def _match_metrics(result: WarpResult) -> dict[str, Any]:
    """Return the numbers of the match for the report."""
    matches = [match for match in result.matches if match is not None]
    if not matches:
        return {}
    return {
        "model_fwhm": matches[0].fwhm_model,
        "fwhm_in": [match.fwhm_in for match in matches],
        "fwhm_out": [match.fwhm_out for match in matches],
        "noise_gain": max(match.noise_gain for match in matches),
        "residual": max(match.residual for match in matches),
        "cells": sum(match.n_cells for match in matches),
    }
