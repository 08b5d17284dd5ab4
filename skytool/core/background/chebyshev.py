"""Chebyshev polynomials in two dimensions: terms, their averages over cells, and models.

A model is the sum of ``coefficients[p, q] * T_p(y') * T_q(x')`` over ``p + q <= order``, with
``y' = (2 y - (ny - 1)) / ny``, so that -1 and 1 are the outer edges of the outer pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from skytool.core.background.cell_grid import model_range
from skytool.core.background.cells import cell_averages

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from skytool.core.background.cell_grid import CellGrid
    from skytool.core.background.cells import CellStatistics

    Floats = NDArray[np.float64]

_EVERYWHERE = (-math.inf, math.inf)
_STRIP = 64  # rows [pixel]


def axis_terms(order: int, coordinate: ArrayLike, length: int) -> Floats:
    """Return ``T_0 ... T_order`` at pixel coordinates along an axis of a length.

    Parameters
    ----------
    order : int
        Highest degree.
    coordinate : array_like of float, shape (n,)
        Positions [pixel].
    length : int
        Number of pixels of the axis.

    Returns
    -------
    terms : ndarray of float64, shape (n, order + 1)
        Values, within -1 and 1 inside of the image.
    """
    scaled = (2 * np.asarray(coordinate, np.float64) - (length - 1)) / length
    return np.asarray(np.polynomial.chebyshev.chebvander(scaled, order), np.float64)


def term_degrees(order: int) -> NDArray[np.int64]:
    """Return the degrees ``(p, q)`` in y and x of all terms up to a total degree.

    Terms are sorted by total degree, then by increasing degree in y, so that the terms of a lower
    order are the first of those of a higher one; shape ``(n_terms, 2)``.
    """
    return np.array([(p, degree - p) for degree in range(order + 1) for p in range(degree + 1)])


def n_terms(order: int) -> int:
    """Return the number of terms up to a total degree."""
    return (order + 1) * (order + 2) // 2


@dataclass(frozen=True, eq=False)
class ChebyshevModel:
    """A smooth surface over an image.

    Parameters
    ----------
    coefficients : ndarray of float64, shape (n_p, n_q)
        Factor of ``T_p(y') T_q(x')`` [unit of image].
    shape : (int, int)
        Shape ``(ny, nx)`` of the image, which sets the scale of both axes.
    y_range, x_range : (float, float)
        Coordinates are limited to these: the surface continues unchanged beyond [pixel].
    value_range : (float, float)
        Values are limited to these [unit of image].
    """

    coefficients: Floats
    shape: tuple[int, int]
    y_range: tuple[float, float] = _EVERYWHERE
    x_range: tuple[float, float] = _EVERYWHERE
    value_range: tuple[float, float] = _EVERYWHERE

    @property
    def order(self) -> int:
        """Highest total degree of the terms."""
        return int(max(np.add(*np.nonzero(self.coefficients)), default=0))

    def image(self, *, rows: slice | None = None, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Return the surface at every pixel, or at those of some rows, shape ``(ny, nx)``."""
        ny, nx = self.shape
        factors = self._terms(np.arange(ny)[rows or slice(None)], axis=0) @ self.coefficients
        x_terms = self._terms(np.arange(nx), axis=1).T
        surface = np.empty((len(factors), nx), dtype)
        for start in range(0, len(factors), _STRIP):  # double precision only for a few rows
            strip = slice(start, start + _STRIP)
            surface[strip] = self._limited(factors[strip] @ x_terms)
        return surface

    def evaluate(self, *, y: ArrayLike, x: ArrayLike) -> Floats:
        """Return the surface at positions, broadcast against each other [pixel]."""
        y_at, x_at = np.broadcast_arrays(np.asarray(y, np.float64), np.asarray(x, np.float64))
        y_terms = self._terms(y_at.ravel(), axis=0)
        x_terms = self._terms(x_at.ravel(), axis=1)
        values = np.einsum("np,pq,nq->n", y_terms, self.coefficients, x_terms)
        return self._limited(values).reshape(y_at.shape)

    def lattice(self, *, y: ArrayLike, x: ArrayLike) -> Floats:
        """Return the surface at all pairs of rows and columns, shape ``(len(y), len(x))`` [pixel]."""
        factors = self._terms(np.asarray(y, np.float64), axis=0) @ self.coefficients
        return self._limited(factors @ self._terms(np.asarray(x, np.float64), axis=1).T)

    @classmethod
    def from_terms(cls, terms: ArrayLike, shape: tuple[int, int]) -> Self:
        """Return the surface with the factors of the terms in the order of `term_degrees`."""
        factors = np.asarray(terms, np.float64)
        order = (math.isqrt(8 * len(factors) + 1) - 3) // 2
        coefficients = np.zeros((order + 1, order + 1))
        coefficients[tuple(term_degrees(order).T)] = factors
        return cls(coefficients, shape)

    def truncated(self, order: int) -> Self:
        """Return the surface without the terms above a total degree."""
        p, q = np.indices(self.coefficients.shape)
        return replace(self, coefficients=np.where(p + q <= order, self.coefficients, 0.0))

    def scaled(self, factor: float) -> Self:
        """Return the surface multiplied by a factor."""
        low, high = sorted(factor * limit for limit in self.value_range)
        return replace(self, coefficients=factor * self.coefficients, value_range=(low, high))

    def bounded(self, grid: CellGrid, covered: NDArray[np.bool_], reach: float = 0.0) -> Self:
        """Return the same surface where cells are covered, and one that cannot run away elsewhere.

        Parameters
        ----------
        grid : CellGrid
            Cells of the image.
        covered : ndarray of bool, shape (n_y, n_x)
            Cells where the surface is known.
        reach : float
            Distance from the rectangle around the covered cells up to which the polynomial is
            followed [pixel]; beyond, the surface has the value at the nearest point of this
            larger rectangle. Everywhere values are limited to the range in the covered cells.
        """
        if not covered.any():
            return self
        ranges = []
        for edges, axis in ((grid.y_edges, 1), (grid.x_edges, 0)):
            index = np.flatnonzero(covered.any(axis=axis))
            first, last = float(edges[index[0]]), float(edges[index[-1] + 1] - 1)
            ranges.append((first - reach, last + reach))
        limited = replace(self, y_range=ranges[0], x_range=ranges[1], value_range=_EVERYWHERE)
        return replace(limited, value_range=model_range(limited.image(), grid, covered))

    def _terms(self, coordinate: NDArray[Any], *, axis: int) -> Floats:
        """Return the one-dimensional terms at coordinates limited to their range."""
        limits = (self.y_range, self.x_range)[axis]
        degree = self.coefficients.shape[axis] - 1
        return axis_terms(degree, np.clip(coordinate, *limits), self.shape[axis])

    def _limited(self, values: Floats) -> Floats:
        """Limit values to their range, in place."""
        if self.value_range != _EVERYWHERE:
            np.clip(values, *self.value_range, out=values)
        return values


