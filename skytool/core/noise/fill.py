"""Replacement of bad pixels, so that resampling and filtering do not spread them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from skytool.core.compiled import compiled_in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[Any]

FillMethod = Literal["interp", "zero", "none"]
FILL_METHODS: tuple[FillMethod, ...] = ("interp", "zero", "none")
"""Methods of `fill_bad`."""

_CUBIC_GAP = 6  # [pixel] longest distance between neighbours that a cubic bridges
_ONE_SIDED = 4.0  # how much worse than the middle of a gap of its size an end is
_MEDIAN_SIZE = 1 << 20


class Filled(NamedTuple):
    """An image without bad pixels.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        The image; NaN where a bad pixel could not be replaced.
    filled : ndarray of bool, shape (ny, nx)
        Pixels that were replaced.
    """

    image: Plane
    filled: NDArray[np.bool_]


def fill_bad(
    image: Plane,
    bad: NDArray[np.bool_],
    *,
    method: FillMethod = "interp",
    max_distance: int = 64,
) -> Filled:
    """Replace bad pixels.

    Parameters
    ----------
    image : ndarray of float32 or float64, shape (ny, nx)
        Pixel values.
    bad : ndarray of bool, shape (ny, nx)
        Pixels to replace; those that are not finite are replaced too.
    method : str
        ``interp``: from the good pixels beside them. ``zero``: by zero. ``none``: not at all; then
        `image` itself is returned.
    max_distance : int
        How far to look for good pixels [pixel]. Farther inside a bad area the median of the
        image's good pixels is put.

    Returns
    -------
    Filled
        New image, and which pixels were replaced. Their variance is the caller's choice: +inf says
        that they tell nothing, and `skytool.core.resampling.resample.resample` carries that into every pixel
        they contribute to.

    Raises
    ------
    ValueError
        If there is no such method, or the arrays differ in shape.

    Notes
    -----
    Along its row and along its column a pixel gets a cubic through the two nearest good pixels on
    either side or, over a gap of more than 6 pixels, the straight line between the nearest ones.
    The two values are averaged with weights ``1 / gap^4``, as the error of an interpolation grows
    with the square of the gap: a bad column is bridged along its rows. All values come from good
    pixels, so that the order does not matter.
    """
    if method not in FILL_METHODS:
        msg = f"fill method {method!r} is none of {', '.join(FILL_METHODS)}"
        raise ValueError(msg)
    if bad.shape != image.shape:
        msg = f"image and bad pixels differ in shape: {image.shape}, {bad.shape}"
        raise ValueError(msg)
    if method == "none":
        return Filled(image, np.zeros(image.shape, dtype=bool))
    image = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))
    bad = bad | ~np.isfinite(image)
    result = image.copy()
    if method == "zero":
        result[bad] = 0
        return Filled(result, bad)
    good = image[~bad]
    fallback = float(np.median(good[:: 1 + good.size // _MEDIAN_SIZE])) if good.size else np.nan
    _interpolate(image, bad, max_distance, fallback, result)
    return Filled(result, bad if good.size else np.zeros_like(bad))


@compiled_in_order
def _neighbours(
    bad: Plane, y: int, x: int, step_y: int, step_x: int, max_distance: int
) -> tuple[int, int]:
    """Return the distances of the first two good pixels in a direction, 0 where there is none."""
    first = 0
    for distance in range(1, max_distance + 1):
        at_y, at_x = y + distance * step_y, x + distance * step_x
        if at_y < 0 or at_y >= bad.shape[0] or at_x < 0 or at_x >= bad.shape[1]:
            break
        if not bad[at_y, at_x]:
            if first > 0:
                return first, distance
            first = distance
    return first, 0


@compiled_in_order
def _cubic(
    a: float, b: float, c: float, d: float, va: float, vb: float, vc: float, vd: float
) -> float:
    """Return the value at zero of the cubic through four points."""
    return (
        va * (b * c * d) / ((b - a) * (c - a) * (d - a))
        + vb * (a * c * d) / ((a - b) * (c - b) * (d - b))
        + vc * (a * b * d) / ((a - c) * (b - c) * (d - c))
        + vd * (a * b * c) / ((a - d) * (b - d) * (c - d))
    )


@compiled_in_order
def _along(
    image: Plane, bad: Plane, y: int, x: int, sy: int, sx: int, max_distance: int
) -> tuple[float, float]:
    """Return the value interpolated along one axis and its weight, 0 if there are no neighbours."""
    l1, l2 = _neighbours(bad, y, x, -sy, -sx, max_distance)
    r1, r2 = _neighbours(bad, y, x, sy, sx, max_distance)
    if l1 == 0 and r1 == 0:
        return 0.0, 0.0
    if l1 == 0:
        return image[y + r1 * sy, x + r1 * sx], 1.0 / (2.0 * _ONE_SIDED * r1) ** 4
    if r1 == 0:
        return image[y - l1 * sy, x - l1 * sx], 1.0 / (2.0 * _ONE_SIDED * l1) ** 4
    left, right = float(image[y - l1 * sy, x - l1 * sx]), float(image[y + r1 * sy, x + r1 * sx])
    gap = l1 + r1
    if gap <= _CUBIC_GAP and l2 > 0 and r2 > 0:
        before, after = image[y - l2 * sy, x - l2 * sx], image[y + r2 * sy, x + r2 * sx]
        value = _cubic(-l2, -l1, r1, r2, before, left, right, after)
    else:
        value = (left * r1 + right * l1) / gap
    return value, 1.0 / float(gap) ** 4


@compiled_in_order
def _interpolate(image: Plane, bad: Plane, max_distance: int, fallback: float, out: Plane) -> None:
    """Replace all bad pixels of `out` by values from the good pixels of `image`."""
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if bad[y, x]:
                in_row, row_weight = _along(image, bad, y, x, 0, 1, max_distance)
                in_column, column_weight = _along(image, bad, y, x, 1, 0, max_distance)
                weight = row_weight + column_weight
                if weight > 0.0:
                    out[y, x] = (in_row * row_weight + in_column * column_weight) / weight
                else:
                    out[y, x] = fallback
