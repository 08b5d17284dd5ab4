"""The factor by which the variance of an image misses the scatter of its sky."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.cell_grid import CellGrid
from skytool.core.cells import cell_statistics
from skytool.core.interpolation import interpolate_cells
from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIGMA_OF_QUARTILES = 0.7413011092528009  # standard deviation over the range of the quartiles
_LEAST_PIXELS = 100


def variance_scale(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    bad: NDArray[np.bool_],
    *,
    bin_size: int = 32,
    limit: float = 10.0,
) -> float:
    """Return the factor that gives pixels, over the root of their variance, unit scatter.

    Parameters
    ----------
    image, variance : ndarray of float32, shape (ny, nx)
        Pixels and their variance [unit, unit squared].
    bad : ndarray of bool, shape (ny, nx)
        Pixels that are not looked at: without a value, flawed, or with objects.
    bin_size : int
        Side of the cells of the sky, which is subtracted first [pixel].
    limit : float
        Largest factor; beyond it that of the whole image to its median variance is taken.

    Raises
    ------
    AlgorithmError
        If fewer than 100 pixels can be used, or the factor is beyond the limit in both ways.

    Notes
    -----
    The scatter is 0.741 times the range of the quartiles, which few bright pixels do not change.
    """
    good = ~bad & np.isfinite(image) & np.isfinite(variance) & (variance > 0)
    if np.count_nonzero(good) < _LEAST_PIXELS:
        raise AlgorithmError(f"fewer than {_LEAST_PIXELS} pixels tell how large the scatter is")
    grid = CellGrid.from_bin_size(image.shape, bin_size)
    sky = interpolate_cells(cell_statistics(image, ~good, grid).value, grid, dtype=np.float32)
    residual = (image - sky)[good]
    known = variance[good]
    factor = _scatter(residual / np.sqrt(known)) ** 2
    if factor > limit:
        factor = _scatter(residual) ** 2 / float(np.median(known))
    if not 0.0 < factor <= limit:
        raise AlgorithmError(
            f"the scatter of the pixels has {factor:.3g} times the variance, beyond {limit:g}"
        )
    return factor


def _scatter(values: NDArray[np.float32]) -> float:
    """Return a robust standard deviation."""
    low, high = np.percentile(values, [25.0, 75.0])
    width = float(high - low)
    return _SIGMA_OF_QUARTILES * width if math.isfinite(width) else math.inf
