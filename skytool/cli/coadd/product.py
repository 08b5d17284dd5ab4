"""The file of a coadd: planes, number of inputs, records, provenance."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from astropy.io import fits

from skytool.models.records.provenance import (
    InputRecord,
    config_table,
    fingerprint,
    inputs_table,
    merged_settings,
)
from skytool.models.records.warp import VisitRecord, records_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from skytool.cli.coadd.units import CoaddTask, ReadWarp
    from skytool.io.sources import ExposureSource
    from skytool.stages.coadd import CoaddResult, InputReport

_UNUSABLE = "no usable pixel"


def product_fingerprint(task: CoaddTask) -> str:
    """Return what changes whenever the product of a task may change."""
    return fingerprint([source.digest() for source in task.sources], task.settings)


def write_coadd(task: CoaddTask, warps: Sequence[ReadWarp], result: CoaddResult) -> None:
    """Write a coadd with its records.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from skytool.io.fits import write_hdus
    from skytool.models.exposure_hdus import primary_header, to_hdus
    from skytool.models.records.provenance import history_line
    from skytool.models.sky.geometry import celestial_header, origin_cards

    exposure = result.exposure
    records = [
        warp.records.weighted(report.weight)
        for warp, report in zip(warps, result.inputs, strict=True)
    ]
    visits = _together(visit for entry in records for visit in entry.visits)
    primary = primary_header(
        exposure,
        kind="COADD",
        stage="coadd",
        history=history_line("coadd", f"{len(warps)} inputs, {task.config.statistic}"),
        cards=_cards(task, result, visits),
    )
    place = fits.Header() if exposure.wcs is None else celestial_header(exposure.wcs)
    place.extend(origin_cards(exposure.origin))
    hdus = [
        *to_hdus(exposure),
        fits.ImageHDU(result.n_image, name="NIMAGE", header=place),
        records_table(visits, "VISITS"),
        records_table([ccd for entry in records for ccd in entry.ccds], "CCDS"),
        inputs_table(_input_records(task, warps, result)),
        config_table(merged_settings([*(warp.settings for warp in warps), task.settings])),
    ]
    write_hdus(task.output, hdus, primary=primary, overwrite=task.overwrite, compress=task.compress)


def _together(visits: Iterable[VisitRecord]) -> list[VisitRecord]:
    """Return one record for every visit; two warps may show different detectors of one."""
    merged: dict[int, VisitRecord] = {}
    for visit in visits:
        known = merged.get(visit.id)
        merged[visit.id] = (
            visit
            if known is None
            else replace(
                known, goodpix=known.goodpix + visit.goodpix, weight=known.weight + visit.weight
            )
        )
    return list(merged.values())


def _cards(task: CoaddTask, result: CoaddResult, visits: Sequence[VisitRecord]) -> dict[str, Any]:
    """Return the cards of the primary that only a coadd has."""
    exposed = [visit for visit in visits if visit.weight > 0.0]
    times = [visit.exposure_time for visit in exposed]
    dates = [visit.mjd for visit in exposed]
    cards: dict[str, Any] = {
        "FILTER": task.filter_name or None,
        "STATIST": (task.config.statistic, "how the values of a pixel became one"),
        "WEIGHTBY": (task.config.weight, "what weights were given by"),
        "NINPUT": (len(exposed), "visits in this coadd"),
        "NCOVERED": (int((result.n_image > 0).sum()), "pixels with a value"),
        "SKYPRINT": product_fingerprint(task),
    }
    if all(map(math.isfinite, times)):
        cards["EXPTIME"] = (math.fsum(times), "[s] of all visits together")
    if all(map(math.isfinite, dates)):
        cards["MJD-AVG"] = (math.fsum(dates) / len(dates), "[d] mean of the visits")
    return cards


def _input_records(
    task: CoaddTask, warps: Sequence[ReadWarp], result: CoaddResult
) -> list[InputRecord]:
    """Return a row for every warp, then those of what the warps were made of."""
    own = [
        _input_record(source, report)
        for source, report in zip(task.sources, result.inputs, strict=True)
    ]
    return own + [record for warp in warps for record in warp.inputs]


def _input_record(source: ExposureSource, report: InputReport) -> InputRecord:
    from skytool.io.input_records import input_record
    from skytool.models.observation.observation import observation_from_header

    return input_record(
        source,
        role="warp",
        visit=observation_from_header(source.header).visit,
        weight=report.weight,
        scale=report.scale,
        status="used" if report.weight > 0.0 else "skipped",
        reason="" if report.weight > 0.0 else _UNUSABLE,
        extra={"NUSED": float(report.used), "NCLIPPED": float(report.clipped)},
    )
