"""Which of many sources are single stars, spread over an image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.psf.peaks import Peaks

    Floats = NDArray[np.float64]

_KERNEL = 0.03  # standard deviation of the density of logarithms of sizes, beside errors
_MOST_FOR_DENSITY = 1500
_HALO = 1.5  # width of the profile that stands for a neighbour over that of a star
_HALO_BETA = 2.5
_HALO_REACH = 12.0  # [FWHM] beyond which neighbours are not looked for
_FEWEST_FLAT = 3
_PILE, _BELOW_PILE = 0.97, 0.82  # over the highest value
_PER_CELL = 8  # stars wanted in each cell when they are thinned out


def stellar_size(log_size: Floats, error: Floats) -> float:
    """Return the most frequent size of sources: that of the stars.

    Parameters
    ----------
    log_size : ndarray of float64, shape (n,)
        Logarithms of sizes; at least one.
    error : ndarray of float64, shape (n,)
        Standard errors.

    Returns
    -------
    float
        Where the sum of Gaussians of the width of each error is highest, among the sizes given.
        Stars are all alike and galaxies are not, so that stars win if they are few.
    """
    best = np.argsort(error, kind="stable")[:_MOST_FOR_DENSITY]
    size, width = log_size[best], np.hypot(error[best], _KERNEL)
    density = np.empty(size.size)
    for number, at in enumerate(size):
        density[number] = np.sum(np.exp(-0.5 * ((at - size) / width) ** 2) / width)
    return float(size[np.argmax(density)])


class Surroundings:
    """Other sources near sources.

    Parameters
    ----------
    peaks : Peaks
        All sources.
    fwhm : float
        Width of a star [pixel].
    """

    def __init__(self, peaks: Peaks, fwhm: float) -> None:
        self.peaks = peaks
        self.fwhm = fwhm
        self._cell = max(_HALO_REACH * fwhm / 2, 8.0)
        keys = zip(
            (peaks.y // self._cell).astype(int).tolist(),
            (peaks.x // self._cell).astype(int).tolist(),
            strict=True,
        )
        self._members: dict[tuple[int, int], list[int]] = {}
        for number, key in enumerate(keys):
            self._members.setdefault(key, []).append(number)

    def near(self, number: int, reach: float) -> tuple[NDArray[np.intp], Floats]:
        """Return the other peaks within a distance of a peak [pixel], and their distances."""
        y, x = self.peaks.y[number], self.peaks.x[number]
        rows, columns = (
            range(int((at - reach) // self._cell), int((at + reach) // self._cell) + 1)
            for at in (y, x)
        )
        found = [m for j in rows for i in columns for m in self._members.get((j, i), ())]
        others = np.array([m for m in found if m != number], np.intp)
        distance = np.hypot(self.peaks.y[others] - y, self.peaks.x[others] - x)
        within = distance <= reach
        return others[within], distance[within]

    def halo(self, distance: Floats) -> Floats:
        """Return the light of a neighbour at a distance [pixel] over that in its centre.

        It is that of a Moffat function half as wide again as a star, with far wings, so that
        what is said to be free of neighbours is so.
        """
        scale = 4.0 * (2.0 ** (1.0 / _HALO_BETA) - 1.0) / (_HALO * self.fwhm) ** 2
        return (1.0 + scale * distance**2) ** -_HALO_BETA

    def light(self, number: int) -> float:
        """Return the light of all neighbours of a peak over its own, at its place."""
        others, distance = self.near(number, _HALO_REACH * self.fwhm)
        ratio = self.peaks.significance[others] / self.peaks.significance[number]
        return float(np.sum(ratio * self.halo(distance)))

    def brightest(self, number: int, reach: float) -> float:
        """Return the brightness of the brightest neighbour within a distance over the own one."""
        others, _ = self.near(number, reach)
        highest = float(np.max(self.peaks.significance[others], initial=0.0))
        return highest / float(self.peaks.significance[number])


def saturation_level(highest: Floats, plateau: Floats) -> float | None:
    """Return the value at which stars are cut off, told by how many of them reach just it.

    Parameters
    ----------
    highest : ndarray of float64, shape (n,)
        Brightest pixel of every source, the sky included.
    plateau : ndarray of float64, shape (n,)
        A pixel beside it that reaches nearly the same value only if the source is cut off.

    Returns
    -------
    float or None
        Pixels from this value on are saturated; None if there is no such value.

    Notes
    -----
    Three sources or more reach into the highest three per cent with both pixels, and three times
    as many have their brightest pixel there as in the fifteen per cent below.
    """
    known = np.isfinite(highest)
    top = float(highest[known].max(initial=0.0))
    if not top > 0.0:
        return None
    at_top = np.count_nonzero(highest[known] >= _PILE * top)
    flat = np.count_nonzero(plateau[known] >= _PILE * top)
    below = np.count_nonzero((highest[known] >= _BELOW_PILE * top) & (highest[known] < _PILE * top))
    return _PILE * top if flat >= _FEWEST_FLAT and at_top >= 3 * below else None


def thinned(
    y: Floats, x: Floats, snr: Floats, *, shape: tuple[int, int], most: int
) -> NDArray[np.bool_]:
    """Tell which stars to use of too many: the brightest of every part of the image.

    Parameters
    ----------
    y, x : ndarray of float64, shape (n,)
        Positions [pixel].
    snr : ndarray of float64, shape (n,)
        Ratios of signal to noise.
    shape : (int, int)
        Shape ``(ny, nx)`` of the image.
    most : int
        Largest number of stars.

    Notes
    -----
    The image is cut into cells. All cells give their brightest star, then all give their second
    brightest, and so on; of the last round the brightest are taken.
    """
    if y.size <= most:
        return np.ones(y.size, np.bool_)
    n = max(round(math.sqrt(most / _PER_CELL)), 1)
    rows, columns = (
        np.clip((at + 0.5) * n // size, 0, n - 1).astype(np.intp)
        for at, size in zip((y, x), shape, strict=True)
    )
    cell = rows * n + columns
    order = np.lexsort((-snr, cell))
    first = np.searchsorted(cell[order], cell[order])
    turn = np.empty(y.size, np.intp)
    turn[order] = np.arange(y.size) - first
    chosen = np.zeros(y.size, np.bool_)
    chosen[np.lexsort((-snr, turn))[:most]] = True
    return chosen
