import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skytool.core.background.cell_grid import CellGrid, extrapolated_cells
from skytool.core.background.cells import cell_statistics
from skytool.core.background.chebyshev import (
    ChebyshevModel,
    cell_basis,
    n_terms,
    point_basis,
    term_degrees,
)
from skytool.core.background.chebyshev_fit import chebyshev_fit, choose_order
from skytool.core.statistics import Clip
from skytool.errors import AlgorithmError

CELLS = np.array(
    [[0, 1, 4, 9, 16], [1, 3, 7, 13, 21], [2, 2, 2, 8, 8], [5, 0, 5, 0, 5], [1, 1, 2, 3, 5]], float
)
PIXELS = np.array([(0, 0), (4, 3), (25, 20), (49, 39), (0, 39), (49, 0), (13, 27)])  # (x, y)
SHAPE = (40, 50)


def basis_at_centres(grid, order):
    return point_basis(order, grid.image_shape, y=grid.y_centers[:, None], x=grid.x_centers)


def random_model(rng, order, shape):
    return ChebyshevModel.from_terms(rng.normal(size=n_terms(order)), shape)


def test_terms_are_sorted_by_total_degree():
    degrees = term_degrees(3)

    assert len(degrees) == n_terms(3) == 10
    assert degrees[:6].tolist() == [[0, 0], [0, 1], [1, 0], [0, 2], [1, 1], [2, 0]]
    assert (np.diff(degrees.sum(axis=1)) >= 0).all()


def test_minus_one_and_one_are_the_outer_edges_of_the_image():
    tilted = ChebyshevModel(np.array([[0.0, 1], [10, 0]]), (4, 7))

    edges = tilted.evaluate(y=[-0.5, 3.5, 1.5], x=[-0.5, 6.5, 3])

    np.testing.assert_allclose(edges, [-11, 11, 0], atol=1e-14)


def test_an_image_holds_the_values_at_its_pixels(rng):
    model = random_model(rng, 4, (31, 44))
    y, x = np.indices((31, 44))

    image = model.image(dtype=np.float64)

    np.testing.assert_allclose(image, model.evaluate(y=y, x=x), rtol=0, atol=1e-12)
    np.testing.assert_allclose(image, model.lattice(y=y[:, 0], x=x[0]), rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.image(rows=slice(3, 9)), image[3:9], rtol=0, atol=2e-6)
    assert model.image().dtype == np.float32


def test_published_fits_are_found():
    grid = CellGrid.from_counts(SHAPE, (5, 5))
    basis = basis_at_centres(grid, 2)
    x, y = PIXELS.T

    plain = chebyshev_fit(CELLS, basis, order=2, shape=SHAPE)

    np.testing.assert_allclose(
        plain.model.coefficients,
        [[5.41, 5.9, 2.14285714], [-3.3, -6.875, 0], [-0.89285714, 0, 0]],
        rtol=0,
        atol=1e-8,
    )
    np.testing.assert_allclose(
        plain.model.evaluate(y=y, x=x),
        [-2.555107, -0.940125, 4.192661, 2.573893, 4.148018, 22.147018, 2.050179],
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("power", "constant", "quadratic"), [(1, 5.34614112, 2.81988704), (2, 5.22920147, 3.1407067)]
)
def test_published_weighted_fits_are_found(power, constant, quadratic):
    grid = CellGrid.from_counts(SHAPE, (5, 5))
    error = 0.1 * np.arange(1, 26).reshape(5, 5)

    fit = chebyshev_fit(
        CELLS, basis_at_centres(grid, 2), order=2, shape=SHAPE, weights=error**-power
    )

    assert fit.model.coefficients[0, 0] == pytest.approx(constant, rel=1e-8)
    assert fit.model.coefficients[0, 2] == pytest.approx(quadratic, rel=1e-7)
    if power == 1:
        x, y = PIXELS.T
        np.testing.assert_allclose(
            fit.model.evaluate(y=y, x=x),
            [-1.975893, -0.520085, 4.306075, 3.153107, 3.14782, 21.14682, 2.067352],
            atol=1e-6,
        )


