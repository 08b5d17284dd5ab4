import itertools
import math

import erfa
import numpy as np
import pytest
from astropy import units
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers

from tests.simulate import (
    Band,
    Camera,
    Observation,
    Profile,
    SimulatedPsf,
    Site,
    Weather,
    jacobian,
    mjd_at_hour_angle,
    random_stars,
    simulate_exposure,
    sky_pattern,
    sources,
    tan_wcs,
)
from tests.simulate.detector import bled
from tests.simulate.draw import draw_sources
from tests.simulate.psf import Box

RA, DEC = 150.1, -30.2
SHAPE = (120, 90)


def a_wcs(*, rotation=25.0, with_sip=False, flip=False):
    sip = None
    if with_sip:
        sip = np.zeros((2, 4, 4))
        sip[0, 2, 0], sip[0, 1, 1], sip[1, 0, 2], sip[1, 0, 3] = 3e-5, -2e-5, 2e-5, 1e-7
    return tan_wcs(
        ra=RA,
        dec=DEC,
        pixel_scale=0.25,
        reference=(61.3, 42.8),
        rotation=rotation,
        flip=flip,
        sip=None if sip is None else tuple(sip),
    )


def sky_at(wcs, *, y, x):
    return (float(angle) for angle in wcs.all_pix2world(x, y, 0))


def centroid(image):
    y, x = np.indices(image.shape)
    return np.sum(image * y) / image.sum(), np.sum(image * x) / image.sum()


@pytest.mark.parametrize("with_sip", [False, True])
@pytest.mark.parametrize("beta", [2.8, math.inf])
def test_star_has_its_flux_and_its_centroid_at_its_position(with_sip, beta):
    wcs = a_wcs(with_sip=with_sip)
    ra, dec = sky_at(wcs, y=53.37, x=40.81)
    psf = SimulatedPsf(3.1, beta, g1=0.05, g2=-0.1, radius=16.0)

    image, y, x = draw_sources(sources(ra, dec, 2.5e4), wcs, SHAPE, psf)

    assert image.sum() == pytest.approx(2.5e4, rel=1e-6)
    assert centroid(image) == pytest.approx((53.37, 40.81), abs=1e-5)
    assert (y[0], x[0]) == pytest.approx((53.37, 40.81), abs=1e-6)


def test_pixels_of_a_gaussian_hold_its_integral():
    profile = Profile(3.0, math.inf, radius=30.0)
    y, x, box = 4.3, 5.6, Box(0, 0, 9, 11)

    image = profile.integrated(np.array([y]), np.array([x]), np.ones(1), box)

    width = 3.0 / math.sqrt(8 * math.log(2))

    def share(edges):
        return np.diff([0.5 * math.erf(edge / width / math.sqrt(2)) for edge in edges])

    rows, columns = share(np.arange(10) - 0.5 - y), share(np.arange(12) - 0.5 - x)
    np.testing.assert_allclose(image, rows[:, None] * columns, atol=1e-8)


@pytest.mark.parametrize("profile", [Profile(3.7, 3.2), Profile(4.1, 2.5, g1=0.1, g2=0.2)])
def test_profile_has_its_width_in_the_mean_over_both_axes(profile):
    from_peak = profile.density(np.zeros(1), np.zeros(1))[0]
    angles = np.linspace(0, np.pi, 400, endpoint=False)
    r = np.linspace(0.5, 5, 4000)[:, None]
    halves = r[
        np.argmin(abs(profile.density(r * np.sin(angles), r * np.cos(angles)) - from_peak / 2), 0)
    ]

    assert np.sqrt(halves.max() * halves.min()) == pytest.approx(profile.fwhm / 2, abs=2e-3)
    assert halves.max() / halves.min() == pytest.approx(
        (1 + np.hypot(profile.g1, profile.g2)) / (1 - np.hypot(profile.g1, profile.g2)), abs=3e-3
    )


