"""Where and when an exposure was taken, and what the atmosphere does to its light."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

ARCSEC = np.pi / 180 / 3600
J2000 = 51544.5  # [MJD]


@dataclass(frozen=True)
class Site:
    """Place of the telescope: latitude and east longitude [deg], height [m]."""

    latitude: float = -30.2446
    longitude: float = -70.7494
    height: float = 2663.0


@dataclass(frozen=True)
class Weather:
    """State of the air at the telescope: temperature [C], pressure [Pa], humidity [%]."""

    temperature: float = 11.5
    pressure: float = 74030.0
    humidity: float = 32.0


@dataclass(frozen=True)
class Band:
    """Passband that lets everything through between two wavelengths [nm]."""

    name: str = "g"
    wavelength: float = 476.31
    width: float = 147.0

    @property
    def limits(self) -> tuple[float, float]:
        return self.wavelength - self.width / 2, self.wavelength + self.width / 2

    def nodes(self, slope: ArrayLike, n: int = 6) -> tuple[NDArray, NDArray]:
        """Gauss-Legendre wavelengths, shape ``(n,)``, and shares of the light, ``(n_source, n)``."""
        points, weights = np.polynomial.legendre.leggauss(n)
        wavelengths = self.wavelength + points * self.width / 2
        shares = weights * (wavelengths / self.wavelength) ** np.atleast_1d(slope)[:, None]
        return wavelengths, shares / shares.sum(axis=1, keepdims=True)

    def subfilter_shares(self, slope: ArrayLike, n: int) -> NDArray[np.float64]:
        """Share of the light in each of n equal parts of the band, shape ``(n_source, n)``."""
        edges = np.linspace(*self.limits, n + 1) / self.wavelength
        power = np.atleast_1d(np.asarray(slope, dtype=np.float64))[:, None] + 1
        flat = np.abs(power) < 1e-9  # photons as 1/wavelength: the integral is a logarithm
        exponent = np.where(flat, 1.0, power)
        integral = np.where(flat, np.log(edges), edges**exponent / exponent)
        parts = np.diff(integral, axis=1)
        return parts / parts.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Observation:
    """One visit: when (mid-exposure, UTC, taken as UT1) [MJD], where, in which air and band."""

    mjd: float
    exposure_time: float = 30.0
    site: Site = field(default_factory=Site)
    weather: Weather = field(default_factory=Weather)
    band: Band = field(default_factory=Band)

    @property
    def earth_rotation_angle(self) -> float:
        """Earth rotation angle [rad] (Capitaine, Guinot and McCarthy 2000)."""
        days = self.mjd - J2000
        return 2 * np.pi * ((0.7790572732640 + 0.00273781191135448 * days + days) % 1.0)

    @property
    def sidereal_time(self) -> float:
        """Local mean sidereal time [rad] (Capitaine et al. 2003, equation 42, to 3rd order)."""
        t = (self.mjd - J2000) / 36525
        precession = (0.014506 + (4612.156534 + (1.3915817 - 0.00000044 * t) * t) * t) * ARCSEC
        return self.earth_rotation_angle + precession + np.radians(self.site.longitude)

    @property
    def zenith(self) -> NDArray[np.float64]:
        """Unit vectors of zenith, north and east horizon in the ICRS, shape ``(3, 3)``."""
        phi, theta = np.radians(self.site.latitude), self.sidereal_time
        up = [np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)]
        north = [-np.sin(phi) * np.cos(theta), -np.sin(phi) * np.sin(theta), np.cos(phi)]
        east = [-np.sin(theta), np.cos(theta), 0.0]
        return np.array([up, north, east]) @ _precession((self.mjd - J2000) / 36525)

    def hour_angle(self, ra: float, dec: float) -> float:
        """Hour angle of a place, positive to the west [rad]."""
        x, y, _ = _precession((self.mjd - J2000) / 36525) @ _vector(ra, dec)
        angle = self.sidereal_time - np.arctan2(y, x)
        return (angle + np.pi) % (2 * np.pi) - np.pi

    def horizontal(self, ra: ArrayLike, dec: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
        """Altitude, azimuth (north through east) and position angle of the zenith [rad].

        The altitude is that of an observer without air.
        """
        alpha, delta = np.radians(ra), np.radians(dec)
        up, north, east = self.zenith @ _vector(ra, dec)
        zenith = self.zenith[0]
        to_east = -np.sin(alpha) * zenith[0] + np.cos(alpha) * zenith[1]
        to_north = np.cos(delta) * zenith[2] - np.sin(delta) * (
            np.cos(alpha) * zenith[0] + np.sin(alpha) * zenith[1]
        )
        return np.arcsin(up), np.arctan2(east, north), np.arctan2(to_east, to_north)

    def apparent_altitude(self, altitude: NDArray[np.float64]) -> NDArray[np.float64]:
        """Altitude that refraction at the reference wavelength makes of one without air [rad]."""
        raised = altitude
        for _ in range(4):
            raised = altitude + self.refraction(self.band.wavelength, raised)
        return raised

    def refraction(self, wavelength: ArrayLike, altitude: ArrayLike) -> NDArray[np.float64]:
        """Angle by which the air raises a source [rad] (Stone 1996, with Owens 1967).

        Parameters
        ----------
        wavelength : array_like
            In vacuum [nm].
        altitude : array_like
            Apparent altitude [rad].
        """
        kelvin = self.weather.temperature + 273.15
        phi = np.radians(self.site.latitude)
        gravity = 1 + 0.005302 * np.sin(phi) ** 2 - 0.00000583 * np.sin(2 * phi) ** 2
        gravity -= 0.000000315 * self.site.height
        beta = 4.5908e-6 * kelvin
        gamma = _refractivity(np.asarray(wavelength, dtype=np.float64), self.weather)
        tan_z = 1 / np.tan(altitude)
        return gravity * gamma * ((1 - beta) * tan_z - (beta - gamma / 2) * tan_z**3)

    def displaced(
        self, ra: NDArray, dec: NDArray, wavelength: NDArray
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where light of each wavelength comes from [deg], two arrays ``(n_source, n_wavelength)``.

        A source is in its place at the reference wavelength of the band; bluer light is nearer to
        the zenith.
        """
        altitude, _, angle = self.horizontal(ra, dec)
        apparent = self.apparent_altitude(altitude)[:, None]
        shift = self.refraction(wavelength[None], apparent)
        shift = shift - self.refraction(self.band.wavelength, apparent)
        east = np.degrees(shift) * np.sin(angle)[:, None]
        north = np.degrees(shift) * np.cos(angle)[:, None]
        decs = dec[:, None] + north
        return ra[:, None] + east / np.cos(np.radians(decs)), decs


