"""Polynomials through cells: of a given order, of the order that predicts best, or smoothed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.chebyshev_fit import ChebyshevFit, chebyshev_fit, choose_order
from skytool.core.background.interpolation import UndersampleStyle
from skytool.core.background.smoothed_fit import smoothed_fit
from skytool.core.statistics import Clip
from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.background.cell_grid import CellGrid
    from skytool.core.background.cells import CellStatistics
    from skytool.core.background.chebyshev import ChebyshevModel
    from skytool.core.difference.cells import FrameCells

    Floats = NDArray[np.float64]

_EVERYWHERE = (-math.inf, math.inf)
_X_Y, _XX_XY_YY = (1, 2), (3, 4, 5)  # places of the terms of degree 1 and 2
_SAME_ERROR = 0.01  # relative change of an error that is none
_LEAST_LEFT = 1e-4  # of a variance
_MARGIN = 0.01  # of a range: what a polynomial may do between the points looked at


@dataclass(frozen=True, kw_only=True)
class PolynomialRule:
    """How a polynomial is fitted to cells.

    Parameters
    ----------
    order : int or None
        Total degree; None for the one that cross-validation finds.
    max_order : int
        Highest degree that is tried if none is given.
    undersample : UndersampleStyle
        What to do where cells do not determine all terms: REDUCE_INTERP_ORDER lowers the order,
        the others fail.
    weighted : bool
        Weight cells by their errors.
    weight_power : float
        2 for weights ``1 / error**2``, 1 for ``1 / error``.
    pooling : float
        Pixels of typical scatter that are added to the estimate of each cell's scatter.
    clip : Clip or None
        Rejection of cells far from the fit.
    max_condition : float
        Largest condition number of the fit.
    flat_scatter : bool
        Take off the scatter of a cell what the slope of the model within it gives, and fit again.
    smoothing : float or None
        Weight of the penalty on terms of high degree; None for the one that cross-validation
        finds. 0 for none.
    """

    order: int | None = None
    max_order: int = 8
    undersample: UndersampleStyle = UndersampleStyle.REDUCE_INTERP_ORDER
    weighted: bool = True
    weight_power: float = 2.0
    pooling: float = 50.0
    clip: Clip | None = field(default_factory=lambda: Clip(5.0, 5))
    max_condition: float = 50.0
    flat_scatter: bool = True
    smoothing: float | None = 0.0

    @property
    def highest_order(self) -> int:
        """Highest degree of the polynomial."""
        return self.max_order if self.order is None else self.order

    @property
    def basis_order(self) -> int:
        """Highest degree of the terms that cells need: two to tell where their pixels are."""
        return max(self.highest_order, 2)


@dataclass(frozen=True, eq=False)
class PolynomialFit:
    """A polynomial through cells.

    Parameters
    ----------
    fit : ChebyshevFit
        The polynomial and its errors.
    order : int
        Its degree.
    smoothing : float
        Weight of the penalty.
    weighted : bool
        Whether cells had weights.
    cells : CellStatistics
        The cells with the errors that the weights follow from.
    """

    fit: ChebyshevFit
    order: int
    smoothing: float
    weighted: bool
    cells: CellStatistics


def fit_polynomial(
    frame: FrameCells, rule: PolynomialRule, *, weighted: bool | None = None
) -> PolynomialFit:
    """Fit a polynomial to cells.

    Parameters
    ----------
    frame : FrameCells
        Cells with terms up to ``rule.basis_order``.
    rule : PolynomialRule
        How.
    weighted : bool, optional
        Whether cells have weights, instead of what the rule says.

    Raises
    ------
    AlgorithmError
        If no cell has a value, or the cells do not determine the terms and the order may not be
        lowered.
    """
    if not frame.cells.valid.any():
        raise AlgorithmError("no cell has a value")
    if frame.basis is None:
        raise ValueError("a polynomial needs cells with terms")
    use_weights = rule.weighted if weighted is None else weighted
    found = _fitted(frame.cells, frame.basis, rule, weighted=use_weights)
    if not (use_weights and rule.flat_scatter):
        return found
    flat = _without_slope(frame.cells, frame.basis, found.fit.model)
    if np.allclose(flat.error, frame.cells.error, rtol=_SAME_ERROR, atol=0, equal_nan=True):
        return found
    return _fitted(flat, frame.basis, rule, weighted=True)


def _fitted(
    cells: CellStatistics, basis: Floats, rule: PolynomialRule, *, weighted: bool
) -> PolynomialFit:
    """Fit with the errors that the cells have."""
    shape = cells.grid.image_shape
    weights = cells.weights(rule.weight_power, pooling=rule.pooling) if weighted else None
    if weights is not None and not (weights > 0).any():
        weights = None  # values without any scatter are exact, and all alike
    if rule.smoothing != 0.0:
        fit, strength = smoothed_fit(
            cells.value,
            basis,
            order=rule.highest_order,
            shape=shape,
            weights=weights,
            strength=rule.smoothing,
            clip=rule.clip,
        )
        return PolynomialFit(fit, rule.highest_order, strength, weights is not None, cells)
    order = rule.order
    if order is None:
        order = _chosen_order(cells.value, basis, weights, rule)
    while True:
        try:
            fit = chebyshev_fit(
                cells.value,
                basis,
                order=order,
                shape=shape,
                weights=weights,
                clip=rule.clip,
                max_condition=rule.max_condition,
            )
        except AlgorithmError:
            if order == 0 or rule.undersample is not UndersampleStyle.REDUCE_INTERP_ORDER:
                raise
            order -= 1
        else:
            return PolynomialFit(fit, order, 0.0, weights is not None, cells)


def _without_slope(cells: CellStatistics, basis: Floats, model: ChebyshevModel) -> CellStatistics:
    """Return cells without the scatter that the slope of a model within them gives.

    The averages of the terms of degree 1 and 2 tell the mean position of a cell's pixels and the
    variances and the covariance of their coordinates.
    """
    if basis.shape[-1] <= _XX_XY_YY[-1]:
        return cells
    x, y = (basis[..., k] for k in _X_Y)
    xx, xy, yy = (basis[..., k] for k in _XX_XY_YY)
    ny, nx = model.shape
    spreads = [(yy + 1) / 2 - y**2, (xx + 1) / 2 - x**2, xy - x * y]
    known = np.isfinite(spreads).all(axis=0)
    rows, columns = ((np.where(known, t, 0) * n + n - 1) / 2 for t, n in ((y, ny), (x, nx)))
    slope_y = (
        (model.evaluate(y=rows + 0.5, x=columns) - model.evaluate(y=rows - 0.5, x=columns)) * ny / 2
    )
    slope_x = (
        (model.evaluate(y=rows, x=columns + 0.5) - model.evaluate(y=rows, x=columns - 0.5)) * nx / 2
    )
    slope = slope_y**2 * spreads[0] + slope_x**2 * spreads[1] + 2 * slope_y * slope_x * spreads[2]
    slope *= cells.kept / np.maximum(cells.kept - 1, 1)  # as the variance of a sample counts
    own = cells.variance - np.where(known, slope, 0)
    left = _steadied(own, np.where(known, slope, 0), cells)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.where(cells.variance > 0, cells.error * np.sqrt(left / cells.variance), 0.0)
    error = np.where(np.isnan(cells.error), np.nan, error)
    return replace(cells, variance=left, error=error)


def _steadied(own: Floats, slope: Floats, cells: CellStatistics) -> Floats:
    """Return what is left of the variances of cells, nearer to a typical one where a slope was large.

    With a variance v of the noise and s of the slope, the difference of the variance of n pixels
    and s scatters by ``(2 v**2 + 4 v s) / n``: by ``1 + 2 s / v`` times what it does without slope.
    """
    floor = _LEAST_LEFT * cells.variance
    typical = float(np.median(own[cells.valid]))
    if not typical > 0:
        return np.maximum(own, floor)
    share = 1 / (1 + 2 * np.maximum(slope, 0) / typical)
    return np.maximum(share * own + (1 - share) * typical, floor)


def _chosen_order(
    values: Floats, basis: Floats, weights: Floats | None, rule: PolynomialRule
) -> int:
    """Return the order that cross-validation finds; a single cell allows a constant only."""
    usable = np.isfinite(values) if weights is None else np.isfinite(values) & (weights > 0)
    if np.count_nonzero(usable) < 2:
        return 0
    spread = np.ptp(values[usable])
    if not spread > 0:  # nothing to tell orders apart
        return 0
    return choose_order(
        values,
        basis,
        max_order=rule.max_order,
        weights=weights,
        clip=rule.clip,
        max_condition=rule.max_condition,
    ).order


def bounded_polynomial(
    model: ChebyshevModel, grid: CellGrid, covered: NDArray[np.bool_], reach: float
) -> ChebyshevModel:
    """Return a polynomial that cannot run away where no cell is covered.

    Beyond the rectangle within reach of covered cells it keeps the value at the nearest point of
    that, and nowhere does it leave the range that it has within reach by more than a hundredth.

    Parameters
    ----------
    model : ChebyshevModel
        The polynomial.
    grid : CellGrid
        Cells of its frame.
    covered : ndarray of bool, shape (n_y, n_x)
        Cells where it is known.
    reach : float
        Distance from the covered cells up to which it is followed [pixel]; infinite for no bounds.
    """
    if math.isinf(reach) or covered.all() or not covered.any():
        return model
    ranges = []
    for edges, axis in ((grid.y_edges, 1), (grid.x_edges, 0)):
        index = np.flatnonzero(covered.any(axis=axis))
        ranges.append((float(edges[index[0]]) - reach, float(edges[index[-1] + 1] - 1) + reach))
    limited = replace(model, y_range=ranges[0], x_range=ranges[1], value_range=_EVERYWHERE)
    size = np.sqrt(np.mean(grid.areas))
    low, high = _extremes(limited, grid, _grown(covered, round(reach / size)))
    margin = _MARGIN * (high - low)
    return replace(limited, value_range=(low - margin, high + margin))


def _grown(flags: NDArray[np.bool_], n: int) -> NDArray[np.bool_]:
    """Return flags spread to all neighbours, n times."""
    n_y, n_x = flags.shape
    for _ in range(min(n, max(flags.shape))):
        padded = np.pad(flags, 1)
        flags = np.any(
            [padded[j : j + n_y, i : i + n_x] for j in range(3) for i in range(3)], axis=0
        )
    return flags


def _extremes(
    model: ChebyshevModel, grid: CellGrid, covered: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the extremes of a model at five points along both sides of covered cells."""
    y, x = (
        np.interp(np.arange(4 * len(edges) - 3) / 4, np.arange(len(edges)), edges) - 0.5
        for edges in (grid.y_edges, grid.x_edges)
    )
    values = model.evaluate(y=y[:, None], x=x[None])
    n_y, n_x = covered.shape
    inside = [
        values[j : j + 4 * n_y - 3 : 4, i : i + 4 * n_x - 3 : 4][covered]
        for j in range(5)
        for i in range(5)
    ]
    return float(np.min(inside)), float(np.max(inside))


