r"""Noise of sky images over a band, from the system that they solve.

Where brightness and coverage change little over the size of a star, the solution is a filter of
the data with one small matrix for each frequency,

.. math:: X(k) = (\gamma C(k) + P(k))^{-1},

with the data's matrix C, the coverage :math:`\gamma` and the precision P known beforehand. What
noise of the data does to it has the covariance :math:`X \gamma C X`, averaged over frequencies. It
is tabulated for some brightnesses and coverages, and interpolated.

Within a star brightness does change over its size. What a solution makes of noise alone tells by
how much the covariance is another for each brightness.
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

_HALVINGS = 6
_LEVELS = 12


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

    def calibrated(
        self, noise: Image, scale: Image, brightness: Image, covered: NDArray[np.bool_]
    ) -> NoiseTable:
        """Return the table with the covariance that a solution of noise has.

        Parameters
        ----------
        noise : ndarray of float32, shape (n_terms, ny, nx)
            Coefficients that follow from noise alone.
        scale : ndarray of float32, shape (ny, nx)
            Variance of the noise, relative to that which the table is for.
        brightness : ndarray of float32, shape (ny, nx)
            Brightness.
        covered : ndarray of bool, shape (ny, nx)
            Pixels that all exposures cover.
        """
        pixels = (noise[:, covered] / np.sqrt(scale[covered])).astype(np.float64)
        nearest = _nearest(brightness[covered], self.levels)
        n_levels, n_terms = len(self.levels), len(noise)
        size = np.trace(self.covariance, axis1=-2, axis2=-1)[..., None, None]
        # without refraction colours have no noise at all, only their prior
        roots = np.linalg.cholesky(self.covariance + _TINY * size * np.eye(n_terms))
        sums = np.zeros((n_levels, n_terms, n_terms))
        counts = np.bincount(nearest, minlength=n_levels).astype(np.float64)
        for level in np.flatnonzero(counts):
            white = np.linalg.solve(roots[level, 0], pixels[:, nearest == level])
            sums[level] = white @ white.T
        sums += _TRUSTED * np.eye(n_terms)
        counts += _TRUSTED
        for array in (sums, counts):  # levels beside each other are much alike
            beside = 0.2 * array
            array[1:] += beside[:-1]
            array[:-1] += beside[1:]
        ratio = (sums / counts[:, None, None])[:, None]
        return NoiseTable(self.levels, roots @ ratio @ np.swapaxes(roots, -1, -2))


_TINY = 1e-9

_TRUSTED = 2.0  # pixels of a solution of noise that tell as much as the calculation


def noise_table(
    transfers: Sequence[NDArray[np.complex64]],
    weights: Sequence[float],
    amplitudes: Sequence[float],
    coherence: Image,
    sharpener: Image,
    levels: Floats,
    spreads: Floats,
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
    coherence, sharpener : ndarray of float32, shape (ny, nx // 2 + 1)
        Filters of the priors.
    levels : ndarray of float64, shape (n_levels,)
        Logarithms of brightness, evenly spaced.
    spreads : ndarray of float64, shape (n_levels,)
        Usual size of the pixels of the flux without PSF, where it is so bright.
    """
    data = _matrices(transfers, weights)
    # columns but the first stand for two frequencies each
    share = np.full(sharpener.shape, 2.0)
    share[:, 0] = 1.0
    share /= share.sum()
    n_terms = len(amplitudes) + 1
    covariance = np.empty((len(levels), _HALVINGS, n_terms, n_terms))
    for i, (level, size) in enumerate(zip(levels, spreads, strict=True)):
        spread = np.stack(
            [
                size / sharpener.astype(np.float64),
                *(part * np.exp(level) * coherence.astype(np.float64) for part in amplitudes),
            ],
            axis=-1,
        )
        for j in range(_HALVINGS):
            covariance[i, j] = _covariance(data * 0.5**j, spread, share)
    return NoiseTable(levels, covariance)


def spread_levels(brightness: Image, spread: Image) -> tuple[Floats, Floats]:
    """Return levels of brightness and what the spread of flux usually is at them.

    Parameters
    ----------
    brightness, spread : ndarray of float32, shape (ny, nx)
        Brightness of pixels and the spread of their flux without PSF.

    Returns
    -------
    pair of ndarray of float64, shape (n_levels,)
        Logarithms of brightness, evenly spaced, and spreads.
    """
    low = np.log(float(brightness.min()))
    levels = np.linspace(low, max(np.log(float(brightness.max())), low + 0.01), _LEVELS)
    nearest = _nearest(brightness.ravel(), levels)
    count = np.bincount(nearest, minlength=_LEVELS)
    sums = np.bincount(nearest, np.log(spread).ravel(), minlength=_LEVELS)
    known = count > 0
    return levels, np.exp(np.interp(levels, levels[known], sums[known] / count[known]))


def _nearest(brightness: NDArray[np.float32], levels: Floats) -> NDArray[np.intp]:
    """Return the level that each brightness is next to."""
    places = np.rint((np.log(brightness) - levels[0]) / (levels[1] - levels[0]))
    return np.clip(places, 0, len(levels) - 1).astype(np.intp)


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
