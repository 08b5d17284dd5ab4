"""Normal equations of matching kernels: of single stamps, and of a kernel varying over an image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.chebyshev import n_terms
from skytool.core.matching.kernel_noise import noise_of_columns
from skytool.core.matching.spatial_kernel import domain_terms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.matching.kernel_stamps import KernelStamps
    from skytool.core.matching.spatial_kernel import Domain

    Floats = NDArray[np.float64]

_CHUNK = 16
_SMALLEST = 1e-12  # eigenvalue over the largest below which a direction is dropped
_UNSURE = 0.3  # power over that of noise below which a direction is not told from noise


@dataclass(frozen=True, eq=False)
class Equations:
    """Normal equations ``matrix a = vector`` of a least-squares fit, and what they leave.

    Parameters
    ----------
    matrix : ndarray of float64, shape (..., n, n)
        Information matrix.
    vector : ndarray of float64, shape (..., n)
        Right-hand side.
    power : ndarray of float64, shape (...)
        Weighted sum of squares of the data.
    noise : ndarray of float64, shape (..., n, n), or None
        What noise of the columns adds to the matrix on average; None to take them for exact.
    """

    matrix: Floats
    vector: Floats
    power: Floats
    noise: Floats | None = None

    def __add__(self, other: Equations) -> Equations:
        noise = self.noise
        if other.noise is not None:
            noise = other.noise if noise is None else noise + other.noise
        return Equations(
            self.matrix + other.matrix,
            self.vector + other.vector,
            self.power + other.power,
            noise,
        )

    def __neg__(self) -> Equations:
        noise = None if self.noise is None else -self.noise
        return Equations(-self.matrix, -self.vector, -self.power, noise)

    def __sub__(self, other: Equations) -> Equations:
        return self + -other

    def of(self, unknowns: NDArray[np.intp]) -> Equations:
        """Return the equations of some of the unknowns, the others being zero."""
        block = (..., unknowns[:, None], unknowns)
        noise = None if self.noise is None else self.noise[block]
        return Equations(self.matrix[block], self.vector[..., unknowns], self.power, noise)

    def chi2(self, solution: Floats) -> float:
        """Return the weighted sum of squares that a solution leaves."""
        return float(self.power - 2.0 * solution @ self.vector + solution @ self.matrix @ solution)

    def chi2_of_signal(self, solution: Floats) -> float:
        """Return the same without what the noise of the columns adds to it."""
        noise = 0.0 if self.noise is None else float(solution @ self.noise @ solution)
        return self.chi2(solution) - noise


@dataclass(frozen=True, eq=False)
class Solved:
    """Solution of normal equations.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        The unknowns.
    condition : float
        Largest over smallest eigenvalue, the diagonal being scaled to one.
    dropped : int
        Directions that the data do not determine, set to zero.
    """

    values: Floats
    condition: float
    dropped: int


def solve(equations: Equations, penalty: Floats | None = None) -> Solved:
    """Solve symmetric normal equations.

    Parameters
    ----------
    equations : Equations
        One system.
    penalty : ndarray of float64, shape (n, n), optional
        Added to the matrix.

    Notes
    -----
    The diagonal is scaled to one first; directions with an eigenvalue below 1e-12 of the largest
    are left at zero.

    Noise of the columns makes a solution of least squares too small: in a direction in which the
    matrix without noise has p times the power of the noise, by the factor p / (1 + p) (Fuller 1987,
    Measurement Error Models). This is undone where the data tell the power, by the factor
    p (1 + p) / (p^2 + e^2) where it is above one. Noise that a direction does not have, because the
    variances are too large or the pixels are correlated, is not taken from any.
    """
    matrix = equations.matrix if penalty is None else equations.matrix + penalty
    scale = np.sqrt(np.diag(matrix))
    scale[~(scale > 0.0)] = 1.0
    values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
    kept = values > _SMALLEST * values[-1]
    seen = vectors[:, kept]
    root = seen / np.sqrt(values[kept])
    along = root.T @ (equations.vector / scale)
    if equations.noise is not None:
        share, turn = np.linalg.eigh(root.T @ (equations.noise / np.outer(scale, scale)) @ root)
        share = np.maximum(share / max(share[-1], 1.0), _SMALLEST)
        power = 1.0 / share - 1.0
        gain = power * (1.0 + power) / (power**2 + _UNSURE**2)
        along = turn @ (np.maximum(gain, 1.0) * (turn.T @ along))
    solution = root @ along / scale
    smallest = float(values[0])
    condition = float(values[-1]) / smallest if smallest > 0.0 else np.inf
    return Solved(solution, condition, int(np.count_nonzero(~kept)))


def single_equations(columns: Floats, target: Floats, weight: Floats) -> Equations:
    """Return the equations of a kernel and a constant for every stamp by itself.

    Parameters
    ----------
    columns : ndarray of float64, shape (n_stamps, n_basis, m)
        Convolved stamps.
    target, weight : ndarray of float64, shape (n_stamps, m)
        What they are to reach, and inverse variances.

    Returns
    -------
    Equations
        Of ``n_basis + 1`` unknowns, the last being the constant.
    """
    n, n_basis, _ = columns.shape
    matrix = np.empty((n, n_basis + 1, n_basis + 1))
    vector = np.empty((n, n_basis + 1))
    for number in range(n):
        root = np.sqrt(weight[number])
        scaled = np.empty((n_basis + 1, root.size))
        np.multiply(columns[number], root, out=scaled[:-1])
        scaled[-1] = root
        np.matmul(scaled, scaled.T, out=matrix[number])
        vector[number] = scaled @ (root * target[number])
    return Equations(matrix, vector, np.einsum("nm,nm,nm->n", weight, target, target))


@dataclass(frozen=True, kw_only=True)
class SpatialModel:
    """Which unknowns a kernel and a background that vary over an image have.

    The first kernel of the basis, which alone has a sum, has the terms of the scale order; every
    other has those of the kernel order; behind them come the terms of the background.

    Parameters
    ----------
    n_basis : int
        Number of kernels.
    kernel_order, scale_order, background_order : int
        Total orders of the polynomials; -1 for no background.
    domain : tuple of float
        Edges over which they run from -1 to 1.
    """

    n_basis: int
    kernel_order: int
    scale_order: int
    background_order: int
    domain: Domain

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Number of unknowns of the first kernel, of the others, and of the background."""
        others = (self.n_basis - 1) * n_terms(self.kernel_order)
        return n_terms(self.scale_order), others, n_terms(self.background_order)

    @property
    def n_unknowns(self) -> int:
        """Number of unknowns."""
        return sum(self.sizes)

    def within(self, kernel_order: int, background_order: int) -> NDArray[np.intp]:
        """Return which of the unknowns a model of lower orders has."""
        n_scale, n_others, _ = self.sizes
        per_kernel = n_terms(self.kernel_order)
        first = np.arange(min(n_scale, n_terms(max(kernel_order, 0))))
        others = np.arange(self.n_basis - 1)[:, None] * per_kernel
        chosen = (others + np.arange(n_terms(kernel_order))).ravel()
        background = n_scale + n_others + np.arange(n_terms(background_order))
        return np.concatenate([first, n_scale + chosen, background])

    def parts(self, values: Floats) -> tuple[Floats, Floats]:
        """Return coefficients ``(n_basis, p, q)`` of the kernel and ``(p, q)`` of the background."""
        from skytool.core.matching.spatial_kernel import from_triangular

        n_scale, n_others, n_background = self.sizes
        order = max(self.kernel_order, self.scale_order)
        kernel = np.zeros((self.n_basis, n_terms(order)))
        kernel[0, :n_scale] = values[:n_scale]
        kernel[1:, : n_terms(self.kernel_order)] = values[n_scale : n_scale + n_others].reshape(
            self.n_basis - 1, n_terms(self.kernel_order)
        )
        if not n_background:
            return from_triangular(kernel, order), np.zeros((1, 1))
        background = from_triangular(values[n_scale + n_others :], self.background_order)
        return from_triangular(kernel, order), background

    def design(self, columns: Floats, terms: Floats) -> Floats:
        """Return the columns of all unknowns, shape ``(n_unknowns, k m)``, of k stamps.

        Parameters
        ----------
        columns : ndarray of float64, shape (k, n_basis, m)
            Convolved stamps.
        terms : ndarray of float64, shape (k, m, n_terms)
            The polynomials of the highest order at every pixel.
        """
        k, _, m = columns.shape
        n_scale, n_others, n_background = self.sizes
        out = np.empty((self.n_unknowns, k, m))
        by_term = np.moveaxis(terms, 2, 0)
        np.multiply(by_term[:n_scale], columns[:, 0], out=out[:n_scale])
        rest = out[n_scale : n_scale + n_others].reshape(
            self.n_basis - 1, n_terms(self.kernel_order), k, m
        )
        others = np.moveaxis(columns[:, 1:], 1, 0)
        np.multiply(others[:, None], by_term[: n_terms(self.kernel_order)], out=rest)
        out[n_scale + n_others :] = by_term[:n_background]
        return out.reshape(self.n_unknowns, k * m)

    def spread(self, products: Floats, terms: Floats) -> Floats:
        """Return the matrix of all unknowns from products of the columns of single stamps.

        Parameters
        ----------
        products : ndarray of float64, shape (n_stamps, n_basis, n_basis)
            Products of the columns of each stamp.
        terms : ndarray of float64, shape (n_stamps, n_terms)
            The polynomials of the highest order at each.
        """
        n_scale, n_others, _ = self.sizes
        per_kernel = n_terms(self.kernel_order)
        kernel = np.repeat(np.arange(self.n_basis), [n_scale] + [per_kernel] * (self.n_basis - 1))
        term = np.concatenate([np.arange(n_scale), np.arange(n_others) % per_kernel])
        used = terms[:, : max(n_scale, per_kernel)]
        blocks = np.einsum("si,sj,sab->ijab", used, used, products, optimize=True)
        out = np.zeros((self.n_unknowns, self.n_unknowns))
        out[: term.size, : term.size] = blocks[term[:, None], term, kernel[:, None], kernel]
        return out


