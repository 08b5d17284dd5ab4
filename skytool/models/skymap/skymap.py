"""Sky maps: tracts and patches, and which of them a position or an image lies in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.sphere import directions as spherical
from skytool.core.sphere.smallest_circle import smallest_circle
from skytool.errors import IncompatibleError
from skytool.models.sky.celestial import directions
from skytool.models.sky.footprint import edge_pixels, outline_vectors, overlaps
from skytool.models.skymap.healpix import HealpixTiling
from skytool.models.skymap.regions import DodecaTiling, EquatTiling
from skytool.models.skymap.tilings import DiscreteTiling, RingsTiling, Tiling
from skytool.models.skymap.tracts import Box, Patch, PatchLayout, Tract, TractLayout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astropy.wcs import WCS
    from numpy.typing import NDArray

__all__ = [
    "Box",
    "DiscreteTiling",
    "DodecaTiling",
    "EquatTiling",
    "HealpixTiling",
    "Patch",
    "PatchLayout",
    "RingsTiling",
    "SkyMap",
    "Tiling",
    "Tract",
    "TractLayout",
    "enclosing_tiling",
]

_PER_EDGE = 16
_PER_SIDE = 8  # points of an outline, as those by which a warp selects its inputs
_TOUCH = 1e-9  # [rad]


@dataclass(frozen=True, eq=False)
class SkyMap:
    """A division of the sky into tracts, and of the tracts into patches.

    Parameters
    ----------
    tiling : Tiling
        Where the tracts are.
    layout : TractLayout
        Their pixels.
    name : str
        What messages call the sky map.
    """

    tiling: Tiling
    layout: TractLayout
    name: str = "the sky map"
    _boxes: dict[float, Box] = field(default_factory=dict, init=False, repr=False)

    def named(self, name: str) -> SkyMap:
        """Return the sky map with another name."""
        return replace(self, name=name)

    @property
    def n_tracts(self) -> int:
        """How many tracts there are."""
        return self.tiling.n_tracts

    def check_number(self, number: int) -> None:
        """Refuse the number of a tract that does not exist.

        Raises
        ------
        IncompatibleError
            If there is no such tract.
        """
        if not 0 <= number < self.n_tracts:
            raise IncompatibleError(
                f"{self.name} has no tract {number}.",
                hint=f"It has tracts 0 to {self.n_tracts - 1}.",
            )

    def box(self, number: int) -> Box:
        """Return the box of a tract relative to its reference point; tracts of a size share it.

        Raises
        ------
        IncompatibleError
            If there is no such tract, or its projection cannot show it.
        """
        self.check_number(number)
        key = float(self.tiling.size_classes[number])
        if key not in self._boxes:
            self._boxes[key] = self.layout.box(*self.tiling.frame(number, self.layout.overlap))
        return self._boxes[key]

    def tract(self, number: int) -> Tract:
        """Return a tract.

        Raises
        ------
        IncompatibleError
            If there is no such tract, or its projection cannot show it.
        """
        box = self.box(number)
        reference = (float(angle[number]) for angle in self.tiling.references)
        ra, dec = (float(angle[number]) for angle in self.tiling.centers)
        wcs = self.layout.wcs(*reference, y=-box.y, x=-box.x)
        return Tract(number, ra, dec, wcs, box.shape, self.layout.patches, self.name)

    def tracts_holding(self, ra: float, dec: float) -> list[Tract]:
        """Return the tracts whose pixels a position [deg] is in; first the one it belongs to."""
        vector = spherical.unit_vectors([ra], [dec])
        own = int(self.tiling.find(ra, dec)[0])
        near = [number for number in self._near(vector[0], 0.0) if number != own]
        tracts = map(self.tract, [own, *near])
        return [tract for tract in tracts if tract.patch_at(ra, dec) is not None]

    def overlapping(
        self, wcs: WCS, shape: tuple[int, int], *, name: str = "an image"
    ) -> Iterator[Patch]:
        """Yield the patches that an image reaches, in the order of tracts and patches.

        Parameters
        ----------
        wcs : `~astropy.wcs.WCS`
            Coordinates of the image.
        shape : tuple of int
            Its shape ``(ny, nx)``.
        name : str
            What messages call it.

        Raises
        ------
        IncompatibleError
            If the outline of the image has a point without a position, or no area.

        Notes
        -----
        The images of patches, borders included, are compared as in
        `~skytool.models.sky.footprint.overlaps`.
        """
        outline = outline_vectors(wcs, shape, _PER_SIDE, name=name)
        try:
            hull = spherical.convex_hull(outline)
        except ValueError as error:
            msg = f"{name}: the WCS gives the image no area on the sky."
            raise IncompatibleError(msg) from error
        if hull is None:
            raise IncompatibleError(f"{name} covers half of the sky, too much to look up patches.")
        center = spherical.mean_direction(hull)
        radius = float(spherical.separation(hull, center).max())
        points = _edges_and_poles(hull)
        for number in self._near(center, radius):
            tract = self.tract(number)
            patches = tract.patches_near(points)
            yield from (p for p in patches if _reaches(p, hull, wcs, shape))

    def _near(self, center: NDArray[np.float64], radius: float) -> list[int]:
        """Return the tracts that may reach a circle of the sky, radius in [rad]."""
        references, reaches = self._circles
        distance = spherical.separation(references, center)
        return [int(n) for n in np.flatnonzero(distance <= reaches + radius + _TOUCH)]

    @cached_property
    def _circles(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Circles around the tracts: unit vectors of their centres, and radii [rad]."""
        _, examples, members = np.unique(
            self.tiling.size_classes, return_index=True, return_inverse=True
        )
        reaches = np.array([self._reach(int(number)) for number in examples])
        return spherical.unit_vectors(*self.tiling.references), reaches[members]

    def _reach(self, number: int) -> float:
        """Return how far the patches of a tract reach from its reference point [rad]."""
        box = self.box(number)
        ra, dec, _ = self.tiling.frame(number, self.layout.overlap)
        wcs = self.layout.wcs(ra, dec, y=-box.y, x=-box.x)
        height, width = self.layout.patches.border
        ny, nx = box.shape
        y, x = edge_pixels((ny + 2 * height, nx + 2 * width), _PER_SIDE)
        edge = directions(wcs, y=y - height, x=x - width)
        away = spherical.separation(edge, spherical.unit_vectors(ra, dec))
        # an edge without a position lies beyond whatever has one
        return float(away.max()) if np.isfinite(away).all() else np.pi


