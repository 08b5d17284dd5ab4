import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skytool.core.resampling.pixel_map import PixelMap, Window

SHAPE = (410, 530)
SOURCE = (300, 260)


def distorted(x, y):
    """Shift, rotation and a distortion of eight pixels at the corner."""
    x, y = x - 250.0, y - 200.0
    square = (x**2 + y**2) / 300.0**2
    u = 0.95 * x - 0.2 * y + 8.0 * square * x / 300 + 140.3
    v = 0.2 * x + 0.95 * y + 8.0 * square * y / 300 + 120.8
    return u + 0.4 * np.sin(x / 90), v


def every_pixel(pixel_map):
    y, x = np.arange(-1.0, pixel_map.shape[0]), np.arange(-1.0, pixel_map.shape[1])
    return y, x, pixel_map.positions(y, x)


class Counter:
    def __init__(self, function):
        self.function = function
        self.n = 0

    def __call__(self, x, y):
        self.n += x.size
        return self.function(x, y)


def test_interpolated_positions_are_the_exact_ones():
    to_source = Counter(distorted)
    pixel_map = PixelMap(to_source, SHAPE)
    n_exact = to_source.n

    y, x, (u, v) = every_pixel(pixel_map)

    exact = distorted(*np.meshgrid(x, y))
    assert_allclose(u, exact[0], rtol=0, atol=1e-6)
    assert_allclose(v, exact[1], rtol=0, atol=1e-6)
    assert to_source.n == n_exact < 0.01 * u.size


def test_the_reported_error_is_the_one_there_is():
    pixel_map = PixelMap(distorted, SHAPE, step=64, tolerance=None)

    y, x, (u, v) = every_pixel(pixel_map)

    exact = distorted(*np.meshgrid(x, y))
    worst = np.hypot(u - exact[0], v - exact[1]).max()
    assert 0.2 * worst < pixel_map.max_error <= 1.01 * worst


def test_a_polynomial_of_degree_five_is_met_to_rounding():
    def to_source(x, y):
        s, t = x / 500, y / 500
        return 500 * (s + 0.1 * s**5 - 0.2 * s**2 * t**3), 500 * (t - 0.05 * t**5 + 0.1 * s**4 * t)

    assert PixelMap(to_source, SHAPE, step=100).max_error < 1e-10


def test_the_step_is_halved_until_the_tolerance_is_kept():
    def wavy(x, y):
        return x + 0.5 * np.sin(x / 25), y + 0.3

    coarse = PixelMap(wavy, SHAPE, step=64, tolerance=None)
    fine = PixelMap(wavy, SHAPE, step=64, tolerance=1e-3)

    assert coarse.max_error > 1e-2
    assert fine.max_error <= 1e-3
    assert fine.step == 16


def test_a_map_too_rough_to_interpolate_is_computed_exactly():
    def rough(x, y):
        return x + 0.1 * np.floor(x / 3), y

    pixel_map = PixelMap(rough, SHAPE)
    y, x, (u, v) = every_pixel(pixel_map)

    assert pixel_map.step == 0
    assert_array_equal((u, v), rough(*np.meshgrid(x, y)))


def test_shifts_by_whole_pixels_stay_whole_to_rounding():
    pixel_map = PixelMap(lambda x, y: (x + 7, y - 31), SHAPE)

    y, x, (u, v) = every_pixel(pixel_map)

    assert_allclose(u, np.broadcast_to(x + 7, u.shape), rtol=0, atol=1e-10)
    assert_allclose(v.T, np.broadcast_to(y - 31, v.T.shape), rtol=0, atol=1e-10)


def test_linear_interpolation_has_nodes_on_every_tenth_line_from_minus_one():
    pixel_map = PixelMap(distorted, (417, 533), step=10, tolerance=None, method="linear")
    y, x, (u, v) = every_pixel(pixel_map)

    exact = distorted(*np.meshgrid(x, y))

    lines = np.ix_([*range(0, y.size, 10), y.size - 1], [*range(0, x.size, 10), x.size - 1])
    assert_allclose(u[lines], exact[0][lines], rtol=0, atol=1e-11)
    assert_allclose(v[lines], exact[1][lines], rtol=0, atol=1e-11)
    assert_allclose(u[15, 25], u[10:21:10, 20:31:10].mean(), rtol=1e-13)
    # the last full cell ends with row 409, seven before the last one
    assert_allclose(u[-4, 20], u[-8, 20] + 4 / 7 * (u[-1, 20] - u[-8, 20]), rtol=1e-13)


def test_cells_next_to_a_lost_node_are_exact_and_the_others_do_not_suffer():
    calls = Counter(distorted)

    def with_hole(x, y):
        u, v = calls(x, y)
        lost = (x > 300) & (y > 250)
        return np.where(lost, np.nan, u), np.where(lost, np.nan, v)

    pixel_map = PixelMap(with_hole, SHAPE, step=20)
    y, x, (u, v) = every_pixel(pixel_map)
    exact = with_hole(*np.meshgrid(x, y))

    assert_array_equal(np.isnan(u), np.isnan(exact[0]))
    assert_allclose(u, exact[0], rtol=0, atol=1e-6)
    assert_allclose(v, exact[1], rtol=0, atol=1e-6)


