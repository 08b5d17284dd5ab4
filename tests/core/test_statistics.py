import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from skytool.core.statistics import (
    Clip,
    Statistic,
    noise_correlation,
    sample_statistics,
    stack_statistics,
)

READMITTED = [-14, -7, -6, -1, -1, 0, 1, 1, 2, 7, 11, 13]
MANY_ZEROS = [0] * 8 + [1, 1, 2, 2, 2, 2, 7, 11, 20, 22, 25]

samples = arrays(
    np.float64,
    st.integers(1, 300),
    elements=st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, 1.0, -3.0]),
)


def clipped(values, clip):
    """Keep what lies within limits about a centre, from all values, in every pass."""
    low, median, high = np.percentile(values, [25, 50, 75])
    center, width = median, clip.sigma * 0.741301109252802 * (high - low)
    first = width
    for _ in range(clip.iterations):
        kept = values[(values >= center - width) & (values <= center + width)]
        center = kept.mean()
        width = first if len(kept) == 1 else clip.sigma * kept.std(ddof=1)
    return kept


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_one_far_value_is_clipped(iterations):
    result = sample_statistics([*range(1, 11), 100], clip=Clip(3, iterations))

    assert result.clip_count == 10
    assert result.clip_mean == 5.5
    assert result.clip_mean_error == pytest.approx(0.957427107756, rel=1e-11)


@pytest.mark.parametrize(
    ("iterations", "count", "mean"), [(1, 10, 0.7), (2, 12, 0.5), (3, 12, 0.5)]
)
def test_a_value_clipped_by_a_bad_first_guess_comes_back(iterations, count, mean):
    result = sample_statistics(READMITTED, clip=Clip(3, iterations))

    assert result.clip_count == count
    assert result.clip_mean == pytest.approx(mean, rel=1e-14)


@pytest.mark.parametrize(
    ("iterations", "count", "mean", "error"),
    [(1, 16, 1.75, 0.7610300), (2, 15, 1.1333333, 0.4767616), (3, 14, 0.7142857, 0.2442430)],
)
def test_every_pass_clips_about_the_mean_of_the_one_before(iterations, count, mean, error):
    result = sample_statistics(MANY_ZEROS, clip=Clip(3, iterations))

    assert result.clip_count == count
    assert result.clip_mean == pytest.approx(mean, abs=5e-8)
    assert result.clip_mean_error == pytest.approx(error, abs=5e-8)


def test_an_outlier_is_rejected_only_among_four_or_more():
    assert sample_statistics([1, 1.01, 1000]).clip_count == 3
    assert sample_statistics([1, 1.01, 1.02, 1000]).clip_mean == pytest.approx(1.01, rel=1e-15)


@given(samples)
def test_quantiles_are_those_of_linear_interpolation(values):
    result = sample_statistics(values)

    expected = np.percentile(values, [25, 50, 75])
    np.testing.assert_allclose([result.q25, result.median, result.q75], expected, rtol=1e-14)


@given(samples, st.sampled_from([Clip(3, 3), Clip(2, 1), Clip(2.5, 6)]))
def test_clipping_agrees_with_its_definition(values, clip):
    spread = np.ptp(values)
    # Values on a limit may fall on either side by rounding: keep samples clear of that.
    values = values + spread * 1e-3 * np.sin(np.arange(len(values)))
    kept = clipped(values, clip)

    result = sample_statistics(values, clip=clip)

    assert result.clip_count == len(kept)
    assert result.clip_mean == pytest.approx(kept.mean(), rel=1e-12, abs=1e-12 * spread)


@given(samples, st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_statistics_follow_a_change_of_scale_and_origin(values, factor, origin):
    before, after = sample_statistics(values), sample_statistics(factor * values + origin)

    tolerance = 1e-11 * (1 + factor * np.abs(values).max() + abs(origin))
    for name in ("mean", "median", "q25", "q75"):
        expected = factor * getattr(before, name) + origin
        assert getattr(after, name) == pytest.approx(expected, abs=tolerance)
    if len(values) > 1:
        assert after.std == pytest.approx(factor * before.std, abs=1e3 * tolerance)


MANY = {
    "normal": lambda rng, n: rng.normal(0, 1, n),
    "equal": lambda _, n: np.full(n, 3.3),
    "few different": lambda rng, n: rng.integers(0, 3, n) * 1.0,
    "far outliers": lambda rng, n: rng.standard_cauchy(n),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.9, 0, rng.normal(0, 1e30, n)),
    "small steps": lambda rng, n: 1e7 + rng.normal(0, 1e-3, n),
    "sorted and tiny": lambda rng, n: np.sort(rng.exponential(1e-40, n)),
}


