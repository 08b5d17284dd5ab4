import numpy as np
import pytest

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.interpolation import InterpolationRule
from skytool.core.background.reference_cost import (
    NO_FIGURES,
    CostKind,
    CostWeights,
    SkyFigures,
    choose_reference,
    combined_figures,
    sky_figures,
)
from skytool.core.difference.cells import ImagePiece
from skytool.core.difference.flux_scale import flux_scale
from skytool.core.difference.loops import squared_residuals
from skytool.core.noise.source_mask import source_mask
from skytool.core.skyframe.superpixels import SuperpixelRule, cells_from_superpixels, superpixels
from skytool.core.statistics import Clip, Statistic
from skytool.core.windows import Window, grid_part
from skytool.errors import AlgorithmError

CLASSIC = CostWeights(coverage=0.4, variance=0.4, level=0.2)


def figures(variances, levels, coverages, chi2=None):
    chi2 = chi2 or [np.nan] * len(variances)
    return [SkyFigures(*row) for row in zip(variances, levels, coverages, chi2, strict=True)]


def test_the_cost_of_three_exposures():
    seen = figures([100, 120, 90], [50, 10, 60], [360000, 300000, 120000])

    choice = choose_reference(seen, CostKind.VARIANCE, CLASSIC)

    np.testing.assert_allclose(choice.cost, [0.63333, 0.59333, 0.9], atol=1e-5)
    assert choice.index == 1
    np.testing.assert_allclose(sum(choice.terms.values()), choice.cost)


def test_the_first_of_equals_is_chosen():
    seen = figures([1, 1, 1], [5, 5, 5], [10, 10, 10])

    assert choose_reference(seen, CostKind.NOISE, CLASSIC).index == 0


def test_an_empty_exposure_is_never_chosen_and_changes_nothing():
    seen = figures([2, 1], [5, 4], [10, 9])
    alone = choose_reference(seen, CostKind.NOISE, CLASSIC)

    choice = choose_reference([NO_FIGURES, *seen], CostKind.NOISE, CLASSIC)

    assert choice.index == 1 + alone.index
    np.testing.assert_allclose(choice.cost[1:], alone.cost)
    with pytest.raises(AlgorithmError, match="no exposure has a good pixel"):
        choose_reference([NO_FIGURES], CostKind.NOISE, CLASSIC)


def test_the_zero_of_levels_does_not_matter():
    seen = figures([1, 1, 1], [-5, -10, -20], [10, 10, 10])
    raised = figures([1, 1, 1], [95, 90, 80], [10, 10, 10])

    choices = [choose_reference(one, CostKind.NOISE, CLASSIC) for one in (seen, raised)]

    assert [choice.index for choice in choices] == [2, 2]
    np.testing.assert_allclose(choices[0].cost, choices[1].cost)


def test_figures_of_a_sky_do_not_see_its_slope(rng):
    y, x = np.indices((300, 340))
    noise = rng.normal(0, 2, x.shape)
    plane, bowl = 0.05 * x - 0.02 * y, 3e-3 * (x - 170.0) ** 2
    seen = [
        sky_figures((sky + noise).astype(np.float32), x < 10, CostKind.CHI2)
        for sky in (plane, bowl)
    ]

    assert seen[0].coverage == 300 * 330
    assert seen[0].variance == pytest.approx(4.0, rel=0.05)
    # 30 cells on 27 degrees of freedom.
    assert seen[0].chi2 == pytest.approx(1.0, abs=0.9)
    assert seen[1].chi2 > 10


def test_figures_of_pieces_are_means_by_coverage():
    both = combined_figures(figures([1, 3], [10, 20], [100, 300], [2, np.nan]))

    assert both == SkyFigures(2.5, 17.5, 400, 2.0)
    assert combined_figures([NO_FIGURES]) is NO_FIGURES


def test_squares_are_summed_over_good_pixels(rng):
    image = rng.normal(0, 1, (37, 53)).astype(np.float32)
    image[3, 4] = np.nan
    bad = rng.random(image.shape) < 0.2
    model = rng.normal(0, 1, image.shape).astype(np.float32)

    count, total = squared_residuals(image, bad, model)

    good = ~bad & np.isfinite(image)
    assert count == good.sum()
    expected = np.sum((image.astype(float) - model.astype(float))[good] ** 2)
    assert total == pytest.approx(expected, rel=1e-12)


