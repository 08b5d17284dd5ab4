"""The smallest circle on the sphere around directions."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.sphere import directions as spherical

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Chord by which a point may lie outside of a circle through others [rad]: rounding of unit vectors.
_OUTSIDE = 1e-13
_MOST_STEPS = 1000


def smallest_circle(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the smallest circle that holds directions.

    Parameters
    ----------
    vectors : ndarray of float64, shape (n, 3)
        Unit vectors, n > 0.

    Returns
    -------
    center : ndarray of float64, shape (3,)
        Unit vector.
    radius : float
        Angle from the centre to the farthest direction [rad].

    Raises
    ------
    ValueError
        If no half of the sphere holds the directions.

    Notes
    -----
    Two or three of the directions determine the circle (Welzl 1991). Starting with the smallest
    circle of one, the farthest direction outside joins those that determine it, and the smallest
    circle of these few is found by trying all; each is larger than the one before, so it ends.
    """
    chosen = vectors[:1]
    for _ in range(_MOST_STEPS):
        center, chosen = _circle_of_few(chosen)
        chords = np.linalg.norm(vectors - center, axis=1)
        farthest = int(np.argmax(chords))
        if chords[farthest] <= np.linalg.norm(chosen - center, axis=1).max() + _OUTSIDE:
            break
        chosen = np.vstack([chosen, vectors[farthest]])
    return center, float(spherical.separation(vectors, center).max())


def _circle_of_few(
    vectors: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centre of the smallest circle of up to four directions, and those upon it."""
    best = np.inf
    found = vectors[0], vectors[:1]
    if len(vectors) == 1:
        return found
    for size in (2, 3):
        for group in combinations(range(len(vectors)), size):
            points = vectors[list(group)]
            center = _center_of(points)
            radius = np.linalg.norm(points - center, axis=1).max()
            holds = np.linalg.norm(vectors - center, axis=1).max() <= radius + _OUTSIDE
            if holds and radius < best - _OUTSIDE:
                best, found = radius, (center, points)
    if not best < np.sqrt(2.0):
        msg = "no half of the sphere holds the directions"
        raise ValueError(msg)
    return found


def _center_of(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the middle of two directions, or what is equally far from three; NaN if undefined."""
    if len(points) == 2:
        axis = points[0] + points[1]
    else:
        axis = np.cross(points[1] - points[0], points[2] - points[0])
        axis = axis * np.sign(axis @ points[0])
    length = np.linalg.norm(axis)
    return axis / length if length > 0.0 else np.full(3, np.nan)
