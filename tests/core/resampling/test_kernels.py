import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import make_interp_spline

from skytool.core.resampling.kernels import (
    KERNEL_NAMES,
    cardinal_spline,
    cubic_b_spline,
    lanczos,
    predicted_noise,
    resampling_kernel,
    variance_factor,
)

fractions = st.floats(0.0, 1.0, exclude_max=True)


@pytest.mark.parametrize("order", [3, 4, 5])
def test_lanczos_is_one_at_zero_and_exactly_zero_at_other_whole_numbers(order):
    whole = np.arange(-order - 2.0, order + 3)

    assert_array_equal(lanczos(whole, order), whole == 0)


def test_lanczos_is_the_product_of_two_sincs_inside_its_window():
    x = np.linspace(-3.5, 3.5, 701)
    expected = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)

    assert_allclose(lanczos(x, 3), expected, atol=1e-15)


def test_b_splines_at_whole_distances_sum_to_one():
    f = np.linspace(0, 1, 11)[:, np.newaxis]

    assert_allclose(cubic_b_spline(f + np.arange(-3, 4)).sum(axis=1), 1, rtol=1e-14)


def test_cardinal_spline_is_the_spline_through_a_unit_sample():
    knots = np.arange(-30.0, 31.0)
    spline = make_interp_spline(knots, knots == 0, k=3)
    x = np.linspace(-6, 6, 241)

    assert_allclose(cardinal_spline(x), spline(x), atol=1e-12)


@pytest.mark.parametrize("name", KERNEL_NAMES)
@given(fraction=fractions)
def test_weights_sum_to_one(name, fraction):
    kernel = resampling_kernel(name)

    # the cardinal spline is cut where its terms are 2e-4 and alternate in sign
    assert abs(kernel.weights(fraction).sum() - 1) < (3e-4 if kernel.prefilter else 1e-14)


@pytest.mark.parametrize("name", KERNEL_NAMES)
def test_a_position_on_a_pixel_has_a_single_tap(name):
    kernel = resampling_kernel(name)

    assert_allclose(kernel.weights(0.0), np.array(kernel.effective_taps) == 0, atol=1e-15)


@pytest.mark.parametrize(("name", "order"), [("lanczos3", 3), ("lanczos4", 4), ("lanczos5", 5)])
@given(fraction=fractions)
def test_tabulated_weights_are_the_normalised_kernel(name, order, fraction):
    kernel = resampling_kernel(name)
    exact = lanczos(np.array(kernel.taps) - fraction, order)

    # linear interpolation in a table of 4096 intervals: h^2 / 8 times the curvature, below 4
    assert_allclose(kernel.weights(fraction), exact / exact.sum(), rtol=0, atol=3e-8)


@given(fraction=fractions)
def test_mirrored_positions_have_mirrored_weights(fraction):
    kernel = resampling_kernel("lanczos4")

    if fraction > 0:
        assert_allclose(kernel.weights(1 - fraction)[::-1], kernel.weights(fraction), atol=1e-12)


def test_half_a_pixel_of_lanczos3_leaves_the_known_variance():
    assert_allclose(variance_factor("lanczos3", y_fraction=0.5, x_fraction=0.5), 0.61744, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "variance"),
    [("lanczos3", 0.798), ("lanczos5", 0.873), ("bilinear", 0.444), ("nearest", 1.0)],
)
def test_predicted_variance_over_all_phases(name, variance):
    assert_allclose(predicted_noise(name).variance, variance, atol=5e-4)


@pytest.mark.parametrize("name", KERNEL_NAMES)
def test_predicted_covariances_add_up_to_the_variance_of_a_sum(name):
    noise = predicted_noise(name, max_lag=12)
    along_an_axis = 1 + 2 * sum(noise.correlations)

    # weights have unit sum, so that the sum over all lags in both axes is one
    assert_allclose(noise.variance * along_an_axis**2, 1, rtol=1e-3)
    assert_allclose(noise.sum_factor, along_an_axis, rtol=1e-3)


def test_an_unknown_kernel_is_refused_with_the_names_of_those_there_are():
    with pytest.raises(ValueError, match="'cubic' is not a resampling kernel; known are lanczos3"):
        resampling_kernel("cubic")


def test_tables_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        resampling_kernel("lanczos3").table[0, 0] = 1