def pixel_terms(model: SpatialModel, stamps: KernelStamps, *, exact: bool = True) -> Floats:
    """Return the polynomials of a model at every pixel of stamps, ``(n_stamps, b * b, n_terms)``.

    If they are not to be exact, those at the source stand for all its pixels.
    """
    half = stamps.side // 2
    if not exact:
        return np.repeat(_middle_terms(model, stamps)[:, None], stamps.side**2, axis=1)
    order = max(model.kernel_order, model.scale_order, model.background_order)
    offset = np.arange(-half, half + 1)
    shape = (len(stamps), stamps.side, stamps.side)
    y = np.broadcast_to((stamps.row[:, None] + offset)[:, :, None], shape)
    x = np.broadcast_to((stamps.column[:, None] + offset)[:, None], shape)
    terms = domain_terms(order, model.domain, y=y.ravel(), x=x.ravel())
    return terms.reshape(len(stamps), stamps.side**2, terms.shape[-1])


def _middle_terms(model: SpatialModel, stamps: KernelStamps) -> Floats:
    """Return the polynomials of a model at the sources, shape ``(n_stamps, n_terms)``."""
    order = max(model.kernel_order, model.scale_order, model.background_order)
    return domain_terms(order, model.domain, y=stamps.y, x=stamps.x)


