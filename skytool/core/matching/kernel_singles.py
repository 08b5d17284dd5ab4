"""Kernels of single stamps, and how well a kernel subtracts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.matching.kernel_equations import Equations, solve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.matching.kernel_stamps import KernelStamps

    Floats = NDArray[np.float64]

_SMALLEST = 1e-12


@dataclass(frozen=True, eq=False)
class SingleSolutions:
    """A kernel and a constant for every stamp by itself.

    Parameters
    ----------
    values : ndarray of float64, shape (n_stamps, n_basis + 1)
        Factors of the basis, then the constant.
    sums, sum_errors : ndarray of float64, shape (n_stamps,)
        Sums of the kernels and their standard errors.
    """

    values: Floats
    sums: Floats
    sum_errors: Floats


def solve_singles(
    equations: Equations, basis_sums: Floats, penalty: Floats | None = None
) -> SingleSolutions:
    """Solve the equations of every stamp.

    Parameters
    ----------
    equations : Equations
        Of `single_equations`.
    basis_sums : ndarray of float64, shape (n_basis,)
        Sums of the kernels of the basis.
    penalty : ndarray of float64, shape (n_basis + 1, n_basis + 1), optional
        Added to every matrix.
    """
    n, size = equations.vector.shape
    sums = np.append(basis_sums, 0.0)
    if penalty is not None:
        right = np.stack([equations.vector, np.broadcast_to(sums, (n, size))], axis=-1)
        solved = np.linalg.solve(equations.matrix + penalty, right)
        values = solved[..., 0]
        spread = solved[..., 1] @ sums
    else:
        scale = np.sqrt(np.einsum("nii->ni", equations.matrix))
        scale[~(scale > 0.0)] = 1.0
        scaled = equations.matrix / (scale[:, :, None] * scale[:, None])
        eigenvalues, vectors = np.linalg.eigh(scaled)
        kept = eigenvalues > _SMALLEST * eigenvalues[:, -1:]
        inverse = np.divide(1.0, eigenvalues, out=np.zeros_like(eigenvalues), where=kept)
        turned = np.matmul((equations.vector / scale)[:, None], vectors)[:, 0]
        values = np.matmul(vectors, (turned * inverse)[..., None])[..., 0] / scale
        along = np.matmul((sums / scale)[:, None], vectors)[:, 0]
        spread = np.sum(along**2 * inverse, axis=1)
    return SingleSolutions(values, values @ sums, np.sqrt(np.maximum(spread, 0.0)))


def common_kernel(equations: Equations) -> Floats:
    """Return the factors of one kernel for all stamps, each of which has a constant of its own.

    Parameters
    ----------
    equations : Equations
        Of `single_equations`.

    Returns
    -------
    ndarray of float64, shape (n_basis,)
    """
    edge = equations.matrix[:, :-1, -1]
    corner = equations.matrix[:, -1, -1]
    share = np.divide(edge, corner[:, None], out=np.zeros_like(edge), where=corner[:, None] > 0)
    matrix = np.sum(equations.matrix[:, :-1, :-1] - share[:, :, None] * edge[:, None], axis=0)
    vector = np.sum(equations.vector[:, :-1] - share * equations.vector[:, -1:], axis=0)
    return solve(Equations(matrix, vector, np.zeros(()))).values


@dataclass(frozen=True, eq=False)
class Residuals:
    """What is left of stamps, over its standard deviation; arrays of shape ``(n_stamps,)``.

    Parameters
    ----------
    mean, std : ndarray of float64
        Over the pixels that count.
    """

    mean: Floats
    std: Floats


def stamp_residuals(
    stamps: KernelStamps,
    columns: Floats,
    values: Floats,
    *,
    basis: Floats,
    accuracy: float,
    core_radius: int | None,
) -> Residuals:
    """Subtract the convolved stamps and compare what is left with the noise.

    Parameters
    ----------
    stamps : KernelStamps
        Stamps.
    columns : ndarray of float64, shape (n_stamps, n_basis, b * b)
        Their columns.
    values : ndarray of float64, shape (n_stamps, n_basis + 1)
        Factors of the basis and constant of each.
    basis : ndarray of float64, shape (n_basis, n, n)
        Kernels.
    accuracy : float
        Error of the model over the light of the source in a pixel, that is allowed beside noise.
    core_radius : int or None
        Half side of the part in the middle that counts [pixel]; None for all.
    """
    n, b = len(stamps), stamps.side
    light = np.matmul(values[:, None, :-1], columns)[:, 0]
    left = stamps.target.reshape(n, -1) - light - values[:, -1:]
    kernels = np.tensordot(values[:, :-1], basis, axes=1)
    variance = stamps.variance(kernels).reshape(n, -1)
    if accuracy > 0.0:
        variance = variance + (accuracy * (light - np.median(light, axis=1)[:, None])) ** 2
    good = stamps.good & np.isfinite(variance).reshape(stamps.good.shape)
    if core_radius is not None:
        away = np.abs(np.arange(b) - b // 2) > core_radius
        good = good & ~(away[:, None] | away)
    good = good.reshape(n, -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(good, left / np.sqrt(variance), 0.0)
        count = good.sum(axis=1)
        mean = scaled.sum(axis=1) / count
        square = np.sum(np.where(good, (scaled - mean[:, None]) ** 2, 0.0), axis=1)
        return Residuals(mean, np.sqrt(square / (count - 1)))
