import numpy as np
import pytest

from skytool.core.dcr.basis import BandBasis, band_nodes
from skytool.core.dcr.predict import predict_spectral
from skytool.core.dcr.region import LsqRule, solve_region, weighted_mean
from skytool.core.dcr.region_records import RegionExposure
from tests.stages.chromatic import Sky, stamp

NODES = band_nodes(3)
BASIS = BandBasis.polynomials(3, 3)
NOISE = 5.0
AIRMASSES = (1.05, 1.3, 1.5, 1.7, 1.9, 1.4)
SHAPE = (110, 120)


@pytest.fixture(scope="module")
def night():
    rng = np.random.default_rng(11)
    sky = Sky.random(rng, SHAPE, 14, faintest=4.0)
    angles = rng.uniform(-1.3, 1.3, len(AIRMASSES))
    images = [
        sky.exposure(airmass, angle) + rng.normal(scale=NOISE, size=SHAPE)
        for airmass, angle in zip(AIRMASSES, angles, strict=True)
    ]
    return sky, angles, [image.astype("f4") for image in images]


def exposure(sky, image, airmass, angle, *, usable=None, psf=True, fwhm=4.0):
    dy, dx = sky.shifts(NODES, airmass, angle)
    return RegionExposure(
        image=image,
        variance=np.full(image.shape, NOISE**2, np.float32),
        usable=np.ones(image.shape, bool) if usable is None else usable,
        weight=NOISE**-2,
        dy=dy,
        dx=dx,
        psf=stamp(fwhm) if psf else None,
    )


def solved(exposures, rule=None):
    weights = [np.where(e.usable, np.float32(e.weight), np.float32(0)) for e in exposures]
    mean = weighted_mean([e.image for e in exposures], weights)
    core = (slice(None), slice(None))
    rule = rule or LsqRule()
    return mean, solve_region(exposures, mean, BASIS, rule, core=core)


def held_out_ratio(sky, solution, mean, airmass=1.6, angle=0.4):
    """Return by how much better a prediction is than the mean, inside of sources."""
    truth = sky.exposure(airmass, angle)
    found = predict_spectral(
        list(solution.subfilters), *sky.shifts(NODES, airmass, angle), smooth=True
    )
    inside = truth > 4 * NOISE
    return np.sqrt(np.square(mean - truth)[inside].mean() / np.square(found - truth)[inside].mean())


@pytest.fixture(scope="module")
def plain(night):
    sky, angles, images = night
    exposures = [exposure(sky, *rest) for rest in zip(images, AIRMASSES, angles, strict=True)]
    return solved(exposures)


def test_unseen_exposure_is_predicted_much_better_than_by_the_mean(night, plain):
    mean, solution = plain

    assert held_out_ratio(night[0], solution, mean) > 10


def test_colours_and_fluxes_of_stars_are_recovered(night, plain):
    sky = night[0]
    _, solution = plain
    found, true = [], []
    for number, (y, x) in enumerate(zip(sky.y, sky.x, strict=True)):
        apart = np.hypot(sky.y - y, sky.x - x)
        apart[number] = np.inf
        if apart.min() < 16:
            continue
        rows, columns = (slice(max(round(c) - 8, 0), round(c) + 9) for c in (y, x))
        blue, middle, red = solution.subfilters[:, rows, columns].sum(axis=(1, 2))
        total = blue + middle + red
        found.append((red - blue) / total)
        true.append(sky.slope[number] * 4 / 9)
        assert total == pytest.approx(sky.flux[number], rel=0.01)

    assert len(found) >= 4
    slope, zero = np.polyfit(true, found, 1)
    assert slope == pytest.approx(1.0, abs=0.1)
    assert zero == pytest.approx(0.0, abs=0.02)


