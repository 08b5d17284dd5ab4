"""Least-squares fits of Chebyshev polynomials to the values of cells, and the choice of order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.chebyshev import ChebyshevModel, n_terms, point_basis, term_degrees
from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytool.core.statistics import Clip

    Floats = NDArray[np.float64]

_DEPENDENT = 1e-12  # what rounding can make of zero: ratio of singular values, spread of terms

MAD_TO_SIGMA = 1.482602218505602  # 1 / (sqrt(2) erfinv(1/2)), for a normal distribution


@dataclass(frozen=True, eq=False)
class ChebyshevFit:
    """A fitted surface and how well it is determined.

    Parameters
    ----------
    model : ChebyshevModel
        The surface.
    covariance : ndarray of float64, shape (n_terms, n_terms)
        Covariance of the factors of the terms, in the order of `term_degrees`, if the weights are
        inverse variances [unit of image squared].
    residual : ndarray of float64
        Values less the model, of the shape of the values; NaN where there is no value.
    used : ndarray of bool
        Which values entered; of the same shape.
    chi2 : float
        Weighted sum of the squared residuals of these.
    dof : int
        Their number less the number of terms.
    rank : int
        Number of terms: fits that do not determine all of them are refused.
    condition : float
        Ratio of the extreme singular values of the weighted design matrix, for combinations of
        the terms that are orthonormal where the cells have pixels: how much worse the cells
        determine one of them than another. Below ten for enough cells, above a hundred where a
        term hides within the cells.
    """

    model: ChebyshevModel
    covariance: Floats
    residual: Floats
    used: NDArray[np.bool_]
    chi2: float
    dof: int
    rank: int
    condition: float

    @property
    def reduced_chi2(self) -> float:
        """Chi-square per degree of freedom; NaN if there is none."""
        return self.chi2 / self.dof if self.dof > 0 else math.nan

    def variance_model(self) -> ChebyshevModel:
        """Return the variance of the surface, a polynomial of twice its order.

        Exact: with the covariance C of the factors the variance is
        ``sum(C[a, b] * T_a * T_b)``, and ``T_m T_n = (T_(m + n) + T_|m - n|) / 2``.
        """
        order = self.model.coefficients.shape[0] - 1
        p, q = term_degrees(order).T
        coefficients = np.zeros((2 * order + 1, 2 * order + 1))
        p_sums = (np.add.outer(p, p), np.abs(np.subtract.outer(p, p)))
        q_sums = (np.add.outer(q, q), np.abs(np.subtract.outer(q, q)))
        for p_sum in p_sums:
            for q_sum in q_sums:
                np.add.at(coefficients, (p_sum, q_sum), self.covariance / 4)
        return ChebyshevModel(
            coefficients, self.model.shape, self.model.y_range, self.model.x_range
        )


def chebyshev_fit(
    values: ArrayLike,
    basis: ArrayLike,
    *,
    order: int,
    shape: tuple[int, int],
    weights: ArrayLike | None = None,
    clip: Clip | None = None,
    max_condition: float = 50.0,
) -> ChebyshevFit:
    r"""Fit a Chebyshev surface to values, for instance those of cells.

    Parameters
    ----------
    values : array_like of float, any shape
        Values; those that are not finite are left out.
    basis : array_like of float, shape (*values.shape, n)
        All terms for each value: at a position (`point_basis`), or averaged over the pixels that
        the value stands for (`cell_basis`). More terms than `order` needs are ignored.
    order : int
        Highest total degree.
    shape : (int, int)
        Shape ``(ny, nx)`` of the image.
    weights : array_like of float, same shape as `values`, optional
        Weights of the squared residuals, inverse variances for the best result; values without a
        positive, finite weight are left out. All equal if not given.
    clip : Clip, optional
        Leave out values whose weighted residual exceeds this many robust standard deviations,
        taken from the median of those used. Every pass tests all values again.
    max_condition : float
        Largest condition number accepted.

    Returns
    -------
    fit : ChebyshevFit
        The surface.

    Raises
    ------
    AlgorithmError
        If no value has a weight, or if the values do not determine all terms.

    Notes
    -----
    Solved by singular value decomposition of the weighted design matrix, whose condition number
    is the square root of that of the normal equations, in combinations of the terms that are
    nearly orthonormal where the cells have pixels, whatever part of the image that is.
    """
    given = np.asarray(values, np.float64)
    z, design, weight, usable = _prepared(given, basis, weights)
    if not usable.any():
        raise AlgorithmError(
            "no cell has both a value and a weight",
            hint="If all errors are zero, switch weighting off.",
        )
    rows, flat, root = design[usable], z[usable], np.sqrt(weight[usable])
    used = np.ones(len(flat), bool)
    terms, covariance, condition = _solve(rows, flat, root, order, max_condition)
    deviation = np.abs(root * (flat - rows[:, : len(terms)] @ terms))
    for _ in range(clip.iterations if clip else 0):
        limit = (clip.sigma if clip else math.inf) * MAD_TO_SIGMA * np.median(deviation[used])
        kept = deviation <= limit
        if (kept == used).all():
            break
        used = kept
        terms, covariance, condition = _solve(
            rows[used], flat[used], root[used], order, max_condition
        )
        deviation = np.abs(root * (flat - rows[:, : len(terms)] @ terms))
    everywhere = np.zeros(z.size, bool)
    everywhere[np.flatnonzero(usable)[used]] = True
    return ChebyshevFit(
        model=ChebyshevModel.from_terms(terms, shape),
        covariance=covariance,
        residual=(z - design[:, : len(terms)] @ terms).reshape(given.shape),
        used=everywhere.reshape(given.shape),
        chi2=float(np.sum(deviation[used] ** 2)),
        dof=int(used.sum()) - len(terms),
        rank=len(terms),
        condition=condition,
    )


def _prepared(
    values: Floats, basis: ArrayLike, weights: ArrayLike | None
) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Return flat values, rows of terms, weights, and which of them can be used."""
    z = values.ravel()
    design = np.asarray(basis, np.float64).reshape(z.size, -1)
    weight = np.ones(z.size) if weights is None else np.asarray(weights, np.float64).ravel()
    usable = np.isfinite(z + weight) & (weight > 0) & np.isfinite(design).all(axis=1)
    return z, design, weight, usable


