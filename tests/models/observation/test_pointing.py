import math

import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers

from skytool.core.refraction.horizon import horizontal, zenith_at, zenith_view
from skytool.errors import IncompatibleError
from skytool.models.observation.header_pointing import position_of, view_of
from skytool.models.observation.observation import observation_from_header
from skytool.models.observation.pointing import PointingOptions, resolve_pointing, resolve_pointings
from skytool.models.observation.site import parse_site, site_from_header
from tests.models.headers import (
    CFHT,
    DECAM,
    GROND,
    HSC,
    ISAAC,
    RUBIN,
    SAAO,
    SUPRIME_CAM,
    header,
)

REAL = {
    "decam": DECAM,
    "hsc": HSC,
    "suprime-cam": SUPRIME_CAM,
    "cfht": CFHT,
    "rubin": RUBIN,
    "grond": GROND,
    "isaac": ISAAC,
    "saao": SAAO,
}
NAMES = ("TELESCOP", "OBSERVAT", "INSTRUME", "FILTER")  # that tell the site


def pointing_of(cards, *left_out, name="a.fits", center=None, options=None, **changed):
    observation = observation_from_header(header(cards, *left_out, **changed))
    return resolve_pointing(observation, name=name, center=center, options=options)


def visit_info(cards):
    """Cards of a warp of ours for the same exposure, in the middle of it, by astropy."""
    observation = observation_from_header(header(cards))
    site, (ra, dec, _) = site_from_header(observation.header), position_of(observation.header)
    place = EarthLocation.from_geodetic(site.longitude, site.latitude, site.height)
    with iers.conf.set_temp("auto_download", value=False):
        frame = AltAz(obstime=Time(observation.mjd_mid, format="mjd"), location=place)
        seen = SkyCoord(ra, dec, unit="deg").transform_to(frame)
    numbers = (ra, dec, seen.alt.deg, seen.az.deg, site.latitude, site.longitude, site.height)
    keys = ("BORE-RA", "BORE-DEC", "BORE-ALT", "BORE-AZ", "OBS-LAT", "OBS-LONG", "OBS-ELEV")
    return dict(zip(keys, map(float, numbers), strict=True))


@pytest.mark.parametrize("name", REAL)
def test_time_and_site_alone_give_the_same_direction_as_the_whole_header(name):
    cards = REAL[name]
    kept = {
        key: cards[key]
        for key in ("DATE-OBS", "MJD-OBS", "MJD-STR", "MJD-END", "MJD-BEG", "TIMESYS", "EXPTIME")
        if key in cards
    }
    site = site_from_header(header(cards))
    text = f"{site.latitude},{site.longitude},{site.height}"
    whole = pointing_of(cards)
    minimal = pointing_of(
        {**kept, "RA": cards["RA"], "DEC": cards["DEC"]},
        options=PointingOptions(site=parse_site(text)),
    )

    assert minimal.elevation == pytest.approx(whole.elevation, abs=0.1)
    assert minimal.parallactic_angle == pytest.approx(whole.parallactic_angle, abs=0.2)


@pytest.mark.parametrize("name", REAL)
def test_cards_of_a_warp_give_the_same_direction_as_those_of_the_camera(name):
    whole = pointing_of(REAL[name])
    resolved = pointing_of(visit_info(REAL[name]))

    assert resolved.sources["direction"] == "BORE-ALT, BORE-AZ"
    assert resolved.elevation == pytest.approx(whole.elevation, abs=0.1)
    assert resolved.parallactic_angle == pytest.approx(whole.parallactic_angle, abs=0.2)


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("decam", 0.0),
        ("hsc", 0.0),
        ("suprime-cam", 0.0),
        ("cfht", 0.0),
        ("rubin", 15.0),
        ("grond", 0.0),
        ("isaac", 0.0),
    ],
)
def test_altitude_and_azimuth_agree_with_time_and_site(name, seconds):
    # those of one instant are of the start of the exposure
    cards = REAL[name]
    observation = observation_from_header(header(cards))
    site = site_from_header(header(cards))
    ra, dec, _ = position_of(observation.header)
    told = view_of(observation.header, ra=ra, dec=dec, latitude=site.latitude)
    mjd = observation.mjd_start + seconds / 86400
    zenith = zenith_at(mjd, latitude=site.latitude, longitude=site.longitude)
    elevation, angle = zenith_view(zenith, ra=ra, dec=dec)

    assert told.at_middle == (name == "rubin")
    assert told.elevation == pytest.approx(elevation, abs=0.1)
    assert told.position_angle == pytest.approx(angle, abs=0.2 / math.cos(math.radians(elevation)))