def test_psf_changes_over_the_detector_as_told():
    psf = SimulatedPsf(4.0, fwhm_slope=(0.1, -0.05), shear_slope=(0.02, 0.03), shape=SHAPE)

    corner = psf.at(y=SHAPE[0] - 0.5, x=-0.5)

    assert corner.fwhm == pytest.approx(4.0 * 1.15)
    assert (corner.g1, corner.g2) == pytest.approx((0.02, -0.03))
    assert not psf.is_constant


def as_stars(*, ra, dec, radius, axis_ratio, angle, step):
    """Return a tapered exponential disc as a lattice of stars, ``step`` in half-light radii."""
    n = int(5 / step)
    major, minor = (
        plane.ravel() for plane in np.meshgrid(*2 * [step * (np.arange(2 * n + 1) - n)])
    )
    r = np.hypot(major, minor)
    taper = np.clip(4 * r / 5 - 3, 0, 1)
    light = np.exp(-1.678346 * r) * (1 - taper * taper * (3 - 2 * taper))
    major, minor = radius * major, radius * axis_ratio * minor
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    decs = dec + (major * c - minor * s) / 3600
    ras = ra + (major * s + minor * c) / 3600 / np.cos(np.radians(decs))
    return sources(ras, decs, light / light.sum())[light > 0]


def test_galaxy_is_the_sum_of_many_stars_in_its_place():
    wcs = a_wcs(with_sip=True)
    ra, dec = sky_at(wcs, y=58.4, x=44.1)
    psf, form = SimulatedPsf(3.0, 3.5), {"radius": 0.7, "axis_ratio": 0.6, "angle": 30.0}
    galaxy = sources(ra, dec, 1.0, sersic=1.0, **form)

    drawn, _, _ = draw_sources(galaxy, wcs, SHAPE, psf)
    coarse, fine = (
        draw_sources(as_stars(ra=ra, dec=dec, step=step, **form), wcs, SHAPE, psf)[0]
        for step in (0.4, 0.2)
    )

    # the cusp of a disc makes the error of a lattice go as the third power of its step
    np.testing.assert_allclose(drawn, (8 * fine - coarse) / 7, atol=1e-3 * fine.max())
    assert np.max(abs(fine - drawn)) > 1e-3 * fine.max()
    assert drawn.sum() == pytest.approx(1.0, rel=1e-6)


def test_pull_of_the_noise_is_one():
    stars = random_stars(30, ra=RA, dec=DEC, width=30.0, flux=(1e3, 1e5), seed=4)
    exposure = simulate_exposure(
        stars,
        a_wcs(),
        SHAPE,
        SimulatedPsf(3.4),
        seed=8,
        camera=Camera(gain=1.7, read_noise=7.0),
        zero_point=29.3,
        sky=310.0,
        background=12.0,
        pattern=sky_pattern(SHAPE, 1),
    )

    residual = exposure.image - exposure.truth.sources - exposure.truth.background
    pull = residual / np.sqrt(exposure.variance)

    assert pull.std() == pytest.approx(1, abs=4 / math.sqrt(2 * pull.size))
    assert pull.mean() == pytest.approx(0, abs=4 / math.sqrt(pull.size))
    assert abs(np.mean(pull[1:] * pull[:-1])) < 4 / math.sqrt(pull.size)


def test_measured_variance_is_that_of_the_noisy_pixels():
    camera = Camera(gain=2.0, read_noise=5.0)
    exposure = simulate_exposure(
        sources(RA, DEC, 100.0),
        a_wcs(),
        SHAPE,
        SimulatedPsf(3.0),
        seed=3,
        camera=camera,
        sky=100.0,
        measured_variance=True,
    )

    electrons = 2.0 * (exposure.image.astype(np.float64) + 100.0)

    np.testing.assert_allclose(exposure.variance, (electrons + 25.0) / 4.0, rtol=1e-5)


def test_same_seed_gives_the_same_exposure_and_another_does_not():
    def exposure(seed):
        return simulate_exposure(
            sources(RA, DEC, 1e4), a_wcs(), SHAPE, SimulatedPsf(3.0), seed=seed, n_cosmic_rays=4
        )

    one, again, other = exposure(5), exposure(5), exposure(6)

    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.mask, again.mask)
    assert not np.array_equal(one.image, other.image)
    assert not np.array_equal(one.mask, other.mask)


