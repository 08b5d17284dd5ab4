"""The planes of a resampling, in the form that the compiled loops take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skytool.core.resampling.resample_loops import TILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytool.core.resampling.kernels import ResamplingKernel

    Plane = NDArray[Any]


class SourcePlanes(NamedTuple):
    """Planes of the source, of shape (0, 0) where there is none.

    `pixels` are the image and the extras, `samples` the same or, for a kernel that filters, their
    coefficients. A footprint with a pixel of `poison` gives no value. `tiles` and `poison_tiles`
    hold the union of `mask` and of `poison` in and around every tile.
    """

    pixels: list[Plane]
    samples: list[Plane]
    variance: Plane
    mask: Plane
    bad: Plane
    poison: Plane
    tiles: Plane
    poison_tiles: Plane


class TargetPlanes(NamedTuple):
    """Planes to fill, of shape (0, 0) where there is nothing to resample."""

    image: Plane
    extras: Plane
    variance: Plane
    mask: Plane
    bad: Plane

    def rows(self, start: int, stop: int) -> TargetPlanes:
        """Return some rows of all planes."""
        return TargetPlanes(*(plane[..., start:stop, :] for plane in self))

    def clear(self, columns: slice, no_data: int) -> None:
        """Mark some columns of all planes as ones without a value; the image is so already."""
        self.mask[:, columns] = no_data
        self.variance[:, columns] = np.inf
        self.bad[:, columns] = np.nan


def source_planes(
    image: Plane,
    extras: Sequence[Plane],
    variance: Plane | None,
    mask: Plane | None,
    bad: Plane | None,
    kernel: ResamplingKernel,
) -> SourcePlanes:
    """Gather the planes of the source, filtered if the kernel needs it.

    Raises
    ------
    ValueError
        If the planes differ in shape.
    """
    for plane in (variance, mask, bad, *extras):
        if plane is not None and plane.shape != image.shape:
            msg = f"planes of shapes {image.shape} and {plane.shape} are resampled together"
            raise ValueError(msg)
    dtype = np.float64 if image.dtype == np.float64 else np.float32
    pixels = samples = [_plane(plane, dtype) for plane in (image, *extras)]
    poison = None
    if kernel.prefilter:
        samples = [_coefficients(plane) for plane in pixels]
        lost = ~np.isfinite(pixels[0])
        poison = lost if lost.any() else None
    mask_plane, poison_plane = _plane(mask, np.int32), _plane(poison, np.int32)
    return SourcePlanes(
        pixels=pixels,
        samples=samples,
        variance=_plane(variance, np.float32),
        mask=mask_plane,
        bad=_plane(bad, np.uint8),
        poison=poison_plane,
        tiles=_nearby_bits(mask_plane),
        poison_tiles=_nearby_bits(poison_plane),
    )


def target_planes(source: SourcePlanes, shape: tuple[int, int]) -> TargetPlanes:
    """Return planes to fill; the image and the extras are NaN."""
    absent = np.empty((0, 0), dtype=np.float32)
    dtype = source.pixels[0].dtype
    return TargetPlanes(
        image=np.full(shape, np.nan, dtype=dtype),
        extras=np.full((len(source.pixels) - 1, *shape), np.nan, dtype=dtype),
        variance=np.empty(shape, dtype=np.float32) if source.variance.size else absent,
        mask=np.zeros(shape, dtype=np.int32),
        bad=np.empty(shape, dtype=np.float32) if source.bad.size else absent,
    )


def _plane(values: Plane | None, dtype: type[Any]) -> Plane:
    """Return a contiguous array of a type, of shape (0, 0) for None.

    It is read-only, so that the loops are compiled once for both kinds of array.
    """
    if values is None:
        values = np.empty((0, 0), dtype=dtype)
    view = np.ascontiguousarray(values, dtype=dtype).view()
    view.setflags(write=False)
    return view


def _coefficients(pixels: Plane) -> Plane:
    """Return B-spline coefficients of an image whose lost pixels count as zero."""
    from skytool.core.resampling.spline_filter import spline_coefficients

    lost = ~np.isfinite(pixels)
    filled = np.where(lost, 0, pixels) if lost.any() else pixels
    return _plane(spline_coefficients(filled), pixels.dtype.type)


def _nearby_bits(mask: Plane) -> Plane:
    """Return the union of the mask over every tile and the tiles around it."""
    if not mask.size:
        return mask
    union = np.bitwise_or.reduceat(mask, np.arange(0, mask.shape[1], TILE), axis=1)
    union = np.bitwise_or.reduceat(union, np.arange(0, mask.shape[0], TILE), axis=0)
    for _ in range(2):
        grown = union.copy()
        grown[1:] |= union[:-1]
        grown[:-1] |= union[1:]
        union = grown.T
    return _plane(union, np.int32)
