"""Target grids, and which images reach them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
from astropy.io import fits

from skytool.core.sphere import directions as spherical
from skytool.errors import IncompatibleError
from skytool.models.exposure import Origin
from skytool.models.keywords import set_card
from skytool.models.sky.celestial import (
    ARCSEC,
    celestial_header,
    celestial_wcs,
    has_tables,
    pixel_scale,
    text_exact,
)
from skytool.models.sky.footprint import (
    footprint_edges,
    outline_vectors,
    overlaps,
    surrounding_box,
)
from skytool.models.sky.headertext import parse_header_text
from skytool.models.sky.pixelmap import source_positions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.wcs import WCS

__all__ = [
    "PROJECTIONS",
    "TargetGrid",
    "celestial_header",
    "celestial_wcs",
    "footprint_edges",
    "origin_cards",
    "origin_from_header",
    "overlaps",
    "pixel_scale",
    "source_positions",
]

PROJECTIONS = (
    *("TAN", "STG", "SIN", "ARC", "ZEA"),  # zenithal
    *("CEA", "CAR", "MER", "SFL", "AIT"),  # cylindrical
)
"""Projections of new grids: without parameters, and true to scale in the middle (Calabretta & Greisen 2002)."""

MAX_AXIS = 2**31 - 1
"""Longest axis of a grid [pixel]: FITS tools count pixels in 32-bit integers."""

_MAX_PIXELS = 2**36
"""Most pixels of a grid: a plane of 256 GiB. More is a typing error."""


@dataclass(frozen=True, eq=False)
class TargetGrid:
    """The pixels of an output image on the sky.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Two celestial axes, for array pixels (0-based, centres on integers).
    shape : tuple of int
        ``(ny, nx)``.
    origin : Origin
        Place of the first pixel in the parent frame (tract); ``wcs`` does not include it.
    name : str
        What messages call it.

    Raises
    ------
    IncompatibleError
        If the shape is impossible or the WCS not celestial.
    """

    wcs: WCS
    shape: tuple[int, int]
    origin: Origin = field(default=Origin(0, 0))
    name: str = "target grid"

    def __post_init__(self) -> None:
        ny, nx = self.shape
        if not (1 <= ny <= MAX_AXIS and 1 <= nx <= MAX_AXIS and ny * nx <= _MAX_PIXELS):
            raise IncompatibleError(
                f"{self.name}: a grid of {nx} x {ny} pixels is impossible.",
                hint=f"An axis has 1 to {MAX_AXIS} pixels, a grid at most {_MAX_PIXELS}.",
            )
        if not self.wcs.has_celestial:
            raise IncompatibleError(f"{self.name} has no celestial WCS.")
        if not has_tables(self.wcs):
            # The numbers of a grid are those that its header can hold, so that a grid read back
            # from a file, or sent to a worker process, is this one to the last bit.
            header = text_exact(_sized(celestial_header(self.wcs), self.shape))
            object.__setattr__(self, "wcs", celestial_wcs(header, name=self.name))

    def __reduce__(self) -> tuple[object, ...]:
        if has_tables(self.wcs):
            return type(self), (self.wcs, self.shape, self.origin, self.name)
        cards = _sized(celestial_header(self.wcs), self.shape).tostring()
        return _unpickled, (type(self), cards, self.origin, self.name)

    @classmethod
    def from_header(
        cls, header: fits.Header, *, name: str, hdus: fits.HDUList | None = None
    ) -> Self:
        """Return the grid of an image, or of a template header without one.

        Parameters
        ----------
        header : `~astropy.io.fits.Header`
            NAXIS1, NAXIS2 (or, of a compressed image, ZNAXIS1, ZNAXIS2), a celestial WCS, and
            optionally LTV or alternate WCS ``A`` cards for the origin.
        name : str
            What messages call it.
        hdus : `~astropy.io.fits.HDUList`, optional
            The open file, for distortions given as tables.

        Raises
        ------
        IncompatibleError
            If the header has no size, an impossible one, or no usable celestial WCS.
        """
        prefix = "Z" if "ZNAXIS1" in header else ""
        sizes = [header.get(f"{prefix}NAXIS{axis}") for axis in (1, 2)]
        if not all(isinstance(size, int) and not isinstance(size, bool) for size in sizes):
            raise IncompatibleError(
                f"{name} gives no size of a grid.", hint="It needs whole numbers NAXIS1 and NAXIS2."
            )
        shape = (sizes[1], sizes[0])
        wcs = celestial_wcs(_sized(header, shape), name=name, hdus=hdus)
        return cls(wcs, shape, origin_from_header(header), name)

    @classmethod
    def from_text(cls, text: str, *, name: str) -> Self:
        """Return the grid of an ASCII header, as SWarp (``.head``) and Montage (``.hdr``) use.

        Parameters
        ----------
        text : str
            Lines ``KEYWORD = value``, with or without END.
        name : str
            What messages call it.

        Raises
        ------
        InputError
            If the text is no header.
        IncompatibleError
            If the header describes no grid.
        """
        return cls.from_header(parse_header_text(text, name=name), name=name)

    @classmethod
    def from_center(
        cls,
        ra: float,
        dec: float,
        pixel_scale: float,
        shape: tuple[int, int],
        projection: str = "TAN",
        rotation: float = 0.0,
        *,
        name: str = "target grid",
    ) -> Self:
        """Return the grid about a position.

        Parameters
        ----------
        ra, dec : float
            ICRS position of the middle of the array [deg].
        pixel_scale : float
            Side of a pixel there [arcsec].
        shape : tuple of int
            ``(ny, nx)``.
        projection : str
            One of ``PROJECTIONS``.
        rotation : float
            Angle from the north to the y axis, through the east of a map with east to the left
            [deg].
        name : str
            What messages call it.

        Raises
        ------
        IncompatibleError
            If a value is impossible.

        Notes
        -----
        With scale s and rotation t the matrix is ``[[-s cos t, s sin t], [s sin t, s cos t]]``.
        """
        if not (math.isfinite(ra) and math.isfinite(rotation) and -90.0 <= dec <= 90.0):
            raise IncompatibleError(f"{name}: ({ra:g}, {dec:g}) is no sky position.")
        if not 0.0 < pixel_scale < 90.0 * 3600.0:
            raise IncompatibleError(f"{name}: a pixel scale of {pixel_scale:g} is impossible.")
        code = projection.upper()
        if code not in PROJECTIONS:
            raise IncompatibleError(
                f"{name}: no projection {projection!r}.", hint=f"Known: {', '.join(PROJECTIONS)}."
            )
        s, t = pixel_scale / 3600.0, math.radians(rotation)
        header = fits.Header()
        header["CTYPE1"], header["CTYPE2"] = f"RA---{code}", f"DEC--{code}"
        header["CUNIT1"], header["CUNIT2"] = "deg", "deg"
        header["CRPIX1"], header["CRPIX2"] = (shape[1] + 1) / 2, (shape[0] + 1) / 2
        header["CRVAL1"], header["CRVAL2"] = ra % 360.0, dec
        header["CD1_1"], header["CD1_2"] = -s * math.cos(t), s * math.sin(t)
        header["CD2_1"], header["CD2_2"] = s * math.sin(t), s * math.cos(t)
        header["RADESYS"] = "ICRS"
        return cls(celestial_wcs(_sized(header, shape), name=name), shape, Origin(0, 0), name)

    @classmethod
    def enclosing(
        cls,
        footprints: Sequence[tuple[WCS, tuple[int, int]]],
        *,
        pixel_scale: float | None = None,
        name: str = "target grid",
    ) -> Self:
        """Return the smallest tangential grid, north up, that holds images whole.

        Parameters
        ----------
        footprints : sequence of (`~astropy.wcs.WCS`, (ny, nx))
            The images.
        pixel_scale : float, optional
            Side of a pixel [arcsec]; by default the median of those in the middle of the images.
        name : str
            What messages call it.

        Raises
        ------
        IncompatibleError
            If there is no image, an edge has no sky position, or the images spread so far over the
            sky that no plane touches the middle of all of them.
        """
        if not footprints:
            raise IncompatibleError(f"{name}: there is no image to enclose.")
        if pixel_scale is None:
            scales = [_middle_scale(wcs, shape) for wcs, shape in footprints]
            pixel_scale = float(np.median(scales))
        outlines = [outline_vectors(wcs, shape, 64, name=name) for wcs, shape in footprints]
        center, height, width = surrounding_box(np.concatenate(outlines), name=name)
        step = pixel_scale * ARCSEC
        # rounding must not add a pixel to a box that fits exactly
        size = (math.ceil(height / step - 1e-6), math.ceil(width / step - 1e-6))
        ra, dec = spherical.longitude_latitude(center)
        return cls.from_center(float(ra), float(dec), pixel_scale, size, name=name)

    def header_cards(self) -> fits.Header:
        """Return the cards of the grid: WCS, and the origin as LTV and alternate WCS ``A``."""
        header = celestial_header(self.wcs)
        header.update(origin_cards(self.origin))
        return header

    def window(self, *, y: int, x: int, shape: tuple[int, int]) -> Self:
        """Return the grid of a rectangle of this one's pixels, which may reach beyond it.

        Parameters
        ----------
        y, x : int
            First pixel of the rectangle [pixel of this grid].
        shape : tuple of int
            Its shape ``(ny, nx)``.
        """
        wcs = self.wcs.deepcopy()
        wcs.wcs.crpix = wcs.wcs.crpix - (x, y)
        if has_tables(wcs):
            wcs = self.wcs[y : y + shape[0], x : x + shape[1]]
        return type(self)(wcs, shape, Origin(self.origin.y + y, self.origin.x + x), self.name)

    def grown(self, border: int) -> Self:
        """Return the grid with ``border`` more pixels on all sides; negative takes them off."""
        ny, nx = self.shape
        return self.window(y=-border, x=-border, shape=(ny + 2 * border, nx + 2 * border))


def _unpickled(kind: type[TargetGrid], cards: str, origin: Origin, name: str) -> TargetGrid:
    header = fits.Header.fromstring(cards)
    shape = (header["NAXIS2"], header["NAXIS1"])
    return kind(celestial_wcs(header, name=name), shape, origin, name)


def _sized(header: fits.Header, shape: tuple[int, int]) -> fits.Header:
    """Return a header with the size of an image in it, which the WCS then knows."""
    sized = header.copy()
    sized["NAXIS"], sized["NAXIS1"], sized["NAXIS2"] = 2, shape[1], shape[0]
    return sized


def _middle_scale(wcs: WCS, shape: tuple[int, int]) -> float:
    """Return the pixel scale [arcsec] in the middle of an image."""
    return pixel_scale(wcs, y=(shape[0] - 1) / 2, x=(shape[1] - 1) / 2)


def origin_cards(origin: Origin) -> fits.Header:
    """Return the cards that place the first pixel in its parent frame.

    Parameters
    ----------
    origin : Origin
        Place of the first pixel [pixel, 0-based].

    Returns
    -------
    `~astropy.io.fits.Header`
        LTV1, LTV2 (parent to image, 1-based) and the alternate WCS ``A`` (0-based parent pixels).
    """
    header = fits.Header()
    set_card(header, "LTV1", -origin.x)
    set_card(header, "LTV2", -origin.y)
    for axis, start in ((1, origin.x), (2, origin.y)):
        set_card(header, f"CTYPE{axis}A", "LINEAR")
        set_card(header, f"CRPIX{axis}A", 1.0)
        set_card(header, f"CRVAL{axis}A", float(start))
        set_card(header, f"CUNIT{axis}A", "pixel")
    return header


def origin_from_header(header: fits.Header) -> Origin:
    """Return where the first pixel lies in its parent frame.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        The alternate WCS ``A``, if both its axes are linear in pixels, decides; without it LTV1
        and LTV2, if the parent frame has the same pixels (no LTM other than 1).

    Returns
    -------
    Origin
        Zero where nothing is said, or the place is not that of a whole pixel.
    """
    kinds = [str(header.get(f"CTYPE{axis}A", "")).strip().upper() for axis in (1, 2)]
    linear = kinds == ["LINEAR", "LINEAR"]
    y, x = (_parent_pixel(header, axis, linear=linear) for axis in (2, 1))
    return Origin(0, 0) if y is None or x is None else Origin(y, x)


def _parent_pixel(header: fits.Header, axis: int, *, linear: bool) -> int | None:
    """Return the parent pixel [0-based] of the first pixel along a FITS axis."""
    try:
        if linear:
            steps = header.get(f"CDELT{axis}A", 1.0), header.get(f"CD{axis}_{axis}A", 1.0)
            first = float(header.get(f"CRVAL{axis}A", 0.0))
            place = first + 1.0 - float(header.get(f"CRPIX{axis}A", 0.0))
            if all(float(step) == 1.0 for step in steps) and place.is_integer():
                return int(place)
        place = -float(header.get(f"LTV{axis}", 0.0))
        same = float(header.get(f"LTM{axis}_{axis}", 1.0)) == 1.0
    except (TypeError, ValueError):
        return None
    return int(place) if same and place.is_integer() else None
