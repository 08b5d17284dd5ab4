"""Backgrounds that were taken off an image, or added to it, layer by layer."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from skytool.core.background.chebyshev import ChebyshevModel, point_basis
from skytool.core.background.chebyshev_fit import chebyshev_fit
from skytool.core.background.interpolation import InterpolationRule, interpolate_cells
from skytool.errors import IncompatibleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.background.cell_grid import CellGrid

Operation = Literal["ADD", "SUBTRACT"]


class BackgroundModel(ABC):
    """A surface over an image."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int] | None:
        """Shape ``(ny, nx)`` of the image it is for; None if it fits any."""

    @abstractmethod
    def _values(self, shape: tuple[int, int], rows: slice | None) -> NDArray[np.floating]:
        """Return the surface over an image of a shape that fits."""

    def evaluate(self, shape: tuple[int, int], *, rows: slice | None = None) -> NDArray[np.float32]:
        """Return the surface at every pixel.

        Parameters
        ----------
        shape : tuple of int
            Shape ``(ny, nx)`` of the image.
        rows : slice, optional
            Rows wanted; all by default.

        Raises
        ------
        IncompatibleError
            If the surface is for an image of another shape.
        AlgorithmError
            If the model has too few cells for its interpolation.
        """
        if self.shape is not None and tuple(self.shape) != tuple(shape):
            raise IncompatibleError(
                f"a background for {self.shape[1]} x {self.shape[0]} pixels does not go with an "
                f"image of {shape[1]} x {shape[0]}."
            )
        return self._values(shape, rows).astype(np.float32, copy=False)


@dataclass(frozen=True)
class ConstantBackground(BackgroundModel):
    """One value everywhere.

    Parameters
    ----------
    value : float
        The value [unit of image].
    """

    value: float

    @property
    def shape(self) -> None:
        """None: it fits any image."""

    def _values(self, shape: tuple[int, int], rows: slice | None) -> NDArray[np.floating]:
        n_rows = len(range(shape[0])[rows or slice(None)])
        return np.full((n_rows, shape[1]), self.value, np.float32)


@dataclass(frozen=True, eq=False)
class ChebyshevBackground(BackgroundModel):
    """A polynomial.

    Parameters
    ----------
    model : ChebyshevModel
        The surface [unit of image].
    """

    model: ChebyshevModel

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of the image."""
        return self.model.shape

    def _values(self, shape: tuple[int, int], rows: slice | None) -> NDArray[np.floating]:
        del shape
        return self.model.image(rows=rows)


@dataclass(frozen=True, eq=False)
class ImageBackground(BackgroundModel):
    """A value for every pixel.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
        The values [unit of image].
    """

    image: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of the image."""
        ny, nx = self.image.shape
        return ny, nx

    def _values(self, shape: tuple[int, int], rows: slice | None) -> NDArray[np.floating]:
        del shape
        return self.image[rows or slice(None)]


@dataclass(frozen=True)
class Approximation:
    """A polynomial through cells, in place of curves.

    Parameters
    ----------
    order : int
        Highest total degree.
    weighted : bool
        Whether cells are weighted by the inverse of their variance plane.
    """

    order: int
    weighted: bool


