import numpy as np
import pytest

from skytool.core.skyframe.combine import (
    combine_by_errors,
    combine_by_scatter,
    leave_one_out,
    lower_middle,
    masked_median,
)
from skytool.core.statistics import Clip, Statistic


def column(*values):
    return np.array(values, float)[:, None]


def test_scatter_alone_gives_the_clipped_mean_of_five_values():
    found = combine_by_scatter(column(1.0, 1.1, 0.9, 1.05, 5.0))

    assert found.value[0] == pytest.approx(1.0125)
    assert found.kept[0] == 4
    assert found.variance[0] == pytest.approx(0.0018229167, rel=1e-7)


def test_scatter_alone_rejects_one_of_four_and_none_of_three():
    assert combine_by_scatter(column(1.0, 1.01, 1.02, 1000.0)).value[0] == pytest.approx(1.01)
    assert combine_by_scatter(column(1.0, 1.01, 1000.0)).kept[0] == 3
    assert np.isnan(combine_by_scatter(column(1.0)).variance[0])


def test_errors_tell_which_of_three_values_is_wrong():
    found = combine_by_errors(column(1.0, 1.01, 1.5), column(0.01, 0.01, 0.01))

    assert found.value[0] == pytest.approx(1.005)
    assert found.weights[:, 0].astype(bool).tolist() == [True, True, False]
    assert found.chi2[0] > 100


def test_of_two_values_that_differ_none_is_dropped_and_chi_square_tells():
    found = combine_by_errors(column(1.0, 2.0), column(0.01, 0.01))

    assert found.value[0] == pytest.approx(1.5)
    assert found.kept[0] == 2
    assert found.chi2[0] == pytest.approx(0.5 * 1.0**2 / 0.01**2)


def test_weights_make_the_error_as_small_as_it_can_be(rng):
    n, errors = 4000, np.array([1.0, 2.0, 3.0, 4.0])[:, None]
    values = rng.normal(0, errors, (4, n))

    found = combine_by_errors(values, np.broadcast_to(errors, values.shape), clip=Clip(6.0))

    best = 1 / np.sqrt(np.sum(errors**-2.0))
    assert np.std(found.value) == pytest.approx(best, rel=5 / np.sqrt(2 * n))
    assert np.median(np.sqrt(found.variance)) == pytest.approx(best, rel=0.03)
    assert np.mean(found.chi2) == pytest.approx(1, rel=5 * np.sqrt(2 / (3 * n)))


def test_errors_that_are_too_small_are_raised(rng):
    values = rng.normal(0, 3.0, (6, 3000))

    found = combine_by_errors(values, np.ones_like(values), clip=Clip(4.0))

    assert np.median(np.sqrt(found.variance)) == pytest.approx(3 / np.sqrt(6), rel=0.05)
    assert np.mean(found.kept) > 5.99


def test_missing_values_are_left_out(rng):
    values = rng.normal(0, 1, (5, 200))
    values[rng.random(values.shape) < 0.3] = np.nan
    values[:, 0] = np.nan

    found = combine_by_errors(values, np.ones_like(values), clip=Clip(8.0))

    assert np.isnan(found.value[0])
    np.testing.assert_allclose(found.value[1:], np.nanmean(values[:, 1:], axis=0))
    np.testing.assert_array_equal(found.count, np.isfinite(values).sum(axis=0))


@pytest.mark.parametrize(("statistic", "expected"), [("mean", 2.7), ("median", 1.1)])
def test_other_statistics_keep_everything(statistic, expected):
    values = column(1.0, 1.1, 6.0)

    found = combine_by_errors(values, np.ones_like(values), statistic=Statistic(statistic))

    assert found.value[0] == pytest.approx(expected)
    assert found.kept[0] == 3


def test_leaving_one_out_gives_the_mean_of_the_others():
    values, errors = column(1.0, 2.0, 4.0), column(1.0, 1.0, 2.0)
    found = combine_by_errors(values, errors, clip=Clip(9.0))

    others, weights = leave_one_out(values, found)

    assert others[2, 0] == pytest.approx(1.5)
    assert others[0, 0] == pytest.approx((2.0 + 4.0 / 4) / 1.25)
    assert weights[0, 0] == pytest.approx(1.25)


def test_a_single_value_has_no_others():
    values = column(3.0)

    others, weights = leave_one_out(values, combine_by_errors(values, np.ones_like(values)))

    assert np.isnan(others[0, 0])
    assert weights[0, 0] == 0


def test_medians_of_what_is_good(rng):
    values = rng.normal(0, 1, (6, 50))
    good = rng.random(values.shape) < 0.6
    good[:, 7] = False

    found = masked_median(values, good)

    expected = [np.median(values[good[:, i], i]) if good[:, i].any() else 0.0 for i in range(50)]
    np.testing.assert_allclose(found, expected)


def test_values_that_are_high_in_most_exposures_do_not_count_in_the_lower_middle(rng):
    values = rng.normal(5.0, 0.1, (9, 2000))
    values[rng.random(values.shape) < 0.1] += 3.0
    values[:, 7] = rng.normal(5.0, 0.1, 9)
    values[:5, 7] += 3.0  # an object in more than half of the exposures
    values[2, 3] = np.nan
    values[:, 4] = np.nan

    lower = lower_middle(values, 0.3)

    assert abs(lower[7] - 5.0) < 0.5
    assert np.isnan(lower[4])
    known = np.isfinite(lower)
    middle = np.median(np.nanmedian(values[:, known], axis=0))
    assert np.median(lower[known]) == pytest.approx(middle, abs=0.02)
