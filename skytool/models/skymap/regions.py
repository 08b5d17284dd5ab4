"""Divisions of the sky into regions with corners."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from skytool.core.sphere import directions as spherical
from skytool.errors import IncompatibleError
from skytool.models.skymap.tilings import Frame, Tiling, angle_arrays, storable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_POINTS_AROUND_VERTEX = 24
_MOST_SLICES = 10_000


def around_vertices(vertices: NDArray[np.float64], overlap: float) -> NDArray[np.float64]:
    """Return points on circles of half the overlap [deg] around vertices, shape ``(m, 3)``."""
    if overlap == 0.0:
        return vertices
    distance = math.radians(overlap) / 2.0
    turn = np.arange(_POINTS_AROUND_VERTEX) * (2.0 * np.pi / _POINTS_AROUND_VERTEX)
    points = []
    for vertex in vertices:
        east, north = spherical.tangent_axes(vertex)
        aside = np.sin(turn)[:, None] * east + np.cos(turn)[:, None] * north
        points.append(math.cos(distance) * vertex + math.sin(distance) * aside)
    return np.concatenate(points)


@dataclass(frozen=True, eq=False)
class DodecaTiling(Tiling):
    """The twelve faces of a regular dodecahedron.

    Parameters
    ----------
    with_tracts_on_poles : bool
        Have a face at each pole, instead of a vertex.
    """

    with_tracts_on_poles: bool = False
    kind: ClassVar[str] = "dodeca"

    @property
    def n_tracts(self) -> int:
        """Twelve."""
        return 12

    @cached_property
    def centers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The middle of each face [deg]."""
        if self.with_tracts_on_poles:
            lat = math.degrees(math.atan(0.5))
            fifths = np.arange(5) * 72.0
            ra = np.concatenate([[0.0], fifths, fifths + 36.0, [0.0]])
            return ra, np.repeat([90.0, lat, -lat, -90.0], [1, 5, 5, 1])
        # angles between the axes of a vertex and of the faces that do and do not touch it
        high = math.degrees(math.asin(math.sqrt((5.0 + 2.0 * math.sqrt(5.0)) / 15.0)))
        low = math.degrees(math.asin(math.sqrt((5.0 - 2.0 * math.sqrt(5.0)) / 15.0)))
        thirds = np.arange(3) * 120.0
        ra = np.concatenate([thirds, thirds + 60.0, thirds, thirds + 60.0])
        return ra, np.repeat([high, low, -low, -high], 3)

    @cached_property
    def vectors(self) -> NDArray[np.float64]:
        """Unit vectors of the centres, shape ``(12, 3)``."""
        return spherical.unit_vectors(*self.centers)

    def vertices(self, number: int) -> NDArray[np.float64]:
        """Return the unit vectors of the five corners of a face, shape ``(5, 3)``, in order."""
        center = self.vectors[number]
        # neighbours are 63.4 degrees away, the next faces 116.6
        near = self.vectors[np.flatnonzero(np.abs(self.vectors @ center - 0.447) < 0.1)]
        east, north = spherical.tangent_axes(center)
        near = near[np.argsort(np.arctan2(near @ east, near @ north))]
        corners = center + near + np.roll(near, -1, axis=0)
        corners /= np.linalg.norm(corners, axis=1, keepdims=True)
        return corners

    def find(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.intp]:
        """Return the faces whose axes are nearest."""
        return np.argmax(spherical.unit_vectors(*angle_arrays(ra, dec)) @ self.vectors.T, axis=1)

    @property
    def size_classes(self) -> NDArray[np.float64]:
        """All different: faces are turned in different ways."""
        return np.arange(12.0)

    def frame(self, number: int, overlap: float) -> Frame:
        """Return points around the five corners."""
        ra, dec = (float(angle[number]) for angle in self.references)
        return Frame(ra, dec, around_vertices(self.vertices(number), overlap))


@dataclass(frozen=True, eq=False)
class EquatTiling(Tiling):
    """A band of declination, cut along meridians into equal tracts.

    Parameters
    ----------
    num_tracts : int
        Number of tracts.
    dec_range : (float, float)
        Southern and northern end of the band [deg].

    Raises
    ------
    IncompatibleError
        If a value is impossible.
    """

    num_tracts: int = 4
    dec_range: tuple[float, float] = (-1.25, 1.25)
    kind: ClassVar[str] = "equat"

    def __post_init__(self) -> None:
        south, north = self.dec_range
        if not -90.0 < south < north < 90.0:
            raise IncompatibleError(f"a sky map cannot have declinations {south:g} to {north:g}.")
        if not 2 <= self.num_tracts <= _MOST_SLICES:  # one alone would meet itself
            raise IncompatibleError(
                f"a sky map of a band cannot have {self.num_tracts} tracts.",
                hint=f"It has 2 to {_MOST_SLICES}.",
            )
        object.__setattr__(self, "dec_range", (storable(south), storable(north)))

    @property
    def n_tracts(self) -> int:
        """How many tracts there are."""
        return self.num_tracts

    @cached_property
    def centers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The middle of each slice [deg]."""
        ra = (np.arange(self.num_tracts, dtype=np.float64) + 0.5) * (360.0 / self.num_tracts)
        return ra, np.full(self.num_tracts, sum(self.dec_range) / 2.0)

    @property
    def references(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The points on the equator at the same right ascension [deg]."""
        return self.centers[0], np.zeros(self.num_tracts)

    def find(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.intp]:
        """Return the tracts with the nearest centres: those of the same right ascension."""
        ra, _ = angle_arrays(ra, dec)
        place = np.floor(np.mod(ra, 360.0) * (self.num_tracts / 360.0)).astype(np.int64)
        return place % self.num_tracts

    @property
    def size_classes(self) -> NDArray[np.float64]:
        """The same for every tract."""
        return np.zeros(self.n_tracts)

    def frame(self, number: int, overlap: float) -> Frame:
        """Return points around the four corners."""
        ra = float(self.centers[0][number])
        half = 180.0 / self.num_tracts
        south, north = self.dec_range
        corners = spherical.unit_vectors(
            ra + half * np.array([-1, 1, 1, -1]), [south, south, north, north]
        )
        return Frame(ra, 0.0, around_vertices(corners, overlap))