def test_variances_are_those_of_the_noise():
    rng = np.random.default_rng(3)
    sky = Sky.random(rng, (130, 140), 0)
    angles = rng.uniform(-1.3, 1.3, len(AIRMASSES))
    exposures = [
        exposure(sky, rng.normal(scale=NOISE, size=sky.shape).astype("f4"), airmass, angle)
        for airmass, angle in zip(AIRMASSES, angles, strict=True)
    ]

    _, solution = solved(exposures)

    inner = (slice(8, -8), slice(8, -8))
    total = solution.subfilters.sum(axis=0)[inner]
    assert total.var() == pytest.approx(float(np.median(solution.variance)), rel=0.15)
    for image, variance in zip(solution.subfilters, solution.subfilter_variances, strict=True):
        assert image[inner].var() == pytest.approx(float(np.median(variance)), rel=0.2)


def test_masked_pixels_do_not_leak(night, plain):
    sky, angles, images = night
    rng = np.random.default_rng(5)
    exposures = []
    for image, airmass, angle in zip(images, AIRMASSES, angles, strict=True):
        usable = rng.random(SHAPE) > 0.06
        spoilt = np.where(usable, image, np.float32(1e5))
        exposures.append(exposure(sky, spoilt, airmass, angle, usable=usable))

    mean, solution = solved(exposures)

    assert held_out_ratio(sky, solution, mean) > held_out_ratio(sky, plain[1], mean) / 1.3


def test_streak_in_one_exposure_is_rejected(night):
    sky, angles, images = night
    spoilt = [image.copy() for image in images]
    spoilt[2][40:43] += 3000.0
    exposures = [exposure(sky, *rest) for rest in zip(spoilt, AIRMASSES, angles, strict=True)]

    mean, robust = solved(exposures)
    _, naive = solved(exposures, LsqRule(robust_sigma=0.0))

    assert robust.rejected[40:43].mean() > 0.95
    assert robust.rejected[60:].mean() < 0.01
    assert held_out_ratio(sky, robust, mean) > 5 * held_out_ratio(sky, naive, mean)


def test_exposures_in_the_zenith_have_no_colours(night):
    sky, _, _ = night
    rng = np.random.default_rng(7)
    image = sky.exposure(1.0, 0.0)
    exposures = [
        exposure(sky, (image + rng.normal(scale=NOISE, size=SHAPE)).astype("f4"), 1.0, 0.0)
        for _ in range(4)
    ]

    _, solution = solved(exposures)

    third = solution.subfilters.sum(axis=0) / 3
    np.testing.assert_allclose(solution.subfilters, [third] * 3, atol=1e-3 * image.max())


def test_sky_with_the_sharpest_psf_is_shown_with_all_of_them():
    rng = np.random.default_rng(13)
    sky = Sky.random(rng, SHAPE, 10, faintest=4.0)
    angles = rng.uniform(-1.3, 1.3, len(AIRMASSES))
    widths = (3.6, 4.4, 5.0, 3.9, 4.7, 4.2)
    exposures = []
    for airmass, angle, fwhm in zip(AIRMASSES, angles, widths, strict=True):
        image = sky.exposure(airmass, angle, fwhm=fwhm) + rng.normal(scale=NOISE, size=SHAPE)
        exposures.append(exposure(sky, image.astype("f4"), airmass, angle, fwhm=fwhm))

    _, aware = solved(exposures, LsqRule(psf_aware=True))
    _, blind = solved(exposures)

    chi2 = [np.sqrt(s.misfits[:, 1].sum() / s.misfits[:, 2].sum()) for s in (aware, blind)]
    assert chi2[0] < 1.3
    assert chi2[1] > 5 * chi2[0]
    zenith = sky.exposure(1.0, 0.0, fwhm=3.6)
    brightest = np.unravel_index(zenith.argmax(), SHAPE)
    assert aware.subfilters.sum(axis=0)[brightest] == pytest.approx(zenith.max(), rel=0.05)


def test_pixels_of_no_exposure_have_infinite_variance(night):
    sky, angles, images = night
    usable = np.ones(SHAPE, bool)
    usable[30:36, 50:60] = False
    exposures = [
        exposure(sky, np.where(usable, image, np.float32(0)), airmass, angle, usable=usable)
        for image, airmass, angle in zip(images, AIRMASSES, angles, strict=True)
    ]

    _, solution = solved(exposures)

    np.testing.assert_array_equal(np.isinf(solution.variance), ~usable)
    np.testing.assert_array_equal(solution.count == 0, ~usable)
    assert np.isfinite(solution.subfilters).all()
