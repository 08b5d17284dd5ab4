"""Kernels that vary over an image as a polynomial of the position."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.chebyshev import axis_terms, term_degrees

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Domain = tuple[float, float, float, float]
"""Edges ``(y_start, y_stop, x_start, x_stop)`` of a box of whole pixels, over which polynomials run
from -1 to 1; ``(-0.5, ny - 0.5, -0.5, nx - 0.5)`` for a whole image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SpatialKernel:
    """A convolution kernel whose pixels are polynomials of the position in the image.

    ``K(u; y, x) = sum_pq T_p(y') T_q(x') images[p, q](u)`` with Chebyshev polynomials T and
    ``y', x'`` running from -1 to 1 over the domain. It is applied as a true convolution,
    ``R(x) = sum_u K(u; x) I(x - u)``, evaluated at the output pixel.

    Parameters
    ----------
    images : ndarray of float64, shape (n_p, n_q, h, w)
        Kernel images, h and w odd, centred on the middle pixel.
    domain : tuple of float
        Edges of the box over which the polynomials run from -1 to 1 [pixel].

    Raises
    ------
    ValueError
        If the shape is not of that form, a side is even, or the domain is no box of whole pixels.
    """

    images: NDArray[np.float64]
    domain: Domain

    def __post_init__(self) -> None:
        shape = self.images.shape
        if len(shape) != 4 or 0 in shape:
            raise ValueError(f"kernel images need the shape (n_p, n_q, h, w), got {shape}")
        if shape[2] % 2 == 0 or shape[3] % 2 == 0:
            raise ValueError(f"the sides of a kernel must be odd, got {shape[2]} x {shape[3]}")
        y_start, y_stop, x_start, x_stop = self.domain
        for length in (y_stop - y_start, x_stop - x_start):
            if length < 1 or length != round(length):
                raise ValueError(f"the domain {self.domain} of a kernel is no box of whole pixels")

    @classmethod
    def constant(cls, kernel: NDArray[np.floating]) -> SpatialKernel:
        """Return a kernel of shape ``(h, w)`` that is the same everywhere."""
        images = np.asarray(kernel, dtype=np.float64)[None, None]
        return cls(images=images, domain=(-0.5, 0.5, -0.5, 0.5))

    @classmethod
    def from_basis(
        cls, basis: NDArray[np.float64], coefficients: NDArray[np.float64], domain: Domain
    ) -> SpatialKernel:
        """Return the combination of basis images with polynomial coefficients.

        Parameters
        ----------
        basis : ndarray of float64, shape (n_basis, h, w)
            Kernel images.
        coefficients : ndarray of float64, shape (n_basis, n_p, n_q)
            Element ``[i, p, q]`` belongs to ``T_p(y') T_q(x')`` of the factor of basis image i.
        domain : tuple of float
            Pixel edges of the polynomials.
        """
        return cls(images=np.einsum("ipq,ihw->pqhw", coefficients, basis), domain=domain)

    @property
    def half(self) -> tuple[int, int]:
        """Pixels ``(y, x)`` from the middle of the kernel to its edge."""
        return self.images.shape[2] // 2, self.images.shape[3] // 2

    @property
    def support(self) -> NDArray[np.bool_]:
        """Pixels ``(h, w)`` that differ from zero somewhere in the image."""
        return np.any(self.images != 0.0, axis=(0, 1))

    @property
    def is_constant(self) -> bool:
        """Whether the kernel is the same everywhere."""
        return self.images.shape[:2] == (1, 1)

    def rows(self, y: ArrayLike) -> NDArray[np.float64]:
        """Return ``T_p`` at pixel rows, shape ``(n_y, n_p)``."""
        return _terms(y, self.images.shape[0], self.domain[0], self.domain[1])

    def columns(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return ``T_q`` at pixel columns, shape ``(n_x, n_q)``."""
        return _terms(x, self.images.shape[1], self.domain[2], self.domain[3])

    def at(self, *, y: float, x: float) -> NDArray[np.float64]:
        """Return the kernel at one position, shape ``(h, w)``."""
        return self.at_many(y=[y], x=[x])[0]

    def at_many(self, *, y: ArrayLike, x: ArrayLike) -> NDArray[np.float64]:
        """Return the kernels at positions ``y[i], x[i]``, shape ``(n, h, w)``."""
        terms = self.rows(y)[:, :, None] * self.columns(x)[:, None, :]
        return np.tensordot(terms, self.images, axes=2)

    def sum_at(self, *, y: float, x: float) -> float:
        """Return the sum of the kernel at one position."""
        sums = self.images.sum(axis=(2, 3))
        return float(self.rows([y])[0] @ sums @ self.columns([x])[0])

    def squared(self) -> SpatialKernel:
        """Return the pixelwise square, exactly: the kernel that carries the variance."""
        n_p, n_q = self.images.shape[:2]
        out = np.zeros((2 * n_p - 1, 2 * n_q - 1, *self.images.shape[2:]))
        used = [(p, q) for p in range(n_p) for q in range(n_q) if np.any(self.images[p, q])]
        for a, c in used:
            for b, d in used:
                product = 0.25 * self.images[a, c] * self.images[b, d]
                for p in (a + b, abs(a - b)):
                    for q in (c + d, abs(c - d)):
                        out[p, q] += product
        return replace(self, images=out)

    def flipped(self) -> SpatialKernel:
        """Return the kernel turned by half a turn: convolution with it is a correlation."""
        return replace(self, images=self.images[:, :, ::-1, ::-1])

    def scaled(self, factor: float) -> SpatialKernel:
        """Return the kernel times a number."""
        return replace(self, images=factor * self.images)

    def shifted(self, *, dy: float, dx: float) -> SpatialKernel:
        """Return the kernel in coordinates that are larger by ``dy, dx``.

        The kernel of an image becomes that of a part of it that starts at row ``-dy`` and column
        ``-dx``.
        """
        y_start, y_stop, x_start, x_stop = self.domain
        return replace(self, domain=(y_start + dy, y_stop + dy, x_start + dx, x_stop + dx))


def domain_terms(order: int, domain: Domain, *, y: ArrayLike, x: ArrayLike) -> NDArray[np.float64]:
    """Return the two-dimensional terms of a total order at positions.

    Parameters
    ----------
    order : int
        Highest total degree.
    domain : tuple of float
        Edges of the box over which the polynomials run from -1 to 1 [pixel].
    y, x : array_like of float, shape (n,)
        Positions [pixel].

    Returns
    -------
    ndarray of float64, shape (n, n_terms)
        In the order of `skytool.core.background.chebyshev.term_degrees`.
    """
    p, q = term_degrees(order).T
    rows = _terms(y, order + 1, domain[0], domain[1])
    return rows[:, p] * _terms(x, order + 1, domain[2], domain[3])[:, q]


def from_triangular(coefficients: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Return coefficients of a list of terms as an array over ``p, q``.

    Parameters
    ----------
    coefficients : ndarray of float64, shape (..., n_terms)
        The terms in the order of `skytool.core.background.chebyshev.term_degrees` in the last axis.
    order : int
        Total order; there are ``(order + 1) (order + 2) / 2`` terms.

    Returns
    -------
    ndarray of float64, shape (..., order + 1, order + 1)
        Zero where ``p + q > order``.

    Raises
    ------
    ValueError
        If the number of terms is not that of the order.
    """
    p, q = term_degrees(order).T
    if coefficients.shape[-1] != len(p):
        raise ValueError(
            f"order {order} has {len(p)} terms, got {coefficients.shape[-1]} coefficients"
        )
    out = np.zeros((*coefficients.shape[:-1], order + 1, order + 1))
    out[..., p, q] = coefficients
    return out


def power_to_chebyshev(coefficients: NDArray[np.float64], domain: Domain) -> NDArray[np.float64]:
    """Turn polynomials in plain pixel coordinates into the same ones in Chebyshev form.

    Parameters
    ----------
    coefficients : ndarray of float64, shape (..., n_p, n_q)
        Element ``[p, q]`` belongs to ``y**p * x**q``.
    domain : tuple of float
        Pixel edges of the Chebyshev form, in the same coordinates.

    Returns
    -------
    ndarray of float64, shape (..., n_p, n_q)
        Element ``[p, q]`` belongs to ``T_p(y') T_q(x')``.
    """
    turn_y = _power_turn(coefficients.shape[-2], domain[0], domain[1])
    turn_x = _power_turn(coefficients.shape[-1], domain[2], domain[3])
    return np.einsum("ap,...pq,bq->...ab", turn_y, coefficients, turn_x)


def _power_turn(n_terms: int, start: float, stop: float) -> NDArray[np.float64]:
    """Return the matrix from powers of a coordinate to Chebyshev polynomials on its range."""
    nodes = np.cos(np.pi * (np.arange(n_terms) + 0.5) / n_terms)
    positions = 0.5 * (start + stop) + 0.5 * (stop - start) * nodes
    powers = np.vander(positions, n_terms, increasing=True)
    return np.asarray(np.linalg.solve(_terms(positions, n_terms, start, stop), powers), np.float64)


def _terms(positions: ArrayLike, n_terms: int, start: float, stop: float) -> NDArray[np.float64]:
    """Return the polynomials ``T_0`` to ``T_{n_terms - 1}`` of coordinates between two edges."""
    length = round(stop - start)
    return axis_terms(n_terms - 1, np.asarray(positions, np.float64) - (start + 0.5), length)
