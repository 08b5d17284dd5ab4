"""Small images of a point source: interpolation, shifts, and the width at half maximum."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_ORDER = 5
_N_ANGLES = 48
_FINE = 0.02  # [pixel] lattice on which the peak is looked for
_RADIAL = 0.1  # [pixel] steps along a ray


def spline_matrix(n: int, positions: ArrayLike) -> NDArray[np.float64]:
    """Return the matrix that interpolates ``n`` samples at positions.

    Parameters
    ----------
    n : int
        Number of samples, at 0 to n - 1.
    positions : array_like of float, shape (m,)
        Where values are wanted [sample]; outside of the samples the curve falls to zero.

    Returns
    -------
    ndarray of float64, shape (m, n)
        Weights. Multiplied from the left and, transposed, from the right, they interpolate an
        image.

    Notes
    -----
    The B-spline of degree 5 through all samples (Unser, Aldroubi & Eden 1993). Shifted by half a
    pixel, a Gaussian of 2.5, 3, 4 or 6 pixels FWHM comes out right to 3e-3, 1e-3, 2e-4 and 1e-5
    of its peak; below 2.5 pixels the samples themselves do not determine what is between them.
    """
    at = np.asarray(positions, dtype=np.float64)[:, None] - np.arange(n)
    knots = np.arange(n, dtype=np.float64)
    weights = np.linalg.solve(b_spline(knots[:, None] - knots).T, b_spline(at).T).T
    return np.asarray(weights, dtype=np.float64)


def b_spline(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the central B-spline of degree 5."""
    t = np.abs(t)
    result = np.zeros_like(t)
    for start, sign_and_count in ((3.0, 1.0), (2.0, -6.0), (1.0, 15.0)):
        result += sign_and_count * np.maximum(start - t, 0.0) ** _ORDER
    return result / math.factorial(_ORDER)


def b_spline_slope(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the derivative of the central B-spline of degree 5."""
    size = np.abs(t)
    result = np.zeros_like(t)
    for start, sign_and_count in ((3.0, 1.0), (2.0, -6.0), (1.0, 15.0)):
        result -= sign_and_count * np.maximum(start - size, 0.0) ** (_ORDER - 1)
    return np.sign(t) * result / math.factorial(_ORDER - 1)


def interpolated(stamp: NDArray[np.float64], *, y: ArrayLike, x: ArrayLike) -> NDArray[np.float64]:
    """Return the interpolated values of a stamp on a lattice.

    Parameters
    ----------
    stamp : ndarray of float64, shape (h, w)
        Samples.
    y, x : array_like of float, shape (n_y,) and (n_x,)
        Rows and columns wanted [sample].

    Returns
    -------
    ndarray of float64, shape (n_y, n_x)
        Values; zero well outside of the stamp.
    """
    return spline_matrix(stamp.shape[0], y) @ stamp @ spline_matrix(stamp.shape[1], x).T


def shifted(stamp: NDArray[np.float64], *, dy: float, dx: float) -> NDArray[np.float64]:
    """Return a stamp, shape ``(h, w)``, whose content is moved by ``(dy, dx)`` [pixel]."""
    if dy == 0.0 and dx == 0.0:
        return stamp
    h, w = stamp.shape
    return interpolated(stamp, y=np.arange(h) - dy, x=np.arange(w) - dx)


def half_maximum_fwhm(stamp: NDArray[np.float64]) -> float:
    """Return the full width at half maximum of the image of a point source.

    Parameters
    ----------
    stamp : ndarray of float64, shape (h, w)
        The image, without background.

    Returns
    -------
    float
        Diameter of the circle that has the area within the half-maximum contour [pixel], so the
        geometric mean of the axes of an elliptical image. The contour is followed on the
        interpolated image; of several crossings along a ray the outermost counts.

    Raises
    ------
    ValueError
        If the image has no positive peak, or is still above half of it at the edge.
    """
    top = np.unravel_index(np.argmax(stamp), stamp.shape)
    if not stamp[top] > 0.0:
        msg = "the stamp has no positive peak"
        raise ValueError(msg)
    near = np.arange(-1.0, 1.0 + _FINE / 2, _FINE)
    around = interpolated(stamp, y=top[0] + near, x=top[1] + near)
    best = np.unravel_index(np.argmax(around), around.shape)
    center_y, center_x = top[0] + near[best[0]], top[1] + near[best[1]]
    half = around[best] / 2.0
    high = np.argwhere(stamp >= half) - (center_y, center_x)
    reach = float(np.hypot(*high.T).max(initial=0.0)) + 2.0
    angle = np.arange(_N_ANGLES)[:, None] * (2.0 * np.pi / _N_ANGLES)
    radius = np.arange(0.0, reach, _RADIAL)
    y, x = center_y + radius * np.sin(angle), center_x + radius * np.cos(angle)
    edge_y, edge_x = stamp.shape[0] - 1, stamp.shape[1] - 1
    outside = (y < 0.0) | (y > edge_y) | (x < 0.0) | (x > edge_x)
    rays = np.where(outside, np.nan, _at_points(stamp, y, x))
    radii = [_outer_crossing(ray[np.isfinite(ray)], half) for ray in rays]
    return 2.0 * _RADIAL * math.sqrt(float(np.mean(np.square(radii))))


def _at_points(
    stamp: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return interpolated values of a stamp at scattered points."""
    coefficients = stamp
    for axis in (0, 1):
        knots = np.arange(stamp.shape[axis], dtype=np.float64)
        solved = np.asarray(
            np.linalg.solve(b_spline(knots[:, None] - knots), coefficients), dtype=np.float64
        )
        coefficients = solved.T
    pad = 3
    padded = np.pad(coefficients, pad)
    result = np.zeros(y.shape)
    y_first, x_first = (
        np.clip(np.floor(t), -1, n) for t, n in zip((y, x), stamp.shape, strict=True)
    )
    taps = range(-2, 4)
    x_weights = [b_spline(x - x_first - tap) for tap in taps]
    for y_tap in taps:
        rows = np.clip(y_first + y_tap + pad, 0, padded.shape[0] - 1).astype(np.intp)
        y_weight = b_spline(y - y_first - y_tap)
        for x_tap, x_weight in zip(taps, x_weights, strict=True):
            columns = np.clip(x_first + x_tap + pad, 0, padded.shape[1] - 1).astype(np.intp)
            result += y_weight * x_weight * padded[rows, columns]
    return result


def _outer_crossing(profile: NDArray[np.float64], level: float) -> float:
    """Return the last place [sample] where a profile falls through a level."""
    above = np.flatnonzero(profile >= level)
    last = int(above[-1]) if above.size else 0
    if last + 1 >= profile.size:
        msg = "the stamp ends within the half maximum"
        raise ValueError(msg)
    drop = profile[last] - profile[last + 1]
    return last + float((profile[last] - level) / drop)
