r"""How the spectrum of a pixel varies over a band, and what refraction makes of it.

The flux density of a pixel is a sum of polynomials over the band,

.. math:: f(x) = \sum_l c_l P_l(x), \qquad -1 \le x \le 1,

orthogonal with the throughput as weight, so that :math:`c_0` is the flux in the band and the
other coefficients have none. An exposure shows every wavelength at another place; in the Fourier
plane that is a factor for each coefficient, the mean over the band

.. math:: H_l(k) = \sum_m t_m P_l(x_m) e^{-2 \pi i k \cdot d_m}

with the shift :math:`d_m` at wavelength :math:`x_m` and the throughput :math:`t_m`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from skytool.core.dcr.shift import transfer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NODES_PER_SUBFILTER = 8
"""Wavelengths at which the refraction of a subfilter is taken."""


def band_nodes(n_subfilters: int, *, per_subfilter: int = NODES_PER_SUBFILTER) -> Floats:
    """Return wavelengths in a band: the middles of equal parts of every subfilter.

    Returns
    -------
    ndarray of float64, shape (n_subfilters * per_subfilter,)
        From -1 to 1, bluest first.
    """
    n = n_subfilters * per_subfilter
    return (2.0 * np.arange(n) + 1.0) / n - 1.0


@dataclass(frozen=True, eq=False)
class BandBasis:
    """Polynomials over a band that is divided into subfilters of equal width.

    Parameters
    ----------
    values : ndarray of float64, shape (n_terms, n_nodes)
        Throughput times polynomial at the nodes; the first row has the sum one, others zero.
    integrals : ndarray of float64, shape (n_subfilters, n_terms)
        Flux of each polynomial in each subfilter.
    """

    values: Floats
    integrals: Floats

    @classmethod
    def polynomials(
        cls, n_subfilters: int, n_terms: int, *, throughput: Floats | None = None
    ) -> Self:
        """Return the first polynomials, of which each is 1 at the red end of a flat band.

        Parameters
        ----------
        n_subfilters : int
            Number of subfilters.
        n_terms : int
            Number of polynomials, at most as many.
        throughput : ndarray of float64, shape (n_nodes,), optional
            Relative throughput at `band_nodes`; the same everywhere by default.

        Raises
        ------
        ValueError
            If there are no subfilters or more polynomials than subfilters.
        """
        if not 1 <= n_terms <= n_subfilters:
            raise ValueError(f"{n_terms} polynomials do not fit to {n_subfilters} subfilters")
        x = band_nodes(n_subfilters)
        weight = np.ones_like(x) if throughput is None else np.asarray(throughput, np.float64)
        weight = weight / weight.sum()
        basis = np.polynomial.legendre.legvander(x, n_terms - 1).T
        for term in range(1, n_terms):  # orthogonal under the throughput (Gram-Schmidt)
            for below in basis[:term]:
                overlap = (weight * below * basis[term]).sum() / (weight * below**2).sum()
                basis[term] -= overlap * below
        return cls._of(basis * weight, n_subfilters)

    @classmethod
    def steps(cls, n_subfilters: int) -> Self:
        """Return spectra that are flat within one subfilter and zero in all others."""
        nodes = band_nodes(n_subfilters).size
        owner = np.arange(nodes) * n_subfilters // nodes
        values = (owner == np.arange(n_subfilters)[:, None]) / (nodes / n_subfilters)
        return cls._of(values, n_subfilters)

    @classmethod
    def _of(cls, values: Floats, n_subfilters: int) -> Self:
        per_subfilter = values.reshape(len(values), n_subfilters, -1)
        return cls(values, per_subfilter.sum(axis=-1).T)

    @property
    def n_terms(self) -> int:
        """Number of functions."""
        return len(self.values)

    @property
    def n_subfilters(self) -> int:
        """Number of subfilters."""
        return len(self.integrals)

    def cardinal(self) -> BandBasis:
        """Return the same spectra by their fluxes in the subfilters.

        Function a has flux one in subfilter a and none in the others; there are as many as
        subfilters only if there were as many functions.

        Raises
        ------
        ValueError
            If the functions are fewer than the subfilters.
        """
        if self.n_terms != self.n_subfilters:
            raise ValueError(f"{self.n_terms} functions for {self.n_subfilters} subfilters")
        return BandBasis(np.linalg.inv(self.integrals).T @ self.values, np.eye(self.n_subfilters))


def transfers(
    shape: tuple[int, int], basis: BandBasis, dy: Floats, dx: Floats
) -> NDArray[np.complex64]:
    """Return what an exposure does to every function of a basis, in the Fourier plane.

    Parameters
    ----------
    shape : tuple of int
        Shape ``(ny, nx)`` of the padded images, by `~skytool.core.dcr.shift.padded_shape`.
    basis : BandBasis
        The functions.
    dy, dx : ndarray of float64, shape (n_nodes,)
        Displacement of the image at each node [pixel].

    Returns
    -------
    ndarray of complex64, shape (n_terms, ny, nx // 2 + 1)
        Factors of the coefficients of ``rfft2``.
    """
    return np.stack(
        [transfer(shape, dy, dx, values).astype(np.complex64) for values in basis.values]
    )
