"""Where light of the simulated night is, by the simulator and by the headers it wrote."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from skytool.models.dcr.refraction_shifts import local_refraction
from skytool.models.observation.observation import observation_from_header
from skytool.models.observation.pointing import resolve_pointing
from skytool.models.sky.celestial import celestial_wcs
from tests.simulate.observing import Band, Observation, Site, Weather

NIGHT = Path(__file__).parents[2] / "data" / "fixtures" / "night"
FILES = sorted(NIGHT.glob("v*_d*.fits"))
WAVELENGTHS = np.array([402.81, 440.0, 476.31, 510.0, 549.81])
BY_TIME = ("BORE-ALT", "BORE-AZ", "HA", "PARANGLE", "AIRMASS")


@pytest.mark.parametrize("left_out", [(), BY_TIME], ids=["altitude and azimuth", "time and site"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_light_is_where_the_simulator_put_it(path, left_out):
    with fits.open(path) as hdus:
        header, image = hdus[0].header.copy(), hdus["IMAGE"].header
    wcs = celestial_wcs(image, name=path.name)
    y, x = 31.0, 52.0
    ra, dec = wcs.all_pix2world(x, y, 0)
    for key in left_out:
        header.remove(key, ignore_missing=True)
    seen = observation_from_header(header)
    local = local_refraction(
        resolve_pointing(seen), wcs, y=y, x=x, reference_wavelength=header["WAVELEN"]
    )
    simulated = Observation(
        seen.mjd_mid,
        site=Site(header["OBS-LAT"], header["OBS-LONG"], header["OBS-ELEV"]),
        weather=Weather(header["AIRTEMP"], header["AIRPRESS"], header["HUMIDITY"]),
        band=Band(header["FILTER"], header["WAVELEN"], header["BANDWID"]),
    )
    place = np.atleast_1d(ra), np.atleast_1d(dec)
    there = simulated.displaced(*place, WAVELENGTHS)
    moved_x, moved_y = wcs.all_world2pix(there[0][0], there[1][0], 0)

    dy, dx = local.shifts(WAVELENGTHS)

    # 0.02 degrees of elevation and 0.1 degrees of direction of half an arcsecond, two pixels
    scale = np.hypot(dy, dx).max()
    assert np.abs(dy - (moved_y - y)).max() < 4e-3 * scale
    assert np.abs(dx - (moved_x - x)).max() < 4e-3 * scale
    assert scale > 0.01
