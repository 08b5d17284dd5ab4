"""The direction of a telescope as its header has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.core.refraction.horizon import elevation_at, equatorial, horizontal, parallactic_angle
from skytool.models.observation.header_values import (
    Found,
    comment_of,
    first_number,
    is_sexagesimal,
    number_of,
)

if TYPE_CHECKING:
    from astropy.io import fits

    from skytool.models.observation.observation import Observation

_POSITION_KEYS = (
    ("BORE-RA", "BORE-DEC"),
    ("RA", "DEC"),
    ("TELRA", "TELDEC"),
    ("RA2000", "DEC2000"),
    ("RA_DEG", "DEC_DEG"),
    ("RA_OBS", "DEC_OBS"),
    ("OBJRA", "OBJDEC"),
    ("RA_TARG", "DEC_TARG"),
)
_VISIT_INFO = ("BORE-ALT", "BORE-AZ")
_ALTITUDE_KEYS = (
    ("ELSTART", "ELEND"),
    ("ALTSTART", "ALTEND"),
    *("ALT", "ALTITUDE", "TELALT", "EL", "ELEVATIO", "TEL_ALT", "TELEL", "ESO TEL ALT", "ELSTART"),
)
_ZENITH_DISTANCE_KEYS = (("ZD-STR", "ZD-END"), "ZD", "ZENDIST", "ZENITHD", "ZD-STR")
_AZIMUTH_KEYS = (
    ("AZSTART", "AZEND"),
    *("AZ", "AZIMUTH", "TELAZ", "TEL_AZ", "AZSTART"),
)
_FROM_SOUTH = "ESO TEL AZ"
_HOUR_ANGLE_KEYS = (("HASTART", "HAEND"), ("HA", "HAEND"), "HA", "HOURANG", "HASTART", "HA-STR")
_ROTATION_KEYS = ("AVG-ERA", "OBS-LONG")
_SIDEREAL_KEYS = ("LST", "ST", "LST-OBS", "LST-STR", "SIDTIME", "LSTHDR")
_PARALLACTIC_KEYS = (
    ("ESO TEL PARANG START", "ESO TEL PARANG END"),
    *("PARANG", "PARANGLE", "SPA", "ESO TEL PARANG START", "PA_START"),
)
_AIRMASS_PAIRS = (
    ("AMSTART", "AMEND"),
    ("ESO TEL AIRM START", "ESO TEL AIRM END"),
    ("SECZ-STR", "SECZ-END"),
)


class View(NamedTuple):
    """Where the zenith is, seen from a place on the sky.

    Parameters
    ----------
    elevation : float
        Height of the place above the horizon [deg].
    position_angle : float
        Direction of the zenith there, from north through east [deg].
    source : str
        Keywords that say so.
    at_middle : bool
        Whether it is meant for the middle of the exposure.
    """

    elevation: float
    position_angle: float
    source: str
    at_middle: bool


def position_of(header: fits.Header) -> tuple[float, float, str] | None:
    """Return right ascension and declination of a header [deg], and the keywords; or None.

    A sexagesimal right ascension is in hours.
    """
    for ra_key, dec_key in _POSITION_KEYS:
        ra, dec = number_of(header, ra_key), number_of(header, dec_key)
        if ra is None or dec is None or not -90.0 <= dec <= 90.0:
            continue
        degrees = ra * 15.0 if is_sexagesimal(header, ra_key) else ra
        if 0.0 <= degrees <= 360.0:
            return degrees, dec, f"{ra_key}, {dec_key}"
    return None


def elevation_of(header: fits.Header) -> Found | None:
    """Return the height above the horizon [deg], from an altitude or a zenith distance."""
    found = first_number(header, (_VISIT_INFO[0],), 0.0, 90.0)
    found = found or first_number(header, _ALTITUDE_KEYS, 0.1, 90.0)
    if found is not None:
        return found
    distance = first_number(header, _ZENITH_DISTANCE_KEYS, 0.0, 89.9)
    return None if distance is None else Found(90.0 - distance.value, distance.source)


def azimuth_of(header: fits.Header) -> Found | None:
    """Return the azimuth, from north through east [deg].

    ESO counts it from south through west.
    """
    found = first_number(header, (_VISIT_INFO[1],), -360.0, 360.0)
    if found is not None:
        return found
    for key in _AZIMUTH_KEYS:
        names = (key,) if isinstance(key, str) else key
        ends = [first_number(header, (name,), -360.0, 360.0) for name in names]
        angles = [end.value for end in ends if end is not None]
        if len(angles) == len(names):
            turned = np.exp(1j * np.radians(angles)).mean()  # 359 and 1 degree make 0
            return Found(float(np.degrees(np.angle(turned))) % 360.0, " and ".join(names))
    found = first_number(header, (_FROM_SOUTH,), -360.0, 360.0)
    return None if found is None else Found((found.value + 180.0) % 360.0, _FROM_SOUTH)


def hour_angles_of(header: fits.Header, ra: float | None) -> list[Found]:
    """Return what the hour angle may be, positive to the west [deg], the likeliest first.

    A sexagesimal text is in hours, what is beyond 12 in degrees; of other numbers without a unit
    in the comment both are possible. Without a card for it the hour angle follows from the
    sidereal time, in hours or in seconds, or from the rotation angle of the Earth.
    """
    for key in _HOUR_ANGLE_KEYS:
        found = first_number(header, (key,), -360.0, 360.0)
        if found is None:
            continue
        first = key if isinstance(key, str) else key[0]
        in_hours = Found(found.value * 15.0, found.source)
        if is_sexagesimal(header, first):
            return [in_hours]
        if "[deg" in comment_of(header, first) or abs(found.value) > 12.0:
            return [found]
        return [in_hours, found]
    if ra is None:
        return []
    sidereal = first_number(header, _SIDEREAL_KEYS, 0.0, 86_400.0)
    if sidereal is not None:
        hours = sidereal.value / 3600.0 if sidereal.value > 24.0 else sidereal.value
        return [Found(_half_turn(hours * 15.0 - ra), f"{sidereal.source} - RA")]
    rotation, longitude = (first_number(header, (key,), -360.0, 360.0) for key in _ROTATION_KEYS)
    if rotation is None or longitude is None:
        return []
    angle = _half_turn(rotation.value + longitude.value - ra)
    return [Found(angle, f"{rotation.source} and {longitude.source}")]


def _half_turn(angle: float) -> float:
    """Return an angle of -180 to 180 degrees."""
    return (angle + 180.0) % 360.0 - 180.0


def airmass_of(observation: Observation) -> Found | None:
    """Return the airmass, the mean of start and end where a header has both."""
    found = first_number(observation.header, _AIRMASS_PAIRS, 0.99, 40.0)
    if found is not None or observation.airmass is None:
        return found
    return Found(observation.airmass, "AIRMASS")


def trusted_parallactic_angle(header: fits.Header) -> Found | None:
    """Return the direction of the zenith that a header gives [deg]; conventions differ."""
    return first_number(header, _PARALLACTIC_KEYS, -360.0, 360.0)


def view_of(
    header: fits.Header, *, ra: float | None, dec: float | None, latitude: float | None
) -> View | None:
    """Return where a header has the zenith.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Cards of the observation.
    ra, dec : float or None
        Where the telescope points [deg].
    latitude : float or None
        Latitude of the site [deg].

    Returns
    -------
    View or None
        By altitude and azimuth, or by the hour angle; None if it cannot be told.
    """
    if latitude is None:
        return None
    elevation, azimuth = elevation_of(header), azimuth_of(header)
    if elevation is not None and azimuth is not None:
        hour_angle, declination = equatorial(
            altitude=elevation.value, azimuth=azimuth.value, latitude=latitude
        )
        angle = parallactic_angle(hour_angle=hour_angle, declination=declination, latitude=latitude)
        source = f"{elevation.source}, {azimuth.source}"
        at_middle = elevation.source == _VISIT_INFO[0] or " and " in elevation.source
        return View(elevation.value, angle, source, at_middle)
    if dec is None:
        return None
    views = [_view_at(hour, dec, latitude) for hour in hour_angles_of(header, ra)]
    airmass = first_number(header, (*_AIRMASS_PAIRS, "AIRMASS", "SECZ"), 0.99, 40.0)
    if len(views) < 2 or (elevation is None and airmass is None):
        return views[0] if views else None
    expected = elevation.value if elevation else elevation_at(airmass.value) if airmass else 0.0
    return min(views, key=lambda view: abs(view.elevation - expected))


def _view_at(hour: Found, declination: float, latitude: float) -> View:
    """Return where the zenith is at an hour angle."""
    place = {"hour_angle": hour.value, "declination": declination, "latitude": latitude}
    at_middle = " and " in hour.source
    return View(horizontal(**place)[0], parallactic_angle(**place), hour.source, at_middle)
