"""Stamps of many sources at once, and their sizes and shapes from adaptive moments."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Element = TypeVar("Element", bound=np.generic)

_MAX_ITERATIONS = 60
_TOLERANCE = 1e-5
_REACH = 4.5  # [standard deviation of the weight] beyond which it is taken for zero
_SMALLEST = 0.05  # [pixel squared] second moment
_NARROW = 1.0  # [pixel] radius below which stars are smoothed
_SMOOTHING = 1.0  # [pixel]


def cut_stamps(
    plane: NDArray[Element], y: NDArray[np.intp], x: NDArray[np.intp], half: int, *, fill: Any
) -> NDArray[Element]:
    """Cut square stamps out of a plane.

    Parameters
    ----------
    plane : ndarray, shape (ny, nx)
        Pixels.
    y, x : ndarray of int, shape (n,)
        Pixels in the middle of the stamps, within the plane.
    half : int
        Pixels on every side of the middle.
    fill : scalar
        Value of what lies beyond the plane.

    Returns
    -------
    ndarray, shape (n, 2 half + 1, 2 half + 1)
        Copies.
    """
    side = 2 * half + 1
    if not y.size:
        return np.empty((0, side, side), plane.dtype)
    padded = np.pad(plane, half, constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side))
    return windows[y, x]


def smoothing_for(radius: float) -> float:
    """Return by how much to smooth stars of a radius [pixel] to measure their moments [pixel]."""
    return _SMOOTHING if radius < _NARROW else 0.0


@dataclass(frozen=True, eq=False)
class StarMoments:
    """Centres and second moments of sources, each weighted by the Gaussian that fits it.

    Arrays of float64, shape ``(n,)``; NaN where the moments do not converge.

    Parameters
    ----------
    y, x : ndarray
        Centre, from the middle of the stamp [pixel].
    yy, xx, xy : ndarray
        Second moments [pixel squared].
    flux : ndarray
        Flux of the Gaussian that fits best [unit of the stamps].
    """

    y: Floats
    x: Floats
    yy: Floats
    xx: Floats
    xy: Floats
    flux: Floats

    def __getitem__(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> StarMoments:
        return StarMoments(*(getattr(self, entry.name)[which] for entry in fields(self)))

    @property
    def radius(self) -> Floats:
        """Standard deviation of the round Gaussian of equal area [pixel]."""
        with np.errstate(invalid="ignore"):
            return (self.yy * self.xx - self.xy**2) ** 0.25

    @property
    def e1(self) -> Floats:
        """Elongation along x, ``(xx - yy) / (xx + yy)``."""
        return (self.xx - self.yy) / (self.xx + self.yy)

    @property
    def e2(self) -> Floats:
        """Elongation along the diagonal, ``2 xy / (xx + yy)``."""
        return 2.0 * self.xy / (self.xx + self.yy)


def star_moments(
    stamps: NDArray[np.floating], start: float, *, smoothing: float = 0.0
) -> StarMoments:
    """Measure adaptive moments of many sources.

    Parameters
    ----------
    stamps : ndarray of float, shape (n, h, w)
        Sources near the middle, without background; pixels without value are zero.
    start : float
        Standard deviation of the first weight [pixel].
    smoothing : float
        Standard deviation of a Gaussian that stamps are first smoothed with, and whose moments are
        then taken off [pixel]. Without it stars below a FWHM of two pixels have no moments: most
        of their light is in one pixel.

    Returns
    -------
    StarMoments
        The same as `~skytool.core.psf.adaptive_moments.adaptive_moments` finds one by one.

    Notes
    -----
    Bernstein & Jarvis (2002), with the update of Hirata & Seljak (2003). A source whose centre
    leaves the middle half of its stamp, or whose moments are not positive, is given up.
    """
    n, h, w = stamps.shape
    if smoothing:
        along_y, along_x = (_gaussian_matrix(size, smoothing) for size in (h, w))
        stamps = np.matmul(along_y, np.matmul(stamps, along_x))
        start = math.hypot(start, smoothing)
    rows, columns = (np.arange(size, dtype=np.float64) - (size - 1) / 2 for size in (h, w))
    now = np.tile([0.0, 0.0, start**2, start**2, 0.0, 0.0], (n, 1))
    found = np.full((n, 6), np.nan)
    active = np.arange(n)
    for _ in range(_MAX_ITERATIONS):
        if not active.size:
            break
        after = _updated(stamps[active], rows, columns, now[active])
        scale = 0.5 * (after[:, 2] + after[:, 3])
        moved = np.abs(after - now[active])
        with np.errstate(invalid="ignore", divide="ignore"):
            alive = (np.abs(after[:, 0]) <= h / 4) & (np.abs(after[:, 1]) <= w / 4)
            alive &= np.isfinite(after).all(axis=1)
            settled = np.maximum(moved[:, 2:5].max(axis=1), moved[:, :2].max(axis=1) ** 2)
            done = alive & (settled < _TOLERANCE * scale)
        now[active] = after
        found[active[done]] = after[done]
        active = active[alive & ~done]
    found[:, 2:4] -= smoothing**2
    # too narrow for what noise leaves
    found[~(found[:, 2] * found[:, 3] - found[:, 4] ** 2 > 0.0) | ~(found[:, 2] > 0.0)] = np.nan
    return StarMoments(*found.T)


def _gaussian_matrix(size: int, sigma: float) -> Floats:
    """Return the symmetric matrix that smooths a line of pixels."""
    at = np.arange(size)
    matrix = np.exp(-0.5 * (np.subtract.outer(at, at) / sigma) ** 2)
    return np.asarray(matrix / (math.sqrt(2.0 * math.pi) * sigma), dtype=np.float64)


def _updated(stamps: NDArray[np.floating], rows: Floats, columns: Floats, now: Floats) -> Floats:
    """Return the moments that sources have if they are Gaussians seen through their weights."""
    dy, dx = rows - now[:, :1], columns - now[:, 1:2]
    inverse = _inverse(now[:, 2], now[:, 3], now[:, 4])
    exponent = (inverse[0][:, None] * dy * dy)[:, :, None] + (inverse[1][:, None] * dx * dx)[
        :, None
    ]
    exponent += (2.0 * inverse[2][:, None] * dy)[:, :, None] * dx[:, None]
    weight = np.exp(-0.5 * exponent)
    weight[exponent > _REACH**2] = 0.0
    weighted = stamps * weight
    along_y, along_x = weighted.sum(axis=2), weighted.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = along_y.sum(axis=1)
        total[~(total > 0.0)] = np.nan
        mean_y, mean_x = (along_y * dy).sum(axis=1) / total, (along_x * dx).sum(axis=1) / total
        cross = np.matmul(dy[:, None], np.matmul(weighted, dx[:, :, None]))[:, 0, 0]
        seen = _inverse(
            (along_y * dy * dy).sum(axis=1) / total - mean_y**2,
            (along_x * dx * dx).sum(axis=1) / total - mean_x**2,
            cross / total - mean_y * mean_x,
        )
        moments = _inverse(*(a - b for a, b in zip(seen, inverse, strict=True)))
        wide = ~(np.minimum(moments[0], moments[1]) > _SMALLEST) & np.isfinite(seen[0])
        # wider than the weight can tell: widen the weight
        yy, xx, xy = (np.where(wide, 2.0 * now[:, k + 2], moments[k]) for k in range(3))
        # the weight pulls the centre back by the ratio of the two inverse matrices
        gain_y = seen[0] * mean_y + seen[2] * mean_x
        gain_x = seen[2] * mean_y + seen[1] * mean_x
        step_y, step_x = yy * gain_y + xy * gain_x, xy * gain_y + xx * gain_x
        limit = np.sqrt(0.5 * (now[:, 2] + now[:, 3]))
        shrink = np.minimum(1.0, limit / np.maximum(np.hypot(step_y, step_x), 1e-300))
        flux = 2.0 * total  # of a Gaussian seen through its own weight one half is left
        y, x = now[:, 0] + shrink * step_y, now[:, 1] + shrink * step_x
    return np.stack([y, x, yy, xx, xy, flux], axis=1)


def _inverse(yy: Floats, xx: Floats, xy: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the inverses of symmetric matrices, NaN unless they are positive."""
    determinant = yy * xx - xy * xy
    positive = (determinant > 0.0) & (yy > 0.0) & (xx > 0.0)
    safe = np.where(positive, determinant, np.nan)
    return xx / safe, yy / safe, -xy / safe
