"""Directions on the sphere: unit vectors, tangent planes, convex regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Two great circles closer than this [rad] are one: 2e-4 milliarcsecond, far below a pixel, and
# far above the rounding of a product of unit vectors.
_TOUCH = 1e-12


def unit_vectors(longitude: ArrayLike, latitude: ArrayLike) -> NDArray[np.float64]:
    """Return unit vectors of directions.

    Parameters
    ----------
    longitude, latitude : array_like of float, shape (...)
        Direction [deg].

    Returns
    -------
    ndarray of float64, shape (..., 3)
        Towards (0, 0), (90, 0) and the pole; NaN where the direction is.
    """
    lon = np.radians(np.asarray(longitude, dtype=np.float64))
    lat = np.radians(np.asarray(latitude, dtype=np.float64))
    cos_lat = np.cos(lat)
    return np.stack([cos_lat * np.cos(lon), cos_lat * np.sin(lon), np.sin(lat)], axis=-1)


def longitude_latitude(
    vectors: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the direction of vectors of any length but zero.

    Parameters
    ----------
    vectors : ndarray of float64, shape (..., 3)
        Vectors.

    Returns
    -------
    longitude, latitude : ndarray of float64, shape (...)
        Direction [deg]; the longitude is in [0, 360).
    """
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    longitude = np.mod(np.degrees(np.arctan2(y, x)), 360.0)
    # a tiny negative angle is rounded to 360 itself
    return np.where(longitude == 360.0, 0.0, longitude), np.degrees(np.arctan2(z, np.hypot(x, y)))


def mean_direction(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit vector, shape ``(3,)``, of the mean of unit vectors; NaN if it is zero."""
    mean = vectors.mean(axis=0)
    length = np.linalg.norm(mean)
    return mean / length if length > 1e-9 else np.full(3, np.nan)


def separation(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the angle [rad] between unit vectors, shape ``(..., 3)``, precise at any angle."""
    return 2.0 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))


def tangent_axes(
    center: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the unit vectors to the east and to the north at a direction.

    Parameters
    ----------
    center : ndarray of float64, shape (3,)
        Unit vector. At a pole, east is that of longitude zero.

    Returns
    -------
    east, north : ndarray of float64, shape (3,)
        Unit vectors.
    """
    x, y, _ = center
    length = np.hypot(x, y)
    east = np.array([-y, x, 0.0]) / length if length > 1e-15 else np.array([0.0, 1.0, 0.0])
    return east, np.cross(center, east)


def project(
    vectors: NDArray[np.float64], center: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project directions onto the plane that touches the sphere at ``center`` (gnomonic).

    Parameters
    ----------
    vectors : ndarray of float64, shape (n, 3)
        Unit vectors.
    center : ndarray of float64, shape (3,)
        Unit vector of the point of contact.

    Returns
    -------
    east, north : ndarray of float64, shape (n,)
        Plane coordinates [rad]; NaN for directions 90 degrees or more from ``center``, which
        would come out mirrored.
    """
    to_east, to_north = tangent_axes(center)
    depth = vectors @ center
    depth = np.where(depth > 1e-12, depth, np.nan)
    return (vectors @ to_east) / depth, (vectors @ to_north) / depth


def deproject(
    east: ArrayLike, north: ArrayLike, center: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the unit vector, shape ``(3,)``, of a point of the tangent plane [rad]."""
    to_east, to_north = tangent_axes(center)
    vector = center + np.asarray(east) * to_east + np.asarray(north) * to_north
    return vector / np.linalg.norm(vector)


def convex_hull(vectors: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the corners of the smallest convex region around directions.

    Parameters
    ----------
    vectors : ndarray of float64, shape (n, 3)
        Unit vectors. An outline needs a point inside too: it has two sides.

    Returns
    -------
    ndarray of float64, shape (m, 3), or None
        Corners in order around the region; None if the directions are not within less than 90
        degrees of their mean.

    Raises
    ------
    ValueError
        If the region has no area.

    Notes
    -----
    Great circles are straight in the gnomonic projection, so the hull is that of the projected
    points, found by the monotone chain of Andrew (1979).
    """
    center = mean_direction(vectors)
    if not np.isfinite(center).all() or (vectors @ center).min() < 0.02:
        return None
    east, north = project(vectors, center)
    order = np.lexsort((north, east))
    points = [(float(east[i]), float(north[i]), int(i)) for i in order]
    lower = _chain(points)
    upper = _chain(points[::-1])
    corners = [i for _, _, i in lower[:-1] + upper[:-1]]
    if len(corners) < 3:
        msg = "the directions enclose no area"
        raise ValueError(msg)
    return vectors[corners]


def _chain(points: list[tuple[float, float, int]]) -> list[tuple[float, float, int]]:
    """Return the points of one side of a hull, of points sorted along it."""
    kept: list[tuple[float, float, int]] = []
    for point in points:
        while len(kept) > 1 and _turn(kept[-2], kept[-1], point) <= 0.0:
            kept.pop()
        kept.append(point)
    return kept


def _turn(
    a: tuple[float, float, int], b: tuple[float, float, int], c: tuple[float, float, int]
) -> float:
    """Return twice the area of a triangle, positive if it runs anticlockwise."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def hulls_intersect(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    """Say whether two convex regions of the sphere have a point in common.

    Parameters
    ----------
    a, b : ndarray of float64, shape (n, 3)
        Corners in order, as `convex_hull` gives them.

    Returns
    -------
    bool
        Touching and containment count.

    Notes
    -----
    Two convex regions within a common hemisphere are apart if and only if the great circle along
    an edge of one of them has the other one wholly on its far side. For regions that no hemisphere
    holds, and that the circles around them do not tell apart, the answer may be True although
    they are apart, never the reverse.
    """
    middle_a, middle_b = mean_direction(a), mean_direction(b)
    reach = separation(a, middle_a).max() + separation(b, middle_b).max()
    if separation(middle_a, middle_b) > reach + _TOUCH:
        return False
    return not (_edge_separates(a, b) or _edge_separates(b, a))


def _edge_separates(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    """Say whether the great circle along an edge of ``a`` has all of ``b`` outside."""
    normals = np.cross(a, np.roll(a, -1, axis=0))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    inside = np.sign(normals @ mean_direction(a))
    return bool(((normals @ b.T) * inside[:, None] < -_TOUCH).all(axis=1).any())
