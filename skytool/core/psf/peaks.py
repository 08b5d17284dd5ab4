"""Peaks of point sources: a smoothed image, its noise, and local maxima above a threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_QUARTILES = 1.348979500392163  # their distance in a unit normal distribution
_SAMPLE = 1 << 18
_LEAST_WEIGHT = 1e-3  # of the taps that fall on good pixels
_REACH = 3.0  # half side of the smoothing kernel [sigma]


@dataclass(frozen=True, eq=False)
class Peaks:
    """Local maxima of a smoothed image; arrays of shape ``(n,)``, the most significant first.

    Parameters
    ----------
    y, x : ndarray of float64
        Position, the vertex of the parabolas through the maximum and its neighbours [pixel].
    significance : ndarray of float64
        Height in the smoothed image [standard deviation of the smoothed sky].
    """

    y: Floats
    x: Floats
    significance: Floats

    def __len__(self) -> int:
        return self.y.size

    def __getitem__(self, which: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Peaks:
        return Peaks(self.y[which], self.x[which], self.significance[which])


def find_peaks(
    scaled: NDArray[np.float32],
    bad: NDArray[np.bool_],
    *,
    sigma: float,
    threshold: float = 5.0,
) -> Peaks:
    """Find the peaks of an image smoothed by a Gaussian.

    Parameters
    ----------
    scaled : ndarray of float32, shape (ny, nx)
        Pixels without their sky, divided by the noise of the sky; zero where they are bad. The
        noise is that of the sky, not of the pixel: the brightest pixels of a star would otherwise
        be cut flat.
    bad : ndarray of bool, shape (ny, nx)
        Pixels to leave out.
    sigma : float
        Standard deviation of the Gaussian [pixel]; best is that of a point source.
    threshold : float
        Least significance.

    Returns
    -------
    Peaks
        One pixel or more from the border of the image.

    Notes
    -----
    The noise of the smoothed image is measured on itself, so that correlated pixels count for what
    they are.
    """
    if bad.all():
        return Peaks(*np.empty((3, 0)))
    height = _significance(scaled, bad, sigma)
    above = np.zeros(height.shape, np.bool_)
    above[1:-1, 1:-1] = height[1:-1, 1:-1] > threshold
    flat, (at, around) = height.ravel(), _neighbours(above)
    is_top = np.ones(at.size, np.bool_)
    for number, step in enumerate(around):
        # of equal neighbours the one that comes first is the peak
        beside = flat[at + step]
        is_top &= flat[at] > beside if number < 4 else flat[at] >= beside
    at = at[is_top]
    nx = height.shape[1]
    row, column = np.divmod(at, nx)
    value = flat[at].astype(np.float64)
    y = row + _vertex(flat[at - nx], flat[at], flat[at + nx])
    x = column + _vertex(flat[at - 1], flat[at], flat[at + 1])
    order = np.lexsort((at, -value))
    return Peaks(y, x, value)[order]


def _significance(
    scaled: NDArray[np.float32], bad: NDArray[np.bool_], sigma: float
) -> NDArray[np.float32]:
    """Return the height of the smoothed image in units of its noise."""
    taps = _gaussian(sigma)
    height = _smoothed(scaled, taps)
    good = ~bad
    if bad.any():
        weight = _smoothed(good.astype(np.float32), taps)
        np.divide(height, weight, out=height, where=weight > _LEAST_WEIGHT)
        height[bad] = 0.0
    step = max(1, scaled.size // _SAMPLE)
    quartiles = np.percentile(height[good][::step], [25, 75])
    noise = (quartiles[1] - quartiles[0]) / _QUARTILES
    return height / np.float32(noise) if noise > 0 else height


def _gaussian(sigma: float) -> NDArray[np.float32]:
    """Return a Gaussian of sum 1 along an axis."""
    half = max(1, math.ceil(_REACH * sigma))
    taps = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    return (taps / taps.sum()).astype(np.float32)


def _smoothed(plane: NDArray[np.float32], taps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a plane convolved with the same symmetric taps along both axes, zero beyond it."""
    half = len(taps) // 2
    for axis in (0, 1):
        lines = np.moveaxis(plane, axis, 0)
        out = taps[half] * lines
        for distance in range(1, min(half, len(lines) - 1) + 1):
            scaled = taps[half + distance] * lines
            out[distance:] += scaled[:-distance]
            out[:-distance] += scaled[distance:]
        plane = np.moveaxis(out, 0, axis)
    return plane


def _neighbours(above: NDArray[np.bool_]) -> tuple[NDArray[np.intp], tuple[int, ...]]:
    """Return flat indices of pixels, and the steps to the eight pixels around each."""
    nx = above.shape[1]
    steps = (-nx - 1, -nx, -nx + 1, -1, 1, nx - 1, nx, nx + 1)
    return np.flatnonzero(above), steps


def _vertex(
    before: NDArray[np.float32], at: NDArray[np.float32], after: NDArray[np.float32]
) -> Floats:
    """Return where the parabola through three values one apart is highest, from the middle one."""
    bend = (2.0 * at - before - after).astype(np.float64)
    step = 0.5 * (after.astype(np.float64) - before)
    return np.clip(np.divide(step, bend, out=np.zeros_like(bend), where=bend > 0), -0.5, 0.5)
