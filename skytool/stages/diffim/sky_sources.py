"""Empty places of an image, measured like sources for comparison."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def empty_places(
    occupied: NDArray[np.bool_], *, n: int, radius: float, border: int, tries: int, seed: int
) -> tuple[Floats, Floats]:
    """Return positions around which nothing is.

    Parameters
    ----------
    occupied : ndarray of bool, shape (ny, nx)
        Pixels of sources, and those without value.
    n : int
        Number of places wanted.
    radius : float
        Distance within which no pixel may be occupied [pixel]; places are twice as far from each
        other.
    border : int
        Distance from the edges of the image [pixel].
    tries : int
        Most places that are looked at.
    seed : int
        Where the sequence of places begins.

    Returns
    -------
    y, x : ndarray of float64, shape (m,)
        Positions, at most `n` [pixel].

    Notes
    -----
    They are tried in the order of a sequence of Halton (1960) of the bases 2 and 3.
    """
    ny, nx = occupied.shape
    found: list[tuple[float, float]] = []
    half = math.ceil(radius)
    y_disc, x_disc = np.ogrid[-half : half + 1, -half : half + 1]
    disc = y_disc * y_disc + x_disc * x_disc <= radius * radius
    if min(ny, nx) <= 2 * max(border, half):
        return np.empty(0), np.empty(0)
    for y, x in even_places((ny, nx), n=tries, border=border, seed=seed):
        if len(found) == n:
            break
        row, column = round(y), round(x)
        if min(row, column, ny - 1 - row, nx - 1 - column) < half:
            continue
        window = occupied[row - half : row + half + 1, column - half : column + half + 1]
        near = any(math.hypot(y - other[0], x - other[1]) < 2.0 * radius for other in found)
        if not near and not window[disc].any():
            found.append((y, x))
    places = np.array(found).reshape(-1, 2)
    return places[:, 0], places[:, 1]


def even_places(
    shape: tuple[int, int], *, n: int, border: int, seed: int
) -> Iterator[tuple[float, float]]:
    """Yield positions ``(y, x)`` that fill an image evenly, some way from its edges [pixel]."""
    for index in range(seed, seed + n):
        y, x = (
            border + _radical_inverse(index, base) * (size - 1 - 2 * border)
            for size, base in zip(shape, (2, 3), strict=True)
        )
        yield y, x


def _radical_inverse(index: int, base: int) -> float:
    """Return the digits of a number mirrored at the point."""
    result, scale = 0.0, 1.0 / base
    while index:
        index, digit = divmod(index, base)
        result += digit * scale
        scale /= base
    return result
