import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import spline_filter

from skytool.core.resampling.spline_filter import spline_coefficients


@pytest.mark.parametrize("shape", [(37, 52), (2, 9), (3, 40), (1, 7), (6, 1)])
def test_coefficients_agree_with_an_independent_filter(rng, shape):
    image = rng.normal(100, 10, shape)

    expected = spline_filter(image, order=3, mode="mirror", output=np.float64)

    assert_allclose(spline_coefficients(image), expected, rtol=1e-12)


def test_single_precision_costs_its_rounding_only(rng):
    image = rng.normal(100, 10, (45, 31)).astype(np.float32)

    coefficients = spline_coefficients(image)

    assert coefficients.dtype == np.float32
    exact = spline_coefficients(image.astype(np.float64))
    # values of up to 300 are stored four times; half a unit in the last place is 1.5e-5
    assert_allclose(coefficients, exact, rtol=0, atol=2e-4)


def test_a_constant_is_its_own_coefficients():
    assert_allclose(spline_coefficients(np.full((9, 14), 7.5)), 7.5, rtol=1e-14)


def test_the_image_is_not_changed(rng):
    image = rng.normal(size=(12, 17))
    before = image.copy()

    spline_coefficients(image)

    assert_array_equal(image, before)
