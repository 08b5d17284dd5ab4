import pytest

from skytool.errors import InputError
from skytool.models.observation.site import known_sites, parse_site, site_from_header
from tests.models.headers import CFHT, DECAM, HSC, RUBIN, SAAO, header


@pytest.mark.parametrize(
    ("cards", "latitude", "longitude", "height"),
    [
        (DECAM, -30.16606, -70.81489, 2215.0),
        (HSC, 19.825556, -155.476111, 4139.0),
        (CFHT, 19.825252, -155.468876, 4204.0),
        (RUBIN, -30.244639, -70.749417, 2663.0),
        (SAAO, -32.379444, 20.810694, 1798.0),
        (
            {"ESO TEL GEOLAT": -24.6157, "ESO TEL GEOLON": -70.3976, "ESO TEL GEOELEV": 2530.0},
            -24.6157,
            -70.3976,
            2530.0,
        ),
        (
            {"SITELAT": "+31:57:48", "SITELONG": "-111:36:00", "TELESCOP": "KPNO 4.0m"},
            31.963333,
            -111.6,
            2120.0,
        ),
        ({"LATITUDE": 19.825, "LONGITUD": 204.531}, 19.825, -155.469, None),
        ({"OBSGEO-B": 28.76, "OBSGEO-L": -17.88, "OBSGEO-H": 2330.0}, 28.76, -17.88, 2330.0),
        ({"FILTER": "i DECam SDSS c0003 7835.0 1470.0"}, -30.16606, -70.81489, 2215.0),
        ({"OBS-LAT": -30.2, "TELESCOP": "Blanco"}, -30.2, -70.81489, 2215.0),
    ],
    ids=[
        "decam",
        "subaru",
        "cfht",
        "rubin",
        "saao",
        "eso",
        "kpno",
        "to 360",
        "obsgeo",
        "filter",
        "half",
    ],
)
def test_site_is_read(cards, latitude, longitude, height):
    site = site_from_header(header(cards))

    assert (site.latitude, site.longitude) == pytest.approx((latitude, longitude), abs=1e-5)
    assert site.height == height


def test_geocentric_coordinates_are_those_of_the_site():
    place = {"OBSGEO-X": 1818938.94, "OBSGEO-Y": -5208470.95, "OBSGEO-Z": -3195172.08}
    site = site_from_header(header(place))

    assert site.latitude == pytest.approx(-30.244639, abs=1e-4)
    assert site.longitude == pytest.approx(-70.749417, abs=1e-4)
    assert site.height == pytest.approx(2663.0, abs=50.0)  # above the ellipsoid, not the sea


def test_longitude_of_the_other_hemisphere_is_turned_over():
    site = site_from_header(header(DECAM))

    assert site.longitude < 0
    assert site.source.endswith("west positive")
    # nothing to compare with: taken as it is
    names = ("TELESCOP", "OBSERVAT", "INSTRUME", "FILTER")
    assert site_from_header(header(DECAM, *names)).longitude > 0


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"TELESCOP": "HST"},
        {"TELESCOP": "POINTED"},
        {"OBS-LAT": 95.0},
        {"OBSGEO-X": 0.0, "OBSGEO-Y": 0.0, "OBSGEO-Z": 0.0},
        {"OBSGEO-X": 1e300, "OBSGEO-Y": 1.0, "OBSGEO-Z": 1.0},
    ],
    ids=["nothing", "in space", "a word", "beyond the pole", "the middle of the Earth", "far away"],
)
def test_unknown_site_is_none(cards):
    assert site_from_header(header(cards)) is None


@pytest.mark.parametrize("name", known_sites())
def test_every_known_site_has_its_name(name):
    site = parse_site(name.upper().replace("-", " "))

    assert -90 < site.latitude < 90
    assert -180 <= site.longitude < 180
    assert 0 < site.height < 5000


@pytest.mark.parametrize(
    "text", ["-30.5,-70.25,2200", "-30:30:00,-70:15:00,2200.0", " -30.5 , 289.75 , 2200"]
)
def test_site_can_be_given_as_numbers(text):
    site = parse_site(text)

    assert (site.latitude, site.longitude, site.height) == (-30.5, -70.25, 2200.0)


@pytest.mark.parametrize("text", ["nowhere", "1,2", "91,0,0", "10,20,high", "10,20,99999", "a,b,1"])
def test_what_is_no_site_is_refused(text):
    with pytest.raises(InputError):
        parse_site(text)