def test_windows_cut_grids_at_their_edges():
    grid = CellGrid.from_counts((100, 120), (4, 5))

    part = grid_part(grid, Window(y=30, x=40, shape=(33, 60)))

    assert (part.row, part.column) == (1, 1)
    assert part.grid.y_edges.tolist() == [0, 20, 33]
    assert part.grid.x_edges.tolist() == [0, 8, 32, 56, 60]
    assert part.grid.image_shape == (33, 60)


def test_windows_meet_or_do_not():
    first, second = Window(y=0, x=0, shape=(10, 20)), Window(y=5, x=18, shape=(10, 20))

    common = first.common(second)

    assert common == Window(y=5, x=18, shape=(5, 2))
    assert common.within(second) == (slice(0, 5), slice(0, 2))
    assert first.common(Window(y=10, x=0, shape=(3, 3))) is None
    assert Window.around([first, second]) == Window(y=0, x=0, shape=(15, 38))


def test_superpixels_of_a_plane_lie_on_it(rng):
    shape = (200, 330)
    y, x = np.indices(shape)
    plane = (0.3 * x - 0.2 * y).astype(np.float32)
    rule = SuperpixelRule(y_bin=30, x_bin=40)
    piece = ImagePiece(Window.whole(shape), plane, np.zeros(shape, bool))

    found = superpixels([piece], shape, rule, statistic=Statistic.MEAN, clip=Clip())
    grid = CellGrid.from_bin_size((120, 150), 20)
    cells = cells_from_superpixels(found.mean, rule, grid, Window(y=40, x=70, shape=(120, 150)))

    assert found.mean.shape == (6, 8)
    expected = 0.3 * (grid.x_centers + 70) - 0.2 * (grid.y_centers[:, None] + 40)
    np.testing.assert_allclose(cells, expected, atol=1e-4)


def test_superpixels_without_pixels_are_filled_and_smoothed(rng):
    shape = (200, 330)
    image = np.full(shape, 7.0, np.float32)
    bad = np.zeros(shape, bool)
    bad[:, 200:] = True
    for smooth in (0.0, 1.5):
        rule = SuperpixelRule(y_bin=20, x_bin=20, smooth_scale=smooth)
        piece = ImagePiece(Window.whole(shape), image, bad)
        found = superpixels([piece], shape, rule, statistic=Statistic.MEAN, clip=Clip())

        assert not found.valid.all()
        np.testing.assert_allclose(found.filled(InterpolationRule()), 7.0, rtol=1e-9)
    with pytest.raises(AlgorithmError, match="has no superpixel of 400 x 20"):
        superpixels(
            [piece],
            shape,
            SuperpixelRule(y_bin=20, x_bin=400),
            statistic=Statistic.MEAN,
            clip=Clip(),
        )


def test_sources_are_masked_and_the_sky_is_not(rng):
    y, x = np.indices((256, 300))
    sky = 50 + 0.1 * x
    light = 400 * np.exp(-((y - 100.0) ** 2 + (x - 77.0) ** 2) / 8)
    image = (sky + light + rng.normal(0, 2, x.shape)).astype(np.float32)

    mask = source_mask(image)

    assert mask[light > 2].mean() > 0.99
    # Three sigma of a Gaussian, grown: 0.13 per cent times about forty pixels that overlap.
    assert mask[np.hypot(y - 100, x - 77) > 30].mean() < 0.06
    assert not source_mask(np.full((64, 70), np.nan, np.float32)).any()


def test_variable_sources_do_not_decide_on_a_factor(rng):
    shape = (256, 512)
    grid = CellGrid.from_bin_size(shape, 64)
    sources = np.zeros(shape, bool)
    sources[20::64, 20::64] = True
    flux = np.where(sources, 5000.0, 0.0)
    first = 2.0 * flux
    first[20, 20] *= 3
    images = [(one + rng.normal(0, 1, shape)).astype(np.float32) for one in (first, flux)]
    variance = np.ones(shape, np.float32)

    found = flux_scale(
        *images,
        sources=sources,
        bad=np.zeros(shape, bool),
        variances=(variance, variance),
        grid=grid,
    )

    assert found.scale == pytest.approx(2.0, abs=5 * found.error)
    assert found.n_cells == 31
