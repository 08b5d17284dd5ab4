"""Where a telescope stands."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from skytool.errors import InputError
from skytool.models.observation.header_values import first_number, number_of
from skytool.models.sky.coordinates import parse_angle

if TYPE_CHECKING:
    from astropy.io import fits


@dataclass(frozen=True)
class Site:
    """A place on the Earth.

    Parameters
    ----------
    latitude : float
        Geodetic latitude [deg].
    longitude : float or None
        Longitude, positive to the east, -180 to 180 [deg]; None if unknown.
    height : float or None
        Height above sea level [m]; None if unknown.
    source : str
        Where the numbers are from.
    """

    latitude: float
    longitude: float | None
    height: float | None
    source: str = "given"

    @property
    def mirrored(self) -> Site:
        """The site with a longitude that was counted to the west."""
        if self.longitude is None:
            return self
        return replace(self, longitude=-self.longitude, source=f"{self.source}, west positive")


_KEYS = (
    ("OBS-LAT", "OBS-LONG", "OBS-ELEV"),
    ("OBSGEO-B", "OBSGEO-L", "OBSGEO-H"),
    ("ESO TEL GEOLAT", "ESO TEL GEOLON", "ESO TEL GEOELEV"),
    ("GEOLAT", "GEOLON", "GEOELEV"),
    ("SITELAT", "SITELONG", "SITEELEV"),
    ("LATITUDE", "LONGITUD", "HEIGHT"),
    ("LATITUDE", "LONGITUDE", "HEIGHT"),
    ("LAT-OBS", "LONG-OBS", "ALT-OBS"),
    ("OBSLAT", "OBSLON", "OBSALT"),
)
_GEOCENTRIC = ("OBSGEO-X", "OBSGEO-Y", "OBSGEO-Z")
_WGS84 = 1
_NEAREST, _FARTHEST = 6.34e6, 6.40e6  # metres from the middle of the Earth

# Geodetic latitude, longitude to the east [deg], height [m].
_SITES = {
    "rubin": (-30.244639, -70.749417, 2663.0),
    "ctio": (-30.16606, -70.81489, 2215.0),
    "gemini-south": (-30.24075, -70.736693, 2722.0),
    "soar": (-30.2379, -70.7337, 2738.0),
    "las-campanas": (-29.01423, -70.69242, 2380.0),
    "la-silla": (-29.2567, -70.73, 2347.0),
    "paranal": (-24.62743, -70.40498, 2635.0),
    "cfht": (19.825252, -155.468876, 4204.0),
    "subaru": (19.825556, -155.476111, 4139.0),
    "keck": (19.828333, -155.478333, 4160.0),
    "gemini-north": (19.82380, -155.46905, 4213.0),
    "ukirt": (19.822444, -155.470333, 4198.0),
    "haleakala": (20.707333, -156.255917, 3055.0),
    "palomar": (33.356, -116.863, 1706.0),
    "lick": (37.343333, -121.636667, 1290.0),
    "apache-point": (32.780361, -105.820417, 2788.0),
    "kitt-peak": (31.963333, -111.6, 2120.0),
    "mmt": (31.688333, -110.885, 2616.0),
    "lbt": (32.701306, -109.889056, 3221.0),
    "lowell-discovery": (34.744444, -111.422222, 2360.0),
    "mcdonald": (30.671667, -104.021667, 2075.0),
    "la-palma": (28.758333, -17.88, 2327.0),
    "calar-alto": (37.223611, -2.54625, 2168.0),
    "sutherland": (-32.379444, 20.810694, 1798.0),
    "siding-spring": (-31.277039, 149.066085, 1149.0),
}
# Words of TELESCOP and OBSERVAT in capital letters, and the site; the first that fits counts.
_WORDS = {
    **dict.fromkeys(("SIMONYI", "RUBIN", "LSST", "AUXTEL"), "rubin"),
    **dict.fromkeys(("CTIO", "CERRO TOLOLO", "BLANCO"), "ctio"),
    **dict.fromkeys(("GEMINI-SOUTH", "GEMINI SOUTH"), "gemini-south"),
    **dict.fromkeys(("GEMINI-NORTH", "GEMINI NORTH"), "gemini-north"),
    "SOAR": "soar",
    **dict.fromkeys(("LAS CAMPANAS", "MAGELLAN", "DUPONT", "LCO"), "las-campanas"),
    **dict.fromkeys(
        ("LA SILLA", "LASILLA", "ESO-NTT", "ESO-3.6", "MPI-2.2", "MPG-2.2"), "la-silla"
    ),
    **dict.fromkeys(("PARANAL", "ESO-VLT", "VISTA", "ESO-VST", "VST"), "paranal"),
    "CFHT": "cfht",
    **dict.fromkeys(("SUBARU", "NAOJ"), "subaru"),
    "KECK": "keck",
    "UKIRT": "ukirt",
    **dict.fromkeys(("PS1", "PS2", "PAN-STARRS", "HALEAKALA"), "haleakala"),
    "PALOMAR": "palomar",
    "LICK": "lick",
    **dict.fromkeys(("APACHE", "APO", "SDSS", "SLOAN"), "apache-point"),
    **dict.fromkeys(("KPNO", "KITT PEAK", "WIYN", "MAYALL", "BOK"), "kitt-peak"),
    "MMT": "mmt",
    "LBT": "lbt",
    **dict.fromkeys(("LOWELL DISC", "LDT", "DCT"), "lowell-discovery"),
    "MCDONALD": "mcdonald",
    **dict.fromkeys(("LA PALMA", "ROQUE", "WHT", "INT", "GTC", "TNG", "LAPALMA"), "la-palma"),
    **dict.fromkeys(("CALAR ALTO", "CAHA"), "calar-alto"),
    **dict.fromkeys(("SAAO", "SUTHERLAND", "SALT"), "sutherland"),
    **dict.fromkeys(("SIDING SPRING", "SKYMAPPER", "AAT", "SSO"), "siding-spring"),
}
# Words of INSTRUME and FILTER, of cameras that have always been at one telescope.
_CAMERAS = {
    "DECAM": "ctio",
    "HYPER SUPRIME": "subaru",
    "SUPRIMECAM": "subaru",
    "MEGAPRIME": "cfht",
    "OMEGACAM": "paranal",
    "VIRCAM": "paranal",
    "LSSTCAM": "rubin",
    "COMCAM": "rubin",
}
_SHORT = 3  # letters of a word that must stand alone


def known_sites() -> tuple[str, ...]:
    """Return the names of all sites of the table."""
    return tuple(_SITES)


def parse_site(text: str) -> Site:
    """Return the site that a text names.

    Parameters
    ----------
    text : str
        A name of `known_sites`, or ``LATITUDE,LONGITUDE,HEIGHT``: degrees, decimal or sexagesimal,
        the longitude positive to the east, and metres.

    Raises
    ------
    InputError
        If it is neither, or an angle is out of its range.
    """
    name = text.strip().lower().replace(" ", "-").replace("_", "-")
    if name in _SITES:
        return _known(name, "--site")
    parts = text.split(",")
    if len(parts) != 3:
        raise InputError(
            f"no site {text!r} is known.",
            hint=f"Give LATITUDE,LONGITUDE,HEIGHT or one of {', '.join(_SITES)}.",
        )
    latitude, longitude = (parse_angle(part.strip(), hours=False) for part in parts[:2])
    try:
        height = float(parts[2])
    except ValueError:
        raise InputError(f"the height {parts[2].strip()!r} is no number of metres.") from None
    if not (-90.0 <= latitude <= 90.0 and -360.0 <= longitude <= 360.0 and -500 <= height <= 9000):
        raise InputError(
            f"no site has the latitude {latitude:g}, longitude {longitude:g} and height {height:g}."
        )
    return Site(latitude, _wrapped(longitude), height, "--site")


def site_from_header(header: fits.Header) -> Site | None:
    """Return the site that a header gives as numbers or by the name of the telescope.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Cards of the observation.

    Returns
    -------
    Site or None
        None if the header says nothing. A longitude with the sign of the other hemisphere than
        that of the telescope of the table is turned over.
    """
    named = _named(header)
    found = _by_numbers(header)
    if found is None or named is None:
        return found or named
    if found.height is None:
        found = replace(found, height=named.height)
    if found.longitude is None:
        return replace(found, longitude=named.longitude)
    if abs(_wrapped(found.longitude + (named.longitude or 0.0))) < 1.0:
        return found.mirrored
    return found


def _by_numbers(header: fits.Header) -> Site | None:
    """Return the site by its coordinates in a header."""
    for latitude_key, longitude_key, height_key in _KEYS:
        latitude = first_number(header, (latitude_key,), -90.0, 90.0)
        if latitude is None:
            continue
        longitude = first_number(header, (longitude_key,), -360.0, 360.0)
        height = first_number(header, (height_key,), -500.0, 9000.0)
        return Site(
            latitude.value,
            None if longitude is None else _wrapped(longitude.value),
            None if height is None else height.value,
            latitude_key if longitude is None else f"{latitude_key}, {longitude_key}",
        )
    place = [number for key in _GEOCENTRIC if (number := number_of(header, key)) is not None]
    if len(place) < 3 or not _NEAREST < math.hypot(*place) < _FARTHEST:
        return None
    import erfa
    import numpy as np

    lon, lat, above = erfa.gc2gd(_WGS84, np.array(place))
    degrees = float(np.degrees(lat)), float(np.degrees(lon))
    return Site(*degrees, float(above), "OBSGEO-X, -Y, -Z")


def _named(header: fits.Header) -> Site | None:
    """Return the site of the telescope by its name."""
    for key in ("TELESCOP", "OBSERVAT", "SITENAME", "SITE"):
        text = str(header.get(key, "")).upper()
        words = set(text.replace("-", " ").replace("_", " ").split())
        for word, site in _WORDS.items():
            if word in (words if len(word) <= _SHORT else text):
                return _known(site, f"{key} = {header[key]}")
    for key in ("INSTRUME", "FILTER"):
        text = str(header.get(key, "")).upper()
        for word, site in _CAMERAS.items():
            if word in text:
                return _known(site, f"{key} = {header[key]}")
    return None


def _known(name: str, source: str) -> Site:
    latitude, longitude, height = _SITES[name]
    return Site(latitude, longitude, height, source)


def _wrapped(longitude: float) -> float:
    """Return a longitude of -180 to 180 degrees."""
    return (longitude + 180.0) % 360.0 - 180.0
