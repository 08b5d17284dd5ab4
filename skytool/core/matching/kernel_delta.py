"""Bases of matching kernels from kernels that are fitted pixel by pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.clipped import clipped_moments
from skytool.core.matching.kernel_basis import delta_basis, principal_basis
from skytool.core.matching.kernel_equations import single_equations
from skytool.core.matching.kernel_regularization import relative_strength
from skytool.core.matching.kernel_singles import solve_singles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.matching.kernel_stamps import KernelStamps

    Floats = NDArray[np.float64]

_CLIP = 3.0


def pixel_kernels(
    stamps: KernelStamps, penalty: Floats | None, *, strength: float, relative: bool
) -> Floats:
    """Fit a kernel to every stamp, a free number in each of its pixels.

    Parameters
    ----------
    stamps : KernelStamps
        Stamps.
    penalty : ndarray of float64, shape (n * n + 1, n * n + 1), or None
        Penalty on roughness, the last unknown being the background.
    strength : float
        Strength of the penalty.
    relative : bool
        Whether the strength is over the trace of the equations.

    Returns
    -------
    ndarray of float64, shape (n_stamps, n, n)
        Convolution kernels.

    Notes
    -----
    Becker et al. (2012). The equations of one stamp after another are made and solved, as they are
    too large to keep.
    """
    n = stamps.kernel_size
    basis = delta_basis(n)
    sums = np.ones(n * n)
    kernels = np.empty((len(stamps), n, n))
    for number in range(len(stamps)):
        one = stamps.of(np.array([number]))
        columns = one.columns(basis)
        inner = one.target_variance[:, one.inner, one.inner]
        variance = inner + one.source_variance[:, one.inner, one.inner]
        weight = np.where(one.good, 1.0 / variance, 0.0).reshape(1, -1)
        equations = single_equations(columns, one.target.reshape(1, -1), weight)
        scaled = None
        if penalty is not None:
            factor = strength
            if relative:
                factor = relative_strength(equations.matrix[0], penalty, strength)
            scaled = factor * penalty
        values = solve_singles(equations, sums, scaled).values[0, :-1]
        kernels[number] = values.reshape(n, n)
    return kernels


def component_basis(kernels: Floats, n_components: int) -> Floats:
    """Return the leading components of kernels as a basis, without those of another sum.

    Parameters
    ----------
    kernels : ndarray of float64, shape (n_kernels, n, n)
        Kernels of single stamps.
    n_components : int
        Size of the basis, the mean included.

    Raises
    ------
    ValueError
        If no kernel has a positive sum.
    """
    sums = kernels.sum(axis=(1, 2))
    mean, std = clipped_moments(sums[sums > 0.0])
    used = (sums > 0.0) & (np.abs(sums - mean) <= max(_CLIP * std, 1e-6 * abs(mean)))
    if not used.any():
        msg = "no kernel of a single source has a positive sum"
        raise ValueError(msg)
    return principal_basis(kernels[used], n_components)
