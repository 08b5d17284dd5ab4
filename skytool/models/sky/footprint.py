"""The outlines of images on the sky."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.sphere import directions as spherical
from skytool.errors import IncompatibleError
from skytool.models.sky.celestial import directions
from skytool.models.sky.pixelmap import source_positions

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from skytool.models.sky.geometry import TargetGrid

_MAX_ANGLE = np.radians(80.0)  # from the middle of a tangent plane; its scale is 33 fold there


def edge_pixels(
    shape: tuple[int, int], n_per_side: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points along the outer edges of an image, once around.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)``; the edges are at -0.5 and ny - 0.5, nx - 0.5.
    n_per_side : int
        Points of each side, its first corner included and its last one not.

    Returns
    -------
    y, x : ndarray of float64, shape (4 * n_per_side,)
        Position [pixel, 0-based], from (-0.5, -0.5) along the x axis first.
    """
    ny, nx = shape
    t = np.arange(n_per_side) / n_per_side
    zero, one = np.zeros_like(t), np.ones_like(t)
    x = np.concatenate([t, one, 1.0 - t, zero]) * nx - 0.5
    y = np.concatenate([zero, t, one, 1.0 - t]) * ny - 0.5
    return y, x


def footprint_edges(
    wcs: WCS, shape: tuple[int, int], n_per_side: int = 8, *, name: str = "an image"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the outline of an image on the sky.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Two celestial axes.
    shape : tuple of int
        ``(ny, nx)``.
    n_per_side : int
        Points of each side; 1 gives the corners.
    name : str
        What messages call the image.

    Returns
    -------
    ra, dec : ndarray of float64, shape (4 * n_per_side,)
        ICRS position [deg] of points along the outer pixel edges, once around.

    Raises
    ------
    IncompatibleError
        If the WCS gives a point no position.
    """
    vectors = outline_vectors(wcs, shape, n_per_side, name=name)[:-1]
    return spherical.longitude_latitude(vectors)


def outline_vectors(
    wcs: WCS, shape: tuple[int, int], n_per_side: int, *, name: str = "an image"
) -> NDArray[np.float64]:
    """Return the outline of an image and, last, its middle.

    Parameters
    ----------
    wcs, shape, n_per_side, name
        As of `footprint_edges`.

    Returns
    -------
    ndarray of float64, shape (4 * n_per_side + 1, 3)
        ICRS unit vectors.

    Raises
    ------
    IncompatibleError
        If the WCS gives a point no position.
    """
    y, x = _edges_and_middle(shape, n_per_side)
    vectors = directions(wcs, y=y, x=x)
    lost = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if lost.size:
        at = f"(x, y) = ({x[lost[0]]:g}, {y[lost[0]]:g})"
        raise IncompatibleError(f"{name}: the WCS gives the point {at} no position on the sky.")
    return vectors


def _edges_and_middle(
    shape: tuple[int, int], n_per_side: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the points of `edge_pixels` and the middle of the image."""
    y, x = edge_pixels(shape, n_per_side)
    return np.append(y, (shape[0] - 1) / 2), np.append(x, (shape[1] - 1) / 2)


def overlaps(wcs: WCS, shape: tuple[int, int], grid: TargetGrid, *, name: str = "an image") -> bool:
    """Say whether an image reaches a grid.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Celestial coordinates of the image.
    shape : tuple of int
        Its shape ``(ny, nx)``.
    grid : TargetGrid
        The grid.
    name : str
        What messages call the image.

    Returns
    -------
    bool
        True if the convex hulls of the two outlines (with 8 points per side, on the sphere) have a
        point in common, one holding the other included.

    Raises
    ------
    IncompatibleError
        If the outline of the image has a point without a position, or no area.

    Notes
    -----
    A grid of most of the sky has no convex outline: then a lattice of points of each image is
    looked up in the other one.
    """
    outline = outline_vectors(wcs, shape, 8, name=name)
    y, x = _edges_and_middle(grid.shape, 8)
    target = directions(grid.wcs, y=y, x=x)
    try:
        source_hull = spherical.convex_hull(outline)
    except ValueError as error:
        raise IncompatibleError(f"{name}: the WCS gives the image no area on the sky.") from error
    target_hull = spherical.convex_hull(target) if np.isfinite(target).all() else None
    if source_hull is None or target_hull is None:
        return _reaches(wcs, shape, grid.wcs, grid.shape) or _reaches(
            grid.wcs, grid.shape, wcs, shape
        )
    return spherical.hulls_intersect(source_hull, target_hull)


def _reaches(a: WCS, a_shape: tuple[int, int], b: WCS, b_shape: tuple[int, int]) -> bool:
    """Say whether a point of a lattice over one image lies in another image."""
    y, x = np.meshgrid(*(np.linspace(-0.5, n - 0.5, 17) for n in a_shape), indexing="ij")
    u, v = source_positions(a, b, source_shape=b_shape)(x, y)
    inside = (u >= -0.5) & (u <= b_shape[1] - 0.5) & (v >= -0.5) & (v <= b_shape[0] - 0.5)
    return bool(inside.any())


def surrounding_box(
    vectors: NDArray[np.float64], *, name: str
) -> tuple[NDArray[np.float64], float, float]:
    """Return the middle and the size of a box in the tangent plane that holds directions.

    Parameters
    ----------
    vectors : ndarray of float64, shape (n, 3)
        Unit vectors.
    name : str
        What messages call the box.

    Returns
    -------
    center : ndarray of float64, shape (3,)
        Where the plane touches; the middle of the box.
    height, width : float
        North-south and east-west size [rad in the plane].

    Raises
    ------
    IncompatibleError
        If the directions are more than 80 degrees from the middle of the box.
    """
    center = spherical.mean_direction(vectors)
    boxes = []
    for _ in range(30):
        if not np.isfinite(center).all() or (vectors @ center).min() < np.cos(_MAX_ANGLE):
            raise IncompatibleError(
                f"{name}: the images spread over too much of the sky for one tangential grid.",
                hint="Give the grid, or fewer images.",
            )
        east, north = spherical.project(vectors, center)
        boxes.append((center, 2.0 * float(np.abs(north).max()), 2.0 * float(np.abs(east).max())))
        middle = (east.min() + east.max()) / 2, (north.min() + north.max()) / 2
        if max(map(abs, middle)) < 1e-13:
            break
        center = spherical.deproject(*middle, center)
    # beside a pole the north turns with every step, and the middle may never come to rest
    return min(boxes, key=lambda box: box[1] * box[2])
