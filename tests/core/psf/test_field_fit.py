import numpy as np
import pytest

from skytool.core.background.chebyshev import n_terms
from skytool.core.psf.field_fit import best_order, fit_field, joined, try_orders
from skytool.core.psf.forms import Forms, fit_forms

SHAPE = (300, 410)


def places(rng, n):
    return {"y": rng.uniform(0, 299, n), "x": rng.uniform(0, 409, n)}


def scaled(at):
    return (2 * at["y"] + 1) / SHAPE[0] - 1, (2 * at["x"] + 1) / SHAPE[1] - 1


def test_polynomials_come_out(rng):
    at = places(rng, 40)
    v, u = scaled(at)
    values = np.stack([1 + 0.3 * v - 0.2 * u + 0.1 * u * v, 0.5 * u**2], axis=1)
    fit = fit_field(values, np.full(40, 0.1), order=2, shape=SHAPE, **at)

    np.testing.assert_allclose(fit.at(**at), values, atol=1e-12)


def test_leverage_adds_up_to_the_number_of_terms(rng):
    at = places(rng, 40)
    errors = rng.uniform(0.1, 0.5, 40)
    fit = fit_field(rng.normal(size=(40, 1)), errors, order=2, shape=SHAPE, **at)

    assert fit.leverage(errors, np.ones(40, np.bool_), **at).sum() == pytest.approx(n_terms(2))


def test_the_prediction_of_a_star_by_the_others_needs_no_new_fit(rng):
    at = places(rng, 25)
    values, errors = rng.normal(size=(25, 2)), rng.uniform(0.5, 2, 25)
    trial = try_orders(values, errors, shape=SHAPE, max_order=1, **at)[1]
    squares = []
    for number in range(25):
        others = np.arange(25) != number
        some = {key: value[others] for key, value in at.items()}
        fit = fit_field(values[others], errors[others], order=1, shape=SHAPE, **some)
        one = {key: value[[number]] for key, value in at.items()}
        squares.append(((values[number] - fit.at(**one)[0]) / errors[number]) ** 2)

    assert trial.score == pytest.approx(np.mean(squares))


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_order_of_the_truth_predicts_best(rng, order):
    at = places(rng, 90)
    v, u = scaled(at)
    surface = [0 * v, 0.3 * v - 0.2 * u, 0.3 * v + 0.2 * (2 * u**2 - 1)][order]
    values = surface[:, None] + rng.normal(0, 0.02, (90, 1))
    trials = try_orders(values, np.full(90, 0.02), shape=SHAPE, max_order=2, **at)

    assert [trial.order for trial in trials] == [0, 1, 2]
    chosen = best_order(trials, tolerance=0.1)
    assert chosen == order or trials[chosen].score > 0.97 * trials[order].score
    assert best_order(trials, tolerance=1e-9) == 0


@pytest.mark.parametrize(("n", "most"), [(1, 0), (5, 0), (6, 1), (23, 1), (24, 2)])
def test_few_stars_allow_low_orders_only(rng, n, most):
    trials = try_orders(
        rng.normal(size=(n, 1)), np.ones(n), shape=SHAPE, max_order=2, **places(rng, n)
    )

    assert trials[-1].order == most


def test_quantities_of_different_orders_are_joined(rng):
    at = places(rng, 30)
    values = rng.normal(size=(30, 3))
    parts = [
        fit_field(values[:, :1], np.ones(30), order=2, shape=SHAPE, **at),
        fit_field(values[:, 1:], np.ones(30), order=0, shape=SHAPE, **at),
    ]
    both = joined(parts)

    assert both.order == 2
    np.testing.assert_allclose(
        both.at(**at), np.concatenate([part.at(**at) for part in parts], axis=1)
    )


def forms(rng, n, *, n_wild=0, offset=0.0):
    at = places(rng, n)
    v, u = scaled(at)
    errors = rng.uniform(0.002, 0.02, n)
    values = np.stack([0.5 + 0.1 * v, 0.03 * u, -0.02 * v], axis=1)
    values += rng.normal(size=(n, 3)) * errors[:, None]
    values[:n_wild, 0] += rng.uniform(0.15, 0.5, n_wild)
    start = fit_field(
        np.array([[0.5 + offset, 0, 0]]),
        np.ones(1),
        y=np.zeros(1),
        x=np.zeros(1),
        shape=SHAPE,
        order=0,
    )
    return Forms(values, errors), start, at


def fitted(found, start, at, **options):
    settings = {"order": None, "max_order": 2, "clip": 3.0, "tolerance": 0.05, **options}
    return fit_forms(found, start, **at, **settings)


def test_forms_of_galaxies_do_not_count(rng):
    found, start, at = forms(rng, 80, n_wild=20)
    fit = fitted(found, start, at)

    assert not fit.kept[:20].any()
    assert fit.kept[20:].sum() >= 45
    truth = fit.field.at(y=np.array([0.0, 299.0]), x=np.array([205.0, 205.0]))
    np.testing.assert_allclose(truth[:, 0], [0.4, 0.6], atol=0.01)


def test_an_expectation_that_is_wrong_for_all_does_not_matter(rng):
    found, start, at = forms(rng, 45, offset=0.2)
    fit = fitted(found, start, at)

    assert fit.kept.sum() >= 40
    assert fit.field.order >= 1


def test_half_of_the_stars_agree_at_least(rng):
    found, start, at = forms(rng, 30)
    fit = fitted(Forms(found.values, np.full(30, 1e-9)), start, at, clip=1e-3)

    assert fit.kept.sum() >= 15
