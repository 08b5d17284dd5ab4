"""The air above a telescope, as headers have it in any unit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from skytool.core.refraction.atmosphere import Conditions, default_conditions
from skytool.models.observation.header_values import Found, first_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astropy.io import fits

_TEMPERATURE_KEYS = (
    *("AIRTEMP", "OUTTEMP", "OUT-TMP", "TEMPERAT", "TAMBIENT", "AMBTEMP", "T_ENV"),
    *("ESO TEL AMBI TEMP", "TEMPTURE", "ENVTEM", "WXTEMP"),
)
_PRESSURE_KEYS = (
    *("AIRPRESS", "PRESSURE", "OUT-PRS", "PRESSUR", "BAROMETE", "WXPRES"),
    ("ESO TEL AMBI PRES START", "ESO TEL AMBI PRES END"),
    "ESO TEL AMBI PRES START",
)
_HUMIDITY_KEYS = (
    *("HUMIDITY", "OUT-HUM", "RELHUMID", "REL_HUM", "ESO TEL AMBI RHUM", "HUMIDTY", "WXHUMID"),
)
_KELVIN = 273.15
_COLDEST, _HOTTEST = -60.0, 60.0  # C
_LOWEST, _HIGHEST = 40_000.0, 110_000.0  # Pa
_RARE = 50_000.0  # Pa, that of the highest observatories
_UNITS = {"Pa": 1.0, "hPa": 100.0, "kPa": 1000.0, "inHg": 3386.389, "Torr": 133.322387415}
# The air is never this far from the standard atmosphere of its height.
_MOST_UNUSUAL = math.log(1.12)

DEFAULT = "default"
"""Source of what is not in a header."""


@dataclass(frozen=True)
class GivenWeather:
    """Weather that the user knows better than the header; None for what is not given.

    Parameters
    ----------
    temperature : float or None
        Temperature [C].
    pressure : float or None
        Pressure at the telescope [hPa].
    humidity : float or None
        Relative humidity [%].
    """

    temperature: float | None = None
    pressure: float | None = None
    humidity: float | None = None


@dataclass(frozen=True)
class Weather:
    """Conditions of an exposure, and where each number is from.

    Parameters
    ----------
    conditions : Conditions
        Site and air.
    sources : mapping of str to str
        Keyword, ``given`` or ``default`` of ``temperature``, ``pressure`` and ``humidity``.
    notes : tuple of str
        What is strange about the numbers of the header.
    """

    conditions: Conditions
    sources: Mapping[str, str]
    notes: tuple[str, ...] = ()


def weather_from_header(
    header: fits.Header,
    *,
    latitude: float,
    height: float | None,
    given: GivenWeather | None = None,
) -> Weather:
    """Return the air of an exposure: what is given, then what the header has, then the default.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Cards of the observation.
    latitude : float
        Geodetic latitude of the site [deg].
    height : float or None
        Height of the site above sea level [m]; None if unknown, then sea level stands in for it.
    given : GivenWeather, optional
        What counts instead of the header.

    Returns
    -------
    Weather
        Each of the three numbers on its own; those that no air can have are replaced by the
        standard atmosphere of the height.

    Notes
    -----
    Units are told by the numbers, for comments are not to be trusted: above 150 a temperature is
    in kelvin, and a pressure is in that unit of Pa, hPa, kPa, inHg and Torr in which it is nearest
    to the standard atmosphere; where the height is not known, in the first one in which it is
    between 500 and 1100 hPa, or else between 400 and 1100 hPa.
    """
    given = given or GivenWeather()
    standard = default_conditions(latitude, height or 0.0)
    sources: dict[str, str] = {}
    notes: list[str] = []

    def chosen(name: str, own: float | None, found: Found | None, default: float) -> float:
        sources[name] = "given" if own is not None else found.source if found else DEFAULT
        return own if own is not None else found.value if found else default

    temperature = chosen(
        "temperature", given.temperature, _temperature(header, notes), standard.temperature
    )
    own_pressure = None if given.pressure is None else given.pressure * _UNITS["hPa"]
    expected = None if height is None else standard.pressure
    pressure = chosen(
        "pressure", own_pressure, _pressure(header, expected, notes), standard.pressure
    )
    humidity = chosen("humidity", given.humidity, _humidity(header, notes), standard.humidity)
    conditions = replace(standard, temperature=temperature, pressure=pressure, humidity=humidity)
    return Weather(conditions, sources, tuple(notes))


def _temperature(header: fits.Header, notes: list[str]) -> Found | None:
    """Return the temperature [C]."""
    found = first_number(header, _TEMPERATURE_KEYS)
    if found is None:
        return None
    value = found.value - _KELVIN if found.value > 150.0 else found.value
    if _COLDEST <= value <= _HOTTEST:
        return Found(value, found.source)
    notes.append(f"{found.source} = {found.value:g} is no temperature of air")
    return None


def _pressure(header: fits.Header, expected: float | None, notes: list[str]) -> Found | None:
    """Return the pressure [Pa], in the unit in which it is nearest to that expected."""
    found = first_number(header, _PRESSURE_KEYS)
    if found is None:
        return None
    candidates = [found.value * unit for unit in _UNITS.values()]
    likely = [p for p in candidates if _LOWEST <= p <= _HIGHEST]
    if expected is None:
        if likely:
            return Found(next((p for p in likely if p >= _RARE), likely[0]), found.source)
        notes.append(f"{found.source} = {found.value:g} is no pressure of air")
        return None
    best = min(likely, key=lambda p: abs(math.log(p / expected)), default=None)
    if best is not None and abs(math.log(best / expected)) <= _MOST_UNUSUAL:
        return Found(best, found.source)
    notes.append(
        f"{found.source} = {found.value:g} is no pressure of air where {expected / 100.0:.0f} hPa "
        "are usual"
    )
    return None


def _humidity(header: fits.Header, notes: list[str]) -> Found | None:
    """Return the relative humidity [%]."""
    found = first_number(header, _HUMIDITY_KEYS)
    if found is None:
        return None
    value = found.value
    if 0.0 < value < 1.01:
        notes.append(f"{found.source} = {value:g} is taken as a fraction, not as percent")
        value *= 100.0
    if 0.0 <= value <= 105.0:
        return Found(min(value, 100.0), found.source)
    notes.append(f"{found.source} = {value:g} is no relative humidity")
    return None
