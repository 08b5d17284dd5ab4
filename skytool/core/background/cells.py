"""One value, error and mean position for each cell of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from skytool.core.statistics import Clip, Statistic, flags_of, native_float

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytool.core.background.cell_grid import CellGrid


@dataclass(frozen=True, eq=False)
class CellStatistics:
    """One value for each cell of an image; arrays of shape ``(n_y, n_x)``.

    Parameters
    ----------
    grid : CellGrid
        The cells.
    value : ndarray of float64
        The statistic [unit of image]; NaN where too few pixels are good.
    error : ndarray of float64
        Its standard error [unit of image], not squared; NaN where undefined.
    count : ndarray of int64
        Number of good pixels.
    kept : ndarray of int64
        Number of those that entered the value: less than `count` after clipping.
    y, x : ndarray of float64
        Mean position of the pixels that entered the value [pixel]; NaN without any.
    variance : ndarray of float64
        Scatter of the pixels that entered the value [unit of image squared].
    low, high : ndarray of float64
        Limits of the pixels that entered the value [unit of image].
    """

    grid: CellGrid
    value: NDArray[np.float64]
    error: NDArray[np.float64]
    count: NDArray[np.int64]
    kept: NDArray[np.int64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    variance: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """True where a cell has a value."""
        return np.isfinite(self.value)

    def only(self, keep: NDArray[np.bool_]) -> Self:
        """Return the same cells without the values and errors where `keep` is False."""
        return replace(
            self,
            value=np.where(keep, self.value, np.nan),
            error=np.where(keep, self.error, np.nan),
        )

    def weights(self, power: float = 2.0, *, pooling: float = 0.0) -> NDArray[np.float64]:
        """Return ``1 / error**power``, and 0 where a cell has no value or no positive error.

        Parameters
        ----------
        power : float
            2 for the weights of least squares.
        pooling : float
            Number of pixels with the median scatter of all cells that are added to each cell's
            own in the estimate of its scatter, so that a few pixels that happen to agree do not
            get a large weight. 0 for the errors as they are.
        """
        squared = self.error**2
        if pooling > 0 and self.valid.any():
            scatter = np.where(self.variance > 0, self.variance, 0)
            known = self.valid & (scatter > 0)
            # The same for all cells: it depends on the statistic and on correlation of the noise.
            factor = np.median((squared * self.kept)[known] / scatter[known]) if known.any() else 0
            total = self.kept * scatter + pooling * np.median(scatter[self.valid])
            squared = factor * total / (self.kept + pooling) / np.maximum(self.kept, 1)
        usable = self.valid & (squared > 0)
        zero = np.zeros_like(squared)
        return np.power(squared, -power / 2, out=zero, where=usable)


def cell_statistics(
    image: ArrayLike,
    bad: ArrayLike | None,
    grid: CellGrid,
    *,
    statistic: Statistic = Statistic.MEANCLIP,
    clip: Clip | None = None,
    min_fraction: float = 0.0,
    correlation: float = 1.0,
) -> CellStatistics:
    r"""Return a statistic of the good pixels of every cell.

    Parameters
    ----------
    image : array_like of float, shape (ny, nx)
        Pixels; those that are not finite are left out.
    bad : array_like of bool, shape (ny, nx), or None
        Pixels to leave out.
    grid : CellGrid
        The cells.
    statistic : Statistic
        Kind of value.
    clip : Clip, optional
        Clipping of the clipped mean and the mode; 3 sigma and 3 passes if not given.
    min_fraction : float
        Least fraction of a cell's pixels that must be good for it to get a value; one good pixel
        is always necessary.
    correlation : float
        Factor by which correlation of the noise raises the variance of an average
        (`skytool.core.statistics.noise_correlation`).

    Returns
    -------
    cells : CellStatistics
        One entry a cell.

    Raises
    ------
    ValueError
        If shapes disagree.

    Notes
    -----
    Squared errors, for :math:`n` pixels of variance :math:`v`: :math:`v / n` for a mean,
    a clipped mean (of the kept pixels) and a biweight (:math:`v` then is the midvariance; Beers,
    Flynn & Gebhardt 1990), :math:`\pi v / 2n` for a median. The mode is 2.5 times the median minus
    1.5 times the mean of the kept pixels, or the median where these differ by more than 0.3
    standard deviations (Bertin & Arnouts 1996); with the covariance :math:`v / n` of mean and
    median in a normal sample its squared error is :math:`(6.25 \pi / 2 - 5.25)\, v / n`.
    """
    from skytool.core import sample_kernels as kernels

    pixels, flags = _matching(image, bad, grid)
    statistic = Statistic(statistic)
    level, value_field, variance_field, factor = {
        Statistic.MEAN: (kernels.MOMENTS, kernels.MEAN, kernels.VARIANCE, 1.0),
        Statistic.MEDIAN: (kernels.QUARTILES, kernels.MEDIAN, kernels.VARIANCE, math.pi / 2),
        Statistic.MEANCLIP: (kernels.CLIPPED, kernels.CLIP_MEAN, kernels.CLIP_VARIANCE, 1.0),
        Statistic.MODE: (
            kernels.MODE,
            kernels.ROBUST,
            kernels.CLIP_VARIANCE,
            3.125 * math.pi - 5.25,
        ),
        Statistic.BIWEIGHT: (kernels.BIWEIGHT, kernels.ROBUST, kernels.CLIP_VARIANCE, 1.0),
    }[statistic]
    clip = clip or Clip()
    rows = np.empty((*grid.shape, kernels.N_FIELDS))
    kernels.describe_cells(
        pixels, flags, grid.y_edges, grid.x_edges, level, clip.sigma, clip.iterations, rows
    )
    count, kept = (
        rows[..., field].astype(np.int64) for field in (kernels.COUNT, kernels.CLIP_COUNT)
    )
    low, high = rows[..., kernels.LOW].copy(), rows[..., kernels.HIGH].copy()
    enough = count >= np.maximum(min_fraction * grid.areas, 1)
    variance = rows[..., variance_field].copy()
    error = np.sqrt(factor * correlation * variance / np.maximum(kept, 1))
    ny, nx = grid.image_shape
    average = cell_averages(
        pixels,
        flags,
        grid,
        low=low,
        high=high,
        y_basis=np.stack([np.ones(ny), np.arange(ny)], axis=1),
        x_basis=np.stack([np.ones(nx), np.arange(nx)], axis=1),
    )
    return CellStatistics(
        grid=grid,
        value=np.where(enough, rows[..., value_field], np.nan),
        error=np.where(enough, error, np.nan),
        count=count,
        kept=kept,
        y=average[..., 1, 0],
        x=average[..., 0, 1],
        variance=variance,
        low=low,
        high=high,
    )


def cell_averages(
    image: ArrayLike,
    bad: ArrayLike | None,
    grid: CellGrid,
    *,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    y_basis: NDArray[np.float64],
    x_basis: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Average the products of two one-dimensional bases over the used pixels of every cell.

    Parameters
    ----------
    image : array_like of float, shape (ny, nx)
        Pixels, which decide only what is used.
    bad : array_like of bool, shape (ny, nx), or None
        Pixels to leave out.
    grid : CellGrid
        The cells.
    low, high : ndarray of float64, shape (n_y, n_x)
        Limits of the pixels of each cell that are used, both included.
    y_basis, x_basis : ndarray of float64, shape (ny, n) and (nx, n)
        Values of the n functions along each axis.

    Returns
    -------
    averages : ndarray of float64, shape (n_y, n_x, n, n)
        Averages of ``y_basis[:, p] * x_basis[:, q]`` at ``[..., p, q]`` for ``p + q < n``, zero
        for the other pairs; NaN for cells without a used pixel.

    Raises
    ------
    ValueError
        If shapes disagree.
    """
    from skytool.core import pixel_kernels as kernels

    pixels, flags = _matching(image, bad, grid)
    n = y_basis.shape[1]
    x_sums = np.zeros((len(x_basis) + 1, n))
    np.cumsum(x_basis, axis=0, out=x_sums[1:])
    sums = np.zeros((*grid.shape, n, n))
    used = np.zeros(grid.shape)
    kernels.average_basis(
        pixels,
        flags,
        np.where(np.isnan(low), np.inf, low),
        np.where(np.isnan(high), -np.inf, high),
        grid.y_edges,
        grid.x_edges,
        np.ascontiguousarray(y_basis, np.float64),
        x_sums,
        sums,
        used,
    )
    filled = used[..., None, None]
    return np.divide(sums, filled, out=np.full_like(sums, np.nan), where=filled > 0)


def _matching(
    image: ArrayLike, bad: ArrayLike | None, grid: CellGrid
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return pixels and flags ready for compiled loops."""
    pixels = native_float(image)
    if pixels.shape != grid.image_shape:
        raise ValueError(f"an image of shape {pixels.shape} for cells of {grid.image_shape}")
    return pixels, flags_of(bad, pixels.shape)
