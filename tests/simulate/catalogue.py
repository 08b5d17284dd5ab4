"""Catalogues: what is on the simulated sky."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Sources of one sky; every attribute has shape ``(n,)``.

    Parameters
    ----------
    ra, dec : ndarray of float64
        Position at the reference wavelength, without refraction [deg].
    flux : ndarray of float64
        Flux in the band [nJy].
    slope : ndarray of float64
        Spectral slope s: photons per wavelength go as ``wavelength ** s``.
    radius : ndarray of float64
        Half-light radius along the major axis [arcsec]; 0 for a star.
    sersic : ndarray of float64
        Sersic index.
    axis_ratio : ndarray of float64
        Minor over major axis.
    angle : ndarray of float64
        Position angle of the major axis, north through east [deg].
    visit : ndarray of int64
        The only visit that sees the source; 0 for one that is always there.
    """

    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    flux: NDArray[np.float64]
    slope: NDArray[np.float64]
    radius: NDArray[np.float64]
    sersic: NDArray[np.float64]
    axis_ratio: NDArray[np.float64]
    angle: NDArray[np.float64]
    visit: NDArray[np.int64]

    def __len__(self) -> int:
        return self.ra.size

    def __getitem__(self, which: slice | NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        return type(self)(*(getattr(self, column.name)[which] for column in fields(self)))

    def __add__(self, other: Catalogue) -> Self:
        both = zip(self.columns().values(), other.columns().values(), strict=True)
        return type(self)(*(np.concatenate(pair) for pair in both))

    def columns(self) -> dict[str, NDArray]:
        return {column.name: getattr(self, column.name) for column in fields(self)}

    def seen_in(self, visit: int) -> Self:
        return self[(self.visit == 0) | (self.visit == visit)]


def sources(
    ra: ArrayLike,
    dec: ArrayLike,
    flux: ArrayLike,
    *,
    slope: ArrayLike = 0.0,
    radius: ArrayLike = 0.0,
    sersic: ArrayLike = 1.0,
    axis_ratio: ArrayLike = 1.0,
    angle: ArrayLike = 0.0,
    visit: ArrayLike = 0,
) -> Catalogue:
    """Make a catalogue; numbers are repeated for every source."""
    columns = np.broadcast_arrays(
        *(np.atleast_1d(column) for column in (ra, dec, flux, slope)),
        *(np.atleast_1d(column) for column in (radius, sersic, axis_ratio, angle, visit)),
    )
    *numbers, visits = columns
    return Catalogue(
        *(np.array(column, dtype=np.float64) for column in numbers),
        visit=np.array(visits, dtype=np.int64),
    )


def random_stars(
    n: int,
    *,
    ra: float,
    dec: float,
    width: float,
    flux: tuple[float, float],
    exponent: float = -0.6,
    slopes: tuple[float, float] = (0.0, 0.0),
    seed: int,
) -> Catalogue:
    """Scatter stars over a square.

    Parameters
    ----------
    n : int
        How many.
    ra, dec : float
        Centre [deg].
    width : float
        Side of the square [arcsec].
    flux : tuple of float
        Faintest and brightest [nJy].
    exponent : float
        Number of stars brighter than F goes as ``F ** exponent``.
    slopes : tuple of float
        Range of the spectral slopes, uniform.
    seed : int
        Same seed, same stars.
    """
    rng = np.random.default_rng(seed)
    east, north = (rng.random((2, n)) - 0.5) * width / 3600
    faintest, brightest = np.asarray(flux) ** exponent
    fluxes = (brightest + (faintest - brightest) * rng.random(n)) ** (1 / exponent)
    colours = slopes[0] + (slopes[1] - slopes[0]) * rng.random(n)
    decs = dec + north
    return sources(
        np.round(ra + east / np.cos(np.radians(decs)), 7),
        np.round(decs, 7),
        np.round(fluxes, 1),
        slope=np.round(colours, 2),
    )
