"""A varying point spread function in the form that filters and fits of point sources use."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.chebyshev import n_terms, term_degrees
from skytool.core.difference.decorrelation import nodes
from skytool.core.difference.source_loops import draw_star
from skytool.core.matching.kernel_basis import SIGMA_TO_FWHM
from skytool.core.matching.spatial_kernel import SpatialKernel, domain_terms, from_triangular
from skytool.core.psf.adaptive_moments import adaptive_moments
from skytool.core.stamps import b_spline

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.matching.spatial_kernel import Domain

    Floats = NDArray[np.float64]

_TOLERANCE = 2e-3  # of the peak: what the polynomials may miss
_POWER_TOLERANCE = 2e-4
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
        domain = whole_image(shape)
        return cls(
            _fitted(stamps, y=y, x=x, domain=domain, max_order=_MAX_ORDER, tolerance=_TOLERANCE)
        )

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

    def simplified(self, tolerance: float = 1e-2) -> SourcePsf:
        """Return stars that vary by fewer terms, right to a part of the peak.

        A filter that is wrong by a part e loses a part of the order of e squared of the
        significance.
        """
        if self.kernel.is_constant:
            return self
        domain = self.kernel.domain
        at = nodes(2 * _MAX_ORDER, domain)
        stamps = self.kernel.at_many(**at)
        return SourcePsf(
            _fitted(stamps, **at, domain=domain, max_order=_MAX_ORDER, tolerance=tolerance)
        )

    @cached_property
    def power(self) -> SpatialKernel:
        """Squares of the star images, fitted as the images are, to 0.02 per cent of the peak."""
        if self.kernel.is_constant:
            return self.kernel.squared()
        order, domain = 2 * _MAX_ORDER, self.kernel.domain
        at = nodes(order, domain)
        squares = np.square(self.kernel.at_many(**at))
        return _fitted(squares, **at, domain=domain, max_order=order, tolerance=_POWER_TOLERANCE)

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


def star_in_window(psf: SourcePsf, window: tuple[slice, slice], *, y: float, x: float) -> Floats:
    """Return a star of flux one and its derivatives by its position in a part of an image.

    Parameters
    ----------
    psf : SourcePsf
        Point spread function.
    window : (slice, slice)
        Rows and columns of the part.
    y, x : float
        Position in the whole image [pixel].

    Returns
    -------
    ndarray of float64, shape (3, h, w)
        Image, derivative by y, derivative by x.
    """
    out = np.zeros((3, *(part.stop - part.start for part in window)))
    row, column = math.floor(y + 0.5), math.floor(x + 0.5)
    star = np.empty((3, *(2 * half + 1 for half in psf.half)))
    factors = psf.factors(y=np.array([y]), x=np.array([x]))[0]
    draw_star(psf.spline, factors, y - row, x - column, star)
    into, out_of = [], []
    for at, half, part, size, length in zip(
        (row, column), psf.half, window, star.shape[1:], out.shape[1:], strict=True
    ):
        first = at - half - part.start
        into.append(slice(max(first, 0), max(min(first + size, length), 0)))
        out_of.append(slice(into[-1].start - first, max(into[-1].stop - first, 0)))
    out[:, into[0], into[1]] = star[:, out_of[0], out_of[1]]
    return out


def whole_image(shape: tuple[int, int]) -> Domain:
    """Return the edges of an image of shape ``(ny, nx)``, for polynomials over it."""
    return (-0.5, shape[0] - 0.5, -0.5, shape[1] - 0.5)


def _fitted(
    stamps: Floats, *, y: Floats, x: Floats, domain: Domain, max_order: int, tolerance: float
) -> SpatialKernel:
    """Return the kernel of the lowest order that is right at all positions to a tolerance."""
    flat = stamps.reshape(len(stamps), -1)
    orders = [n for n in range(max_order + 1) if n == 0 or 2 * n_terms(n) <= len(stamps)]
    for order in orders:
        terms = domain_terms(order, domain, y=y, x=x)
        solved = np.linalg.pinv(terms) @ flat
        if np.abs(terms @ solved - flat).max() <= tolerance * np.abs(flat).max():
            break
    images = from_triangular(np.asarray(solved.T, np.float64), order)
    images = images.reshape(*stamps.shape[1:], order + 1, order + 1)
    return SpatialKernel(images=np.moveaxis(images, (2, 3), (0, 1)), domain=domain)


def _inverse_splines(n: int) -> Floats:
    """Return the symmetric matrix from samples to the coefficients of their spline."""
    at = np.arange(n, dtype=np.float64)
    return np.asarray(np.linalg.inv(b_spline(np.subtract.outer(at, at))), np.float64)


def _middle(half: int, wanted: int) -> slice:
    """Return the pixels of a side within a distance of the middle one."""
    reach = min(half, wanted)
    return slice(half - reach, half + reach + 1)
