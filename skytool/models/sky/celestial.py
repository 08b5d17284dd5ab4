"""The celestial coordinates of images: FITS headers to WCS and back, pixels to directions."""

from __future__ import annotations

import math
import re
import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from skytool.core.sphere import directions as spherical
from skytool.errors import IncompatibleError, SkytoolWarning
from skytool.models.keywords import set_card

if TYPE_CHECKING:
    from collections.abc import Callable

    from astropy.coordinates import BaseCoordinateFrame
    from numpy.typing import ArrayLike, NDArray

ARCSEC = np.pi / 180.0 / 3600.0
"""One second of arc [rad]."""

_NUMERIC = re.compile(r"(CRVAL|CRPIX|CDELT|CROTA)[12]|(CD|PC)[12]_[12]")
_MATRICES = {"CD": (0.0, 0.0, 0.0, 0.0), "PC": (1.0, 0.0, 0.0, 1.0)}  # with their defaults
_MAX_CONDITION = 1e6  # of a matrix; pixels a million times as long as wide are no pixels
_DISTORTION = re.compile(r"(PV|PS)\d_\d+|(DP|DQ)\d.*|C[PQ](DIS|ERR)\d")


class Frame(NamedTuple):
    """Celestial coordinate system of a WCS; two equal ones need no conversion."""

    longitude: str
    system: str
    equinox: float


ICRS = Frame("RA", "ICRS", 0.0)


