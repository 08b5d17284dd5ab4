"""Quantities that vary smoothly over an image, from measurements at stars: polynomials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.chebyshev import n_terms, point_basis

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_GRID = 9  # points along an axis at which the error of a fit is predicted
_MAX_LEVERAGE = 0.999
_STARS_PER_TERM = 2  # and degree


@dataclass(frozen=True, eq=False)
class FieldFit:
    """Polynomials over an image, one for each of several quantities.

    Parameters
    ----------
    coefficients : ndarray of float64, shape (n_terms, m)
        Factors of the terms of `~skytool.core.background.chebyshev.point_basis` for m quantities.
    order : int
        Highest total degree.
    shape : (int, int)
        Shape ``(ny, nx)`` of the image.
    """

    coefficients: Floats
    order: int
    shape: tuple[int, int]

    def at(self, *, y: Floats, x: Floats) -> Floats:
        """Return the quantities at positions [pixel], shape ``(n, m)``."""
        return point_basis(self.order, self.shape, y=y, x=x) @ self.coefficients

    def leverage(
        self, errors: Floats, fitted: NDArray[np.bool_], *, y: Floats, x: Floats
    ) -> Floats:
        """Return by how much every measurement decides on its own prediction, shape ``(n,)``.

        Parameters
        ----------
        errors : ndarray of float64, shape (n,)
            Standard errors.
        fitted : ndarray of bool, shape (n,)
            Which ones the polynomials were fitted to.
        y, x : ndarray of float64, shape (n,)
            Positions [pixel].
        """
        basis = point_basis(self.order, self.shape, y=y, x=x) / errors[:, None]
        covariance = np.linalg.pinv(basis[fitted].T @ basis[fitted])
        return np.einsum("nk,kl,nl->n", basis, covariance, basis)


def fit_field(
    values: Floats,
    errors: Floats,
    *,
    y: Floats,
    x: Floats,
    shape: tuple[int, int],
    order: int,
) -> FieldFit:
    """Fit polynomials to measurements by weighted least squares.

    Parameters
    ----------
    values : ndarray of float64, shape (n, m)
        Measurements of m quantities.
    errors : ndarray of float64, shape (n,)
        Standard error, the same for all quantities of a star.
    y, x : ndarray of float64, shape (n,)
        Positions [pixel].
    shape : (int, int)
        Shape ``(ny, nx)`` of the image.
    order : int
        Highest total degree.
    """
    basis = point_basis(order, shape, y=y, x=x) / errors[:, None]
    solved = np.linalg.lstsq(basis, values / errors[:, None], rcond=None)[0]
    return FieldFit(np.asarray(solved, dtype=np.float64), order, shape)


def joined(parts: Iterable[FieldFit]) -> FieldFit:
    """Return one fit with the quantities of several, which may differ in order."""
    parts = list(parts)
    order = max(part.order for part in parts)
    columns = []
    for part in parts:
        # terms of a lower order are the first of a higher one
        column = np.zeros((n_terms(order), part.coefficients.shape[1]))
        column[: len(part.coefficients)] = part.coefficients
        columns.append(column)
    return FieldFit(np.concatenate(columns, axis=1), order, parts[0].shape)


@dataclass(frozen=True, eq=False)
class OrderTrial:
    """What speaks for or against an order.

    Parameters
    ----------
    order : int
        Highest total degree.
    score : float
        Mean square of the differences between each star and what the others predict, in units of
        their errors.
    worst_error : float
        Standard error of the prediction where it is largest in the image [unit of the values].
    """

    order: int
    score: float
    worst_error: float


def try_orders(
    values: Floats,
    errors: Floats,
    *,
    y: Floats,
    x: Floats,
    shape: tuple[int, int],
    max_order: int,
) -> list[OrderTrial]:
    """Find out how well polynomials of every order predict stars that they have not seen.

    Parameters
    ----------
    values, errors, y, x, shape
        As for `fit_field`.
    max_order : int
        Highest order to try.

    Returns
    -------
    list of OrderTrial
        In ascending order.

    Notes
    -----
    An order is tried with two stars for each of its terms times the order: higher ones are
    uncertain towards corners that have few stars. Leaving out one star needs no new fit: its residual grows by 1 / (1 - h) with the leverage h
    (Allen 1974).
    """
    trials = []
    edges = [np.linspace(-0.5, size - 0.5, _GRID) for size in shape]
    grid_y, grid_x = (axis.ravel() for axis in np.meshgrid(*edges, indexing="ij"))
    for order in range(max_order + 1):
        if len(values) < _STARS_PER_TERM * order * n_terms(order):
            break
        basis = point_basis(order, shape, y=y, x=x) / errors[:, None]
        inverse = np.linalg.pinv(basis)
        leverage = np.minimum(np.einsum("nk,kn->n", basis, inverse), _MAX_LEVERAGE)
        scaled = values / errors[:, None]
        missed = (scaled - basis @ (inverse @ scaled)) / (1.0 - leverage)[:, None]
        score = float(np.mean(missed**2))
        spread = point_basis(order, shape, y=grid_y, x=grid_x) @ inverse
        predicted = np.sqrt(np.max(np.sum(spread**2, axis=1)))
        trials.append(OrderTrial(order, score, float(predicted * max(1.0, np.sqrt(score)))))
    return trials


def best_order(trials: list[OrderTrial], *, tolerance: float) -> int:
    """Return the order that predicts stars best.

    Parameters
    ----------
    trials : list of OrderTrial
        What `try_orders` found.
    tolerance : float
        Largest error of the prediction anywhere in the image [unit of the values]. The lowest
        order is taken where none keeps it.
    """
    certain = [trial for trial in trials if trial.worst_error <= tolerance] or trials[:1]
    return min(certain, key=lambda trial: (trial.score, trial.order)).order
