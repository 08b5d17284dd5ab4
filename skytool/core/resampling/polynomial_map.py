"""Where the pixels of one grid lie on another one, as two polynomials over a window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.polynomial import chebyshev

from skytool.core.background.chebyshev import axis_terms, term_degrees

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Image = NDArray[np.float64]
    Positions = Callable[[Image, Image], tuple[Image, Image]]

_DOWN, _RIGHT = np.array([-0.5, 0.5, 0.0, 0.0]), np.array([0.0, 0.0, -0.5, 0.5])
_ORDERS = (1, 3, 5, 7, 9)
_N_NODES = 14
_N_CHECKS = 9  # no node of one number is a node of the other, but for the middle
_REACH = 8.0  # [pixel]


@dataclass(frozen=True, eq=False)
class PolynomialMap:
    """Source positions of the pixels in a window of a target.

    Parameters
    ----------
    start : tuple of int
        First pixel ``(y, x)`` of the window.
    shape : tuple of int
        Shape ``(ny, nx)`` of the window.
    coefficients : ndarray of float64, shape (2, n, n)
        Element ``[k, p, q]`` multiplies ``T_p(y') T_q(x')`` in the source row (k = 0) or column
        (k = 1) [pixel]; ``y'`` and ``x'`` are -1 and 1 at the outer edges of the window.
    max_error : float
        Largest error found when the map was made [pixel].
    """

    start: tuple[int, int]
    shape: tuple[int, int]
    coefficients: Image
    max_error: float = 0.0

    @classmethod
    def identity(cls, shape: tuple[int, int]) -> Self:
        """Return the map of an image, of shape ``(ny, nx)``, onto itself."""
        ny, nx = shape
        coefficients = np.zeros((2, 2, 2))
        coefficients[:, 0, 0] = (ny - 1) / 2, (nx - 1) / 2
        coefficients[0, 1, 0], coefficients[1, 0, 1] = ny / 2, nx / 2
        return cls((0, 0), shape, coefficients)

    @classmethod
    def fit(
        cls,
        positions: Positions,
        start: tuple[int, int],
        shape: tuple[int, int],
        source_shape: tuple[int, int],
        *,
        tolerance: float = 1e-5,
    ) -> Self:
        """Fit a map by polynomials of the lowest order that keeps a tolerance.

        Parameters
        ----------
        positions : function
            ``positions(y, x) -> (u, v)``: source columns and rows of all pairs of ascending target
            rows and columns [pixel], NaN where there is none.
        start, shape : tuple of int
            The window, of at least one pixel.
        source_shape : tuple of int
            Shape of the source; positions farther off it than half its size do not count.
        tolerance : float
            Largest error at points between those of the fit [pixel].

        Raises
        ------
        ValueError
            If no position of the window lies on the source or near to it.

        Notes
        -----
        Least squares at the nodes of Chebyshev polynomials, which is nearly the best polynomial
        for a smooth map. Where none keeps the tolerance, the one of smallest error is taken.
        """
        at_nodes = _sampled(positions, start, shape, source_shape, _N_NODES)
        between = _sampled(positions, start, shape, source_shape, _N_CHECKS)
        best: Self | None = None
        for order in _ORDERS:
            degrees = term_degrees(order)
            if len(at_nodes.y) < len(degrees):
                break
            terms = _terms(start, shape, order, at_nodes)
            factors = np.linalg.lstsq(terms, np.stack([at_nodes.v, at_nodes.u], 1), rcond=None)[0]
            error = _largest_error(terms @ factors, at_nodes)
            if len(between.y):
                fitted = _terms(start, shape, order, between) @ factors
                error = max(error, _largest_error(fitted, between))
            if best is None or error < best.max_error:
                coefficients = np.zeros((2, order + 1, order + 1))
                coefficients[:, degrees[:, 0], degrees[:, 1]] = factors.T
                best = cls(start, shape, coefficients, error)
            if error <= tolerance:
                break
        if best is None:
            msg = "no position of the window is near to the source"
            raise ValueError(msg)
        return best

    def positions(self, *, y: ArrayLike, x: ArrayLike) -> tuple[Image, Image]:
        """Return source rows and columns of target positions [pixel], arrays of one shape."""
        y, x = (
            (2.0 * (np.asarray(at, dtype=np.float64) - first) - (size - 1)) / size
            for at, first, size in zip((y, x), self.start, self.shape, strict=True)
        )
        v, u = (
            np.asarray(chebyshev.chebval2d(y, x, c), dtype=np.float64) for c in self.coefficients
        )
        return v, u

    def matrix(self, *, y: float, x: float) -> Image:
        """Return the change of source ``(y, x)`` over the target pixel at ``(y, x)``.

        Returns
        -------
        ndarray of float64, shape (2, 2)
            Element ``[i, j]`` is the change of source coordinate i by a target pixel along j.
        """
        v, u = self.positions(y=y + _DOWN, x=x + _RIGHT)
        return np.array([[v[1] - v[0], v[3] - v[2]], [u[1] - u[0], u[3] - u[2]]])

    def covers(self, *, y: ArrayLike, x: ArrayLike) -> NDArray[np.bool_]:
        """Return where target positions are on pixels of the window."""
        inside = np.asarray(True)
        for at, first, size in zip((y, x), self.start, self.shape, strict=True):
            place = np.asarray(at, dtype=np.float64) - first
            inside = inside & (place >= -0.5) & (place <= size - 0.5)
        return np.asarray(inside)

    def shifted(self, dy: int, dx: int) -> Self:
        """Return the map for a target in which all positions are larger by ``(dy, dx)``."""
        return replace(self, start=(self.start[0] + dy, self.start[1] + dx))


class _Sample(NamedTuple):
    """Target positions and their source positions, shape ``(n,)`` [pixel]."""

    y: Image
    x: Image
    v: Image
    u: Image


def _sampled(
    positions: Positions,
    start: tuple[int, int],
    shape: tuple[int, int],
    source_shape: tuple[int, int],
    n: int,
) -> _Sample:
    """Return the map at the nodes of degree n that lie on the source or near to it."""
    nodes = np.cos(np.pi * (np.arange(n)[::-1] + 0.5) / n)
    rows, columns = (
        first + (size * (nodes + 1.0) - 1.0) / 2.0 for first, size in zip(start, shape, strict=True)
    )
    u, v = positions(rows, columns)
    near = np.ones(u.shape, dtype=bool)
    with np.errstate(invalid="ignore"):
        for place, size in ((v, source_shape[0]), (u, source_shape[1])):
            near &= (place > -0.5 * size - _REACH) & (place < 1.5 * size + _REACH)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    return _Sample(y[near], x[near], v[near], u[near])


def _largest_error(fitted: Image, sample: _Sample) -> float:
    """Return the largest distance of fitted source positions, shape ``(n, 2)``, from the true."""
    return float(np.hypot(fitted[:, 0] - sample.v, fitted[:, 1] - sample.u).max())


def _terms(start: tuple[int, int], shape: tuple[int, int], order: int, sample: _Sample) -> Image:
    """Return all terms of an order at positions, shape ``(n, n_terms)``."""
    y_terms = axis_terms(order, sample.y - start[0], shape[0])
    x_terms = axis_terms(order, sample.x - start[1], shape[1])
    p, q = term_degrees(order).T
    return np.asarray(y_terms[:, p] * x_terms[:, q])
