"""Adaptive resampling by reproject, with variance and mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.units import Quantity
from astropy.wcs.wcsapi import BaseLowLevelWCS, HighLevelWCSWrapper

from skytool.core.resampling.pixel_map import Window
from skytool.core.resampling.reprojection import AreaResampler
from skytool.core.resampling.resample_loops import bad_rows, mask_rows, pixel_areas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.resampling.planes import TargetPlanes
    from skytool.core.resampling.resample import Positions

    Plane = NDArray[Any]
    Image = NDArray[np.float64]

_FOOTPRINT = 4.8  # [target pixel, at least source pixel] beyond, products of weights are below 1e-8
_RIM = 3  # [pixel] of the source around what a block sees
_SOME = 1e-6  # smallest weight that passes on a mask bit


class _Pixels(BaseLowLevelWCS):  # type: ignore[misc]
    """World coordinates that are pixels of the source: of the source itself, or of a target."""

    def __init__(self, shape: tuple[int, int], pixel_map: Positions | None, block: Window) -> None:
        self._shape = shape
        self._map = pixel_map
        self._block = block

    @property
    def pixel_n_dim(self) -> int:
        return 2

    @property
    def world_n_dim(self) -> int:
        return 2

    @property
    def world_axis_physical_types(self) -> list[None]:
        return [None, None]

    @property
    def world_axis_units(self) -> list[str]:
        return ["pix", "pix"]

    @property
    def world_axis_object_components(self) -> list[tuple[str, int, str]]:
        return [("x", 0, "value"), ("y", 0, "value")]

    @property
    def world_axis_object_classes(self) -> dict[str, tuple[type, tuple[()], dict[str, str]]]:
        return {axis: (Quantity, (), {"unit": "pix"}) for axis in ("x", "y")}

    @property
    def array_shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def pixel_shape(self) -> tuple[int, int]:
        return self._shape[1], self._shape[0]

    def pixel_to_world_values(self, *pixel_arrays: Any) -> tuple[Any, Any]:
        """Return source columns and rows; pixels of a target lie on lines of a grid."""
        x, y = pixel_arrays
        if self._map is None:
            return x + self._block.x_start, y + self._block.y_start
        columns, at_x = np.unique(x, return_inverse=True)
        rows, at_y = np.unique(y, return_inverse=True)
        u, v = self._map.positions(rows + self._block.y_start, columns + self._block.x_start)
        at = at_y.reshape(np.shape(y)), at_x.reshape(np.shape(x))
        return u[at], v[at]

    def world_to_pixel_values(self, *world_arrays: Any) -> tuple[Any, Any]:
        """Return pixels of the source."""
        x, y = world_arrays
        return x - self._block.x_start, y - self._block.y_start


class AdaptiveResampler(AreaResampler):
    """Resampling by `reproject.reproject_adaptive`: Gaussian weights as wide as a target pixel.

    Parameters are those of `AreaResampler`.

    Notes
    -----
    The method of DeForest (2004, Solar Physics 219, 3) with its default Gaussian. A pixel is good
    if its footprint is on the source. Bits in `grow` come from the whole footprint, others from
    the pixels of a bilinear interpolation.

    reproject gives no variance, but its result is linear in the image: the source pixels are put
    into classes by their position modulo a period no smaller than the footprint, so that a
    footprint has one of every class. ``sqrt(V)`` of one class alone gives ``w_i sqrt(V_i)`` of that
    pixel, and the squares over all classes add up to the variance ``sum(w_i^2 V_i)``. This takes
    25 images more (for large target pixels, of their area times 25), whose weights are computed
    once.
    """

    _block = (128, 128)

    def _fill(self, rows: TargetPlanes, block: Window, first: int) -> Image:
        source = self._source
        y = np.arange(block.y_start - 1.0, block.y_stop + 1)
        x = np.arange(block.x_start - 1.0, block.x_stop + 1)
        u, v = self._pixel_map.positions(y, x)
        areas = np.empty(block.shape)
        pixel_areas(u, v, True, areas)
        seen = self._seen(u, v)
        if 0 in seen.shape:
            return areas
        inner_u, inner_v = u[1:-1, 1:-1], v[1:-1, 1:-1]
        period = int(np.ceil(_FOOTPRINT * max(1.0, _widest(u, v))))
        columns = slice(first, first + block.shape[1])
        self._fill_images(rows, columns, block, seen, period)
        if source.mask.size:
            bits = np.zeros_like(rows.mask)
            mask_rows(
                source.mask, source.tiles, inner_u, inner_v, 1, 1, (0, 2), 0, False, first, bits
            )
            rows.mask[:, columns] |= bits[:, columns]
        if source.bad.size:
            bad_rows(source.bad, inner_u, inner_v, 1, first, rows.bad)
        return areas

    def _seen(self, u: Image, v: Image) -> Window:
        """Return the part of the source that positions and their footprints may see."""
        ny, nx = self._source.pixels[0].shape
        finite = np.isfinite(u) & np.isfinite(v)
        if not finite.any():
            return Window(0, 0, 0, 0)
        rim = _RIM + int(np.ceil(_FOOTPRINT * max(1.0, _widest(u, v))))
        u, v = u[finite], v[finite]
        low_y, high_y = np.clip([v.min() - rim, v.max() + rim + 1], 0, ny).astype(int)
        low_x, high_x = np.clip([u.min() - rim, u.max() + rim + 1], 0, nx).astype(int)
        return Window(int(low_y), int(high_y), int(low_x), int(high_x))

    def _fill_images(
        self, rows: TargetPlanes, columns: slice, block: Window, seen: Window, period: int
    ) -> None:
        """Fill image, extras, variance and the bits of the whole footprint."""
        source = self._source
        part = seen.slices
        n_images = len(source.pixels)
        planes = [pixels[part] for pixels in source.pixels]
        bits = self._grown_bits(part)
        planes += [(source.mask[part] & bit) != 0 for bit in bits]
        if source.variance.size:
            variance = source.variance[part]
            infinite = np.isposinf(variance)
            planes.append(infinite)
            planes += _classes(np.sqrt(np.where(infinite, 0, variance)), period)
        results = self._reproject(planes, block, seen)
        rows.image[:, columns] = results[0]
        for extra, result in zip(rows.extras, results[1:n_images], strict=True):
            extra[:, columns] = result
        for bit, share in zip(bits, results[n_images:], strict=False):
            rows.mask[:, columns] |= np.where(share > _SOME, bit, 0).astype(np.int32)
        if source.variance.size:
            infinite, *classes = results[n_images + len(bits) :]
            spread = np.sum(np.square(classes), axis=0)
            rows.variance[:, columns] = np.where(infinite > _SOME, np.inf, spread)

    def _grown_bits(self, part: tuple[slice, slice]) -> list[int]:
        """Return those bits that take the whole footprint and are in a part of the mask."""
        if not self._source.mask.size:
            return []
        present = int(np.bitwise_or.reduce(self._source.mask[part], axis=None)) & self._grow
        return [1 << k for k in range(31) if present >> k & 1]

    def _reproject(self, planes: list[Plane], block: Window, seen: Window) -> Image:
        """Resample planes of a part of the source onto a block of the target."""
        from reproject import reproject_adaptive

        stack = np.stack([np.asarray(plane, dtype=np.float64) for plane in planes])
        source_wcs = HighLevelWCSWrapper(_Pixels(seen.shape, None, seen))
        target_wcs = HighLevelWCSWrapper(_Pixels(block.shape, self._pixel_map, block))
        return np.asarray(
            reproject_adaptive(
                (stack, source_wcs),
                target_wcs,
                shape_out=(len(planes), *block.shape),
                conserve_flux=self._conserve_flux,
                roundtrip_coords=False,
                return_footprint=False,
            )
        )


def _classes(values: Plane, period: int) -> list[Plane]:
    """Split an image into those of every position modulo a period, zero elsewhere."""
    images = []
    for y in range(period):
        for x in range(period):
            image = np.zeros_like(values)
            image[y::period, x::period] = values[y::period, x::period]
            images.append(image)
    return images


def _widest(u: Image, v: Image) -> float:
    """Return the longest axis of the ellipse that a round target pixel becomes [source pixel]."""
    x_of_y, x_of_x = np.gradient(u)
    y_of_y, y_of_x = np.gradient(v)
    total = x_of_x**2 + x_of_y**2 + y_of_x**2 + y_of_y**2
    area = x_of_x * y_of_y - x_of_y * y_of_x
    longest = np.sqrt((total + np.sqrt(np.maximum(total**2 - 4 * area**2, 0.0))) / 2)
    finite = longest[np.isfinite(longest)]
    return float(finite.max(initial=1.0))