@pytest.mark.parametrize("name", REAL)
def test_hour_angle_or_sidereal_time_is_enough(name):
    angles = (
        "ESO TEL ALT",
        "ESO TEL AZ",
        "ZD",
        "AZ",
        "TELALT",
        "TELAZ",
        "ALTITUDE",
        "AZIMUTH",
        "ELSTART",
        "ELEND",
        "AZSTART",
    )
    times = (
        "ESO TEL AIRM START",
        "DATE-OBS",
        "MJD-OBS",
        "MJD-STR",
        "MJD-END",
        "MJD-BEG",
        "AIRMASS",
        "AZEND",
    )
    found = pointing_of(REAL[name], *angles, *times)
    whole = pointing_of(REAL[name])
    # right ascensions of 2000 are up to 0.3 degrees off those of date, and the middle of the
    # exposure is not known
    drift = 0.3 + REAL[name]["EXPTIME"] / 2 * 15 / 3600

    assert found.sources["direction"] in {
        "HA",
        "HA and HAEND",
        "HASTART and HAEND",
        "LST - RA",
        "ST - RA",
    }
    assert found.elevation == pytest.approx(whole.elevation, abs=drift)
    assert found.parallactic_angle == pytest.approx(
        whole.parallactic_angle, abs=drift / math.cos(math.radians(whole.elevation))
    )


@pytest.mark.parametrize("cards", [GROND, ISAAC], ids=["grond", "isaac"])
def test_parallactic_angle_is_that_of_the_observatory(cards):
    told = (cards["ESO TEL PARANG START"] + cards["ESO TEL PARANG END"]) / 2
    found = pointing_of(cards)
    trusted = pointing_of(cards, options=PointingOptions(trust_parang=True))

    assert found.parallactic_angle == pytest.approx(told, abs=0.2)
    assert trusted.parallactic_angle == pytest.approx(told, abs=1e-9)
    assert trusted.elevation == pytest.approx(found.elevation, abs=0.1)


def test_middle_of_a_long_exposure_counts():
    start = pointing_of(CFHT, EXPTIME=0.0)
    middle = pointing_of(CFHT)

    assert start.elevation == pytest.approx(CFHT["TELALT"], abs=0.1)
    assert middle.elevation - start.elevation == pytest.approx(615 / 2 * 15 / 3600, rel=0.25)
    # what the header says of the hour angle in the middle
    hour = -15 * (2 + 4 / 60 + 58.44 / 3600 + 1 + 53 / 60 + 47.05 / 3600) / 2
    altitude, _ = horizontal(hour_angle=hour, declination=-2.4, latitude=19.825252)
    assert middle.elevation == pytest.approx(altitude, abs=0.2)


@pytest.mark.parametrize("name", REAL)
def test_real_headers_raise_no_doubts(name):
    assert pointing_of(REAL[name]).notes == ()


def test_west_positive_longitude_is_found_by_the_zenith_distance():
    found = pointing_of(DECAM, *NAMES, "HA", "AZ")

    assert found.sources["site"].endswith("west positive")
    assert found.elevation == pytest.approx(90 - DECAM["ZD"], abs=0.1)


def test_west_positive_longitude_is_found_by_the_airmass_alone():
    found = pointing_of(DECAM, *NAMES, "HA", "AZ", "ZD")

    assert found.elevation == pytest.approx(90 - DECAM["ZD"], abs=0.1)


def test_eso_counts_azimuths_from_the_south():
    cards = {
        "ESO TEL ALT": 40.0,
        "ESO TEL AZ": 90.0,
        "ESO TEL GEOLAT": -24.6157,
        "ESO TEL GEOLON": -70.3976,
        "ESO TEL GEOELEV": 2530.0,
        "RA": 100.0,
        "DEC": -10.0,
    }
    found = pointing_of(cards)

    # in the west the zenith is to the east
    assert 0 < found.parallactic_angle < 180
    assert found.elevation == pytest.approx(40.0, abs=1e-9)
    assert pointing_of(cards, **{"ESO TEL AZ": 270.0}).parallactic_angle < 0


