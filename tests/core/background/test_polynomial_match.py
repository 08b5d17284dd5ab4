import math

import numpy as np
import pytest

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.chebyshev import ChebyshevModel
from skytool.core.background.interpolation import UndersampleStyle
from skytool.core.background.polynomial_match import (
    PolynomialRule,
    bounded_polynomial,
    fit_polynomial,
    shifted_polynomial,
)
from skytool.core.background.smoothed_fit import smoothed_fit
from skytool.core.difference.cells import CellRule, ImagePiece, frame_cells
from skytool.core.windows import Window
from skytool.errors import AlgorithmError

SHAPE = (120, 150)
GRID = CellGrid.from_counts(SHAPE, (8, 9))


def cells_of(image, bad=None, order=8, rule=None):
    flags = np.zeros(image.shape, bool) if bad is None else bad
    piece = ImagePiece(Window.whole(image.shape), image.astype(np.float32), flags)
    return frame_cells([piece], GRID, rule or CellRule(), order=order)


def model(rng, order=2, shape=SHAPE, size=10.0):
    p, q = np.indices((order + 1, order + 1))
    return ChebyshevModel(np.where(p + q <= order, rng.normal(0, size, p.shape), 0.0), shape)


def test_pieces_of_an_image_give_the_cells_of_the_whole(rng):
    image = rng.normal(0, 1, SHAPE) + model(rng).image()
    bad = rng.random(SHAPE) < 0.3
    windows = [
        Window(y=0, x=0, shape=(50, 150)),
        Window(y=50, x=0, shape=(70, 61)),
        Window(y=50, x=61, shape=(70, 89)),
    ]
    rule = CellRule(statistic="mean")
    pieces = [
        ImagePiece(w, image[w.rows, w.columns].astype(np.float32), bad[w.rows, w.columns])
        for w in windows
    ]

    parts = frame_cells(pieces, GRID, rule, order=4)
    whole = cells_of(image, bad, order=4, rule=rule)

    for name in ("value", "y", "x", "variance"):
        np.testing.assert_allclose(
            getattr(parts.cells, name),
            getattr(whole.cells, name),
            rtol=0.05 if name == "variance" else 1e-9,
        )
    np.testing.assert_array_equal(parts.cells.count, whole.cells.count)
    np.testing.assert_allclose(parts.basis, whole.basis, atol=1e-9)


def test_a_polynomial_is_found_through_holes(rng):
    truth = model(rng, 3)
    bad = rng.random(SHAPE) < 0.4
    bad[30:70, 20:60] = True

    found = fit_polynomial(cells_of(truth.image(), bad), PolynomialRule())

    assert found.order == 3
    np.testing.assert_allclose(found.fit.model.image(), truth.image(), atol=2e-4)


def test_the_slope_within_cells_is_no_noise(rng):
    slope = ChebyshevModel(np.array([[0.0, 150.0], [100.0, 0.0]]), SHAPE)
    image = slope.image() + rng.normal(0, 1, SHAPE)
    bad = np.zeros(SHAPE, bool)
    bad[:, ::3] = True  # and where pixels are missing their spread is what it is

    flat = fit_polynomial(cells_of(image, bad), PolynomialRule(order=1))
    raw = fit_polynomial(cells_of(image, bad), PolynomialRule(order=1, flat_scatter=False))

    assert flat.fit.reduced_chi2 == pytest.approx(1.0, abs=0.5)
    assert raw.fit.reduced_chi2 < 0.1
    # A slope that makes 150 times the scatter of the noise: each cell is known to twice its own.
    np.testing.assert_allclose(np.median(flat.cells.variance), 1.0, atol=0.5)


def test_orders_that_cells_do_not_determine_are_lowered_or_refused(rng):
    image = rng.normal(0, 1, SHAPE)
    image[:, 40:] = np.nan
    cells = cells_of(image, order=8)

    reduced = fit_polynomial(cells, PolynomialRule(order=8))
    assert reduced.order < 8
    rule = PolynomialRule(order=8, undersample=UndersampleStyle.THROW_EXCEPTION)
    with pytest.raises(AlgorithmError, match="determine"):
        fit_polynomial(cells, rule)


def test_no_cell_is_an_error():
    with pytest.raises(AlgorithmError, match="no cell has a value"):
        fit_polynomial(cells_of(np.full(SHAPE, np.nan)), PolynomialRule())


@pytest.mark.parametrize("reach", [0.0, 15.0])
def test_a_bounded_polynomial_is_the_same_where_it_is_known_and_tame_elsewhere(rng, reach):
    wild = model(rng, 6, size=5.0)
    covered = np.zeros(GRID.shape, bool)
    covered[2:5, 3:6] = True

    tame = bounded_polynomial(wild, GRID, covered, reach).image(dtype=np.float64)

    known = GRID.expand(covered)
    whole = wild.image(dtype=np.float64)
    np.testing.assert_allclose(tame[known], whole[known], atol=1e-9)
    rows, columns = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
    last_row, last_column = rows[-1] + int(reach), columns[-1] + int(reach)
    assert np.ptp(tame[last_row + 1 :], axis=0).max() < 1e-9
    assert np.ptp(tame[:, last_column + 1 :], axis=1).max() < 1e-9


def test_a_polynomial_without_bounds_is_left_alone(rng):
    wild = model(rng, 4)
    some = np.eye(*GRID.shape, dtype=bool)

    assert bounded_polynomial(wild, GRID, some, math.inf) is wild
    assert bounded_polynomial(wild, GRID, np.ones(GRID.shape, bool), 10.0) is wild


def test_a_shifted_polynomial_keeps_its_limits_in_place(rng):
    whole = bounded_polynomial(model(rng, 3), GRID, np.tri(*GRID.shape, dtype=bool), 5.0)

    part = shifted_polynomial(whole, y=17, x=31, shape=(60, 77))

    np.testing.assert_allclose(
        part.image(dtype=np.float64), whole.image(dtype=np.float64)[17:77, 31:108], atol=1e-9
    )


def test_smoothing_finds_its_strength_and_the_surface(rng):
    truth = model(rng, 2, size=20.0)
    image = truth.image() + rng.normal(0, 3, SHAPE)
    cells = cells_of(image, order=6)
    weights = cells.cells.weights()
    found = {}
    for strength in (None, 1e-12, 1e6):
        fit, used = smoothed_fit(
            cells.cells.value, cells.basis, order=6, shape=SHAPE, weights=weights, strength=strength
        )
        found[strength] = np.std(fit.model.image() - truth.image())
        assert strength is None or used == strength

    assert found[None] < 1.1 * found[1e-12]
    assert found[None] < 0.1 * found[1e6]