@dataclass(frozen=True, eq=False)
class BinnedBackground(BackgroundModel):
    """A smooth surface through the values of cells.

    Parameters
    ----------
    cells : ndarray of float32, shape (n_y, n_x)
        Values at the centres of the cells [unit of image]; NaN where there is none.
    grid : CellGrid
        The cells.
    rule : InterpolationRule
        How they are joined.
    mask : ndarray of int32, shape (n_y, n_x), or None
        Mask bits of the cells; kept, not used.
    variance : ndarray of float32, shape (n_y, n_x), or None
        Variance plane of the cells [unit of image squared].
    approximation : Approximation or None
        The polynomial to use instead of ``rule``.

    Raises
    ------
    ValueError
        If the arrays do not go with the grid.
    """

    cells: NDArray[np.float32]
    grid: CellGrid
    rule: InterpolationRule = field(default_factory=InterpolationRule)
    mask: NDArray[np.int32] | None = None
    variance: NDArray[np.float32] | None = None
    approximation: Approximation | None = None

    def __post_init__(self) -> None:
        for plane in (self.cells, self.mask, self.variance):
            if plane is not None and plane.shape != self.grid.shape:
                msg = f"cells of shape {plane.shape} do not go with a grid of {self.grid.shape}"
                raise ValueError(msg)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of the image."""
        return self.grid.image_shape

    def _values(self, shape: tuple[int, int], rows: slice | None) -> NDArray[np.floating]:
        if self.approximation is None:
            return interpolate_cells(self.cells, self.grid, self.rule, rows=rows)
        order = self.approximation.order
        y, x = np.meshgrid(self.grid.y_centers, self.grid.x_centers, indexing="ij")
        weights = None
        if self.approximation.weighted and self.variance is not None:
            weights = 1.0 / self.variance.astype(np.float64)
        fit = chebyshev_fit(
            self.cells,
            point_basis(order, shape, y=y, x=x),
            order=order,
            shape=shape,
            weights=weights,
            max_condition=math.inf,
        )
        return fit.model.image(rows=rows)


@dataclass(frozen=True, eq=False)
class BackgroundLayer:
    """One change of the pixels of an image, in a way that can be undone.

    Parameters
    ----------
    model : BackgroundModel
        The surface.
    operation : {"ADD", "SUBTRACT"}
        ``pixels_now = pixels_before + scale * model``, or ``- scale * model``.
    scale : float
        Factor on the model.
    stage : str
        Who did it, as ``match-bg``.
    sky_file, sky_sum : str
        Name and DATASUM of the sky frame, if the model is one.
    scale_error : float or None
        Standard error of the scale.

    Raises
    ------
    ValueError
        If the operation is unknown, or the scale not finite.
    """

    model: BackgroundModel
    operation: Operation = "SUBTRACT"
    scale: float = 1.0
    stage: str = ""
    sky_file: str = ""
    sky_sum: str = ""
    scale_error: float | None = None

    def __post_init__(self) -> None:
        if self.operation not in {"ADD", "SUBTRACT"}:
            msg = f"the operation is ADD or SUBTRACT, not {self.operation!r}"
            raise ValueError(msg)
        if not math.isfinite(self.scale):
            msg = f"the scale is {self.scale}"
            raise ValueError(msg)

    @property
    def factor(self) -> float:
        """What the model was multiplied with when it was added."""
        return self.scale if self.operation == "ADD" else -self.scale


@dataclass(frozen=True, eq=False)
class Background:
    """The layers that were applied to an image, in order.

    Parameters
    ----------
    layers : tuple of BackgroundLayer
        First applied first.
    unit : str
        FITS unit of the models; empty if unknown.
    """

    layers: tuple[BackgroundLayer, ...] = ()
    unit: str = ""

    @classmethod
    def of(cls, model: BackgroundModel, unit: str = "") -> Self:
        """Return the background that one model gives."""
        return cls((BackgroundLayer(model),), unit)

    def with_layer(self, layer: BackgroundLayer) -> Self:
        """Return the background after a further layer."""
        return replace(self, layers=(*self.layers, layer))

    def evaluate(self, shape: tuple[int, int], *, rows: slice | None = None) -> NDArray[np.float32]:
        """Return the background that is missing in the pixels: all subtracted less all added.

        Added to the pixels it restores them as they were before the first layer.

        Parameters
        ----------
        shape : tuple of int
            Shape ``(ny, nx)`` of the image.
        rows : slice, optional
            Rows wanted; all by default.

        Raises
        ------
        IncompatibleError
            If a layer is for an image of another shape.
        """
        n_rows = len(range(shape[0])[rows or slice(None)])
        total = np.zeros((n_rows, shape[1]))
        for layer in self.layers:
            total -= layer.factor * layer.model.evaluate(shape, rows=rows).astype(np.float64)
        return total.astype(np.float32)
