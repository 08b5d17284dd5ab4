"""Size and shape of a compact profile from moments weighted by the best fitting Gaussian."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.matching.kernel_basis import SIGMA_TO_FWHM

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_ITERATIONS = 100
_REACH = 6.0  # standard deviations of the weight that are looked at


@dataclass(frozen=True, slots=True)
class AdaptiveMoments:
    """Centre and second moments of the elliptical Gaussian that fits a profile.

    Parameters
    ----------
    y, x : float
        Centre [pixel]; whole numbers are pixel centres.
    yy, xx, xy : float
        Second moments [pixel squared].
    """

    y: float
    x: float
    yy: float
    xx: float
    xy: float

    @property
    def fwhm(self) -> float:
        """Full width at half maximum of a Gaussian with the mean of the two moments [pixel]."""
        return float(SIGMA_TO_FWHM * math.sqrt(0.5 * (self.yy + self.xx)))

    @property
    def determinant_radius(self) -> float:
        """Standard deviation of the round Gaussian of equal area [pixel]."""
        return (self.yy * self.xx - self.xy**2) ** 0.25

    @property
    def e1(self) -> float:
        """Elongation along x, ``(xx - yy) / (xx + yy)``."""
        return (self.xx - self.yy) / (self.xx + self.yy)

    @property
    def e2(self) -> float:
        """Elongation along the diagonal, ``2 xy / (xx + yy)``."""
        return 2.0 * self.xy / (self.xx + self.yy)

    @property
    def ellipticity(self) -> float:
        """Distortion, ``(a^2 - b^2) / (a^2 + b^2)`` of the axes a and b."""
        return math.hypot(self.e1, self.e2)


def adaptive_moments(
    image: NDArray[np.floating],
    *,
    start: AdaptiveMoments | None = None,
    tolerance: float = 1e-6,
) -> AdaptiveMoments:
    """Measure centre and second moments with a weight that has the same ones.

    Parameters
    ----------
    image : ndarray of float, shape (ny, nx)
        Profile without background, such as the image of a PSF.
    start : AdaptiveMoments, optional
        First weight; a round one of two pixels in the middle without it.
    tolerance : float
        Change of the moments, relative to their mean, at which the iteration ends.

    Returns
    -------
    AdaptiveMoments
        Centre and moments; the moments of the profile itself if it is a Gaussian.

    Raises
    ------
    ValueError
        If the iteration does not converge: the image holds no compact positive profile.

    Notes
    -----
    Bernstein & Jarvis (2002), with the update of Hirata & Seljak (2003), which is exact for
    Gaussians. The size of other profiles is not that of their half maximum: the FWHM of a Moffat
    profile of exponent 3 comes out 13 per cent larger.
    """
    ny, nx = image.shape
    now = start or AdaptiveMoments((ny - 1) / 2, (nx - 1) / 2, 4.0, 4.0, 0.0)
    for _ in range(_MAX_ITERATIONS):
        after = _updated(image, now)
        if after is None or not (0 <= after.y <= ny - 1 and 0 <= after.x <= nx - 1):
            break
        scale = 0.5 * (after.yy + after.xx)
        change = max(abs(after.yy - now.yy), abs(after.xx - now.xx), abs(after.xy - now.xy)) / scale
        moved = max(abs(after.y - now.y), abs(after.x - now.x)) / math.sqrt(scale)
        if max(change, moved) < tolerance:
            return after
        now = after
    raise ValueError("adaptive moments do not converge: the image holds no compact profile")


def _updated(image: NDArray[np.floating], now: AdaptiveMoments) -> AdaptiveMoments | None:
    """Return the moments that the profile has if it is a Gaussian seen through the weight."""
    rows = _window(now.y, _REACH * math.sqrt(now.yy), image.shape[0])
    columns = _window(now.x, _REACH * math.sqrt(now.xx), image.shape[1])
    dy, dx = (
        np.arange(rows.start, rows.stop) - now.y,
        np.arange(columns.start, columns.stop) - now.x,
    )
    inverse = _inverse(now.yy, now.xx, now.xy)
    if inverse is None or len(dy) < 3 or len(dx) < 3:
        return None
    exponent = inverse[0] * (dy * dy)[:, None] + inverse[1] * (dx * dx)
    if inverse[2]:
        exponent += (2.0 * inverse[2] * dy)[:, None] * dx
    weighted = image[rows, columns] * np.exp(-0.5 * exponent)
    along_y, along_x = weighted.sum(axis=1), weighted.sum(axis=0)
    total = float(along_y.sum())
    if not total > 0.0:
        return None
    mean_y, mean_x = float(along_y @ dy) / total, float(along_x @ dx) / total
    seen = _inverse(
        float(along_y @ (dy * dy)) / total - mean_y**2,
        float(along_x @ (dx * dx)) / total - mean_x**2,
        float(dy @ weighted @ dx) / total - mean_y * mean_x,
    )
    if seen is None:
        return None
    moments = _inverse(*(a - b for a, b in zip(seen, inverse, strict=True)))
    if moments is None:  # wider than the weight can tell: widen the weight
        moments = (2.0 * now.yy, 2.0 * now.xx, 2.0 * now.xy)
    # the weight pulls the centre back by the ratio of the two inverse matrices
    yy, xx, xy = moments
    gain_y = seen[0] * mean_y + seen[2] * mean_x
    gain_x = seen[2] * mean_y + seen[1] * mean_x
    step_y, step_x = yy * gain_y + xy * gain_x, xy * gain_y + xx * gain_x
    limit = math.sqrt(0.5 * (now.yy + now.xx))
    shrink = min(1.0, limit / max(math.hypot(step_y, step_x), 1e-300))
    return AdaptiveMoments(now.y + shrink * step_y, now.x + shrink * step_x, yy, xx, xy)


def _window(centre: float, reach: float, length: int) -> slice:
    """Return the pixels within a distance of a centre."""
    return slice(max(math.floor(centre - reach), 0), min(math.ceil(centre + reach) + 1, length))


def _inverse(yy: float, xx: float, xy: float) -> tuple[float, float, float] | None:
    """Return the inverse of a symmetric matrix, None unless it is positive."""
    determinant = yy * xx - xy * xy
    if not (determinant > 0.0 and yy > 0.0 and xx > 0.0):
        return None
    return xx / determinant, yy / determinant, -xy / determinant