def _edges_and_poles(hull: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points that are the outermost ones of a convex region in every projection.

    Its edges are great circles, which are curved in most projections; and a pole, which is a line
    in some, may be farther out than any edge.
    """
    following = np.roll(hull, -1, axis=0)
    part = (np.arange(_PER_EDGE) / _PER_EDGE)[:, None, None]
    points = ((1.0 - part) * hull + part * following).reshape(-1, 3)
    normals = np.cross(hull, following)
    inside = np.sign(normals @ spherical.mean_direction(hull))
    poles = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    held = ((normals @ poles.T) * inside[:, None] >= 0.0).all(axis=0)
    return np.concatenate([points, poles[held]])


def _reaches(patch: Patch, hull: NDArray[np.float64], wcs: WCS, shape: tuple[int, int]) -> bool:
    """Say whether a patch with its border has a point in common with an image and its hull."""
    box = patch.outer_box
    y, x = edge_pixels(box.shape, _PER_SIDE)
    y = np.append(y, (box.shape[0] - 1) / 2) + box.y
    x = np.append(x, (box.shape[1] - 1) / 2) + box.x
    outline = directions(patch.tract.wcs, y=y, x=x)
    other = spherical.convex_hull(outline) if np.isfinite(outline).all() else None
    if other is None:  # beyond the projection, or most of the sky
        return overlaps(wcs, shape, patch.grid())
    return spherical.hulls_intersect(hull, other)


def enclosing_tiling(
    footprints: Sequence[tuple[WCS, tuple[int, int]]], *, border: float = 0.0
) -> DiscreteTiling:
    """Return one tract around images: that of the smallest circle which holds them.

    Parameters
    ----------
    footprints : sequence of (`~astropy.wcs.WCS`, (ny, nx))
        The images.
    border : float
        What is added to the radius [deg].

    Raises
    ------
    IncompatibleError
        If there is no image, an edge has no sky position, or they spread over half of the sky.
    """
    if not footprints:
        raise IncompatibleError("there is no image to enclose in a tract.")
    outlines = [outline_vectors(wcs, shape, _PER_SIDE) for wcs, shape in footprints]
    try:
        center, radius = smallest_circle(np.concatenate(outlines))
    except ValueError as error:
        raise IncompatibleError("the images spread over half of the sky.") from error
    ra, dec = spherical.longitude_latitude(center)
    return DiscreteTiling((float(ra),), (float(dec),), (float(np.degrees(radius)) + border,))
