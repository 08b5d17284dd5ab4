"""Where the zenith was in real exposures, compared with what their headers say."""

import pytest

from skytool.io.sources import find_sources
from skytool.models.observation.observation import observation_from_header
from skytool.models.observation.pointing import resolve_pointing


def pointing_of(path):
    (source,) = find_sources(path)
    observation = observation_from_header(source.header)
    return resolve_pointing(observation, name=source.name), source.header


@pytest.mark.parametrize("camera", ["decam-stamps/*_ooi_*.fits", "bulge/*.fits"])
def test_zenith_is_where_the_header_has_it(shared, camera):
    paths = sorted((shared / "data").glob(camera))

    assert len(paths) > 2
    for path in paths:
        pointing, header = pointing_of(path)

        assert pointing.notes == ()
        # zenith distances are of the start, or of right ascensions of 2000 with the sidereal time
        # of the date: 0.2 degrees in 13 years
        drift = header["EXPTIME"] / 2 * 15 / 3600
        assert pointing.elevation == pytest.approx(90 - header["ZD"], abs=max(drift, 0.22))
        assert pointing.airmass == pytest.approx(header["AIRMASS"], rel=0.01)


def test_longitude_of_the_dark_energy_camera_is_turned_over(shared):
    for path in sorted((shared / "data").glob("decam-stamps/*_ooi_*.fits")):
        pointing, header = pointing_of(path)

        assert header["OBS-LONG"] > 0
        assert pointing.sources["site"].endswith("west positive")
        assert pointing.conditions.pressure == header["PRESSURE"] * 100
