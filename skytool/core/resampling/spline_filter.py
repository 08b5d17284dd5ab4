"""The filter that turns pixels into the coefficients of an interpolating cubic spline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.compiled import compiled_in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[Any]

_POLE = -0.2679491924311227  # sqrt(3) - 2
_GAIN = 6.0
_BLOCK = 16  # rows or columns that are filtered together
_N_START = 28  # terms of the sum that starts the recursion; the pole to this power is 1e-16


@compiled_in_order
def _mirrored(index: int, size: int) -> int:
    """Return the pixel that a position beyond the end repeats."""
    period = 2 * (size - 1)
    index %= period
    return index if index < size else period - index


@compiled_in_order
def _filter_block(block: Plane) -> None:
    """Filter along the first axis, in place and in double precision."""
    n, width = block.shape
    state = np.zeros(width)
    weight = 1.0
    for k in range(_N_START):
        line = block[_mirrored(k, n)]
        for x in range(width):
            state[x] += weight * line[x]
        weight *= _POLE
    block[0, :] = state
    for y in range(1, n):
        line, before = block[y], block[y - 1]
        for x in range(width):
            line[x] += _POLE * before[x]
    last, before = block[n - 1], block[n - 2]
    for x in range(width):
        last[x] = _POLE / (_POLE * _POLE - 1.0) * (last[x] + _POLE * before[x])
    for y in range(n - 2, -1, -1):
        line, after = block[y], block[y + 1]
        for x in range(width):
            line[x] = _POLE * (after[x] - line[x])


@compiled_in_order
def _filter_rows(plane: Plane) -> None:
    """Filter along x, in place, some rows at a time."""
    ny, nx = plane.shape
    for start in range(0, ny, _BLOCK):
        stop = min(start + _BLOCK, ny)
        block = np.empty((nx, stop - start))
        for y in range(start, stop):
            for x in range(nx):
                block[x, y - start] = plane[y, x]
        _filter_block(block)
        for y in range(start, stop):
            for x in range(nx):
                plane[y, x] = _GAIN * block[x, y - start]


@compiled_in_order
def _filter_columns(plane: Plane) -> None:
    """Filter along y, in place, some columns at a time."""
    ny, nx = plane.shape
    for start in range(0, nx, _BLOCK):
        stop = min(start + _BLOCK, nx)
        block = np.empty((ny, stop - start))
        block[:, :] = plane[:, start:stop]
        _filter_block(block)
        for y in range(ny):
            for x in range(start, stop):
                plane[y, x] = _GAIN * block[y, x - start]


def spline_coefficients(image: Plane) -> Plane:
    """Return the B-spline coefficients of the cubic spline through all pixels.

    Parameters
    ----------
    image : ndarray of float32 or float64, shape (ny, nx)
        Finite pixel values: the filter is recursive, one NaN fills its row and its column.

    Returns
    -------
    ndarray of the same type, shape (ny, nx)
        Coefficients for `cubic_b_spline`. Beyond its edges the image continues as its mirror
        image about the centres of the outermost pixels.

    Notes
    -----
    One causal and one anticausal recursion along each axis (Unser, Aldroubi & Eden 1993, IEEE
    Trans. Signal Process. 41, 821 and 834). An axis of a single pixel is constant, and its own
    coefficient.
    """
    coefficients = np.array(image, order="C")
    if image.shape[1] > 1:
        _filter_rows(coefficients)
    if image.shape[0] > 1:
        _filter_columns(coefficients)
    return coefficients
