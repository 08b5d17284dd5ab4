"""Refraction by the Earth's atmosphere, as a function of wavelength.

Three formulas, by name:

``stone``
    Stone (1996, PASP 108, 1051) with the refractive index of moist air of Owens (1967, Appl. Opt.
    6, 51). The default.
``lsst``
    The same as the LSST Science Pipelines have it: the term in tan^3 z is added, where Stone,
    Green (1985) and ERFA subtract it, and a constant of the vapour's density has the exponent -4
    instead of +4.
``filippenko``
    Filippenko (1982, PASP 94, 715): the index of Edlen (1953) and Barrell (1951) times tan z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Variant = Literal["stone", "lsst", "filippenko"]

VARIANTS: tuple[Variant, ...] = ("stone", "lsst", "filippenko")
"""Names of the formulas."""

SHORTEST, LONGEST = 230.2, 2058.6
"""Wavelengths between which the refractive index of air is known [nm] (Owens 1967)."""

DEFAULT_HUMIDITY = 40.0
"""Relative humidity where nobody measured it [%]; it hardly changes the refraction."""

_ARCSEC = math.pi / 180.0 / 3600.0
_KELVIN = 273.15
_HPA = 100.0
_TORR = 133.322387415

# Standard atmosphere: temperature at sea level [K] and its gradient [K/m], pressure at sea level
# [Pa], gravity [m/s2], molar mass of air [kg/mol], gas constant [J/mol/K].
_SEA_LEVEL_CELSIUS = 19.0
_LAPSE = 0.0065
_SEA_LEVEL_PRESSURE = 101325.0
_GRAVITY, _MOLAR_MASS, _GAS_CONSTANT = 9.80665, 0.0289644, 8.31447


@dataclass(frozen=True)
class Conditions:
    """Where a telescope stands, and the air there.

    Parameters
    ----------
    latitude : float
        Geodetic latitude [deg].
    height : float
        Height above sea level [m].
    temperature : float
        Temperature of the air [C].
    pressure : float
        Pressure of the air at the telescope, not reduced to sea level [Pa].
    humidity : float
        Relative humidity [%]; what is outside of 0.1 to 100 is taken as these.
    """

    latitude: float
    height: float
    temperature: float
    pressure: float
    humidity: float


def default_conditions(latitude: float, height: float) -> Conditions:
    """Return the air of a standard atmosphere at a site.

    Parameters
    ----------
    latitude : float
        Geodetic latitude [deg].
    height : float
        Height above sea level [m].

    Notes
    -----
    19 C at sea level and 6.5 K less a kilometre; a barometric formula with the temperature at the
    telescope.
    """
    temperature = _SEA_LEVEL_CELSIUS - _LAPSE * height
    weight = _GRAVITY * _MOLAR_MASS * height / (_GAS_CONSTANT * (temperature + _KELVIN))
    pressure = _SEA_LEVEL_PRESSURE * math.exp(-weight)
    return Conditions(latitude, height, temperature, pressure, DEFAULT_HUMIDITY)


def refraction(
    wavelength: ArrayLike,
    elevation: ArrayLike,
    conditions: Conditions,
    variant: Variant = "stone",
) -> Any:
    """Return by how much the atmosphere lifts a source.

    Parameters
    ----------
    wavelength : array_like of float, shape (...)
        Wavelength in vacuum [nm].
    elevation : array_like of float, shape (...)
        Apparent elevation above the horizon [deg]; it is broadcast against the wavelength. The
        formulas are good above about 15 degrees.
    conditions : Conditions
        Site and air.
    variant : {"stone", "lsst", "filippenko"}
        Formula, see the module.

    Returns
    -------
    float or ndarray of float64, shape (...)
        Angle towards the zenith [arcsec].

    Raises
    ------
    AlgorithmError
        If a wavelength is outside of `SHORTEST` to `LONGEST`, or an elevation outside of 0 to 90
        degrees.
    """
    waves = np.asarray(wavelength, dtype=np.float64)
    altitude = np.asarray(elevation, dtype=np.float64)
    _check(waves, altitude)
    tan_z = np.tan(np.radians(90.0 - altitude))
    if variant == "filippenko":
        angle = _filippenko_index(waves, conditions) * tan_z
    else:
        kelvin = conditions.temperature + _KELVIN
        gamma = _owens_index(
            waves, conditions, vapour_term=7.75141e4 if variant == "stone" else 7.75141e-4
        )
        beta = 4.5908e-6 * kelvin  # scale height of the air by the radius of the Earth
        cubic = gamma * (beta - gamma / 2.0) * tan_z**3
        linear = gamma * (1.0 - beta) * tan_z
        angle = _relative_gravity(conditions) * (
            linear - cubic if variant == "stone" else linear + cubic
        )
    arcsec = angle / _ARCSEC
    return float(arcsec) if arcsec.ndim == 0 else arcsec


def differential_refraction(
    wavelength: ArrayLike,
    reference_wavelength: ArrayLike,
    elevation: ArrayLike,
    conditions: Conditions,
    variant: Variant = "stone",
) -> Any:
    """Return by how much more than the reference wavelength a wavelength is lifted.

    Parameters
    ----------
    wavelength, reference_wavelength : array_like of float, shape (...)
        Wavelengths in vacuum [nm].
    elevation : array_like of float, shape (...)
        Apparent elevation [deg].
    conditions : Conditions
        Site and air.
    variant : {"stone", "lsst", "filippenko"}
        Formula, see the module.

    Returns
    -------
    float or ndarray of float64, shape (...)
        Angle towards the zenith [arcsec]: positive for light bluer than the reference.

    Raises
    ------
    AlgorithmError
        As `refraction`.
    """
    lifted = refraction(wavelength, elevation, conditions, variant)
    return lifted - refraction(reference_wavelength, elevation, conditions, variant)


def _check(wavelength: NDArray[np.float64], elevation: NDArray[np.float64]) -> None:
    """Refuse what the formulas do not hold for."""
    outside = ~((wavelength >= SHORTEST) & (wavelength <= LONGEST))
    if outside.any():
        raise AlgorithmError(
            f"the refraction at {float(wavelength[outside].flat[0]):g} nm is not known.",
            hint=f"Wavelengths are {SHORTEST} to {LONGEST} nm.",
        )
    below = ~((elevation > 0.0) & (elevation <= 90.0))
    if below.any():
        raise AlgorithmError(
            f"there is no refraction at an elevation of {float(elevation[below].flat[0]):g} degrees.",
            hint="It is 0 to 90 degrees above the horizon.",
        )


def _relative_gravity(conditions: Conditions) -> float:
    """Return the gravity at a site in units of that at sea level on the equator."""
    latitude = math.radians(conditions.latitude)
    flattening = 0.005302 * math.sin(latitude) ** 2 - 0.00000583 * math.sin(2.0 * latitude) ** 2
    return 1.0 + flattening - 0.000000315 * conditions.height


def _vapour_pressure(conditions: Conditions) -> float:
    """Return the partial pressure of water vapour [hPa], through the dew point (Stone 1996)."""
    celsius = conditions.temperature
    x = math.log(min(max(conditions.humidity, 0.1), 100.0) / 100.0)
    dew_point = 238.3 * ((celsius + 238.3) * x + 17.2694 * celsius)
    dew_point /= (celsius + 238.3) * (17.2694 - x) - 17.2694 * celsius
    terms = (4.50874, 0.341724, 0.0106778, 0.184889e-3, 0.238294e-5, 0.203447e-7)
    return 1.3332239 * math.fsum(c * dew_point**power for power, c in enumerate(terms))


def _owens_index(
    wavelength: NDArray[np.float64], conditions: Conditions, *, vapour_term: float
) -> NDArray[np.float64]:
    """Return the refractive index of moist air minus one (Owens 1967, equations 29 to 32)."""
    kelvin = conditions.temperature + _KELVIN
    vapour = _vapour_pressure(conditions)
    dry = conditions.pressure / _HPA - vapour
    virial = dry * (57.90e-8 - 9.3250e-4 / kelvin + 0.25844 / kelvin**2)
    dry_density = dry / kelvin * (1.0 + virial)
    virial = -2.37321e-3 + 2.23366 / kelvin - 710.792 / kelvin**2 + vapour_term / kelvin**3
    vapour_density = vapour / kelvin * (1.0 + vapour * (1.0 + 3.7e-4 * vapour) * virial)
    s2 = (1000.0 / wavelength) ** 2
    by_dry = 2371.34 + 683939.7 / (130.0 - s2) + 4547.3 / (38.9 - s2)
    by_vapour = 6487.31 + 58.058 * s2 - 0.71150 * s2**2 + 0.08851 * s2**3
    return 1e-8 * (by_dry * dry_density + by_vapour * vapour_density)


def _filippenko_index(
    wavelength: NDArray[np.float64], conditions: Conditions
) -> NDArray[np.float64]:
    """Return the refractive index of moist air minus one (Filippenko 1982, equations 1 to 3)."""
    celsius = conditions.temperature
    pressure = conditions.pressure / _TORR
    vapour = _vapour_pressure(conditions) * _HPA / _TORR
    s2 = (1000.0 / wavelength) ** 2
    at_sea_level = 64.328 + 29498.1 / (146.0 - s2) + 255.4 / (41.0 - s2)
    warmth = 1.0 + 0.003661 * celsius
    density = pressure * (1.0 + (1.049 - 0.0157 * celsius) * 1e-6 * pressure) / (720.883 * warmth)
    return 1e-6 * (at_sea_level * density - (0.0624 - 0.000680 * s2) / warmth * vapour)