def shifted_polynomial(
    model: ChebyshevModel, *, y: int, x: int, shape: tuple[int, int]
) -> ChebyshevModel:
    """Return the same surface in the pixels of a rectangle of its frame.

    Parameters
    ----------
    model : ChebyshevModel
        A polynomial over a frame.
    y, x : int
        First pixel of the rectangle in the frame.
    shape : (int, int)
        Its shape ``(ny, nx)``.

    Notes
    -----
    A polynomial in a linear function of a coordinate is a polynomial of the same degree in the
    coordinate; its factors follow from its values at Chebyshev nodes, exactly but for rounding.
    """
    if (y, x) == (0, 0) and shape == model.shape:
        return model
    changes = [
        _rescaling(size, model.shape[axis], start, shape[axis])
        for axis, (size, start) in enumerate(zip(model.coefficients.shape, (y, x), strict=True))
    ]
    ranges = [
        (low - start, high - start)
        for (low, high), start in zip((model.y_range, model.x_range), (y, x), strict=True)
    ]
    return replace(
        model,
        coefficients=changes[0] @ model.coefficients @ changes[1].T,
        shape=shape,
        y_range=ranges[0],
        x_range=ranges[1],
    )


def _rescaling(n: int, old_length: int, start: int, length: int) -> Floats:
    """Return the matrix from factors over an axis to those over a part of it, shape ``(n, n)``."""
    nodes = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    pixels = start + (nodes * length + length - 1) / 2
    old = (2 * pixels - (old_length - 1)) / old_length
    cheb = np.polynomial.chebyshev.chebvander
    return np.asarray(np.linalg.solve(cheb(nodes, n - 1), cheb(old, n - 1)))