def test_only_the_part_that_sees_the_source_is_worked_on():
    shape, shift = (3000, 4000), (1500.5, 2200.25)
    to_source = Counter(lambda x, y: (x - shift[1], y - shift[0]))

    pixel_map = PixelMap(to_source, shape, source_shape=SOURCE)

    y_start, y_stop, x_start, x_stop = pixel_map.window
    assert 1500 - 80 < y_start <= 1500
    assert 1500 + SOURCE[0] <= y_stop < 1500 + SOURCE[0] + 80
    assert 2200 - 80 < x_start <= 2200
    assert 2200 + SOURCE[1] <= x_stop < 2200 + SOURCE[1] + 80
    assert to_source.n < 3000
    u, _ = pixel_map.positions(np.array([1000.0, 1600.0]), np.array([10.0, 2300.0]))
    assert_array_equal(np.isnan(u), [[True, True], [True, False]])


def test_columns_enclose_all_that_see_the_source_in_the_rows():
    def turned(x, y):
        return 0.8 * (x - 250) - 0.6 * (y - 200) + 130, 0.6 * (x - 250) + 0.8 * (y - 200) + 150

    pixel_map = PixelMap(turned, SHAPE, source_shape=(150, 120), step=20)
    _, _, (u, v) = every_pixel(pixel_map)
    sees = (u > -0.5) & (u < 119.5) & (v > -0.5) & (v < 149.5)

    for start in range(0, SHAPE[0], 32):
        columns = np.flatnonzero(sees[start + 1 : start + 33].any(axis=0)) - 1
        first, stop = pixel_map.columns(start, min(start + 32, SHAPE[0]))
        if columns.size:
            assert first <= columns[0]
            assert columns[-1] < stop
    assert pixel_map.columns(0, 32)[1] - pixel_map.columns(0, 32)[0] < 200


def test_a_source_that_is_not_in_the_target_leaves_an_empty_window():
    pixel_map = PixelMap(lambda x, y: (x + 9000, y), SHAPE, source_shape=SOURCE)

    assert pixel_map.window.shape == (0, 0)
    u, v = pixel_map.positions(np.array([3.0, 5.0]), np.array([8.0]))
    assert np.isnan(u).all()
    assert np.isnan(v).all()


def test_a_source_without_any_position_leaves_no_positions():
    pixel_map = PixelMap(lambda x, y: (x + np.nan, y), SHAPE, source_shape=SOURCE)

    assert np.isnan(pixel_map.positions(np.arange(9.0), np.arange(7.0))[0]).all()


def test_a_source_smaller_than_a_cell_that_alone_has_positions_is_found():
    def small(x, y):
        sees = (x > 200) & (x < 240) & (y > 150) & (y < 190)
        return np.where(sees, x - 201, np.nan), np.where(sees, y - 151, np.nan)

    pixel_map = PixelMap(small, SHAPE, source_shape=(30, 35))
    y, x, (u, v) = every_pixel(pixel_map)

    assert_array_equal((u, v), small(*np.meshgrid(x, y)))


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 200), (130, 2)])
def test_small_targets_work(shape):
    pixel_map = PixelMap(distorted, shape)
    y, x, (u, v) = every_pixel(pixel_map)

    assert_allclose((u, v), distorted(*np.meshgrid(x, y)), rtol=0, atol=1e-6)


def test_positions_do_not_depend_on_what_else_is_asked_for():
    pixel_map = PixelMap(distorted, SHAPE, source_shape=SOURCE)
    y, x, (u, v) = every_pixel(pixel_map)

    part = pixel_map.positions(y[103:171], x[57:302])

    assert_array_equal(part[0], u[103:171, 57:302])
    assert_array_equal(part[1], v[103:171, 57:302])


def test_parts_of_pixels_have_positions_up_to_the_edges():
    pixel_map = PixelMap(distorted, SHAPE)
    y, x = np.array([-0.75, 3.25, SHAPE[0]]), np.array([0.0, SHAPE[1] - 0.6])

    assert_allclose(pixel_map.positions(y, x), distorted(*np.meshgrid(x, y)), rtol=0, atol=1e-6)


def test_windows_intersect():
    window = Window(10, 50, 20, 90)

    assert window.intersection(Window(0, 30, 40, 100)) == (10, 30, 40, 90)
    assert window.intersection(Window(60, 70, 0, 10)).shape == (0, 0)
    assert np.zeros((60, 100))[window.slices].shape == window.shape == (40, 70)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="'cubic' is none of polynomial, linear"):
        PixelMap(distorted, SHAPE, method="cubic")
