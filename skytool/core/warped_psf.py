"""The image of a star of one pixel grid on the pixels of another, as resampling makes it."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.resampling_kernels import PHASES, resampling_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.resampling_kernels import ResamplingKernel

    Image = NDArray[np.float64]
    Vector = NDArray[np.float64]

LARGEST_COEFFICIENT = 200.0
"""Pixels of the source per pixel of the target from which a map is taken for an error."""

_RINGING = 12  # [pixel] (2 - sqrt(3))^12 is 1e-7


def check_matrix(matrix: Image) -> None:
    """Refuse a map between pixel grids that no image has.

    Raises
    ------
    ValueError
        If the matrix is not finite, has an element above `LARGEST_COEFFICIENT`, or is singular.
    """
    if not np.isfinite(matrix).all():
        msg = "the transform has no value"
        raise ValueError(msg)
    largest = float(np.abs(matrix).max())
    if largest > LARGEST_COEFFICIENT:
        msg = f"unexpectedly large transform: an element is {largest:.3g}"
        raise ValueError(msg)
    if abs(np.linalg.det(matrix)) < 1e-12 * largest**2:
        msg = "the transform is singular"
        raise ValueError(msg)


def warped_shape(shape: tuple[int, int], matrix: Image) -> tuple[int, int]:
    """Return the odd shape of a stamp after resampling.

    Parameters
    ----------
    shape : tuple of int
        Shape ``(h, w)`` of the stamp on the source.
    matrix : ndarray of float64, shape (2, 2)
        Derivative of source positions ``(y, x)`` by target positions ``(y, x)``.

    Returns
    -------
    tuple of int
        Shape of the box about the turned stamp: its half size is the whole part of half the box.

    Raises
    ------
    ValueError
        See `check_matrix`.
    """
    check_matrix(matrix)
    box = np.abs(np.linalg.inv(matrix)) @ np.asarray(shape, dtype=np.float64)
    # a map that only shifts must not lose a pixel to rounding
    h, w = (2 * math.floor(0.5 * side + 1e-9) + 1 for side in box)
    return h, w


def warped_star(
    stamp: Image,
    matrix: Image,
    *,
    y: float,
    x: float,
    rows: Vector,
    columns: Vector,
    kernel: str = "lanczos3",
    oversample: int = 1,
) -> Image:
    """Resample the image of a star under an affine map.

    Parameters
    ----------
    stamp : ndarray of float64, shape (h, w)
        The star on the pixels of the source; zero outside.
    matrix : ndarray of float64, shape (2, 2)
        Derivative of source positions ``(y, x)`` by target positions ``(y, x)``.
    y, x : float
        Centre of the star in the stamp [pixel].
    rows, columns : ndarray of float64, shape (n_y,) and (n_x,)
        Target pixels, counted from the centre of the star [pixel].
    kernel : str
        Name of the resampling kernel, see `resampling_kernel`.
    oversample : int
        Samples per target pixel and axis that are averaged.

    Returns
    -------
    ndarray of float64, shape (n_y, n_x)
        Surface brightness: not multiplied by the area of the target pixels.

    Raises
    ------
    ValueError
        If the kernel is unknown.
    """
    weights = resampling_kernel(kernel)
    # where an image is filtered first, a step at the edge of the stamp rings a few pixels further
    pad = weights.half_size + (_RINGING if weights.prefilter else 1)
    samples = np.pad(np.asarray(stamp, dtype=np.float64), pad)
    if weights.prefilter:
        from skytool.core.spline_filter import spline_coefficients

        samples = spline_coefficients(samples)
    offsets = (np.arange(oversample) + 0.5) / oversample - 0.5
    total = np.zeros((rows.size, columns.size))
    for dy, dx in itertools.product(offsets, offsets):
        down, right = (rows + dy)[:, np.newaxis], (columns + dx)[np.newaxis, :]
        v = y + matrix[0, 0] * down + matrix[0, 1] * right
        u = x + matrix[1, 0] * down + matrix[1, 1] * right
        total += _at_positions(samples, weights, v + pad, u + pad)
    return total / oversample**2


def _at_positions(samples: Image, kernel: ResamplingKernel, v: Image, u: Image) -> Image:
    """Return resampled values at rows `v` and columns `u`; zero where taps leave the samples."""
    h, w = samples.shape
    taps = np.array(kernel.taps)
    first_y, first_x = np.floor(v), np.floor(u)
    low, high = -taps[0], taps[-1]
    inside = (first_y >= low) & (first_y < h - high) & (first_x >= low) & (first_x < w - high)
    along_y = _weights(kernel, v - first_y)
    along_x = _weights(kernel, u - first_x)
    at_y = np.where(inside, first_y, low).astype(np.intp)[..., np.newaxis] + taps
    at_x = np.where(inside, first_x, low).astype(np.intp)[..., np.newaxis] + taps
    pixels = samples[at_y[..., :, np.newaxis], at_x[..., np.newaxis, :]]
    lines = np.einsum("yxkl,yxl->yxk", pixels, along_x)
    return np.where(inside, np.einsum("yxk,yxk->yx", lines, along_y), 0.0)


def _weights(kernel: ResamplingKernel, fraction: Image) -> NDArray[np.float64]:
    """Return the weights of all taps at sub-pixel fractions, along a new last axis."""
    if kernel.name == "nearest":
        fraction = np.where(fraction < 0.5, 0.0, 1.0)
    position = fraction * PHASES
    row = np.minimum(position.astype(np.intp), PHASES - 1)
    below = kernel.table[row]
    part = (position - row)[..., np.newaxis]
    return np.asarray(below + part * (kernel.table[row + 1] - below), dtype=np.float64)
