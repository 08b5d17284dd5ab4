import numpy as np
import pytest

from skytool.core.background.cell_averages import (
    averages_of_surface,
    knots_of_averages,
    noise_of_averages,
)
from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.curves import InterpolationStyle
from skytool.core.background.interpolation import InterpolationRule, interpolate_cells

SHAPE = (330, 250)
GRID = CellGrid.from_counts(SHAPE, (11, 9))
RULE = InterpolationRule(InterpolationStyle.NATURAL_SPLINE)


def cell_means(image):
    rows = np.add.reduceat(image, GRID.y_edges[:-1], axis=0)
    return np.add.reduceat(rows, GRID.x_edges[:-1], axis=1) / GRID.areas


def glow():
    y, x = np.indices(SHAPE, float)
    return np.exp(-x / 60.0) * (1 + y / 500)


def test_averages_are_those_of_all_pixels(rng):
    values = rng.normal(0, 1, GRID.shape)

    found = averages_of_surface(values, GRID, RULE)

    image = interpolate_cells(values, GRID, RULE, dtype=np.float64)
    # Eight points leave one part in 64 of the difference between value and average.
    limit = 2 / 64 * np.abs(values - cell_means(image)).max()
    np.testing.assert_allclose(found, cell_means(image), rtol=0, atol=limit)


def test_a_surface_keeps_the_averages_of_what_bends():
    means = cell_means(glow())

    plain = interpolate_cells(means, GRID, RULE, dtype=np.float64)
    kept = interpolate_cells(knots_of_averages(means, GRID, RULE), GRID, RULE, dtype=np.float64)

    errors = [np.abs(cell_means(image) - means).max() for image in (plain, kept)]
    assert errors[1] < 0.2 * errors[0]
    assert np.std(kept - glow()) < np.std(plain - glow())


def test_noise_hardly_grows(rng):
    noise = rng.normal(0, 1, (40, 50))
    grid = CellGrid.from_counts((1280, 1600), noise.shape)

    knots = knots_of_averages(noise, grid, RULE)

    assert np.std(knots) < 1.12 * np.std(noise)


@pytest.mark.parametrize("style", ["linear", "natural_spline", "akima_spline"])
def test_a_plane_stays_what_it_is(style):
    rule = InterpolationRule(InterpolationStyle(style))
    plane = np.add.outer(0.3 * GRID.y_centers, -0.2 * GRID.x_centers)

    np.testing.assert_allclose(knots_of_averages(plane, GRID, rule), plane, atol=1e-9)


@pytest.mark.parametrize("keep", [True, False])
def test_the_noise_of_averages_is_predicted(rng, keep):
    noise = rng.normal(0, 1, (60, 70))
    grid = CellGrid.from_counts((1920, 2240), noise.shape)
    knots = knots_of_averages(noise, grid, RULE) if keep else noise

    found = np.var(averages_of_surface(knots, grid, RULE)[5:-5, 5:-5])

    assert found == pytest.approx(noise_of_averages(RULE, keep_averages=keep), rel=0.1)
    assert found < 0.9
