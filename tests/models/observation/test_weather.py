import pytest

from skytool.core.refraction.atmosphere import default_conditions
from skytool.models.observation.weather import GivenWeather, weather_from_header
from tests.models.headers import CFHT, DECAM, HSC, RUBIN, SUPRIME_CAM, header

SITES = {"ctio": 2215.0, "mauna kea": 4204.0, "rubin": 2663.0, "sea": 0.0, "unknown": None}


def weather(cards, site="ctio", **given):
    return weather_from_header(
        header(cards), latitude=-30.0, height=SITES[site], given=GivenWeather(**given)
    )


@pytest.mark.parametrize(
    ("cards", "site", "temperature", "pressure", "humidity"),
    [
        (DECAM, "ctio", 13.8, 77900.0, 40.0),
        (HSC, "mauna kea", -0.8, 62170.0, 33.1),
        (SUPRIME_CAM, "mauna kea", 0.0, 62150.0, 4.9),
        (CFHT, "mauna kea", 0.9, 61765.0, 39.77),
        (RUBIN, "rubin", 10.35, 74225.0, 25.475),
        ({"AIRTEMP": 11.5, "AIRPRESS": 74030.0, "HUMIDITY": 32.0}, "rubin", 11.5, 74030.0, 32.0),
        (
            {
                "ESO TEL AMBI TEMP": 12.1,
                "ESO TEL AMBI PRES START": 743.1,
                "ESO TEL AMBI PRES END": 743.3,
                "ESO TEL AMBI RHUM": 14.0,
            },
            "rubin",
            12.1,
            74320.0,
            14.0,
        ),
    ],
    ids=["decam", "hsc", "suprime-cam", "cfht", "rubin", "visit info", "eso"],
)
def test_weather_of_observatories_is_read(cards, site, temperature, pressure, humidity):
    found = weather(cards, site)

    assert found.conditions.temperature == pytest.approx(temperature, abs=1e-5)
    assert found.conditions.pressure == pytest.approx(pressure)
    assert found.conditions.humidity == pytest.approx(humidity, abs=1e-5)
    assert found.notes == ()
    assert "default" not in found.sources.values()


@pytest.mark.parametrize(
    ("value", "site", "pascal"),
    [
        (779.0, "ctio", 77900.0),
        (583.0, "ctio", 77727.0),
        (760.0, "sea", 101325.0),
        (1013.25, "sea", 101325.0),
        (29.92, "sea", 101321.0),
        (23.0, "ctio", 77887.0),
        (77.9, "ctio", 77900.0),
        (77900, "ctio", 77900.0),
        ("780.0", "ctio", 78000.0),
        (466.0, "mauna kea", 62128.0),
        (693.0, "unknown", 69300.0),
        (69300.0, "unknown", 69300.0),
        (450.0, "unknown", 59995.0),
        (25.0, "unknown", 84660.0),
        (45000.0, "unknown", 45000.0),
        (340.0, "unknown", 45329.6),
    ],
)
def test_unit_of_the_pressure_is_told_by_the_height(value, site, pascal):
    found = weather({"PRESSURE": value}, site)

    assert found.conditions.pressure == pytest.approx(pascal, rel=1e-4)
    assert found.notes == ()


@pytest.mark.parametrize("value", [0.0, -9999.0, 5000.0, 1013.0, "unknown", True])
def test_impossible_pressure_gives_way_to_the_default(value):
    found = weather({"PRESSURE": value, "OUTTEMP": 3.0})

    assert found.conditions.pressure == default_conditions(-30.0, 2215.0).pressure
    assert found.conditions.temperature == 3.0
    assert found.sources["pressure"] == "default"


@pytest.mark.parametrize(
    ("cards", "percent", "noted"),
    [
        ({"HUMIDITY": 0.45}, 45.0, 1),
        ({"HUMIDITY": 0.0}, 0.0, 0),
        ({"HUMIDITY": 103.0}, 100.0, 0),
        ({"HUMIDITY": 200.0}, 40.0, 1),
        ({"HUMIDITY": "NaN"}, 40.0, 0),
        ({"OUT-HUM": 12.5, "REL_HUM": 50.0}, 12.5, 0),
    ],
)
def test_humidity_is_percent(cards, percent, noted):
    found = weather(cards)

    assert found.conditions.humidity == pytest.approx(percent)
    assert len(found.notes) == noted


@pytest.mark.parametrize(
    ("value", "celsius"), [(285.15, 12.0), (-5.5, -5.5), ("12.5", 12.5), (250.0, -23.15)]
)
def test_high_temperatures_are_in_kelvin(value, celsius):
    assert weather({"TEMPERAT": value}).conditions.temperature == pytest.approx(celsius)


def test_impossible_temperature_is_noted():
    found = weather({"OUTTEMP": 99.0})

    assert found.sources["temperature"] == "default"
    assert found.notes == ("OUTTEMP = 99 is no temperature of air",)


def test_given_weather_counts_more_than_the_header():
    found = weather(DECAM, temperature=5.0, pressure=770.0, humidity=20.0)

    assert found.conditions.temperature == 5.0
    assert found.conditions.pressure == 77000.0
    assert found.conditions.humidity == 20.0
    assert set(found.sources.values()) == {"given"}


def test_nothing_known_is_the_standard_air_of_the_height():
    found = weather({}, "rubin")

    assert found.conditions == default_conditions(-30.0, 2663.0)
    assert set(found.sources.values()) == {"default"}
