import numpy as np
import pytest

from skytool.core.difference.source_measure import (
    Pixels,
    aperture_fluxes,
    point_fluxes,
    point_positions,
)
from tests.core.points import add_stars, gaussian_psf, lattice

SHAPE = (500, 620)


def width(y, x):
    return 1.9 + 0.3 * x / SHAPE[1]


@pytest.fixture(scope="module")
def psf():
    return gaussian_psf(SHAPE, width).trimmed()


def scene(rng, low=8.0, high=40.0):
    """Return pixels with stars of both signs in noise that differs between halves."""
    variance = np.full(SHAPE, 4.0)
    variance[:, 300:] = 12.0
    y, x = lattice(SHAPE, 26, rng)
    sigma = width(y, x)
    error = np.sqrt(variance[y.astype(int), x.astype(int)] * 4 * np.pi * sigma**2)
    flux = error * rng.uniform(low, high, y.size) * rng.choice([-1, 1], y.size)
    image = add_stars(np.zeros(SHAPE), y=y, x=x, flux=flux, sigma=width)
    image += rng.standard_normal(SHAPE) * np.sqrt(variance)
    pixels = Pixels.usable(image, variance, np.zeros(SHAPE, np.bool_))
    return pixels, y, x, flux


def test_fluxes_scatter_by_their_errors_without_bias(rng, psf):
    pixels, y, x, flux = scene(rng)
    found = point_fluxes(pixels, psf, y=y, x=x)
    pull = (found.flux - flux) / found.error
    n = pull.size

    assert pull.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * n))
    assert abs(pull.mean()) < 4 / np.sqrt(n)
    weight = np.square(flux / found.error)
    bias = np.sum(weight * found.flux / flux) / weight.sum() - 1
    assert abs(bias) < 4 / np.sqrt(weight.sum())
    freedom = found.n_pixels - 1
    assert np.sum(found.chi2) / freedom.sum() == pytest.approx(
        1, abs=5 * np.sqrt(2 / freedom.sum())
    )
    np.testing.assert_allclose(found.area, 4 * np.pi * width(y, x) ** 2, rtol=5e-3)
    assert not found.failed.any()
    assert not found.edge.any()


def test_fluxes_without_noise_are_right_at_any_phase(rng, psf):
    y, x = lattice(SHAPE, 30, rng)
    flux = np.full(y.size, 1000.0)
    image = add_stars(np.zeros(SHAPE), y=y, x=x, flux=flux, sigma=width)

    found = point_fluxes(Pixels.usable(image, np.ones(SHAPE), image < -1), psf, y=y, x=x)

    np.testing.assert_allclose(found.flux, flux, rtol=3e-3)
    assert abs(np.mean(found.flux / flux) - 1) < 1e-3


def test_positions_scatter_by_their_errors(rng, psf):
    pixels, y, x, _ = scene(rng)
    found = point_positions(pixels, psf, y=np.round(y), x=np.round(x), reach=4.0)
    good = ~found.failed

    assert np.count_nonzero(~good) <= 0.02 * y.size
    n = np.count_nonzero(good)
    for value, truth, error in ((found.y, y, found.y_error), (found.x, x, found.x_error)):
        pull = ((value - truth) / error)[good]
        # errors are taken at the flux that was found: at 8 sigma the pull is wider by 1/128
        assert pull.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * n) + 0.01)
        assert abs(pull.mean()) < 4 / np.sqrt(n)


def test_position_of_nothing_stays_at_its_start(psf):
    rng = np.random.default_rng(3)
    pixels = Pixels.usable(rng.standard_normal(SHAPE), np.ones(SHAPE), np.zeros(SHAPE, np.bool_))
    found = point_positions(pixels, psf, y=[100.0], x=[200.0], reach=0.01)

    assert found.failed.tolist() == [True]
    assert (found.y[0], found.x[0]) == (100.0, 200.0)


