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
_N_START = 28  # terms of the sum that starts the recursion; the pole to this power is 1e-16


@compiled_in_order
def _mirrored(index: int, size: int) -> int:
    """Return the pixel that a position beyond the end repeats."""
    period = 2 * (size - 1)
    index %= period
    return index if index < size else period - index


@compiled_in_order
def _filter_rows(plane: Plane) -> None:
    """Filter along x, in place."""
    ny, nx = plane.shape
    for y in range(ny):
        line = plane[y]
        state = 0.0
        weight = 1.0
        for k in range(_N_START):
            state += weight * line[_mirrored(k, nx)]
            weight *= _POLE
        line[0] = state
        for x in range(1, nx):
            state = line[x] + _POLE * state
            line[x] = state
        state = _POLE / (_POLE * _POLE - 1.0) * (line[nx - 1] + _POLE * line[nx - 2])
        line[nx - 1] = _GAIN * state
        for x in range(nx - 2, -1, -1):
            state = _POLE * (state - line[x])
            line[x] = _GAIN * state


@compiled_in_order
def _filter_columns(plane: Plane) -> None:
    """Filter along y, in place."""
    ny, nx = plane.shape
    state = np.zeros(nx)
    weight = 1.0
    for k in range(_N_START):
        line = plane[_mirrored(k, ny)]
        for x in range(nx):
            state[x] += weight * line[x]
        weight *= _POLE
    plane[0, :] = state
    for y in range(1, ny):
        line = plane[y]
        for x in range(nx):
            state[x] = line[x] + _POLE * state[x]
            line[x] = state[x]
    last, before = plane[ny - 1], plane[ny - 2]
    for x in range(nx):
        state[x] = _POLE / (_POLE * _POLE - 1.0) * (last[x] + _POLE * before[x])
        last[x] = _GAIN * state[x]
    for y in range(ny - 2, -1, -1):
        line = plane[y]
        for x in range(nx):
            state[x] = _POLE * (state[x] - line[x])
            line[x] = _GAIN * state[x]


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
