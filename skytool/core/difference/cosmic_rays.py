"""Cosmic rays: pixels that are sharper than any star can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.compiled import compiled_in_order
from skytool.core.difference.detection_loops import label_pixels

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
        sharp = np.zeros(rows.size, np.bool_)
        _sharp_pixels(
            image, variance, bad, flags, rows, columns, _STEPS, limits, rule.n_sigma, sharp
        )
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
    labels = np.zeros(flags.shape, np.int32)
    count = label_pixels(flags, 1, labels)
    rows, columns = np.nonzero(labels)
    of_pixel = labels[rows, columns]
    sums = np.bincount(of_pixel, weights=image[rows, columns], minlength=count + 1)
    kept = sums >= min_counts
    found = np.zeros(flags.shape, np.bool_)
    found[rows, columns] = kept[of_pixel]
    return found, int(np.count_nonzero(kept[1:]))


@compiled_in_order
def _sharp_pixels(
    image: Plane,
    variance: Plane,
    bad: Plane,
    flags: Plane,
    rows: Plane,
    columns: Plane,
    steps: Plane,
    limits: Plane,
    n_sigma: float,
    sharp: Plane,
) -> None:
    """Tell which pixels stand out of their neighbours more than those of a star."""
    ny, nx = image.shape
    for k in range(rows.size):
        y, x = rows[k], columns[k]
        low = image[y, x] - n_sigma * np.sqrt(variance[y, x])
        if not low > 0.0:
            continue
        for axis in range(limits.size):
            total, noise, n, known = 0.0, 0.0, 0, True
            for side in (-1, 1):
                i, j = y + side * steps[axis, 0], x + side * steps[axis, 1]
                if i < 0 or j < 0 or i >= ny or j >= nx or bad[i, j]:
                    known = False
                    break
                if not flags[i, j]:
                    total += image[i, j]
                    noise += variance[i, j]
                    n += 1
            if known and total + n_sigma * np.sqrt(noise) < n * limits[axis] * low:
                sharp[k] = True
                break
