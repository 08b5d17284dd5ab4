"""A coarse grid over the focal plane of a camera, filled from its detectors.

The grid has one cell more than needed on each side. Coordinates of the grid count cells: cell k
reaches from k - 1/2 to k + 1/2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from skytool.core.background.curves import InterpolationStyle
from skytool.core.background.interpolation import InterpolationRule, fill_missing
from skytool.core.statistics import Clip, sample_statistics
from skytool.errors import AlgorithmError, IncompatibleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_GAUSSIAN_REACH = 4.0  # standard deviations


@dataclass(frozen=True, eq=False)
class Affine:
    """A linear map with a shift, from the pixels of a detector to the focal plane.

    Parameters
    ----------
    matrix : ndarray of float64, shape (2, 2)
        ``(x, y)`` on the focal plane are ``matrix @ (x, y) + shift`` of pixels.
    shift : ndarray of float64, shape (2,)
        In x and y.
    """

    matrix: Floats
    shift: Floats

    @classmethod
    def identity(cls) -> Self:
        """Return the map of a detector that is its own focal plane."""
        return cls(np.eye(2), np.zeros(2))

    def __call__(self, *, y: Floats | float, x: Floats | float) -> tuple[Floats, Floats]:
        """Return ``(y, x)`` on the focal plane."""
        (xx, xy), (yx, yy) = self.matrix
        return (
            np.asarray(yx * x + yy * y + self.shift[1]),
            np.asarray(xx * x + xy * y + self.shift[0]),
        )

    def inverse(self) -> Self:
        """Return the map from the focal plane to pixels."""
        matrix = np.asarray(np.linalg.inv(self.matrix), np.float64)
        return type(self)(matrix, -matrix @ self.shift)

    def after(self, first: Affine) -> Self:
        """Return the map that applies another one before this one."""
        return type(self)(self.matrix @ first.matrix, self.matrix @ first.shift + self.shift)

    @property
    def scale(self) -> float:
        """Length on the focal plane of the side of a pixel."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix))))


@dataclass(frozen=True)
class FocalPlaneRule:
    """How the grid is made and used.

    Parameters
    ----------
    x_size, y_size : float
        Size of a cell [unit of the focal plane].
    pixel_size : float
        Size of a pixel, in the same unit.
    min_fraction : float
        Least number of good pixels of a cell with a value, in units of its area.
    smooth_scale : float
        Sigma of a Gaussian that smooths the grid [cell]; 0 for none.
    style : InterpolationStyle
        How missing cells are filled, and how the grid is evaluated on a detector.
    binning : int
        Size of the cells of the model on a detector [pixel].
    clip : Clip
        Clipping of the mean of each cell.
    """

    x_size: float
    y_size: float
    pixel_size: float = 1.0
    min_fraction: float = 0.1
    smooth_scale: float = 0.0
    style: InterpolationStyle = InterpolationStyle.AKIMA_SPLINE
    binning: int = 64
    clip: Clip = field(default_factory=Clip)


