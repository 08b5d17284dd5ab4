import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import Akima1DInterpolator, CubicSpline

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.curves import Extrapolation, InterpolationStyle
from skytool.core.background.interpolation import (
    InterpolationRule,
    UndersampleStyle,
    fill_missing,
    grid_rule,
    interpolate,
    interpolate_cells,
    interpolate_outer,
    largest_style,
)
from skytool.errors import AlgorithmError

SMOOTH = [
    InterpolationStyle.LINEAR,
    InterpolationStyle.NATURAL_SPLINE,
    InterpolationStyle.AKIMA_SPLINE,
]
CELLS = np.array(
    [[0, 1, 4, 9, 16], [1, 3, 7, 13, 21], [2, 2, 2, 8, 8], [5, 0, 5, 0, 5], [1, 1, 2, 3, 5]], float
)
PIXELS = [(0, 0), (4, 3), (25, 20), (49, 39), (0, 39), (49, 0), (13, 27)]  # (x, y)


def rule(style, **more):
    return InterpolationRule(InterpolationStyle(style), **more)


def surface_at_pixels(values, style):
    grid = CellGrid.from_counts((40, 50), values.shape)
    image = interpolate_cells(values, grid, rule(style), dtype=np.float64)
    return [image[y, x] for x, y in PIXELS]


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("akima_spline", [-0.336, 1.8, 0.934375, 2.578125, 5, 5, 5]),
        (
            "natural_spline",
            [
                0.03923445,
                2.025717703,
                0.54784689,
                2.282894737,
                5.585789474,
                4.809808612,
                5.202870813,
            ],
        ),
        ("linear", [0.6, 1.5, 1, 2.5, 5, 5, 5]),
        ("constant", [1, 1.5, 1, 2.5, 2.5, 5, 5]),
        ("nearest", [1, 2, 0, 5, 5, 5, 5]),
    ],
)
def test_curves_have_the_published_values(style, expected):
    curve = interpolate(
        np.arange(0, 60, 10), [1, 2, 0, 5, 5, 5], [-4, 5, 15, 25, 33, 45, 54], rule(style)
    )

    np.testing.assert_allclose(curve, expected, rtol=0, atol=5e-9)


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("AKIMA_SPLINE", [0.084289, -0.05381, 2.063115, 2.39889, -7.616646, 10.007176, 0.18223]),
        (
            "NATURAL_SPLINE",
            [-0.682254, -0.105756, 2.149216, 3.462054, -4.15904, 13.599777, -0.026671],
        ),
        ("LINEAR", [-0.690625, -0.109375, 2.453125, 5.309375, -1.734375, 16.765625, 0.828125]),
        ("CONSTANT", [0, 0, 3.5, 3.25, 3, 12.5, 2.25]),
    ],
)
def test_surfaces_have_the_published_values(style, expected):
    np.testing.assert_allclose(surface_at_pixels(CELLS, style), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("style", "pixels", "expected"),
    [
        (
            "akima_spline",
            slice(None),
            [0.528115, -0.048315, 7.091716, 1.312928, -6.917932, 68.723213, 0.175609],
        ),
        ("linear", slice(5, 6), [54.284374]),
    ],
)
def test_holes_are_bridged_along_columns_before_rows(style, pixels, expected):
    holes = CELLS.copy()
    holes[2, 2] = holes[0, 4] = np.nan

    np.testing.assert_allclose(surface_at_pixels(holes, style)[pixels], expected, atol=2e-6)


def test_a_small_grid_gets_a_simpler_surface_on_both_axes():
    four = interpolate_cells(CELLS[:4], CellGrid.from_counts((32, 50), (4, 5)))
    assert four[16, 25] == pytest.approx(4.351428, abs=2e-6)
    assert four[0, 0] == pytest.approx(-0.555164, abs=2e-6)

    two = interpolate_cells(CELLS[:3, :2], CellGrid.from_counts((30, 20), (3, 2)))
    assert [two[0, 0], two[15, 10], two[29, 19]] == pytest.approx([-0.6975, 2.095, 1.145], rel=1e-6)


def test_one_valid_column_is_constant_along_x():
    values = np.full((5, 5), np.nan)
    values[:, 1] = [1, 2, 3, 4, 5]

    image = interpolate_cells(values, CellGrid.from_counts((40, 50), (5, 5)))

    assert (image[0, 0], image[20, 49]) == (0.5625, 3.0625)


