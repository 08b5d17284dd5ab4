"""One image behind the point spread function of a warp or coadd."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from skytool.core.resampling.polynomial_map import PolynomialMap
from skytool.core.resampling.warped_psf import warped_shape, warped_star
from skytool.errors import AlgorithmError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from skytool.core.resampling.pixel_map import Window
    from skytool.models.psf.base import Psf

    Image = NDArray[np.float64]
    Vector = NDArray[np.float64]
    Positions = Callable[[Vector, Vector], tuple[Image, Image]]

Shift = Literal["model", "lanczos5"]

_ROUNDING = 1e-6  # [pixel] by which a position may leave an image


@dataclass(frozen=True, eq=False)
class PsfInput:
    """One image that was resampled, with its own point spread function.

    Parameters
    ----------
    psf : Psf
        PSF in the pixels of the input.
    pixel_map : PolynomialMap
        From pixels of the warp to those of the input.
    region : tuple of float
        ``(y_start, y_stop, x_start, x_stop)``: positions on the input from which the warp has
        values, both ends included [pixel].
    weight : float
        Weight of the input.
    id : int
        Number of the input, as in the table CCDS.
    group : int
        Inputs of one group are alternatives: a pixel comes from one of them, as the detectors of
        a visit.
    rank : int
        Of the inputs of a group that see a position the one of highest rank gives the star; equal
        ones are averaged.
    shares : bool
        Several of equal rank have the weight of one together; otherwise each has its own.
    kernel : str
        Resampling kernel of the warp.
    oversample : int
        Samples per pixel and axis of the warp.
    shift : {"model", "lanczos5"}
        How the star gets its place between pixels of the input: by the model of the PSF itself,
        or by resampling the star in the middle of a pixel.
    center : tuple of float
        Mean position ``(y, x)`` in the warp of the pixels it sees [pixel].
    good_pixels : int
        Pixels of the warp to which it gives a value.
    """

    psf: Psf
    pixel_map: PolynomialMap
    region: tuple[float, float, float, float]
    weight: float = 1.0
    id: int = 0
    group: int = 0
    rank: int = 0
    shares: bool = True
    kernel: str = "lanczos3"
    oversample: int = 1
    shift: Shift = "model"
    center: tuple[float, float] = (0.0, 0.0)
    good_pixels: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0.0):
            raise InputError(f"an input of a PSF has the weight {self.weight:g}.")

    @classmethod
    def of_detector(
        cls,
        psf: Psf,
        positions: Positions,
        window: Window,
        shape: tuple[int, int],
        region: tuple[float, float, float, float],
        **values: object,
    ) -> Self | None:
        """Return the record of a detector that was resampled.

        Parameters
        ----------
        psf : Psf
            PSF of the detector; of one that ends somewhere, the form for all positions is taken.
        positions : function
            ``positions(y, x) -> (u, v)``: columns and rows of the detector of all pairs of
            ascending rows and columns of the warp [pixel].
        window : Window
            Pixels of the warp that may see the detector.
        shape : tuple of int
            Shape ``(ny, nx)`` of the detector.
        region : tuple of float
            As for the class.
        **values
            Further attributes.

        Returns
        -------
        PsfInput or None
            None if the detector does not reach the warp.
        """
        if 0 in window.shape:
            return None
        start = window.y_start, window.x_start
        try:
            pixel_map = PolynomialMap.fit(positions, start, window.shape, shape)
        except ValueError:
            return None
        entry = cls(psf.everywhere(), pixel_map, region, **values)  # type: ignore[arg-type]
        return replace(entry, center=entry._middle())

    @classmethod
    def of_image(cls, psf: Psf, shape: tuple[int, int], **values: object) -> Self:
        """Return the record of an image that is on the grid already, of shape ``(ny, nx)``."""
        ny, nx = shape
        pixel_map = PolynomialMap.identity(shape)
        region = (-0.5, ny - 0.5, -0.5, nx - 0.5)
        values.setdefault("center", ((ny - 1) / 2, (nx - 1) / 2))
        return cls(psf.everywhere(), pixel_map, region, **values)  # type: ignore[arg-type]

    def sees(self, *, y: float, x: float) -> bool:
        """Return whether the warp has a value of this input at a position [pixel]."""
        return bool(self._sees(np.float64(y), np.float64(x)))

    def _sees(self, y: Vector | np.float64, x: Vector | np.float64) -> NDArray[np.bool_]:
        v, u = self.pixel_map.positions(y=y, x=x)
        y_start, y_stop, x_start, x_stop = self.region
        return np.asarray(
            self.pixel_map.covers(y=y, x=x)
            & (v >= y_start - _ROUNDING)
            & (v <= y_stop + _ROUNDING)
            & (u >= x_start - _ROUNDING)
            & (u <= x_stop + _ROUNDING)
        )

    def _middle(self) -> tuple[float, float]:
        """Return the mean of the positions in the warp that it sees."""
        (y0, x0), (ny, nx) = self.pixel_map.start, self.pixel_map.shape
        y, x = np.meshgrid(
            y0 + np.linspace(0.0, ny - 1.0, 17), x0 + np.linspace(0.0, nx - 1.0, 17), indexing="ij"
        )
        seen = self._sees(y.ravel(), x.ravel()).reshape(y.shape)
        if not seen.any():
            return float(y.mean()), float(x.mean())
        return float(y[seen].mean()), float(x[seen].mean())

    def warped_shape(self, *, y: float, x: float) -> tuple[int, int]:
        """Return the shape of the stamp of a star at a position."""
        return warped_shape(self.psf.shape, self._matrix(y, x))

    def _matrix(self, y: float, x: float) -> Image:
        return self.pixel_map.matrix(y=y, x=x)

    def star(self, *, y: float, x: float, rows: Vector, columns: Vector) -> Image:
        """Return the star at a position as resampling makes it.

        Parameters
        ----------
        y, x : float
            Position in the warp [pixel].
        rows, columns : ndarray of float64, shape (h,) and (w,)
            Pixels of the warp, one apart, counted from the star [pixel].

        Returns
        -------
        ndarray of float64, shape (h, w)
            Normalised to a sum of one on the star's own stamp, `warped_shape`; zero beyond.

        Raises
        ------
        AlgorithmError
            If the transform is impossible, or the star has no positive sum.
        """
        where = f"the PSF of input {self.id} at (x, y) = ({x:g}, {y:g})"
        matrix = self._matrix(y, x)
        try:
            shape = warped_shape(self.psf.shape, matrix)
        except ValueError as error:
            raise AlgorithmError(f"{where}: {error}.") from error
        v, u = (float(at) for at in self.pixel_map.positions(y=y, x=x))
        stamp, dy, dx = self._on_detector(v, u)
        own_rows, own_columns = (
            np.arange(n) - n // 2 + (along[0] - np.rint(along[0]))
            for n, along in zip(shape, (rows, columns), strict=True)
        )
        star = warped_star(
            stamp,
            matrix,
            y=stamp.shape[0] // 2 + dy,
            x=stamp.shape[1] // 2 + dx,
            rows=own_rows,
            columns=own_columns,
            kernel=self.kernel,
            oversample=self.oversample,
        )
        total = float(star.sum())
        if not (math.isfinite(total) and total > 0.0):
            raise AlgorithmError(f"{where} has the sum {total:g}.")
        first = [round(own[0] - out[0]) for own, out in ((own_rows, rows), (own_columns, columns))]
        return _placed(star / total, (rows.size, columns.size), first)

    def _on_detector(self, v: float, u: float) -> tuple[Image, float, float]:
        """Return the star on the input, and how far it is from the middle of its stamp."""
        dy, dx = v - math.floor(v + 0.5), u - math.floor(u + 0.5)
        if self.shift == "model":
            return self.psf.image(y=v, x=u), dy, dx
        stamp = self.psf.kernel_image(y=v, x=u)
        h, w = stamp.shape
        moved = warped_star(
            stamp,
            np.eye(2),
            y=h // 2,
            x=w // 2,
            rows=np.arange(h) - h // 2 - dy,
            columns=np.arange(w) - w // 2 - dx,
            kernel=self.shift,
        )
        return moved, dy, dx

    def shifted(self, dy: int, dx: int) -> Self:
        """Return the record for a warp in which all positions are larger by ``(dy, dx)``."""
        center = self.center[0] + dy, self.center[1] + dx
        return replace(self, pixel_map=self.pixel_map.shifted(dy, dx), center=center)


def _placed(star: Image, shape: tuple[int, int], first: Sequence[int]) -> Image:
    """Return an array with a stamp at a place, which may be partly outside."""
    result = np.zeros(shape)
    into, out_of = [], []
    for size, length, place in zip(star.shape, shape, first, strict=True):
        start, stop = max(place, 0), min(place + size, length)
        stop = max(start, stop)
        into.append(slice(start, stop))
        out_of.append(slice(start - place, stop - place))
    result[tuple(into)] = star[tuple(out_of)]
    return result
