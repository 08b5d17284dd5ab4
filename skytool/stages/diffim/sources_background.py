"""The sky that is left in a difference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.cells import cell_statistics
from skytool.core.background.chebyshev import n_terms, point_basis
from skytool.core.background.chebyshev_fit import chebyshev_fit
from skytool.core.background.interpolation import InterpolationRule, fill_missing
from skytool.models.background.layers import BinnedBackground, ChebyshevBackground

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.models.background.layers import BackgroundModel
    from skytool.stages.diffim.sources_config import SourcesConfig

_LEAST_GOOD = 0.1  # part of a cell
_POOLING = 16.0  # pixels of the typical scatter in that of every cell
_WORST_FIT = 2.0  # squared misfit of the cells per degree of freedom


def leftover_sky(
    image: NDArray[np.float32],
    bad: NDArray[np.bool_],
    config: SourcesConfig,
    *,
    strict: bool = True,
) -> BackgroundModel | None:
    """Return the sky of a difference.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
        The difference.
    bad : ndarray of bool, shape (ny, nx)
        Pixels to leave out.
    config : SourcesConfig
        Size of the cells, and order of the polynomial through them.
    strict : bool
        Whether a polynomial has to fit the cells; it cannot where sources are still among them.

    Returns
    -------
    BackgroundModel or None
        None where no cell has enough pixels. The polynomial is left for a spline through the cells
        if their misfit is more than twice what their errors allow, and its order is lowered until
        there are twice as many cells as terms.
    """
    grid = CellGrid.from_bin_size((image.shape[0], image.shape[1]), config.background_size)
    cells = cell_statistics(image, bad, grid, min_fraction=_LEAST_GOOD)
    if not cells.valid.any():
        return None
    weights = cells.weights(pooling=_POOLING)
    if not weights.any():  # pixels without any scatter
        weights = cells.valid.astype(np.float64)
    filled = fill_missing(cells.value).astype(np.float32)
    spline = BinnedBackground(filled, grid, InterpolationRule(reach=0.0))
    if config.background_order is None:
        return spline
    n_cells = int(cells.valid.sum())
    orders = range(config.background_order + 1)
    order = max((n for n in orders if 2 * n_terms(n) <= n_cells), default=0)
    fit = chebyshev_fit(
        cells.value,
        point_basis(order, grid.image_shape, y=cells.y, x=cells.x),
        order=order,
        shape=grid.image_shape,
        weights=weights,
        max_condition=math.inf,
    )
    polynomial = ChebyshevBackground(fit.model)
    freedom = n_cells - n_terms(order)
    if freedom < 1 or not strict:
        return polynomial
    misfit = np.square(cells.value - fit.model.evaluate(y=cells.y, x=cells.x)) * weights
    chi2 = float(misfit[cells.valid].sum()) / freedom
    return polynomial if chi2 <= _WORST_FIT else spline
