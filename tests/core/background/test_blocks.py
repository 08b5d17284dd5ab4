import numpy as np
import pytest

from skytool.core.background.blocks import block_means, block_statistics, kept_average
from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.cells import cell_statistics
from skytool.core.statistics import Clip, Statistic

SHAPE = (70, 101)


@pytest.fixture
def image(rng):
    return (500 + rng.normal(0, 7, SHAPE)).astype(np.float32)


def grid(size=(23.0, 33.0)):
    return CellGrid.from_bin_size(SHAPE, size, rounding="nearest")


def test_blocks_average_the_good_pixels(image, rng):
    flags = rng.integers(0, 8, SHAPE).astype(np.int32)
    image[3, 5] = np.nan
    cells = grid()

    blocks = block_means(image, flags, cells, 4, bad=2, counted=4)

    j, i = 7, 11
    rows = slice(*blocks.grid.y_edges[j : j + 2])
    columns = slice(*blocks.grid.x_edges[i : i + 2])
    good = (flags[rows, columns] & 2) == 0
    assert blocks.count[j, i] == good.sum()
    assert blocks.mean[j, i] == pytest.approx(image[rows, columns][good].mean(), rel=1e-6)
    assert blocks.marked.sum() == np.count_nonzero(flags & 4)
    assert blocks.count.sum() == np.count_nonzero(((flags & 2) == 0) & np.isfinite(image))


def test_edges_of_cells_are_edges_of_blocks(image):
    cells = grid()

    blocks = block_means(image, None, cells, 4)

    np.testing.assert_array_equal(blocks.grid.y_edges[blocks.y_cell], cells.y_edges)
    np.testing.assert_array_equal(blocks.grid.x_edges[blocks.x_cell], cells.x_edges)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_a_mean_of_blocks_is_the_mean_of_their_pixels(image, rng, size):
    bad = rng.random(SHAPE) < 0.2
    cells = grid()

    found = block_statistics(block_means(image, bad, cells, size), statistic=Statistic.MEAN)
    direct = cell_statistics(image, bad, cells, statistic=Statistic.MEAN)

    np.testing.assert_allclose(found.value, direct.value, rtol=1e-6)
    np.testing.assert_array_equal(found.kept, direct.count)


@pytest.mark.parametrize("statistic", [Statistic.MEANCLIP, Statistic.MEDIAN, Statistic.MEAN])
def test_blocks_of_one_pixel_give_the_statistics_of_pixels(image, rng, statistic):
    image[rng.random(SHAPE) < 0.05] += 90
    bad = rng.random(SHAPE) < 0.1
    cells = grid()

    found = block_statistics(block_means(image, bad, cells, 1), statistic=statistic)
    direct = cell_statistics(image, bad, cells, statistic=statistic)

    np.testing.assert_allclose(found.value, direct.value, rtol=1e-9)
    np.testing.assert_allclose(found.error, direct.error, rtol=1e-6)
    np.testing.assert_allclose(found.y, direct.y, rtol=1e-9)
    np.testing.assert_allclose(found.x, direct.x, rtol=1e-9)


def test_errors_and_noise_are_those_of_the_pixels(rng):
    shape, sigma = (640, 700), 3.0
    image = rng.normal(0, sigma, shape)
    bad = rng.random(shape) < 0.3
    cells = CellGrid.from_bin_size(shape, 32, rounding="nearest")

    found = block_statistics(block_means(image, bad, cells, 4), clip=Clip(5.0))

    n = found.value.size
    assert np.std(found.value / found.error) == pytest.approx(1, abs=5 / np.sqrt(2 * n))
    assert np.median(found.noise) == pytest.approx(sigma, rel=0.02)


def test_a_quantity_is_averaged_over_the_blocks_that_were_kept(image):
    cells = grid()
    blocks = block_means(image, None, cells, 4)
    mean = blocks.mean.copy()
    mean[:, ::5] += 400  # outliers
    blocks = blocks.with_mean(mean)

    found = block_statistics(blocks)
    itself = kept_average(blocks, found, blocks.mean.astype(np.float64))

    np.testing.assert_allclose(itself, found.value, rtol=1e-9)
    assert (found.kept < found.count).all()


def test_cells_without_pixels_have_no_value(image):
    bad = np.zeros(SHAPE, bool)
    bad[:23] = True

    found = block_statistics(block_means(image, bad, grid(), 4))

    assert np.isnan(found.value[0]).all()
    assert (found.count[0] == 0).all()
    assert np.isfinite(found.value[1:]).all()


def test_regrouped_blocks_are_the_same_blocks_in_larger_cells(image):
    blocks = block_means(image, None, grid((8.0, 8.0)), 4)

    coarse = blocks.regrouped(35.0)

    assert coarse.cells.shape == (2, 3)
    assert coarse.mean is blocks.mean
    np.testing.assert_array_equal(coarse.cells.y_edges, blocks.grid.y_edges[coarse.y_cell])


def test_other_statistics_and_shapes_are_refused(image):
    blocks = block_means(image, None, grid(), 4)

    with pytest.raises(ValueError, match="not combined"):
        block_statistics(blocks, statistic=Statistic.MODE)
    with pytest.raises(ValueError, match="flags of shape"):
        block_means(image, np.zeros((3, 4), bool), grid(), 4)
    with pytest.raises(ValueError, match="for cells of"):
        block_means(image[1:], None, grid(), 4)
