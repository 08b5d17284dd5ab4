"""What a Moffat function misses of the stars of an image, found by least squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.chebyshev import n_terms, point_basis
from skytool.core.psf.field import Rest
from skytool.core.psf.stars import SKY, free_equations

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from skytool.core.psf.field import PsfField
    from skytool.core.psf.rings import Rings
    from skytool.core.psf.stars import StarFit

    Floats = NDArray[np.float64]

_BATCH = 16  # stars worked on at once, for the cache
_GROUPS = 4


@dataclass(frozen=True, eq=False)
class RestEquations:
    """Least squares for the factors of rings, the stars in groups.

    Parameters
    ----------
    matrix : ndarray of float64, shape (n_groups, m, m)
        For the m = n_terms n_functions factors, terms slowly.
    right : ndarray of float64, shape (n_groups, m)
        Right sides.
    now : ndarray of float64, shape (m,)
        Factors in the model that the stars were fitted with.
    rings : Rings
        The functions.
    order : int
        Highest total degree of the terms.
    """

    matrix: Floats
    right: Floats
    now: Floats
    rings: Rings
    order: int

    @property
    def n_constant(self) -> int:
        """Number of factors of the constant term."""
        return len(self.rings)

    def up_to(self, order: int) -> RestEquations:
        """Return the equations without the terms above a degree."""
        m = n_terms(order) * self.n_constant
        return RestEquations(
            self.matrix[:, :m, :m], self.right[:, :m], self.now[:m], self.rings, order
        )


def rest_equations(fit: StarFit, field: PsfField, rings: Rings, order: int) -> RestEquations:
    """Return the equations for the rest of a field that stars were fitted with.

    Parameters
    ----------
    fit : StarFit
        Fit of the stars by the field.
    field : PsfField
        The field; what rest it has is of the same rings and order, or of a lower one.
    rings : Rings
        The functions.
    order : int
        Highest total degree of their variation over the image.
    """
    stars = fit.stars
    y, x = stars.positions
    terms = point_basis(order, field.shape, y=y, x=x)
    moments = field.moments(y=y, x=x)
    rows, columns = stars.lattice(stars.y, stars.x)
    k, n = terms.shape[1], len(rings)
    # neighbours in brightness, and so of equal weight, are in different groups
    group = np.empty(len(stars), np.intp)
    group[np.argsort(-fit.flux, kind="stable")] = np.arange(len(stars)) % _GROUPS
    matrix, right = np.zeros((_GROUPS, k * k, n * n)), np.zeros((_GROUPS, k, n))
    for start in range(0, len(stars), _BATCH):
        some = slice(start, start + _BATCH)
        images = rings.images(moments[:, some], rows=rows[some], columns=columns[some])
        own = free_equations(fit, images, some, first_free=SKY)
        pairs = (terms[some, :, None] * terms[some, None, :]).reshape(-1, k * k)
        for number in range(_GROUPS):
            mine = group[some] == number
            matrix[number] += pairs[mine].T @ own.matrix[mine].reshape(-1, n * n)
            right[number] += terms[some][mine].T @ own.right[mine]
    matrix = matrix.reshape(_GROUPS, k, k, n, n).transpose(0, 1, 3, 2, 4)
    now = np.zeros((k, n))
    if field.rest is not None:
        now[: len(field.rest.factors)] = field.rest.factors
    return RestEquations(
        matrix.reshape(_GROUPS, k * n, k * n),
        right.reshape(_GROUPS, k * n),
        now.ravel(),
        rings,
        order,
    )


@dataclass(frozen=True)
class RestSize:
    """How large the rest may be.

    Parameters
    ----------
    constant, varying : float
        Standard deviation expected of the factors of the constant term and of the others.
    order : int
        Highest total degree of the terms.
    """

    constant: float
    varying: float
    order: int


def solve_rest(equations: RestEquations, size: RestSize) -> Rest:
    """Return the rest that the stars ask for, held back by its expected size."""
    part = equations.up_to(size.order)
    matrix, right = part.matrix.sum(axis=0), part.right.sum(axis=0)
    solved = _solved(matrix, right + matrix @ part.now, part.n_constant, size)
    return Rest(part.rings, solved.reshape(-1, part.n_constant), size.order)


def best_size(equations: RestEquations, sizes: Iterable[RestSize]) -> RestSize | None:
    """Return the size with which stars are predicted best by the others.

    Parameters
    ----------
    equations : RestEquations
        The equations.
    sizes : iterable of RestSize
        To choose from.

    Returns
    -------
    RestSize or None
        None if no rest predicts them better than the one that the field has, or than none.
    """
    best, gained = None, 0.0
    for size in sizes:
        part = equations.up_to(size.order)
        matrix, right = part.matrix.sum(axis=0), part.right.sum(axis=0)
        gain = 0.0
        for own_matrix, own_right in zip(part.matrix, part.right, strict=True):
            others = matrix - own_matrix
            wanted = right - own_right + others @ part.now
            change = _solved(others, wanted, part.n_constant, size) - part.now
            gain += float(2.0 * change @ own_right - change @ own_matrix @ change)
        if gain > gained:
            best, gained = size, gain
    return best


def _solved(matrix: Floats, right: Floats, n_constant: int, size: RestSize) -> Floats:
    """Return factors by least squares with a Gaussian expectation about zero."""
    weight = np.full(right.size, 1.0 / size.varying**2)
    weight[:n_constant] = 1.0 / size.constant**2
    held = matrix.copy()
    held[np.diag_indices_from(held)] += weight
    return np.asarray(np.linalg.solve(held, right), dtype=np.float64)
