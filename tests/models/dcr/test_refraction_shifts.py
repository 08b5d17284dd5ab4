import math

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers
from astropy.wcs import WCS

from skytool.core.refraction.atmosphere import Conditions
from skytool.core.refraction.horizon import equatorial, parallactic_angle, zenith_at
from skytool.errors import AlgorithmError
from skytool.models.dcr.bands import Band
from skytool.models.dcr.refraction_shifts import (
    LocalRefraction,
    local_refraction,
    shifts_of_subfilters,
    subfilter_shifts,
)
from skytool.models.observation.pointing import Pointing
from skytool.models.sky.orientation import sky_orientation

G = Band(476.31, 147.0)
AIR = Conditions(-30.244639, 2663.0, 20.0, 73892.0, 40.0)
SCALE = 0.2 / 3600


def coordinates(ra, dec, *, rotation=0.0, mirrored=False, sip=False, scale=SCALE):
    """Tangent-plane coordinates; the reference pixel is near, but not at, the middle."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ("RA---TAN-SIP", "DEC--TAN-SIP") if sip else ("RA---TAN", "DEC--TAN")
    wcs.wcs.crval = ra, dec
    wcs.wcs.crpix = 60.5, 40.5
    cosine, sine = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    flip = np.diag([1.0 if mirrored else -1.0, 1.0])
    wcs.wcs.cd = scale * np.array([[cosine, -sine], [sine, cosine]]) @ flip
    if sip:
        from astropy.wcs import Sip

        a, b = np.zeros((2, 4, 4))
        a[2, 0], a[1, 1], b[0, 2], b[1, 1], a[0, 3] = 3e-5, -2e-5, 2e-5, 4e-5, 1e-7
        wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    return wcs


def at_altitude(azimuth=30.0, elevation=65.0, wcs_of=None):
    """Refraction at an azimuth and elevation, and coordinates with east to the right."""
    hour, dec = equatorial(altitude=elevation, azimuth=azimuth, latitude=AIR.latitude)
    angle = parallactic_angle(hour_angle=hour, declination=dec, latitude=AIR.latitude)
    matrix = np.diag([0.2, 0.2])
    return elevation, angle, matrix


def test_shifts_at_an_elevation_of_65_degrees_are_as_computed_elsewhere():
    elevation, _, matrix = at_altitude()
    # the position angle that goes with the numbers: theirs has the precession in it
    local = LocalRefraction(elevation, -154.127, matrix, AIR, 476.31, "lsst")
    expected = [(-0.587550, -0.284956), (-0.019159, -0.009292), (0.388558, 0.188447)]

    found = shifts_of_subfilters(local, G.subfilters(3))

    assert found.mean_amplitude / 0.2 == pytest.approx([0.65300, 0.02129, -0.43184], abs=1e-5)
    assert np.stack([found.mean_dy, found.mean_dx], axis=1) == pytest.approx(
        np.array(expected), abs=1e-5
    )


def test_sign_of_the_cubic_term_hardly_matters_at_65_degrees():
    elevation, angle, matrix = at_altitude()
    ours, theirs = (
        shifts_of_subfilters(
            LocalRefraction(elevation, angle, matrix, AIR, 476.31, variant), G.subfilters(3)
        ).mean_amplitude
        for variant in ("stone", "lsst")
    )

    # twice (beta - gamma / 2) tan^2 z
    assert ours == pytest.approx(theirs, rel=6e-4)
    assert np.abs(ours).sum() < np.abs(theirs).sum()


def test_parallactic_angle_at_an_azimuth_is_as_computed_elsewhere():
    assert at_altitude()[1] == pytest.approx(-154.127, abs=0.01)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("sip", [False, True])
def test_direction_agrees_with_astropy_in_any_orientation(mirrored, sip, rng):
    """Objects are lifted by 0.001 degrees and projected."""
    for latitude in (-30.2, 31.9):
        site = EarthLocation.from_geodetic(-70.7, latitude, 2500.0)
        for _ in range(7):
            mjd, azimuth = 60700.0 + rng.uniform(0, 300), rng.uniform(0, 360)
            elevation, rotation = rng.uniform(30, 85), rng.uniform(0, 360)
            with iers.conf.set_temp("auto_download", value=False):
                frame = AltAz(obstime=Time(mjd, format="mjd"), location=site)
                low, high = (
                    SkyCoord(azimuth * units.deg, alt * units.deg, frame=frame).icrs
                    for alt in (elevation, elevation + 0.001)
                )
            wcs = coordinates(
                low.ra.deg, low.dec.deg, rotation=rotation, mirrored=mirrored, sip=sip
            )
            (x0, x1), (y0, y1) = wcs.all_world2pix(
                [low.ra.deg, high.ra.deg], [low.dec.deg, high.dec.deg], 0
            )
            pointing = Pointing(
                zenith_at(mjd, latitude=latitude, longitude=-70.7), True, AIR, 0.0, 0.0
            )
            local = local_refraction(pointing, wcs, y=y0, x=x0, reference_wavelength=476.31)

            dy, dx = (step * local.amplitudes(402.81) for step in local.direction)

            # 18 pixels: short enough for the distortion, long enough for the rounding
            share = local.amplitudes(402.81) / 3.6
            # 0.3 arcsec are 1.5 pixels, the directions agree to 2 mrad, aberration included
            assert (dy, dx) == pytest.approx((share * (y1 - y0), share * (x1 - x0)), abs=0.01)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("south", [False, True])
def test_shift_is_along_the_meridian_on_the_meridian(mirrored, south):
    dec = -30.0 + (-35.0 if south else 35.0)
    zenith = np.array([math.cos(math.radians(-30.0)), 0.0, math.sin(math.radians(-30.0))])
    pointing = Pointing(zenith, True, AIR, 0.0, dec)
    wcs = coordinates(0.0, dec, mirrored=mirrored)

    found = subfilter_shifts(pointing, wcs, G.subfilters(3), y=39.5, x=59.5)

    towards_north = 1 if south else -1
    assert np.abs(found.dx).max() < 1e-9
    assert found.mean_dy[0] * towards_north > 0 > found.mean_dy[-1] * towards_north


@pytest.mark.parametrize("mirrored", [False, True])
def test_blue_light_is_nearer_to_the_zenith(mirrored):
    # in the west of a northern site the zenith is to the east
    zenith = np.array([math.cos(math.radians(40.0)), 0.0, math.sin(math.radians(40.0))])
    pointing = Pointing(zenith, True, AIR, -45.0, 20.0)
    wcs = coordinates(-45.0, 20.0, mirrored=mirrored)
    found = subfilter_shifts(pointing, wcs, G.subfilters(3), y=39.5, x=59.5)
    east = 1 if mirrored else -1

    assert found.mean_dx[0] * east > 0 > found.mean_dx[2] * east
    assert found.mean_dy[0] > 0 > found.mean_dy[2]
    # dispersion is steeper in the blue
    assert found.mean_amplitude[0] > -found.mean_amplitude[2] > 0
    lengths = np.hypot(found.mean_dy, found.mean_dx) * 0.2
    assert lengths == pytest.approx(np.abs(found.mean_amplitude), rel=1e-6)


def test_halves_of_a_subfilter_are_at_the_quarters_between_its_ends():
    local = LocalRefraction(40.0, 30.0, np.diag([-0.2, 0.2]), AIR, 476.31)
    subfilters = G.subfilters(3)
    ends = local.amplitudes(subfilters.limits)

    found = shifts_of_subfilters(local, subfilters)

    assert found.amplitude[:, 0] == pytest.approx(0.75 * ends[:, 0] + 0.25 * ends[:, 1])
    assert found.amplitude[:, 1] == pytest.approx(0.25 * ends[:, 0] + 0.75 * ends[:, 1])
    assert found.mean_amplitude == pytest.approx(ends.mean(axis=1))
    assert found.largest == max(np.abs(found.dy).max(), np.abs(found.dx).max())


def test_elevation_is_that_of_the_place_in_the_image():
    zenith = np.array([math.cos(math.radians(-30.0)), 0.0, math.sin(math.radians(-30.0))])
    pointing = Pointing(zenith, True, AIR, 0.0, 15.0)
    wcs = coordinates(0.0, 15.0, scale=2.0 / 3600)
    low, middle, high = (
        local_refraction(pointing, wcs, y=y, x=59.5, reference_wavelength=476.31)
        for y in (939.5, 39.5, -860.5)
    )

    assert [low.elevation, middle.elevation, high.elevation] == pytest.approx(
        [44.5, 45.0, 45.5], abs=1e-3
    )
    change = low.amplitudes(402.81) / high.amplitudes(402.81) - 1
    assert change == pytest.approx(math.radians(1.0) * 2.0, rel=0.02)  # of tan z, at 45 degrees


def test_reference_wavelength_stays_in_place():
    local = LocalRefraction(40.0, 30.0, np.diag([-0.2, 0.2]), AIR, 490.0)
    zenith = np.array([1.0, 0.0, 0.0])
    wcs = coordinates(40.0, 10.0)
    args = (Pointing(zenith, True, AIR, 40.0, 10.0), wcs, G.subfilters(3))

    assert local.shifts(490.0) == (0.0, 0.0)
    own = subfilter_shifts(*args, y=1.0, x=2.0)
    other = subfilter_shifts(*args, y=1.0, x=2.0, reference_wavelength=490.0)
    assert own.local.reference_wavelength == 476.31
    moved = own.mean_amplitude - other.mean_amplitude
    assert moved == pytest.approx(np.full(3, -other.local.amplitudes(476.31)))


def test_position_angle_is_turned_with_the_image():
    upright, turned = (coordinates(40.0, 10.0, rotation=rotation) for rotation in (0.0, 25.0))
    pointing = Pointing(np.array([1.0, 0.0, 0.0]), True, AIR, 40.0, 10.0)
    steps = [
        local_refraction(pointing, wcs, y=39.5, x=59.5, reference_wavelength=476.31).direction
        for wcs in (upright, turned)
    ]
    angles = [math.degrees(math.atan2(dx, dy)) for dy, dx in steps]

    assert abs(angles[1] - angles[0]) == pytest.approx(25.0, abs=1e-6)
    assert sky_orientation(turned, y=39.5, x=59.5).pixel_scale == pytest.approx(0.2)


def test_band_beyond_the_formula_is_refused():
    local = LocalRefraction(40.0, 30.0, np.diag([-0.2, 0.2]), AIR, 300.0)
    with pytest.raises(AlgorithmError, match=r"refraction at 2\d\d nm"):
        shifts_of_subfilters(local, Band(300.0, 200.0).subfilters(2))
