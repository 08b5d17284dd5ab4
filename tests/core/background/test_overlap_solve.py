import numpy as np
import pytest

from skytool.core.background.chebyshev import n_terms, point_basis
from skytool.core.background.overlap_solve import (
    OverlapRule,
    PairCells,
    connected_groups,
    solve_overlaps,
)
from skytool.core.statistics import Clip
from skytool.errors import AlgorithmError

SHAPE = (60, 72)
GRID = (10, 12)
MAX_ORDER = 4


def centers():
    y, x = np.meshgrid(
        (np.arange(10) + 0.5) * 6 - 0.5, (np.arange(12) + 0.5) * 6 - 0.5, indexing="ij"
    )
    return y.ravel(), x.ravel()


def simulate(rng, terms, covers, *, noise=0.0, max_order=MAX_ORDER):
    """Return the pairs of images whose skies are minus polynomials, with noise in each cell."""
    y, x = centers()
    basis = point_basis(max_order, SHAPE, y=y, x=x)
    values = [-basis[:, : len(t)] @ t + noise * rng.normal(size=len(y)) for t in terms]
    pairs = []
    for j in range(len(terms)):
        for i in range(j):
            common = np.flatnonzero(covers[i] & covers[j])
            if common.size:
                pairs.append(
                    PairCells(
                        i,
                        j,
                        (values[j] - values[i])[common],
                        np.full(common.size, 1 / (2 * noise**2) if noise else 1.0),
                        np.array([0.5, 0.5]),
                        common,
                        basis[common],
                    )
                )
    return pairs


def everywhere(n):
    return [np.ones(GRID[0] * GRID[1], bool)] * n


def strips(n, width=5, step=3):
    """Images that each cover some columns, so that only neighbours overlap."""
    column = np.tile(np.arange(GRID[1]), GRID[0])
    return [(column >= step * k) & (column < step * k + width) for k in range(n)]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_exact_differences_give_exact_corrections(rng, order):
    terms = rng.normal(0, 10, (5, n_terms(order)))
    terms -= terms[0]
    pairs = simulate(rng, terms, everywhere(5))

    solution = solve_overlaps(pairs, 5, OverlapRule(order=order), anchors={0: 0})

    np.testing.assert_allclose(solution.terms, terms, atol=1e-9)
    assert solution.chi2 < 1e-12
    assert solution.anchors == (0,)


def test_corrections_go_through_a_chain_of_overlaps(rng):
    terms = rng.normal(0, 10, (3, n_terms(1)))
    terms -= terms[2]
    pairs = simulate(rng, terms, strips(3))
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 1), (1, 2)]

    solution = solve_overlaps(pairs, 3, OverlapRule(order=1), anchors={0: 2})

    np.testing.assert_allclose(solution.terms, terms, atol=1e-9)
    np.testing.assert_allclose(solution.terms[2], 0, atol=1e-12)


def test_triangles_close(rng):
    terms = rng.normal(0, 10, (6, n_terms(2)))
    pairs = simulate(rng, terms, everywhere(6), noise=1.0)

    solution = solve_overlaps(pairs, 6, OverlapRule(order=2))

    between = {
        (p.first, p.second): solution.terms[p.first] - solution.terms[p.second] for p in pairs
    }
    closure = between[0, 1] + between[1, 2] - between[0, 2]
    assert np.abs(closure).max() < 1e-9


def test_the_mean_of_all_stays_without_an_anchor(rng):
    pairs = simulate(rng, rng.normal(0, 10, (4, 3)), everywhere(4), noise=0.1)

    solution = solve_overlaps(pairs, 4, OverlapRule(order=1))

    np.testing.assert_allclose(solution.terms.sum(axis=0), 0, atol=1e-9)
    assert solution.anchors == (-1,)


def test_groups_without_overlap_have_nothing_to_do_with_each_other(rng):
    column = np.tile(np.arange(GRID[1]), GRID[0])
    covers = [column < 5, column < 6, column > 7, column > 6]
    terms = np.array([[0.0], [3.0], [1000.0], [1002.0]])
    pairs = simulate(rng, terms, covers)

    solution = solve_overlaps(pairs, 5, OverlapRule(order=0), anchors={0: 0, 1: 3})

    assert solution.components.tolist() == [0, 0, 1, 1, 2]
    np.testing.assert_allclose(solution.terms[:, 0], [0, 3, -2, 0, 0], atol=1e-9)
    assert solution.anchors == (0, 3, -1)


