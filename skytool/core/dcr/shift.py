"""Shifts of whole images by fractions of a pixel, and their adjoints.

A shift of positive ``dy`` and ``dx`` moves what is in an image to larger y and x. What comes in
from outside of the image is zero; nothing wraps around.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Plane = NDArray[Any]

MARGIN = 8
"""Pixels beyond the largest shift that a spectral shift needs around an image, so that what leaves
on one side and the ripples of sharp edges do not come in on the other."""


def shifted(
    image: Plane, dy: float, dx: float, *, order: int | None = 3, prefilter: bool = True
) -> Plane:
    """Return an image whose content is moved.

    Parameters
    ----------
    image : ndarray of float32 or float64, shape (ny, nx)
        Finite pixels.
    dy, dx : float
        Shift [pixel].
    order : int or None
        Degree of the interpolating spline, 0 to 5; 1 is linear and blurs. None is the spectral
        shift, the limit of high degrees.
    prefilter : bool
        Whether the image is one of pixels; otherwise of coefficients, by `spline_coefficients`.

    Returns
    -------
    ndarray of the type of the image, shape (ny, nx)
        The image at ``(y - dy, x - dx)``; a spline is zero where that is outside of the centres of
        the outermost pixels.

    Notes
    -----
    A spline is continued beyond the edges as its mirror image about the outermost centres. A
    spectral shift takes the image as surrounded by zeros, and multiplies its Fourier transform
    with a phase: of a band-limited image it is exact.
    """
    if order is None:
        return _spectral(image, dy, dx)
    from skytool.core.resampling.shift_loops import spline_sums

    spline = spline_coefficients(image, order) if prefilter else image
    moved = np.zeros(image.shape, image.dtype)
    spline_sums(np.ascontiguousarray(spline), moved, *_taps(image.shape, dy, dx, order))
    return moved


def shifted_adjoint(image: Plane, dy: float, dx: float, *, order: int | None = 3) -> Plane:
    """Return the adjoint of `shifted` applied to an image.

    Parameters
    ----------
    image : ndarray of float32 or float64, shape (ny, nx)
        Finite pixels.
    dy, dx : float
        Shift of the operator whose adjoint this is [pixel].
    order : int or None
        As for `shifted`.

    Returns
    -------
    ndarray of the type of the image, shape (ny, nx)
        So that ``sum(a * shifted(b, dy, dx))`` is ``sum(shifted_adjoint(a, dy, dx) * b)`` for all
        images, to rounding. Of a spectral shift it is the shift back; of a spline it is not.
    """
    if order is None:
        return _spectral(image, -dy, -dx)
    from skytool.core.resampling.shift_loops import spread_sums

    moved = np.zeros(image.shape)
    spread_sums(np.ascontiguousarray(image), moved, *_taps(image.shape, dy, dx, order))
    if order > 1:
        # The matrix of the filter becomes symmetric when its first and last column are halved,
        # for the mirror image has no second copy of the outermost pixels.
        weight = np.outer(_half_ends(image.shape[0]), _half_ends(image.shape[1]))
        moved = spline_coefficients(moved / weight, order) * weight
    return moved.astype(image.dtype, copy=False)


def shifted_split(
    image: Plane,
    dy: ArrayLike,
    dx: ArrayLike,
    *,
    order: int | None = 3,
    threshold: float = 0.0,
    prefilter: bool = True,
) -> Plane:
    """Return the mean of an image moved by two shifts, those of the two halves of a subfilter.

    Parameters
    ----------
    image : ndarray of float32 or float64, shape (ny, nx)
        Finite pixels.
    dy, dx : array_like of float, shape (2,)
        The two shifts [pixel].
    order, prefilter
        As for `shifted`.
    threshold : float
        Where the shifts differ by less than this along both axes [pixel], the image is moved once,
        by their mean.

    Returns
    -------
    ndarray of the type of the image, shape (ny, nx)
        Mean of the two moved images.
    """
    y, x = np.asarray(dy, dtype=np.float64), np.asarray(dx, dtype=np.float64)
    if max(abs(y[1] - y[0]), abs(x[1] - x[0])) < threshold:
        return shifted(image, float(y.mean()), float(x.mean()), order=order, prefilter=prefilter)
    if prefilter and order is not None:
        image = spline_coefficients(image, order)
    first, second = (
        shifted(image, float(y[i]), float(x[i]), order=order, prefilter=False) for i in (0, 1)
    )
    return (first + second) / 2


def spline_coefficients(image: Plane, order: int) -> Plane:
    """Return the coefficients of the spline through all pixels of an image.

    Parameters
    ----------
    image : ndarray of float32 or float64, shape (ny, nx)
        Finite pixels.
    order : int
        Degree, 0 to 5.

    Returns
    -------
    ndarray of the type of the image, shape (ny, nx)
        Coefficients; the image itself up to degree 1.
    """
    if order <= 1:
        return image
    if order == 3:
        from skytool.core.resampling import spline_filter

        return spline_filter.spline_coefficients(image)
    from scipy import ndimage

    coefficients = ndimage.spline_filter(image, order, output=np.float64, mode="mirror")
    return np.asarray(coefficients).astype(image.dtype, copy=False)


def padded_shape(
    shape: tuple[int, int], dy: ArrayLike, dx: ArrayLike, *, margin: int = MARGIN
) -> tuple[int, int]:
    """Return the shape in which spectral shifts of an image do not wrap around.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` of the image.
    dy, dx : array_like of float
        All the shifts [pixel].
    margin : int
        Room beyond the largest shift [pixel].

    Returns
    -------
    tuple of int
        Odd lengths, so that a shift and the one back cancel exactly, and quick to transform.
    """
    largest = (float(np.abs(dy).max()), float(np.abs(dx).max()))
    return tuple(  # type: ignore[return-value]
        _odd_fast_length(n + math.ceil(d) + margin) for n, d in zip(shape, largest, strict=True)
    )


def transfer(
    shape: tuple[int, int],
    dy: ArrayLike,
    dx: ArrayLike,
    weights: Sequence[float] | NDArray[np.float64] | None = None,
) -> NDArray[np.complex128]:
    """Return what a mean of shifts multiplies a Fourier transform with.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` of the padded image, of odd lengths, by `padded_shape`.
    dy, dx : array_like of float, shape (n,)
        Shifts [pixel], as of the wavelengths of a subfilter.
    weights : array_like of float, shape (n,)
        Weight of each; equal ones with sum 1 by default.

    Returns
    -------
    ndarray of complex128, shape (ny, nx // 2 + 1)
        For the coefficients of ``rfft2``. Its conjugate is the adjoint.
    """
    y, x = (np.atleast_1d(np.asarray(shift, dtype=np.float64)) for shift in (dy, dx))
    share = np.full(y.size, 1.0 / y.size) if weights is None else np.asarray(weights)
    along_y = np.exp(-2j * np.pi * np.fft.fftfreq(shape[0])[:, None] * y)
    along_x = np.exp(-2j * np.pi * np.fft.rfftfreq(shape[1])[:, None] * x)
    return np.asarray((along_y * share) @ along_x.T)


def _spectral(image: Plane, dy: float, dx: float) -> Plane:
    """Move an image among zeros by a phase."""
    from scipy import fft

    shape = padded_shape(image.shape, dy, dx)
    coefficients = fft.rfft2(image, s=shape)
    coefficients *= transfer(shape, dy, dx)
    moved = fft.irfft2(coefficients, s=shape)[: image.shape[0], : image.shape[1]]
    return np.ascontiguousarray(moved, dtype=image.dtype)


@functools.cache
def _odd_fast_length(length: int) -> int:
    """Return the smallest odd number from a length on with no prime factor above 11."""
    candidate = length | 1
    while True:
        rest = candidate
        for prime in (3, 5, 7, 11):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return candidate
        candidate += 2


def _half_ends(n: int) -> NDArray[np.float64]:
    """Return ones, the first and the last of several halved."""
    weight = np.ones(n)
    if n > 1:
        weight[[0, -1]] = 0.5
    return weight


def _taps(
    shape: tuple[int, ...], dy: float, dx: float, order: int
) -> tuple[
    NDArray[np.int64], NDArray[np.float64], int, NDArray[np.int64], NDArray[np.float64], int
]:
    """Return coefficients, weights and first pixel along y and x, for the loops."""
    return *_axis_taps(shape[0], dy, order), *_axis_taps(shape[1], dx, order)


def _axis_taps(
    n: int, shift: float, order: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Return how a moved line follows from the coefficients of a spline.

    Pixel ``start + i`` of the result is the sum over k of the coefficients ``indices[i + k]``
    times ``weights[k]``; pixels that are not reached are zero.
    """
    whole = math.floor(-shift) if order % 2 else math.floor(0.5 - shift)
    first = whole - order // 2
    weights = _b_spline(-shift - first - np.arange(order + 1, dtype=np.float64), order)
    start = max(math.ceil(shift), 0)
    stop = max(min(math.floor(n - 1 + shift) + 1, n), start)
    places = np.arange(start + first, stop + first + order)
    return _mirrored(places if stop > start else places[:order], n), weights, start


def _b_spline(x: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Return the B-spline of a degree at distances from its middle (Unser 1999, equation 3)."""
    if order == 0:
        return np.where((x >= -0.5) & (x < 0.5), 1.0, 0.0)
    half = (order + 1) / 2.0
    terms = [
        (-1) ** k * math.comb(order + 1, k) * np.maximum(x + half - k, 0.0) ** order
        for k in range(order + 2)
    ]
    return np.asarray(np.sum(terms, axis=0) / math.factorial(order))


def _mirrored(indices: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return the pixels that positions beyond the ends repeat."""
    if n == 1:
        return np.zeros_like(indices)
    folded = np.abs(indices) % (2 * (n - 1))
    return np.where(folded < n, folded, 2 * (n - 1) - folded)
