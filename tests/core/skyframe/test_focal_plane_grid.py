import math
from dataclasses import replace

import numpy as np
import pytest

from skytool.core.background.curves import InterpolationStyle
from skytool.core.skyframe.focal_plane_grid import Affine, FocalPlaneGrid, FocalPlaneRule
from skytool.core.statistics import sample_statistics
from skytool.errors import AlgorithmError, IncompatibleError

SHAPE = (90, 130)
RULE = FocalPlaneRule(x_size=40.0, y_size=30.0)


def turned(angle, x, y, scale=1.0):
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return Affine(scale * np.array([[c, -s], [s, c]]), np.array([x, y], float))


def filled_from(image, bad=None, rule=RULE, affine=None):
    affine = affine or Affine.identity()
    grid = FocalPlaneGrid.covering([(affine, image.shape)], rule)
    return grid.with_detector(image, np.zeros(image.shape, bool) if bad is None else bad, affine)


def test_maps_and_their_inverses_agree(rng):
    affine = turned(30, 5, -7, 0.015)
    y, x = rng.uniform(0, 100, (2, 20))

    back = affine.inverse()
    again = back(y=affine(y=y, x=x)[0], x=affine(y=y, x=x)[1])

    np.testing.assert_allclose(again, [y, x], atol=1e-9)
    np.testing.assert_allclose(back.after(affine).matrix, np.eye(2), atol=1e-12)
    assert affine.scale == pytest.approx(0.015)


def test_the_grid_has_a_cell_more_on_each_side():
    grid = FocalPlaneGrid.covering([(Affine.identity(), SHAPE)], RULE)

    assert grid.values.shape == (math.ceil(90 / 30) + 2, math.ceil(130 / 40) + 2)
    y, x = grid.position(y=np.array([-0.5, 29.5]), x=np.array([-0.5, 39.5]))
    np.testing.assert_allclose([y, x], [[1, 2], [1, 2]])


def test_a_cell_holds_the_clipped_mean_of_its_pixels(rng):
    image = rng.normal(100, 5, SHAPE)
    image[50, 60] = 5000
    bad = rng.random(SHAPE) < 0.2

    grid = filled_from(image, bad)

    box = np.s_[15:46, 20:61]  # cell 2 reaches from 1.5 to 2.5, both edges included
    expected = sample_statistics(image[box], bad[box])
    assert grid.numbers[2, 2] == expected.count
    assert grid.values[2, 2] == pytest.approx(expected.clip_mean * expected.count)


def test_detectors_add_up_and_other_grids_do_not(rng):
    one, two = Affine.identity(), Affine(np.eye(2), np.array([140.0, 0.0]))
    empty = FocalPlaneGrid.covering([(one, SHAPE), (two, SHAPE)], RULE)
    good = np.zeros(SHAPE, bool)
    images = rng.normal(50, 1, (2, *SHAPE))

    both = empty.with_detector(images[0], good, one).with_detector(images[1], good, two)
    merged = empty.with_detector(images[0], good, one).merged(
        empty.with_detector(images[1], good, two)
    )

    np.testing.assert_allclose(merged.values, both.values)
    with pytest.raises(IncompatibleError, match="do not add up"):
        merged.merged(filled_from(images[0]))


def test_cells_with_few_pixels_are_filled(rng):
    image = np.full(SHAPE, 7.0)
    bad = np.zeros(SHAPE, bool)
    bad[:, 60:] = rng.random((90, 70)) < 0.95

    grid = filled_from(image, bad)

    assert (grid.numbers < 0.1 * 1200).any()
    np.testing.assert_allclose(grid.filled(), 7.0)
    assert grid.level() == pytest.approx(7.0)


def test_the_size_of_pixels_sets_how_many_are_needed():
    small = replace(RULE, x_size=0.6, y_size=0.45, pixel_size=0.015)
    affine = turned(0, 3.0, 2.0, 0.015)
    image = np.full(SHAPE, 7.0)

    np.testing.assert_allclose(filled_from(image, rule=small, affine=affine).filled(), 7.0)
    with pytest.raises(AlgorithmError, match=r"no cell of the focal plane has 0\.1"):
        filled_from(image, rule=replace(small, pixel_size=1e-4), affine=affine).filled()


def test_smoothing_keeps_a_constant_and_spreads_a_peak():
    image = np.full(SHAPE, 3.0)
    image[15:46, 20:61] = 30.0  # one cell

    rough, smooth = filled_from(image), filled_from(image, rule=replace(RULE, smooth_scale=1.0))

    np.testing.assert_allclose(
        filled_from(np.full(SHAPE, 3.0), rule=replace(RULE, smooth_scale=1.0)).filled(), 3.0
    )
    assert 3.5 < smooth.filled().max() < 0.9 * rough.filled().max()


@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0])
def test_a_slope_comes_back_on_a_turned_detector(angle):
    affine = turned(angle, 17.0, -4.0)
    y, x = np.indices((300, 400), float)
    fy, fx = affine(y=y, x=x)
    slope = 100 + 0.2 * fx - 0.1 * fy
    rule = replace(RULE, style=InterpolationStyle.LINEAR)

    grid = filled_from(slope, rule=rule, affine=affine)
    rows, columns = np.arange(70.0, 230.0), np.arange(80.0, 320.0)  # between whole cells
    found = grid.on_detector(affine, y=rows, x=columns)

    # Cells share their edges with their neighbours: their means are right to half a pixel.
    np.testing.assert_allclose(found, slope[70:230, 80:320], atol=0.16)


def test_places_outside_of_the_grid_get_the_mean():
    grid = filled_from(np.full(SHAPE, 5.0))

    values = grid.on_detector(Affine.identity(), y=np.array([40.0, 4000.0]), x=np.array([60.0]))

    np.testing.assert_allclose(values, 5.0)