def test_known_corrections_are_kept_and_decide_on_the_others(rng):
    terms = np.array([[5.0], [9.0], [-2.0]])
    pairs = simulate(rng, terms, everywhere(3))

    solution = solve_overlaps(pairs, 3, OverlapRule(order=1), fixed={1: 9.0})

    np.testing.assert_allclose(solution.terms[:, 0], terms[:, 0], atol=1e-9)
    np.testing.assert_allclose(solution.terms[:, 1:], 0, atol=1e-9)
    assert not solution.covariance[1].any()


def test_when_all_is_known_nothing_is_solved(rng):
    pairs = simulate(rng, np.array([[5.0], [9.0]]), everywhere(2))

    solution = solve_overlaps(pairs, 2, OverlapRule(order=0), fixed={0: 1.0, 1: 2.0})

    np.testing.assert_allclose(solution.terms[:, 0], [1, 2])
    assert solution.chi2 == pytest.approx(120 * 3.0**2)


def test_the_order_is_that_of_the_skies(rng):
    for order in (0, 1, 3):
        terms = rng.normal(0, 3, (5, n_terms(order)))
        pairs = simulate(rng, terms, everywhere(5), noise=1.0)

        solution = solve_overlaps(pairs, 5, OverlapRule(max_order=MAX_ORDER))

        assert solution.order == order
        assert len(solution.scores) == MAX_ORDER + 1
        assert solution.chi2 / solution.dof < 1.2


def test_an_order_that_overlaps_do_not_determine_is_lowered_or_refused(rng):
    column = np.tile(np.arange(GRID[1]), GRID[0])
    pairs = simulate(rng, np.array([[0.0], [3.0]]), [column < 6, column == 5])

    assert solve_overlaps(pairs, 2, OverlapRule(order=1)).order == 0
    with pytest.raises(AlgorithmError, match="do not determine corrections"):
        solve_overlaps(pairs, 2, OverlapRule(order=1, may_reduce=False))


def test_cells_on_sources_are_left_out(rng):
    terms = rng.normal(0, 3, (4, 3))
    terms -= terms[0]
    pairs = simulate(rng, terms, everywhere(4), noise=0.5)
    pairs[0].values[[3, 50, 77]] += 300.0

    rule = OverlapRule(order=1, clip=Clip(5.0, 5))
    solution = solve_overlaps(pairs, 4, rule, anchors={0: 0})

    assert np.flatnonzero(~solution.used[0]).tolist() == [3, 50, 77]
    np.testing.assert_allclose(solution.terms, terms, atol=0.3)


@pytest.mark.parametrize("gauge", ["anchor", "mean"])
def test_stated_errors_are_those_of_the_scatter(gauge):
    order, n, draws = 1, 5, 60
    found = []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        pairs = simulate(rng, np.zeros((n, 3)), everywhere(n), noise=2.0)
        anchors = {0: 0} if gauge == "anchor" else {}
        solution = solve_overlaps(pairs, n, OverlapRule(order=order), anchors=anchors)
        found.append(solution.terms)
    scatter = np.var(found, axis=0)
    stated = np.diagonal(solution.covariance, axis1=1, axis2=2)

    free = slice(1, None) if gauge == "anchor" else slice(None)
    ratio = scatter[free].mean(axis=0) / stated[free].mean(axis=0)
    # 60 draws of four or five corrections that are not independent: about 15 per cent each.
    np.testing.assert_allclose(ratio, 1.0, atol=0.45)
    # Taken for independent, the pairs would promise n / 2 times less.
    cells = GRID[0] * GRID[1]
    expected = 2.0**2 / cells * (2 if gauge == "anchor" else 1 - 1 / n)
    assert stated[-1, 0] == pytest.approx(expected, rel=0.02)


def test_no_pairs_are_an_error():
    with pytest.raises(AlgorithmError, match="no two images"):
        solve_overlaps([], 3, OverlapRule(order=0))


def test_groups_are_numbered_by_their_first_members():
    groups = connected_groups(7, [(5, 2), (6, 0), (2, 4)])

    assert groups.tolist() == [0, 1, 2, 3, 2, 2, 0]