@pytest.mark.parametrize(
    ("value", "comment", "degrees"),
    [
        ("01:30:00", "", 22.5),
        ("-01:30:00", "[HH:MM:SS]", -22.5),
        (1.5, "", 22.5),
        ("-1.5", "", -22.5),
        (22.5, "", 22.5),
        (-5.0, "[deg] hour angle", -5.0),
    ],
)
def test_hour_angle_is_read_in_its_unit(value, comment, degrees):
    cards = header({"RA": 100.0, "DEC": -10.0, "OBS-LAT": -30.0, "OBS-LONG": 10.0, "OBS-ELEV": 0})
    cards["HA"] = (value, comment)
    found = resolve_pointing(observation_from_header(cards))
    altitude, _ = horizontal(hour_angle=degrees, declination=-10.0, latitude=-30.0)

    assert found.elevation == pytest.approx(altitude, abs=1e-9)


@pytest.mark.parametrize("key", ["ZD", "AIRMASS"])
@pytest.mark.parametrize("unit", [1.0, 15.0])
def test_unit_of_the_hour_angle_is_told_by_the_elevation(key, unit):
    altitude, _ = horizontal(hour_angle=3.0 * unit, declination=-10.0, latitude=-30.0)
    distance = 90 - altitude
    cards = {"RA": 100.0, "DEC": -10.0, "OBS-LAT": -30.0, "OBS-LONG": 10.0, "HA": 3.0}
    cards[key] = distance if key == "ZD" else 1 / math.cos(math.radians(distance))

    assert pointing_of(cards).elevation == pytest.approx(altitude, abs=1e-9)


def test_rotation_angle_of_the_earth_gives_the_hour_angle():
    cards = {"BORE-RA": 100.0, "BORE-DEC": -10.0, "OBS-LAT": -30.0, "OBS-LONG": 10.0}
    altitude, _ = horizontal(hour_angle=25.0, declination=-10.0, latitude=-30.0)

    assert pointing_of({**cards, "AVG-ERA": 115.0}).elevation == pytest.approx(altitude, abs=1e-9)


def test_sidereal_time_may_be_in_seconds():
    cards = {"LST": 30_000.0, "RA": 100.0, "DEC": -10.0, "OBS-LAT": -30.0, "OBS-LONG": 10.0}
    altitude, _ = horizontal(hour_angle=25.0, declination=-10.0, latitude=-30.0)

    assert pointing_of(cards).elevation == pytest.approx(altitude, abs=1e-9)


def test_elevation_and_angle_are_those_of_each_place():
    pointing = pointing_of(RUBIN)
    north, south = (pointing.view(pointing.ra, pointing.dec + step)[0] for step in (0.5, -0.5))
    toward = math.cos(math.radians(pointing.parallactic_angle))

    assert north - south == pytest.approx(toward, abs=0.01)


def test_elevation_by_time_is_lifted_by_the_air():
    computed = pointing_of(CFHT, "TELALT", "TELAZ", "HA", "HAEND", "AIRMASS")
    geometric, _ = zenith_view(computed.zenith, ra=computed.ra, dec=computed.dec)

    assert not computed.apparent
    # 58 arcsec times tan z and the pressure in atmospheres
    assert 3600 * (computed.elevation - geometric) == pytest.approx(
        58.3 * math.tan(math.radians(90 - geometric)) * 617.65 / 1013, rel=0.08
    )


def test_nothing_is_downloaded(monkeypatch):
    def refuse(*args, **kwargs):
        pytest.fail("a table of the rotation of the Earth was looked for")

    monkeypatch.setattr(iers.IERS_Auto, "open", refuse)
    assert pointing_of(HSC).elevation > 0


# --- what is missing or contradicts itself ------------------------------------------------------


@pytest.mark.parametrize(
    ("cards", "left_out", "words"),
    [
        (DECAM, ("RA", "DEC"), "without RA and DEC or a WCS"),
        (HSC, NAMES, "without the site"),
        ({"RA": 10.0, "DEC": 5.0, "TELESCOP": "Subaru"}, (), "the time of the exposure"),
        ({"RA": 10.0, "DEC": 5.0, "OBS-LAT": 5.0, "MJD-AVG": 6e4}, (), "the longitude"),
        ({**SAAO, "TELALT": 50.0}, ("MJD-OBS", "UT", "ST"), "the time of the exposure"),
    ],
    ids=["position", "site", "time", "longitude", "altitude alone"],
)
def test_missing_direction_is_refused(cards, left_out, words):
    with pytest.raises(IncompatibleError, match=words) as error:
        pointing_of(cards, *left_out, name="odd.fits")
    assert "odd.fits" in str(error.value)


