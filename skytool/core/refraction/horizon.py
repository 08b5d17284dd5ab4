"""Directions seen from a site: hour angle, horizon, zenith."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.sphere import directions as spherical

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MJD_ZERO = 2400000.5  # Julian date
_TT_UTC = 32.184 + 37.0  # seconds; leap seconds before 2017 move the precession by nothing
_DAY = 86400.0


def parallactic_angle(*, hour_angle: float, declination: float, latitude: float) -> float:
    """Return the position angle of the zenith.

    Parameters
    ----------
    hour_angle : float
        Hour angle, positive to the west [deg].
    declination : float
        Declination [deg].
    latitude : float
        Latitude of the site [deg].

    Returns
    -------
    float
        Angle from north through east [deg], -180 to 180: on the meridian, 0 south of the zenith
        and 180 north of it.
    """
    hour, dec, phi = (math.radians(angle) for angle in (hour_angle, declination, latitude))
    east = math.sin(hour) * math.cos(phi)
    north = math.cos(dec) * math.sin(phi) - math.sin(dec) * math.cos(phi) * math.cos(hour)
    return math.degrees(math.atan2(east, north))


def horizontal(*, hour_angle: float, declination: float, latitude: float) -> tuple[float, float]:
    """Return altitude and azimuth of an hour angle and a declination.

    Parameters
    ----------
    hour_angle, declination, latitude : float
        As for `parallactic_angle` [deg].

    Returns
    -------
    altitude, azimuth : float
        Angle above the horizon, and from north through east, 0 to 360 [deg].
    """
    return _turned(hour_angle, declination, latitude)


def equatorial(*, altitude: float, azimuth: float, latitude: float) -> tuple[float, float]:
    """Return hour angle and declination of an altitude and an azimuth.

    Parameters
    ----------
    altitude, azimuth : float
        Angle above the horizon, and from north through east [deg].
    latitude : float
        Latitude of the site [deg].

    Returns
    -------
    hour_angle, declination : float
        Hour angle, positive to the west, -180 to 180, and declination [deg].
    """
    declination, angle = _turned(azimuth, altitude, latitude)
    return (angle + 180.0) % 360.0 - 180.0, declination


def _turned(longitude: float, latitude: float, tilt: float) -> tuple[float, float]:
    """Change between the axes of the Earth and those of the horizon, which is its own inverse.

    Returns the new latitude, and the new longitude in 0 to 360 [deg].
    """
    lon, lat, phi = (math.radians(angle) for angle in (longitude, latitude, tilt))
    x = math.cos(phi) * math.sin(lat) - math.sin(phi) * math.cos(lat) * math.cos(lon)
    y = -math.cos(lat) * math.sin(lon)
    z = math.sin(phi) * math.sin(lat) + math.cos(phi) * math.cos(lat) * math.cos(lon)
    return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x)) % 360.0


def airmass_at(elevation: float) -> float:
    """Return the secant of the zenith distance at an elevation above the horizon [deg]."""
    return 1.0 / math.sin(math.radians(elevation))


def elevation_at(airmass: float) -> float:
    """Return the elevation [deg] where the secant of the zenith distance is an airmass."""
    return math.degrees(math.asin(min(1.0, 1.0 / airmass)))


def zenith_at(mjd: float, *, latitude: float, longitude: float) -> NDArray[np.float64]:
    """Return the direction of the zenith at a time.

    Parameters
    ----------
    mjd : float
        Modified Julian date [d, UTC]; it is taken as UT1, which it follows to 0.9 s, 14 arcsec.
    latitude, longitude : float
        Geodetic latitude, and longitude positive to the east [deg].

    Returns
    -------
    ndarray of float64, shape (3,)
        Unit vector in ICRS, without aberration: 20 arcsec at most.

    Notes
    -----
    IAU 2006/2000A precession and nutation and the Earth rotation angle, by ERFA. No table of the
    rotation of the Earth is needed, so none is ever downloaded.
    """
    import erfa

    day = math.floor(mjd)
    fraction = mjd - day
    matrix = erfa.c2t06a(
        _MJD_ZERO + day, fraction + _TT_UTC / _DAY, _MJD_ZERO + day, fraction, 0.0, 0.0
    )
    up = spherical.unit_vectors(longitude, latitude)
    return np.asarray(up @ np.asarray(matrix), dtype=np.float64)


def zenith_from(
    *, ra: float, dec: float, elevation: float, position_angle: float
) -> NDArray[np.float64]:
    """Return the direction of the zenith as seen from a place on the sky.

    Parameters
    ----------
    ra, dec : float
        The place, ICRS [deg].
    elevation : float
        Its height above the horizon [deg].
    position_angle : float
        Direction of the zenith there, from north through east [deg].

    Returns
    -------
    ndarray of float64, shape (3,)
        Unit vector in ICRS.
    """
    place = spherical.unit_vectors(ra, dec)
    east, north = spherical.tangent_axes(place)
    angle, height = math.radians(position_angle), math.radians(elevation)
    way = math.sin(angle) * east + math.cos(angle) * north
    return np.asarray(math.sin(height) * place + math.cos(height) * way)


def zenith_view(zenith: NDArray[np.float64], *, ra: float, dec: float) -> tuple[float, float]:
    """Return how the zenith lies as seen from a place on the sky.

    Parameters
    ----------
    zenith : ndarray of float64, shape (3,)
        Unit vector of the zenith in ICRS.
    ra, dec : float
        The place, ICRS [deg].

    Returns
    -------
    elevation : float
        Height of the place above the horizon [deg].
    position_angle : float
        Direction of the zenith, from north through east, -180 to 180 [deg].
    """
    place = spherical.unit_vectors(ra, dec)
    east, north = spherical.tangent_axes(place)
    to_east, to_north = float(zenith @ east), float(zenith @ north)
    elevation = math.degrees(math.atan2(float(zenith @ place), math.hypot(to_east, to_north)))
    return elevation, math.degrees(math.atan2(to_east, to_north))


def carried(zenith: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """Return a zenith some seconds later: the Earth turns it about its axis, to the east.

    Parameters
    ----------
    zenith : ndarray of float64, shape (3,)
        Unit vector in ICRS, whose pole is that of the Earth to the precession since 2000.
    seconds : float
        Time [s], negative for earlier.

    Returns
    -------
    ndarray of float64, shape (3,)
        Unit vector.
    """
    angle = 2.0 * math.pi * 1.00273781 * seconds / _DAY
    x, y, z = zenith
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([x * cosine - y * sine, x * sine + y * cosine, z])
