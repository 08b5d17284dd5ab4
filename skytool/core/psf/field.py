"""The point spread function of an image as it is fitted: a Moffat function and what it misses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.chebyshev import point_basis
from skytool.core.psf.moffat import moffat_images, moment_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.psf.field_fit import FieldFit
    from skytool.core.psf.rings import Rings

    Floats = NDArray[np.float64]

_LARGEST_ELONGATION = 0.9
_WIDE = 1.1  # [pixel] radius from which two points along an axis are enough for a pixel


@dataclass(frozen=True, eq=False)
class Rest:
    """What is added to the Moffat function: rings whose factors are polynomials of the position.

    Parameters
    ----------
    rings : Rings
        The functions.
    factors : ndarray of float64, shape (n_terms, n_functions)
        Factors of every term.
    order : int
        Highest total degree of the terms.
    """

    rings: Rings
    factors: Floats
    order: int


@dataclass(frozen=True, eq=False)
class PsfField:
    """A point spread function that varies over an image.

    Parameters
    ----------
    form : FieldFit
        Logarithm of the radius [pixel], and half of e1 and of e2, of the adaptive moments of the
        Moffat function.
    beta : float
        Its exponent.
    rest : Rest or None
        What is added to it.
    """

    form: FieldFit
    beta: float
    rest: Rest | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of the image."""
        return self.form.shape

    @property
    def radius(self) -> float:
        """Adaptive radius in the middle of the image [pixel]."""
        y, x = (np.array([(size - 1) / 2]) for size in self.shape)
        return float(np.exp(self.form.at(y=y, x=x)[0, 0]))

    @property
    def order(self) -> int:
        """Highest order with which any of its parts varies over the image."""
        return max(self.form.order, self.rest.order if self.rest else 0)

    def moments(self, *, y: Floats, x: Floats) -> Floats:
        """Return the adaptive moments ``yy, xx, xy`` of the Moffat function, shape ``(3, n)``."""
        log_radius, half_e1, half_e2 = self.form.at(y=y, x=x).T
        size = 2.0 * np.hypot(half_e1, half_e2)
        limit = np.minimum(1.0, _LARGEST_ELONGATION / np.maximum(size, 1e-300))
        return moment_matrix(np.exp(log_radius), 2.0 * limit * half_e1, 2.0 * limit * half_e2)

    def images(self, *, y: Floats, x: Floats, rows: Floats, columns: Floats) -> Floats:
        """Return stars at positions.

        Parameters
        ----------
        y, x : ndarray of float64, shape (n,)
            Positions in the image [pixel].
        rows, columns : ndarray of float64, shape (h,) and (w,)
            Where values are wanted, from the centre of the stars [pixel].

        Returns
        -------
        ndarray of float64, shape (n, h, w)
            Light per pixel of a star of flux one.
        """
        moments = self.moments(y=y, x=x)
        along_y, along_x = (np.broadcast_to(line, (y.size, line.size)) for line in (rows, columns))
        stars = self._integrated(moments, along_y, along_x)
        if self.rest is None:
            return stars
        terms = point_basis(self.rest.order, self.shape, y=y, x=x)
        factors = terms @ self.rest.factors
        return stars + self.rest.rings.sums(factors, moments, rows=along_y, columns=along_x)

    def _integrated(self, moments: Floats, rows: Floats, columns: Floats) -> Floats:
        """Return the Moffat functions integrated over pixels, shape ``(n, h, w)``."""
        points, weights = np.polynomial.legendre.leggauss(2 if self.radius > _WIDE else 3)
        stars = np.zeros((len(rows), rows.shape[1], columns.shape[1]))
        for dy, along_y in zip(0.5 * points, 0.5 * weights, strict=True):
            for dx, along_x in zip(0.5 * points, 0.5 * weights, strict=True):
                part = moffat_images(moments, self.beta, rows=rows + dy, columns=columns + dx)
                stars += along_y * along_x * part
        return stars

    def with_form_moved(self, quantity: int, step: float) -> PsfField:
        """Return the same with one of the quantities of its form larger by a step everywhere."""
        coefficients = self.form.coefficients.copy()
        coefficients[0, quantity] += step
        return replace(self, form=replace(self.form, coefficients=coefficients))