def test_missing_pixels_neither_bias_a_flux_nor_count(rng, psf):
    pixels, y, x, flux = scene(rng, 20, 40)
    bad = np.zeros(SHAPE, np.bool_)
    bad[np.round(y).astype(int), np.round(x).astype(int) + 1] = True
    image = np.where(bad, 1e6, pixels.image)
    found = point_fluxes(Pixels.usable(image, pixels.variance, bad), psf, y=y, x=x)
    pull = (found.flux - flux) / found.error

    assert pull.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * pull.size))
    assert abs(pull.mean()) < 4 / np.sqrt(pull.size)
    assert (found.missing > 0.01).all()
    assert not found.failed.any()


@pytest.mark.parametrize(("y", "x"), [(-400.0, 30.0), (30.0, 5000.0), (np.nan, 30.0)])
def test_sources_off_the_image_have_no_flux(psf, y, x):
    pixels = Pixels.usable(np.ones(SHAPE), np.ones(SHAPE), np.zeros(SHAPE, np.bool_))
    found = point_fluxes(pixels, psf, y=[y], x=[x])

    assert found.failed.all()
    assert found.edge.all()
    assert np.isnan(found.flux).all()


def test_source_at_the_edge_is_measured_on_what_is_there(psf):
    image = add_stars(np.zeros(SHAPE), y=[0.3], x=[250.2], flux=[700.0], sigma=width)
    pixels = Pixels.usable(image, np.ones(SHAPE), np.zeros(SHAPE, np.bool_))
    found = point_fluxes(pixels, psf, y=[0.3], x=[250.2])

    assert found.flux[0] == pytest.approx(700.0, rel=3e-3)
    assert found.edge[0]
    assert 0.2 < found.missing[0] < 0.4


def test_no_sources_give_empty_columns(psf):
    pixels = Pixels.usable(np.ones(SHAPE), np.ones(SHAPE), np.zeros(SHAPE, np.bool_))

    assert point_fluxes(pixels, psf, y=[], x=[]).flux.size == 0
    assert point_positions(pixels, psf, y=[], x=[], reach=2.0).y.size == 0
    assert aperture_fluxes(pixels, y=[], x=[], radius=3.0)[0].size == 0


@pytest.mark.parametrize("radius", [1.3, 5.0, 12.0])
def test_aperture_of_a_flat_image_is_its_area(rng, radius):
    pixels = Pixels.usable(np.full(SHAPE, 2.0), np.full(SHAPE, 3.0), np.zeros(SHAPE, np.bool_))
    y, x = lattice(SHAPE, 60, rng)
    flux, error, incomplete = aperture_fluxes(pixels, y=y, x=x, radius=radius)

    area = np.pi * radius**2
    np.testing.assert_allclose(flux, 2.0 * area, rtol=1e-7)
    assert not incomplete.any()
    assert (error < np.sqrt(3.0 * area)).all()
    assert (error > np.sqrt(3.0 * area) * (1 - 1 / radius)).all()


def test_aperture_flux_is_that_of_the_star(rng):
    y, x = lattice(SHAPE, 60, rng)
    image = add_stars(np.zeros(SHAPE), y=y, x=x, flux=np.full(y.size, 100.0), sigma=2.0)
    pixels = Pixels.usable(image, np.ones(SHAPE), np.zeros(SHAPE, np.bool_))
    flux, _, _ = aperture_fluxes(pixels, y=y, x=x, radius=4.0)

    # a pixel is taken for flat, which widens the star by its variance of 1/12
    inside = 1 - np.exp(-(4.0**2) / 2 / (2.0**2 + 1 / 12))
    np.testing.assert_allclose(flux, 100 * inside, rtol=3e-3)
    assert flux.mean() == pytest.approx(100 * inside, rel=5e-4)


def test_aperture_with_missing_pixels_says_so():
    bad = np.zeros(SHAPE, np.bool_)
    bad[100, 100] = True
    pixels = Pixels.usable(np.ones(SHAPE), np.ones(SHAPE), bad)
    _, _, incomplete = aperture_fluxes(
        pixels, y=[100.0, 300.0, 2.0], x=[103.0, 300.0, 300.0], radius=6.0
    )

    assert incomplete.tolist() == [True, False, True]
