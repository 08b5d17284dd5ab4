"""A coarse grid over a frame in which every cell shares half of its pixels with its neighbours.

A superpixel is spaced like a cell and twice as wide, about the same centre, so that what is read
off between their centres is smooth across the borders of the pieces of an image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.cells import cell_statistics
from skytool.core.background.curves import Extrapolation, InterpolationStyle
from skytool.core.background.interpolation import (
    InterpolationRule,
    UndersampleStyle,
    fill_missing,
    interpolate_outer,
)
from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from skytool.core.difference.cells import ImagePiece
    from skytool.core.statistics import Clip, Statistic
    from skytool.core.windows import Window

    Floats = NDArray[np.float64]

_WIDTHS = 4.0  # of a Gaussian, that a smoothing kernel reaches


@dataclass(frozen=True, kw_only=True)
class SuperpixelRule:
    """How superpixels are made.

    Parameters
    ----------
    y_bin, x_bin : float
        Spacing of the superpixels [pixel].
    min_fraction : float
        Least number of pixels that enter one, in units of a cell of this spacing.
    smooth_scale : float
        Sigma of a Gaussian over the grid [superpixel]; 0 for none.
    """

    y_bin: float = 128.0
    x_bin: float = 128.0
    min_fraction: float = 0.1
    smooth_scale: float = 0.0


@dataclass(frozen=True, eq=False)
class Superpixels:
    """Sums over the pieces of an image; arrays of float64, shape ``(n_y, n_x)``.

    Parameters
    ----------
    values : ndarray
        Sum of the values of the pieces, times their numbers of pixels [unit of image].
    numbers : ndarray
        Numbers of good pixels; those of several pieces count several times.
    variances : ndarray
        Sum of the variances of the pixels, times the numbers [unit of image squared].
    rule : SuperpixelRule
        How they were made.
    """

    values: Floats
    numbers: Floats
    variances: Floats
    rule: SuperpixelRule

    @property
    def valid(self) -> NDArray[np.bool_]:
        """True where enough pixels entered."""
        needed = self.rule.min_fraction * self.rule.y_bin * self.rule.x_bin
        return self.numbers >= max(needed, 1.0)

    @property
    def mean(self) -> Floats:
        """Values; NaN where too few pixels entered."""
        return self._over_numbers(self.values)

    @property
    def pixel_variance(self) -> Floats:
        """Variance of a pixel; NaN where too few entered."""
        return self._over_numbers(self.variances)

    @property
    def variance(self) -> Floats:
        """Variance of the value; NaN where too few pixels entered."""
        return self._over_numbers(self.pixel_variance)

    def _over_numbers(self, sums: Floats) -> Floats:
        return np.divide(sums, self.numbers, out=np.full_like(sums, np.nan), where=self.valid)

    def filled(self, rule: InterpolationRule) -> Floats:
        """Return the values with those that are missing interpolated, rows first.

        Raises
        ------
        AlgorithmError
            If no superpixel has a value.
        """
        means = self.mean
        if not np.isfinite(means).any():
            raise AlgorithmError("no superpixel has enough good pixels")
        if self.rule.smooth_scale > 0:
            means = _smoothed(means, self.rule.smooth_scale)
        return fill_missing(means, rule)

    def grid(self, frame_shape: tuple[int, int]) -> CellGrid:
        """Return the cells of the frame that have the same centres; the last take up the rest."""
        return superpixel_grid(self.rule, frame_shape)


def superpixel_grid(rule: SuperpixelRule, frame_shape: tuple[int, int]) -> CellGrid:
    """Return the cells of a frame about whose centres superpixels are; the last take up the rest.

    Raises
    ------
    AlgorithmError
        If the frame is smaller than a cell.
    """
    edges = []
    for length, spacing in zip(frame_shape, (rule.y_bin, rule.x_bin), strict=True):
        n = math.floor(length / spacing)
        if n < 1:
            raise AlgorithmError(
                f"a frame of {frame_shape[1]} x {frame_shape[0]} pixels has no superpixel of "
                f"{rule.x_bin:g} x {rule.y_bin:g}",
                hint="Choose smaller ones.",
            )
        inner = np.floor(np.arange(n) * spacing + 0.5).astype(np.int64)
        edges.append(np.append(inner, length))
    return CellGrid(edges[0], edges[1])


def superpixels(
    pieces: Iterable[ImagePiece],
    frame_shape: tuple[int, int],
    rule: SuperpixelRule,
    *,
    statistic: Statistic,
    clip: Clip,
) -> Superpixels:
    """Return the superpixels of an image that comes in pieces.

    Parameters
    ----------
    pieces : iterable of ImagePiece
        Each is asked for when the one before is done.
    frame_shape : (int, int)
        Shape ``(ny, nx)`` of the frame.
    rule : SuperpixelRule
        Spacing and least number of pixels.
    statistic : Statistic
        Kind of value.
    clip : Clip
        Clipping of a clipped mean.

    Raises
    ------
    AlgorithmError
        If the frame is smaller than a cell.
    """
    n_y, n_x = superpixel_grid(rule, frame_shape).shape
    sums = np.zeros((3, n_y, n_x))
    for piece in pieces:
        for y_start in (0, 1):
            rows = _tiling(n_y, rule.y_bin, y_start, piece.window.rows)
            for x_start in (0, 1):
                columns = _tiling(n_x, rule.x_bin, x_start, piece.window.columns)
                if rows is None or columns is None:
                    continue
                inside = (rows.pixels, columns.pixels)
                cells = cell_statistics(
                    piece.image[inside],
                    piece.bad[inside],
                    CellGrid(rows.edges, columns.edges),
                    statistic=statistic,
                    clip=clip,
                )
                some = cells.count > 0
                place = np.ix_(rows.numbers, columns.numbers)
                sums[0][place] += np.where(some, cells.value * cells.count, 0.0)
                sums[1][place] += cells.count
                spread = np.nan_to_num(cells.variance)
                sums[2][place] += np.where(some, spread * cells.count, 0.0)
    return Superpixels(sums[0], sums[1], sums[2], rule)


def cells_from_superpixels(
    values: Floats, rule: SuperpixelRule, grid: CellGrid, window: Window
) -> Floats:
    """Return values at the centres of the cells of a window, bilinear between superpixels.

    Parameters
    ----------
    values : ndarray of float64, shape (n_y, n_x)
        Filled superpixels; beyond the outer ones they stay what they are there.
    rule : SuperpixelRule
        How they were made.
    grid : CellGrid
        Cells of the window.
    window : Window
        Its place in the frame.
    """
    n_y, n_x = values.shape
    linear = InterpolationRule(
        InterpolationStyle.LINEAR, UndersampleStyle.REDUCE_INTERP_ORDER, Extrapolation.CONSTANT
    )
    return np.asarray(
        interpolate_outer(
            values,
            y_knots=_centers(n_y, rule.y_bin),
            x_knots=_centers(n_x, rule.x_bin),
            y=grid.y_centers + window.y,
            x=grid.x_centers + window.x,
            rule=linear,
        )
    )


@dataclass(frozen=True, eq=False)
class _Tiling:
    """Every second row or column of superpixels, which touch but do not overlap."""

    pixels: slice  # of the piece
    edges: NDArray[np.int64]  # within these
    numbers: NDArray[np.int64]


def _tiling(n: int, spacing: float, start: int, pixels: slice) -> _Tiling | None:
    """Return the superpixels ``start, start + 2, ...`` of an axis that have pixels of a piece."""
    numbers = np.arange(start, n, 2)
    firsts = np.floor((numbers - 0.5) * spacing + 0.5).astype(np.int64)
    lasts = np.floor((numbers + 1.5) * spacing + 0.5).astype(np.int64)
    inside = (lasts > pixels.start) & (firsts < pixels.stop)
    if not inside.any():
        return None
    edges = np.append(firsts[inside], lasts[inside][-1])
    edges = np.clip(edges, pixels.start, pixels.stop)
    begin = int(edges[0]) - pixels.start
    length = int(edges[-1] - edges[0])
    return _Tiling(slice(begin, begin + length), edges - edges[0], numbers[inside])


def _centers(n: int, spacing: float) -> Floats:
    """Return the centres of superpixels [pixel]."""
    return np.asarray(np.arange(n) * spacing + (spacing - 1) / 2)


def _smoothed(values: Floats, sigma: float) -> Floats:
    """Smooth by a Gaussian normalised by where there are values; the others stay NaN."""
    known = np.isfinite(values)
    top, bottom = np.where(known, values, 0.0), known.astype(np.float64)
    for axis in (0, 1):
        at = np.arange(values.shape[axis])
        distance = np.subtract.outer(at, at) / sigma
        kernel = np.where(np.abs(distance) <= _WIDTHS, np.exp(-(distance**2) / 2), 0.0)
        top, bottom = (
            np.moveaxis(np.tensordot(kernel, a, (1, axis)), 0, axis) for a in (top, bottom)
        )
    return np.where(known, top / np.where(bottom > 0, bottom, 1.0), np.nan)
