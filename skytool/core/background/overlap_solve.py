r"""One solution for the backgrounds of many images from the differences of all pairs that overlap.

Image i gets a correction :math:`c_i`, a polynomial with factors :math:`a_i`. The cells of a pair say

.. math:: D_{ij} = I_j - I_i = c_i - c_j,

averaged over their pixels. The sum of the weighted squared residuals over all pairs is a quadratic
form in all factors at once, and its minimum the solution of one linear system. Adding the same
polynomial to all images of a group that hangs together changes no difference: each group needs a
gauge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.chebyshev_fit import MAD_TO_SIGMA
from skytool.core.background.overlap_system import (
    Folds,
    OverlapSolution,
    OverlapSystem,
    PairCells,
    moments_of,
)
from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from skytool.core.statistics import Clip

    Floats = NDArray[np.float64]

_FOLDS = 8  # parts of the cells that are left out in turn

__all__ = [
    "OverlapRule",
    "OverlapSolution",
    "PairCells",
    "connected_groups",
    "on_own_scales",
    "solve_overlaps",
]


@dataclass(frozen=True, kw_only=True)
class OverlapRule:
    """How the system is solved.

    Parameters
    ----------
    order : int or None
        Total degree of the corrections; None for the one that cross-validation finds.
    max_order : int
        Highest degree that is tried if none is given.
    clip : Clip or None
        Rejection of cells far from the solution.
    max_condition : float
        Largest condition number of the system.
    may_reduce : bool
        Whether an order that the cells do not determine is lowered, or an error.
    """

    order: int | None = None
    max_order: int = 8
    clip: Clip | None = None
    max_condition: float = 1e4
    may_reduce: bool = True


def connected_groups(n: int, links: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
    """Return the group of each of `n` things of which some pairs are linked.

    Groups are numbered in the order of their first members, shape ``(n,)``.
    """
    parents = list(range(n))

    def root(i: int) -> int:
        while parents[i] != i:
            parents[i] = parents[parents[i]]
            i = parents[i]
        return i

    for a, b in links:
        low, high = sorted((root(a), root(b)))
        parents[high] = low
    roots = [root(i) for i in range(n)]
    numbers = {r: k for k, r in enumerate(dict.fromkeys(roots))}
    return np.array([numbers[r] for r in roots], np.int64)


def solve_overlaps(
    pairs: Sequence[PairCells],
    n_images: int,
    rule: OverlapRule,
    *,
    anchors: Mapping[int, int] | None = None,
    fixed: Mapping[int, float] | None = None,
) -> OverlapSolution:
    """Solve for the corrections of all images.

    Parameters
    ----------
    pairs : sequence of PairCells
        Pairs with at least one cell, with terms up to the highest order wanted.
    n_images : int
        Number of images.
    rule : OverlapRule
        How.
    anchors : mapping of int to int, optional
        Image, by group, whose correction is zero. Groups that are not named have corrections that
        add up to zero.
    fixed : mapping of int to float, optional
        Corrections that are known: constants, by image. A group with one needs no gauge.

    Raises
    ------
    AlgorithmError
        If there is no pair, or the cells do not determine the corrections.
    """
    known = dict(fixed or {})
    free = [i for i in range(n_images) if i not in known]
    if not pairs:
        raise AlgorithmError("no two images have a common cell")
    groups = connected_groups(n_images, [(pair.first, pair.second) for pair in pairs])
    used = tuple(np.ones(len(pair.values), bool) for pair in pairs)
    orders = range(rule.max_order, -1, -1) if rule.order is None else range(rule.order, -1, -1)
    moments = [moments_of(pair, use) for pair, use in zip(pairs, used, strict=True)]
    best: OverlapSystem | None = None
    systems: list[OverlapSystem] = []
    for order in orders:
        system = OverlapSystem(pairs, used, moments, n_images, order, groups, known, free)
        if system.is_determined(rule.max_condition):
            systems.append(system)
            best = system
            if rule.order is not None:
                break
        elif rule.order is not None and not rule.may_reduce:
            break
    if best is None:
        raise AlgorithmError(
            "the overlaps do not determine corrections of this order",
            hint="Choose a lower order or smaller cells.",
        )
    scores = np.empty(0)
    if rule.order is None:
        systems.sort(key=lambda one: one.order)
        best, scores = _best_order(systems)
    for _ in range(rule.clip.iterations if rule.clip else 0):
        limit = (rule.clip.sigma if rule.clip else math.inf) * MAD_TO_SIGMA
        kept = _kept(pairs, best.residuals(), used, limit)
        if all(np.array_equal(a, b) for a, b in zip(kept, used, strict=True)):
            break
        moments = [moments_of(pair, use) for pair, use in zip(pairs, kept, strict=True)]
        trial = OverlapSystem(pairs, kept, moments, n_images, best.order, groups, known, free)
        if not trial.is_determined(rule.max_condition):
            break
        best, used = trial, kept
    return best.solution(dict(anchors or {}), scores)


def _kept(
    pairs: Sequence[PairCells],
    residuals: Sequence[Floats],
    used: Sequence[NDArray[np.bool_]],
    limit: float,
) -> tuple[NDArray[np.bool_], ...]:
    """Return which cells lie within a number of deviations; all are tested anew."""
    deviations = [
        np.sqrt(pair.weights) * np.abs(residual)
        for pair, residual in zip(pairs, residuals, strict=True)
    ]
    now = np.concatenate([d[u] for d, u in zip(deviations, used, strict=True)])
    typical = float(np.median(now))
    return tuple(d <= limit * typical for d in deviations)


def _best_order(systems: Sequence[OverlapSystem]) -> tuple[OverlapSystem, Floats]:
    """Return the simplest system that predicts cells left out about as well as the best one.

    A cell is left out of all pairs at once: they share the noise of their images, so that what is
    left of one pair would give away what was taken out of another.
    """
    folds = Folds(systems[0].pairs, systems[0].used, _FOLDS)
    losses = np.array([system.prediction_losses(folds) for system in systems])
    scores = losses.mean(axis=1)
    best = int(np.argmin(np.where(np.isfinite(scores), scores, np.inf)))
    with np.errstate(invalid="ignore"):  # orders that cannot do without some cells are infinite
        margins = (losses - losses[best]).std(axis=1) / math.sqrt(losses.shape[1])
        close = scores - scores[best] <= margins
    return systems[int(np.argmax(close))], scores


def on_own_scales(
    pairs: Sequence[PairCells], solution: OverlapSolution, scales: Sequence[float]
) -> tuple[list[PairCells], OverlapSolution]:
    """Return pairs and corrections with fluxes divided by a factor for each group.

    Parameters
    ----------
    pairs : sequence of PairCells
        The cells.
    solution : OverlapSolution
        What they were solved to.
    scales : sequence of float
        Factor of each exposure, the same for all of a group.
    """
    own = np.asarray(scales, np.float64)
    factors = [float(own[pair.first]) for pair in pairs]
    scaled = replace(
        solution,
        terms=solution.terms / own[:, None],
        covariance=solution.covariance / own[:, None, None] ** 2,
        residuals=tuple(r / f for r, f in zip(solution.residuals, factors, strict=True)),
    )
    return [
        replace(pair, values=pair.values / f, weights=pair.weights * f**2)
        for pair, f in zip(pairs, factors, strict=True)
    ], scaled
