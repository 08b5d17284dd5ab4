"""Where the pixels of one image lie in another one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.sphere import directions as spherical
from skytool.models.sky.celestial import (
    ARCSEC,
    celestial_header,
    frame_change,
    frame_of,
    has_tables,
    lon_lat,
    pixel_scale,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from astropy.wcs import WCS
    from numpy.typing import ArrayLike, NDArray

    PixelMap = Callable[[ArrayLike, ArrayLike], tuple[NDArray[np.float64], NDArray[np.float64]]]

_STEP_LIMIT = 1e-9  # [pixel] last step of the inversion of a distortion
_MAX_STEPS = 100
_SNAP = 1e-8  # [pixel] shifts this near to a whole number are one; rounding of CRPIX cards
_SAME = 1e-12  # of matrix elements, relative: a card has room for 14 digits of them
# PV polynomials belong to the projection: they come after the linear transformation
_PIXEL_DISTORTION = re.compile(r"(A|B|AP|BP)_|D[PQ]\d|C[PQ]DIS")
_LINEAR = re.compile(r"CRPIX|CD\d_|RADESYS|EQUINOX")


def source_positions(
    grid_wcs: WCS, source_wcs: WCS, *, source_shape: tuple[int, int] | None = None
) -> PixelMap:
    """Return the function from pixels of a grid to pixels of a source image.

    Parameters
    ----------
    grid_wcs, source_wcs : `~astropy.wcs.WCS`
        Celestial coordinates of both; the systems (ICRS, FK5, galactic, ...) may differ.
    source_shape : tuple of int, optional
        ``(ny, nx)`` of the source; by default what its WCS knows. Where unknown, every position is
        checked against false solutions, not only those far from the source.

    Returns
    -------
    function ``(x, y) -> (u, v)``
        Of array_like to ndarrays of float64 of the broadcast shape [pixel, 0-based]. NaN where
        the grid pixel has no sky position, the source's projection does not reach it, or its
        distortion cannot be inverted there.

    Notes
    -----
    Two WCS that differ by the reference pixel alone give an exact shift (of whole pixels, if it is
    one to 1e-8 pixel), and two without distortion in one projection about one point an affine map.
    The function uses both WCS objects, which are not safe to share between threads.
    """
    grid_wcs = grid_wcs.celestial if grid_wcs.naxis != 2 else grid_wcs
    source_wcs = source_wcs.celestial if source_wcs.naxis != 2 else source_wcs
    for wcs in (grid_wcs, source_wcs):
        wcs.wcs.set()
    affine = _affine_between(grid_wcs, source_wcs)
    if affine is not None:
        return _affine_map(*affine)
    change = frame_change(grid_wcs, source_wcs)
    if source_shape is None and source_wcs.pixel_shape is not None:
        source_shape = (source_wcs.pixel_shape[1], source_wcs.pixel_shape[0])
    center, radius, scale = _reach(source_wcs, source_shape)
    # A hundredth of a pixel, as the length of a chord: a solution is either right or far off.
    tolerance = 0.01 * scale * ARCSEC

    def positions(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        lon, lat = lon_lat(grid_wcs, y=y.ravel(), x=x.ravel())
        vectors = spherical.unit_vectors(lon, lat)
        if change is not None:
            vectors = change(vectors)
            lon, lat = spherical.longitude_latitude(vectors)
        u, v = _pixels_of(source_wcs, lon, lat)
        far = np.flatnonzero(vectors @ center < np.cos(radius))
        if far.size:
            back = spherical.unit_vectors(*lon_lat(source_wcs, y=v[far], x=u[far]))
            wrong = ~(np.linalg.norm(back - vectors[far], axis=1) < tolerance)
            u[far[wrong]] = np.nan
        bad = ~np.isfinite(u + v)
        u[bad] = v[bad] = np.nan
        return u.reshape(x.shape), v.reshape(x.shape)

    return positions


def _affine_map(matrix: NDArray[np.float64], shift: NDArray[np.float64]) -> PixelMap:
    """Return the function of an affine map, exact where the matrix is the identity."""
    (xx, xy), (yx, yy) = matrix
    identity = (xx, xy, yx, yy) == (1.0, 0.0, 0.0, 1.0)

    def positions(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        if identity:
            return x + shift[0], y + shift[1]
        return xx * x + xy * y + shift[0], yx * x + yy * y + shift[1]

    return positions


def _affine_between(
    grid: WCS, source: WCS
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return matrix and shift of the map between two WCS if it is affine, else None."""
    if has_tables(grid) or has_tables(source) or frame_of(grid) != frame_of(source):
        return None
    (old_projection, old_distortion), (new_projection, new_distortion) = (
        _parts(grid),
        _parts(source),
    )
    if old_projection != new_projection:
        return None
    matrix = np.linalg.solve(source.pixel_scale_matrix, grid.pixel_scale_matrix)
    if old_distortion == new_distortion and np.allclose(matrix, np.eye(2), rtol=0.0, atol=_SAME):
        # pixels of both are counted from the same point of the distortion, if there is one
        shift = source.wcs.crpix - grid.wcs.crpix
        whole = np.round(shift)
        return np.eye(2), np.where(np.abs(shift - whole) < _SNAP, whole, shift)
    if old_distortion or new_distortion:
        return None
    return matrix, (source.wcs.crpix - 1.0) - matrix @ (grid.wcs.crpix - 1.0)


