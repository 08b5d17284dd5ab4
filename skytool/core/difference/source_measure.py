"""Fluxes, positions and apertures of point sources."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.core.difference.source_loops import N_SUMS, aperture_sums, point_sums

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytool.core.difference.source_psf import SourcePsf

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

_ITERATIONS = 6
_STEP = 0.5  # [pixel] that a position may move in one iteration
_SETTLED = 0.02  # [pixel]
_ROUNDING = 1e-6  # of the area of a circle
_MOST_MISSING = 0.5  # of the sum of squares of a star, before a flux means nothing


class Pixels(NamedTuple):
    """Pixels to measure on; shape ``(ny, nx)``.

    Parameters
    ----------
    image, variance : ndarray of float32
        White noise of this variance, and sources.
    good : ndarray of bool
        Which pixels count; `usable` says which can.
    """

    image: NDArray[np.float32]
    variance: NDArray[np.float32]
    good: Flags

    @classmethod
    def usable(
        cls, image: NDArray[np.floating], variance: NDArray[np.floating], bad: Flags
    ) -> Pixels:
        """Return pixels that are not bad, with finite values and a positive variance."""
        good = np.isfinite(image) & np.isfinite(variance) & ~bad
        np.logical_and(good, variance > 0.0, out=good, where=good)
        return cls(
            np.ascontiguousarray(image, np.float32),
            np.ascontiguousarray(variance, np.float32),
            good,
        )


@dataclass(frozen=True, eq=False)
class PointFluxes:
    """Fluxes by the PSF; arrays of shape ``(n,)``.

    Parameters
    ----------
    flux, error : ndarray of float64
        Flux of least squares and its standard deviation [unit of the image]; NaN without pixels.
    area : ndarray of float64
        Effective area of the whole star, ``1 / sum P^2`` [pixel].
    chi2 : ndarray of float64
        Squared misfit over the stamp, in units of the variance.
    n_pixels : ndarray of int
        Number of pixels of the stamp that were used.
    missing : ndarray of float64
        Part of ``sum P^2`` on pixels that were not.
    edge : ndarray of bool
        Whether the stamp reaches beyond the image.
    """

    flux: Floats
    error: Floats
    area: Floats
    chi2: Floats
    n_pixels: NDArray[np.int64]
    missing: Floats
    edge: Flags

    @property
    def failed(self) -> Flags:
        """Which fluxes rest on less than half of the star, or on nothing."""
        return np.asarray(~np.isfinite(self.flux) | (self.missing > _MOST_MISSING))


@dataclass(frozen=True, eq=False)
class Positions:
    """Positions by the PSF; arrays of shape ``(n,)``.

    Parameters
    ----------
    y, x : ndarray of float64
        Position [pixel].
    y_error, x_error : ndarray of float64
        Standard deviation [pixel].
    failed : ndarray of bool
        Which ones did not converge near the peak; they have the position of the peak.
    """

    y: Floats
    x: Floats
    y_error: Floats
    x_error: Floats
    failed: Flags


class _Sums(NamedTuple):
    sums: Floats
    counts: NDArray[np.int64]


def point_fluxes(pixels: Pixels, psf: SourcePsf, *, y: ArrayLike, x: ArrayLike) -> PointFluxes:
    """Measure the flux of point sources at given positions.

    Parameters
    ----------
    pixels : Pixels
        Where.
    psf : SourcePsf
        Point spread function.
    y, x : array_like of float, shape (n,)
        Positions [pixel].

    Returns
    -------
    PointFluxes
        By ``F = sum P D / sum P^2`` with ``var F = sum P^2 V / (sum P^2)^2`` over good pixels.
    """
    at_y, at_x = np.asarray(y, np.float64), np.asarray(x, np.float64)
    sums, counts = _summed(pixels, psf, at_y, at_x)
    with np.errstate(invalid="ignore", divide="ignore"):
        flux = sums[:, 6] / sums[:, 0]
        error = np.sqrt(sums[:, 9]) / sums[:, 0]
        area = np.where(sums[:, 16] > 0.0, 1.0 / sums[:, 16], np.nan)
        chi2 = sums[:, 15] - 2.0 * flux * sums[:, 17] + flux**2 * sums[:, 18]
        missing = np.where(sums[:, 16] > 0.0, 1.0 - sums[:, 0] / sums[:, 16], 1.0)
    n_stamp = math.prod(2 * half + 1 for half in psf.half)
    return PointFluxes(flux, error, area, chi2, counts[:, 0], missing, counts[:, 1] < n_stamp)


def point_positions(
    pixels: Pixels, psf: SourcePsf, *, y: ArrayLike, x: ArrayLike, reach: float
) -> Positions:
    """Fit the positions of point sources.

    Parameters
    ----------
    pixels, psf : Pixels, SourcePsf
        Pixels and point spread function.
    y, x : array_like of float, shape (n,)
        First positions, such as peaks of the score [pixel].
    reach : float
        How far from there the source may be [pixel].

    Returns
    -------
    Positions
        By least squares of flux and position together, in Gauss-Newton steps of at most half a
        pixel. The errors are those of pixels of the given variance.
    """
    first = np.stack([np.asarray(y, np.float64), np.asarray(x, np.float64)], axis=1)
    now, step = first.copy(), np.full(first.shape, np.inf)
    for _ in range(_ITERATIONS):
        moving = np.hypot(*step.T) >= 1e-3
        if not moving.any():
            break
        sums = _summed(pixels, psf, *now[moving].T).sums
        solved = _solved(sums[:, :6], sums[:, 6:9])
        with np.errstate(invalid="ignore", divide="ignore"):
            move = solved[:, 1:] / solved[:, :1]
        length = np.hypot(*move.T)[:, None]
        move *= np.minimum(1.0, _STEP / np.maximum(length, _STEP))
        move[~np.isfinite(move)] = 0.0
        now[moving] += move
        step[moving] = move
    failed = (np.hypot(*(now - first).T) > reach) | (np.hypot(*step.T) > _SETTLED)
    now[failed] = first[failed]
    sums = _summed(pixels, psf, *now.T).sums
    error = _position_error(sums)
    failed |= ~np.isfinite(error).all(axis=1)
    return Positions(now[:, 0], now[:, 1], error[:, 0], error[:, 1], failed)


def aperture_fluxes(
    pixels: Pixels, *, y: ArrayLike, x: ArrayLike, radius: float
) -> tuple[Floats, Floats, Flags]:
    """Sum the pixels within circles.

    Returns
    -------
    flux, error : ndarray of float64, shape (n,)
        Sum and its standard deviation [unit of the image].
    incomplete : ndarray of bool, shape (n,)
        Which circles hold pixels that do not count, or reach beyond the image.
    """
    at_y, at_x = np.asarray(y, np.float64), np.asarray(x, np.float64)
    sums = np.zeros((at_y.size, 3))
    aperture_sums(*pixels, at_y, at_x, float(radius), sums)
    incomplete = sums[:, 2] < (1.0 - _ROUNDING) * math.pi * radius**2
    return sums[:, 0], np.sqrt(sums[:, 1]), incomplete


def _summed(pixels: Pixels, psf: SourcePsf, y: Floats, x: Floats) -> _Sums:
    sums, counts = np.zeros((y.size, N_SUMS)), np.zeros((y.size, 2), np.int64)
    y, x = np.ascontiguousarray(y), np.ascontiguousarray(x)
    point_sums(*pixels, psf.spline, psf.factors(y=y, x=x), y, x, sums, counts)
    return _Sums(sums, counts)


def _matrices(terms: Floats) -> Floats:
    """Return symmetric matrices, shape ``(n, 3, 3)``, from their upper triangles."""
    return terms[:, [[0, 1, 2], [1, 3, 4], [2, 4, 5]]]


def _inverses(terms: Floats) -> Floats:
    """Return the inverses of symmetric matrices; zero where there is none."""
    matrices = _matrices(terms)
    singular = ~(np.abs(np.linalg.det(matrices)) > 0.0)
    matrices[singular] = np.eye(3)
    inverses = np.linalg.inv(matrices)
    inverses[singular] = 0.0
    return np.asarray(inverses, np.float64)


def _solved(terms: Floats, right: Floats) -> Floats:
    """Return flux and flux times step, shape ``(n, 3)``."""
    return np.einsum("nij,nj->ni", _inverses(terms), right)


def _position_error(sums: Floats) -> Floats:
    """Return the standard deviations of y and x, shape ``(n, 2)``, NaN where there are none."""
    inverse = _inverses(sums[:, :6])
    covariance = inverse @ _matrices(sums[:, 9:15]) @ inverse
    with np.errstate(invalid="ignore", divide="ignore"):
        flux = (inverse @ sums[:, 6:9, None])[:, :1, 0]
        error = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)[:, 1:]) / np.abs(flux)
    return np.where(error > 0.0, error, np.nan)
