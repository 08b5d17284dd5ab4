"""Convolution of images, variances and masks by constant and by varying kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from skytool.core.fft import irfft, next_fast_len, rfft, transform_columns
from skytool.core.mask_spread import spread_mask, spread_mask_by_weight
from skytool.core.matching.spatial_kernel import SpatialKernel
from skytool.core.noise.local_fill import fill_from_neighbors

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_TILE = 240  # FFT side for small kernels: fits the cache, and the overlap costs little
_TILE_PER_HALF = 16  # FFT side over half the kernel side: the overlap stays below an eighth


@dataclass(frozen=True, eq=False)
class Convolved:
    """Planes after a convolution.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
        Convolved image.
    variance : ndarray of float32, shape (ny, nx), or None
        Variance of the convolved image for input noise that is white.
    mask : ndarray of int32, shape (ny, nx), or None
        Bits carried as far as the kernel carries values.
    """

    image: NDArray[np.float32]
    variance: NDArray[np.float32] | None
    mask: NDArray[np.int32] | None


def convolve(
    plane: NDArray[np.floating],
    kernel: SpatialKernel | NDArray[np.floating],
    *,
    dtype: DTypeLike = np.float32,
    threads: int = 1,
) -> NDArray[Any]:
    """Convolve a plane with a kernel, evaluated at every output pixel.

    Parameters
    ----------
    plane : ndarray of float, shape (ny, nx)
        Finite values; zero is assumed beyond the edges.
    kernel : SpatialKernel or ndarray of float, shape (h, w)
        Kernel; an array is the same everywhere.
    dtype : dtype, optional
        Precision of the transforms and of the result: float32 or float64.
    threads : int
        Tiles worked on at the same time. The result does not depend on it.

    Returns
    -------
    ndarray, shape (ny, nx)
        ``R(x) = sum_u K(u; x) I(x - u)``, true convolution. Pixels less than half a kernel from
        the edge miss what lies beyond.

    Raises
    ------
    ValueError
        If a value is not finite: one would spread over a whole tile.

    Notes
    -----
    The kernel is a sum of fixed images times products of a polynomial in y and one in x, so the
    result is the same sum of convolutions, exactly. They are done by overlap-save FFT in tiles; the
    terms that share a polynomial in x are added up between the two one-dimensional inverse
    transforms, which leaves one of the second kind per order in x. Rounding is 1e-7 of the rms of
    a tile in float32.
    """
    if not isinstance(kernel, SpatialKernel):
        kernel = SpatialKernel.constant(kernel)
    tiles = _Tiles(plane, kernel, np.dtype(dtype))
    if threads == 1:
        for corner in tiles.corners:
            tiles.run(corner)
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(tiles.run, tiles.corners):
                pass
    return tiles.out


def convolve_variance(
    variance: NDArray[np.floating],
    kernel: SpatialKernel | NDArray[np.floating],
    *,
    dtype: DTypeLike = np.float32,
    threads: int = 1,
) -> NDArray[Any]:
    """Return the variance of an image of white noise after its convolution.

    Parameters
    ----------
    variance : ndarray of float, shape (ny, nx)
        Finite variances.
    kernel, dtype, threads
        As in `convolve`; the kernel is that of the image, it is squared here.

    Returns
    -------
    ndarray, shape (ny, nx)
        ``V_R(x) = sum_u K(u; x)^2 V(x - u)``, never negative.
    """
    if not isinstance(kernel, SpatialKernel):
        kernel = SpatialKernel.constant(kernel)
    out = convolve(variance, kernel.squared(), dtype=dtype, threads=threads)
    return np.maximum(out, 0.0, out=out)


def convolve_planes(
    image: NDArray[np.floating],
    kernel: SpatialKernel | NDArray[np.floating],
    *,
    variance: NDArray[np.floating] | None = None,
    mask: NDArray[np.integer] | None = None,
    edge: Literal["empty", "copy", "partial"] = "empty",
    edge_bits: int = 0,
    nonfinite: Literal["spread", "fill"] = "spread",
    kept_bits: int = 0,
    spread_fraction: float = 0.0,
    dtype: DTypeLike = np.float32,
    threads: int = 1,
) -> Convolved:
    """Convolve an image with its variance and mask.

    Parameters
    ----------
    image : ndarray of float, shape (ny, nx)
        Pixel values.
    kernel : SpatialKernel or ndarray of float, shape (h, w)
        Kernel; an array is the same everywhere.
    variance : ndarray of float, shape (ny, nx), optional
        Variance of the image.
    mask : ndarray of int, shape (ny, nx), optional
        Bit planes.
    edge : {"empty", "copy", "partial"}
        What the band of half a kernel along the edges holds: NaN and infinite variance, with no
        bit but `edge_bits`; the unconvolved input, `edge_bits` added; or the sum over the part of
        the kernel that lies inside, `edge_bits` added.
    edge_bits : int
        Bits for that band.
    nonfinite : {"spread", "fill"}
        Pixels whose image or variance is not finite make every pixel the kernel carries them to
        NaN, of infinite variance; or they are replaced by values of their surroundings, and only
        the mask tells.
    kept_bits : int
        Bits that are left where they are.
    spread_fraction : float
        Part of the weight of the kernel that flagged pixels may hold before the output is flagged;
        zero flags every pixel that the kernel reaches.
    dtype : dtype, optional
        Precision of the transforms of the image, float32 or float64.
    threads : int
        Tiles worked on at the same time. The result does not depend on it.

    Returns
    -------
    Convolved
        The planes that were given.
    """
    if not isinstance(kernel, SpatialKernel):
        kernel = SpatialKernel.constant(kernel)
    empty = ~np.isfinite(image)
    if variance is not None:
        empty |= ~np.isfinite(variance)
    any_empty = bool(np.any(empty))
    fill = fill_from_neighbors if nonfinite == "fill" else _zeroed
    source = fill(image, empty) if any_empty else image
    out_image = convolve(source, kernel, dtype=dtype, threads=threads)
    out_image = out_image.astype(np.float32, copy=False)
    out_variance = out_mask = None
    if variance is not None:
        source = fill(variance, empty) if any_empty else variance
        out_variance = convolve_variance(source, kernel, threads=threads)
    if mask is not None:
        moving = mask & ~kept_bits
        spread = spread_mask_by_weight(moving, kernel, spread_fraction)
        out_mask = (spread | (mask & kept_bits)).astype(np.int32)
    if nonfinite == "spread" and any_empty:
        _set_empty(spread_mask(empty, kernel.support), out_image, out_variance)
    for band in _edge_bands(image.shape, kernel.half):
        if edge == "empty":
            _set_empty(band, out_image, out_variance)
            if out_mask is not None:
                out_mask[band] = edge_bits
            continue
        if edge == "copy":
            out_image[band] = image[band]
            if variance is not None and out_variance is not None:
                out_variance[band] = variance[band]
            if mask is not None and out_mask is not None:
                out_mask[band] = mask[band]
        if out_mask is not None:
            out_mask[band] |= edge_bits
    return Convolved(out_image, out_variance, out_mask)


class _Tiles:
    """Overlap-save convolution of one plane, tile by tile."""

    def __init__(
        self, plane: NDArray[np.floating], kernel: SpatialKernel, dtype: np.dtype[Any]
    ) -> None:
        self.plane = plane
        self.half = kernel.half
        self.dtype = dtype
        self.out = np.empty(plane.shape, dtype=dtype)
        (self.n_y, self.step_y), (self.n_x, self.step_x) = (
            _tile_plan(length, half) for length, half in zip(plane.shape, self.half, strict=True)
        )
        self.rows = kernel.rows(np.arange(plane.shape[0])).T.astype(dtype)[:, :, None]
        self.columns = kernel.columns(np.arange(plane.shape[1])).T.astype(dtype)
        self.terms: list[tuple[int, list[tuple[int, NDArray[Any]]]]] = []
        for q in range(kernel.images.shape[1]):
            column = [
                (p, self._transform(image))
                for p, image in enumerate(kernel.images[:, q])
                if np.any(image)
            ]
            if column:
                self.terms.append((q, column))

    def _transform(self, image: NDArray[np.float64]) -> NDArray[Any]:
        """Return the transform of a kernel image at the size of a tile."""
        padded = np.zeros((self.n_y, self.n_x), self.dtype)
        padded[: image.shape[0], : image.shape[1]] = image
        return transform_columns(rfft(padded))

    @property
    def corners(self) -> list[tuple[int, int]]:
        """First row and column of every tile."""
        ny, nx = self.plane.shape
        return [(y, x) for y in range(0, ny, self.step_y) for x in range(0, nx, self.step_x)]

    def run(self, corner: tuple[int, int]) -> None:
        """Convolve one tile."""
        (y, x), (half_y, half_x) = corner, self.half
        ny = min(self.step_y, self.plane.shape[0] - y)
        nx = min(self.step_x, self.plane.shape[1] - x)
        spectrum = transform_columns(rfft(self._block(y, x)))
        inner_y = slice(2 * half_y, 2 * half_y + ny)
        inner_x = slice(2 * half_x, 2 * half_x + nx)
        out = self.out[y : y + ny, x : x + nx]
        out[...] = 0.0
        for q, column in self.terms:
            total: NDArray[Any] | None = None
            for p, transform in column:
                part = transform_columns(spectrum * transform, inverse=True)[inner_y]
                if p:
                    part *= self.rows[p, y : y + ny]
                total = part if total is None else np.add(total, part, out=total)
            assert total is not None  # noqa: S101  every order that is kept has a term
            strip = irfft(total, n=self.n_x)[:, inner_x]
            if q:
                strip *= self.columns[q, x : x + nx]
            out += strip

    def _block(self, y: int, x: int) -> NDArray[Any]:
        """Return the input of a tile, half a kernel wider on every side, zero beyond the plane."""
        half_y, half_x = self.half
        top, left = max(y - half_y, 0), max(x - half_x, 0)
        part = self.plane[top : y - half_y + self.n_y, left : x - half_x + self.n_x]
        if not np.isfinite(part).all():
            raise ValueError("a plane to convolve must be finite everywhere")
        block = np.zeros((self.n_y, self.n_x), dtype=self.dtype)
        row, column = top - y + half_y, left - x + half_x
        block[row : row + part.shape[0], column : column + part.shape[1]] = part
        return block


def _tile_plan(length: int, half: int) -> tuple[int, int]:
    """Return the FFT length along one axis and the output pixels of a tile."""
    target = max(_TILE, _TILE_PER_HALF * half)
    n_tiles = max(1, round(length / (target - 2 * half)))
    step = -(-length // n_tiles)
    return next_fast_len(step + 2 * half), step


def _zeroed(plane: NDArray[np.floating], bad: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Return the plane with zeros in its bad pixels."""
    return np.where(bad, plane.dtype.type(0), plane)


def _set_empty(
    where: NDArray[np.bool_] | tuple[slice, slice],
    image: NDArray[np.float32],
    variance: NDArray[np.float32] | None,
) -> None:
    """Make pixels of the planes have no value."""
    image[where] = np.nan
    if variance is not None:
        variance[where] = np.inf


def _edge_bands(shape: tuple[int, ...], half: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Return the slices that hold the pixels less than half a kernel from the edge."""
    (ny, nx), (half_y, half_x) = shape, half
    everything = slice(None)
    inner = slice(half_y, max(ny - half_y, half_y))
    return [
        (slice(0, half_y), everything),
        (slice(max(ny - half_y, half_y), ny), everything),
        (inner, slice(0, half_x)),
        (inner, slice(max(nx - half_x, half_x), nx)),
    ]
