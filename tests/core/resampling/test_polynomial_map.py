import numpy as np
import pytest

from skytool.core.resampling.polynomial_map import PolynomialMap

START, SHAPE, SOURCE = (37, 12), (210, 340), (400, 300)


def affine(y, x):
    x, y = np.meshgrid(x, y)
    return 0.9 * x - 0.3 * y + 7.25, 0.3 * x + 0.9 * y - 11.5


def curved(y, x):
    u, v = affine(y, x)
    return u + 2e-5 * (u - 100) * (v - 100) + 3e-8 * u**3, v + 1e-5 * u**2 - 2e-8 * v**3


def positions_of(to_source, y, x):
    u, v = to_source(np.array([y]), np.array([x]))
    return v[0, 0], u[0, 0]


@pytest.mark.parametrize(("to_source", "order"), [(affine, 1), (curved, 3)])
def test_the_lowest_order_that_is_exact_is_found(to_source, order):
    fitted = PolynomialMap.fit(to_source, START, SHAPE, SOURCE)

    assert fitted.coefficients.shape == (2, order + 1, order + 1)
    assert fitted.max_error < 1e-9
    for y, x in ((37.0, 12.0), (120.4, 200.9), (246.5, 351.5)):
        v, u = fitted.positions(y=y, x=x)
        np.testing.assert_allclose((v, u), positions_of(to_source, y, x), rtol=0, atol=1e-9)


def test_the_matrix_is_the_change_over_a_pixel():
    fitted = PolynomialMap.fit(curved, START, SHAPE, SOURCE)

    matrix = fitted.matrix(y=130.3, x=88.1)

    down = np.subtract(positions_of(curved, 130.8, 88.1), positions_of(curved, 129.8, 88.1))
    right = np.subtract(positions_of(curved, 130.3, 88.6), positions_of(curved, 130.3, 87.6))
    np.testing.assert_allclose(matrix, np.stack([down, right], axis=1), rtol=0, atol=1e-10)


def test_a_map_that_no_polynomial_follows_says_by_how_much():
    def wavy(y, x):
        u, v = affine(y, x)
        return u + 0.5 * np.sin(u / 9), v

    fitted = PolynomialMap.fit(wavy, START, SHAPE, SOURCE)

    y, x = np.linspace(37, 246, 50), np.linspace(12, 351, 50)
    u, _ = wavy(y, x)
    _, column = fitted.positions(y=y[:, None] + 0 * x, x=x + 0 * y[:, None])
    near = (u > 0) & (u < SOURCE[1])
    assert 0.05 < fitted.max_error < 2
    assert np.abs(column - u)[near].max() < 2 * fitted.max_error


def test_positions_without_value_or_far_from_the_source_do_not_count():
    def partly(y, x):
        u, v = affine(y, x)
        wrong = u > 1.5 * SOURCE[1] + 8
        return np.where(u < 20, np.nan, np.where(wrong, 1e5, u)), v

    fitted = PolynomialMap.fit(partly, START, (210, 700), SOURCE)

    assert fitted.max_error < 1e-8
    v, u = fitted.positions(y=100.0, x=200.0)
    np.testing.assert_allclose((v, u), positions_of(affine, 100.0, 200.0), rtol=0, atol=1e-8)


def test_a_window_without_positions_is_refused():
    with pytest.raises(ValueError, match="near to the source"):
        PolynomialMap.fit(lambda y, x: np.full((2, y.size, x.size), np.nan), START, SHAPE, SOURCE)


def test_a_window_of_one_pixel_has_a_map():
    fitted = PolynomialMap.fit(affine, (100, 90), (1, 1), SOURCE)

    v, u = fitted.positions(y=100.0, x=90.0)
    np.testing.assert_allclose((v, u), positions_of(affine, 100.0, 90.0), rtol=0, atol=1e-9)


def test_the_identity_maps_every_pixel_onto_itself():
    same = PolynomialMap.identity((30, 47))

    y, x = np.array([0.0, 12.25, 29.0]), np.array([46.0, 3.5, 0.0])
    np.testing.assert_allclose(same.positions(y=y, x=x), (y, x), rtol=0, atol=1e-12)
    np.testing.assert_allclose(same.matrix(y=5.0, x=40.0), np.eye(2), rtol=0, atol=1e-12)


def test_a_window_covers_its_pixels_up_to_their_edges():
    fitted = PolynomialMap.fit(affine, START, SHAPE, SOURCE)

    y = np.array([36.5, 36.4, 246.5, 246.6, 100.0, 100.0, 100.0])
    x = np.array([100.0, 100.0, 100.0, 100.0, 11.4, 351.5, 351.6])
    np.testing.assert_array_equal(fitted.covers(y=y, x=x), [1, 0, 1, 0, 0, 1, 0])


def test_a_shifted_map_has_the_same_positions_elsewhere():
    fitted = PolynomialMap.fit(curved, START, SHAPE, SOURCE)

    moved = fitted.shifted(-20, 5)

    assert moved.start == (17, 17)
    np.testing.assert_allclose(
        moved.positions(y=80.0, x=105.0), fitted.positions(y=100.0, x=100.0), rtol=0, atol=1e-9
    )
