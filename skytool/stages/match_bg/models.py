"""What a match adds to an exposure: surfaces over a frame, and what is stored for each piece."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from skytool.core.background.cell_grid import CellGrid, extrapolated_cells
from skytool.core.background.curves import Extrapolation, InterpolationStyle
from skytool.core.background.interpolation import (
    InterpolationRule,
    UndersampleStyle,
    interpolate_outer,
)
from skytool.core.background.polynomial_match import bounded_polynomial, shifted_polynomial
from skytool.core.skyframe.superpixels import cells_from_superpixels, superpixel_grid
from skytool.core.windows import Window, grid_part
from skytool.models.background.hdus import (
    BackgroundModel,
    BinnedBackground,
    ChebyshevBackground,
    ConstantBackground,
    ImageBackground,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.background.chebyshev import ChebyshevModel
    from skytool.core.background.chebyshev_fit import ChebyshevFit
    from skytool.core.skyframe.superpixels import SuperpixelRule

    Floats = NDArray[np.float64]

NO_VALUE = 1 << 8
"""Bit of a cell without a value in BKGMASK: that of the plane NO_DATA."""


class FrameModel(ABC):
    """A surface over a frame."""

    @abstractmethod
    def piece(self, window: Window) -> BackgroundModel:
        """Return what is stored for a window, and evaluated to match it."""

    @abstractmethod
    def lattice(self, y: NDArray[np.int64], x: NDArray[np.int64]) -> Floats:
        """Return the values at all pairs of rows and columns of pixels, ``(len(y), len(x))``."""

    def variance(self, window: Window) -> BackgroundModel | None:
        """Return the variance of the surface; None if it is not known."""
        del window
        return None

    def with_noise(self, factor: float) -> Self:
        """Return the same surface with its variance multiplied."""
        del factor
        return self

    def outside(self, window: Window) -> NDArray[np.bool_] | None:
        """Return where the surface is extrapolated, shape ``(ny, nx)``; None for nowhere."""
        del window
        return None


@dataclass(frozen=True)
class ConstantModel(FrameModel):
    """One value everywhere.

    Parameters
    ----------
    value : float
        The value [unit of image].
    """

    value: float = 0.0

    def piece(self, window: Window) -> BackgroundModel:
        """Return the value."""
        del window
        return ConstantBackground(self.value)

    def lattice(self, y: NDArray[np.int64], x: NDArray[np.int64]) -> Floats:
        """Return the value at all pairs."""
        return np.full((len(y), len(x)), self.value)


def _outside(grid: CellGrid, valid: NDArray[np.bool_], window: Window) -> NDArray[np.bool_] | None:
    """Return the pixels of a window whose cell is outside of those with a value."""
    flags = extrapolated_cells(valid)
    if not flags.any():
        return None
    part = grid_part(grid, window)
    n_y, n_x = part.grid.shape
    inside = flags[part.row : part.row + n_y, part.column : part.column + n_x]
    return part.grid.expand(inside) if inside.any() else None


@dataclass(frozen=True, eq=False)
class PolynomialModel(FrameModel):
    """A polynomial.

    Parameters
    ----------
    surface : ChebyshevModel
        The polynomial.
    fit : ChebyshevFit
        Where it comes from, with the covariance of its terms.
    grid : CellGrid
        Cells of the frame.
    valid : ndarray of bool, shape (n_y, n_x)
        Cells that it is based on.
    reach : float
        Distance from these up to which it is followed [pixel].
    """

    surface: ChebyshevModel
    fit: ChebyshevFit
    grid: CellGrid
    valid: NDArray[np.bool_]
    reach: float

    @classmethod
    def bounded(
        cls, fit: ChebyshevFit, grid: CellGrid, valid: NDArray[np.bool_], reach: float
    ) -> Self:
        """Return a fit as a model that keeps its value beyond a distance from its cells."""
        return cls(bounded_polynomial(fit.model, grid, valid, reach), fit, grid, valid, reach)

    def piece(self, window: Window) -> BackgroundModel:
        """Return the polynomial in the pixels of the window."""
        return ChebyshevBackground(_part(self.surface, window))

    def lattice(self, y: NDArray[np.int64], x: NDArray[np.int64]) -> Floats:
        """Return the values at all pairs of rows and columns."""
        return self.surface.lattice(y=y, x=x)

    def variance(self, window: Window) -> BackgroundModel:
        """Return the variance, as it follows from the weights of the cells."""
        spread = bounded_polynomial(self.fit.variance_model(), self.grid, self.valid, self.reach)
        return ChebyshevBackground(_part(spread, window))

    def with_noise(self, factor: float) -> Self:
        """Return the same polynomial with its variance multiplied."""
        return replace(self, fit=replace(self.fit, covariance=factor * self.fit.covariance))

    def outside(self, window: Window) -> NDArray[np.bool_] | None:
        """Return where no cell with a value is on both sides."""
        return _outside(self.grid, self.valid, window)


def _part(model: ChebyshevModel, window: Window) -> ChebyshevModel:
    return shifted_polynomial(model, y=window.y, x=window.x, shape=window.shape)


@dataclass(frozen=True, eq=False)
class SplineModel(FrameModel):
    """Curves through cells, first along y, then along x.

    Parameters
    ----------
    grid : CellGrid
        Cells of the frame.
    values, spread : ndarray of float32, shape (n_y, n_x)
        Values of the cells and the variances of these; NaN where there is none.
    rule : InterpolationRule
        Kind of curves.
    """

    grid: CellGrid
    values: NDArray[np.float32]
    spread: NDArray[np.float32]
    rule: InterpolationRule

    def piece(self, window: Window) -> BackgroundModel:
        """Return the cells, if the window is the frame, or else the image of the surface."""
        mask = np.where(np.isfinite(self.values), 0, NO_VALUE).astype(np.int32)
        whole = BinnedBackground(self.values, self.grid, self.rule, mask, self.spread)
        if window == Window.whole(self.grid.image_shape):
            return whole
        rows = whole.evaluate(self.grid.image_shape, rows=window.rows)
        return ImageBackground(np.ascontiguousarray(rows[:, window.columns]))

    def lattice(self, y: NDArray[np.int64], x: NDArray[np.int64]) -> Floats:
        """Return the values at all pairs of rows and columns."""
        return np.asarray(
            interpolate_outer(
                self.values,
                y_knots=self.grid.y_centers,
                x_knots=self.grid.x_centers,
                y=y,
                x=x,
                rule=self.rule,
            )
        )

    def variance(self, window: Window) -> BackgroundModel | None:
        """Return the variances of the cells, joined by straight lines: an upper limit."""
        known = np.where(np.isfinite(self.values), self.spread, np.nan)
        if not np.isfinite(known).any():
            return None
        linear = InterpolationRule(
            InterpolationStyle.LINEAR, UndersampleStyle.REDUCE_INTERP_ORDER, Extrapolation.CONSTANT
        )
        return SplineModel(self.grid, known.astype(np.float32), self.spread, linear).piece(window)

    def with_noise(self, factor: float) -> Self:
        """Return the same curves with their variance multiplied."""
        return replace(self, spread=(factor * self.spread).astype(np.float32))

    def outside(self, window: Window) -> NDArray[np.bool_] | None:
        """Return where no cell with a value is on both sides."""
        return _outside(self.grid, np.isfinite(self.values), window)


@dataclass(frozen=True, eq=False)
class SuperpixelModel(FrameModel):
    """Superpixels of a frame; each piece gets finer cells read off between them.

    Parameters
    ----------
    shape : (int, int)
        Shape ``(ny, nx)`` of the frame.
    values : ndarray of float64, shape (n_y, n_x)
        Values without gaps.
    known : ndarray of bool, shape (n_y, n_x)
        Which of them were not filled in.
    spread : ndarray of float64, shape (n_y, n_x)
        Variances of the values.
    superpixels : SuperpixelRule
        How they were made.
    binning : int
        Side of the cells [pixel].
    rule : InterpolationRule
        Kind of curves through the cells.
    """

    shape: tuple[int, int]
    values: Floats
    known: NDArray[np.bool_]
    spread: Floats
    superpixels: SuperpixelRule
    binning: int
    rule: InterpolationRule

    def piece(self, window: Window) -> BackgroundModel:
        """Return the cells of the window."""
        return self._cells(window, self.values, self.rule)

    def _cells(self, window: Window, values: Floats, rule: InterpolationRule) -> BinnedBackground:
        grid = CellGrid.from_bin_size(window.shape, self.binning)
        finer = cells_from_superpixels(values, self.superpixels, grid, window)
        spread = np.where(np.isfinite(self.spread), self.spread, np.nanmax(self.spread))
        errors = cells_from_superpixels(spread, self.superpixels, grid, window)
        return BinnedBackground(
            finer.astype(np.float32),
            grid,
            rule,
            np.zeros(grid.shape, np.int32),
            errors.astype(np.float32),
        )

    def lattice(self, y: NDArray[np.int64], x: NDArray[np.int64]) -> Floats:
        """Return the values at all pairs of rows and columns."""
        whole = self.piece(Window.whole(self.shape)).evaluate(self.shape)
        return whole[np.ix_(y, x)].astype(np.float64)

    def variance(self, window: Window) -> BackgroundModel | None:
        """Return the variances of the superpixels, joined by straight lines."""
        linear = InterpolationRule(
            InterpolationStyle.LINEAR, UndersampleStyle.REDUCE_INTERP_ORDER, Extrapolation.CONSTANT
        )
        spread = np.where(np.isfinite(self.spread), self.spread, np.nanmax(self.spread))
        return self._cells(window, spread, linear)

    def with_noise(self, factor: float) -> Self:
        """Return the same superpixels with their variance multiplied."""
        return replace(self, spread=factor * self.spread)

    def outside(self, window: Window) -> NDArray[np.bool_] | None:
        """Return where no superpixel with a value is on both sides."""
        grid = superpixel_grid(self.superpixels, self.shape)
        return _outside(grid, self.known, window)
