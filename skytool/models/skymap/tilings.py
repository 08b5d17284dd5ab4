"""How a sky map divides the sky: the centres of tracts, and which tract a position belongs to."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from astropy.io import fits

from skytool.core.sphere import directions as spherical
from skytool.errors import IncompatibleError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_BEARINGS = np.arange(4) * (np.pi / 2.0)
_MOST_RINGS = 1000  # 1.3 million tracts of 11 minutes of arc


class Frame(NamedTuple):
    """What the box of a tract has to hold, seen from the reference point of its projection.

    Parameters
    ----------
    ra, dec : float
        Reference point [deg].
    vectors : ndarray of float64, shape (n, 3)
        Unit vectors of the points.
    """

    ra: float
    dec: float
    vectors: NDArray[np.float64]


class Tiling(ABC):
    """A division of the sky, or of part of it, into tracts.

    Tracts are numbered from zero. Each position belongs to one tract.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def n_tracts(self) -> int:
        """How many tracts there are."""

    @property
    @abstractmethod
    def centers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Right ascension and declination of the middle of each tract, shape ``(n,)`` [deg]."""

    @property
    def references(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the projection of each tract has its reference point, shape ``(n,)`` [deg]."""
        return self.centers

    @abstractmethod
    def find(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.intp]:
        """Return the numbers of the tracts to which positions, shape ``(n,)`` [deg], belong."""

    @property
    @abstractmethod
    def size_classes(self) -> NDArray[np.float64]:
        """A number for each tract, shape ``(n,)``, which those of one size and form share."""

    @abstractmethod
    def frame(self, number: int, overlap: float) -> Frame:
        """Return what the box of a tract has to hold.

        Parameters
        ----------
        number : int
            A tract of the size in question: only places relative to the reference point matter.
        overlap : float
            How far tracts reach over each other [deg].
        """


def _of_radius(radius: float, overlap: float) -> Frame:
    """Return the four points around a round tract."""
    distance = math.radians(min(radius + overlap, 180.0))
    # seen from (0, 0): x points there, y to the east, z to the north
    aside = np.stack([np.zeros(4), np.sin(_BEARINGS), np.cos(_BEARINGS)], axis=1)
    ahead = np.array([math.cos(distance), 0.0, 0.0])
    return Frame(0.0, 0.0, ahead + math.sin(distance) * aside)


def storable(value: float) -> float:
    """Return the number that a header card gives back: it has room for 20 characters.

    A sky map in memory is then the same, to the last bit, as the one read from its file.
    """
    return float(fits.Card.fromstring(fits.Card("VALUE", float(value)).image).value)


