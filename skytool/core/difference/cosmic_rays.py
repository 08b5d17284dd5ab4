"""Cosmic rays: pixels that are sharper than any star can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[Any]
    Flags = NDArray[np.bool_]

_STEPS = np.array([[0, 1], [1, 0], [1, 1], [1, -1]])  # (dy, dx) of the axes through a pixel


@dataclass(frozen=True)
class CosmicRayRule:
    """What is a cosmic ray.

    Parameters
    ----------
    threshold : float
        Least height of its first pixel [sigma].
    min_counts : float
        Least sum of its pixels [unit of the image].
    n_sigma : float
        Standard deviations by which a pixel may be lower and its neighbours higher than they are.
    sharpness : float
        Part of the light that a star has in neighbouring pixels below which it is no star.
    n_iterations : int
        How often pixels beside those that were found are looked at.
    max_pixels : int
        More pixels than this are an error.
    """

    threshold: float = 6.0
    min_counts: float = 0.0
    n_sigma: float = 2.0
    sharpness: float = 0.35
    n_iterations: int = 6
    max_pixels: int = 1_000_000


def find_cosmic_rays(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    bad: Flags,
    star: NDArray[np.float64],
    rule: CosmicRayRule,
) -> tuple[Flags, int]:
    """Find the cosmic rays of an image.

    Parameters
    ----------
    image, variance : ndarray of float32, shape (ny, nx)
        Image without sky, and its variance.
    bad : ndarray of bool, shape (ny, nx)
        Pixels that are not looked at.
    star : ndarray of float64, shape (h, w)
        The PSF, its highest pixel in the middle.
    rule : CosmicRayRule
        What is a cosmic ray.

    Returns
    -------
    found : ndarray of bool, shape (ny, nx)
        Their pixels.
    count : int
        How many groups of touching pixels they are.

    Raises
    ------
    ValueError
        If there are more pixels than the rule allows.

    Notes
    -----
    In a star the mean of two opposite neighbours of the highest pixel is at least the part r of it
    that the PSF has one pixel from its centre. A pixel of a value p above the threshold is of a
    cosmic ray if along any of the four axes ``m + n sigma_m < sharpness r (p - n sigma_p)``, with
    the mean m of its neighbours. Pixels that touch one and have half of the height that the first
    one needs are then looked at in the same way, without the neighbours that were found before.
    """
    middle = tuple(size // 2 for size in star.shape)
    peak = star[middle]
    ratios = np.array(
        [
            0.5 * (star[middle[0] + dy, middle[1] + dx] + star[middle[0] - dy, middle[1] - dx])
            for dy, dx in _STEPS
        ]
    )
    limits = rule.sharpness * np.maximum(ratios, 0.0) / peak
    flags = np.zeros(image.shape, np.uint8)
    with np.errstate(invalid="ignore"):
        rows, columns = np.nonzero(~bad & (image > np.float32(rule.threshold) * np.sqrt(variance)))
    for _ in range(1 + rule.n_iterations):
        places = rows, columns
        sharp = _sharp_pixels(image, variance, bad, flags, places, limits, rule.n_sigma)
        rows, columns = rows[sharp], columns[sharp]
        flags[rows, columns] = 1
        if not rows.size:
            break
        if np.count_nonzero(flags) > rule.max_pixels:
            raise ValueError(f"more than {rule.max_pixels} pixels of cosmic rays")
        rows, columns = _beside(rows, columns, flags, bad)
        least = np.float32(0.5 * rule.threshold) * np.sqrt(variance[rows, columns])
        high = image[rows, columns] > least
        rows, columns = rows[high], columns[high]
    return _bright_enough(flags, image, rule.min_counts)


def _beside(
    rows: NDArray[np.intp], columns: NDArray[np.intp], flags: Plane, bad: Flags
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pixels that touch some, and are neither found yet nor bad."""
    ny, nx = flags.shape
    offsets = np.array([(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx])
    y, x = rows[:, None] + offsets[:, 0], columns[:, None] + offsets[:, 1]
    inside = (y >= 0) & (y < ny) & (x >= 0) & (x < nx)
    places = np.unique(y[inside] * nx + x[inside])
    y, x = np.divmod(places, nx)
    new = (flags[y, x] == 0) & ~bad[y, x]
    return y[new], x[new]


def _bright_enough(flags: Plane, image: Plane, min_counts: float) -> tuple[Flags, int]:
    """Return the pixels of groups of enough light, and the number of groups."""
    if not flags.any():
        return np.zeros(flags.shape, np.bool_), 0
    from scipy.ndimage import label

    labels, count = label(flags, structure=np.ones((3, 3), np.int8))
    rows, columns = np.nonzero(labels)
    of_pixel = labels[rows, columns]
    sums = np.bincount(of_pixel, weights=image[rows, columns], minlength=count + 1)
    kept = sums >= min_counts
    found = np.zeros(flags.shape, np.bool_)
    found[rows, columns] = kept[of_pixel]
    return found, int(np.count_nonzero(kept[1:]))


def _sharp_pixels(
    image: Plane,
    variance: Plane,
    bad: Flags,
    flags: Plane,
    places: tuple[NDArray[np.intp], NDArray[np.intp]],
    limits: NDArray[np.float64],
    n_sigma: float,
) -> Flags:
    """Return which pixels stand out of their neighbours more than those of a star."""
    ny, nx = image.shape
    y, x = places
    low = image[places] - n_sigma * np.sqrt(variance[places], dtype=np.float64)
    sharp = np.zeros(y.size, np.bool_)
    for (dy, dx), limit in zip(_STEPS, limits, strict=True):
        total, noise, n = np.zeros((3, y.size))
        known = np.ones(y.size, np.bool_)
        for i, j in ((y - dy, x - dx), (y + dy, x + dx)):
            inside = (i >= 0) & (j >= 0) & (i < ny) & (j < nx)
            pixel = np.where(inside, i, y), np.where(inside, j, x)
            known &= inside & ~bad[pixel]
            counted = known & (flags[pixel] == 0)
            total += np.where(counted, image[pixel], 0.0)
            noise += np.where(counted, variance[pixel], 0.0)
            n += counted
        sharp |= known & (total + n_sigma * np.sqrt(noise) < n * limit * low)
    return sharp & (low > 0.0)
