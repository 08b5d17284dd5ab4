import numpy as np
import pytest
from astropy.stats import biweight_location, biweight_midvariance
from photutils.background import SExtractorBackground

from skytool.core.background.cell_grid import (
    CellGrid,
    cell_edges,
    extrapolated_cells,
    model_range,
    neighbor_count,
)
from skytool.core.background.cells import cell_averages, cell_statistics
from skytool.core.statistics import Clip, Statistic, sample_statistics
from skytool.errors import AlgorithmError


@pytest.mark.parametrize(
    ("length", "n", "edges"),
    [
        (1000, 7, [0, 143, 286, 429, 571, 714, 857, 1000]),
        (10, 4, [0, 3, 5, 8, 10]),
        (7, 3, [0, 2, 5, 7]),
        (100, 3, [0, 33, 67, 100]),
        (5, 1, [0, 5]),
    ],
)
def test_edges_are_rounded_to_the_nearest_pixel(length, n, edges):
    assert cell_edges(length, n).tolist() == edges


@pytest.mark.parametrize(
    ("length", "n", "edges"), [(10, 4, [0, 2, 5, 7, 10]), (7, 4, [0, 1, 3, 5, 7])]
)
def test_edges_can_be_rounded_down(length, n, edges):
    assert cell_edges(length, n, rounding="down").tolist() == edges


@pytest.mark.parametrize("n", [0, -1, 8])
def test_empty_cells_are_refused(n):
    with pytest.raises(AlgorithmError, match="7 pixels cannot be divided"):
        cell_edges(7, n)


def test_centres_are_in_the_middle_of_their_pixels():
    grid = CellGrid.from_counts((100, 10), (3, 4))

    assert grid.y_centers.tolist() == [16, 49.5, 83]
    assert grid.x_centers.tolist() == [1, 3.5, 6, 8.5]
    assert grid.image_shape == (100, 10)
    assert grid.areas.sum() == 1000


@pytest.mark.parametrize(
    ("rounding", "shape"), [("up", (3, 5)), ("nearest", (2, 4)), ("down", (2, 4))]
)
def test_the_number_of_cells_follows_from_their_size(rounding, shape):
    assert CellGrid.from_bin_size((600, 1050), 256, rounding=rounding).shape == shape


def test_cells_may_differ_in_height_and_width_and_there_is_at_least_one():
    assert CellGrid.from_bin_size((600, 1050), (100, 2000)).shape == (6, 1)
    assert CellGrid.from_bin_size((47, 48), 100, rounding="down").shape == (1, 1)
    assert CellGrid.from_bin_size((4176, 48), 32, rounding="nearest").shape == (131, 2)


def test_cells_of_a_fixed_size_leave_a_rest():
    grid = CellGrid.of_fixed_size((10, 9), 3)

    assert grid.y_edges.tolist() == [0, 3, 6, 9, 10]
    assert grid.x_edges.tolist() == [0, 3, 6, 9]


def test_expanded_values_cover_their_cells():
    grid = CellGrid.from_counts((5, 7), (2, 3))

    image = grid.expand(np.arange(6).reshape(2, 3))

    assert image.shape == (5, 7)
    assert image[2].tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert image[3].tolist() == [3, 3, 4, 4, 4, 5, 5]


@pytest.fixture
def scene(rng):
    image = rng.normal(200, 5, (131, 150)).astype(np.float32)
    bad = rng.random(image.shape) < 0.2
    image[bad & (rng.random(image.shape) < 0.5)] = np.nan
    image[rng.integers(0, 131, 40), rng.integers(0, 150, 40)] = 3000
    bad[90:, 100:] = True
    return image, bad, CellGrid.from_counts(image.shape, (4, 5))


def pixels_of(image, grid, j, i):
    return image[grid.y_edges[j] : grid.y_edges[j + 1], grid.x_edges[i] : grid.x_edges[i + 1]]


@pytest.mark.parametrize("statistic", ["mean", "median", "meanclip"])
def test_every_cell_has_the_statistics_of_its_pixels(scene, statistic):
    image, bad, grid = scene

    cells = cell_statistics(image, bad, grid, statistic=Statistic(statistic), clip=Clip(2.5, 2))

    for j, i in np.ndindex(grid.shape):
        flags = pixels_of(bad, grid, j, i)
        expected = sample_statistics(pixels_of(image, grid, j, i), flags, clip=Clip(2.5, 2))
        name = {"meanclip": "clip_mean"}.get(statistic, statistic)
        assert cells.count[j, i] == expected.count
        if expected.count > 1:
            assert cells.value[j, i] == pytest.approx(getattr(expected, name), rel=1e-13)
            assert cells.error[j, i] == pytest.approx(getattr(expected, f"{name}_error"), rel=1e-12)


