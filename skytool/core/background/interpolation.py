"""Smooth surfaces through the values of cells, by one-dimensional interpolation along y, then x.

The interpolators are those of the GNU Scientific Library, continued outside of the knots by the
Taylor series of second order at the end knot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.background.curves import Extrapolation, InterpolationStyle, Name, curve_pieces
from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from skytool.core.background.cell_grid import CellGrid

    Floats = NDArray[np.float64]


class UndersampleStyle(Name):
    """What to do where there are too few values for a style.

    REDUCE_INTERP_ORDER takes the best style that the number allows. The others fail: a surface
    through given values cannot get more of them.
    """

    THROW_EXCEPTION = "throw_exception"
    REDUCE_INTERP_ORDER = "reduce_interp_order"
    INCREASE_NXNYSAMPLE = "increase_nxnysample"


@dataclass(frozen=True)
class InterpolationRule:
    """How values become a curve or a surface.

    Parameters
    ----------
    style : InterpolationStyle
        Kind of curve.
    undersample : UndersampleStyle
        What to do where there are too few values.
    extrapolation : Extrapolation
        Continuation beyond the end knots.
    reach : float
        Distance from the end knots beyond which the curve keeps its value [pixel].
    """

    style: InterpolationStyle = InterpolationStyle.AKIMA_SPLINE
    undersample: UndersampleStyle = UndersampleStyle.REDUCE_INTERP_ORDER
    extrapolation: Extrapolation = Extrapolation.QUADRATIC
    reach: float = math.inf

    def style_for(self, n: int, what: str = "values") -> InterpolationStyle:
        """Return the style used for a number of values.

        Raises
        ------
        AlgorithmError
            If there are too few and the style may not be reduced.
        """
        if n >= self.style.min_points:
            return self.style
        if self.undersample is not UndersampleStyle.REDUCE_INTERP_ORDER:
            raise AlgorithmError(
                f"{self.style} needs {self.style.min_points} values, there are {n} {what}",
                hint="Choose smaller cells, a simpler style, or reduce_interp_order.",
            )
        return largest_style(n)


def largest_style(n: int) -> InterpolationStyle:
    """Return the smoothest style that `n` knots allow.

    Raises
    ------
    AlgorithmError
        If there is no knot.
    """
    if n < 1:
        raise AlgorithmError("no values to interpolate between")
    if n == 1:
        return InterpolationStyle.CONSTANT
    if n == 2:
        return InterpolationStyle.LINEAR
    return InterpolationStyle.CUBIC_SPLINE if n < 5 else InterpolationStyle.AKIMA_SPLINE


def grid_rule(rule: InterpolationRule, shape: tuple[int, int]) -> InterpolationRule:
    """Return the rule with the style used for a grid of cells of a shape, on both axes.

    Parameters
    ----------
    rule : InterpolationRule
        What is wanted.
    shape : (int, int)
        Number of cells ``(n_y, n_x)``, with or without a value.

    Raises
    ------
    AlgorithmError
        If there are too few cells and the style may not be reduced.
    """
    n_y, n_x = shape
    style = rule.style_for(min(shape), f"cells along an axis of a grid of {n_y} x {n_x}")
    return InterpolationRule(style, rule.undersample, rule.extrapolation, rule.reach)


def interpolate(
    knots: ArrayLike, values: ArrayLike, points: ArrayLike, rule: InterpolationRule | None = None
) -> Floats:
    """Interpolate along the last axis.

    Parameters
    ----------
    knots : array_like of float, shape (n,)
        Increasing coordinates of the values.
    values : array_like of float, shape (..., n)
        Finite values.
    points : array_like of float, shape (m,)
        Coordinates wanted, in any order.
    rule : InterpolationRule, optional
        Style and continuation.

    Returns
    -------
    curve : ndarray of float64, shape (..., m)
        Values at the points.

    Raises
    ------
    AlgorithmError
        If there are too few knots and the style may not be reduced.
    """
    rule = rule or InterpolationRule()
    at = np.asarray(knots, np.float64)
    given = np.asarray(values, np.float64)
    wanted = np.asarray(points, np.float64)
    order = np.argsort(wanted, kind="stable")
    style = rule.style_for(len(at))
    curve = np.empty((*given.shape[:-1], len(wanted)))
    pieces = curve_pieces(style, at, given.reshape(-1, len(at)), rule.extrapolation)
    increasing = pieces.evaluate(wanted[order], rule.reach)
    curve.reshape(-1, len(wanted))[:, order] = increasing
    return curve


def interpolate_outer(
    values: ArrayLike,
    *,
    y_knots: ArrayLike,
    x_knots: ArrayLike,
    y: ArrayLike,
    x: ArrayLike,
    rule: InterpolationRule | None = None,
    dtype: DTypeLike = np.float64,
) -> NDArray[Any]:
    """Interpolate a grid of values at all pairs of a y and an x, first along y, then along x.

    Parameters
    ----------
    values : array_like of float, shape (n_y, n_x)
        Values; NaN are bridged.
    y_knots, x_knots : array_like of float, shape (n_y,) and (n_x,)
        Increasing coordinates of rows and columns.
    y, x : array_like of float, shape (ny,) and (nx,)
        Increasing coordinates wanted.
    rule : InterpolationRule, optional
        Style, fallback and continuation.
    dtype : dtype
        Of the result; computations are in double precision.

    Returns
    -------
    surface : ndarray of dtype, shape (ny, nx)
        All NaN if no value is finite.

    Raises
    ------
    AlgorithmError
        If a row or column has too few values and the style may not be reduced.
    """
    grid = np.asarray(values, np.float64)
    rule = grid_rule(rule or InterpolationRule(), (grid.shape[0], grid.shape[1]))
    y_at, x_at, y_points, x_points = (np.asarray(a, np.float64) for a in (y_knots, x_knots, y, x))
    valid = np.isfinite(grid)
    columns = np.full((grid.shape[1], len(y_points)), np.nan)
    masks, which = np.unique(valid.T, axis=0, return_inverse=True)
    for k, mask in enumerate(masks):
        if mask.any():
            same = which.ravel() == k
            columns[same] = _curves(y_at[mask], grid[mask][:, same].T, y_points, rule)
        elif rule.undersample is not UndersampleStyle.REDUCE_INTERP_ORDER:
            rule.style_for(0, "cells with a value in a column")
    filled = valid.any(axis=0)
    if not filled.any():
        return np.full((len(y_points), len(x_points)), np.nan, dtype)
    return _curves(x_at[filled], columns[filled].T, x_points, rule, dtype)


def interpolate_cells(
    values: ArrayLike,
    grid: CellGrid,
    rule: InterpolationRule | None = None,
    *,
    rows: slice | None = None,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Return the surface through values at the centres of cells, at every pixel.

    Parameters
    ----------
    values : array_like of float, shape (n_y, n_x)
        One value a cell, NaN where there is none.
    grid : CellGrid
        The cells.
    rule : InterpolationRule, optional
        Style, fallback and continuation.
    rows : slice, optional
        Rows of the image wanted; all if not given.
    dtype : dtype
        Of the image.

    Returns
    -------
    surface : ndarray of dtype, shape (ny, nx)
        All NaN if no cell has a value.

    Raises
    ------
    AlgorithmError
        If there are too few cells and the style may not be reduced.
    """
    ny, nx = grid.image_shape
    return interpolate_outer(
        values,
        y_knots=grid.y_centers,
        x_knots=grid.x_centers,
        y=np.arange(ny)[rows or slice(None)],
        x=np.arange(nx),
        rule=rule,
        dtype=dtype,
    )