@given(st.integers(0, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_a_polynomial_at_the_centres_is_recovered(order, seed):
    rng = np.random.default_rng(seed)
    grid = CellGrid.from_counts((90, 130), (9, 11))
    truth = random_model(rng, order, grid.image_shape)
    values = truth.evaluate(y=grid.y_centers[:, None], x=grid.x_centers)
    values[rng.random(values.shape) < 0.1] = np.nan

    fit = chebyshev_fit(
        values,
        basis_at_centres(grid, order),
        order=order,
        shape=truth.shape,
        weights=rng.uniform(0.1, 10, values.shape),
    )

    span = np.abs(truth.coefficients).sum()
    np.testing.assert_allclose(
        fit.model.coefficients, truth.coefficients, rtol=0, atol=1e-10 * span
    )
    assert fit.rank == n_terms(order)
    assert fit.used.sum() == np.isfinite(values).sum()


@given(st.integers(0, 4), st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_averages_over_cells_recover_a_polynomial_behind_any_mask(order, seed):
    rng = np.random.default_rng(seed)
    truth = random_model(rng, order, (96, 125))
    image = truth.image(dtype=np.float64)
    bad = rng.random(image.shape) < 0.3
    bad[:, 40:70] = True
    bad[60:, :20] = True
    image[bad] = np.nan
    cells = cell_statistics(image, bad, CellGrid.from_counts(image.shape, (6, 8)))

    basis = cell_basis(order, cells, image, bad)
    fit = chebyshev_fit(cells.value, basis, order=order, shape=image.shape)

    span = 1 + np.abs(truth.coefficients).sum()
    np.testing.assert_allclose(fit.model.coefficients, truth.coefficients, rtol=0, atol=1e-9 * span)


def test_partly_masked_cells_bias_a_fit_at_centres_but_not_one_of_averages(rng):
    y, x = np.indices((600, 620))
    plane = 0.02 * x - 0.01 * y
    image = (plane + rng.normal(0, np.sqrt(2), plane.shape)).astype(np.float32)
    bad = np.zeros(image.shape, bool)
    bad[:, 200:300] = True
    cells = cell_statistics(image, bad, CellGrid.from_bin_size(image.shape, 128))

    error = {}
    for name, basis in [
        ("centres", basis_at_centres(cells.grid, 4)),
        ("averages", cell_basis(4, cells, image, bad)),
    ]:
        fit = chebyshev_fit(cells.value, basis, order=4, shape=image.shape, weights=cells.weights())
        error[name] = np.std((fit.model.image() - plane)[~bad])

    # 15 terms from 312000 pixels of this noise leave sqrt(2 * 15 / 312000) = 0.0098.
    assert error["averages"] < 0.02
    assert error["centres"] > 0.3


def test_curvature_within_cells_does_not_bias_averages(rng):
    y, x = np.indices((480, 600))
    bowl = 1.5e-4 * ((x - 200.0) ** 2 + (y - 300.0) ** 2)
    cells = cell_statistics(bowl, None, CellGrid.from_bin_size(bowl.shape, 120), clip=Clip(50, 1))

    at_centres = chebyshev_fit(
        cells.value, basis_at_centres(cells.grid, 2), order=2, shape=bowl.shape
    )
    averaged = chebyshev_fit(
        cells.value, cell_basis(2, cells, bowl, None), order=2, shape=bowl.shape
    )

    expected = 120**2 / 24 * 4 * 1.5e-4
    offset = at_centres.model.image(dtype=np.float64) - bowl
    np.testing.assert_allclose(offset, expected, rtol=1e-3)
    np.testing.assert_allclose(averaged.model.image(dtype=np.float64), bowl, rtol=0, atol=1e-9)


def test_the_variance_of_a_surface_is_the_scatter_of_its_fits(rng):
    grid = CellGrid.from_counts((70, 110), (5, 6))
    basis = basis_at_centres(grid, 2)
    error = rng.uniform(0.5, 2, grid.shape)
    truth = random_model(rng, 2, grid.image_shape)
    values = truth.evaluate(y=grid.y_centers[:, None], x=grid.x_centers)
    fits = [
        chebyshev_fit(
            values + error * rng.normal(size=error.shape),
            basis,
            order=2,
            shape=grid.image_shape,
            weights=error**-2,
        )
        for _ in range(2000)
    ]

    y, x = np.array([0, 35, 69, 10]), np.array([0, 50, 109, 90])
    scatter = np.std([fit.model.evaluate(y=y, x=x) for fit in fits], axis=0)

    claimed = np.sqrt(fits[0].variance_model().evaluate(y=y, x=x))
    np.testing.assert_allclose(scatter, claimed, rtol=4 / np.sqrt(2 * 2000))
    mean_chi2 = np.mean([fit.chi2 for fit in fits])
    assert mean_chi2 == pytest.approx(24, abs=4 * np.sqrt(48 / 2000))
    assert fits[0].dof == 24
    assert np.mean([fit.reduced_chi2 for fit in fits]) == pytest.approx(mean_chi2 / 24, rel=1e-12)


def test_values_without_weight_do_not_count(rng):
    grid = CellGrid.from_counts((40, 60), (5, 6))
    values = rng.normal(size=grid.shape)
    weights = np.ones(grid.shape)
    weights[1, 2], weights[3, 3], weights[4, 4] = 0, np.nan, np.inf
    fewer = np.where(weights == 1, values, np.nan)

    fit = chebyshev_fit(values, basis_at_centres(grid, 2), order=2, shape=(40, 60), weights=weights)
    same = chebyshev_fit(fewer, basis_at_centres(grid, 2), order=2, shape=(40, 60))

    np.testing.assert_allclose(fit.model.coefficients, same.model.coefficients, atol=1e-12)
    np.testing.assert_array_equal(fit.used, weights == 1)
    np.testing.assert_allclose(
        fit.residual, values - fit.model.evaluate(y=grid.y_centers[:, None], x=grid.x_centers)
    )


def test_clipping_leaves_out_cells_on_a_source(rng):
    grid = CellGrid.from_counts((80, 120), (8, 10))
    truth = random_model(rng, 2, grid.image_shape)
    values = truth.evaluate(y=grid.y_centers[:, None], x=grid.x_centers)
    values += 0.1 * rng.normal(size=values.shape)
    values[2, 3] += 40
    values[6, 7] -= 25
    basis = basis_at_centres(grid, 2)

    plain = chebyshev_fit(values, basis, order=2, shape=grid.image_shape)
    robust = chebyshev_fit(values, basis, order=2, shape=grid.image_shape, clip=Clip(4, 5))

    assert not robust.used[2, 3]
    assert not robust.used[6, 7]
    assert robust.used.sum() >= 76
    noise = 0.1 * np.sqrt(6 / 78)
    assert np.std(robust.model.image() - truth.image()) < 3 * noise
    assert np.std(plain.model.image() - truth.image()) > 10 * noise


def test_fits_that_do_not_determine_all_terms_are_refused():
    grid = CellGrid.from_counts((40, 60), (4, 5))
    values = np.ones(grid.shape)
    with pytest.raises(AlgorithmError, match="20 cells do not determine the 21 terms of order 5"):
        chebyshev_fit(values, basis_at_centres(grid, 5), order=5, shape=(40, 60))
    with pytest.raises(AlgorithmError, match="20 cells determine only 14 of the 15"):
        chebyshev_fit(values, basis_at_centres(grid, 4), order=4, shape=(40, 60))


def test_a_condition_is_that_of_the_cells_wherever_they_are(rng):
    y, x = np.indices((12, 15)) * 10.0
    shape, corner = (120, 150), (12_000, 9_000)
    weights = rng.uniform(1, 2, y.shape)
    fits = [
        chebyshev_fit(
            np.ones(y.shape),
            point_basis(4, image, y=y + dy, x=x + dx),
            order=4,
            shape=image,
            weights=weights,
        )
        for image, dy, dx in [(shape, 0, 0), (corner, 11_870, 40)]
    ]

    assert fits[0].condition < 2
    assert fits[1].condition == pytest.approx(fits[0].condition, rel=1e-3)
    assert fits[1].model.evaluate(y=11_900, x=100) == pytest.approx(1, abs=1e-6)


def test_fits_that_hardly_determine_a_term_are_refused(rng):
    image = rng.normal(size=(300, 420))
    bad = np.arange(420) >= np.full((300, 1), 140)
    bad |= rng.random(image.shape) < 0.3
    cells = cell_statistics(image, bad, CellGrid.from_bin_size(image.shape, 30))
    basis = cell_basis(5, cells, image, bad)  # over five columns of cells

    with pytest.raises(AlgorithmError, match="determine only 20 of the 21 terms of order 5"):
        chebyshev_fit(cells.value, basis, order=5, shape=image.shape)
    assert chebyshev_fit(cells.value, basis, order=4, shape=image.shape).condition < 10
    assert len(choose_order(cells.value, basis, max_order=5).scores) == 5


def test_a_fit_needs_values_with_weights():
    grid = CellGrid.from_counts((40, 60), (4, 5))
    with pytest.raises(AlgorithmError, match="switch weighting off"):
        chebyshev_fit(
            np.ones(grid.shape),
            basis_at_centres(grid, 1),
            order=1,
            shape=(40, 60),
            weights=np.zeros(grid.shape),
        )


@pytest.mark.parametrize("true_order", [0, 1, 3, 5])
def test_cross_validation_finds_the_order_of_a_sky(rng, true_order):
    shape = (400, 520)
    truth = random_model(rng, true_order, shape)
    image = 5 * truth.image(dtype=np.float64) + rng.normal(0, 3, shape)
    bad = rng.random(shape) < 0.2
    cells = cell_statistics(image, bad, CellGrid.from_bin_size(shape, 40))
    basis = cell_basis(8, cells, image, bad)

    choice = choose_order(cells.value, basis, max_order=8, weights=cells.weights())

    assert choice.order == true_order
    assert len(choice.scores) == 9


def test_a_few_spoilt_cells_do_not_change_the_order(rng):
    grid = CellGrid.from_counts((200, 260), (10, 13))
    truth = random_model(rng, 2, grid.image_shape)
    values = truth.evaluate(y=grid.y_centers[:, None], x=grid.x_centers)
    values += 0.01 * rng.normal(size=values.shape)
    values[[1, 5, 8], [2, 9, 4]] += [300, -100, 50]

    basis = basis_at_centres(grid, 6)

    robust = choose_order(values, basis, max_order=6, clip=Clip(5, 5))

    assert robust.order == 2
    assert choose_order(values, basis, max_order=6).order != 2


def test_only_orders_that_the_cells_determine_are_considered(rng):
    grid = CellGrid.from_counts((60, 90), (3, 4))
    values = rng.normal(size=grid.shape)

    choice = choose_order(values, basis_at_centres(grid, 8), max_order=8)

    assert len(choice.scores) == 3  # order 3 has a term T_3(y), which three rows cannot tell


def test_the_order_of_identical_images_is_zero():
    grid = CellGrid.from_counts((60, 90), (5, 6))

    choice = choose_order(np.zeros(grid.shape), basis_at_centres(grid, 3), max_order=3)

    assert choice.order == 0


def test_an_order_is_not_chosen_from_one_cell():
    grid = CellGrid.from_counts((60, 90), (1, 1))
    with pytest.raises(AlgorithmError, match="too few"):
        choose_order(np.ones((1, 1)), basis_at_centres(grid, 3), max_order=3)


def test_a_lower_order_is_the_truncated_expansion(rng):
    model = random_model(rng, 4, (30, 40))

    lower = model.truncated(2)

    assert (model.order, lower.order) == (4, 2)
    np.testing.assert_array_equal(
        lower.coefficients[:3, :3], np.flipud(np.tril(np.flipud(model.coefficients[:3, :3])))
    )


def test_scaling_a_model_scales_its_image_and_limits(rng):
    model = random_model(rng, 2, (30, 40))
    model = ChebyshevModel(model.coefficients, model.shape, value_range=(-0.5, 2.0))

    opposite = model.scaled(-3)

    np.testing.assert_allclose(opposite.image(), -3 * model.image(), rtol=1e-6)
    assert opposite.value_range == (-6, 1.5)


def test_a_bounded_surface_is_the_same_where_it_is_known_and_tame_elsewhere(rng):
    shape = (300, 420)
    y, x = np.indices(shape)
    sky = 0.01 * x - 0.02 * y
    image = sky + rng.normal(0, 1, shape)
    bad = x >= 140
    cells = cell_statistics(image, bad, CellGrid.from_bin_size(shape, 14))
    fit = chebyshev_fit(
        cells.value, cell_basis(5, cells, image, bad), order=5, shape=shape, weights=cells.weights()
    )
    covered = ~extrapolated_cells(cells.valid)

    bounded = fit.model.bounded(cells.grid, covered, reach=14)

    wild, tame, known = fit.model.image(), bounded.image(), cells.grid.expand(covered)
    np.testing.assert_array_equal(tame[known], wild[known])
    assert tame.min() == tame[known].min()
    assert tame.max() == tame[known].max()
    assert np.abs(wild - sky).max() > 100
    assert np.abs(tame - sky).max() < 5
    np.testing.assert_array_equal(tame[:, 200], tame[:, 419])


def test_a_surface_known_nowhere_is_not_bounded(rng):
    model = random_model(rng, 2, (30, 40))
    grid = CellGrid.from_counts((30, 40), (2, 3))

    assert model.bounded(grid, np.zeros((2, 3), bool)) is model
