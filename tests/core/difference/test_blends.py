import numpy as np
import pytest

from skytool.core.difference.blends import separate
from skytool.core.difference.source_measure import Pixels
from tests.core.points import add_stars, gaussian_psf

SHAPE = (120, 170)
SIGMA, VARIANCE = 2.0, 4.0
ERROR = np.sqrt(VARIANCE * 4 * np.pi) * SIGMA  # of the flux of a star alone
APART = 2.3548 * SIGMA


@pytest.fixture(scope="module")
def psf():
    return gaussian_psf(SHAPE, SIGMA).trimmed()


def pixels(image):
    return Pixels.usable(image, np.full(SHAPE, VARIANCE, np.float32), np.zeros(SHAPE, np.bool_))


def fitted(image, psf, y, x, sign, **changes):
    arrays = (np.asarray(values, float) for values in (y, x, sign))
    names = zip(("y", "x", "sign"), arrays, strict=True)
    return separate(
        pixels(image), psf, **dict(names), **{"threshold": 5.0, "apart": APART, **changes}
    )


@pytest.mark.parametrize("second", [0.6, -0.6])
@pytest.mark.parametrize("distance", [5.0, 7.0, 10.0])
def test_two_sources_are_measured_as_if_the_other_were_not_there(rng, psf, second, distance):
    y, x = np.array([60.3, 60.3 + 0.6 * distance]), np.array([80.4, 80.4 + 0.8 * distance])
    flux = 60 * ERROR * np.array([1.0, second])
    pulls = []
    for _ in range(40):
        image = np.sqrt(VARIANCE) * rng.normal(size=SHAPE)
        add_stars(image, y=y, x=x, flux=flux, sigma=SIGMA)
        found = fitted(image, psf, np.round(y), np.round(x), np.sign(flux))
        assert found.peak.tolist() == [0, 1]
        pulls.append(
            [
                (found.flux - flux) / found.flux_error,
                (found.y - y) / found.y_error,
                (found.x - x) / found.x_error,
            ]
        )
        # rho = exp(-d^2 / 4 sigma^2) of the light of one is under the other
        overlap = np.exp(-(distance**2) / (4 * SIGMA**2))
        error = ERROR / np.sqrt(1 - overlap**2)
        np.testing.assert_allclose(found.flux_error, error, rtol=0.02)

    spread = np.std(pulls, axis=0)
    # 80 values each; fluxes of positions that are fitted, too, scatter a little more
    assert spread.min() > 0.75
    assert spread.max() < 1.35
    assert np.abs(np.mean(pulls, axis=0)).max() < 4 / np.sqrt(40)


def test_a_peak_that_is_not_significant_beside_the_other_is_no_source(rng, psf):
    image = np.sqrt(VARIANCE) * rng.normal(size=SHAPE)
    add_stars(image, y=[60.0], x=[80.0], flux=[50 * ERROR], sigma=SIGMA)

    found = fitted(image, psf, [60, 60], [80, 86], [1, 1])

    assert found.peak.tolist() == [0]
    assert found.flux[0] == pytest.approx(50 * ERROR, abs=4 * ERROR)


def test_a_peak_nearer_than_the_stars_are_wide_is_no_source(rng, psf):
    image = np.sqrt(VARIANCE) * rng.normal(size=SHAPE)
    add_stars(image, y=[60.0, 60.0], x=[80.0, 83.0], flux=[50 * ERROR, 40 * ERROR], sigma=SIGMA)

    assert len(fitted(image, psf, [60, 60], [80, 83], [1, 1])) == 1
    assert len(fitted(image, psf, [60, 60], [80, 83], [1, 1], apart=2.0)) == 2


def test_a_peak_of_the_wrong_sign_is_no_source(rng, psf):
    image = np.sqrt(VARIANCE) * rng.normal(size=SHAPE)
    add_stars(image, y=[60.0, 60.0], x=[80.0, 90.0], flux=[50 * ERROR, 40 * ERROR], sigma=SIGMA)

    assert len(fitted(image, psf, [60, 60], [80, 90], [1, -1])) == 1


def test_many_sources_at_the_edge_of_the_image_are_told_apart(rng, psf):
    y, x = np.array([2.0, 3.0, 10.0, 12.0, 20.0]), np.array([1.0, 12.0, 3.0, 14.0, 8.0])
    flux = ERROR * np.array([90.0, -80.0, 70.0, 60.0, -50.0])
    image = np.sqrt(VARIANCE) * rng.normal(size=SHAPE)
    add_stars(image, y=y, x=x, flux=flux, sigma=SIGMA)

    found = fitted(image, psf, y, x, np.sign(flux))

    assert len(found) == 5
    np.testing.assert_allclose(found.flux, flux, atol=6 * ERROR)
    assert np.abs((found.flux - flux) / found.flux_error).max() < 4.5
