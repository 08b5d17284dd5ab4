"""What a warp remembers of the visit and of each detector that went into it."""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from skytool.models.pixels import damage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from skytool.models.observation.observation import Observation


@dataclass(frozen=True)
class CcdRecord:
    """One detector of the visit.

    Parameters
    ----------
    id : int
        Unique number of visit and detector: 1000 times the visit plus the detector.
    visit, ccd : int
        Number of the visit and of the detector; -1 if unknown.
    file, extname : str
        Where the detector was read from, without the folder.
    filter_name : str
        Filter.
    goodpix : int
        Good pixels that the detector gives to the target, also those that another covers.
    weight : float
        Weight in a coadd; 1 in a warp.
    scale : float
        Factor from the input's units to those of the warp.
    zero_point : float
        AB magnitude of one input unit; NaN if it is not calibrated.
    sky_added, sky_subtracted : float
        Median of the background added back and of the sky correction subtracted [input unit].
    area : float
        Mean area of a target pixel [pixel of the detector].
    filled : float
        Share of the detector's pixels that were filled before resampling.
    corners_ra, corners_dec : tuple of float
        Sky positions of the four corners [deg].
    exposure_time, mjd, airmass : float
        Exposure time [s], middle of the exposure [d], airmass; NaN if unknown.
    bbox : tuple of int
        ``x0, y0, nx, ny`` of the detector image.
    wcs_header : str
        Its WCS as header cards of 80 characters.
    fwhm_in, fwhm_out : float
        Width of the PSF in a PSF-matched warp before and after, by adaptive moments [pixel].
    noise_gain, residual : float
        Largest factor of the match on white noise, and its largest residual power; NaN, as the
        widths are, where nothing was matched.
    n_cells : int
        Positions at which the PSF was evaluated for the match.
    """

    id: int
    visit: int
    ccd: int
    file: str
    extname: str
    filter_name: str
    goodpix: int
    weight: float
    scale: float
    zero_point: float
    sky_added: float
    sky_subtracted: float
    area: float
    filled: float
    corners_ra: tuple[float, float, float, float]
    corners_dec: tuple[float, float, float, float]
    exposure_time: float
    mjd: float
    airmass: float
    bbox: tuple[int, int, int, int]
    wcs_header: str
    fwhm_in: float = math.nan
    fwhm_out: float = math.nan
    noise_gain: float = math.nan
    residual: float = math.nan
    n_cells: int = 0


@dataclass(frozen=True)
class VisitRecord:
    """The visit as a whole; see `CcdRecord` for the columns they share.

    Parameters
    ----------
    id : int
        Number of the visit; its place in the run if it has none.
    name : str
        The visit as the headers spell it.
    filter_name : str
        Filter of all its detectors.
    goodpix : int
        Sum over the detectors: a pixel that two of them see counts twice.
    weight : float
        Weight in a coadd; 1 in a warp.
    bbox : tuple of int
        ``x0, y0, nx, ny`` of the warp in its parent frame.
    exposure_time, mjd, airmass : float
        Means over the detectors.
    """

    id: int
    name: str
    filter_name: str
    goodpix: int
    weight: float
    bbox: tuple[int, int, int, int]
    exposure_time: float
    mjd: float
    airmass: float


