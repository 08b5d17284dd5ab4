"""Which of several exposures the others are matched to: the one of least cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.cells import cell_statistics
from skytool.core.background.chebyshev import point_basis
from skytool.core.background.chebyshev_fit import chebyshev_fit
from skytool.core.statistics import Clip, Statistic, sample_statistics
from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytool.core.background.chebyshev import ChebyshevModel
    from skytool.core.background.chebyshev_fit import ChebyshevFit

    Floats = NDArray[np.float64]

_MOST_PIXELS = 1 << 20
_CELL = 64  # [pixel]
_LEAST_LEFT = 1e-4  # of a variance, where a slope is taken off


class CostKind(StrEnum):
    """What makes an exposure a poor reference, beside a small coverage.

    NOISE: the noise of its sky and its level. VARIANCE: the variance of its pixels, which holds
    structure and sources too, and its level. CHI2: its noise and how far its sky is from a plane.
    """

    NOISE = "noise"
    VARIANCE = "variance"
    CHI2 = "chi2"


@dataclass(frozen=True)
class SkyFigures:
    """What a choice of reference asks of an exposure; NaN where it has no good pixel.

    Parameters
    ----------
    variance : float
        Variance of a pixel [unit of image squared].
    level : float
        Sky level [unit of image].
    coverage : float
        Number of good pixels, or of cells with a value.
    chi2 : float
        Reduced chi-square of a plane through the sky.
    """

    variance: float
    level: float
    coverage: float
    chi2: float


NO_FIGURES = SkyFigures(math.nan, math.nan, 0.0, math.nan)
"""Of an exposure without a good pixel."""


def sky_figures(image: NDArray[np.float32], bad: NDArray[np.bool_], kind: CostKind) -> SkyFigures:
    """Return the figures of an exposure.

    Parameters
    ----------
    image : ndarray of float, shape (ny, nx)
        Pixels; those that are not finite are left out.
    bad : ndarray of bool, shape (ny, nx)
        Pixels to leave out.
    kind : CostKind
        What they are for. For VARIANCE all pixels count; otherwise rows that together have about
        a million pixels.

    Notes
    -----
    The noise is the median over cells of the clipped variance within a cell, without what the
    slope of the sky gives; the level is the mean of the cells; and chi-square is that of a plane
    through their values with their errors, on 3 parameters less than there are cells.
    """
    coverage = float(np.count_nonzero(np.isfinite(image) & ~bad))
    if not coverage:
        return NO_FIGURES
    if kind is CostKind.VARIANCE:
        every = sample_statistics(image, bad)
        return SkyFigures(every.variance, every.mean, coverage, math.nan)
    step = max(1, -(-image.size // _MOST_PIXELS))
    image, bad = image[::step], bad[::step]
    sizes = (max(_CELL // step, 1), _CELL)
    grid = CellGrid.from_bin_size(image.shape, sizes)
    cells = cell_statistics(
        image, bad, grid, statistic=Statistic.MEANCLIP, clip=Clip(3.0, 3), min_fraction=0.1
    )
    if not cells.valid.any():
        return NO_FIGURES
    fit = _plane(cells.value, cells.error**2, grid.image_shape, y=cells.y, x=cells.x)
    slope = 0.0 if fit is None else _slope_variance(fit.model, grid)
    left = np.maximum(cells.variance - slope, _LEAST_LEFT * cells.variance)
    share = np.divide(left, cells.variance, out=np.ones_like(left), where=cells.variance > 0)
    return SkyFigures(
        variance=float(np.median(left[cells.valid])),
        level=float(cells.value[cells.valid].mean()),
        coverage=coverage,
        chi2=_plane_chi2(cells.value, cells.error**2 * share, grid.image_shape, cells.y, cells.x),
    )


def _slope_variance(model: ChebyshevModel, grid: CellGrid) -> float:
    """Return what the slope of a plane adds to the variance of the pixels of a cell."""
    (middle_y, middle_x) = (length / 2 for length in grid.image_shape)
    sides = [float(np.median(np.diff(edges))) for edges in (grid.y_edges, grid.x_edges)]
    at = model.evaluate(
        y=middle_y + np.array([0, sides[0], 0]), x=middle_x + np.array([0, 0, sides[1]])
    )
    return float((at[1] - at[0]) ** 2 + (at[2] - at[0]) ** 2) / 12


def plane_chi2(values: Floats, variance: Floats, grid: CellGrid) -> float:
    """Return the reduced chi-square of a plane through cells; NaN for fewer than four cells.

    Parameters
    ----------
    values, variance : ndarray of float64, shape (n_y, n_x)
        Values of the cells and the variances of these; NaN where there is none.
    grid : CellGrid
        The cells.
    """
    y, x = np.meshgrid(grid.y_centers, grid.x_centers, indexing="ij")
    return _plane_chi2(values, variance, grid.image_shape, y, x)


def _plane_chi2(
    values: Floats, variance: Floats, shape: tuple[int, int], y: Floats, x: Floats
) -> float:
    """Return the reduced chi-square of a plane through values at positions."""
    spare = int(np.count_nonzero(np.isfinite(values) & (variance > 0))) - 3
    fit = _plane(values, variance, shape, y=y, x=x) if spare > 0 else None
    return math.nan if fit is None else fit.chi2 / spare


def _plane(
    values: Floats, variance: Floats, shape: tuple[int, int], *, y: Floats, x: Floats
) -> ChebyshevFit | None:
    """Return a plane through values at positions; None if they do not determine one."""
    usable = np.isfinite(values) & (variance > 0)
    weights = np.divide(1.0, variance, out=np.zeros_like(values), where=usable)
    basis = point_basis(1, shape, y=y, x=x)
    try:
        return chebyshev_fit(values, basis, order=1, shape=shape, weights=weights)
    except AlgorithmError:  # too few cells, or all in one line
        return None


def combined_figures(pieces: Sequence[SkyFigures]) -> SkyFigures:
    """Return the figures of an exposure from those of its pieces: means weighted by coverage."""
    total = sum(piece.coverage for piece in pieces)
    if not total:
        return NO_FIGURES

    def mean(name: str) -> float:
        pairs = [(getattr(piece, name), piece.coverage) for piece in pieces]
        known = [(value, weight) for value, weight in pairs if not math.isnan(value)]
        weights = sum(weight for _, weight in known)
        return sum(value * weight for value, weight in known) / weights if known else math.nan

    return SkyFigures(mean("variance"), mean("level"), total, mean("chi2"))


@dataclass(frozen=True, kw_only=True)
class CostWeights:
    """Weights of the terms of the cost; they need not add up to one.

    Coverage counts most: where the reference has no pixel a match is extrapolated, and off by more
    than the noise of any reference makes it.
    """

    coverage: float = 0.8
    variance: float = 0.15
    level: float = 0.05
    chi2: float = 0.1


@dataclass(frozen=True, eq=False)
class ReferenceChoice:
    """Exposures compared.

    Parameters
    ----------
    index : int
        The one of least cost, the first of equals.
    cost : ndarray of float64, shape (n,)
        Cost of each; NaN for those that cannot be chosen.
    terms : dict of str to ndarray of float64, shape (n,)
        Terms that add up to the cost: ``coverage``, ``variance``, and ``level`` or ``chi2``.
    """

    index: int
    cost: Floats
    terms: dict[str, Floats]


def choose_reference(
    figures: Sequence[SkyFigures], kind: CostKind, weights: CostWeights
) -> ReferenceChoice:
    r"""Choose the exposure of least cost.

    Parameters
    ----------
    figures : sequence of SkyFigures
        One for each exposure.
    kind : CostKind
        What counts.
    weights : CostWeights
        How much.

    Raises
    ------
    AlgorithmError
        If no exposure has a good pixel.

    Notes
    -----
    Variance V and chi-square are divided by the largest among the exposures, the smallest coverage
    C by each one's; exposures without a good pixel are left out of both. Levels L enter as
    :math:`(L - L_\mathrm{min}) / (L_\mathrm{max} - L_\mathrm{min})` for NOISE, so that their zero
    and sign do not matter, and as :math:`L / L_\mathrm{max}` for VARIANCE.
    """
    present = np.array([one.coverage > 0 and math.isfinite(one.variance) for one in figures])
    if not present.any():
        raise AlgorithmError("no exposure has a good pixel to choose a reference by")
    names = ("coverage", "variance", "level", "chi2")
    columns = {
        name: np.array(
            [
                getattr(one, name) if use else math.nan
                for one, use in zip(figures, present, strict=True)
            ]
        )
        for name in names
    }
    coverage = columns["coverage"]
    terms = {
        "coverage": weights.coverage * np.nanmin(coverage) / coverage,
        "variance": weights.variance * _relative(columns["variance"]),
    }
    if kind is CostKind.CHI2:
        terms["chi2"] = weights.chi2 * _relative(columns["chi2"])
    elif kind is CostKind.NOISE:
        level = columns["level"]
        span = np.nanmax(level) - np.nanmin(level)
        terms["level"] = weights.level * ((level - np.nanmin(level)) / span if span else 0 * level)
    else:
        terms["level"] = weights.level * _relative(columns["level"])
    cost = np.sum([np.where(np.isnan(term) & present, 0, term) for term in terms.values()], axis=0)
    return ReferenceChoice(int(np.nanargmin(cost)), cost, terms)


def _relative(values: Floats) -> Floats:
    """Return values over the largest one; zeros if that is zero or unknown."""
    if np.isnan(values).all():
        return values
    largest = np.nanmax(values)
    return values / largest if largest else 0 * values