def _parts(wcs: WCS) -> tuple[dict[str, object], dict[str, object]]:
    """Return the cards of the projection of the sky, and those of a distortion of the pixels."""
    projection: dict[str, object] = {}
    distortion: dict[str, object] = {}
    for key, value in celestial_header(wcs).items():
        if _PIXEL_DISTORTION.match(key):
            distortion[key] = value
        elif not _LINEAR.match(key):
            projection[key] = value.removesuffix("-SIP") if isinstance(value, str) else value
    return projection, distortion


def _reach(wcs: WCS, shape: tuple[int, int] | None) -> tuple[NDArray[np.float64], float, float]:
    """Return where an image is, the angle [rad] about it that needs no check, and its scale."""
    nowhere = np.array([0.0, 0.0, 1.0])
    if shape is None:
        return nowhere, 0.0, pixel_scale(wcs)
    ny, nx = shape
    scale = pixel_scale(wcs, y=(ny - 1) / 2, x=(nx - 1) / 2)
    x = np.array([(nx - 1) / 2, -0.5, nx - 0.5, -0.5, nx - 0.5])
    y = np.array([(ny - 1) / 2, -0.5, -0.5, ny - 0.5, ny - 0.5])
    vectors = spherical.unit_vectors(*lon_lat(wcs, y=y, x=x))
    radius = float(spherical.separation(vectors[1:], vectors[:1]).max())
    if not np.isfinite(radius):
        return nowhere, 0.0, scale
    # nothing folds back so near to the image; at least a degree spares the check of neighbours
    return vectors[0], min(max(1.5 * radius, np.radians(1.0)), np.pi / 3), scale


def _pixels_of(
    wcs: WCS, lon: NDArray[np.float64], lat: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the pixels [0-based] of sky positions [deg, shape (n,)] in the system of the WCS."""
    world = (lon, lat) if wcs.wcs.lng == 0 else (lat, lon)
    u, v = wcs.wcs_world2pix(*world, 0)
    return _undistorted(wcs, u, v) if wcs.has_distortion else (u, v)


def _undistorted(
    wcs: WCS, focal_x: NDArray[np.float64], focal_y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the pixels that the distortion takes to the given ones; NaN where there is none.

    Simple iteration ``p <- p - (f(p) - target)``: it converges wherever the distortion changes by
    less than a pixel per pixel. Positions that are done leave the iteration.
    """
    target = np.stack([focal_x, focal_y])
    found = np.full_like(target, np.nan)
    active = np.flatnonzero(np.isfinite(target).all(axis=0))
    current = target[:, active]
    last = np.full(active.size, np.inf)
    for _ in range(_MAX_STEPS):
        if not active.size:
            break
        step = np.stack(wcs.pix2foc(*current, 0)) - target[:, active]
        current = current - step
        size = np.hypot(*step)
        # rounding of coordinates far outside is all that is left of a step
        done = size <= _STEP_LIMIT + 4e-16 * np.abs(current).max(axis=0)
        found[:, active[done]] = current[:, done]
        stays = ~done & (size < 2.0 * last) & np.isfinite(size)
        active, current, last = active[stays], current[:, stays], size[stays]
    return found[0], found[1]
