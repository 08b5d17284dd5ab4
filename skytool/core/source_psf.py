"""A varying point spread function in the form that filters and fits of point sources use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.adaptive_moments import adaptive_moments
from skytool.core.chebyshev import n_terms, term_degrees
from skytool.core.kernel_basis import SIGMA_TO_FWHM
from skytool.core.spatial_kernel import SpatialKernel, domain_terms, from_triangular
from skytool.core.stamps import b_spline

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_TOLERANCE = 2e-3  # of the peak: what the polynomials may miss
_MAX_ORDER = 3
_MARGIN = 3  # [pixel] that the splines need around a stamp


@dataclass(frozen=True, eq=False)
class SourcePsf:
    """Star images that are polynomials of the position.

    Parameters
    ----------
    kernel : SpatialKernel
        Star images of sum one, centred on the middle pixel; its domain is the image.
    """

    kernel: SpatialKernel

    @classmethod
    def fit(cls, stamps: Floats, *, y: Floats, x: Floats, shape: tuple[int, int]) -> SourcePsf:
        """Fit star images at positions by the lowest sufficient order.

        Parameters
        ----------
        stamps : ndarray of float64, shape (n, h, w)
            Star images of sum one, sides odd.
        y, x : ndarray of float64, shape (n,)
            Their positions [pixel].
        shape : (int, int)
            Shape ``(ny, nx)`` of the image.

        Returns
        -------
        SourcePsf
            Of the lowest order that is right to 0.2 per cent of the peak at every position, at
            most of order 3, and of no more terms than half the positions.
        """
        ny, nx = shape
        domain = (-0.5, ny - 0.5, -0.5, nx - 0.5)
        flat = stamps.reshape(len(stamps), -1)
        orders = [n for n in range(_MAX_ORDER + 1) if n == 0 or 2 * n_terms(n) <= len(stamps)]
        for order in orders:
            terms = domain_terms(order, domain, y=y, x=x)
            solved, *_ = np.linalg.lstsq(terms, flat, rcond=None)
            if np.abs(terms @ solved - flat).max() <= _TOLERANCE * np.abs(flat).max():
                break
        images = from_triangular(np.asarray(solved.T, np.float64), order).reshape(
            *stamps.shape[1:], order + 1, order + 1
        )
        return cls(SpatialKernel(images=np.moveaxis(images, (2, 3), (0, 1)), domain=domain))

    @property
    def half(self) -> tuple[int, int]:
        """Pixels ``(y, x)`` from the middle of a stamp to its edge."""
        return self.kernel.half

    @cached_property
    def middle(self) -> Floats:
        """Star in the middle of the image, shape ``(h, w)``."""
        y_start, y_stop, x_start, x_stop = self.kernel.domain
        return self.kernel.at(y=0.5 * (y_start + y_stop), x=0.5 * (x_start + x_stop))

    @cached_property
    def sigma(self) -> float:
        """Standard deviation of the round Gaussian like the star in the middle [pixel].

        By adaptive moments; for a star too narrow for them, from the area ``1 / sum P^2``.
        """
        try:
            return float(adaptive_moments(self.middle).determinant_radius)
        except ValueError:
            return float(np.sqrt(self.area / (4.0 * np.pi)))

    @property
    def fwhm(self) -> float:
        """Full width at half maximum of that Gaussian [pixel]."""
        return SIGMA_TO_FWHM * self.sigma

    @property
    def area(self) -> float:
        """Effective area ``(sum P)^2 / sum P^2`` of the star in the middle [pixel]."""
        return float(self.middle.sum() ** 2 / np.square(self.middle).sum())

    def trimmed(self, loss: float = 1e-4) -> SourcePsf:
        """Return stars on the smallest square stamp that keeps nearly all of their significance.

        Parameters
        ----------
        loss : float
            Part of ``sum P^2`` that may be cut off. Images are not normalised again: a fit on
            the small stamp still gives the whole flux.
        """
        power = np.square(self.kernel.images).sum(axis=(0, 1))
        (half_y, half_x), total = self.half, power.sum()
        for half in range(1, max(half_y, half_x)):
            rows, columns = _middle(half_y, half), _middle(half_x, half)
            if power[rows, columns].sum() >= (1.0 - loss) * total:
                images = self.kernel.images[:, :, rows, columns]
                return SourcePsf(replace(self.kernel, images=images))
        return self

    def widened(self, half: int) -> SourcePsf:
        """Return stars on stamps of at least a half side, filled up with zeros."""
        pad = [max(half - side, 0) for side in self.half]
        widths = ((0, 0), (0, 0), (pad[0], pad[0]), (pad[1], pad[1]))
        return SourcePsf(replace(self.kernel, images=np.pad(self.kernel.images, widths)))

    @cached_property
    def spline(self) -> Floats:
        """Spline coefficients of the images of `factors`, shape ``(n, h + 6, w + 6)``."""
        n_p, n_q, h, w = self.kernel.images.shape
        basis = self.kernel.images.reshape(n_p * n_q, h, w)[self._used]
        padded = np.pad(basis, ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN)))
        along_y, along_x = (_inverse_splines(n) for n in padded.shape[1:])
        return np.ascontiguousarray(along_y @ padded @ along_x)

    @cached_property
    def _used(self) -> NDArray[np.bool_]:
        """Which products of polynomials the stars have, shape ``(n_p n_q,)``."""
        n_p, n_q = self.kernel.images.shape[:2]
        used = np.zeros((n_p, n_q), np.bool_)
        used[tuple(term_degrees(max(n_p, n_q) - 1).T)] = True
        return (used & np.any(self.kernel.images, axis=(2, 3))).ravel()

    def factors(self, *, y: Floats, x: Floats) -> Floats:
        """Return the factors of the images of `spline` at positions [pixel], shape ``(m, n)``."""
        y_start, y_stop, x_start, x_stop = self.kernel.domain
        rows = self.kernel.rows(np.clip(y, y_start, y_stop))
        columns = self.kernel.columns(np.clip(x, x_start, x_stop))
        terms = rows[:, :, None] * columns[:, None, :]
        return np.ascontiguousarray(terms.reshape(len(rows), self._used.size)[:, self._used])


def fitting_places(shape: tuple[int, int], n: int = 5) -> tuple[Floats, Floats]:
    """Return positions at which star images determine their polynomials.

    Parameters
    ----------
    shape : (int, int)
        Shape ``(ny, nx)`` of the image.
    n : int
        Positions along an axis.

    Returns
    -------
    y, x : ndarray of float64, shape (n * n,)
        Products of Chebyshev nodes over the pixel edges [pixel].
    """
    nodes = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    y, x = np.meshgrid(*((side * (nodes + 1.0) - 1.0) / 2.0 for side in shape), indexing="ij")
    return y.ravel(), x.ravel()


def _inverse_splines(n: int) -> Floats:
    """Return the symmetric matrix from samples to the coefficients of their spline."""
    at = np.arange(n, dtype=np.float64)
    return np.asarray(np.linalg.inv(b_spline(np.subtract.outer(at, at))), np.float64)


def _middle(half: int, wanted: int) -> slice:
    """Return the pixels of a side within a distance of the middle one."""
    reach = min(half, wanted)
    return slice(half - reach, half + reach + 1)