@dataclass(frozen=True, eq=False)
class FocalPlaneGrid:
    """Sums over the cells of the focal plane; arrays of float64, shape ``(n_y, n_x)``.

    Parameters
    ----------
    rule : FocalPlaneRule
        Size of the cells, and the rest.
    corner : (float, float)
        Lowest ``(y, x)`` of the detectors on the focal plane.
    values : ndarray
        Sum of means times numbers of good pixels [unit of image].
    numbers : ndarray
        Numbers of good pixels.
    """

    rule: FocalPlaneRule
    corner: tuple[float, float]
    values: Floats
    numbers: Floats

    @classmethod
    def covering(
        cls, detectors: Sequence[tuple[Affine, tuple[int, int]]], rule: FocalPlaneRule
    ) -> Self:
        """Return an empty grid over the outer edges of detectors.

        Parameters
        ----------
        detectors : sequence of (Affine, (int, int))
            Map and shape ``(ny, nx)`` of each.
        rule : FocalPlaneRule
            Size of the cells.
        """
        y, x = np.concatenate([_corners(*detector) for detector in detectors], axis=1)
        n_y = math.ceil(np.ptp(y) / rule.y_size) + 2
        n_x = math.ceil(np.ptp(x) / rule.x_size) + 2
        empty = np.zeros((n_y, n_x))
        return cls(rule, (float(y.min()), float(x.min())), empty, empty)

    def position(self, *, y: Floats, x: Floats) -> tuple[Floats, Floats]:
        """Return the coordinates ``(y, x)`` of places on the focal plane in the grid [cell]."""
        return (
            np.asarray((y - self.corner[0]) / self.rule.y_size + 1),
            np.asarray((x - self.corner[1]) / self.rule.x_size + 1),
        )

    def with_detector(
        self,
        image: NDArray[np.floating],
        bad: NDArray[np.bool_],
        affine: Affine,
        *,
        pixels: NDArray[np.integer] | None = None,
    ) -> Self:
        """Return the grid with the pixels of a detector added.

        Parameters
        ----------
        image : ndarray of float, shape (ny, nx)
            Pixels, or means of blocks of them.
        bad : ndarray of bool, shape (ny, nx)
            What to leave out.
        affine : Affine
            From the elements of ``image`` to the focal plane.
        pixels : ndarray of int, shape (ny, nx), optional
            Good pixels that each element stands for; 1 if not given.

        Notes
        -----
        A cell takes the upright rectangle between two opposite corners of it, edges included: its
        rotation is neglected, and neighbours share the pixels along their border.
        """
        values, numbers = np.zeros_like(self.values), np.zeros_like(self.numbers)
        ny, nx = image.shape
        to_pixels = affine.inverse()
        for j, i in np.ndindex(*values.shape):
            low, high = (
                to_pixels(
                    y=self.corner[0] + (j + half - 1) * self.rule.y_size,
                    x=self.corner[1] + (i + half - 1) * self.rule.x_size,
                )
                for half in (-0.5, 0.5)
            )
            (y0, y1), (x0, x1) = (
                sorted(math.floor(float(v) + 0.5) for v in pair)
                for pair in zip(low, high, strict=True)
            )
            rows, columns = slice(max(y0, 0), min(y1 + 1, ny)), slice(max(x0, 0), min(x1 + 1, nx))
            if rows.start >= rows.stop or columns.start >= columns.stop:
                continue
            box = rows, columns
            found = sample_statistics(image[box], bad[box], clip=self.rule.clip)
            if found.count:
                mean = found.clip_mean
                number = found.count if pixels is None else float(pixels[box][~bad[box]].sum())
                values[j, i], numbers[j, i] = mean * number, number
        return replace(self, values=self.values + values, numbers=self.numbers + numbers)

    def merged(self, other: FocalPlaneGrid) -> Self:
        """Return the sum of two grids.

        Raises
        ------
        IncompatibleError
            If they differ in size.
        """
        if self.values.shape != other.values.shape:
            raise IncompatibleError(
                f"grids of {self.values.shape} and {other.values.shape} cells on the focal plane "
                "do not add up."
            )
        return replace(
            self, values=self.values + other.values, numbers=self.numbers + other.numbers
        )

    def filled(self) -> Floats:
        """Return the value of every cell, those with too few pixels filled from the others.

        Raises
        ------
        AlgorithmError
            If no cell has enough good pixels.
        """
        rule = self.rule
        area = (rule.x_size / rule.pixel_size) * (rule.y_size / rule.pixel_size)
        good = (self.numbers > 0) & (self.numbers >= rule.min_fraction * area)
        if not good.any():
            raise AlgorithmError(
                f"no cell of the focal plane has {rule.min_fraction:g} of its pixels good.",
                hint="Choose cells not much larger than a detector, or a smaller fraction.",
            )
        means = np.divide(
            self.values, self.numbers, out=np.full_like(self.values, np.nan), where=good
        )
        if rule.smooth_scale > 0:
            means = _smoothed(means, rule.smooth_scale)
        return fill_missing(means, InterpolationRule(rule.style))

    def level(self) -> float:
        """Return the median over all cells, those that are filled included."""
        return float(np.median(self.filled()))

    def on_detector(self, affine: Affine, *, y: Floats, x: Floats) -> Floats:
        """Return the grid at pixels of a detector.

        Parameters
        ----------
        affine : Affine
            From its pixels to the focal plane.
        y, x : ndarray of float64, shape (n,) and (m,)
            Rows and columns [pixel].

        Returns
        -------
        values : ndarray of float64, shape (n, m)
            Bilinear between the centres of cells; the mean of the others where a place lies
            outside of the grid.
        """
        values = self.filled()
        n_y, n_x = values.shape
        at_y, at_x = self.position(**dict(zip("yx", affine(y=y[:, None], x=x), strict=True)))
        j, i = (np.floor(at).astype(np.int64) for at in (at_y, at_x))
        inside = (j >= 0) & (i >= 0) & (at_y <= n_y - 1) & (at_x <= n_x - 1)
        j, i = np.clip(j, 0, max(n_y - 2, 0)), np.clip(i, 0, max(n_x - 2, 0))
        v, u = at_y - j, at_x - i
        sampled = (
            (1 - v) * (1 - u) * values[j, i]
            + (1 - v) * u * values[j, i + 1]
            + v * (1 - u) * values[j + 1, i]
            + v * u * values[j + 1, i + 1]
        )
        if not inside.all():
            sampled[~inside] = sampled[inside].mean() if inside.any() else np.mean(values)
        return np.asarray(sampled)


def _corners(affine: Affine, shape: tuple[int, int]) -> Floats:
    """Return the outer corners of a detector on the focal plane, y and x."""
    ny, nx = shape
    return np.stack(
        affine(y=np.array([-0.5, -0.5, ny - 0.5, ny - 0.5]), x=np.array([-0.5, nx - 0.5] * 2))
    )


def _smoothed(values: Floats, sigma: float) -> Floats:
    """Smooth by a Gaussian, normalised by where there are values; what is missing stays missing."""
    known = np.isfinite(values)
    top, bottom = np.where(known, values, 0.0), known.astype(np.float64)
    for axis in (0, 1):
        at = np.arange(values.shape[axis])
        distance = np.subtract.outer(at, at)
        reach = int(_GAUSSIAN_REACH * sigma + 0.5)
        kernel = np.where(np.abs(distance) <= reach, np.exp(-0.5 * (distance / sigma) ** 2), 0.0)
        top, bottom = (
            np.moveaxis(np.tensordot(kernel, plane, (1, axis)), 0, axis) for plane in (top, bottom)
        )
    return np.where(known, top / np.where(bottom > 0, bottom, 1.0), np.nan)
