"""Warps with what they remember of the exposures that went into them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from skytool.io.filespec import FileSpec
from skytool.io.fits import opened
from skytool.io.rows import has_sections
from skytool.models.exposure_hdus import from_hdus
from skytool.models.records.merged import CCDS_PER_VISIT, WarpRecords
from skytool.models.records.provenance import earlier_settings, read_inputs
from skytool.models.records.warp import (
    CcdRecord,
    VisitRecord,
    read_ccd_records,
    read_visit_records,
    recorded_times,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astropy.io import fits

    from skytool.io.sources import ExposureSource
    from skytool.models.exposure import Exposure
    from skytool.models.records.provenance import InputRecord, SettingRecord


@dataclass(frozen=True, eq=False)
class StoredWarp:
    """A warp, or another image on a grid.

    Parameters
    ----------
    exposure : Exposure
        Its planes, calibration and PSF; not always its coordinates.
    records : WarpRecords
        Its visits and detectors; an image that remembers nothing is a visit of one detector.
    settings : tuple of SettingRecord
        How it was made.
    inputs : tuple of InputRecord
        What it was made of, without the columns that only some stages have.
    """

    exposure: Exposure
    records: WarpRecords
    settings: tuple[SettingRecord, ...]
    inputs: tuple[InputRecord, ...]


def read_warp(source: ExposureSource, index: int) -> StoredWarp:
    """Read a warp.

    Parameters
    ----------
    source : ExposureSource
        Where it is.
    index : int
        Number of the visit if it has none.

    Raises
    ------
    InputError
        If the file cannot be read, or a plane or table is damaged.
    IncompatibleError
        As `~skytool.io.sources.ExposureSource.read`.
    """
    if not has_sections(source):
        exposure = source.read()
        return _stored(exposure, exposure.extensions, source, index)
    with opened(FileSpec(source.path), verify=source.options.verify) as hdus:
        exposure = from_hdus(hdus, name=source.name, planes_only=True)
        return _stored(exposure, hdus[1:], source, index)


def _stored(
    exposure: Exposure,
    hdus: Iterable[fits.ImageHDU | fits.BinTableHDU],
    source: ExposureSource,
    index: int,
) -> StoredWarp:
    """Return a warp with what the tables among extensions say of it."""
    tables = {hdu.name: hdu for hdu in hdus if hdu.name in {"VISITS", "CCDS", "INPUTS", "CONFIG"}}
    name = source.name
    inputs = read_inputs(tables["INPUTS"], name=name) if "INPUTS" in tables else []
    if "VISITS" in tables and "CCDS" in tables:
        records = WarpRecords(
            tuple(read_visit_records(tables["VISITS"], name=name)),
            tuple(read_ccd_records(tables["CCDS"], name=name)),
            {},
        )
    else:
        records = _own_records(exposure, source, index)
    return StoredWarp(
        exposure,
        records,
        tuple(earlier_settings(tables.values(), name=name)),
        # further columns may contradict those of other warps
        tuple(replace(record, extra={}) for record in inputs),
    )


def _own_records(exposure: Exposure, source: ExposureSource, index: int) -> WarpRecords:
    """Return the records of an image on its own."""
    from skytool.models.observation.observation import observation_from_header
    from skytool.models.sky.geometry import celestial_header, footprint_edges

    seen = observation_from_header(source.header)
    number = index if seen.visit_number is None else seen.visit_number
    ny, nx = exposure.shape
    bbox = (exposure.origin.x, exposure.origin.y, nx, ny)
    times = recorded_times(seen)
    nowhere = (math.nan,) * 4
    corners, cards = (nowhere, nowhere), ""
    wcs = source.wcs()
    if wcs is not None:
        ra, dec = footprint_edges(wcs, exposure.shape, 1, name=exposure.name)
        corners = tuple(float(value) for value in ra), tuple(float(value) for value in dec)  # type: ignore[assignment]
        cards = celestial_header(wcs).tostring(endcard=False)
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