@pytest.mark.parametrize("kind", MANY)
@pytest.mark.parametrize("n", [1023, 1024, 1025, 20000])
def test_quartiles_of_many_values_are_exact(rng, kind, n):
    for dtype in (np.float32, np.float64):
        values = MANY[kind](rng, n).astype(dtype)
        found = sample_statistics(values)

        np.testing.assert_allclose(
            (found.q25, found.median, found.q75),
            np.percentile(values.astype(np.float64), (25, 50, 75)),
            rtol=1e-13,
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4", np.int16])
def test_large_samples_of_any_number_type_are_described(rng, dtype):
    values = rng.normal(200, 12, 20_000).astype(dtype)
    bad = rng.random(20_000) < 0.3

    result = sample_statistics(values, bad)

    good = values[~bad].astype(np.float64)
    assert result.count == len(good)
    assert result.mean == pytest.approx(good.mean(), rel=1e-13)
    assert result.variance == pytest.approx(good.var(ddof=1), rel=1e-12)
    expected = np.percentile(good, [25, 50, 75])
    assert [result.q25, result.median, result.q75] == pytest.approx(expected, rel=1e-14)
    assert result.iqr == pytest.approx(expected[2] - expected[0], rel=1e-12)
    assert result.mean_square == pytest.approx(np.mean(good**2), rel=1e-12)


def test_a_sorted_and_a_constant_sample_are_selected_from():
    rising = sample_statistics(np.arange(5000.0))
    constant = sample_statistics(np.full(5000, 7.25))

    assert (rising.q25, rising.median, rising.q75) == (1249.75, 2499.5, 3749.25)
    assert (constant.q25, constant.median, constant.q75) == (7.25, 7.25, 7.25)
    assert (constant.clip_count, constant.clip_mean, constant.clip_variance) == (5000, 7.25, 0)


def test_values_that_are_not_finite_or_flagged_are_left_out():
    values = np.array([1.0, np.nan, 3.0, np.inf, 65000.0, 5.0])

    result = sample_statistics(values, values == 65000)

    assert (result.count, result.mean, result.median) == (3, 3.0, 3.0)


def test_one_value_has_no_error_and_none_has_no_mean():
    single, none = sample_statistics([4.5]), sample_statistics([np.nan, np.nan])

    assert (single.clip_mean, single.clip_count) == (4.5, 1)
    assert np.isnan([single.variance, single.clip_variance, single.mean_square]).all()
    assert (none.count, none.clip_count) == (0, 0)
    assert np.isnan([none.mean, none.median, none.clip_mean]).all()


def test_errors_are_the_scatter_of_the_statistics(rng):
    results = [sample_statistics(rng.normal(50, 3, 400)) for _ in range(1000)]

    for name, error in [
        ("mean", "mean_error"),
        ("median", "median_error"),
        ("clip_mean", "clip_mean_error"),
        ("std", "std_error"),
    ]:
        scatter = np.std([getattr(result, name) for result in results])
        claimed = np.mean([getattr(result, error) for result in results])
        # A standard deviation of 1000 trials is known to 2.2 %; clipping at 3 sigma lowers its
        # claimed error by 1.4 %.
        assert claimed == pytest.approx(scatter, rel=0.09)


@pytest.mark.parametrize("bad", [{"sigma": 0}, {"sigma": -1}, {"iterations": 0}])
def test_clipping_refuses_numbers_that_are_not_positive(bad):
    with pytest.raises(ValueError, match="positive"):
        Clip(**bad)


def test_an_empty_sample_or_flags_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="no values"):
        sample_statistics([])
    with pytest.raises(ValueError, match="shape"):
        sample_statistics([1.0, 2.0], [True])


def test_a_statistic_is_named_in_any_case():
    assert Statistic("MEANCLIP") is Statistic.MEANCLIP
    with pytest.raises(ValueError, match="average"):
        Statistic("average")


def test_a_weighted_stack_gives_the_best_mean_and_both_its_errors(rng):
    sigma = np.array([1.0, 2.0, 0.5, 4.0])
    stack = 30 + sigma[:, None, None] * rng.normal(size=(4, 60, 80))
    variance = np.broadcast_to(sigma[:, None, None] ** 2, stack.shape)

    result = stack_statistics(stack, statistic=Statistic.MEAN, weights=sigma**-2, variance=variance)

    best = 1 / np.sum(sigma**-2)
    np.testing.assert_allclose(result.propagated, best, rtol=1e-12)
    pulls = (result.value - 30) / np.sqrt(best)
    assert abs(pulls.mean()) < 4 / np.sqrt(pulls.size)
    assert pulls.std() == pytest.approx(1, abs=4 / np.sqrt(2 * pulls.size))
    assert np.all(result.count == 4)
    assert np.all(result.kept == 4)


