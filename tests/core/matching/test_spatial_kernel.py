import numpy as np
import pytest

from skytool.core.background.chebyshev import term_degrees
from skytool.core.matching.spatial_kernel import (
    SpatialKernel,
    domain_terms,
    from_triangular,
    power_to_chebyshev,
)

DOMAIN = (-12.5, 27.5, 3.5, 64.5)


def random_kernel(rng, shape=(3, 2, 5, 7), domain=DOMAIN):
    return SpatialKernel(images=rng.normal(size=shape), domain=domain)


def test_the_pixels_are_chebyshev_polynomials_of_the_position(rng):
    kernel = random_kernel(rng)
    y, x = 11.0, 40.0
    v, u = (2 * y - 15.0) / 40.0, (2 * x - 68.0) / 61.0

    rows, columns = np.array([1.0, v, 2 * v * v - 1]), np.array([1.0, u])
    expected = np.einsum("p,q,pqhw->hw", rows, columns, kernel.images)

    np.testing.assert_allclose(kernel.at(y=y, x=x), expected, rtol=1e-12)
    np.testing.assert_allclose(kernel.at_many(y=[0.0, y], x=[9.0, x])[1], expected, rtol=1e-12)
    assert kernel.sum_at(y=y, x=x) == pytest.approx(expected.sum(), rel=1e-12)


def test_a_constant_kernel_is_the_same_everywhere(rng):
    pixels = rng.normal(size=(3, 5)).astype(np.float32)
    kernel = SpatialKernel.constant(pixels)

    assert kernel.is_constant
    np.testing.assert_array_equal(kernel.at(y=-1e4, x=3e5), pixels)


def test_a_basis_with_coefficients_makes_a_kernel(rng):
    basis = rng.normal(size=(4, 3, 5))
    coefficients = rng.normal(size=(4, 2, 3))
    kernel = SpatialKernel.from_basis(basis, coefficients, DOMAIN)
    v, u = (2 * 20.0 - 15.0) / 40.0, (2 * 5.0 - 68.0) / 61.0

    factors = np.einsum("ipq,p,q->i", coefficients, [1, v], [1, u, 2 * u * u - 1])

    np.testing.assert_allclose(
        kernel.at(y=20.0, x=5.0), np.tensordot(factors, basis, axes=1), rtol=1e-12
    )


def test_the_square_of_a_kernel_is_exact_everywhere(rng):
    kernel = random_kernel(rng, (3, 3, 3, 5))
    y, x = rng.uniform(-12, 27, 9), rng.uniform(4, 64, 9)

    np.testing.assert_allclose(
        kernel.squared().at_many(y=y, x=x), kernel.at_many(y=y, x=x) ** 2, atol=1e-12
    )


def test_the_square_of_a_triangular_kernel_has_the_terms_of_twice_its_order(rng):
    images = rng.normal(size=(3, 3, 3, 3))
    images[1, 2] = images[2, 1] = images[2, 2] = 0.0

    squared = SpatialKernel(images=images, domain=DOMAIN).squared()
    used = {tuple(int(i) for i in pq) for pq in np.argwhere(squared.images.any(axis=(2, 3)))}

    assert used == {(int(p), int(q)) for p, q in term_degrees(4)}


def test_a_flipped_kernel_is_turned_by_half_a_turn(rng):
    kernel = random_kernel(rng)

    np.testing.assert_allclose(
        kernel.flipped().at(y=3.0, x=8.0), kernel.at(y=3.0, x=8.0)[::-1, ::-1], atol=1e-14
    )


def test_scaling_and_shifting_act_on_values_and_coordinates(rng):
    kernel = random_kernel(rng)

    np.testing.assert_allclose(kernel.scaled(-2.5).at(y=0.0, x=0.0), -2.5 * kernel.at(y=0.0, x=0.0))
    np.testing.assert_allclose(
        kernel.shifted(dy=-30, dx=7).at(y=-25.0, x=30.0), kernel.at(y=5.0, x=23.0), rtol=1e-12
    )


def test_the_support_holds_the_pixels_that_differ_from_zero_anywhere(rng):
    images = np.zeros((2, 2, 3, 5))
    images[0, 0, 1, 2] = 1.0
    images[1, 0, 2, 4] = -1e-30

    kernel = SpatialKernel(images=images, domain=DOMAIN)

    assert np.argwhere(kernel.support).tolist() == [[1, 2], [2, 4]]
    assert kernel.half == (1, 2)
    assert not kernel.is_constant


@pytest.mark.parametrize(
    ("shape", "domain", "words"),
    [
        ((3, 5), DOMAIN, "shape"),
        ((1, 1, 4, 5), DOMAIN, "odd"),
        ((1, 1, 5, 4), DOMAIN, "odd"),
        ((1, 1, 5, 5), (0.0, 0.0, 0.0, 9.0), "domain"),
        ((1, 1, 5, 5), (0.0, 4.5, 0.0, 9.0), "domain"),
    ],
)
def test_kernels_of_the_wrong_form_are_refused(shape, domain, words):
    with pytest.raises(ValueError, match=words):
        SpatialKernel(images=np.ones(shape), domain=domain)


def test_lists_of_terms_become_arrays_over_both_degrees(rng):
    factors = rng.normal(size=(4, 6))
    y, x = np.array([-12.0, 3.0]), np.array([60.0, 11.0])

    terms = domain_terms(2, DOMAIN, y=y, x=x)
    square = from_triangular(factors, 2)
    kernel = SpatialKernel.from_basis(np.eye(4).reshape(4, 1, 4)[:, :, :3], square, DOMAIN)

    assert square.shape == (4, 3, 3)
    assert square[1, 0, 1] == factors[1, 1]  # x comes before y
    np.testing.assert_allclose(kernel.at_many(y=y, x=x)[:, 0], (terms @ factors.T)[:, :3])


def test_a_list_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="6 terms"):
        from_triangular(np.zeros(5), 2)


def test_plain_polynomials_have_the_same_values_in_chebyshev_form(rng):
    powers = rng.normal(size=(2, 3, 2))
    kernel = SpatialKernel.from_basis(
        np.eye(3)[:2].reshape(2, 1, 3), power_to_chebyshev(powers, DOMAIN), DOMAIN
    )

    y, x = 21.0, 50.0
    expected = [sum(c[p, q] * y**p * x**q for p in range(3) for q in range(2)) for c in powers]

    np.testing.assert_allclose(kernel.at(y=y, x=x)[0, :2], expected, rtol=1e-10)
