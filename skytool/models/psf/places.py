"""Stars of a point spread function at places all over an image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.models.psf.base import Psf

_SEARCH = 12  # places along each side that are tried for a star near the middle


class Star(NamedTuple):
    """A star of a PSF.

    Parameters
    ----------
    y, x : float
        Its position [pixel, 0-based].
    stamp : ndarray of float64, shape (h, w)
        Its image, centred, of sum one.
    """

    y: float
    x: float
    stamp: NDArray[np.float64]


def stars_across(psf: Psf, shape: tuple[int, int], *, n: int = 3) -> list[list[Star | None]]:
    """Return stars in the middles of the rectangles that divide an image into ``n`` rows and columns.

    Parameters
    ----------
    psf : Psf
        The PSF.
    shape : tuple of int
        Shape ``(ny, nx)`` of the image.
    n : int
        Rectangles along each side.

    Returns
    -------
    list of list of Star or None
        From the first row on; None where the PSF has no star, as in a gap of a warp.
    """
    return [[_star(psf, y, x) for x in _middles(shape[1], n)] for y in _middles(shape[0], n)]


def middle_star(psf: Psf, shape: tuple[int, int]) -> Star:
    """Return the star in the middle of an image, or the nearest where there is none.

    Raises
    ------
    AlgorithmError
        If there is no star anywhere.
    """
    middle = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    places = [(y, x) for y in _middles(shape[0], _SEARCH) for x in _middles(shape[1], _SEARCH)]
    places.sort(key=lambda place: math.dist(place, middle))
    for y, x in (middle, *places):
        star = _star(psf, y, x)
        if star is not None:
            return star
    raise AlgorithmError("the PSF has no star at any place of the image.")


def finely_sampled(psf: Psf, *, y: float, x: float, samples: int) -> NDArray[np.float64]:
    """Return a star with several samples per pixel, from stars at fractions of a pixel.

    Parameters
    ----------
    psf : Psf
        The PSF.
    y, x : float
        Position [pixel].
    samples : int
        Samples per pixel along each axis, odd.

    Returns
    -------
    ndarray of float64, shape (samples h, samples w)
        The star in the middle; each sample is the light in a whole pixel about it.

    Raises
    ------
    AlgorithmError
        If there is no star.
    """
    h, w = psf.shape
    result = np.empty((samples * h, samples * w))
    shifts = [(samples // 2 - number) / samples for number in range(samples)]
    for row, dy in enumerate(shifts):
        for column, dx in enumerate(shifts):
            star = psf.star(y=y, x=x, shape=(h, w), dy=dy, dx=dx)
            result[row::samples, column::samples] = star
    return result


def _middles(length: int, n: int) -> list[float]:
    return [length * (2 * index + 1) / (2 * n) - 0.5 for index in range(n)]


def _star(psf: Psf, y: float, x: float) -> Star | None:
    try:
        return Star(y, x, psf.kernel_image(y=y, x=x))
    except AlgorithmError:
        return None
