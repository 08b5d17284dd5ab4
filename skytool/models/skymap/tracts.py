"""Tracts, the pixels of a part of the sky, and the patches they are cut into."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from astropy.wcs import WCS

from skytool.core.sphere import directions as spherical
from skytool.errors import IncompatibleError
from skytool.models.exposure import Origin
from skytool.models.sky.celestial import directions
from skytool.models.sky.geometry import PROJECTIONS, TargetGrid
from skytool.models.skymap.tilings import storable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_LONGEST_TRACT = 2**31 - 1  # [pixel]; pixels are counted in 32-bit integers


class Box(NamedTuple):
    """A rectangle of pixels of a tract.

    Parameters
    ----------
    y, x : int
        First pixel.
    shape : tuple of int
        ``(ny, nx)``.
    """

    y: int
    x: int
    shape: tuple[int, int]


@dataclass(frozen=True)
class PatchLayout:
    """How a tract is cut into patches.

    Parameters
    ----------
    inner : (int, int)
        Height and width of the part of a patch that no other patch has [pixel].
    border : (int, int)
        Pixels that are added below and above, left and right.
    clipped : bool
        Whether the border ends where the tract ends.
    """

    inner: tuple[int, int] = (4000, 4000)
    border: tuple[int, int] = (100, 100)
    clipped: bool = True

    def __post_init__(self) -> None:
        if min(self.inner) < 1 or max(self.inner) > _LONGEST_TRACT:
            raise IncompatibleError(
                f"a patch of {self.inner[1]} x {self.inner[0]} pixels is impossible."
            )
        if min(self.border) < 0 or max(self.border) > _LONGEST_TRACT:
            raise IncompatibleError(f"a patch border of {min(self.border)} pixels is impossible.")

    @classmethod
    def of_cells(
        cls, *, cell_inner: tuple[int, int], cell_border: int, inner_cells: int, border_cells: int
    ) -> PatchLayout:
        """Return patches made of cells.

        Parameters
        ----------
        cell_inner : (int, int)
            Height and width of a cell without its border [pixel].
        cell_border : int
            Border of a cell [pixel].
        inner_cells : int
            Cells along each side of the inner part of a patch.
        border_cells : int
            Cells that are added on each side; their own borders come on top.
        """
        if min(cell_border, border_cells) < 0 or min(*cell_inner, inner_cells) < 1:
            raise IncompatibleError(
                "cells need at least one pixel, patches at least one cell, borders none or more."
            )
        height, width = cell_inner
        return cls(
            inner=(inner_cells * height, inner_cells * width),
            border=(border_cells * height + cell_border, border_cells * width + cell_border),
            clipped=False,
        )


@dataclass(frozen=True)
class TractLayout:
    """The pixels of tracts.

    Parameters
    ----------
    pixel_scale : float
        Side of a pixel at the reference point [arcsec].
    projection : str
        FITS code of the projection.
    rotation : float
        Angle from the north to the y axis [deg].
    overlap : float
        How far tracts reach over each other [deg].
    patches : PatchLayout
        Their patches.

    Raises
    ------
    IncompatibleError
        If a value is impossible.
    """

    pixel_scale: float = 0.333
    projection: str = "STG"
    rotation: float = 0.0
    overlap: float = 1.0
    patches: PatchLayout = PatchLayout()

    def __post_init__(self) -> None:
        if not 0.0 < self.pixel_scale < 90.0 * 3600.0:
            raise IncompatibleError(f"a pixel scale of {self.pixel_scale:g} is impossible.")
        if self.projection not in PROJECTIONS:
            raise IncompatibleError(
                f"no projection {self.projection!r}.", hint=f"Known: {', '.join(PROJECTIONS)}."
            )
        if not math.isfinite(self.rotation):
            raise IncompatibleError(f"{self.rotation} is no rotation of tracts.")
        if not 0.0 <= self.overlap <= 180.0:
            raise IncompatibleError(f"tracts cannot overlap by {self.overlap:g} degrees.")
        for name in ("pixel_scale", "rotation", "overlap"):
            object.__setattr__(self, name, storable(getattr(self, name)))

    def wcs(self, ra: float, dec: float, *, y: float, x: float) -> WCS:
        """Return the coordinates with a reference point at a pixel.

        Parameters
        ----------
        ra, dec : float
            ICRS position of the reference point [deg].
        y, x : float
            Its pixel [0-based].

        Notes
        -----
        With scale s and rotation t the matrix is ``[[-s cos t, s sin t], [s sin t, s cos t]]``.
        """
        s, t = self.pixel_scale / 3600.0, math.radians(self.rotation)
        wcs = WCS(naxis=2)  # not by way of a header, which takes ten times as long
        wcs.wcs.ctype = [f"RA---{self.projection}", f"DEC--{self.projection}"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.crpix = [x + 1.0, y + 1.0]
        wcs.wcs.crval = [ra, dec]
        wcs.wcs.cd = [
            [-s * math.cos(t), s * math.sin(t)],
            [s * math.sin(t), s * math.cos(t)],
        ]
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.set()
        return wcs

    def box(self, ra: float, dec: float, vectors: NDArray[np.float64]) -> Box:
        """Return the box of whole patches that holds positions.

        Parameters
        ----------
        ra, dec : float
            Reference point [deg], at pixel (0, 0).
        vectors : ndarray of float64, shape (n, 3)
            Unit vectors of the positions.

        Returns
        -------
        Box
            Relative to the reference point.

        Raises
        ------
        IncompatibleError
            If the projection cannot show a position, or the box is too large.
        """
        lon, lat = spherical.longitude_latitude(vectors)
        x, y = self.wcs(ra, dec, y=0.0, x=0.0).wcs_world2pix(lon, lat, 0)
        spans = [_span(v, n) for v, n in zip((y, x), self.patches.inner, strict=True)]
        if None in spans:
            raise IncompatibleError(
                f"the projection {self.projection} cannot show a tract of this size.",
                hint="Take smaller tracts, less overlap, larger pixels, or the projection ZEA.",
            )
        (y0, ny), (x0, nx) = (span for span in spans if span is not None)
        return Box(y0, x0, (ny, nx))


def _span(values: NDArray[np.float64], step: int) -> tuple[int, int] | None:
    """Return first pixel and length of what holds places in whole steps; None if nothing does."""
    if not np.isfinite(values).all() or np.abs(values).max() > _LONGEST_TRACT / 2:
        return None
    # pixel k reaches from k - 1/2 to k + 1/2
    first, last = math.floor(values.min() + 0.5), math.ceil(values.max() - 0.5)
    length = math.ceil((last - first + 1) / step) * step
    return first - (length - (last - first + 1)) // 2, length


@dataclass(frozen=True, eq=False)
class Tract:
    """The pixels of a part of the sky, all with the same coordinates.

    Parameters
    ----------
    number : int
        Its number in the sky map.
    ra, dec : float
        Its middle [deg].
    wcs : `~astropy.wcs.WCS`
        Coordinates; the first pixel is (0, 0).
    shape : tuple of int
        ``(ny, nx)``, whole patches.
    patches : PatchLayout
        How it is cut.
    name : str
        What messages call the sky map.
    """

    number: int
    ra: float
    dec: float
    wcs: WCS
    shape: tuple[int, int]
    patches: PatchLayout
    name: str = "the sky map"

    @property
    def n_patches(self) -> tuple[int, int]:
        """Patches along y and x."""
        return self.shape[0] // self.patches.inner[0], self.shape[1] // self.patches.inner[1]

    def patch(self, *, y: int, x: int) -> Patch:
        """Return a patch by its place.

        Raises
        ------
        IncompatibleError
            If there is none.
        """
        ny, nx = self.n_patches
        if not (0 <= y < ny and 0 <= x < nx):
            raise IncompatibleError(
                f"{self.name}: tract {self.number} has no patch {x},{y}.",
                hint=f"It has patches 0,0 to {nx - 1},{ny - 1}.",
            )
        return Patch(self, y, x)

    def patch_number(self, number: int) -> Patch:
        """Return a patch by its sequential number: along x first.

        Raises
        ------
        IncompatibleError
            If there is none.
        """
        ny, nx = self.n_patches
        if not 0 <= number < ny * nx:
            raise IncompatibleError(
                f"{self.name}: tract {self.number} has no patch {number}.",
                hint=f"It has patches 0 to {ny * nx - 1}.",
            )
        return Patch(self, *divmod(number, nx))

    def patch_centers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where the middles of the inner boxes are.

        Returns
        -------
        ra, dec : ndarray of float64, shape (ny * nx,)
            ICRS position [deg] by sequential number; NaN where the projection shows nothing.
        """
        y, x = np.indices(self.n_patches).reshape(2, -1)
        height, width = self.patches.inner
        vectors = directions(
            self.wcs, y=y * height + (height - 1) / 2, x=x * width + (width - 1) / 2
        )
        return spherical.longitude_latitude(vectors)

    def pixels(
        self, ra: ArrayLike, dec: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the pixels of positions.

        Parameters
        ----------
        ra, dec : array_like of float, shape (n,)
            ICRS positions [deg].

        Returns
        -------
        y, x : ndarray of float64, shape (n,)
            Pixel [0-based]; NaN where the projection shows nothing.
        """
        x, y = self.wcs.wcs_world2pix(np.atleast_1d(ra), np.atleast_1d(dec), 0)
        return y, x

    def patch_at(self, ra: float, dec: float) -> Patch | None:
        """Return the patch whose inner part holds a position [deg]; None outside of the tract."""
        place = [float(v[0]) for v in self.pixels(ra, dec)]
        if not all(-0.5 <= p < n - 0.5 for p, n in zip(place, self.shape, strict=True)):
            return None
        y, x = (
            math.floor(p + 0.5) // step for p, step in zip(place, self.patches.inner, strict=True)
        )
        return Patch(self, y, x)

    def patches_near(self, vectors: NDArray[np.float64]) -> list[Patch]:
        """Return the patches in the box around positions, among them all that reach them.

        Parameters
        ----------
        vectors : ndarray of float64, shape (n, 3)
            Unit vectors.
        """
        ends = []
        pixels = self.pixels(*spherical.longitude_latitude(vectors))
        for values, n, step, border in zip(
            pixels, self.n_patches, self.patches.inner, self.patches.border, strict=True
        ):
            if not np.isfinite(values).all():  # part of them is behind the projection
                ends.append((0, n))
                continue
            first = (values.min() - border - 0.5) // step
            last = (values.max() + border + 0.5) // step
            ends.append((int(np.clip(first, 0, n)), int(np.clip(last + 1, 0, n))))
        (y0, y1), (x0, x1) = ends
        return [Patch(self, y, x) for y in range(y0, y1) for x in range(x0, x1)]


@dataclass(frozen=True, eq=False)
class Patch:
    """A rectangle of the pixels of a tract.

    Parameters
    ----------
    tract : Tract
        The tract.
    y, x : int
        Its place among the patches.
    """

    tract: Tract
    y: int
    x: int

    @property
    def number(self) -> int:
        """Sequential number, along x first."""
        return self.y * self.tract.n_patches[1] + self.x

    @property
    def label(self) -> str:
        """Its place as ``x,y``."""
        return f"{self.x},{self.y}"

    @property
    def inner_box(self) -> Box:
        """The pixels that no other patch has in its inner box."""
        ny, nx = self.tract.patches.inner
        return Box(self.y * ny, self.x * nx, (ny, nx))

    @property
    def outer_box(self) -> Box:
        """The pixels of the patch with its border, which its images have."""
        layout, inner = self.tract.patches, self.inner_box
        spans = []
        for start, size, border, end in zip(
            inner[:2], inner.shape, layout.border, self.tract.shape, strict=True
        ):
            first, last = start - border, start + size + border
            if layout.clipped:
                first, last = max(first, 0), min(last, end)
            spans.append((first, last - first))
        (y, ny), (x, nx) = spans
        return Box(y, x, (ny, nx))

    def grid(self) -> TargetGrid:
        """Return the outer box as a target, its origin the place in the tract."""
        box = self.outer_box
        wcs = self.tract.wcs.deepcopy()
        wcs.wcs.crpix = wcs.wcs.crpix - (box.x, box.y)
        name = f"patch {self.label} of tract {self.tract.number} of {self.tract.name}"
        return TargetGrid(wcs, box.shape, Origin(box.y, box.x), name)