def spatial_equations(
    model: SpatialModel,
    stamps: KernelStamps,
    columns: Floats,
    weight: Floats,
    *,
    own_constants: bool = False,
    exact: bool = True,
    basis: Floats | None = None,
) -> Equations:
    """Return the sum of the equations of stamps for a kernel that varies.

    Parameters
    ----------
    model : SpatialModel
        The unknowns.
    stamps : KernelStamps
        Stamps.
    columns : ndarray of float64, shape (n_stamps, n_basis, b * b)
        Their `KernelStamps.columns`.
    weight : ndarray of float64, shape (n_stamps, b * b)
        Inverse variances.
    own_constants : bool
        Whether every stamp has a constant of its own, which is eliminated.
    exact : bool
        Whether the polynomials are evaluated at every pixel, so that the equations are those of the
        kernel as it is applied, not of one that is constant over each stamp.
    basis : ndarray of float64, shape (n_basis, n, n), optional
        Kernels that made the columns; with them the noise of the columns is counted.
    """
    size = model.n_unknowns
    total = Equations(np.zeros((size, size)), np.zeros(size), np.zeros(()))
    target = stamps.target.reshape(len(stamps), stamps.side**2)
    root = np.sqrt(weight)
    for start in range(0, len(stamps), _CHUNK):
        part = slice(start, start + _CHUNK)
        few = stamps.of(np.arange(len(stamps))[part])
        terms = pixel_terms(model, few, exact=exact)
        design = model.design(columns[part], terms)
        design *= root[part].ravel()
        data = (root[part] * target[part]).ravel()
        total = total + Equations(design @ design.T, design @ data, np.asarray(data @ data))
        if own_constants:
            total = total - _constants(design, data, root[part])
    if basis is not None:
        noise = noise_of_columns(stamps, basis, weight, own_constants=own_constants)
        total = replace(total, noise=model.spread(noise, _middle_terms(model, stamps)))
    return total


def _constants(design: Floats, data: Floats, root: Floats) -> Equations:
    """Return what constants of k stamps take from the equations.

    Parameters
    ----------
    design, data : ndarray of float64, shape (n_unknowns, k m) and (k m,)
        Columns and data times the roots of the weights.
    root : ndarray of float64, shape (k, m)
        Roots of the weights.
    """
    k, m = root.shape
    norm = np.sqrt(np.sum(root**2, axis=1))
    unit = np.divide(root, norm[:, None], out=np.zeros_like(root), where=norm[:, None] > 0)
    along = np.einsum("ukm,km->uk", design.reshape(-1, k, m), unit)
    level = np.sum(data.reshape(k, m) * unit, axis=1)
    return Equations(along @ along.T, along @ level, np.asarray(level @ level))
