import math

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers

from skytool.core.refraction.horizon import (
    carried,
    equatorial,
    horizontal,
    parallactic_angle,
    zenith_at,
    zenith_from,
    zenith_view,
)
from skytool.core.sphere import directions as spherical

PLACES = [
    (mjd, lat, lon) for mjd in (57828.2, 60781.3) for lat, lon in ((-30.2, -70.7), (52.1, 11))
]


@pytest.fixture(autouse=True)
def offline():
    with iers.conf.set_temp("auto_download", value=False), iers.conf.set_temp("auto_max_age", None):
        yield


def astropy_frame(mjd, latitude, longitude):
    site = EarthLocation.from_geodetic(longitude, latitude, 2000.0)
    return AltAz(obstime=Time(mjd, format="mjd"), location=site, pressure=0 * units.hPa)


@pytest.mark.parametrize(("mjd", "latitude", "longitude"), PLACES)
def test_zenith_is_that_of_astropy(mjd, latitude, longitude):
    frame = astropy_frame(mjd, latitude, longitude)
    theirs = SkyCoord(
        AltAz(
            az=0 * units.deg,
            alt=90 * units.deg,
            obstime=frame.obstime,
            location=frame.location,
            pressure=frame.pressure,
        )
    ).icrs
    ours = zenith_at(mjd, latitude=latitude, longitude=longitude)
    apart = spherical.separation(ours, spherical.unit_vectors(theirs.ra.deg, theirs.dec.deg))

    # aberration is 20.5 arcsec, UT1 - UTC below 0.9 s
    assert math.degrees(apart) * 3600 < 20.6 + 0.9 * 15


@pytest.mark.parametrize(("mjd", "latitude", "longitude"), PLACES)
def test_zenith_is_seen_where_astropy_sees_it(mjd, latitude, longitude, rng):
    frame = astropy_frame(mjd, latitude, longitude)
    zenith = zenith_at(mjd, latitude=latitude, longitude=longitude)
    for azimuth, altitude in zip(rng.uniform(0, 360, 4), rng.uniform(20, 80, 4), strict=True):
        place = AltAz(
            azimuth * units.deg,
            altitude * units.deg,
            obstime=frame.obstime,
            location=frame.location,
            pressure=frame.pressure,
        )
        higher = AltAz(
            azimuth * units.deg,
            (altitude + 0.01) * units.deg,
            obstime=frame.obstime,
            location=frame.location,
            pressure=frame.pressure,
        )
        place, higher = SkyCoord(place).icrs, SkyCoord(higher).icrs

        elevation, angle = zenith_view(zenith, ra=place.ra.deg, dec=place.dec.deg)

        assert elevation == pytest.approx(altitude, abs=35 / 3600)
        turned = angle - place.position_angle(higher).deg
        near_zenith = 1 / math.cos(math.radians(altitude))
        assert (turned + 180) % 360 - 180 == pytest.approx(0, abs=0.02 * near_zenith)


@pytest.mark.parametrize("latitude", [-30.0, 45.0])
def test_zenith_is_north_or_south_on_the_meridian(latitude):
    south = parallactic_angle(hour_angle=0.0, declination=latitude - 20.0, latitude=latitude)
    north = parallactic_angle(hour_angle=0.0, declination=latitude + 20.0, latitude=latitude)

    assert south == 0.0
    assert abs(north) == 180.0


def test_zenith_is_to_the_east_of_what_is_in_the_west():
    west = parallactic_angle(hour_angle=40.0, declination=10.0, latitude=45.0)
    east = parallactic_angle(hour_angle=-40.0, declination=10.0, latitude=45.0)

    assert 0 < west < 180
    assert east == -west


def test_horizon_and_equator_change_into_each_other(rng):
    for latitude in (-30.2, 51.0):
        hours, decs = rng.uniform(-179, 179, 20), rng.uniform(-89, 89, 20)
        for hour_angle, declination in zip(hours, decs, strict=True):
            altitude, azimuth = horizontal(
                hour_angle=hour_angle, declination=declination, latitude=latitude
            )
            back = equatorial(altitude=altitude, azimuth=azimuth, latitude=latitude)

            assert back == pytest.approx((hour_angle, declination), abs=1e-9)


def test_what_has_crossed_the_meridian_is_in_the_west():
    altitude, azimuth = horizontal(hour_angle=30.0, declination=0.0, latitude=40.0)

    assert 180 < azimuth < 270
    assert altitude == pytest.approx(
        math.degrees(math.asin(math.cos(math.radians(30)) * math.cos(math.radians(40))))
    )


def test_view_and_zenith_are_inverse(rng):
    for ra, dec, elevation, angle in rng.uniform([0, -80, 10, -179], [360, 80, 85, 179], (20, 4)):
        zenith = zenith_from(ra=ra, dec=dec, elevation=elevation, position_angle=angle)

        assert np.linalg.norm(zenith) == pytest.approx(1.0, abs=1e-14)
        assert zenith_view(zenith, ra=ra, dec=dec) == pytest.approx((elevation, angle), abs=1e-9)


def test_view_agrees_with_the_parallactic_angle():
    # a frame whose equator is that of the coordinates: hour angle 25 degrees
    latitude, ra, dec = -30.0, 100.0, -10.0
    zenith = spherical.unit_vectors(ra + 25.0, latitude)
    elevation, angle = zenith_view(zenith, ra=ra, dec=dec)

    altitude, _ = horizontal(hour_angle=25.0, declination=dec, latitude=latitude)
    assert elevation == pytest.approx(altitude, abs=1e-10)
    assert angle == pytest.approx(
        parallactic_angle(hour_angle=25.0, declination=dec, latitude=latitude), abs=1e-10
    )


def test_zenith_is_carried_as_the_sky_turns():
    before = zenith_at(60781.3, latitude=-30.2, longitude=-70.7)
    after = zenith_at(60781.3 + 600 / 86400, latitude=-30.2, longitude=-70.7)
    apart = spherical.separation(carried(before, 600.0), after)

    # the pole has moved by 0.14 degrees since 2000, the zenith turned by 2.5 degrees
    assert math.degrees(apart) < math.radians(2.5) * 0.15
