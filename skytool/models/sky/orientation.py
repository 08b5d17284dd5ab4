"""Where north and east are in an image, and how large its pixels are there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.sphere import directions as spherical
from skytool.errors import IncompatibleError
from skytool.models.sky.celestial import ARCSEC, directions

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class SkyOrientation:
    """The linear map from pixels to the sky at one place of an image.

    Parameters
    ----------
    ra, dec : float
        ICRS position of the place [deg].
    matrix : ndarray of float64, shape (2, 2)
        Steps to the east (first row) and to the north of a step of one pixel along x (first
        column) and along y [arcsec/pixel].
    """

    ra: float
    dec: float
    matrix: NDArray[np.float64]

    @property
    def pixel_scale(self) -> float:
        """Side of a square of the area of the pixel [arcsec]."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix))))

    @property
    def y_scale(self) -> float:
        """Length of a step along y [arcsec/pixel]."""
        return float(np.hypot(*self.matrix[:, 1]))

    @property
    def x_scale(self) -> float:
        """Length of a step along x [arcsec/pixel]."""
        return float(np.hypot(*self.matrix[:, 0]))

    @property
    def position_angle(self) -> float:
        """Direction of the y axis on the sky, from north through east, 0 to 360 [deg]."""
        angle = math.degrees(math.atan2(self.matrix[0, 1], self.matrix[1, 1])) % 360.0
        return 0.0 if angle == 360.0 else angle  # a tiny negative angle is rounded to 360 itself

    @property
    def is_mirrored(self) -> bool:
        """True if east is clockwise from north, as on a map of the Earth."""
        return float(np.linalg.det(self.matrix)) > 0.0

    def north(self) -> tuple[float, float]:
        """Return the unit vector ``(dy, dx)`` to the north in the image."""
        return self._pixel_direction(1)

    def east(self) -> tuple[float, float]:
        """Return the unit vector ``(dy, dx)`` to the east in the image."""
        return self._pixel_direction(0)

    def _pixel_direction(self, axis: int) -> tuple[float, float]:
        dx, dy = np.linalg.solve(self.matrix, np.eye(2)[axis])
        length = math.hypot(dx, dy)
        return float(dy / length), float(dx / length)


def sky_orientation(wcs: WCS, *, y: float, x: float, name: str = "the WCS") -> SkyOrientation:
    """Return how an image lies on the sky at a pixel.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Two celestial axes of any system; north and east are those of ICRS.
    y, x : float
        The place [pixel, 0-based].
    name : str
        What messages call the image.

    Raises
    ------
    IncompatibleError
        If the place or its surroundings are not on the sky.
    """
    at_y = np.array([y, y, y, y - 0.5, y + 0.5])
    at_x = np.array([x, x - 0.5, x + 0.5, x, x])
    vectors = directions(wcs, y=at_y, x=at_x)
    east, north = spherical.tangent_axes(vectors[0])
    steps = np.column_stack([vectors[2] - vectors[1], vectors[4] - vectors[3]])
    matrix = np.stack([east, north]) @ steps / ARCSEC
    if not (np.isfinite(matrix).all() and abs(np.linalg.det(matrix)) > 0.0):
        raise IncompatibleError(
            f"{name}: the WCS gives no area to the pixel (x, y) = ({x:g}, {y:g})."
        )
    longitude, latitude = spherical.longitude_latitude(vectors[:1])
    return SkyOrientation(float(longitude[0]) % 360.0, float(latitude[0]), matrix)


def position_text(ra: float, dec: float) -> str:
    """Return a position [deg] as hours, minutes, seconds, and degrees, minutes, seconds."""
    tenths = round(ra % 360.0 / 15.0 * 36_000.0) % 864_000  # of a second of time
    seconds = round(abs(dec) * 3600.0)
    minutes, tenth = divmod(tenths, 600)
    sign = "-" if dec < 0 and seconds else "+"
    return (
        f"{minutes // 60:02d}:{minutes % 60:02d}:{tenth / 10:04.1f} "
        f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    )
