from dataclasses import replace

import numpy as np
import pytest

from skytool.core.skyframe.checks import check_exposures, mask_overlap
from skytool.core.skyframe.components import principal_components
from skytool.core.skyframe.model import SkyCells, SolveRule, smooth_terms, solve_sky
from skytool.core.statistics import Clip
from skytool.errors import AlgorithmError

N_Y, N_X = 20, 25
LEVELS = np.array([600.0, 700, 900, 1000, 1200, 1400])


def positions():
    y, x = np.indices((N_Y, N_X), float).reshape(2, -1)
    return y, x


def terms(order):
    y, x = positions()
    return smooth_terms(order, y=y, x=x, y_range=(0, N_Y - 1.0), x_range=(0, N_X - 1.0))


def pattern():
    y, x = positions()
    ring = 0.01 * np.sin(x / 2.3) * np.cos(y / 1.7) + 0.02 * np.exp(-x / 3.0)
    return ring - ring.mean()


def cells(rng, *, order=2, slopes=0.0, noise=1e-3, truth=None):
    truth = pattern() if truth is None else truth
    factors = slopes * rng.normal(0, 1, (len(LEVELS), terms(order).shape[1]))
    values = LEVELS[:, None] * (1 + truth) + factors @ terms(order).T
    errors = np.broadcast_to(noise * LEVELS[:, None], values.shape).copy()
    values = values + rng.normal(0, 1, values.shape) * errors
    return SkyCells(values, errors, terms(order), np.full(values.shape[1], 1024.0)), factors


def test_pattern_and_levels_come_back_with_the_errors_of_the_mean(rng):
    given, _ = cells(rng, order=0)

    found = solve_sky([given], SolveRule())

    error = 1e-3 / np.sqrt(len(LEVELS))
    n = given.values.shape[1]
    assert np.std(found.pattern[0].value - pattern()) == pytest.approx(
        error, rel=5 / np.sqrt(2 * n)
    )
    np.testing.assert_allclose(found.level, LEVELS, rtol=5 * 1e-3 / np.sqrt(n))
    assert np.sqrt(np.median(found.pattern[0].variance)) == pytest.approx(error, rel=0.02)


def test_smooth_backgrounds_of_single_exposures_do_not_enter_the_pattern(rng):
    given, factors = cells(rng, slopes=20.0)
    shared = np.average(factors / LEVELS[:, None], axis=0)  # equal relative errors: equal weights

    found = solve_sky([given], SolveRule(keep_common="always"))

    expected = pattern() + terms(2) @ shared
    expected = (1 + expected) / (1 + expected.mean()) - 1
    error = 1e-3 / np.sqrt(len(LEVELS))
    assert np.std(found.pattern[0].value - expected) < 1.15 * error


def test_what_all_exposures_share_may_be_kept_out_of_the_pattern(rng):
    _, x = positions()
    slope = 0.03 * (x - x.mean()) / N_X
    given, _ = cells(rng, truth=pattern() + slope)

    kept, always, flat = (
        solve_sky([given], SolveRule(keep_common=keep)).pattern[0].value
        for keep in ("auto", "always", "never")
    )

    assert np.polyfit(x, kept, 1)[0] == pytest.approx(
        np.polyfit(x, pattern() + slope, 1)[0], rel=0.02
    )
    error = 1e-3 / np.sqrt(len(LEVELS) * len(x))
    assert np.abs(low_order(kept - always)).max() < 6 * 5 * error
    assert np.abs(low_order(flat)).max() < 1e-5


def low_order(values):
    """Return the factors of the smooth terms that fit values best."""
    design = np.column_stack([np.ones(values.size), terms(2)])
    return np.linalg.lstsq(design, values, rcond=None)[0]


def test_what_exposures_share_by_chance_is_kept_out_of_the_pattern(rng):
    given, _ = cells(rng, slopes=20.0)

    found = solve_sky([given], SolveRule()).pattern[0].value

    expected = pattern() - (low_order(pattern()) @ np.column_stack([np.ones(500), terms(2)]).T)
    assert np.abs(low_order(found)).max() < 1e-5
    assert np.std(found - expected) < 1.15 * 1e-3 / np.sqrt(len(LEVELS))


def test_scaling_an_exposure_changes_nothing_but_its_level(rng):
    given, _ = cells(rng, slopes=5.0)
    factor = np.array([1, 1, 3.0, 1, 1, 1])[:, None]
    scaled = replace(given, values=given.values * factor, errors=given.errors * factor)

    one, other = solve_sky([given], SolveRule()), solve_sky([scaled], SolveRule())

    limit = 1e-6 * np.abs(one.pattern[0].value).max()
    np.testing.assert_allclose(other.pattern[0].value, one.pattern[0].value, rtol=0, atol=limit)
    np.testing.assert_allclose(other.level, one.level * factor[:, 0], rtol=1e-6)