def angle_arrays(ra: ArrayLike, dec: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return angles as arrays of one axis."""
    return np.atleast_1d(np.asarray(ra, float)), np.atleast_1d(np.asarray(dec, float))


def _nearest(vectors: NDArray[np.float64], centers: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return which centre is nearest to each vector; the first of several."""
    found = np.zeros(len(vectors), np.intp)
    # the chord, not the cosine: that cannot tell angles below 1e-8 apart
    best = np.full(len(vectors), np.inf)
    for number, center in enumerate(centers):
        chord = np.linalg.norm(vectors - center, axis=1)
        found[chord < best] = number
        best = np.minimum(best, chord)
    return found


@dataclass(frozen=True, eq=False)
class DiscreteTiling(Tiling):
    """Round tracts wherever they are wanted; a position belongs to the nearest one.

    Parameters
    ----------
    ra, dec : tuple of float
        Centres [deg].
    radius : tuple of float
        Radii [deg].

    Raises
    ------
    IncompatibleError
        If the lists are empty or differ in length, or a value is impossible.
    """

    ra: tuple[float, ...]
    dec: tuple[float, ...]
    radius: tuple[float, ...]
    kind: ClassVar[str] = "discrete"

    def __post_init__(self) -> None:
        lengths = len(self.ra), len(self.dec), len(self.radius)
        if len(set(lengths)) > 1:
            raise IncompatibleError(
                "a discrete sky map needs as many right ascensions as declinations and radii, not "
                f"{lengths[0]}, {lengths[1]} and {lengths[2]}."
            )
        if not self.ra:
            raise IncompatibleError("a discrete sky map needs at least one tract.")
        for ra, dec, radius in zip(self.ra, self.dec, self.radius, strict=True):
            if not (math.isfinite(ra) and -90.0 <= dec <= 90.0):
                raise IncompatibleError(f"({ra:g}, {dec:g}) is no centre of a tract.")
            if not 0.0 < radius < 90.0:
                raise IncompatibleError(
                    f"a tract cannot have a radius of {radius:g} degrees.",
                    hint="It is more than 0 and less than 90.",
                )

    @property
    def n_tracts(self) -> int:
        """How many tracts there are."""
        return len(self.ra)

    @cached_property
    def centers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The middle of each tract [deg]."""
        return np.mod(np.array(self.ra), 360.0), np.array(self.dec)

    def find(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.intp]:
        """Return the tracts with the nearest centres."""
        vectors = spherical.unit_vectors(*angle_arrays(ra, dec))
        return _nearest(vectors, spherical.unit_vectors(*self.centers))

    @property
    def size_classes(self) -> NDArray[np.float64]:
        """The radii [deg]."""
        return np.array(self.radius)

    def frame(self, number: int, overlap: float) -> Frame:
        """Return the four points at the radius and the overlap from the centre."""
        return _of_radius(self.radius[number], overlap)


@dataclass(frozen=True, eq=False)
class RingsTiling(Tiling):
    """Rings of constant declination, cut into tracts of about equal size, and two polar caps.

    Tract 0 is the southern cap; the rings follow northwards, the northern cap is last.

    Parameters
    ----------
    num_rings : int
        Number of rings.
    ra_start : float
        Right ascension of the middle of the first tract of every ring [deg].

    Raises
    ------
    IncompatibleError
        If a value is impossible.
    """

    num_rings: int
    ra_start: float = 0.0
    kind: ClassVar[str] = "rings"

    def __post_init__(self) -> None:
        if not 1 <= self.num_rings <= _MOST_RINGS:
            raise IncompatibleError(
                f"a sky map cannot have {self.num_rings} rings.", hint=f"It has 1 to {_MOST_RINGS}."
            )
        if not math.isfinite(self.ra_start):
            raise IncompatibleError(f"{self.ra_start} is no right ascension to start from.")
        object.__setattr__(self, "ra_start", storable(self.ra_start))

    @property
    def ring_size(self) -> float:
        """Height of a ring [rad]; a cap has half of it as its radius."""
        return math.pi / (self.num_rings + 1)

    @cached_property
    def in_ring(self) -> NDArray[np.int64]:
        """Number of tracts of every ring, shape ``(num_rings,)``."""
        south = self.ring_size * (np.arange(self.num_rings) + 0.5) - np.pi / 2.0
        widest = np.cos(np.minimum(np.abs(south), np.abs(south + self.ring_size)))
        return (2.0 * np.pi * widest / self.ring_size).astype(np.int64) + 1

    @cached_property
    def first_in_ring(self) -> NDArray[np.int64]:
        """Number of the first tract of every ring and of the northern cap."""
        return 1 + np.concatenate([[0], np.cumsum(self.in_ring)])

    @property
    def n_tracts(self) -> int:
        """How many tracts there are."""
        return int(self.first_in_ring[-1]) + 1

    @cached_property
    def centers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The middle of each tract [deg]."""
        ring = np.repeat(np.arange(self.num_rings), self.in_ring)
        place = np.arange(len(ring)) + 1 - self.first_in_ring[ring]
        ra = np.mod(self.ra_start + 360.0 * place / self.in_ring[ring], 360.0)
        dec = np.degrees(self.ring_size) * (ring + 1) - 90.0
        return np.concatenate([[0.0], ra, [0.0]]), np.concatenate([[-90.0], dec, [90.0]])

    def find(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.intp]:
        """Return the tracts by declination and then right ascension."""
        ra, dec = angle_arrays(ra, dec)
        ring = np.floor((np.radians(dec) + np.pi / 2.0) / self.ring_size - 0.5).astype(np.int64)
        inside = np.clip(ring, 0, self.num_rings - 1)
        n = self.in_ring[inside]
        place = np.floor((ra - self.ra_start) / 360.0 * n + 0.5).astype(np.int64) % n
        number = self.first_in_ring[inside] + place
        number = np.where(ring < 0, 0, number)
        return np.where(ring >= self.num_rings, self.n_tracts - 1, number)

    @property
    def size_classes(self) -> NDArray[np.float64]:
        """The same for every tract."""
        return np.zeros(self.n_tracts)

    def frame(self, number: int, overlap: float) -> Frame:  # noqa: ARG002
        """Return the four points at half a ring and the overlap from the centre."""
        return _of_radius(math.degrees(self.ring_size) / 2.0, overlap)
