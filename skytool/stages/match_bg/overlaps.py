"""The backgrounds of all exposures made common at once, from all pairs that overlap."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.cell_grid import CellGrid, extrapolated_cells
from skytool.core.background.chebyshev import ChebyshevModel
from skytool.core.background.chebyshev_fit import ChebyshevFit
from skytool.core.background.interpolation import UndersampleStyle
from skytool.core.background.overlap_solve import (
    OverlapRule,
    OverlapSolution,
    PairCells,
    connected_groups,
    solve_overlaps,
)
from skytool.core.background.polynomial_match import fit_polynomial
from skytool.core.difference.cells import ImagePiece, frame_cells
from skytool.errors import AlgorithmError
from skytool.stages.match_bg.background_fit import BackgroundFit, CellMaps
from skytool.stages.match_bg.models import ConstantModel, PolynomialModel
from skytool.stages.match_bg.prepared import PackedPiece, difference, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from skytool.core.background.reference_cost import ReferenceChoice
    from skytool.stages.match_bg.config import MatchConfig
    from skytool.stages.match_bg.prepared import PreparedPiece
    from skytool.stages.match_bg.stage import Piece

    Floats = NDArray[np.float64]

_FLOOR = 0.01  # least variance of a cell, in units of that of a typical pair
_SLOPE_ORDER = 2  # of the polynomial whose slope does not count as scatter
_SAMPLES = 256  # rows and columns on which a typical variance is measured


@dataclass(frozen=True)
class Overlapping:
    """An exposure among those that are solved for.

    Parameters
    ----------
    pieces : sequence of Piece
        The exposure, or its patches.
    scale : float
        Factor to common fluxes.
    """

    pieces: Sequence[Piece]
    scale: float = 1.0


def pair_cells(
    first: Sequence[int],
    exposures: Sequence[Overlapping],
    frame_shape: tuple[int, int],
    config: MatchConfig,
) -> list[PairCells]:
    """Return the cells of some exposures paired with all later ones.

    Parameters
    ----------
    first : sequence of int
        Numbers of exposures that are held in memory; those behind them are read one by one.
    exposures : sequence of Overlapping
        All exposures.
    frame_shape : (int, int)
        Shape ``(ny, nx)`` of the frame.
    config : MatchConfig
        Settings.

    Returns
    -------
    list of PairCells
        Pairs with a common cell, in the order of their numbers.
    """
    grid = CellGrid.from_bin_size(frame_shape, config.cell_size(frame_shape))
    held = {i: [PackedPiece.of(ready) for ready in _prepared(exposures[i], config)] for i in first}
    found = []
    for j in range(min(first) + 1, len(exposures)):
        partners = [i for i in first if i < j and _meet(exposures[i], exposures[j])]
        if not partners:
            continue
        fresh = (one.piece() for one in held[j]) if j in held else _prepared(exposures[j], config)
        later = list(fresh)
        for i in partners:
            pair = _pair(i, [one.piece() for one in held[i]], j, later, grid, config)
            if pair is not None:
                found.append(pair)
        del later  # before the next one is read
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def _prepared(exposure: Overlapping, config: MatchConfig) -> Iterator[PreparedPiece]:
    for piece in exposure.pieces:
        step = max(1, min(piece.window.shape) // _SAMPLES)
        ready = prepare(piece.read(), piece.window, config, scale=exposure.scale, step=step)
        yield replace(ready, variance=ready.variance.copy())  # a slice keeps the plane alive


def _meet(one: Overlapping, other: Overlapping) -> bool:
    return any(a.window.common(b.window) is not None for a in one.pieces for b in other.pieces)


def _pair(
    i: int,
    first: Sequence[PreparedPiece],
    j: int,
    second: Sequence[PreparedPiece],
    grid: CellGrid,
    config: MatchConfig,
) -> PairCells | None:
    """Return the cells of a pair; None if none has a value."""
    variances = np.zeros(2)

    def images() -> Iterator[ImagePiece]:
        for piece in first:
            same = [other for other in second if other.window == piece.window]
            found = difference(piece, same or second)
            yield ImagePiece(found.window, found.image, found.bad)

    frame = frame_cells(images(), grid, config.cells, order=config.polynomial.basis_order)
    cells = frame.cells
    rule = config.polynomial
    if frame.basis is None or not cells.valid.any():
        return None
    if rule.weighted and rule.flat_scatter:
        order = min(_SLOPE_ORDER, config.polynomial.highest_order)
        cells = fit_polynomial(frame, replace(rule, order=order, smoothing=0.0)).cells
    weights = cells.valid.astype(np.float64)
    if rule.weighted:
        weights = cells.weights(2.0, pooling=rule.pooling)
    if not (weights > 0).any():
        weights = np.where(cells.valid, cells.kept, 0).astype(np.float64)
    usable = (weights > 0) & np.isfinite(frame.basis).all(axis=-1)
    if not usable.any():
        return None
    for k, pieces in enumerate((first, second)):
        variances[k] = _typical_variance(pieces)
    shares = variances / variances.sum() if variances.sum() > 0 else np.full(2, 0.5)
    return PairCells(
        first=i,
        second=j,
        values=cells.value[usable],
        weights=weights[usable],
        shares=shares,
        cells=np.flatnonzero(usable),
        basis=frame.basis[usable],
    )


def _typical_variance(pieces: Sequence[PreparedPiece]) -> float:
    """Return the median variance of a pixel, on a coarse lattice."""
    values = []
    for piece in pieces:
        sample, bad = piece.variance[:, :: piece.step], piece.bad[:: piece.step, :: piece.step]
        values.append(sample[np.isfinite(sample) & ~bad])
    every = np.concatenate(values)
    return float(np.median(every)) if every.size else 0.0


def solve(
    pairs: Sequence[PairCells],
    n_exposures: int,
    config: MatchConfig,
    *,
    choice: ReferenceChoice | None = None,
    reference: int | None = None,
    fixed: Mapping[int, float] | None = None,
) -> OverlapSolution:
    """Solve for the corrections of all exposures.

    Parameters
    ----------
    pairs : sequence of PairCells
        What `pair_cells` found.
    n_exposures : int
        Number of exposures.
    config : MatchConfig
        Settings.
    choice : ReferenceChoice, optional
        Costs, by which each group without the named reference gets one.
    reference : int, optional
        Exposure that stays as it is. With the gauge ``lowest`` it counts in its group only.
    fixed : mapping of int to float, optional
        Given offsets.

    Raises
    ------
    AlgorithmError
        If no two exposures overlap, or the overlaps do not determine the corrections.
    """
    rule = OverlapRule(
        order=config.polynomial.order,
        max_order=config.polynomial.max_order,
        clip=config.polynomial.clip,
        may_reduce=config.polynomial.undersample is UndersampleStyle.REDUCE_INTERP_ORDER,
    )
    if not pairs:
        raise AlgorithmError(
            "no two exposures have a good pixel in common.",
            hint="Look at --bad-mask-planes, --mask-sources and --min-fraction.",
        )
    pairs = _with_floor(pairs)
    try:
        anchors: dict[int, int] = {}
        if config.gauge != "mean":
            lowest = {}
            if config.gauge == "lowest":
                free = solve_overlaps(pairs, n_exposures, rule, fixed=fixed)
                lowest = {i: -_mean_correction(free, pairs, i) for i in range(n_exposures)}
            groups = connected_groups(n_exposures, [(pair.first, pair.second) for pair in pairs])
            anchors = _anchors(groups, lowest or _costs(choice, n_exposures), reference)
        return solve_overlaps(pairs, n_exposures, rule, anchors=anchors, fixed=fixed)
    except AlgorithmError as error:
        text = error.message if error.message.endswith(".") else f"{error.message}."
        raise AlgorithmError(text, hint=error.hint) from error


def _with_floor(pairs: Sequence[PairCells]) -> list[PairCells]:
    """Return pairs of which none counts a hundred times as much as a typical one.

    Exposures made from the same pixels agree far better than their noise, which says nothing
    about how well either is known elsewhere.
    """
    typical = np.median([1 / np.median(pair.weights) for pair in pairs])
    floor = _FLOOR * float(typical)
    return [replace(pair, weights=1 / (1 / pair.weights + floor)) for pair in pairs]


def _costs(choice: ReferenceChoice | None, n_exposures: int) -> dict[int, float]:
    """Return the costs as a reference; those that are unknown are infinite."""
    if choice is None:
        return dict.fromkeys(range(n_exposures), 0.0)
    return {i: math.inf if math.isnan(cost) else cost for i, cost in enumerate(choice.cost)}


def _anchors(
    groups: NDArray[np.int64], costs: Mapping[int, float], reference: int | None
) -> dict[int, int]:
    """Return the exposure of each group that stays as it is: the reference, or of least cost."""
    anchors = {}
    for group in range(int(groups.max()) + 1):
        members = [int(i) for i in np.flatnonzero(groups == group)]
        best = min(members, key=lambda i: (costs[i], i))
        anchors[group] = reference if reference is not None and reference in members else best
    return anchors


def _mean_correction(solution: OverlapSolution, pairs: Sequence[PairCells], image: int) -> float:
    """Return the mean correction of an exposure over its cells: the darkest gets the largest."""
    n = solution.terms.shape[1]
    values = [
        pair.basis[:, :n] @ solution.terms[image]
        for pair in pairs
        if image in (pair.first, pair.second)
    ]
    return float(np.concatenate(values).mean()) if values else 0.0


def fit_of(
    image: int,
    solution: OverlapSolution,
    pairs: Sequence[PairCells],
    frame_shape: tuple[int, int],
    config: MatchConfig,
    *,
    fixed: Mapping[int, float] | None = None,
) -> BackgroundFit:
    """Return the correction of one exposure as a model, with its figures over all its pairs."""
    size = config.cell_size(frame_shape)
    grid = CellGrid.from_bin_size(frame_shape, size)
    touching = [
        (pair, residual, use)
        for pair, residual, use in zip(pairs, solution.residuals, solution.used, strict=True)
        if image in (pair.first, pair.second)
    ]
    valid = np.zeros(grid.shape, bool)
    before = after = weight = 0.0
    used = 0
    for pair, residual, use in touching:
        valid.ravel()[pair.cells] = True
        weight += float(pair.weights[use].sum())
        before += float(np.sum(pair.weights[use] * pair.values[use] ** 2))
        after += float(np.sum(pair.weights[use] * residual[use] ** 2))
        used += int(use.sum())
    given = None if fixed is None else fixed.get(image)
    model = _model(image, solution, grid, valid, config.reach_cells * size, given)
    is_zero = not np.any(solution.terms[image])
    style = "given" if given is not None else ("none" if is_zero else "polynomial")
    outside = extrapolated_cells(valid) if valid.any() else np.zeros_like(valid)
    area = grid.areas / grid.areas.sum()
    return BackgroundFit(
        model=model,
        style=style,
        order=solution.order if style == "polynomial" else 0,
        smoothing=0.0,
        cells_used=used,
        cells_total=sum(len(pair.values) for pair, *_ in touching),
        covered=float(area[valid].sum()),
        extrapolated=float(area[outside].sum()),
        fit_rms=math.sqrt(after / weight) if weight else 0.0,
        reduced_chi2=solution.chi2 / solution.dof if solution.dof > 0 else math.nan,
        condition=math.nan,
        offset_before=math.sqrt(before / weight) if weight else 0.0,
        offset_after=math.sqrt(after / weight) if weight else 0.0,
        maps=_maps(image, touching, grid),
    )


def _model(
    image: int,
    solution: OverlapSolution,
    grid: CellGrid,
    valid: NDArray[np.bool_],
    reach: float,
    given: float | None,
) -> PolynomialModel | ConstantModel:
    """Return the correction of an exposure as a model, with its errors."""
    if given is not None or not np.any(solution.terms[image]):
        return ConstantModel(given or 0.0)
    fit = ChebyshevFit(
        model=ChebyshevModel.from_terms(solution.terms[image], grid.image_shape),
        covariance=solution.covariance[image],
        residual=np.empty(0),
        used=np.empty(0, bool),
        chi2=solution.chi2,
        dof=solution.dof,
        rank=len(solution.terms[image]),
        condition=math.nan,
    )
    return PolynomialModel.bounded(fit, grid, valid, reach)


def _maps(
    image: int, touching: Sequence[tuple[PairCells, Floats, NDArray[np.bool_]]], grid: CellGrid
) -> CellMaps:
    """Return the weighted means of the differences of all others and an exposure."""
    sums, weights = np.zeros((2, grid.areas.size)), np.zeros(grid.areas.size)
    for pair, residual, _ in touching:
        sign = 1.0 if pair.first == image else -1.0
        for total, values in zip(sums, (pair.values, residual), strict=True):
            np.add.at(total, pair.cells, sign * pair.weights * values)
        np.add.at(weights, pair.cells, pair.weights)
    means = np.full(sums.shape, np.nan)
    np.divide(sums, weights, out=means, where=weights > 0)
    before, after = means.reshape(2, *grid.shape)
    return CellMaps(before, after)


def partner_of(image: int, pairs: Sequence[PairCells], anchor: int) -> int | None:
    """Return the exposure that another one is compared with: the anchor, or the largest overlap."""
    sizes = {}
    for pair in pairs:
        if image in (pair.first, pair.second):
            sizes[pair.first + pair.second - image] = int(np.sum(pair.weights > 0))
    if anchor in sizes:
        return anchor
    return max(sizes, key=lambda k: (sizes[k], -k)) if sizes else None
