"""How far a convolution carries the bits of a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.fft import irfft2, next_fast_len, rfft2

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from skytool.core.matching.spatial_kernel import SpatialKernel

_TILE = 256


def spread_mask(mask: NDArray[Any], support: NDArray[np.bool_]) -> NDArray[Any]:
    """Give every bit to all pixels that a kernel carries it to.

    Parameters
    ----------
    mask : ndarray of int or bool, shape (ny, nx)
        Bit planes.
    support : ndarray of bool, shape (h, w)
        True where the kernel differs from zero; h and w odd.

    Returns
    -------
    ndarray, shape (ny, nx)
        ``out(x) = OR of mask(x - u)`` over the pixels u of the support, same type.

    Raises
    ------
    ValueError
        If a side of the support is even.

    Notes
    -----
    Runs of the support are joined by doubling, so a full box costs the logarithm of its side.
    """
    height, width = support.shape
    if height % 2 == 0 or width % 2 == 0:
        raise ValueError(f"the sides of a kernel must be odd, got {height} x {width}")
    out = np.zeros_like(mask)
    if not np.any(mask) or not np.any(support):
        return out
    half_y, half_x = height // 2, width // 2
    for (start, stop), rows in _runs_by_extent(support).items():
        along_x = _or_run(mask, start - half_x, stop - half_x, axis=1)
        for first, last in _runs(rows):
            out |= _or_run(along_x, first - half_y, last - half_y, axis=0)
    return out


def spread_mask_by_weight(
    mask: NDArray[np.integer], kernel: SpatialKernel, fraction: float
) -> NDArray[np.integer]:
    """Give a bit to the pixels that take more than a fraction of their weight from flagged ones.

    Parameters
    ----------
    mask : ndarray of int, shape (ny, nx)
        Bit planes.
    kernel : SpatialKernel
        Convolution kernel, taken at the centre of tiles of 256 pixels.
    fraction : float
        Part of the sum of absolute values of the kernel that flagged pixels may hold, 0 to 1.

    Returns
    -------
    ndarray of int, shape (ny, nx)
        Flagged where ``sum |K| over flagged pixels > fraction * sum |K|``; a fraction of zero is
        `spread_mask`.
    """
    if fraction <= 0.0:
        return spread_mask(mask, kernel.support)
    out = np.zeros_like(mask)
    ny, nx = mask.shape
    half_y, half_x = kernel.half
    size = next_fast_len(_TILE + 2 * half_y), next_fast_len(_TILE + 2 * half_x)
    for y in range(0, ny, _TILE):
        for x in range(0, nx, _TILE):
            rows, columns = min(_TILE, ny - y), min(_TILE, nx - x)
            block = np.zeros((rows + 2 * half_y, columns + 2 * half_x), dtype=mask.dtype)
            top, left = max(y - half_y, 0), max(x - half_x, 0)
            part = mask[top : y + rows + half_y, left : x + columns + half_x]
            block[
                top - y + half_y : top - y + half_y + part.shape[0],
                left - x + half_x : left - x + half_x + part.shape[1],
            ] = part
            present = int(np.bitwise_or.reduce(block, axis=None))
            if not present:
                continue
            weight = np.abs(kernel.at(y=y + 0.5 * (rows - 1), x=x + 0.5 * (columns - 1)))
            transform = rfft2(weight / weight.sum(), s=size)
            for bit in _bits(present):
                spectrum = rfft2((block & bit) != 0, s=size)
                held = irfft2(spectrum * transform, s=size)
                inner = held[2 * half_y : 2 * half_y + rows, 2 * half_x : 2 * half_x + columns]
                out[y : y + rows, x : x + columns][inner > fraction] |= bit
    return out


def _bits(value: int) -> list[int]:
    """Return the powers of two in a number."""
    return [1 << bit for bit in range(value.bit_length()) if value >> bit & 1]


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first index and the one after the last of every run of True."""
    steps = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    starts, stops = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    return [(int(a), int(b)) for a, b in zip(starts, stops, strict=True)]


def _runs_by_extent(support: NDArray[np.bool_]) -> dict[tuple[int, int], NDArray[np.bool_]]:
    """Return for every extent of a run along x the rows that hold it."""
    extents: dict[tuple[int, int], NDArray[np.bool_]] = {}
    for row, flags in enumerate(support):
        for run in _runs(flags):
            extents.setdefault(run, np.zeros(len(support), dtype=np.bool_))[row] = True
    return extents


def _or_run(mask: NDArray[Any], start: int, stop: int, *, axis: int) -> NDArray[Any]:
    """Return the OR of the mask moved by ``start`` to ``stop - 1`` pixels along an axis."""
    length, reach = mask.shape[axis], max(abs(start), abs(stop - 1))
    padding = [(reach, reach) if i == axis else (0, 0) for i in range(2)]
    lines = np.moveaxis(np.pad(mask, padding), axis, 0)
    joined = 1
    while joined < stop - start:
        step = min(joined, stop - start - joined)
        lines[step:] |= lines[:-step]
        joined += step
    return np.moveaxis(lines[reach - start : reach - start + length], 0, axis)