_COLUMNS: dict[str, tuple[str, str, str]] = {
    # attribute: column, FITS format, unit
    "id": ("ID", "K", ""),
    "visit": ("VISIT", "K", ""),
    "ccd": ("CCD", "J", ""),
    "name": ("NAME", "A", ""),
    "file": ("FILE", "A", ""),
    "extname": ("EXTNAME", "A", ""),
    "filter_name": ("FILTER", "A", ""),
    "goodpix": ("GOODPIX", "J", "pixel"),
    "weight": ("WEIGHT", "D", ""),
    "scale": ("SCALE", "D", ""),
    "zero_point": ("ZEROPNT", "D", "mag"),
    "sky_added": ("SKYADD", "D", ""),
    "sky_subtracted": ("SKYSUB", "D", ""),
    "area": ("AREA", "D", "pixel"),
    "filled": ("FILLED", "D", ""),
    "corners_ra": ("RACORN", "4D", "deg"),
    "corners_dec": ("DECCORN", "4D", "deg"),
    "exposure_time": ("EXPTIME", "D", "s"),
    "mjd": ("MJD", "D", "d"),
    "airmass": ("AIRMASS", "D", ""),
    "bbox": ("BBOX", "4J", "pixel"),
    "wcs_header": ("WCSHDR", "A", ""),
    "fwhm_in": ("FWHMIN", "D", "pixel"),
    "fwhm_out": ("FWHMOUT", "D", "pixel"),
    "noise_gain": ("NOISEGN", "D", ""),
    "residual": ("MATCHRES", "D", ""),
    "n_cells": ("NCELLS", "J", ""),
}


def records_table(records: Sequence[CcdRecord | VisitRecord], name: str) -> fits.BinTableHDU:
    """Return a table with a row per record.

    Parameters
    ----------
    records : sequence of CcdRecord or of VisitRecord
        At least one, all of one kind.
    name : str
        ``CCDS`` or ``VISITS``.
    """
    columns = []
    for attribute in (entry.name for entry in fields(records[0])):
        column, code, unit = _COLUMNS[attribute]
        values: list[Any] = [getattr(record, attribute) for record in records]
        if code == "A":
            width = max(1, *(len(value) for value in values))
            code, values = f"{width}A", [value.encode("ascii", "replace") for value in values]
        columns.append(fits.Column(column, code, unit=unit or None, array=np.array(values)))
    return fits.BinTableHDU.from_columns(columns, name=name)


def with_unique_ids(records: Iterable[CcdRecord]) -> list[CcdRecord]:
    """Return records of which no two have one number: the later of two gets the next free one."""
    taken: set[int] = set()
    unique = []
    for record in records:
        number = record.id
        while number in taken:
            number += 1
        taken.add(number)
        unique.append(replace(record, id=number))
    return unique


def recorded_times(seen: Observation) -> dict[str, Any]:
    """Return when and how long was observed, as records have it: NaN where that is unknown."""
    values = {
        "exposure_time": seen.exposure_time,
        "mjd": seen.mjd_mid,
        "airmass": seen.airmass,
    }
    return {name: math.nan if value is None else value for name, value in values.items()}


def read_ccd_records(hdu: fits.BinTableHDU, *, name: str = "") -> list[CcdRecord]:
    """Read the table that `records_table` wrote as ``CCDS``.

    Parameters
    ----------
    hdu : BinTableHDU
        The table.
    name : str
        What messages call its file.

    Raises
    ------
    InputError
        If a column is missing, or the table is damaged.
    """
    with damage_errors(f"{name}: the table {hdu.name}"):
        return [CcdRecord(**_row(hdu, row, CcdRecord)) for row in hdu.data]


def read_visit_records(hdu: fits.BinTableHDU, *, name: str = "") -> list[VisitRecord]:
    """Read the table that `records_table` wrote as ``VISITS``; as `read_ccd_records`."""
    with damage_errors(f"{name}: the table {hdu.name}"):
        return [VisitRecord(**_row(hdu, row, VisitRecord)) for row in hdu.data]


def _row(
    hdu: fits.BinTableHDU, row: Any, kind: type[CcdRecord] | type[VisitRecord]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for entry in fields(kind):
        attribute = entry.name
        column, code, _ = _COLUMNS[attribute]
        if column not in hdu.columns.names and entry.default is not MISSING:
            continue
        value = row[column]
        if code == "A":
            values[attribute] = str(value)
        elif code[0] == "4":
            values[attribute] = tuple(value.tolist())
        else:
            values[attribute] = value.item() if hasattr(value, "item") else value
    return values