def _solve(
    rows: Floats, values: Floats, root: Floats, order: int, max_condition: float
) -> tuple[Floats, Floats, float]:
    """Return the factors of the terms, their covariance and the condition number."""
    wanted = n_terms(order)
    if len(rows) < wanted:
        raise AlgorithmError(
            f"{len(rows)} cells do not determine the {wanted} terms of order {order}",
            hint="Choose a lower order or smaller cells.",
        )
    change, rank = _orthogonal_terms(rows, order)
    design = rows[:, :wanted] @ change * root[:, None]
    left, singular, right = np.linalg.svd(design, full_matrices=False)
    condition = float(singular[0] / singular[-1]) if singular[-1] > 0 else math.inf
    rank = min(rank, int(np.sum(singular * max_condition >= singular[0])))
    if rank < wanted:
        raise AlgorithmError(
            f"{len(rows)} cells determine only {rank} of the {wanted} terms of order {order}",
            hint="Choose a lower order or smaller cells.",
        )
    scaled = change @ (right.T / singular)
    return scaled @ (left.T @ (root * values)), scaled @ scaled.T, condition


def _orthogonal_terms(rows: Floats, order: int) -> tuple[Floats, int]:
    """Return combinations of the terms that are orthonormal where there are pixels, and their rank.

    Over a part of an image the terms of the whole are nearly dependent, which says nothing about
    the cells; combinations that are orthonormal over that part are not. Column b holds the
    factors of combination b, which has the terms up to b only; the rank counts the independent
    ones, and those that are not are left as they are.
    """
    factors = np.linalg.qr(_extremes(rows, order), mode="r")
    singular = np.linalg.svd(factors, compute_uv=False)
    rank = int(np.sum(singular > _DEPENDENT * singular[0]))
    identity = np.eye(len(factors))
    return (np.linalg.solve(factors, identity) if rank == len(factors) else identity), rank


def _extremes(rows: Floats, order: int) -> Floats:
    """Return all terms at the middle, the sides and the corners of the pixels of each cell.

    The averages of the terms of degree 1 and 2 tell the mean position of a cell's pixels and
    their spread; pixels that fill a rectangle reach the square root of three times as far. For
    values at positions the spread is zero. Shape ``(9 * n_cells, n_terms)``.
    """
    means = rows[:, [2, 1]].T if rows.shape[1] > 2 else np.zeros((2, len(rows)))
    spreads = np.zeros_like(means)
    if rows.shape[1] > 5:
        squares = (rows[:, [5, 3]].T + 1) / 2 - means**2
        spreads = np.sqrt(3 * np.where(squares > _DEPENDENT, squares, 0))
    y, x = (
        mean + np.multiply.outer((-1, 0, 1), spread)
        for mean, spread in zip(means, spreads, strict=True)
    )
    # Pixel coordinates in an image of one pixel are half of the scaled ones.
    terms = point_basis(order, (1, 1), y=y[:, None] / 2, x=x[None] / 2)
    return terms.reshape(-1, terms.shape[-1])