def test_bleeding_keeps_the_charge_and_stays_in_the_column():
    image = np.full((40, 11), 10.0)
    image[17:20, 4] = 500.0, 900.0, 350.0

    result, full = bled(image, 100.0)

    assert result.sum() == pytest.approx(image.sum())
    assert result.max() == 100.0
    assert set(np.flatnonzero(full.any(axis=0))) == {4}
    poured = (1750.0 - 300.0) / 2 / 90.0  # pixels that each side takes
    assert full[:, 4].sum() == 3 + 2 * int(poured)
    np.testing.assert_array_equal(np.delete(result, 4, axis=1), 10.0)


def test_flaws_are_flagged_where_they_are():
    camera = Camera(
        full_well=20000.0,
        bad_columns=((23, 10, 60, -77.0),),
        lost=(slice(110, 120), slice(80, 90)),
    )
    wcs = a_wcs()
    ra, dec = sky_at(wcs, y=50.0, x=60.0)
    exposure = simulate_exposure(
        sources(ra, dec, 9e5),
        wcs,
        SHAPE,
        SimulatedPsf(3.0),
        seed=2,
        camera=camera,
        n_cosmic_rays=5,
        flag_sources=True,
    )

    assert np.all(exposure.image[10:60, 23] == -77.0)
    assert exposure.flagged("BAD").sum() == 50
    assert np.array_equal(np.isnan(exposure.image), exposure.flagged("NO_DATA"))
    assert np.array_equal(np.isinf(exposure.variance), exposure.flagged("NO_DATA"))
    assert exposure.flagged("NO_DATA").sum() == 100
    full = exposure.image > (20000.0 / 1.5 - 500.0) * 0.999
    assert full.sum() > 10
    assert np.all(exposure.flagged("SAT")[full])
    assert exposure.flagged("CR").sum() >= 5
    assert exposure.flagged("DETECTED")[50, 60]
    assert not exposure.flagged("DETECTED")[5, 5]


def test_sky_pattern_is_small_of_mean_zero_and_of_its_detector():
    one, two = sky_pattern(SHAPE, 1), sky_pattern(SHAPE, 2)

    assert one.mean() == pytest.approx(0, abs=1e-15)
    assert 0.003 < one.std() < 0.03
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.9


@pytest.mark.parametrize("hour_angle", [-4.6, -0.3, 3.9])
def test_direction_of_the_zenith_agrees_with_astropy(hour_angle):
    site = Site()
    mjd = mjd_at_hour_angle(hour_angle, ra=RA, dec=DEC, night=60700.25, site=site)
    observation = Observation(mjd, site=site)
    altitude, azimuth, angle = np.degrees(observation.horizontal(RA, DEC))
    with iers.conf.set_temp("auto_download", False):
        frame = AltAz(
            obstime=Time(mjd, format="mjd", scale="utc"),
            location=EarthLocation.from_geodetic(
                site.longitude * units.deg, site.latitude * units.deg, site.height * units.m
            ),
        )
        place = SkyCoord(RA * units.deg, DEC * units.deg)
        expected = place.transform_to(frame)
        above = SkyCoord(alt=expected.alt + 0.01 * units.deg, az=expected.az, frame=frame)
        to_zenith = place.position_angle(above.transform_to("icrs")).wrap_at(180 * units.deg)

    # aberration and nutation, 20 arcsec each, are left out; they turn directions near the zenith
    near_zenith = 1 / np.cos(np.radians(altitude))
    assert altitude == pytest.approx(expected.alt.deg, abs=0.012)
    assert azimuth % 360 == pytest.approx(expected.az.deg, abs=0.012 * near_zenith)
    assert angle == pytest.approx(to_zenith.deg, abs=0.012 * near_zenith)
    assert np.degrees(observation.hour_angle(RA, DEC)) / 15 == pytest.approx(hour_angle, abs=1e-4)