@pytest.mark.parametrize(
    ("n", "style"),
    [(1, "constant"), (2, "linear"), (3, "cubic_spline"), (4, "cubic_spline"), (5, "akima_spline")],
)
def test_the_smoothest_style_depends_on_the_number_of_knots(n, style):
    assert largest_style(n) == style


def test_without_knots_there_is_no_style():
    with pytest.raises(AlgorithmError, match="no values"):
        largest_style(0)


@pytest.mark.parametrize(
    ("shape", "style"),
    [((2, 10), "linear"), ((1, 7), "constant"), ((4, 9), "cubic_spline"), ((5, 5), "akima_spline")],
)
def test_the_shorter_side_of_a_grid_decides(shape, style):
    assert grid_rule(InterpolationRule(), shape).style == style


@pytest.mark.parametrize("undersample", ["throw_exception", "increase_nxnysample"])
def test_too_few_cells_are_refused_unless_the_style_may_be_reduced(undersample):
    strict = InterpolationRule(undersample=UndersampleStyle(undersample))
    with pytest.raises(AlgorithmError, match="akima_spline needs 5 values, there are 4"):
        grid_rule(strict, (4, 6))

    holes = CELLS.copy()
    holes[3, 2] = np.nan
    grid = CellGrid.from_counts((40, 50), (5, 5))
    with pytest.raises(AlgorithmError, match="there are 4 cells with a value"):
        interpolate_cells(holes, grid, strict)
    holes[:, 2] = np.nan
    with pytest.raises(AlgorithmError, match="there are 0 cells with a value in a column"):
        interpolate_cells(holes, grid, strict)


def test_names_are_understood_in_any_case():
    assert InterpolationStyle("AKIMA_SPLINE") is InterpolationStyle.AKIMA_SPLINE
    assert UndersampleStyle("Throw_Exception") is UndersampleStyle.THROW_EXCEPTION
    with pytest.raises(ValueError, match="cubic"):
        InterpolationStyle("cubic")


knots = st.lists(st.floats(0.1, 50), min_size=4, max_size=12).map(
    lambda steps: np.cumsum([-20.0, *steps])
)


@given(knots, st.sampled_from(SMOOTH), st.floats(-5, 5), st.floats(-100, 100))
def test_straight_lines_are_followed_everywhere(at, style, slope, level):
    points = np.linspace(at[0] - 30, at[-1] + 30, 77)

    curve = interpolate(at, level + slope * at, points, rule(style))

    scale = np.abs(level) + np.abs(slope) * 700
    np.testing.assert_allclose(curve, level + slope * points, rtol=0, atol=1e-10 * (1 + scale))


@given(knots, st.sampled_from(SMOOTH), st.randoms(use_true_random=False))
def test_curves_pass_through_their_knots(at, style, random):
    values = np.array([random.uniform(-10, 10) for _ in at])

    curve = interpolate(at, values, at, rule(style))

    np.testing.assert_allclose(curve, values, rtol=0, atol=1e-9)