def celestial_wcs(header: fits.Header, *, name: str, hdus: fits.HDUList | None = None) -> WCS:
    """Return the celestial coordinates that a header describes.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header of an image; further axes of a cube are left out.
    name : str
        What messages call the image.
    hdus : `~astropy.io.fits.HDUList`, optional
        The open file, for distortions given as tables.

    Returns
    -------
    `~astropy.wcs.WCS`
        Two celestial axes, with a finite scale in the middle of the image.

    Raises
    ------
    IncompatibleError
        If the header has no celestial axes, they contradict each other, the matrix is singular, or
        the middle of the image has no position.
    """
    _check_cards(header, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(header, fobj=hdus)
            # of two axes nothing is to be taken: it would exchange them where latitude is first
            if wcs.has_celestial and wcs.naxis != 2:
                wcs = wcs.celestial
            wcs.wcs.set()
    except (ValueError, TypeError, KeyError, MemoryError, AssertionError, IndexError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise IncompatibleError(f"{name}: unusable WCS: {reason}") from error
    if not wcs.has_celestial:
        raise IncompatibleError(
            f"{name} has no celestial WCS.", hint="Its CTYPE cards name no sky coordinates."
        )
    if np.linalg.cond(wcs.pixel_scale_matrix) > _MAX_CONDITION:
        raise IncompatibleError(f"{name}: unusable WCS: its CD or PC matrix is singular.")
    pixel_scale(wcs, name=name)
    return wcs


def _check_cards(header: fits.Header, name: str) -> None:
    """Refuse numbers that the WCS library would silently replace by its defaults.

    These are cards that are no finite numbers, scales of zero and a singular matrix.
    """
    for card in header.cards:
        key = card.keyword
        if not _NUMERIC.fullmatch(key):
            continue
        value = card.value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            shown = value.strip() if isinstance(value, str) else value
            raise IncompatibleError(f"{name}: unusable WCS: {key} = {shown!s} is no number.")
        if not math.isfinite(value):
            raise IncompatibleError(f"{name}: unusable WCS: {key} = {value} is not finite.")
        if key.startswith("CDELT") and value == 0.0:
            raise IncompatibleError(f"{name}: unusable WCS: the pixel scale {key} is zero.")
    for kind, identity in _MATRICES.items():
        _check_matrix(header, kind, identity, name)


def _check_matrix(header: fits.Header, kind: str, identity: tuple[float, ...], name: str) -> None:
    """Refuse a matrix without inverse; elements that are missing have their default."""
    keys = [f"{kind}{row}_{column}" for row in (1, 2) for column in (1, 2)]
    if not any(key in header for key in keys):
        return
    a, b, c, d = (header.get(key, default) for key, default in zip(keys, identity, strict=True))
    if a * d - b * c == 0.0:
        values = ", ".join(f"{key} = {v:g}" for key, v in zip(keys, (a, b, c, d), strict=True))
        raise IncompatibleError(f"{name}: unusable WCS: the matrix is singular: {values}.")


def celestial_header(wcs: WCS) -> fits.Header:
    """Return the cards that describe a celestial WCS, nothing else.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Two celestial axes. A polynomial distortion (SIP, TPV) is written; one given as tables is
        not, with a warning.

    Returns
    -------
    `~astropy.io.fits.Header`
        Cards from WCSAXES to EQUINOX, with all digits of the numbers that a card has room for.
    """
    wcs = wcs.celestial if wcs.naxis != 2 else wcs
    inner = wcs.wcs
    inner.set()
    # The library renames projections when it reads them (TPV) and alone knows their parameters;
    # it rounds numbers to 14 digits, so all others are taken from it directly.
    theirs = wcs.to_header(relax=True)
    header = fits.Header()
    set_card(header, "WCSAXES", 2)
    suffix = "" if wcs.sip is None else "-SIP"
    for axis in (1, 2):
        set_card(header, f"CTYPE{axis}", theirs[f"CTYPE{axis}"].removesuffix("-SIP") + suffix)
    for axis in (1, 2):
        set_card(header, f"CUNIT{axis}", str(inner.cunit[axis - 1]))
    for axis in (1, 2):
        set_card(header, f"CRPIX{axis}", inner.crpix[axis - 1])
    for axis in (1, 2):
        set_card(header, f"CRVAL{axis}", inner.crval[axis - 1])
    matrix = wcs.pixel_scale_matrix
    for row, column in np.ndindex(2, 2):
        set_card(header, f"CD{row + 1}_{column + 1}", matrix[row, column])
    for card in theirs.cards:
        if _DISTORTION.fullmatch(card.keyword):
            set_card(header, card.keyword, card.value, card.comment)
    # without a value (NaN) there is no card
    for keyword in ("LONPOLE", "LATPOLE", "EQUINOX"):
        set_card(header, keyword, getattr(inner, keyword.lower()))
    set_card(header, "RADESYS", inner.radesys.strip() or None)
    if wcs.sip is not None:
        _add_sip(header, wcs)
    if has_tables(wcs):
        warnings.warn(
            "the distortion of a WCS is given as tables, which its header cards cannot hold.",
            SkytoolWarning,
            stacklevel=2,
        )
    return header


def has_tables(wcs: WCS) -> bool:
    """Say whether the distortion of a WCS is given as tables, beside its header cards."""
    return any(t is not None for t in (wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2))


def _add_sip(header: fits.Header, wcs: WCS) -> None:
    """Add the coefficients of the polynomial distortion."""
    for letter in ("A", "B", "AP", "BP"):
        table = getattr(wcs.sip, letter.lower())
        if table is None:
            continue
        set_card(header, f"{letter}_ORDER", len(table) - 1, "order of the distortion")
        for p, q in np.argwhere(table):
            set_card(header, f"{letter}_{p}_{q}", table[p, q], "term of the distortion")


def text_exact(header: fits.Header) -> fits.Header:
    """Return a header with the numbers that a file would give back.

    A card has room for 20 characters. A WCS made from such cards is the same in memory and after
    any number of times through a file.
    """
    return fits.Header.fromstring(header.tostring())


def frame_of(wcs: WCS) -> Frame:
    """Return the celestial system of a WCS, by the rules of the FITS standard.

    Without RADESYS, an EQUINOX before 1984 means FK4, a later one FK5, none ICRS (Calabretta &
    Greisen 2002, section 3.1).
    """
    inner = wcs.wcs
    longitude = inner.lngtyp.strip()
    if longitude != "RA":
        return Frame(longitude, "", 0.0)
    equinox = float(inner.equinox)
    system = inner.radesys.strip().upper()
    if not system:
        system = "ICRS" if np.isnan(equinox) else "FK4" if equinox < 1984.0 else "FK5"
    if system == "ICRS":
        return ICRS
    if np.isnan(equinox):
        equinox = 1950.0 if system.startswith("FK4") else 2000.0
    return Frame(longitude, system, equinox)


def frame_change(
    source: WCS, target: WCS | None = None
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]] | None:
    """Return what turns directions of one WCS into those of another.

    Parameters
    ----------
    source : `~astropy.wcs.WCS`
        Its celestial system is that of the directions to convert.
    target : `~astropy.wcs.WCS`, optional
        Its system is that of the result; ICRS if left out.

    Returns
    -------
    function of ndarray of float64, shape (n, 3), to the same; or None
        Turns unit vectors; None if the systems are one.

    Raises
    ------
    IncompatibleError
        If a system is unknown.

    Notes
    -----
    ICRS, FK5 and galactic coordinates are rotations of each other: the matrix is found once, from
    the images of the three axes. FK4 is not, because of its terms of aberration, and is converted
    direction by direction.
    """
    old, new = frame_of(source), ICRS if target is None else frame_of(target)
    if old == new:
        return None
    before, after = _astropy_frame(source), _astropy_frame(target)

    def convert(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        lon, lat = spherical.longitude_latitude(vectors)
        # the class and its unit come with astropy.wcs: no import beyond what is loaded
        from astropy import units
        from astropy.coordinates import UnitSphericalRepresentation

        directions = UnitSphericalRepresentation(lon * units.deg, lat * units.deg)
        moved = before.realize_frame(directions).transform_to(after)
        turned = moved.represent_as(UnitSphericalRepresentation)
        return spherical.unit_vectors(turned.lon.deg, turned.lat.deg)

    axes = convert(np.eye(3))
    probe = np.array([[0.48, 0.6, 0.64]])
    if not np.allclose(probe @ axes, convert(probe), rtol=0.0, atol=1e-13):
        return convert
    return lambda vectors: vectors @ axes


def _astropy_frame(wcs: WCS | None) -> BaseCoordinateFrame:
    """Return the frame object of astropy; ICRS without a WCS."""
    from astropy import coordinates
    from astropy.wcs.utils import wcs_to_celestial_frame

    if wcs is None:
        return coordinates.ICRS()
    try:
        return wcs_to_celestial_frame(wcs)
    except ValueError as error:
        raise IncompatibleError(
            f"the celestial system {' '.join(map(str, frame_of(wcs)[:2])).strip()} is not known."
        ) from error


def lon_lat(wcs: WCS, *, y: ArrayLike, x: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    """Return the sky position of pixels, in the system of the WCS.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Two celestial axes.
    y, x : array_like of float, shape (...)
        Position [pixel, 0-based].

    Returns
    -------
    longitude, latitude : ndarray of float64, shape (...)
        Position [deg]; NaN where the projection has none.
    """
    world = wcs.all_pix2world(x, y, 0)
    return world[wcs.wcs.lng], world[wcs.wcs.lat]


def directions(wcs: WCS, *, y: ArrayLike, x: ArrayLike) -> NDArray[np.float64]:
    """Return ICRS unit vectors, shape ``(n, 3)``, of pixels, shape ``(n,)`` [pixel, 0-based]."""
    vectors = spherical.unit_vectors(*lon_lat(wcs, y=y, x=x))
    change = frame_change(wcs)
    return vectors if change is None else change(vectors)


def pixel_scale(
    wcs: WCS, *, y: float | None = None, x: float | None = None, name: str = "the WCS"
) -> float:
    """Return the side of a pixel: the root of its area on the sky.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Two celestial axes.
    y, x : float, optional
        Where [pixel, 0-based]; the middle of the image if its shape is known, else the reference
        pixel.
    name : str
        What messages call the image.

    Returns
    -------
    float
        Side [arcsec], distortions included.

    Raises
    ------
    IncompatibleError
        If the pixel has no position or no area.
    """
    if y is None or x is None:
        middle = None if wcs.pixel_shape is None else [(n - 1) / 2 for n in wcs.pixel_shape]
        x, y = wcs.wcs.crpix - 1.0 if middle is None else middle
    corners_x = np.array([x - 0.5, x + 0.5, x, x])
    corners_y = np.array([y, y, y - 0.5, y + 0.5])
    vectors = spherical.unit_vectors(*lon_lat(wcs, y=corners_y, x=corners_x))
    area = np.linalg.norm(np.cross(vectors[1] - vectors[0], vectors[3] - vectors[2]))
    if not (np.isfinite(area) and area > 0.0):
        raise IncompatibleError(
            f"{name}: the WCS gives no area to the pixel (x, y) = ({x:g}, {y:g}).",
            hint="Check CRVAL, CDELT and the CD or PC matrix.",
        )
    return float(np.sqrt(area) / ARCSEC)