def fill_missing(values: ArrayLike, rule: InterpolationRule | None = None) -> Floats:
    """Return a grid with its NaN replaced, along rows first, then what is left along columns.

    Parameters
    ----------
    values : array_like of float, shape (n_y, n_x)
        Values on a regular grid.
    rule : InterpolationRule, optional
        Style and continuation, with distances in steps of the grid. Styles are always reduced to
        what the values of a row or column allow.

    Returns
    -------
    filled : ndarray of float64, shape (n_y, n_x)
        The finite values as they were, and no NaN.

    Raises
    ------
    AlgorithmError
        If no value is finite.
    """
    filled = np.array(values, np.float64)
    if not np.isfinite(filled).any():
        raise AlgorithmError("no cell has a value to fill the others from")
    wanted = rule or InterpolationRule()
    rule = InterpolationRule(
        wanted.style, UndersampleStyle.REDUCE_INTERP_ORDER, wanted.extrapolation, wanted.reach
    )
    for lines in (filled, filled.T):  # the transposed view fills the same array
        at = np.arange(lines.shape[1])
        for line, known in zip(lines, np.isfinite(lines), strict=True):
            if known.any() and not known.all():
                line[~known] = interpolate(at[known], line[known], at[~known], rule)
    return filled


def _curves(
    knots: Floats,
    values: Floats,
    points: Floats,
    rule: InterpolationRule,
    dtype: DTypeLike = np.float64,
) -> NDArray[Any]:
    """Interpolate each row of `values` at increasing points."""
    style = rule.style_for(len(knots), "cells with a value in a row or column")
    pieces = curve_pieces(style, knots, values, rule.extrapolation)
    return pieces.evaluate(points, rule.reach, dtype)
