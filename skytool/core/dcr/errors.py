r"""Noise of sky images over a band, from the system that they solve.

Where brightness and coverage change little over the size of a star, the solution is a filter of
the data with one small matrix for each frequency,

.. math:: X(k) = (\gamma C(k) + P(k))^{-1},

with the data's matrix C, the coverage :math:`\gamma` and the precision P known beforehand. What
noise of the data does to it has the covariance :math:`X \gamma C X`, averaged over frequencies. It
is tabulated for some brightnesses and coverages, and interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Image = NDArray[np.float32]

SAMPLES = (63, 63)
"""Frequencies along y and x that averages are taken over; odd, as those of the images."""

_LEVELS = 12
_HALVINGS = 6


@dataclass(frozen=True, eq=False)
class NoiseTable:
    """Covariance of the coefficients of a pixel.

    Parameters
    ----------
    levels : ndarray of float64, shape (n_levels,)
        Logarithms of brightness, evenly spaced.
    covariance : ndarray of float64, shape (n_levels, n_coverages, n_terms, n_terms)
        Covariance for brightness and for coverages 1, 1/2, 1/4 ...
    """

    levels: Floats
    covariance: Floats

    def variance(
        self, left: Floats, right: Floats, brightness: Image, coverage: Image
    ) -> NDArray[np.float64]:
        """Return the covariance of two sums of coefficients.

        Parameters
        ----------
        left, right : ndarray of float64, shape (n_terms,)
            Factors of the coefficients in the sums.
        brightness : ndarray of float32, shape (ny, nx)
            Brightness.
        coverage : ndarray of float32, shape (ny, nx)
            Weight of the data at each pixel, relative to that of all exposures.
        """
        table = np.einsum("a,ijab,b->ij", left, self.covariance, right)
        step = self.levels[1] - self.levels[0]
        row = (np.log(brightness) - self.levels[0]) / step
        column = -np.log2(np.maximum(coverage, 2.0 ** -(_HALVINGS - 1)))
        return _bilinear(table, row, column)


def noise_table(
    transfers: Sequence[NDArray[np.complex64]],
    weights: Sequence[float],
    amplitudes: Sequence[float],
    coherence: Image,
    flux_precision: Image,
    limits: tuple[float, float],
) -> NoiseTable:
    """Return the noise of solutions of `~skytool.core.dcr.lsq.DcrSystem`.

    Parameters
    ----------
    transfers : sequence of ndarray of complex64, shape (n_terms, ny, nx // 2 + 1)
        What each exposure does to each coefficient, of odd ``nx``.
    weights : sequence of float
        Weight of each exposure [1 / variance].
    amplitudes : sequence of float
        Usual size of every coefficient but the first, relative to the brightness.
    coherence, flux_precision : ndarray of float32, shape (ny, nx // 2 + 1)
        The priors.
    limits : (float, float)
        Smallest and largest brightness.
    """
    data = _matrices(transfers, weights)
    low, high = np.log(limits[0]), np.log(max(limits[1], limits[0] * 1.01))
    levels = np.linspace(low, high, _LEVELS)
    # columns but the first stand for two frequencies each
    share = np.full(flux_precision.shape, 2.0)
    share[:, 0] = 1.0
    share /= share.sum()
    n_terms = len(amplitudes) + 1
    covariance = np.empty((_LEVELS, _HALVINGS, n_terms, n_terms))
    for i, level in enumerate(levels):
        spread = np.stack(
            [
                1.0 / np.sqrt(flux_precision.astype(np.float64)),
                *(size * np.exp(level) * coherence.astype(np.float64) for size in amplitudes),
            ],
            axis=-1,
        )
        for j in range(_HALVINGS):
            covariance[i, j] = _covariance(data * 0.5**j, spread, share)
    return NoiseTable(levels, covariance)


def _matrices(
    transfers: Sequence[NDArray[np.complex64]], weights: Sequence[float]
) -> NDArray[np.complex128]:
    """Return the matrix of the data at every frequency."""
    rows = np.moveaxis(np.stack(transfers), 1, -1).astype(np.complex128)
    return np.asarray(np.einsum("i,iyxa,iyxb->yxab", weights, rows.conj(), rows))


def _covariance(data: NDArray[np.complex128], spread: Floats, share: Floats) -> Floats:
    """Return the covariance for one brightness and coverage; ``spread`` is the prior's."""
    whitened = spread[..., :, None] * data * spread[..., None, :]
    inverse = np.linalg.inv(whitened + np.eye(spread.shape[-1]))
    noise = inverse @ whitened @ inverse
    noise = spread[..., :, None] * noise * spread[..., None, :]
    return np.asarray(np.einsum("yx,yxab->ab", share, noise.real))


def _bilinear(table: Floats, row: Floats, column: Floats) -> Floats:
    """Return a table between its entries; beyond its ends it is constant."""
    y = np.clip(row, 0.0, table.shape[0] - 1.0)
    x = np.clip(column, 0.0, table.shape[1] - 1.0)
    i = np.minimum(y.astype(np.intp), table.shape[0] - 2)
    j = np.minimum(x.astype(np.intp), table.shape[1] - 2)
    y, x = y - i, x - j
    above = table[i, j] * (1.0 - x) + table[i, j + 1] * x
    below = table[i + 1, j] * (1.0 - x) + table[i + 1, j + 1] * x
    return np.asarray(above * (1.0 - y) + below * y)
