"""What the header of an exposure says of the observation: when, with what, which visit."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from astropy.io import fits

from skytool.errors import IncompatibleError
from skytool.models.observation.epochs import exposure_dates, start_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

VISIT_KEYS = ("VISIT", "EXPNUM", "EXPID", "EXP-ID", "OBSID", "FRAMEID")
"""Keywords that name a visit; the first present does."""

# Space telescopes call a series of exposures a visit.
_OWN_VISIT_KEYS = {"HST": ("ROOTNAME",), "JWST": ("OBS_ID", "EXPOSURE")}
_DETECTOR_KEYS = (
    *("DETECTOR", "CCDNUM", "CCD", "CHIP", "DET-ID", "DETID", "CCDID", "CCD_ID", "CHIPID"),
    *("CCDCHIP", "CCDNO", "CAMNUM", "CHIPNUM", "ESO DET CHIP NO", "EXTNAME"),
)
_DETECTOR_NAME_KEYS = ("DETPOS", "DETECTOR", "CCDNAME", "CCD", "CHIP", "CHIPID", "EXTNAME")
_NUMBERED = re.compile(r"(?:ccd|chip|det|detector|im|image|ext|sci)?[-_ #]*(\d+)$", re.IGNORECASE)
_NO_DETECTOR_NAMES = {"SCI", "IMAGE", "PRIMARY", "COMPRESSED_IMAGE", "DATA", ""}
_FILTER_KEYS = ("FILTER", "FILTNAM", "FILTNAME", "FILTER01", "INSFILTE", "FILT", "BAND")
_FILTER_WHEELS = ("FILTER1", "FILTER2", "FILTER3")
_NO_FILTER = re.compile(r"(clear|open|none|empty|blank|n/?a|air|null|unknown)", re.IGNORECASE)
_EXPOSURE_KEYS = ("EXPTIME", "EXPOSURE", "XPOSURE", "EXP_TIME", "TEXPTIME", "ITIME", "EFFEXPTM")
_AIRMASS_KEYS = ("AIRMASS", "BORE-AIRMASS", "SECZ", "AM", "TELAM", "ESO TEL AIRM START")
_UNKNOWN = {"", "NONE", "UNKNOWN", "N/A", "NULL", "-1"}

_SURVEY = r"(?:sdss|sloan|hsc|lsst|ps1|des|decam|megacam|panstarrs)"
_BANDS = (
    (re.compile(rf"{_SURVEY}[-_ .']*([ugrizy])(?:2|p|')?(?:[-_ .].*)?$", re.IGNORECASE), str.lower),
    (re.compile(rf"([ugrizy])['p_]?s?[-_ .]*(?:{_SURVEY}|mp\d+)\b.*$", re.IGNORECASE), str.lower),
    (re.compile(r"([ugrizy])(?:['p]|_?s|[-_]\d+)$"), str.lower),
    (re.compile(r"(?:bessell?|johnson|cousins)[-_ .]*([ubvri])c?$", re.IGNORECASE), str.upper),
    (re.compile(r"W-[JC]-([A-Z])C?$"), str.upper),
    (re.compile(r"W-S-([A-Z])\+$"), str.lower),
)


@dataclass(frozen=True)
class Observation:
    """One detector's exposure as its header describes it.

    Parameters
    ----------
    visit : str
        Visit by `visit_key`'s usual keywords; empty if the header has none of them.
    detector : int or None
        Number of the detector.
    detector_name : str
        Its name, as the header has it; empty if it has none.
    filter : str
        Filter as the header has it, with single blanks; empty if unknown.
    band : str
        Short name of the filter: ``i`` of ``i DECam SDSS c0003 7835.0 1470.0``.
    exposure_time : float or None
        Length of the exposure [s].
    mjd_start, mjd_mid : float or None
        Begin and middle of the exposure [d, modified Julian date, UTC].
    airmass : float or None
        As the header has it.
    telescope, instrument, target : str
        Names; empty if unknown.
    header : `~astropy.io.fits.Header`
        All the cards, for what is resolved later.
    """

    visit: str
    detector: int | None
    detector_name: str
    filter: str
    band: str
    exposure_time: float | None
    mjd_start: float | None
    mjd_mid: float | None
    airmass: float | None
    telescope: str
    instrument: str
    target: str
    header: fits.Header = field(repr=False, compare=False)

    @property
    def visit_number(self) -> int | None:
        """The visit as a number, None if it is none."""
        return int(self.visit) if self.visit.isdecimal() else None


def observation_from_header(header: fits.Header) -> Observation:
    """Return what a header says of the observation.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Cards of an image, and of its primary.

    Returns
    -------
    Observation
        What is missing or impossible is None or empty.
    """
    exposure_time = next((t for t in _numbers(header, _EXPOSURE_KEYS) if t >= 0.0), None)
    start, middle = exposure_dates(header, exposure_time)
    filter_name = _filter_name(header)
    return Observation(
        visit=_usual_visit(header) or "",
        detector=_detector_number(header),
        detector_name=_detector_name(header),
        filter=filter_name,
        band=_text(header, "BAND") or band_of(filter_name),
        exposure_time=exposure_time,
        mjd_start=start,
        mjd_mid=middle,
        airmass=next((x for x in _numbers(header, _AIRMASS_KEYS) if 0.99 <= x < 40.0), None),
        telescope=_text(header, "TELESCOP"),
        instrument=_text(header, "INSTRUME"),
        target=_text(header, "OBJECT"),
        header=header,
    )


def visit_key(header: fits.Header, keys: Sequence[str] | None = None, *, name: str = "") -> str:
    """Return what exposures of one visit have in common, and no other one has.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Cards of an image, and of its primary.
    keys : sequence of str, optional
        Keywords whose values together name the visit. By default the first of VISIT, EXPNUM, EXPID,
        EXP-ID, OBSID and FRAMEID (without the digits of the detector) that is there, of space
        telescopes their name of the exposure; else the begin of the exposure, if it has a time of day, and the filter.
    name : str
        What messages call the image, ``FILE[EXT]``. It is the visit where nothing else names it, so
        that the detectors of a file stay together.

    Returns
    -------
    str
        A visit number without leading zeros, or text; values of several keywords are joined by
        hyphens.

    Raises
    ------
    IncompatibleError
        If one of ``keys`` is missing or empty.
    """
    if keys:
        values = [_value(header, key) for key in keys]
        for key, value in zip(keys, values, strict=True):
            if value is None:
                raise IncompatibleError(
                    f"{name or 'an exposure'} has no value of {key}, which is to name its visit.",
                    hint="Change --group-by.",
                )
        return "-".join(filter(None, values))
    visit = _usual_visit(header)
    if visit is None:
        start = start_text(header)
        visit = "-".join(filter(None, (start, _filter_name(header)))) if start else None
    return visit or name.split("[", 1)[0]


def band_of(filter_name: str) -> str:
    """Return the short name of a filter.

    Parameters
    ----------
    filter_name : str
        Filter as cameras write it: ``SDSS i``, ``HSC-R2``, ``r_57``, ``gp``, ``i.MP9702``,
        ``Bessell V``, ``z DECam SDSS c0004 9260.0 1520.0``.

    Returns
    -------
    str
        Lower case for the ugrizy system, upper case for that of Johnson; of other filters the first
        word.
    """
    for pattern, case in _BANDS:
        match = pattern.match(filter_name)
        if match:
            return case(match[1])
    return filter_name.split(" ", 1)[0]


def check_single_filter(observations: Iterable[tuple[str, Observation]]) -> str:
    """Return the filter that exposures have in common.

    Parameters
    ----------
    observations : iterable of (str, Observation)
        What messages call each exposure, and what its header says.

    Raises
    ------
    IncompatibleError
        If two exposures have different filters; one without any fits to all.
    """
    chosen: tuple[str, str] | None = None
    for name, observation in observations:
        if not observation.filter:
            continue
        if chosen is None:
            chosen = name, observation.filter
        elif chosen[1] != observation.filter:
            raise IncompatibleError(
                f"the filters differ: {chosen[0]} has {chosen[1]!r}, {name} has "
                f"{observation.filter!r}.",
                hint="Give exposures of one filter.",
            )
    return chosen[1] if chosen else ""


def _usual_visit(header: fits.Header) -> str | None:
    """Return the visit by the usual keywords."""
    own = _OWN_VISIT_KEYS.get(_text(header, "TELESCOP").upper())
    if own is not None:
        values = [_value(header, key) for key in own]
        return None if None in values else "-".join(filter(None, values))
    for key in VISIT_KEYS:
        value = _value(header, key)
        if value is not None:
            return _without_detector(value) if key == "FRAMEID" else value
    return None


def _without_detector(frame: str) -> str:
    """Return a FRAMEID of a Subaru camera without the digits of the detector."""
    match = re.fullmatch(r"(SUPA\d{7})\d", frame)
    if match:
        return match[1]
    match = re.fullmatch(r"(HSC[A-Z])(\d{6})\d{2}", frame)
    if match:  # the 112 detectors of a visit take an even number and the odd one after it
        return f"{match[1]}{int(match[2]) // 2 * 2:06d}"
    return frame


def _detector_number(header: fits.Header) -> int | None:
    """Return the number of the detector."""
    for key in _DETECTOR_KEYS:
        value = header.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        match = _NUMBERED.match(value.strip()) if isinstance(value, str) else None
        if match:
            return int(match[1])
    version = header.get("EXTVER")
    several = str(header.get("EXTNAME", "")).strip().upper() == "SCI"
    return version if several and isinstance(version, int) else None


def _detector_name(header: fits.Header) -> str:
    """Return the name of the detector as the header has it."""
    names = (_text(header, key) for key in _DETECTOR_NAME_KEYS)
    return next((name for name in names if name.upper() not in _NO_DETECTOR_NAMES), "")


def _filter_name(header: fits.Header) -> str:
    """Return the filter; of several wheels those that are not empty."""
    for key in _FILTER_KEYS:
        name = _text(header, key)
        if name:
            return name
    wheels = [_text(header, key) for key in _FILTER_WHEELS]
    used = [name for name in wheels if name and not _NO_FILTER.match(name)]
    return "+".join(used) or next(filter(None, wheels), "")


def _numbers(header: fits.Header, keys: Iterable[str]) -> Iterable[float]:
    """Yield the finite numbers among some cards."""
    for key in keys:
        try:
            value = float(header.get(key, "nan"))
        except (TypeError, ValueError):
            continue
        if math.isfinite(value):
            yield value


def _value(header: fits.Header, key: str) -> str | None:
    """Return the value of a card as text without leading zeros; None if it says nothing."""
    text = _text(header, key)
    if text.upper() in _UNKNOWN:
        return None
    return str(int(text)) if text.isdecimal() else text


def _text(header: fits.Header, key: str) -> str:
    """Return the value of a card as text with single blanks; empty if there is none."""
    value = header.get(key)
    if value is None or isinstance(value, (bool, fits.card.Undefined)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(str(value).split())
