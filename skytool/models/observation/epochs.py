"""Dates of observations as modified Julian dates in UTC."""

from __future__ import annotations

import bisect
import datetime as dt
import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astropy.io import fits

_ISO = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"(?:[T ](?P<time>\d\d?:\d\d(?::\d\d?(?:\.\d*)?)?))?(?:Z|\+00:00)?$"
)
_OLD = re.compile(r"(?P<day>\d\d)/(?P<month>\d\d)/(?P<year>\d\d)$")
_CLOCK = re.compile(r"(\d\d?):(\d\d)(?::(\d\d?(?:\.\d*)?))?$")
_MJD_ZERO = dt.date(1858, 11, 17).toordinal()
_DAY = 86400.0

# First day [MJD, UTC] of each difference TAI - UTC, from 10 s on (IERS Bulletin C).
_LEAPS = (
    *(41317, 41499, 41683, 42048, 42413, 42778, 43144, 43509, 43874, 44239),
    *(44786, 45151, 45516, 46247, 47161, 47892, 48257, 48804, 49169, 49534),
    *(50083, 50630, 51179, 53736, 54832, 56109, 57204, 57754),
)
_BEHIND_TAI = {"TAI": 0.0, "TT": -32.184, "TDT": -32.184, "ET": -32.184, "TDB": -32.184}

_START_DATES = ("DATE-OBS", "DATE-BEG")
_START_MJDS = ("MJD-OBS", "MJD-BEG", "MJD-STR", "EXPSTART", "MJD_OBS", "MJD")
_END_DATES = ("DATE-END",)
_END_MJDS = ("MJD-END", "EXPEND")
_MID_DATES = ("DATE-AVG",)
_MID_MJDS = ("MJD-AVG", "MJD-MID", "EXPMID")
_CLOCKS = ("TIME-OBS", "UTC-OBS", "UT-OBS", "UTSTART", "UT-STR", "UTC-STR", "UTC", "UT")


def mjd_of_date(text: str, clock: str = "") -> float | None:
    """Return the modified Julian date of a calendar date.

    Parameters
    ----------
    text : str
        ``2017-03-16T06:18:30.75``, ``2017-03-16``, or ``16/03/97`` for a day before 2000.
    clock : str
        Time of the day, ``06:18:30.75``, for a date without one.

    Returns
    -------
    float or None
        Days, in the time scale of the date; None if it is no date, or has no time of day.
    """
    match = _ISO.match(text.strip()) or _OLD.match(text.strip())
    if match is None:
        return None
    parts = match.groupdict()
    time = _CLOCK.match((parts.get("time") or clock).strip())
    if time is None:
        return None
    year = int(parts["year"]) + (1900 if len(parts["year"]) == 2 else 0)
    try:
        day = dt.date(year, int(parts["month"]), int(parts["day"])).toordinal()
    except ValueError:
        return None
    hours, minutes, seconds = int(time[1]), int(time[2]), float(time[3] or 0.0)
    if hours > 23 or minutes > 59 or seconds >= 61.0:
        return None
    return day - _MJD_ZERO + (hours * 3600 + minutes * 60 + seconds) / _DAY


def utc_of(mjd: float, scale: str) -> float:
    """Return a modified Julian date in UTC.

    Parameters
    ----------
    mjd : float
        Date in a time scale [d].
    scale : str
        Its FITS name: UTC, TAI, TT, TDB, GPS, ...; unknown ones are taken for UTC.

    Returns
    -------
    float
        The same instant in UTC [d], for TDB to 2 ms. Before 1972 nothing is subtracted for leap
        seconds.
    """
    name = scale.strip().upper().split("(")[0]
    behind = 19.0 if name == "GPS" else _BEHIND_TAI.get(name)
    if behind is None:
        return mjd
    tai = mjd + behind / _DAY
    starts = [day + (10 + index) / _DAY for index, day in enumerate(_LEAPS)]  # in TAI
    count = bisect.bisect_right(starts, tai)
    return tai - (9 + count) / _DAY if count else tai


def exposure_dates(
    header: fits.Header, exposure_time: float | None
) -> tuple[float | None, float | None]:
    """Return when an exposure began and the middle of it.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Cards of the observation; TIMESYS is the scale of all dates, UTC without it.
    exposure_time : float or None
        Length of the exposure [s].

    Returns
    -------
    start, middle : float or None
        Modified Julian dates [d, UTC]. The middle is that of DATE-AVG, MJD-AVG or MJD-MID, else
        half-way between start and end, else half the exposure time after the start.
    """
    scale = str(header.get("TIMESYS", "UTC"))
    clock = _clock(header)

    def first(dates: Iterable[str], mjds: Iterable[str], clock: str = "") -> float | None:
        found = [mjd_of_date(str(header[key]), clock) for key in dates if key in header]
        found += [_date(header[key]) for key in mjds if key in header]
        mjd = next((value for value in found if value is not None), None)
        return None if mjd is None else utc_of(mjd, scale)

    start = first(_START_DATES, _START_MJDS, clock)
    end = first(_END_DATES, _END_MJDS)
    middle = first(_MID_DATES, _MID_MJDS)
    if middle is None and start is not None and end is not None and end > start:
        middle = (start + end) / 2.0
    if middle is None and start is not None and exposure_time is not None:
        middle = start + exposure_time / 2.0 / _DAY
    if start is None and middle is not None and exposure_time is not None:
        start = middle - exposure_time / 2.0 / _DAY
    return start, middle


def start_text(header: fits.Header) -> str:
    """Return the begin of an exposure as the header has it, to the second or better.

    Returns
    -------
    str
        DATE-OBS with a time of day, or MJD-OBS; empty if the header has no time of day.
    """
    date = str(header.get("DATE-OBS", "")).strip()
    clock = _clock(header)
    if mjd_of_date(date, "") is not None:
        return date
    if mjd_of_date(date, clock) is not None:
        return f"{date}T{clock}"
    return str(header["MJD-OBS"]) if _date(header.get("MJD-OBS")) is not None else ""


def _clock(header: fits.Header) -> str:
    """Return the time of day of a header that has it apart from the date."""
    return next((header[key].strip() for key in _CLOCKS if isinstance(header.get(key), str)), "")


def _date(value: object) -> float | None:
    """Return a card as a modified Julian date, None if it is none of the last two centuries."""
    try:
        mjd = float(str(value))
    except ValueError:
        return None
    return mjd if math.isfinite(mjd) and 0.0 < mjd < 1e5 else None