@given(knots, st.randoms(use_true_random=False))
def test_natural_splines_are_those_of_scipy_between_the_knots(at, random):
    values = np.array([random.uniform(-10, 10) for _ in at])
    points = np.linspace(at[0], at[-1], 99)

    curve = interpolate(at, values, points, rule("natural_spline"))

    expected = CubicSpline(at, values, bc_type="natural")(points)
    np.testing.assert_allclose(curve, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_akima_splines_are_those_of_scipy_for_generic_values(rng):
    at = np.cumsum(rng.uniform(1, 5, 9))
    values = rng.normal(size=(4, 9))
    points = np.linspace(at[0], at[-1], 99)

    curves = interpolate(at, values, points, rule("akima_spline"))

    expected = Akima1DInterpolator(at, values, axis=1)(points)
    np.testing.assert_allclose(curves, expected, rtol=0, atol=1e-12)


def test_a_corner_between_straight_runs_stays_sharp():
    curve = interpolate(
        np.arange(8), [0, 0, 0, 0, 1, 2, 3, 4], [2.5, 3, 3.25], rule("akima_spline")
    )

    np.testing.assert_array_equal(curve, [0, 0, 0.25])


def test_akima_reproduces_a_parabola_and_a_natural_spline_does_not():
    at = np.arange(0.0, 60, 10)
    points = np.array([-5.0, 3, 27, 58])

    akima = interpolate(at, at**2, points, rule("akima_spline"))
    natural = interpolate(at, at**2, points, rule("natural_spline"))

    np.testing.assert_allclose(akima, points**2, rtol=1e-13)
    assert natural[0] == pytest.approx(-28.947, abs=5e-4)


@pytest.mark.parametrize("style", SMOOTH)
def test_curves_continue_by_the_terms_asked_for_up_to_the_reach(style):
    at = np.array([0.0, 10, 22, 30, 41, 50])
    values = np.array([3.0, 1, 4, 1, 5, 9])
    step = 1e-4
    ends = interpolate(at, values, [0, step, 2 * step, 50, 50 - step, 50 - 2 * step], rule(style))
    left_slope = (-3 * ends[0] + 4 * ends[1] - ends[2]) / (2 * step)
    right_slope = (3 * ends[3] - 4 * ends[4] + ends[5]) / (2 * step)

    linear = interpolate(at, values, [-8, 57], rule(style, extrapolation=Extrapolation.LINEAR))
    constant = interpolate(at, values, [-8, 57], rule(style, extrapolation=Extrapolation.CONSTANT))
    near = interpolate(at, values, [-6, 56], rule(style))
    limited = interpolate(at, values, [-80, 570], rule(style, reach=6))

    np.testing.assert_allclose(linear, [3 - 8 * left_slope, 9 + 7 * right_slope], rtol=1e-5)
    np.testing.assert_array_equal(constant, [3, 9])
    np.testing.assert_array_equal(limited, near)


def test_points_may_come_in_any_order(rng):
    at, values = np.arange(7.0), rng.normal(size=(2, 3, 7))
    points = rng.uniform(-2, 9, 50)

    curve = interpolate(at, values, points)

    order = np.argsort(points)
    np.testing.assert_array_equal(curve[..., order], interpolate(at, values, points[order]))
    assert curve.shape == (2, 3, 50)


@given(
    st.sampled_from(SMOOTH),
    st.floats(-1, 1),
    st.floats(-1, 1),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), max_size=8),
)
def test_a_plane_is_followed_across_holes_and_edges(style, slope_y, slope_x, holes):
    grid = CellGrid.from_counts((61, 83), (6, 7))
    values = 100 + slope_y * grid.y_centers[:, None] + slope_x * grid.x_centers
    for j, i in holes:
        values[j, i] = np.nan
    # A row or column with a single value is continued as a constant, so it says nothing.
    if (np.isfinite(values).sum(axis=0) < 2).any() or np.isfinite(values).sum() < 20:
        return

    image = interpolate_cells(values, grid, rule(style), dtype=np.float64)

    y, x = np.indices((61, 83))
    np.testing.assert_allclose(image, 100 + slope_y * y + slope_x * x, rtol=0, atol=1e-9)


def test_rows_of_a_surface_are_those_of_the_whole():
    grid = CellGrid.from_counts((40, 50), (5, 5))

    whole = interpolate_cells(CELLS, grid)
    part = interpolate_cells(CELLS, grid, rows=slice(7, 23))

    assert whole.dtype == np.float32
    np.testing.assert_array_equal(part, whole[7:23])


def test_a_grid_without_values_gives_a_surface_without_values():
    grid = CellGrid.from_counts((40, 50), (5, 5))

    assert np.isnan(interpolate_cells(np.full((5, 5), np.nan), grid)).all()


def test_a_surface_can_be_asked_anywhere():
    at_knots = interpolate_outer(
        CELLS, y_knots=np.arange(5), x_knots=2 * np.arange(5), y=[1, 3], x=[0, 4, 8]
    )

    np.testing.assert_allclose(at_knots, CELLS[[1, 3]][:, [0, 2, 4]], atol=1e-14)


def test_gaps_are_filled_along_rows_first_and_values_kept():
    values = np.array([[1.0, np.nan, 3, 4], [np.nan] * 4, [3.0, 4, 5, np.nan]])

    filled = fill_missing(values, rule("linear"))

    np.testing.assert_allclose(filled, [[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]], rtol=1e-14)
    assert np.isnan(values[1]).all()


def test_gaps_are_filled_with_the_style_that_each_line_allows():
    values = np.array([[np.nan, 7.0, np.nan], [np.nan, np.nan, np.nan]])

    np.testing.assert_array_equal(fill_missing(values), np.full((2, 3), 7.0))


def test_nothing_cannot_be_filled():
    with pytest.raises(AlgorithmError, match="no cell has a value"):
        fill_missing(np.full((2, 3), np.nan))