def mjd_at_hour_angle(
    hour_angle: float, *, ra: float, dec: float, night: float, site: Site
) -> float:
    """Time nearest to ``night`` [MJD] when a place has an hour angle [hours], to 1e-6 days."""
    mjd = night
    for _ in range(3):
        now = Observation(mjd, site=site).hour_angle(ra, dec)
        wanted = np.radians(15 * hour_angle)
        mjd += ((wanted - now + np.pi) % (2 * np.pi) - np.pi) / (2 * np.pi) / 1.0027379
    return round(float(mjd), 6)


def _vector(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
    alpha, delta = np.radians(ra), np.radians(dec)
    return np.array([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)])


def _precession(t: float) -> NDArray[np.float64]:
    """Rotation from the ICRS to the mean equator of date, t centuries after J2000.

    Capitaine, Wallace and Chapront (2003), equations 40, to third order; frame bias (0.02 arcsec)
    is left out.
    """
    zeta = (2.650545 + (2306.083227 + (0.2988499 + 0.01801828 * t) * t) * t) * ARCSEC
    z = (-2.650545 + (2306.077181 + (1.0927348 + 0.01826837 * t) * t) * t) * ARCSEC
    theta = (2004.191903 + (-0.4294934 - 0.04182264 * t) * t) * t * ARCSEC
    return _about_z(-z) @ _about_y(theta) @ _about_z(-zeta)


def _about_z(angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])


def _about_y(angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])


def _refractivity(wavelength: NDArray[np.float64], weather: Weather) -> NDArray[np.float64]:
    """Refractive index of moist air minus one (Owens 1967, equations 29 to 31)."""
    celsius, kelvin = weather.temperature, weather.temperature + 273.15
    x = np.log(weather.humidity / 100)
    dew_point = 238.3 * ((celsius + 238.3) * x + 17.2694 * celsius)
    dew_point /= (celsius + 238.3) * (17.2694 - x) - 17.2694 * celsius
    vapour = 1.3332239 * np.polynomial.polynomial.polyval(
        dew_point, [4.50874, 0.341724, 0.0106778, 0.184889e-3, 0.238294e-5, 0.203447e-7]
    )
    dry = weather.pressure / 100 - vapour
    dry_density = 1 + dry * (57.90e-8 - 9.3250e-4 / kelvin + 0.25844 / kelvin**2)
    dry_density *= dry / kelvin
    vapour_density = -2.37321e-3 + 2.23366 / kelvin - 710.792 / kelvin**2 + 7.75141e4 / kelvin**3
    vapour_density = vapour / kelvin * (1 + vapour * (1 + 3.7e-4 * vapour) * vapour_density)
    s2 = (1000 / wavelength) ** 2
    by_dry = 2371.34 + 683939.7 / (130 - s2) + 4547.3 / (38.9 - s2)
    by_vapour = 6487.31 + 58.058 * s2 - 0.71150 * s2**2 + 0.08851 * s2**3
    return 1e-8 * (by_dry * dry_density + by_vapour * vapour_density)