@dataclass(frozen=True, eq=False)
class OrderChoice:
    """Orders compared by cross-validation.

    Parameters
    ----------
    order : int
        The chosen one.
    scores : ndarray of float64, shape (n_orders,)
        Mean squared error of prediction of a value left out, of orders 0, 1, ..., weighted.
    margins : ndarray of float64, shape (n_orders,)
        Standard error of the difference of each score from the smallest one.
    """

    order: int
    scores: Floats
    margins: Floats


def choose_order(
    values: ArrayLike,
    basis: ArrayLike,
    *,
    max_order: int,
    weights: ArrayLike | None = None,
    tolerance: float = 1.0,
    clip: Clip | None = None,
    max_condition: float = 50.0,
) -> OrderChoice:
    r"""Choose the order of a Chebyshev surface by cross-validation.

    Parameters
    ----------
    values, basis, weights, max_condition
        As for `chebyshev_fit`, with the terms of `max_order`.
    max_order : int
        Highest order to consider; those that the values do not determine, with at least one
        value to spare, are not considered.
    tolerance : float
        The lowest order is chosen whose score is within this many standard errors of the best.
    clip : Clip, optional
        Leave out values that a fit of the highest order that still has four values a term
        rejects, so that a few cells on a source do not decide.

    Returns
    -------
    choice : OrderChoice
        The order and the scores.

    Raises
    ------
    AlgorithmError
        If fewer than two values have a weight.

    Notes
    -----
    Leaving out value i changes its residual from :math:`r_i` to :math:`r_i / (1 - h_i)`, where the
    leverage :math:`h_i` is the sum of the squares of row i of an orthonormal basis of the design
    matrix (Allen 1974, Technometrics 16, 125). The standard error is that of the mean of the paired
    differences (Breiman et al. 1984, the one-standard-error rule).
    """
    z, design, weight, usable = _prepared(np.asarray(values, np.float64), basis, weights)
    if clip and usable.any():
        usable = _not_outlying(z, design, np.where(usable, weight, 0), max_order, clip)
    n = int(usable.sum())
    if n < 2:
        raise AlgorithmError(f"{n} cells with a value are too few to choose an order")
    rows, root = design[usable], np.sqrt(weight[usable])
    max_order = _highest_order(n - 1, max_order)
    change, rank = _orthogonal_terms(rows, max_order)
    while rank < n_terms(max_order):
        max_order -= 1
        change, rank = _orthogonal_terms(rows, max_order)
    # The first columns of all these matrices are those of the lower orders.
    q, r = np.linalg.qr(rows[:, : n_terms(max_order)] @ change * root[:, None])
    target = root * z[usable]
    losses = []
    for order in range(max_order + 1):
        n_used = n_terms(order)
        if np.linalg.cond(r[:n_used, :n_used]) > max_condition:
            break
        part = q[:, :n_used]
        spare = np.maximum(1 - np.sum(part**2, axis=1), _DEPENDENT)
        losses.append(((target - part @ (part.T @ target)) / spare) ** 2)
    loss = np.array(losses)
    scores = loss.mean(axis=1)
    margins = (loss - loss[scores.argmin()]).std(axis=1) / math.sqrt(n)
    close = scores - scores.min() <= tolerance * margins
    return OrderChoice(int(np.argmax(close)), scores, margins)


def _not_outlying(
    z: Floats, design: Floats, weight: Floats, max_order: int, clip: Clip
) -> NDArray[np.bool_]:
    """Return which values a robust fit with at least four values a term keeps."""
    image = (1, 1)  # of no consequence: only the residuals matter
    order = _highest_order(int(np.sum(weight > 0)) // 4, max_order)
    while order > 0:
        try:
            fit = chebyshev_fit(z, design, order=order, shape=image, weights=weight, clip=clip)
        except AlgorithmError:  # cells that are many but in few rows
            order -= 1
        else:
            return fit.used
    return chebyshev_fit(z, design, order=0, shape=image, weights=weight, clip=clip).used


def _highest_order(n: int, max_order: int) -> int:
    """Return the highest order, at most a given one, with no more than `n` terms."""
    order = max_order
    while order > 0 and n_terms(order) > n:
        order -= 1
    return order
