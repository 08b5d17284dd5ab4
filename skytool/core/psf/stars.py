"""Stars that a point spread function is fitted to: their fluxes, places and residuals."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.psf.samples import StarImages

    Floats = NDArray[np.float64]

_LARGEST_STEP = 0.5  # [pixel] in one iteration
SKY = 3
"""Column of the sky in the fit of a star, behind the star itself and its two derivatives."""

FIRST_NEIGHBOUR = SKY + 1
"""First column of the neighbours."""


class StarModel(Protocol):
    """What draws stars."""

    def images(self, *, y: Floats, x: Floats, rows: Floats, columns: Floats) -> Floats:
        """Return stars of flux one as `~skytool.core.psf.samples.PsfSamples.images` does."""

    def drawn(self, *, y: Floats, x: Floats, rows: Floats, columns: Floats) -> StarImages:
        """Return stars of flux one as `~skytool.core.psf.samples.PsfSamples.drawn` does."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Other sources in the stamps of stars; arrays of shape ``(m,)``.

    Parameters
    ----------
    star : ndarray of int
        Number of the star, in ascending order.
    slot : ndarray of int
        0, 1, ... among the neighbours of one star.
    y, x : ndarray of float64
        Position from the middle of the stamp [pixel].
    """

    star: NDArray[np.intp]
    slot: NDArray[np.intp]
    y: Floats
    x: Floats

    @classmethod
    def none(cls) -> Self:
        """Return an empty list."""
        return cls(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0), np.empty(0))

    @property
    def most(self) -> int:
        """Largest number of neighbours of one star."""
        return int(self.slot.max(initial=-1)) + 1

    def of(self, kept: NDArray[np.bool_]) -> Neighbours:
        """Return those of some of the stars, which get new numbers."""
        numbers = np.cumsum(kept) - 1
        mine = kept[self.star]
        return Neighbours(numbers[self.star[mine]], self.slot[mine], self.y[mine], self.x[mine])


@dataclass(frozen=True, eq=False)
class Stars:
    """Stamps of stars and where the stars are in them.

    Parameters
    ----------
    stamps : ndarray of float64, shape (n, h, w)
        Pixels, on a sky that is constant over each stamp; zero where there is no value.
    weight : ndarray of float64, shape (n, h, w)
        Inverse variance; zero where there is no value.
    row, column : ndarray of int, shape (n,)
        Pixel of the image in the middle of each stamp.
    y, x : ndarray of float64, shape (n,)
        Place of the star from the middle of its stamp [pixel].
    neighbours : Neighbours
        Other sources, whose fluxes are fitted together with the stars.
    """

    stamps: Floats
    weight: Floats
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    y: Floats
    x: Floats
    neighbours: Neighbours = field(default_factory=Neighbours.none)

    def __len__(self) -> int:
        return len(self.stamps)

    def of(self, kept: NDArray[np.bool_]) -> Stars:
        """Return some of the stars."""
        return Stars(
            self.stamps[kept],
            self.weight[kept],
            self.row[kept],
            self.column[kept],
            self.y[kept],
            self.x[kept],
            self.neighbours.of(kept),
        )

    @property
    def positions(self) -> tuple[Floats, Floats]:
        """Positions ``y, x`` in the image [pixel]."""
        return self.row + self.y, self.column + self.x

    def lattice(self, y: Floats, x: Floats) -> tuple[Floats, Floats]:
        """Return rows ``(n, h)`` and columns ``(n, w)`` of stamps, from places in them [pixel]."""
        _, h, w = self.stamps.shape
        return np.arange(h) - h // 2 - y[:, None], np.arange(w) - w // 2 - x[:, None]


@dataclass(frozen=True, eq=False)
class StarFit:
    """How a point spread function fits stars.

    Parameters
    ----------
    stars : Stars
        With the places found.
    columns : ndarray of float64, shape (n, c, h, w)
        What the pixels of each stamp were fitted with: the star, its derivatives by y and x, the
        sky, neighbours.
    weight : ndarray of float64, shape (n, h, w)
        Inverse variance, with the accuracy of the model.
    normal : ndarray of float64, shape (n, c, c)
        Information on the factors of the columns.
    factors : ndarray of float64, shape (n, c)
        Factors of the columns, the first one the flux.
    residual : ndarray of float64, shape (n, h, w)
        Pixels minus what was fitted.
    chi2 : ndarray of float64, shape (n,)
        Weighted squares of the residuals for each degree of freedom.
    """

    stars: Stars
    columns: Floats
    weight: Floats
    normal: Floats
    factors: Floats
    residual: Floats
    chi2: Floats

    def of(self, kept: NDArray[np.bool_]) -> StarFit:
        """Return the fit of some of the stars."""
        own = (self.columns, self.weight, self.normal, self.factors, self.residual, self.chi2)
        arrays = (array[kept] for array in own)
        return StarFit(self.stars.of(kept), *arrays)

    @property
    def flux(self) -> Floats:
        """Flux of every star, shape ``(n,)``."""
        return self.factors[:, 0]

    @property
    def flux_error(self) -> Floats:
        """Standard errors of the fluxes, shape ``(n,)``."""
        return np.sqrt(np.linalg.inv(self.normal)[:, 0, 0])

    @property
    def misfit(self) -> tuple[Floats, Floats]:
        """Power of the residual beyond that of the noise, over that of the star, and its error."""
        good = self.weight > 0.0
        with np.errstate(divide="ignore"):
            variance = np.where(good, 1.0 / self.stars.weight, 0.0)
        star = self.flux[:, None, None] * self.columns[:, 0]
        power = np.maximum(np.sum(good * star**2, axis=(1, 2)), np.finfo(np.float64).tiny)
        excess = np.sum(self.residual**2 - variance, axis=(1, 2))
        return excess / power, np.sqrt(2.0 * np.sum(variance**2, axis=(1, 2))) / power

    def cleaned(self) -> Floats:
        """Return the stars without sky and neighbours, shape ``(n, h, w)``."""
        star = self.flux[:, None, None] * self.columns[:, 0]
        return np.where(self.weight > 0.0, self.residual + star, star)


def fit_stars(stars: Stars, psf: StarModel, *, accuracy: float, iterations: int = 3) -> StarFit:
    """Fit flux, place and sky of every star, and the fluxes of its neighbours.

    Parameters
    ----------
    stars : Stars
        At places good to half a pixel.
    psf : StarModel
        Model.
    accuracy : float
        Error of the model relative to itself, which is added to that of the pixels.
    iterations : int
        Steps of linear least squares.
    """
    flux = np.zeros(len(stars))
    for last in [False] * (iterations - 1) + [True]:
        columns = _columns(stars, psf)
        error = accuracy * np.maximum(flux, 0.0)[:, None, None] * columns[:, 0]
        weight = stars.weight / (1.0 + stars.weight * error**2)
        factors, normal = _solved(columns, weight, stars.stamps)
        flux = factors[:, 0]
        if last:
            break
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.where(flux > 0.0, factors[:, 1:3].T / flux, 0.0)
        y, x = np.clip(steps, -_LARGEST_STEP, _LARGEST_STEP)
        stars = replace(stars, y=stars.y + y, x=stars.x + x)
    n, c, h, w = columns.shape
    fitted = np.matmul(factors[:, None], columns.reshape(n, c, h * w)).reshape(n, h, w)
    residual = np.where(weight > 0.0, stars.stamps - fitted, 0.0)
    n_used = np.count_nonzero(weight, axis=(1, 2)) - FIRST_NEIGHBOUR
    chi2 = np.sum(weight * residual**2, axis=(1, 2)) / np.maximum(n_used, 1)
    return StarFit(stars, columns, weight, normal, factors, residual, chi2)


def _columns(stars: Stars, psf: StarModel) -> Floats:
    """Return what the pixels of every stamp are fitted with."""
    y, x = stars.positions
    rows, columns = stars.lattice(stars.y, stars.x)
    around = stars.neighbours
    result = np.zeros((len(stars), FIRST_NEIGHBOUR + around.most, *stars.stamps.shape[1:]))
    for number, image in enumerate(psf.drawn(y=y, x=x, rows=rows, columns=columns)):
        result[:, number] = image
    result[:, SKY] = 1.0
    if around.most:
        of = around.star
        rows, columns = stars.lattice(around.y, around.x)
        others = psf.images(y=y[of], x=x[of], rows=rows, columns=columns)
        result[of, FIRST_NEIGHBOUR + around.slot] = others
    return result


def _solved(columns: Floats, weight: Floats, stamps: Floats) -> tuple[Floats, Floats]:
    """Return the factors of the columns, shape ``(n, c)``, and the information on them."""
    n, c, h, w = columns.shape
    flat = columns.reshape(n, c, h * w)
    weighted = flat * weight.reshape(n, 1, h * w)
    normal = np.matmul(weighted, flat.transpose(0, 2, 1))
    diagonal = np.einsum("naa->na", normal)
    diagonal[diagonal <= 0.0] = 1.0  # a neighbour that is not there
    diagonal *= 1.0 + 1e-10
    right = np.matmul(weighted, stamps.reshape(n, h * w, 1))
    return np.linalg.solve(normal, right)[:, :, 0], normal


@dataclass(frozen=True, eq=False)
class FreeEquations:
    """Least squares for the factors of images, one star by one, all that is fitted being free.

    Parameters
    ----------
    matrix : ndarray of float64, shape (n, m, m)
        Information of the star on the factors of m images.
    right : ndarray of float64, shape (n, m)
        Right side.
    """

    matrix: Floats
    right: Floats


def free_equations(
    fit: StarFit, images: Floats, some: slice, *, first_free: int = 0
) -> FreeEquations:
    """Return what stars say of images that may be missing in the model.

    Parameters
    ----------
    fit : StarFit
        Fit by the model.
    images : ndarray of float64, shape (b, m, h, w)
        Images at the places of the stars, for a flux of one.
    some : slice
        Which b stars they are for.
    first_free : int
        First of the columns of the fit whose factors are free: what they could do of the images
        is projected out.
    """
    b, m, h, w = images.shape
    root = np.sqrt(fit.weight[some]).reshape(b, 1, h * w)
    scaled = images.reshape(b, m, h * w) * (fit.flux[some, None, None] * root)
    columns = fit.columns[some, first_free:].reshape(b, -1, h * w) * root
    mixed = np.matmul(scaled, columns.transpose(0, 2, 1))
    freed = np.linalg.solve(fit.normal[some, first_free:, first_free:], mixed.transpose(0, 2, 1))
    matrix = np.matmul(scaled, scaled.transpose(0, 2, 1)) - np.matmul(mixed, freed)
    residual = fit.residual[some].reshape(b, h * w, 1) * root.transpose(0, 2, 1)
    return FreeEquations(matrix, np.matmul(scaled, residual)[:, :, 0])
