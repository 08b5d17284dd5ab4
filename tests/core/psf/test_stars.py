from dataclasses import replace

import numpy as np
import pytest

from skytool.core.psf.neighbours import with_found_neighbours
from skytool.core.psf.samples import sampled
from skytool.core.psf.stars import FIRST_NEIGHBOUR, SKY, Neighbours, Stars, fit_stars
from tests.core.psf.test_samples import HALF, field, lattice

SIDE = 2 * HALF + 1
SKY_VARIANCE = 50.0


def stars(rng, n=30, *, flux=1e5, noise=True, companions=(), sky=7.0):
    """Return stamps of stars on a sky, their places, and the model.

    `companions` are ``(star, y, x, flux)``, their places from the middle of the stamp.
    """
    model = sampled(field(), HALF, 2)
    row, column = rng.integers(0, 300, n), rng.integers(0, 410, n)
    y, x = rng.uniform(-0.5, 0.5, (2, n))
    rows, columns = lattice(y, x)
    light = flux * model.images(y=row + y, x=column + x, rows=rows, columns=columns)
    for star, at_y, at_x, own in companions:
        rows, columns = lattice(np.array([at_y]), np.array([at_x]))
        at = {"y": row[[star]] + 0.0, "x": column[[star]] + 0.0}
        light[star] += own * model.images(**at, rows=rows, columns=columns)[0]
    variance = light + SKY_VARIANCE
    image = light + sky + (rng.normal(size=light.shape) * np.sqrt(variance) if noise else 0.0)
    start = np.zeros(n)
    return Stars(image, 1 / variance, row, column, start, start.copy()), (y, x), model


def test_fluxes_places_and_sky_of_stars_come_out(rng):
    found, (y, x), model = stars(rng, noise=False)
    fit = fit_stars(found, model, accuracy=0.0, iterations=6)

    np.testing.assert_allclose(fit.flux, 1e5, rtol=1e-6)
    np.testing.assert_allclose(fit.stars.y, y, atol=1e-6)
    np.testing.assert_allclose(fit.stars.x, x, atol=1e-6)
    np.testing.assert_allclose(fit.factors[:, SKY], 7.0, atol=1e-3)
    np.testing.assert_allclose(fit.residual, 0.0, atol=1e-2)


def test_errors_are_those_of_the_noise(rng):
    found, _, model = stars(rng, 150)
    fit = fit_stars(found, model, accuracy=0.0)
    pulls = (fit.flux - 1e5) / fit.flux_error

    # the standard error of a standard deviation of 150 numbers is 6 %, of chi-square that of
    # 625 squares of each
    assert np.std(pulls) == pytest.approx(1.0, abs=0.2)
    assert np.mean(fit.chi2) == pytest.approx(1.0, abs=0.02)
    misfit, error = fit.misfit
    assert np.mean(misfit / error) == pytest.approx(0.0, abs=0.4)
    assert np.std(misfit / error) == pytest.approx(1.0, abs=0.25)


def test_a_model_known_to_a_part_of_itself_weighs_bright_pixels_less(rng):
    found, _, model = stars(rng, 3, flux=1e7)
    exact, doubted = (fit_stars(found, model, accuracy=part) for part in (0.0, 0.01))

    middle = np.s_[:, HALF, HALF]
    assert (doubted.weight[middle] < 0.1 * exact.weight[middle]).all()
    corner = np.s_[:, 0, 0]
    np.testing.assert_allclose(doubted.weight[corner], exact.weight[corner], rtol=1e-2)


def test_known_neighbours_are_fitted_with_the_star(rng):
    companions = [(1, 5.0, -4.0, 4e4), (1, -7.0, 2.0, 2e4), (4, 0.0, 6.0, 3e4)]
    found, _, model = stars(rng, 6, noise=False, companions=companions)
    around = Neighbours(
        np.array([1, 1, 4]),
        np.array([0, 1, 0]),
        np.array([5.0, -7.0, 0.0]),
        np.array([-4.0, 2.0, 6.0]),
    )
    alone = fit_stars(found, model, accuracy=0.0, iterations=5)
    fit = fit_stars(replace(found, neighbours=around), model, accuracy=0.0, iterations=5)

    assert abs(alone.flux[1] / 1e5 - 1) > 0.01
    np.testing.assert_allclose(fit.flux, 1e5, rtol=1e-4)
    np.testing.assert_allclose(
        fit.factors[[1, 1, 4], [FIRST_NEIGHBOUR, FIRST_NEIGHBOUR + 1, FIRST_NEIGHBOUR]],
        [4e4, 2e4, 3e4],
        rtol=1e-3,
    )
    cleaned = fit.cleaned()
    np.testing.assert_allclose(cleaned.sum(axis=(1, 2)), 1e5, rtol=1e-3)


def test_neighbours_that_nobody_knew_are_found_in_the_residuals(rng):
    found, _, model = stars(rng, 6, companions=[(2, 8.0, -5.0, 8e3)])
    fit = fit_stars(found, model, accuracy=0.005)
    around = with_found_neighbours(fit, Neighbours.none(), sigma=1.6, most=4)

    assert around.star.tolist() == [2]
    assert np.hypot(around.y[0] - 8.0, around.x[0] + 5.0) < 1.5
    assert np.bincount(around.star, minlength=6).max() <= 4


def test_neighbours_of_some_stars_get_the_new_numbers(rng):
    around = Neighbours(np.array([0, 2, 2, 5]), np.array([0, 0, 1, 0]), np.arange(4.0), np.zeros(4))
    some = around.of(np.array([False, False, True, True, False, True]))

    assert some.star.tolist() == [0, 0, 2]
    assert some.slot.tolist() == [0, 1, 0]
    assert some.y.tolist() == [1.0, 2.0, 3.0]
    assert (around.most, Neighbours.none().most) == (2, 0)