def point_basis(order: int, shape: tuple[int, int], *, y: ArrayLike, x: ArrayLike) -> Floats:
    """Return all terms at positions in an image of a shape.

    Parameters
    ----------
    order : int
        Highest total degree.
    shape : (int, int)
        Shape ``(ny, nx)`` of the image.
    y, x : array_like of float
        Positions, broadcast against each other [pixel].

    Returns
    -------
    basis : ndarray of float64, shape (..., n_terms)
        In the order of `term_degrees`.
    """
    y_terms = axis_terms(order, y, shape[0])
    x_terms = axis_terms(order, x, shape[1])
    p, q = term_degrees(order).T
    return y_terms[..., p] * x_terms[..., q]


def cell_basis(
    order: int, cells: CellStatistics, image: ArrayLike, bad: ArrayLike | None
) -> Floats:
    """Return the average of all terms over the pixels that entered the value of each cell.

    A fit with these has no error from curvature within cells, nor from pixels that are missing
    on one side of a cell: both sides of the equation are averages over the same pixels.

    Parameters
    ----------
    order : int
        Highest total degree.
    cells : CellStatistics
        Statistics of the cells of `image`, which say which pixels entered.
    image : array_like of float, shape (ny, nx)
        The image.
    bad : array_like of bool, shape (ny, nx), or None
        Pixels that were left out.

    Returns
    -------
    basis : ndarray of float64, shape (n_y, n_x, n_terms)
        In the order of `term_degrees`; NaN for cells without pixels.
    """
    ny, nx = cells.grid.image_shape
    averages = cell_averages(
        image,
        bad,
        cells.grid,
        low=cells.low,
        high=cells.high,
        y_basis=axis_terms(order, np.arange(ny), ny),
        x_basis=axis_terms(order, np.arange(nx), nx),
    )
    p, q = term_degrees(order).T
    return averages[..., p, q]
