import numpy as np
import pytest

from skytool.core.background.polynomial_match import PolynomialRule
from skytool.core.windows import Window
from skytool.errors import AlgorithmError
from skytool.stages.match_bg import MatchConfig, Overlapping, fit_of, pair_cells, partner_of, solve
from tests.stages.matching import SHAPE, exposure, piece, random_coefficients, surface


@pytest.fixture
def mosaic(rng):
    """Four exposures in two rows and columns that overlap at their sides, of order-1 skies."""
    y, x = np.indices(SHAPE)
    truths, exposures = [], []
    for k in range(4):
        seen = ((y < 180) if k < 2 else (y >= 120)) & ((x < 200) if k % 2 == 0 else (x >= 140))
        truth = surface(random_coefficients(rng, 1, 20.0))
        truths.append(truth)
        exposures.append(exposure(-truth, rng=rng, missing=~seen, name=f"exposure {k}"))
    return truths, exposures


def solved(exposures, config, **options):
    every = [Overlapping([piece(one)]) for one in exposures]
    pairs = pair_cells(range(len(every) - 1), every, SHAPE, config)
    solution = solve(pairs, len(every), config, **options)
    fits = [fit_of(k, solution, pairs, SHAPE, config) for k in range(len(every))]
    return solution, pairs, fits


def correction(fit):
    return fit.model.piece(Window.whole(SHAPE)).evaluate(SHAPE).astype(np.float64)


def test_all_exposures_of_a_mosaic_get_the_sky_of_the_reference(mosaic):
    truths, exposures = mosaic

    solution, _, fits = solved(exposures, MatchConfig(bin_size=30), reference=2)

    assert solution.order == 1
    assert not correction(fits[2]).any()
    for truth, one, fit in zip(truths, exposures, fits, strict=True):
        seen = np.isfinite(one.image)
        error = correction(fit) - (truth - truths[2])
        # Three factors from overlaps of 6e3 to 1e4 pixels, followed across the mosaic.
        assert np.abs(error[seen]).max() < 0.5
        assert fit.reduced_chi2 == pytest.approx(1.0, abs=0.4)


@pytest.mark.parametrize("blocks", [[(0, 1, 2)], [(0,), (1,), (2,)], [(0, 1), (2, 3)]])
def test_pairs_do_not_depend_on_what_is_in_memory(mosaic, blocks):
    _, exposures = mosaic
    config = MatchConfig(bin_size=30, polynomial=PolynomialRule(order=1))
    every = [Overlapping([piece(one)]) for one in exposures]

    pairs = [pair for block in blocks for pair in pair_cells(block, every, SHAPE, config)]

    expected = pair_cells((0, 1, 2), every, SHAPE, config)
    assert sorted((p.first, p.second) for p in pairs) == [(p.first, p.second) for p in expected]
    for pair in pairs:
        same = next(p for p in expected if (p.first, p.second) == (pair.first, pair.second))
        np.testing.assert_array_equal(pair.values, same.values)
        np.testing.assert_array_equal(pair.basis, same.basis)


def test_the_lowest_sky_can_stay(mosaic):
    _, exposures = mosaic
    levels = [one.image[np.isfinite(one.image)].mean() for one in exposures]
    config = MatchConfig(bin_size=30, polynomial=PolynomialRule(order=0), gauge="lowest")
    raised = [
        one.with_values(image=one.image - np.float32(level) + np.float32(100 * (k != 1)))
        for k, (one, level) in enumerate(zip(exposures, levels, strict=True))
    ]

    solution, _, _ = solved(raised, config)

    assert solution.anchors == (1,)
    assert solution.terms[1, 0] == pytest.approx(0.0, abs=1e-9)
    assert (np.delete(solution.terms[:, 0], 1) < 0).all()


def test_given_offsets_decide_on_the_others(rng):
    skies = [10.0, 14.0, 30.0]
    exposures = [exposure(np.full(SHAPE, s), rng=rng, name=f"{s}") for s in skies]
    config = MatchConfig(polynomial=PolynomialRule(order=0))
    every = [Overlapping([piece(one)]) for one in exposures]
    pairs = pair_cells((0, 1), every, SHAPE, config)

    solution = solve(pairs, 3, config, fixed={1: 100.0})

    np.testing.assert_allclose(solution.terms[:, 0], [104.0, 100.0, 84.0], atol=0.05)
    fit = fit_of(1, solution, pairs, SHAPE, config, fixed={1: 100.0})
    assert fit.style == "given"
    assert correction(fit).max() == 100.0


def test_pairs_of_the_same_pixels_do_not_outweigh_all_others(rng):
    first = exposure(np.zeros(SHAPE), rng=rng, name="a")
    copy = first.with_values(image=first.image + np.float32(3), name="b")
    other = exposure(np.full(SHAPE, -7.0), rng=rng, name="c")
    third = exposure(np.full(SHAPE, 4.0), rng=rng, name="d")

    solution, _, fits = solved([first, copy, other, third], MatchConfig(), reference=0)

    assert solution.order == 0
    np.testing.assert_allclose(solution.terms[:, 0], [0, -3, 7, -4], atol=0.05)
    assert all(np.isfinite(fit.fit_rms) for fit in fits)


def test_a_partner_is_the_anchor_or_the_largest_overlap(mosaic):
    _, exposures = mosaic
    _, pairs, _ = solved(exposures, MatchConfig(bin_size=30), reference=0)

    assert partner_of(1, pairs, 0) == 0
    sizes = {(p.first, p.second): len(p.values) for p in pairs}
    largest = max((0, 1, 2), key=lambda k: sizes[k, 3])
    assert partner_of(3, pairs, -1) == largest
    assert partner_of(9, pairs, 0) is None


def test_exposures_without_overlap_are_an_error(rng):
    left = np.indices(SHAPE)[1] < 170
    exposures = [
        exposure(np.zeros(SHAPE), rng=rng, missing=missing, name=f"{k}")
        for k, missing in enumerate((left, ~left))
    ]

    with pytest.raises(AlgorithmError, match="no two exposures have a good pixel in common"):
        solved(exposures, MatchConfig())