def test_a_cell_knows_where_the_pixels_of_its_value_are(scene):
    image, bad, grid = scene

    cells = cell_statistics(image, bad, grid)

    y, x = np.indices(image.shape)
    for j, i in np.ndindex(grid.shape):
        values = pixels_of(image, grid, j, i)
        used = ~pixels_of(bad, grid, j, i) & np.isfinite(values)
        used &= (values >= cells.low[j, i]) & (values <= cells.high[j, i])
        assert cells.kept[j, i] == used.sum()
        if used.any():
            assert values[used].max() < 300
            assert cells.value[j, i] == pytest.approx(values[used].mean(dtype=float), rel=1e-13)
            assert cells.y[j, i] == pytest.approx(pixels_of(y, grid, j, i)[used].mean(), rel=1e-12)
            assert cells.x[j, i] == pytest.approx(pixels_of(x, grid, j, i)[used].mean(), rel=1e-12)
        else:
            assert np.isnan([cells.value[j, i], cells.y[j, i], cells.x[j, i]]).all()


def test_a_biweight_is_that_of_astropy(scene):
    image, bad, grid = scene

    cells = cell_statistics(image, bad, grid, statistic=Statistic.BIWEIGHT)

    for j, i in [(0, 0), (1, 2), (2, 3)]:
        values = pixels_of(image, grid, j, i)
        good = values[~pixels_of(bad, grid, j, i) & np.isfinite(values)].astype(np.float64)
        assert cells.value[j, i] == pytest.approx(biweight_location(good), rel=1e-7)
        assert cells.variance[j, i] == pytest.approx(biweight_midvariance(good), rel=1e-5)


def test_a_mode_is_that_of_the_kept_pixels(rng):
    image = rng.normal(200, 5, (60, 90))
    image[:20] = rng.normal(np.where(rng.random((20, 90)) < 0.7, 200, 205), 1)
    image[rng.random(image.shape) < 0.01] += 400
    grid = CellGrid.from_counts(image.shape, (3, 2))

    cells = cell_statistics(image, None, grid, statistic=Statistic.MODE)

    skew = 0
    for j, i in np.ndindex(grid.shape):
        values = pixels_of(image, grid, j, i)
        kept = values[(values >= cells.low[j, i]) & (values <= cells.high[j, i])]
        expected = SExtractorBackground(sigma_clip=None)(kept)
        assert cells.value[j, i] == pytest.approx(expected, rel=1e-12)
        skew += expected == np.median(kept)
    assert 0 < skew < 6


@pytest.mark.parametrize("statistic", list(Statistic))
def test_errors_of_cells_are_the_scatter_of_their_values(rng, statistic):
    image = rng.normal(50, 3, (600, 800))

    cells = cell_statistics(
        image, None, CellGrid.from_bin_size(image.shape, 20), statistic=statistic
    )

    # 1200 cells give a standard deviation to 2 %; clipping lowers the claimed error by 1.4 %, and
    # a biweight is 2 % noisier than the mean of a normal sample.
    assert cells.error.mean() == pytest.approx(cells.value.std(), rel=0.1)


def test_robust_values_stand_sources_that_a_mean_does_not(rng):
    image = rng.normal(50, 3, (240, 320))
    sources = rng.random(image.shape) < 0.06
    image[sources] += rng.exponential(30, sources.sum())
    grid = CellGrid.from_counts(image.shape, (3, 4))

    bias = {
        statistic: cell_statistics(image, None, grid, statistic=statistic).value.mean() - 50
        for statistic in Statistic
    }

    assert bias["mean"] == pytest.approx(0.06 * 30, rel=0.1)
    for statistic in ("meanclip", "biweight", "mode"):
        assert abs(bias[statistic]) < 0.1 * bias["mean"]


def test_correlated_noise_raises_the_errors_only(scene):
    image, bad, grid = scene

    white = cell_statistics(image, bad, grid)
    correlated = cell_statistics(image, bad, grid, correlation=2.25)

    np.testing.assert_array_equal(correlated.value, white.value)
    np.testing.assert_allclose(correlated.error, 1.5 * white.error, rtol=1e-14)


def test_cells_with_too_few_good_pixels_have_no_value():
    image = np.ones((20, 30))
    bad = np.ones(image.shape, bool)
    bad[0, 0] = bad[0, 10:20] = False
    grid = CellGrid.from_counts(image.shape, (2, 3))

    every = cell_statistics(image, bad, grid)
    enough = cell_statistics(image, bad, grid, min_fraction=0.1)

    assert every.valid.tolist() == [[True, True, False], [False] * 3]
    assert enough.valid.tolist() == [[False, True, False], [False] * 3]
    assert enough.count.tolist() == [[1, 10, 0], [0, 0, 0]]


def test_weights_are_powers_of_the_error_and_zero_without_one(scene):
    image, bad, grid = scene
    image[:33, :30] = 4.0  # a cell without scatter

    cells = cell_statistics(image, bad, grid)

    assert cells.weights()[0, 0] == 0
    assert cells.weights()[3, 4] == 0
    assert cells.weights()[1, 1] == pytest.approx(cells.error[1, 1] ** -2, rel=1e-14)
    assert cells.weights(1)[1, 1] == pytest.approx(1 / cells.error[1, 1], rel=1e-14)