@pytest.mark.parametrize("altitude", [30.0, 45.0, 70.0])
def test_refraction_agrees_with_erfa(altitude):
    weather = Weather(temperature=9.0, pressure=77000.0, humidity=40.0)
    observation = Observation(60700.0, weather=weather)
    blue, red = 0.42, 0.54

    ours = observation.refraction(np.array([blue, red]) * 1000, np.radians(altitude))
    tan_z = np.tan(np.radians(90 - altitude))
    a, b = np.array([erfa.refco(770.0, 9.0, 0.4, wavelength) for wavelength in (blue, red)]).T
    theirs = a * tan_z + b * tan_z**3

    np.testing.assert_allclose(ours, theirs, rtol=2e-3)
    assert ours[0] - ours[1] == pytest.approx(theirs[0] - theirs[1], rel=0.01)


@pytest.mark.parametrize("slope", [-3.0, -1.0, 0.0, 2.5])
def test_shares_of_subfilters_are_those_of_the_wavelengths(slope):
    band = Band()
    shares = band.subfilter_shares(slope, 3)[0]
    wavelengths = np.linspace(*band.limits, 300_001)
    photons = wavelengths**slope
    edges = np.linspace(*band.limits, 4)
    expected = [
        np.sum(photons[(wavelengths >= low) & (wavelengths < high)]) / photons.sum()
        for low, high in itertools.pairwise(edges)
    ]

    np.testing.assert_allclose(shares, expected, atol=1e-5)
    assert band.nodes(slope)[1].sum() == pytest.approx(1)


@pytest.mark.parametrize("flip", [False, True])
def test_blue_star_is_nearer_to_the_zenith_than_a_red_one(flip):
    wcs = a_wcs(flip=flip)
    observation = Observation(mjd_at_hour_angle(-4.4, ra=RA, dec=DEC, night=60700.0, site=Site()))
    psf = SimulatedPsf(3.2)

    def place(slope):
        image, y, x = draw_sources(sources(RA, DEC, 1e5, slope=slope), wcs, SHAPE, psf, observation)
        assert (y[0], x[0]) == pytest.approx(centroid(image), abs=1e-4)
        return np.array([y[0], x[0]])

    east, north = jacobian(wcs, y=61.3, x=42.8) @ (place(-4.0) - place(4.0))
    altitude, _, angle = observation.horizontal(RA, DEC)
    apparent = observation.apparent_altitude(altitude)
    wavelengths, shares = Band().nodes([-4.0, 4.0], n=30)
    shift = observation.refraction(wavelengths, apparent) @ (shares[0] - shares[1])

    assert math.hypot(east, north) == pytest.approx(np.degrees(shift) * 3600, rel=1e-4)
    assert math.atan2(east, north) == pytest.approx(float(angle), abs=1e-4)
    assert np.degrees(shift) * 3600 > 0.1


def test_refraction_smears_a_star_along_the_zenith_direction_alone():
    wcs = a_wcs(rotation=0.0)
    observation = Observation(mjd_at_hour_angle(4.6, ra=RA, dec=DEC, night=60700.0, site=Site()))
    star, psf = sources(RA, DEC, 1e5), SimulatedPsf(3.0, math.inf)
    still, _, _ = draw_sources(star, wcs, SHAPE, psf)
    smeared, _, _ = draw_sources(star, wcs, SHAPE, psf, observation)

    def moments(image):
        middle_y, middle_x = centroid(image)
        y, x = np.indices(image.shape)
        dy, dx = y - middle_y, x - middle_x
        pairs = ((dy, dy), (dy, dx), (dx, dx))
        yy, xy, xx = (np.sum(image * one * two) / image.sum() for one, two in pairs)
        return np.array([[yy, xy], [xy, xx]])

    added = jacobian(wcs, y=61.3, x=42.8)
    added = added @ (moments(smeared) - moments(still)) @ added.T  # over (east, north)
    values, vectors = np.linalg.eigh(added)
    _, _, angle = observation.horizontal(RA, DEC)
    along = vectors[:, 1]

    assert values[1] > 0.02  # [arcsec squared]
    assert abs(values[0]) < 1e-4
    assert abs(along @ [math.sin(angle), math.cos(angle)]) == pytest.approx(1, abs=1e-4)
