"""HEALPix pixels as tracts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from skytool.errors import IncompatibleError
from skytool.models.skymap.regions import around_vertices
from skytool.models.skymap.tilings import Frame, Tiling, angle_arrays

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_MOST_LEVELS = 6  # 49152 tracts of a degree
_BELT_END = 2.0 / 3.0  # sine of the declination where the equatorial belt of HEALPix ends
_ALONG_EDGE = 16


@dataclass(frozen=True, eq=False)
class HealpixTiling(Tiling):
    """One tract for each HEALPix pixel (Gorski et al. 2005).

    Parameters
    ----------
    log2_n_side : int
        Level: there are ``12 * 4**log2_n_side`` tracts.
    nest : bool
        Number the tracts in the nested scheme, instead of ring by ring.

    Raises
    ------
    IncompatibleError
        If the level is impossible.
    """

    log2_n_side: int = 0
    nest: bool = False
    kind: ClassVar[str] = "healpix"

    def __post_init__(self) -> None:
        if not 0 <= self.log2_n_side <= _MOST_LEVELS:
            raise IncompatibleError(
                f"a sky map cannot have HEALPix pixels of level {self.log2_n_side}.",
                hint=f"The level is 0 to {_MOST_LEVELS}.",
            )

    @property
    def n_side(self) -> int:
        """Pixels along a side of a base pixel."""
        return 1 << self.log2_n_side

    @property
    def n_tracts(self) -> int:
        """How many tracts there are."""
        return 12 * self.n_side**2

    @cached_property
    def centers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The middle of each pixel [deg]."""
        from astropy_healpix import healpy

        numbers = np.arange(self.n_tracts)
        ra, dec = healpy.pix2ang(self.n_side, numbers, nest=self.nest, lonlat=True)
        return ra, dec

    def find(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.intp]:
        """Return the pixels that positions are in."""
        from astropy_healpix import healpy

        ra, dec = angle_arrays(ra, dec)
        found = healpy.ang2pix(self.n_side, np.mod(ra, 360.0), dec, nest=self.nest, lonlat=True)
        return np.asarray(found, dtype=np.intp)

    @cached_property
    def size_classes(self) -> NDArray[np.float64]:
        """Pixels of one ring are alike in the belt; in the caps, those a quarter turn apart."""
        ra, dec = self.centers
        # pixels centred on the end of the belt reach into a cap
        belt = np.abs(np.sin(np.radians(dec))) < _BELT_END - 1e-9
        turned = np.where(belt, 0.0, np.mod(np.round(ra, 9), 90.0))
        keys = np.stack([np.round(dec, 9), turned], axis=1)
        return np.unique(keys, axis=0, return_inverse=True)[1].astype(np.float64).ravel()

    def frame(self, number: int, overlap: float) -> Frame:
        """Return points around the four corners, and along the sides, which are curved."""
        from astropy_healpix import healpy

        sides = healpy.boundaries(self.n_side, number, step=_ALONG_EDGE, nest=self.nest).T
        ra, dec = (float(angle[number]) for angle in self.centers)
        corners = around_vertices(sides[::_ALONG_EDGE], overlap)
        return Frame(ra, dec, np.concatenate([corners, sides]))
