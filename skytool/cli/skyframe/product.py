"""The files of ``skytool skyframe build``: frames with their records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.cli.members import member_record
from skytool.models.records.provenance import config_table, history_line, inputs_table

if TYPE_CHECKING:
    from skytool.cli.skyframe.build_units import BuildTask
    from skytool.models.records.provenance import InputRecord
    from skytool.models.skyframe import SkyFrame
    from skytool.stages.skyframe import BuildResult

BUILD = "skyframe build"


def write_frame(task: BuildTask, detector: str, frame: SkyFrame, result: BuildResult) -> None:
    """Write a sky frame with its records.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from skytool.io.fits import write_hdus
    from skytool.models.exposure import Exposure
    from skytool.models.exposure_hdus import primary_header

    metrics = frame_metrics(detector, frame, result)
    primary = primary_header(
        Exposure(frame.image, frame.mask, frame.variance, header=frame.header, name=frame.name),
        kind="SKYFRAME",
        stage=BUILD,
        history=history_line(BUILD, f"{metrics['exposures']} exposures"),
        cards={
            "OBSTYPE": ("SKY", "kind of calibration"),
            "SKYDET": (detector or None, "detector"),
            "FILTER": result.filter_name or None,
            "NINPUT": (metrics["exposures"], "exposures in the frame"),
            "PATRMS": (metrics["pattern_rms"], "rms of the pattern"),
            "PATERR": (metrics["error"], "median standard error of a superpixel"),
            "MASKCORR": (result.mask_overlap, "correlation of object masks of exposures"),
            "SKYPRINT": task.fingerprint or None,
        },
    )
    frame.add_cards(primary)
    hdus = [
        *frame.to_hdus(),
        inputs_table(_records(task, detector, result)),
        config_table(task.settings),
    ]
    write_hdus(
        task.outputs[detector],
        hdus,
        primary=primary,
        overwrite=task.overwrite,
        compress=task.compress,
    )


def _records(task: BuildTask, detector: str, result: BuildResult) -> list[InputRecord]:
    """Return a row for every exposure of a detector, also those that were not used."""
    reports = {report.visit: report for report in result.exposures}
    records = []
    for member in task.members:
        if member.detector != detector:
            continue
        report = reports[member.visit]
        reason = result.skipped.get((member.visit, detector), "")
        extra: dict[str, Any] = {
            "SLOPE": report.slope,
            "SLOPEERR": report.slope_error,
            "CORR": report.correlation,
            "CHI2": report.chi2,
        }
        for number, strength in enumerate(report.strengths, start=1):
            extra[f"STRENGTH{number}"] = strength
        records.append(
            member_record(
                member,
                role="sky",
                scale=report.level,
                status="skipped" if reason else "used",
                reason=reason,
                extra=extra,
            )
        )
    return records


def frame_metrics(detector: str, frame: SkyFrame, result: BuildResult) -> dict[str, Any]:
    """Return the numbers of a frame for the report."""
    from skytool.models.skyframe import pattern_rms

    measured = ~frame.mask.any_of(["NO_DATA"])
    variance = frame.variance[np.isfinite(frame.variance)]
    counts = frame.n_image
    skipped = {visit for visit, its in result.skipped if its == detector}
    used = [report for report in result.exposures if report.used and report.visit not in skipped]
    return {
        "detector": detector or None,
        "exposures": len(used),
        "pattern_rms": pattern_rms(frame),
        "error": float(np.sqrt(np.median(variance))) if variance.size else None,
        "superpixels": int(measured.size),
        "filled": int(measured.size - measured.sum()),
        "least_exposures": None if counts is None else int(counts[measured].min(initial=32767)),
        "chi2": None if frame.chi2 is None else float(np.nanmedian(frame.chi2)),
        "mask_overlap": result.mask_overlap,
        "levels": {report.visit: report.level for report in used},
        "left_out": {
            visit: reason for (visit, its), reason in result.skipped.items() if its == detector
        },
    }