def test_pooling_gives_cells_of_few_pixels_no_large_weight(rng):
    image = rng.normal(0, 2, (60, 80))
    bad = np.zeros(image.shape, bool)
    bad[:20, :20] = bad[20:40, :20] = True
    bad[0, :2] = bad[20, 0] = False  # two pixels that agree, and a single one
    image[0, :2] = 1, 1.001
    cells = cell_statistics(image, bad, CellGrid.from_bin_size(image.shape, 20))

    plain, pooled = cells.weights(), cells.weights(pooling=50)

    assert plain[0, 0] > 1e4 * plain[2, 2]
    assert pooled[0, 0] == pytest.approx(2 / 4, rel=0.2)
    assert (plain[1, 0], pooled[1, 0]) == (0, pytest.approx(1 / 4, rel=0.2))
    np.testing.assert_allclose(pooled[2], plain[2], rtol=0.2)
    np.testing.assert_allclose(cells.weights(1, pooling=50), np.sqrt(pooled), rtol=1e-12)


def test_pooling_keeps_the_errors_of_equal_cells(rng):
    image = np.tile(rng.normal(0, 2, (20, 20)), (3, 4))
    grid = CellGrid.from_bin_size(image.shape, 20)
    for statistic in Statistic:
        cells = cell_statistics(image, None, grid, statistic=statistic, correlation=1.7)
        np.testing.assert_allclose(cells.weights(pooling=50), cells.weights(), rtol=1e-12)
    flat = cell_statistics(np.ones(image.shape), None, grid)
    assert not flat.weights(pooling=50).any()


def test_dropped_cells_lose_value_and_weight(scene):
    image, bad, grid = scene
    cells = cell_statistics(image, bad, grid)

    fewer = cells.only(cells.x < 60)

    assert np.isnan(fewer.value[:, 2:]).all()
    np.testing.assert_array_equal(fewer.value[:, :2], cells.value[:, :2])
    assert not fewer.weights()[:, 2:].any()


def test_averages_of_a_basis_are_those_of_the_used_pixels(scene, rng):
    image, bad, grid = scene
    y_basis, x_basis = rng.normal(size=(131, 4)), rng.normal(size=(150, 4))
    low, high = np.full(grid.shape, 190.0), np.full(grid.shape, 205.0)

    averages = cell_averages(image, bad, grid, low=low, high=high, y_basis=y_basis, x_basis=x_basis)

    used = ~bad & (image >= 190) & (image <= 205)
    for p, q in [(0, 0), (1, 0), (0, 3), (2, 1)]:
        product = np.where(used, np.multiply.outer(y_basis[:, p], x_basis[:, q]), 0)
        for j, i in [(0, 0), (3, 1), (2, 4)]:
            n = pixels_of(used, grid, j, i).sum()
            expected = pixels_of(product, grid, j, i).sum() / n
            assert averages[j, i, p, q] == pytest.approx(expected, rel=1e-10, abs=1e-13)
    assert not averages[..., 2, 2].any(where=np.isfinite(averages[..., 2, 2]))


def test_bad_pixels_do_not_matter_whatever_they_hold(scene):
    image, bad, grid = scene
    changed = np.where(bad, np.float32(65000), image)

    for statistic in Statistic:
        before = cell_statistics(image, bad, grid, statistic=statistic)
        after = cell_statistics(changed, bad, grid, statistic=statistic)
        np.testing.assert_array_equal(before.value, after.value)
        np.testing.assert_array_equal(before.error, after.error)


def test_images_of_another_shape_are_refused():
    grid = CellGrid.from_counts((20, 30), (2, 3))
    with pytest.raises(ValueError, match="image of shape"):
        cell_statistics(np.zeros((30, 20)), None, grid)


def test_cells_between_valid_ones_are_interpolated_and_others_extrapolated():
    valid = np.array([[0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]], bool)

    outside = extrapolated_cells(valid)

    expected = [[1, 1, 1, 1], [0, 0, 0, 1], [0, 1, 1, 1], [0, 1, 1, 1]]
    np.testing.assert_array_equal(outside, np.array(expected, bool))
    assert extrapolated_cells(np.zeros((2, 3), bool)).all()
    assert not extrapolated_cells(np.ones((2, 3), bool)).any()


def test_neighbours_are_counted_without_the_cell_itself():
    valid = np.array([[1, 1, 0], [0, 1, 0]], bool)

    assert neighbor_count(valid).tolist() == [[2, 2, 2], [3, 2, 2]]


def test_the_range_of_a_model_is_that_of_its_covered_cells():
    grid = CellGrid.from_counts((6, 9), (2, 3))
    image = np.arange(54.0).reshape(6, 9)
    covered = np.array([[0, 1, 0], [1, 0, 0]], bool)

    assert model_range(image, grid, covered) == (3, 47)
    assert model_range(image, grid, ~(covered | True)) == (-np.inf, np.inf)
