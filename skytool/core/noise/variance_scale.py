"""The factor by which the variance of an image misses the scatter of its sky."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.cells import cell_statistics
from skytool.core.background.interpolation import interpolate_cells
from skytool.core.statistics import IQR_TO_SIGMA
from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    by_pixel, by_image = scatter_factors(image, variance, ~good, bin_size=bin_size)
    factor = by_pixel if by_pixel <= limit else by_image
    if not 0.0 < factor <= limit:
        raise AlgorithmError(
            f"the scatter of the pixels has {factor:.3g} times the variance, beyond {limit:g}"
        )
    return factor


def scatter_factors(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    bad: NDArray[np.bool_],
    *,
    bin_size: int = 32,
) -> tuple[float, float]:
    """Return how many times the stated variance the scatter of pixels about their sky has.

    Parameters
    ----------
    image, variance, bad : ndarray, shape (ny, nx)
        As in `variance_scale`; all pixels that are not bad have a value and a variance.
    bin_size : int
        Side of the cells of the sky [pixel].

    Returns
    -------
    by_pixel : float
        Squared robust scatter of the pixels over the root of their variance.
    by_image : float
        Squared robust scatter of the pixels, over the median of the variance.
    """
    grid = CellGrid.from_bin_size((image.shape[0], image.shape[1]), bin_size)
    sky = interpolate_cells(cell_statistics(image, bad, grid).value, grid, dtype=np.float64)
    flat, known = (image - sky)[~bad], variance[~bad].astype(np.float64)
    by_pixel, by_image = (_scatter(values) ** 2 for values in (flat / np.sqrt(known), flat))
    return by_pixel, by_image / float(np.median(known))


def fine_scatter_factor(
    image: NDArray[np.float32], variance: NDArray[np.float32], bad: NDArray[np.bool_]
) -> float:
    """Return the factor of the variance by what no star can do: the scatter from pixel to pixel.

    Parameters
    ----------
    image, variance, bad : ndarray, shape (ny, nx)
        As in `variance_scale`; all pixels that are not bad have a value and a variance.

    Returns
    -------
    float
        Too low if the noise is correlated; NaN without nine good pixels in a square.

    Notes
    -----
    Second differences in both directions, whose squared weights sum to 36, leave little of what is
    wider than a few pixels (Immerkaer 1996, Computer Vision and Image Understanding 64, 300).
    """
    sigma = np.sqrt(np.where(bad, np.float32(1.0), variance))
    values = np.where(bad, np.float32(np.nan), image / sigma).astype(np.float64)
    rough = np.diff(np.diff(values, 2, axis=0), 2, axis=1)
    rough = rough[np.isfinite(rough)]
    return _scatter(rough) ** 2 / 36.0 if rough.size else float("nan")


def _scatter(values: NDArray[np.float64]) -> float:
    """Return a robust standard deviation."""
    low, high = np.percentile(values, [25.0, 75.0])
    return IQR_TO_SIGMA * float(high - low)
