import math

import erfa
import numpy as np
import pytest

from skytool.core.refraction.atmosphere import (
    LONGEST,
    SHORTEST,
    VARIANTS,
    Conditions,
    default_conditions,
    differential_refraction,
    refraction,
)
from skytool.errors import AlgorithmError

PACHON = Conditions(-30.244639, 2663.0, 20.0, 73892.0, 10.0)
COOL = Conditions(-30.244639, 2663.0, 10.0, 73892.0, 40.0)
WAVELENGTHS = [370.0, 480.0, 620.0, 860.0, 960.0, 1025.0]


def by_erfa(wavelength, elevation, conditions):
    """Refraction [arcsec] by ERFA's two constants, of a radio or optical observer's apparent place."""
    a, b = erfa.refco(
        conditions.pressure / 100,
        conditions.temperature,
        conditions.humidity / 100,
        wavelength / 1000,
    )
    tangent = math.tan(math.radians(90 - elevation))
    return math.degrees(a * tangent + b * tangent**3) * 3600


@pytest.mark.parametrize(
    ("variant", "angles"),
    [
        ("lsst", [73.0487, 71.7488, 71.0206, 70.5117, 70.4045, 70.3511]),
        ("stone", [72.5060, 71.2150, 70.4917, 69.9863, 69.8798, 69.8269]),
    ],
)
def test_refraction_at_thirty_degrees_is_as_computed_elsewhere(variant, angles):
    # the values are rounded to 1e-4
    assert refraction(WAVELENGTHS, 30.0, PACHON, variant) == pytest.approx(angles, abs=1e-4)


@pytest.mark.parametrize(
    ("elevation", "lsst", "stone"),
    [(45.0, 41.165, 41.075), (30.0, 71.477, 70.966), (20.0, 114.022, 111.928)],
)
def test_signs_of_the_cubic_term_part_the_variants(elevation, lsst, stone):
    air = Conditions(-30.244639, 2663.0, 20.0, 73892.0, 40.0)

    assert refraction(500.0, elevation, air, "lsst") == pytest.approx(lsst, abs=2e-3)
    assert refraction(500.0, elevation, air) == pytest.approx(stone, abs=2e-3)


@pytest.mark.parametrize("elevation", [20.0, 30.0, 45.0, 70.0, 89.0])
def test_refraction_agrees_with_erfa(elevation):
    air = Conditions(-30.244639, 2663.0, 20.0, 73892.0, 40.0)

    assert refraction(500.0, elevation, air) == pytest.approx(
        by_erfa(500.0, elevation, air), abs=0.05
    )


@pytest.mark.parametrize("conditions", [PACHON, COOL, default_conditions(45.0, 0.0)])
def test_dispersion_agrees_with_erfa_to_its_accuracy_in_the_green(conditions):
    ours = differential_refraction([405.0, 552.0], 478.5, 30.0, conditions)
    theirs = [
        by_erfa(wave, 30.0, conditions) - by_erfa(478.5, 30.0, conditions)
        for wave in (405.0, 552.0)
    ]

    assert ours == pytest.approx(theirs, rel=0.02)
    assert ours[0] > 0 > ours[1]


@pytest.mark.parametrize(
    ("airmass", "total", "smears"),
    [
        (1.3, 35.38, [0.662, 0.597, 0.246, 0.123]),
        (1.6, 53.14, [0.994, 0.897, 0.370, 0.185]),
        (2.0, 73.56, [1.376, 1.242, 0.512, 0.256]),
    ],
)
def test_smear_of_bands_is_as_tabulated(airmass, total, smears):
    elevation = math.degrees(math.asin(1 / airmass))
    bands = [(330.0, 400.0), (405.0, 552.0), (550.0, 690.0), (690.0, 820.0)]
    found = [differential_refraction(blue, red, elevation, COOL) for blue, red in bands]

    assert found == pytest.approx(smears, abs=1e-3)
    assert refraction(500.0, elevation, COOL) == pytest.approx(total, abs=0.01)


@pytest.mark.parametrize(
    ("blue", "red", "airmass", "percent"),
    [(405.0, 552.0, 1.4, 0.4), (405.0, 552.0, 2.0, 0.65), (330.0, 400.0, 2.0, 0.4)],
)
def test_filippenko_disperses_a_little_more(blue, red, airmass, percent):
    elevation = math.degrees(math.asin(1 / airmass))
    ours = differential_refraction(blue, red, elevation, COOL)
    theirs = differential_refraction(blue, red, elevation, COOL, "filippenko")

    assert 100 * (theirs / ours - 1) == pytest.approx(percent, abs=0.15)


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_is_lifted_at_the_zenith_and_bluer_light_more_elsewhere(variant):
    assert refraction(WAVELENGTHS, 90.0, PACHON, variant) == pytest.approx(0.0, abs=1e-12)
    assert (np.diff(refraction(WAVELENGTHS, 40.0, PACHON, variant)) < 0).all()
    assert (np.diff(refraction(500.0, [20.0, 40.0, 60.0], PACHON, variant)) < 0).all()


@pytest.mark.parametrize("wavelength", [230.0, 2059.0, float("nan"), -500.0])
def test_unknown_wavelength_is_refused(wavelength):
    with pytest.raises(AlgorithmError, match="is not known"):
        refraction([500.0, wavelength], 40.0, PACHON)


def test_wavelengths_at_the_limits_are_known():
    assert refraction([SHORTEST, LONGEST], 40.0, PACHON).shape == (2,)


@pytest.mark.parametrize("elevation", [0.0, -3.0, 90.1, float("nan")])
def test_elevation_below_the_horizon_is_refused(elevation):
    with pytest.raises(AlgorithmError, match="elevation"):
        refraction(500.0, elevation, PACHON)


@pytest.mark.parametrize(
    ("height", "temperature", "pressure"), [(2663.0, 1.6905, 72771.4), (0.0, 19.0, 101325.0)]
)
def test_default_air_thins_with_height(height, temperature, pressure):
    air = default_conditions(-30.0, height)

    assert air.temperature == pytest.approx(temperature, abs=0.01)
    assert air.pressure == pytest.approx(pressure, abs=1.0)
    assert air.humidity == 40.0


def test_dry_air_is_as_good_as_nearly_dry_air():
    dry, nearly = (Conditions(-30.0, 2663.0, 10.0, 73892.0, rh) for rh in (0.0, 0.1))

    assert refraction(500.0, 40.0, dry) == refraction(500.0, 40.0, nearly)


@pytest.mark.parametrize(
    ("changed", "percent"),
    [
        ({"temperature": 15.0}, -1.7),
        ({"pressure": 73892.0 * 1.01}, 1.0),
        ({"humidity": 80.0}, 0.15),
    ],
)
def test_weather_changes_the_dispersion_as_expected(changed, percent):
    air = Conditions(**{**vars(COOL), **changed})
    before = differential_refraction(405.0, 552.0, 40.0, COOL)

    after = differential_refraction(405.0, 552.0, 40.0, air)

    assert 100 * (after / before - 1) == pytest.approx(percent, abs=0.1)


def test_shapes_are_broadcast_and_scalars_stay_scalars():
    assert isinstance(refraction(500.0, 40.0, PACHON), float)
    assert isinstance(differential_refraction(500.0, 600.0, 40.0, PACHON), float)
    assert refraction(np.ones((3, 1)) * 500.0, [30.0, 40.0], PACHON).shape == (3, 2)
