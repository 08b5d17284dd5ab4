"""Principal components of what varies in the sky pattern from exposure to exposure."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytool.core.skyframe.model import SkyCells, SkySolution

    Floats = NDArray[np.float64]

_CONVERGED = 1e-4


def principal_components(
    detectors: Sequence[SkyCells], solution: SkySolution, n: int, *, iterations: int = 30
) -> tuple[list[Floats], Floats]:
    r"""Return the patterns that vary from exposure to exposure in the strongest ways.

    Parameters
    ----------
    detectors : sequence of SkyCells
        All detectors.
    solution : SkySolution
        Model with one pattern.
    n : int
        Number of further patterns, less than the number of exposures.
    iterations : int
        Most alternations; they end when strengths no longer change.

    Returns
    -------
    patterns : list of ndarray of float64, shape (n, n_cells)
        For every detector; scaled so that the strengths have a mean square of 1.
    strengths : ndarray of float64, shape (m, n)
        Of the patterns in each exposure, in units of its level.

    Notes
    -----
    Weighted least squares by turns for patterns and strengths (Bailey 2012, PASP 124, 1015), which
    cells without a value do not disturb; they are unchanged by the order of the exposures.
    """
    residuals, weights = [], []
    for cells, pattern in zip(detectors, solution.pattern, strict=True):
        values, errors = solution.relative(cells)
        used = (pattern.weights > 0) & np.isfinite(pattern.value)
        residuals.append(np.where(used, values - pattern.value, 0.0))
        weights.append(np.where(used, 1 / np.where(used, errors, 1.0) ** 2, 0.0))
    residual, weight = np.concatenate(residuals, axis=1), np.concatenate(weights, axis=1)
    scaled = np.sqrt(weight) * residual
    eigenvalues, vectors = np.linalg.eigh(scaled @ scaled.T)
    strengths = vectors[:, np.argsort(eigenvalues)[::-1][:n]]
    found = np.zeros((n, residual.shape[1]))
    for _ in range(iterations):
        found = _solve_each(strengths, weight, residual)
        strengths = _solve_each(found.T, weight.T, residual.T).T
        before, strengths = strengths, _orthogonal(strengths, found)
        if np.abs(np.abs(strengths) - np.abs(before)).max() < _CONVERGED:
            break
    found = _solve_each(strengths, weight, residual)
    rms = np.sqrt(np.mean(strengths**2, axis=0))
    rms = np.where(rms > 0, rms, 1.0)
    limits = np.cumsum([0, *(cells.values.shape[1] for cells in detectors)])
    found = found * rms[:, None]
    parts = [found[:, a:b] for a, b in pairwise(limits.tolist())]
    return parts, strengths / rms


def _orthogonal(strengths: Floats, patterns: Floats) -> Floats:
    """Return strengths whose columns are orthogonal, the one with most variance first."""
    left, values, _ = np.linalg.svd(strengths @ patterns, full_matrices=False)
    n = strengths.shape[1]
    rotated = left[:, :n] * values[:n]
    sign = np.sign(rotated[np.argmax(np.abs(rotated), axis=0), np.arange(n)])
    norm = np.linalg.norm(rotated, axis=0)
    return rotated * np.where(sign == 0, 1, sign) / np.where(norm > 0, norm, 1)


def _solve_each(design: Floats, weights: Floats, values: Floats) -> Floats:
    """Return for each column of ``values`` the weighted fit by the columns of ``design``."""
    n = design.shape[1]
    normal = np.einsum("mi,mc,mj->cij", design, weights, design, optimize=True)
    right = np.einsum("mi,mc->ci", design, weights * values, optimize=True)
    trace = np.trace(normal, axis1=1, axis2=2)
    usable = trace > 0
    fit = np.zeros((values.shape[1], n))
    ridge = 1e-10 * trace[usable, None, None] * np.eye(n)  # where a cell has too few values
    fit[usable] = np.linalg.solve(normal[usable] + ridge, right[usable][..., None])[..., 0]
    return fit.T
