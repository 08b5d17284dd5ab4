"""Smoothness penalties for kernels that are fitted pixel by pixel.

A penalty is a symmetric matrix H of the coefficients of `kernel_basis.delta_basis` (row-major
pixels), followed by one for the background, which is never penalised. The regularised solution of
the normal equations M a = b is that of (M + s H) a = b (Becker et al. 2012).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LAPLACIANS = {
    5: np.array([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]),
    9: np.array([[1.0, 4.0, 1.0], [4.0, -20.0, 4.0], [1.0, 4.0, 1.0]]) / 6.0,
}
_FORWARD = {1: (-1.0, 1.0), 2: (-1.0, 2.0, -1.0), 3: (-1.0, 3.0, -3.0, 1.0)}


def central_penalty(
    size: int, *, stencil: int = 9, border_penalty: float = 3.0, with_background: bool = True
) -> NDArray[np.float64]:
    """Return the penalty on the Laplacian of a kernel.

    Parameters
    ----------
    size : int
        Side of the kernel [pixel].
    stencil : {5, 9}
        Number of points of the Laplacian.
    border_penalty : float
        Weight of the value itself on the border pixels, where the stencil does not fit.
    with_background : bool
        Whether a last row and column of zeros stand for the background.

    Returns
    -------
    ndarray of float64, shape (n, n)
        ``n = size**2``, one more with a background.

    Raises
    ------
    ValueError
        If the stencil is not known.
    """
    if stencil not in _LAPLACIANS:
        raise ValueError(f"a Laplacian has 5 or 9 points, got {stencil}")
    operator = np.zeros((size, size, size, size))
    rows, columns = np.mgrid[:size, :size]
    border = (rows == 0) | (rows == size - 1) | (columns == 0) | (columns == size - 1)
    operator[rows[border], columns[border], rows[border], columns[border]] = border_penalty
    inner_y, inner_x = rows[~border], columns[~border]
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            weight = _LAPLACIANS[stencil][dy + 1, dx + 1]
            operator[inner_y, inner_x, inner_y + dy, inner_x + dx] = weight
    return _penalty(operator, with_background=with_background)


def forward_penalty(
    size: int,
    *,
    orders: Sequence[int] = (1, 2),
    border_penalty: float = 3.0,
    with_background: bool = True,
) -> NDArray[np.float64]:
    """Return the penalty on the forward differences of a kernel along x and y.

    Parameters
    ----------
    size : int
        Side of the kernel [pixel].
    orders : sequence of int
        Orders of the differences, 1 to 3; their rows are added.
    border_penalty : float
        Weight of the value itself where no difference fits before the far edge.
    with_background : bool
        Whether a last row and column of zeros stand for the background.

    Returns
    -------
    ndarray of float64, shape (n, n)
        ``n = size**2``, one more with a background.

    Raises
    ------
    ValueError
        If an order is not known.

    Notes
    -----
    Towards the far edge the order falls to the highest that fits, and to the value itself there.
    """
    if not orders or not set(orders) <= set(_FORWARD):
        raise ValueError(f"forward differences have orders 1 to 3, got {tuple(orders)}")
    line = np.zeros((size, size))
    for order in orders:
        for pixel in range(size):
            fits = min(order, size - 1 - pixel)
            if fits == 0:
                line[pixel, pixel] += border_penalty
            else:
                line[pixel, pixel : pixel + fits + 1] += _FORWARD[fits]
    unit = np.eye(size)
    operator = np.einsum("ij,kl->kilj", line, unit) + np.einsum("ij,kl->ikjl", line, unit)
    return _penalty(operator, with_background=with_background)


def relative_strength(
    normal_matrix: NDArray[np.float64], penalty: NDArray[np.float64], scaling: float = 1e-4
) -> float:
    """Return the strength whose penalty is the given part of the trace of the normal equations."""
    return float(scaling * np.trace(normal_matrix) / np.trace(penalty))


def minimum_risk_strength(
    normal_matrix: NDArray[np.float64],
    vector: NDArray[np.float64],
    penalty: NDArray[np.float64],
    strengths: Sequence[float],
    *,
    max_condition: float | None = None,
) -> float:
    """Choose the strength with the least estimated risk of the solution.

    Parameters
    ----------
    normal_matrix : ndarray of float64, shape (n, n)
        Matrix M of the normal equations, weighted with the inverse variance.
    vector : ndarray of float64, shape (n,)
        Right-hand side b.
    penalty : ndarray of float64, shape (n, n)
        Penalty H.
    strengths : sequence of float
        Strengths to try.
    max_condition : float, optional
        Directions whose eigenvalue is smaller than the largest by this factor are left out
        (a biased estimate); without it only numerically empty ones are.

    Returns
    -------
    float
        The strength s with the smallest risk
        ``a' P a + 2 (tr(P (M + s H)^-1) - a' M^+ b)``, P the projector on the directions kept.

    Raises
    ------
    ValueError
        If no strength is given.

    Notes
    -----
    Becker et al. (2012), after the generalised unbiased risk estimate of Eldar (2009).
    """
    if len(strengths) == 0:
        raise ValueError("no strength of the penalty to choose from")
    values, vectors = np.linalg.eigh(normal_matrix)
    limit = max_condition or 1.0 / (np.finfo(float).eps * len(values))
    kept = values > values[-1] / limit
    seen = vectors[:, kept]
    free = seen @ ((seen.T @ vector) / values[kept])
    risks = []
    for strength in strengths:
        regular = normal_matrix + strength * penalty
        solution = np.linalg.solve(regular, vector)
        spread = np.trace(seen.T @ np.linalg.solve(regular, seen))
        risks.append(np.sum((seen.T @ solution) ** 2) + 2.0 * (spread - solution @ free))
    return float(strengths[int(np.argmin(risks))])


def _penalty(operator: NDArray[np.float64], *, with_background: bool) -> NDArray[np.float64]:
    """Return the squared operator on flat pixels, with the background left free."""
    n_pixels = operator.shape[0] * operator.shape[1]
    flat = operator.reshape(n_pixels, n_pixels)
    out = np.zeros((n_pixels + with_background,) * 2)
    out[:n_pixels, :n_pixels] = flat.T @ flat
    return out
