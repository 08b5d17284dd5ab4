"""Ratio of the fluxes of sources in two images of one field."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.cells import cell_statistics
from skytool.core.background.chebyshev_fit import MAD_TO_SIGMA
from skytool.core.statistics import Clip, Statistic
from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.background.cell_grid import CellGrid

    Floats = NDArray[np.float64]

_MIN_CELLS = 5
_MIN_SIGNAL = 5.0  # flux of the sources of a cell over its error
_CLIP = 4.0
_PASSES = 20


@dataclass(frozen=True)
class FluxScale:
    """A factor between two images.

    Parameters
    ----------
    scale : float
        Factor on the second image.
    error : float
        Its standard error.
    n_cells : int
        Cells that gave it.
    """

    scale: float
    error: float
    n_cells: int


def flux_scale(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    *,
    sources: NDArray[np.bool_],
    bad: NDArray[np.bool_],
    variances: tuple[NDArray[np.float32], NDArray[np.float32]],
    grid: CellGrid,
) -> FluxScale:
    r"""Return the factor on an image that gives its sources the fluxes of another one.

    Parameters
    ----------
    first, second : ndarray of float, shape (ny, nx)
        Images of one field on one grid of pixels.
    sources : ndarray of bool, shape (ny, nx)
        Pixels of sources in either image.
    bad : ndarray of bool, shape (ny, nx)
        Pixels to leave out.
    variances : (ndarray, ndarray)
        Variances of both images.
    grid : CellGrid
        Cells over which fluxes are added up.

    Returns
    -------
    scale : FluxScale
        The factor.

    Raises
    ------
    AlgorithmError
        If fewer than five cells have sources of enough flux.

    Notes
    -----
    In every cell the sky of each image, the clipped mean of its pixels without source, is taken
    off, and the pixels of sources are added up; over whole footprints a difference of PSFs has
    little effect. The factor s minimises
    :math:`\sum (F_1 - s F_2)^2 / (\sigma_1^2 + s^2 \sigma_2^2)`, without the cells that deviate by
    more than 4 robust standard deviations, which variable sources do.
    """
    usable = np.isfinite(first) & np.isfinite(second) & ~bad
    source, blank = usable & sources, bad | sources
    fluxes, noise = [], []
    numbers = _cell_sums(source, grid)
    for image, variance in zip((first, second), variances, strict=True):
        sky = cell_statistics(
            image, blank, grid, statistic=Statistic.MEANCLIP, clip=Clip(3.0, 3), min_fraction=0.1
        )
        total = _cell_sums(np.where(source, image, 0), grid)
        spread = _cell_sums(np.where(source & np.isfinite(variance), variance, 0), grid)
        fluxes.append(total - numbers * sky.value)
        noise.append(spread + (numbers * sky.error) ** 2)
    good = np.isfinite(fluxes[0] + fluxes[1] + noise[0] + noise[1]) & (numbers > 0)
    good &= (noise[0] > 0) & (noise[1] > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        for flux, squared in zip(fluxes, noise, strict=True):
            good &= flux > _MIN_SIGNAL * np.sqrt(squared)
    if np.count_nonzero(good) < _MIN_CELLS:
        raise AlgorithmError(
            f"only {np.count_nonzero(good)} cells have sources that tell the ratio of the fluxes",
            hint=f"It takes {_MIN_CELLS}; without --scale fit none is needed.",
        )
    return _fitted(fluxes[0][good], fluxes[1][good], noise[0][good], noise[1][good])


def _fitted(first: Floats, second: Floats, noise_1: Floats, noise_2: Floats) -> FluxScale:
    """Return the factor with clipping; all cells are tested in every pass."""
    scale = float(np.median(first / second))
    kept = np.ones(len(first), bool)
    error = math.nan
    for _ in range(_PASSES):
        before = scale
        weight = 1 / (noise_1 + scale**2 * noise_2)
        # Sources vary and fluxes have errors of a fixed share: a floor keeps a few from deciding.
        deviation = np.abs(first - scale * second) * np.sqrt(weight)
        spread = MAD_TO_SIGMA * float(np.median(deviation[kept]))
        kept = deviation <= _CLIP * max(spread, 1.0)
        if kept.sum() < _MIN_CELLS:
            raise AlgorithmError("the ratio of the fluxes differs from cell to cell")
        weight, x, y = weight[kept], second[kept], first[kept]
        scale = float(np.sum(weight * x * y) / np.sum(weight * x * x))
        error = max(spread, 1.0) / math.sqrt(float(np.sum(weight * x * x)))
        if abs(scale - before) < 1e-9 * abs(scale):
            break
    return FluxScale(scale, error, int(kept.sum()))


def _cell_sums(values: NDArray[np.generic], grid: CellGrid) -> Floats:
    """Return the sums over the pixels of cells."""
    rows = np.add.reduceat(values, grid.y_edges[:-1], axis=0, dtype=np.float64)
    return np.asarray(np.add.reduceat(rows, grid.x_edges[:-1], axis=1))
