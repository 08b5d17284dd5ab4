"""Polynomials whose terms of high degree are held down, by as much as cross-validation asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.chebyshev import ChebyshevModel, n_terms, term_degrees
from skytool.core.background.chebyshev_fit import MAD_TO_SIGMA, ChebyshevFit
from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytool.core.statistics import Clip

    Floats = NDArray[np.float64]

STRENGTHS = tuple(10.0**power for power in np.arange(-8.0, 4.5, 0.5))
"""Strengths that are compared."""

_DEPENDENT = 1e-12  # what rounding can make of zero


def smoothed_fit(
    values: ArrayLike,
    basis: ArrayLike,
    *,
    order: int,
    shape: tuple[int, int],
    weights: ArrayLike | None = None,
    strength: float | None = None,
    clip: Clip | None = None,
) -> tuple[ChebyshevFit, float]:
    r"""Fit a Chebyshev surface with a penalty on its terms of high degree.

    Parameters
    ----------
    values : array_like of float, any shape
        Values; those that are not finite are left out.
    basis : array_like of float, shape (*values.shape, n)
        Terms for each value.
    order : int
        Highest total degree.
    shape : (int, int)
        Shape ``(ny, nx)`` of the image.
    weights : array_like of float, same shape as `values`, optional
        Weights of the squared residuals.
    strength : float, optional
        Strength of the penalty; if not given, that which predicts values left out best.
    clip : Clip, optional
        Leave out values whose weighted residual exceeds this many robust standard deviations.

    Returns
    -------
    fit : ChebyshevFit
        The surface; its degrees of freedom count the effective number of terms.
    strength : float
        Strength that was used.

    Raises
    ------
    AlgorithmError
        If no value has a weight.

    Notes
    -----
    Minimises :math:`\sum w (z - \sum_k a_k b_k)^2 + \lambda W \sum_k d_k^4 a_k^2` with the total
    degree :math:`d_k` of term k and the sum :math:`W` of the weights, so that :math:`\lambda`
    does not depend on units or the number of cells. Constant and plane are hardly held down. With
    the leverages :math:`h_i` of this fit the error of prediction of a value left out is
    :math:`r_i / (1 - h_i)` (Golub, Heath & Wahba 1979, Technometrics 21, 215).
    """
    given = np.asarray(values, np.float64)
    z = given.ravel()
    wanted = n_terms(order)
    design = np.asarray(basis, np.float64).reshape(z.size, -1)[:, :wanted]
    weight = np.ones(z.size) if weights is None else np.asarray(weights, np.float64).ravel()
    usable = np.isfinite(z + weight) & (weight > 0) & np.isfinite(design).all(axis=1)
    if not usable.any():
        raise AlgorithmError(
            "no cell has both a value and a weight",
            hint="If all errors are zero, switch weighting off.",
        )
    used = usable
    for _ in range(1 + (clip.iterations if clip else 0)):
        penalized = _Penalized.of(z[used], design[used], weight[used], order)
        best = penalized.best_strength() if strength is None else strength
        terms = penalized.terms(best)
        deviation = np.sqrt(weight[usable]) * np.abs(z[usable] - design[usable] @ terms)
        if clip is None:
            break
        limit = clip.sigma * MAD_TO_SIGMA * np.median(deviation[used[usable]])
        kept = usable.copy()
        kept[usable] = deviation <= limit
        if (kept == used).all():
            break
        used = kept
    residual = z - design @ terms
    return (
        ChebyshevFit(
            model=ChebyshevModel.from_terms(terms, shape),
            covariance=penalized.covariance(best),
            residual=residual.reshape(given.shape),
            used=used.reshape(given.shape),
            chi2=float(np.sum(weight[used] * residual[used] ** 2)),
            dof=int(used.sum() - round(float(penalized.leverages(best).sum()))),
            rank=wanted,
            condition=penalized.condition(best),
        ),
        best,
    )


class _Penalized:
    """A least-squares problem in coordinates in which design and penalty are both diagonal."""

    def __init__(
        self, left: Floats, curvature: Floats, target: Floats, back: Floats, total: float
    ) -> None:
        self.left = left  # rows of the weighted design in the new coordinates
        self.curvature = curvature
        self.target = target
        self.back = back  # from the new coordinates to the terms
        self.total = total

    @classmethod
    def of(cls, z: Floats, design: Floats, weight: Floats, order: int) -> _Penalized:
        """Prepare a problem: one decomposition serves all strengths."""
        root = np.sqrt(weight)
        degree = term_degrees(order).sum(axis=1)
        # A touch on the plane too, so that few or badly placed cells still have a solution.
        penalty = np.where(degree > 1, degree.astype(np.float64) ** 4, 1e-4 * (degree + 1e-2))
        scale = 1 / np.sqrt(penalty)
        left, singular, right = np.linalg.svd(design * root[:, None] * scale, full_matrices=False)
        return cls(left, singular**2, root * z, scale[:, None] * right.T, float(weight.sum()))

    def _shrinkage(self, strength: float) -> Floats:
        held = strength * self.total
        floor = _DEPENDENT**2 * self.curvature[0]
        return np.where(self.curvature > floor, self.curvature / (self.curvature + held), 0.0)

    def terms(self, strength: float) -> Floats:
        """Return the factors of the terms."""
        shrunk = self._shrinkage(strength) * (self.left.T @ self.target)
        root = np.sqrt(self.curvature)
        scaled = np.divide(shrunk, root, out=np.zeros_like(shrunk), where=root > 0)
        return np.asarray(self.back @ scaled)

    def leverages(self, strength: float) -> Floats:
        """Return how much each value decides on its own prediction."""
        return np.asarray(self.left**2 @ self._shrinkage(strength))

    def covariance(self, strength: float) -> Floats:
        """Return the covariance of the factors if the weights are inverse variances."""
        shrinkage = self._shrinkage(strength)
        spread = np.divide(
            shrinkage**2, self.curvature, out=np.zeros_like(shrinkage), where=self.curvature > 0
        )
        return np.asarray((self.back * spread) @ self.back.T)

    def condition(self, strength: float) -> float:
        """Return the ratio of the extreme singular values with the penalty."""
        held = self.curvature + strength * self.total
        return float(np.sqrt(held[0] / held[-1]))

    def best_strength(self) -> float:
        """Return the strength that predicts values left out best."""
        scores = []
        for strength in STRENGTHS:
            shrinkage = self._shrinkage(strength)
            predicted = self.left @ (shrinkage * (self.left.T @ self.target))
            spare = np.maximum(1 - self.leverages(strength), _DEPENDENT)
            scores.append(float(np.mean(((self.target - predicted) / spare) ** 2)))
        return STRENGTHS[int(np.argmin(scores))]
