"""The file of a coadd: planes, number of inputs, records, provenance."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from astropy.io import fits

from skytool.models.merged_records import CCDS_PER_VISIT, WarpRecords
from skytool.models.provenance import (
    InputRecord,
    SettingRecord,
    config_table,
    earlier_settings,
    fingerprint,
    inputs_table,
    merged_settings,
    read_inputs,
)
from skytool.models.records import (
    CcdRecord,
    VisitRecord,
    read_ccd_records,
    read_visit_records,
    records_table,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from skytool.cli.coadd_units import CoaddTask, ReadWarp
    from skytool.io.sources import ExposureSource
    from skytool.models.exposure import Exposure
    from skytool.stages.coadd import CoaddResult, InputReport

_UNUSABLE = "no usable pixel"


def product_fingerprint(task: CoaddTask) -> str:
    """Return what changes whenever the product of a task may change."""
    return fingerprint([source.digest() for source in task.sources], task.settings)


def read_records(
    exposure: Exposure, source: ExposureSource, index: int
) -> tuple[WarpRecords, tuple[SettingRecord, ...], tuple[InputRecord, ...]]:
    """Return what a warp remembers: its visits and detectors, its settings, its inputs.

    An image that remembers nothing is a visit of one detector.

    Parameters
    ----------
    exposure : Exposure
        The warp.
    source : ExposureSource
        Where it was read.
    index : int
        Its place among the inputs, the number of a visit that has none.

    Raises
    ------
    InputError
        If a table is damaged.
    """
    tables = {hdu.name: hdu for hdu in exposure.extensions}
    name = exposure.name
    inputs = read_inputs(tables["INPUTS"], name=name) if "INPUTS" in tables else []
    # columns of their own may contradict those of other warps
    earlier = tuple(replace(record, extra={}) for record in inputs)
    settings = tuple(earlier_settings(exposure.extensions, name=name))
    if "VISITS" not in tables or "CCDS" not in tables:
        return _own_records(exposure, source, index), settings, earlier
    records = WarpRecords(
        tuple(read_visit_records(tables["VISITS"], name=name)),
        tuple(read_ccd_records(tables["CCDS"], name=name)),
        {},
    )
    return records, settings, earlier


def _own_records(exposure: Exposure, source: ExposureSource, index: int) -> WarpRecords:
    """Return the records of an image on its own."""
    from skytool.models.geometry import celestial_header, footprint_edges
    from skytool.models.observation import observation_from_header

    seen = observation_from_header(source.header)
    number = index if seen.visit_number is None else seen.visit_number
    ny, nx = exposure.shape
    bbox = (exposure.origin.x, exposure.origin.y, nx, ny)
    times = {
        key: math.nan if value is None else value
        for key, value in {
            "exposure_time": seen.exposure_time,
            "mjd": seen.mjd_mid,
            "airmass": seen.airmass,
        }.items()
    }
    nowhere = (math.nan,) * 4
    corners, cards = (nowhere, nowhere), ""
    if exposure.wcs is not None:
        ra, dec = footprint_edges(exposure.wcs, exposure.shape, 1, name=exposure.name)
        corners = tuple(float(value) for value in ra), tuple(float(value) for value in dec)  # type: ignore[assignment]
        cards = celestial_header(exposure.wcs).tostring(endcard=False)
    goodpix = int((~exposure.mask.any_of(["NO_DATA"])).sum())
    ccd = CcdRecord(
        id=CCDS_PER_VISIT * number + (seen.detector or 0),
        visit=number,
        ccd=-1 if seen.detector is None else seen.detector,
        file=source.path.name,
        extname=str(source.extension),
        filter_name=seen.filter,
        goodpix=goodpix,
        weight=1.0,
        scale=1.0,
        zero_point=math.nan if exposure.calibration is None else exposure.calibration.zero_point,
        sky_added=0.0,
        sky_subtracted=0.0,
        area=1.0,
        filled=0.0,
        corners_ra=corners[0],
        corners_dec=corners[1],
        bbox=bbox,
        wcs_header=cards,
        **times,
    )
    visit = VisitRecord(
        id=number,
        name=seen.visit or source.name,
        filter_name=seen.filter,
        goodpix=goodpix,
        weight=1.0,
        bbox=bbox,
        **times,
    )
    return WarpRecords((visit,), (ccd,), {})


def write_coadd(task: CoaddTask, warps: Sequence[ReadWarp], result: CoaddResult) -> None:
    """Write a coadd with its records.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from skytool.io.fits import write_hdus
    from skytool.models.exposure_hdus import primary_header, to_hdus
    from skytool.models.geometry import celestial_header, origin_cards
    from skytool.models.provenance import history_line

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
        if known is not None:
            visit = replace(  # noqa: PLW2901  the sum of both
                known, goodpix=known.goodpix + visit.goodpix, weight=known.weight + visit.weight
            )
        merged[visit.id] = visit
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
    from skytool.models.observation import observation_from_header

    seen = observation_from_header(source.header)
    extension = source.extension
    name, version = extension if isinstance(extension, tuple) else (extension, 1)
    return InputRecord(
        role="warp",
        file=source.path.name,
        extname=str(name),
        extver=version,
        datasum=source.datasum(),
        visit=seen.visit,
        detector="",
        weight=report.weight,
        scale=report.scale,
        status="used" if report.weight > 0.0 else "skipped",
        reason="" if report.weight > 0.0 else _UNUSABLE,
        extra={"NUSED": float(report.used), "NCLIPPED": float(report.clipped)},
    )
