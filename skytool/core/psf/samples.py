"""A varying point spread function as images times polynomials, and stars drawn from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.core.background.chebyshev import axis_terms
from skytool.core.stamps import b_spline, b_spline_slope

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from skytool.core.psf.field import PsfField

    Floats = NDArray[np.float64]

_KEPT = 1e-9  # share of the sum of squares that basis images may miss
_MOST_NODES = 9  # along an axis


class StarImages(NamedTuple):
    """Stars of flux one and their derivatives by their own position; shape ``(n, h, w)`` each."""

    image: Floats
    along_y: Floats
    along_x: Floats


@dataclass(frozen=True, eq=False)
class PsfSamples:
    """Images with factors that are polynomials of the position.

    Parameters
    ----------
    basis : ndarray of float64, shape (n, h, w)
        Samples about the middle one, odd sides.
    coefficients : ndarray of float64, shape (n, p, q)
        Factor of ``basis[i] T_p(y') T_q(x')``, as `~skytool.models.psf.kinds.BasisPsf` has it.
    shape : (int, int)
        Shape ``(ny, nx)`` of the image.
    oversampling : int
        Samples per pixel along each axis.
    """

    basis: Floats
    coefficients: Floats
    shape: tuple[int, int]
    oversampling: int

    def factors(self, *, y: Floats, x: Floats) -> Floats:
        """Return the factors of the images at positions [pixel], shape ``(m, n)``."""
        _, n_p, n_q = self.coefficients.shape
        y_terms, x_terms = (
            axis_terms(n - 1, np.clip(at, -0.5, size - 0.5), size)
            for n, at, size in zip((n_p, n_q), (y, x), self.shape, strict=True)
        )
        return np.einsum("mp,npq,mq->mn", y_terms, self.coefficients, x_terms)

    @cached_property
    def _splines(self) -> Floats:
        """Coefficients of the splines through the samples of the basis."""
        basis = self.basis
        for axis in (1, 2):
            n = basis.shape[axis]
            matrix = b_spline(np.subtract.outer(np.arange(n), np.arange(n)).astype(np.float64))
            lines = np.moveaxis(basis, axis, 0)
            solved = np.linalg.solve(matrix, lines.reshape(n, -1)).reshape(lines.shape)
            basis = np.asarray(np.moveaxis(solved, 0, axis), dtype=np.float64)
        return basis

    def images(self, *, y: Floats, x: Floats, rows: Floats, columns: Floats) -> Floats:
        """Return stars interpolated by splines, shape ``(m, h, w)``.

        Parameters
        ----------
        y, x : ndarray of float64, shape (m,)
            Positions in the image [pixel].
        rows, columns : ndarray of float64, shape (m, h) and (m, w)
            Pixels one after the other, counted from the centre of each star [pixel].
        """
        in_y, in_x = (
            _weights(at, n, self.oversampling, b_spline)
            for at, n in zip((rows, columns), self.basis.shape[1:], strict=True)
        )
        stars = np.tensordot(self.factors(y=y, x=x), self._splines, axes=1)
        return np.matmul(in_y, np.matmul(stars, in_x.transpose(0, 2, 1)))

    def drawn(self, *, y: Floats, x: Floats, rows: Floats, columns: Floats) -> StarImages:
        """Return the same as `images` with derivatives."""
        in_y, in_x, slope_y, slope_x = (
            factor * _weights(at, n, self.oversampling, spline)
            for factor, spline in ((1.0, b_spline), (-self.oversampling, b_spline_slope))
            for at, n in zip((rows, columns), self.basis.shape[1:], strict=True)
        )
        stars = np.tensordot(self.factors(y=y, x=x), self._splines, axes=1)
        half = np.matmul(stars, in_x.transpose(0, 2, 1))
        slope = np.matmul(stars, slope_x.transpose(0, 2, 1))
        return StarImages(np.matmul(in_y, half), np.matmul(slope_y, half), np.matmul(in_y, slope))


def sampled(field: PsfField, half: int, oversampling: int) -> PsfSamples:
    """Return a field as images times polynomials.

    Parameters
    ----------
    field : PsfField
        The field.
    half : int
        Pixels on every side of the middle one.
    oversampling : int
        Samples per pixel along each axis.

    Returns
    -------
    PsfSamples
        Its stars have the sum one over the stamp.

    Notes
    -----
    The field is evaluated at the Chebyshev nodes of polynomials of twice its order and two more,
    which determine the polynomials; the principal components of what is found are the fewest images.
    """
    at = np.arange(-half * oversampling, half * oversampling + 1) / oversampling

    def stars(y: Floats, x: Floats) -> Floats:
        images = field.images(y=y, x=x, rows=at, columns=at)
        return images * (oversampling**2 / images.sum(axis=(1, 2), keepdims=True))

    return _compressed(stars, field.shape, field.order, oversampling)


def slopes(field: PsfField, half: int, oversampling: int, step: float = 1e-3) -> list[PsfSamples]:
    """Return the derivatives of a field by the three quantities of its form."""
    at = np.arange(-half * oversampling, half * oversampling + 1) / oversampling
    results = []
    for quantity in range(field.form.coefficients.shape[1]):
        above, below = (field.with_form_moved(quantity, sign * step) for sign in (1.0, -1.0))

        def slope(y: Floats, x: Floats, above: PsfField = above, below: PsfField = below) -> Floats:
            high, low = (part.images(y=y, x=x, rows=at, columns=at) for part in (above, below))
            return (high - low) / (2.0 * step)

        results.append(_compressed(slope, field.shape, field.order, oversampling))
    return results


def _compressed(
    images: Callable[[Floats, Floats], Floats],
    shape: tuple[int, int],
    order: int,
    oversampling: int,
) -> PsfSamples:
    """Return images that vary over a field as the fewest images times polynomials."""
    n = min(2 * order + 3, _MOST_NODES) if order else 1
    nodes = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    y, x = ((size * (nodes + 1.0) - 1.0) / 2.0 for size in shape)
    grid_y, grid_x = (axis.ravel() for axis in np.meshgrid(y, x, indexing="ij"))
    stack = images(grid_y, grid_x)
    to_terms = np.linalg.inv(np.polynomial.chebyshev.chebvander(nodes, n - 1))
    flat = stack.reshape(n * n, -1)
    powers, vectors = np.linalg.eigh(flat @ flat.T)  # ten times as quick as the decomposition
    missed = np.cumsum(np.maximum(powers, 0.0))
    vectors = vectors[:, np.append(missed[:-1] > _KEPT * missed[-1], True)][:, ::-1]
    basis = (vectors.T @ flat).reshape(-1, *stack.shape[1:])
    factors = vectors.reshape(n, n, -1)
    coefficients = np.einsum("py,yxn,qx->npq", to_terms, factors, to_terms)
    return PsfSamples(basis, coefficients, shape, oversampling)


def _weights(at: Floats, n: int, oversampling: int, spline: Callable[[Floats], Floats]) -> Floats:
    """Return the weights of spline coefficients for pixels in a row, shape ``(m, h, n)``."""
    position = at[:, :1] * oversampling + n // 2
    first = np.floor(position)
    taps = np.arange(-2.0, 4.0)
    # pixels of a star lie a whole number of samples apart: all have the same weights
    values = spline(position - first - taps)
    start = (first + oversampling * np.arange(at.shape[1])).astype(np.intp)
    index = start[..., None] + taps.astype(np.intp)
    slot = np.where((index >= 0) & (index < n), index, n)
    weights = np.zeros((*at.shape, n + 1))
    np.put_along_axis(weights, slot, values[:, None], axis=-1)
    return weights[..., :n]
