"""Variance of pixels whose value was filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.compiled import compiled_in_order
from skytool.core.noise.fill import fill_bad

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[Any]

_REACH = 2  # [pixel] half side of the window in which the image is compared with the filling


def fill_variance(
    variance: NDArray[np.float32], image: Plane, bad: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the variance of an image with bad pixels filled in.

    Parameters
    ----------
    variance : ndarray of float32, shape (ny, nx)
        Variance of the good pixels [unit of image squared].
    image : ndarray of float32, shape (ny, nx)
        Image with the bad pixels filled in.
    bad : ndarray of bool, shape (ny, nx)
        The bad pixels.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        New plane, finite wherever the variance of a good pixel is.

    Notes
    -----
    A filled value has the noise of the pixels it was made from and an error of its own, which
    grows with the structure around it. The variance is that of the good neighbours plus the mean
    square of their distance from the value, over the 5 by 5 pixels about it: twice the variance
    on empty sky, much more in the light of a star.
    """
    unknown = bad | ~np.isfinite(variance)
    filled = fill_bad(variance, unknown).image
    known = variance[~unknown]
    if known.size:  # a cubic through steep neighbours may run below them, even below zero
        np.maximum(filled, known.min(), out=filled, where=unknown)
    _add_scatter(image, bad, filled)
    return filled


@compiled_in_order
def _add_scatter(image: Plane, bad: Plane, variance: Plane) -> None:
    """Add the mean square distance of good neighbours to the variance of bad pixels, in place."""
    ny, nx = image.shape
    for y in range(ny):
        for x in range(nx):
            if not bad[y, x]:
                continue
            total, count = 0.0, 0
            for j in range(max(0, y - _REACH), min(ny, y + _REACH + 1)):
                for i in range(max(0, x - _REACH), min(nx, x + _REACH + 1)):
                    if not bad[j, i]:
                        total += (image[j, i] - image[y, x]) ** 2
                        count += 1
            if count:
                variance[y, x] += total / count
