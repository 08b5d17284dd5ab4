import numpy as np

from skytool.core.noise.local_fill import fill_from_neighbors


def test_isolated_bad_pixels_get_the_median_around_them():
    y, x = np.indices((12, 17))
    plane = 10.0 * y + x
    bad = np.zeros(plane.shape, bool)
    bad[[5, 0], [8, 16]] = True
    plane[bad] = np.nan

    out = fill_from_neighbors(plane, bad)

    assert out[5, 8] == 58.0
    assert out[0, 16] == np.median([14, 15, 24, 25, 26, 34, 35, 36])
    np.testing.assert_array_equal(out[~bad], plane[~bad])


def test_values_of_bad_pixels_are_not_looked_at():
    plane = np.full((9, 10), 3.0, np.float32)
    bad = np.zeros(plane.shape, bool)
    bad[4:6, 4:6] = True
    plane[bad] = 1e9

    out = fill_from_neighbors(plane, bad)

    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, 3.0)


def test_large_holes_take_the_level_of_their_surroundings(rng):
    level = np.where(np.arange(200) < 100, 50.0, 400.0)
    plane = level + rng.normal(size=(150, 200))
    bad = np.zeros(plane.shape, bool)
    bad[:, 70:120] = True
    plane[bad] = np.nan

    out = fill_from_neighbors(plane, bad)

    # medians of a quarter of 32 by 32 pixels: noise below 0.1; a window of 10: below 0.4
    np.testing.assert_allclose(out[:, 70:90], 50.0, atol=2.5)
    np.testing.assert_allclose(out[:, 110:120], 400.0, atol=2.5)


def test_blocks_without_any_good_pixel_take_the_nearest_level():
    plane = np.full((130, 100), 7.0)
    bad = np.ones(plane.shape, bool)
    bad[:5, :5] = False

    np.testing.assert_array_equal(fill_from_neighbors(plane, bad), 7.0)


def test_without_good_pixels_the_result_is_zero():
    plane = np.full((40, 50), np.nan)

    np.testing.assert_array_equal(fill_from_neighbors(plane, np.ones(plane.shape, bool)), 0.0)