def test_the_order_of_exposures_does_not_matter(rng):
    given, _ = cells(rng, slopes=5.0)
    mixed = rng.permutation(len(LEVELS))
    other = replace(given, values=given.values[mixed], errors=given.errors[mixed])

    one, two = solve_sky([given], SolveRule()), solve_sky([other], SolveRule())

    np.testing.assert_allclose(two.pattern[0].value, one.pattern[0].value, rtol=0, atol=1e-9)
    np.testing.assert_allclose(two.level, one.level[mixed], rtol=1e-9)


def test_missing_cells_do_not_shift_the_level(rng):
    given, _ = cells(rng, order=0, noise=1e-4)
    values = given.values.copy()
    bright = pattern() > np.quantile(pattern(), 0.6)
    values[1, bright] = np.nan

    found = solve_sky([replace(given, values=values)], SolveRule())

    np.testing.assert_allclose(found.level, LEVELS, rtol=5e-5)


def test_detectors_share_levels_and_have_patterns_of_their_own(rng):
    one, _ = cells(rng, order=0, noise=1e-4)
    two, _ = cells(rng, order=0, noise=1e-4, truth=pattern()[::-1] + 0.05)
    gone = two.values.copy()
    gone[2] = np.nan  # a detector that one exposure does not have

    found = solve_sky([one, replace(two, values=gone)], SolveRule())

    difference = found.pattern[1].value.mean() - found.pattern[0].value.mean()
    assert difference == pytest.approx(0.05 / 1.025, rel=1e-3)
    np.testing.assert_allclose(found.level, 1.025 * LEVELS, rtol=1e-4)


def test_an_object_in_one_exposure_is_rejected(rng):
    given, _ = cells(rng, order=0)
    values = given.values.copy()
    values[3, 40:60] += 50.0

    found = solve_sky([replace(given, values=values)], SolveRule(clip=Clip(4.0)))

    error = 1e-3 / np.sqrt(len(LEVELS) - 1)
    assert np.abs(found.pattern[0].value - pattern())[40:60].max() < 5 * error
    assert (found.pattern[0].kept[40:60] == len(LEVELS) - 1).all()
    assert found.pattern[0].chi2[40:60].min() > 10


def test_a_level_that_is_not_positive_is_refused(rng):
    given, _ = cells(rng, order=0)
    values = given.values.copy()
    values[4] -= 1300

    with pytest.raises(AlgorithmError, match="exposure 5 is -") as caught:
        solve_sky([replace(given, values=values)], SolveRule())

    assert caught.value.facts["exposure"] == 4


def test_exposures_agree_with_the_pattern_of_the_others(rng):
    given, _ = cells(rng, order=0)

    checks = check_exposures([given], solve_sky([given], SolveRule()))

    assert (np.abs(checks.slope - 1) < 5 * checks.slope_error).all()
    assert (checks.correlation > 0.9).all()
    np.testing.assert_allclose(checks.chi2, 1, atol=5 * np.sqrt(2 / given.values.shape[1]))
    assert not checks.outliers(0.5).any()


def test_noise_of_the_others_does_not_make_a_pattern_look_weaker(rng):
    noise = 1.5 * np.std(pattern())
    slopes, errors = [], []
    for _ in range(10):
        given, _ = cells(rng, order=0, noise=noise)
        checks = check_exposures([given], solve_sky([given], SolveRule()))
        slopes.append(checks.slope)
        errors.append(checks.slope_error)
        assert not checks.outliers(0.5).any()

    assert np.mean(slopes) == pytest.approx(1, abs=0.05)
    assert np.std(slopes) == pytest.approx(np.mean(errors), rel=0.3)


def test_an_exposure_with_another_pattern_stands_out(rng):
    given, _ = cells(rng, order=0)
    values = given.values.copy()
    values[2] = LEVELS[2] * (1 - pattern())
    given = replace(given, values=values)

    checks = check_exposures([given], solve_sky([given], SolveRule()))

    assert checks.outliers(0.5)[2]
    assert checks.slope[2] < 0


def test_components_are_found_with_their_strengths(rng):
    y, _ = positions()
    second = np.sin(y / 1.3)
    second -= second.mean()
    second -= pattern() * (second @ pattern()) / (pattern() @ pattern())
    strengths = np.array([-0.01, 0.004, 0.012, -0.006, 0.008, -0.008])
    given, _ = cells(rng, order=0, noise=2e-4)
    given = replace(given, values=given.values + LEVELS[:, None] * np.outer(strengths, second))

    rule = SolveRule(clip=Clip(1e3))  # what varies is no outlier here
    (found,), amplitudes = principal_components([given], solve_sky([given], rule), 1)

    assert abs(np.corrcoef(found[0], second)[0, 1]) > 0.999
    assert abs(np.corrcoef(amplitudes[:, 0], strengths)[0, 1]) > 0.99
    assert np.mean(amplitudes**2) == pytest.approx(1)


def test_masks_of_one_field_are_alike_and_those_of_others_are_not(rng):
    field = rng.random((1, 400)) ** 4
    other = rng.random((6, 400)) ** 4

    assert mask_overlap(np.repeat(field, 6, axis=0) + 0.02 * other) > 0.9
    assert abs(mask_overlap(other)) < 0.1
    assert np.isnan(mask_overlap(np.zeros((6, 400))))