def test_middle_of_the_image_stands_in_for_a_position():
    ra, dec, _ = position_of(header(DECAM))
    found = pointing_of(DECAM, "RA", "DEC", center=(ra, dec))

    assert found.elevation == pointing_of(DECAM).elevation


def test_airmass_that_contradicts_the_altitude_is_refused():
    with pytest.raises(IncompatibleError, match=r"a\.fits: AIRMASS = 1\.2, but .* airmass of 1\.8"):
        pointing_of(DECAM, AIRMASS=1.2)
    forced = pointing_of(DECAM, AIRMASS=1.2, options=PointingOptions(force=True))
    assert "AIRMASS = 1.2" in forced.notes[0]


def test_slightly_wrong_airmass_is_noted():
    assert pointing_of(DECAM, AIRMASS=1.8).notes == ()
    assert "AIRMASS = 1.7" in pointing_of(DECAM, AIRMASS=1.7).notes[0]


def test_direction_that_contradicts_the_time_is_noted_and_kept():
    found = pointing_of(DECAM, "AIRMASS", ZD=40.0)

    assert found.elevation == pytest.approx(50.0, abs=1e-9)
    assert "differ by 1" in found.notes[0]


def test_target_below_the_horizon_is_refused():
    cards = {"RA": "12:29:17.64", "DEC": "25:28:45.5", "TELESCOP": "CTIO", "EXPTIME": 10.0}
    with pytest.raises(IncompatibleError, match="below the horizon"):
        pointing_of({**cards, "DATE-OBS": "2017-03-16T18:18:30"})


@pytest.mark.parametrize(("altitude", "outcome"), [(10.0, "refused"), (15.0, "noted"), (25.0, "")])
def test_high_airmass_is_noted_or_refused(altitude, outcome):
    cards = {"BORE-ALT": altitude, "BORE-AZ": 120.0, "RA": 10.0, "DEC": 5.0, "TELESCOP": "CTIO"}
    if outcome == "refused":
        with pytest.raises(IncompatibleError, match=r"airmass of 5\.8"):
            pointing_of(cards)
    else:
        assert bool(pointing_of(cards).notes) == bool(outcome)


def test_parallactic_angle_counts_if_trusted_or_alone():
    cards = {"RA": 10.0, "DEC": 5.0, "AIRMASS": 1.5, "PARANG": 77.0}
    alone = pointing_of(cards)
    trusted = pointing_of(cards, options=PointingOptions(trust_parang=True))

    for found in (alone, trusted):
        assert found.parallactic_angle == pytest.approx(77.0)
        assert found.airmass == pytest.approx(1.5)
    assert alone.notes[0].startswith("only AIRMASS, PARANG say")
    assert trusted.notes == ()


def test_parallactic_angle_does_not_count_beside_others():
    plain = pointing_of(DECAM)
    odd = pointing_of(DECAM, PARANG=77.0)
    trusted = pointing_of(DECAM, PARANG=77.0, options=PointingOptions(trust_parang=True))

    assert odd.parallactic_angle == plain.parallactic_angle
    assert odd.notes == ()
    assert trusted.parallactic_angle == pytest.approx(77.0)


def test_parallactic_angle_without_elevation_is_not_enough():
    with pytest.raises(IncompatibleError, match="does not say where the zenith was"):
        pointing_of({"RA": 10.0, "DEC": 5.0, "PARANG": 77.0})


def test_one_message_names_all_exposures_that_cannot_be_used():
    bad = [("one.fits", {"RA": 1.0, "DEC": 2.0}), ("two.fits", {**DECAM, "AIRMASS": 1.2})]
    exposures = [
        (name, observation_from_header(header(cards)), None)
        for name, cards in [("good.fits", DECAM), *bad]
    ]
    with pytest.raises(IncompatibleError, match="2 of 3 exposures cannot be used") as error:
        resolve_pointings(exposures)
    assert "one.fits" in str(error.value)
    assert "two.fits" in str(error.value)
    assert "good.fits" not in str(error.value)

    kept = resolve_pointings(exposures, drop_incomplete=True)
    assert [pointing is None for pointing in kept] == [False, True, True]
    with pytest.raises(IncompatibleError, match="2 of 2"):
        resolve_pointings(exposures[1:], drop_incomplete=True)


def test_zenith_is_a_unit_vector():
    for cards in REAL.values():
        assert np.linalg.norm(pointing_of(cards).zenith) == pytest.approx(1.0, abs=1e-12)