def test_equal_weights_give_the_plain_error(rng):
    stack = rng.normal(size=(6, 3, 5))

    result = stack_statistics(stack, statistic=Statistic.MEAN, weights=np.full(6, 0.3))

    np.testing.assert_allclose(result.value, stack.mean(axis=0), rtol=0, atol=1e-14)
    np.testing.assert_allclose(result.error, stack.std(axis=0, ddof=1) / np.sqrt(6), rtol=1e-12)


def test_a_stack_without_its_bad_and_outlying_values_is_the_stack_of_the_others(rng):
    stack = rng.normal(10, 0.1, (7, 4, 6)).astype(np.float32)
    stack[2, 1, 1] = 500
    stack[3, 2, 2] = np.nan
    bad = np.zeros(stack.shape, bool)
    bad[5, 0, 0] = True

    result = stack_statistics(stack, bad, clip=Clip(3, 2))

    assert (result.kept[1, 1], result.count[1, 1]) == (6, 7)
    assert (result.kept[2, 2], result.count[0, 0]) == (6, 6)
    assert not (stack[2, 1, 1] <= result.high[1, 1])
    for y, x in np.ndindex(4, 6):
        good = stack[~bad[:, y, x] & np.isfinite(stack[:, y, x]), y, x].astype(float)
        assert result.value[y, x] == pytest.approx(clipped(good, Clip(3, 2)).mean(), rel=1e-12)


def test_a_median_stack_ignores_weights(rng):
    stack = rng.normal(size=(5, 3, 4))
    weights = np.array([1.0, 2.0, 3.0, 4.0, 5.0])

    result = stack_statistics(stack, statistic=Statistic.MEDIAN, weights=weights)

    np.testing.assert_array_equal(result.value, np.median(stack, axis=0))
    expected = np.sqrt(np.pi / 2 * stack.var(axis=0, ddof=1) / 5)
    np.testing.assert_allclose(result.error, expected, rtol=1e-12)


def test_weights_of_pixels_leave_out_those_without_weight():
    stack = np.array([[[1.0, 1.0]], [[3.0, 3.0]], [[8.0, 8.0]]])
    weights = np.array([[[1.0, 0.0]], [[1.0, 2.0]], [[0.0, 0.0]]])

    result = stack_statistics(stack, statistic=Statistic.MEAN, weights=weights)

    np.testing.assert_array_equal(result.value, [[2.0, 3.0]])
    np.testing.assert_array_equal(result.count, [[2, 1]])
    assert np.isnan(result.error[0, 1])


def test_a_stack_without_data_is_not_a_number():
    stack = np.full((3, 2, 4), np.nan)

    for statistic in (Statistic.MEAN, Statistic.MEDIAN, Statistic.MEANCLIP):
        result = stack_statistics(stack, statistic=statistic)
        assert np.isnan(result.value).all()
        assert np.isnan(result.error).all()
        assert not result.count.any()


def test_stacks_of_wrong_shape_or_statistic_are_refused():
    stack = np.zeros((3, 2, 4))
    with pytest.raises(ValueError, match="stack has shape"):
        stack_statistics(stack[0])
    with pytest.raises(ValueError, match="biweight"):
        stack_statistics(stack, statistic=Statistic.BIWEIGHT)
    with pytest.raises(ValueError, match="weights of shape"):
        stack_statistics(stack, weights=[1, 2])
    with pytest.raises(ValueError, match="variances of shape"):
        stack_statistics(stack, variance=stack[:2])


def test_white_noise_is_not_correlated(rng):
    factor = noise_correlation(rng.normal(size=(300, 400)), max_lag=3)

    assert factor == pytest.approx(1, abs=4 * 7 / np.sqrt(300 * 400))


def test_correlation_tells_how_much_less_averaging_helps(rng):
    white = rng.normal(size=(402, 602))
    kernel = np.array([0.25, 0.5, 0.25])
    noise = sum(
        kernel[j] * kernel[i] * white[j : j + 400, i : i + 600] for j in range(3) for i in range(3)
    )
    bad = rng.random(noise.shape) < 0.2
    noise[bad] = np.nan

    factor = noise_correlation(noise + 17, bad, max_lag=3)

    # A kernel of unit sum keeps the noise of averages and leaves sum(k^2) of that of pixels.
    assert factor == pytest.approx(1 / np.sum(kernel**2) ** 2, rel=0.07)


def test_correlation_needs_data():
    assert np.isnan(noise_correlation(np.full((5, 6), np.nan)))
    assert np.isnan(noise_correlation(np.ones((5, 6))))
