"""The image of a star of one pixel grid on the pixels of another, as resampling makes it."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.resampling.kernels import resampling_kernel
from skytool.core.resampling.pixel_map import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float64]
    Vector = NDArray[np.float64]

AREA_KERNELS = (
    "exact",
    "adaptive",
)  # of skytool.core.resampling.reprojection, which is imported late

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
        Name of the resampling kernel, see `resampling_kernel`, or one of ``AREA_KERNELS`` of
        `skytool.core.resampling.reprojection`, which know no samples.
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
    if kernel in AREA_KERNELS:
        return _averaged_over_areas(stamp, matrix, y, x, rows, columns, kernel)
    weights = resampling_kernel(kernel)
    # where an image is filtered first, a step at the edge of the stamp rings a few pixels further
    pad = weights.half_size + (_RINGING if weights.prefilter else 1)
    samples = np.pad(np.asarray(stamp, dtype=np.float64), pad)
    if weights.prefilter:
        from skytool.core.resampling.spline_filter import spline_coefficients

        samples = spline_coefficients(samples)
    from skytool.core.resampling.warped_psf_loops import resampled_lattice

    total = np.zeros((rows.size, columns.size))
    offsets = (np.arange(oversample) + 0.5) / oversample - 0.5
    nearest = weights.name == "nearest"
    for dy, dx in itertools.product(offsets, offsets):
        resampled_lattice(
            np.ascontiguousarray(samples),
            weights.table,
            weights.taps[0],
            nearest,
            np.ascontiguousarray(matrix, dtype=np.float64),
            float(y + pad),
            float(x + pad),
            rows + dy,
            columns + dx,
            total,
        )
    return total / oversample**2


class _AffinePositions:
    """Source positions of a lattice of target pixels under an affine map."""

    def __init__(self, matrix: Image, y: float, x: float, rows: Vector, columns: Vector) -> None:
        self.shape = rows.size, columns.size
        self.window = Window(0, rows.size, 0, columns.size)
        self._matrix = matrix
        self._center = y, x
        self._first = rows[0], columns[0]

    def positions(self, y: Vector, x: Vector) -> tuple[Image, Image]:
        """Return source columns and rows of all pairs of rows and columns of the lattice."""
        down = (y + self._first[0])[:, np.newaxis]
        right = (x + self._first[1])[np.newaxis, :]
        v, u = (
            center + line[0] * down + line[1] * right
            for center, line in zip(self._center, self._matrix, strict=True)
        )
        return u, v

    def columns(self, y_start: int, y_stop: int) -> tuple[int, int]:  # noqa: ARG002
        """Return the columns that may see the source, which are all."""
        return 0, self.shape[1]


def _averaged_over_areas(
    stamp: Image, matrix: Image, y: float, x: float, rows: Vector, columns: Vector, kernel: str
) -> Image:
    """Resample the image of a star by areas of pixels."""
    from skytool.core.resampling.reprojection import area_resampler

    reach = np.abs(matrix) @ np.array([np.abs(rows).max() + 6.0, np.abs(columns).max() + 6.0])
    pad = int(np.ceil(reach.max()))  # a pixel that is partly off the source has no value
    positions = _AffinePositions(matrix, y + pad, x + pad, rows, columns)
    resampler = area_resampler(kernel, np.pad(stamp, pad), None, None, positions, no_data=0)
    return np.nan_to_num(np.asarray(resampler.part().image, dtype=np.float64))
