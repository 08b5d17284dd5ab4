"""World coordinates of images as files have them: checked card by card, tables included."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from astropy.io import fits

from skytool.models.exposure import Origin

if TYPE_CHECKING:
    from astropy.wcs import WCS

_CELESTIAL = re.compile(r"(RA--|DEC-|[A-Z]LON|[A-Z]LAT|[A-Z]{2}LN|[A-Z]{2}LT)")
_TABLES = re.compile(r"D2IMARR|(D2IMDIS|CPDIS|CQDIS)[12]|AXISCORR")


def read_wcs(header: fits.Header, *, name: str, hdus: fits.HDUList | None = None) -> WCS | None:
    """Return the celestial coordinates of an image.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Cards of the image and the primary, all valid; see `with_valid_cards`.
    name : str
        What messages call the image.
    hdus : `~astropy.io.fits.HDUList`, optional
        The open file, for distortions given as tables; see `needs_tables`.

    Returns
    -------
    `~astropy.wcs.WCS` or None
        None if no axis is a celestial one.

    Raises
    ------
    IncompatibleError
        If a card is no finite number, a scale is zero, the matrix is singular, or the
        coordinates make no sense; the message names the value.
    """
    axes = [str(header.get(f"CTYPE{axis}", "")).strip().upper() for axis in (1, 2, 3)]
    if not any(_CELESTIAL.match(axis) for axis in axes):
        return None
    from skytool.io.fits import adopted_warnings
    from skytool.models.sky.celestial import celestial_wcs

    with adopted_warnings(name):
        return celestial_wcs(header, name=name, hdus=hdus)


def with_valid_cards(header: fits.Header) -> fits.Header:
    """Return the header, in which values that are not FITS have become their text.

    ``CRVAL1 = NaN`` without quotes, for one, is no FITS number: it becomes the text ``NaN``, which
    can be looked at without an error. The header is changed in place.
    """
    for card in header.cards:
        try:
            card.value  # noqa: B018 - the value is parsed when it is asked for
        except (fits.VerifyError, ValueError):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                card.verify("silentfix")
    return header


def needs_tables(header: fits.Header) -> bool:
    """Return True if the coordinates depend on tables in other HDUs of the file."""
    tables = any(str(header.get(f"CTYPE{axis}", "")).strip()[-4:] == "-TAB" for axis in (1, 2))
    return tables or any(_TABLES.fullmatch(key) for key in header)


def origin_of(header: fits.Header) -> Origin:
    """Return the place of the first pixel in its parent frame.

    Where neither the linear alternate WCS ``A`` nor LTV1 and LTV2 are there (see
    `~skytool.models.sky.geometry.origin_from_header`), X0 and Y0 say it, if they are whole numbers.
    """
    if not {"CTYPE1A", "LTV1", "LTV2"}.isdisjoint(header):
        from skytool.models.sky.geometry import origin_from_header

        return origin_from_header(header)
    y, x = header.get("Y0"), header.get("X0")
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in (y, x)):
        return Origin(0, 0)
    if not (float(y).is_integer() and float(x).is_integer()):
        return Origin(0, 0)
    return Origin(int(y), int(x))


def in_array_pixels(header: fits.Header, origin: Origin) -> fits.Header:
    """Return a header whose reference pixel refers to the array, not to the parent frame."""
    moved = header.copy()
    for key, offset in (("CRPIX1", origin.x), ("CRPIX2", origin.y)):
        if key in moved:
            moved[key] = moved[key] - offset
    return moved


def with_cards(cards: str, shape: tuple[int, int]) -> fits.Header:
    """Return the header of an image of a shape ``(ny, nx)`` with some cards of coordinates."""
    header = fits.Header.fromstring(cards)
    header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, shape[1], shape[0]
    return with_valid_cards(header)
