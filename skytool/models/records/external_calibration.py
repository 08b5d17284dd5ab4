"""Calibrations of exposures that come from elsewhere than from their headers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from skytool.core.background.chebyshev import ChebyshevModel
from skytool.errors import InputError, SkytoolError
from skytool.models.keywords import is_wcs_keyword, set_card
from skytool.models.photometric_calibration import PhotometricCalibration
from skytool.models.sky.headertext import parse_header_text

if TYPE_CHECKING:
    from skytool.models.records.detector_table import DetectorTable

_SCALES = ("calibration", "calibration_mean", "njy")
_SCALE_ERRORS = ("calibration_err", "calibration_error", "njy_err")
_ZERO_POINTS = ("zero_point", "zero_pnt", "magzero", "zp")
_ZERO_POINT_ERRORS = ("zero_point_err", "zero_point_error", "magzerr", "zp_err")
_FLUXES = ("fluxmag0",)
_FLUX_ERRORS = ("fluxmag0_err", "fluxmag0_error")
_FIELD = "field"
_WCS_TEXTS = ("wcshdr", "wcs_header", "wcs")


@dataclass(frozen=True, eq=False)
class ExternalCalibration:
    """What takes the place of the calibration in the header of an exposure.

    Parameters
    ----------
    wcs_cards : str
        Celestial coordinates of the array's pixels as header cards; empty keeps those there are.
    photometry : PhotometricCalibration or None
        Photometric calibration; None keeps the one there is.
    """

    wcs_cards: str = ""
    photometry: PhotometricCalibration | None = None

    def key(self) -> str:
        """Return a text that changes whenever a value does."""
        scale = self.photometry
        if scale is None:
            return self.wcs_cards
        field = [] if scale.field is None else scale.field.coefficients.tolist()
        return f"{self.wcs_cards} {scale.scale!r} {scale.scale_error!r} {field!r}"


def check_photometry(table: DetectorTable) -> None:
    """Refuse a table without photometric calibrations.

    Raises
    ------
    InputError
        If it has no column of one.
    """
    if not table.has(*_SCALES, *_ZERO_POINTS, *_FLUXES):
        raise InputError(
            f"{table.name} has no photometric calibration.",
            hint="It needs a column CALIBRATION [nJy per unit], ZEROPOINT or FLUXMAG0.",
        )


def photometry_of(
    table: DetectorTable, row: int, shape: tuple[int, int]
) -> PhotometricCalibration | None:
    """Return the photometric calibration in a row of a table.

    Parameters
    ----------
    table : DetectorTable
        With CALIBRATION [nJy per unit], ZEROPOINT [mag of one unit] or FLUXMAG0 [unit], each with
        an error in a column ``..._ERR``, and optionally FIELD: the coefficients of a surface over
        the detector, whose mean is taken to be one, as many rows as columns of them, row by row.
    row : int
        Number of the row.
    shape : (int, int)
        Shape ``(ny, nx)`` of the detector.

    Returns
    -------
    PhotometricCalibration or None
        None if the row has no value.

    Raises
    ------
    InputError
        If a value is impossible.
    """
    scale, zero_point = table.number(row, *_SCALES), table.number(row, *_ZERO_POINTS)
    flux = table.number(row, *_FLUXES)
    try:
        field = _field(table, row, shape)
        if math.isfinite(scale):
            return PhotometricCalibration(scale, _error(table, row, _SCALE_ERRORS), field)
        if math.isfinite(zero_point):
            error = _error(table, row, _ZERO_POINT_ERRORS)
            return PhotometricCalibration.from_zero_point(zero_point, error, field)
        if math.isfinite(flux):
            relative = _error(table, row, _FLUX_ERRORS) / flux
            one = PhotometricCalibration.from_zero_point(2.5 * math.log10(flux), field=field)
            return PhotometricCalibration(one.scale, one.scale * relative, field)
    except (SkytoolError, ValueError, ArithmeticError) as error:
        reason = str(error).rstrip(".")
        raise InputError(f"{table.name}: row {row + 1} is impossible: {reason}.") from error
    return None


def check_wcs(table: DetectorTable) -> None:
    """Refuse a table without coordinates.

    Raises
    ------
    InputError
        If it has no column of them.
    """
    if not table.has(*_WCS_TEXTS, "ctype1"):
        raise InputError(
            f"{table.name} has no celestial coordinates.",
            hint="It needs a column WCSHDR of header cards, or columns CTYPE1, CRVAL1 and so on.",
        )


def wcs_cards_of(table: DetectorTable, row: int) -> str:
    """Return the cards of the coordinates in a row of a table; empty if the row has none.

    Parameters
    ----------
    table : DetectorTable
        With a column WCSHDR of cards, or a column for each keyword.
    row : int
        Number of the row.

    Raises
    ------
    InputError
        If the text is no header.
    """
    text = table.text(row, *_WCS_TEXTS)
    if text:
        padded = text + " " * (-len(text) % 80)
        return wcs_cards(padded, name=f"{table.name}, row {row + 1}")
    header = fits.Header()
    for plain, name in table.spellings.items():
        value = table.columns[plain][row]
        if not is_wcs_keyword(name.upper()) or np.ndim(value):
            continue
        plain_value = value.item() if isinstance(value, np.generic) else value
        if isinstance(plain_value, str) or math.isfinite(plain_value):
            set_card(header, name.upper(), None if plain_value == "" else plain_value)
    return header.tostring(endcard=False, padding=False) if "CTYPE1" in header else ""


def wcs_cards(text: str, *, name: str) -> str:
    """Return the coordinates in the text of a header as cards of 80 characters.

    Raises
    ------
    InputError
        If the text is no header, or has no coordinates.
    """
    header = fits.Header()
    for card in parse_header_text(text, name=name).cards:
        if is_wcs_keyword(card.keyword):
            header[card.keyword] = card.value
    if "CTYPE1" not in header:
        raise InputError(f"{name} has no celestial coordinates.")
    return header.tostring(endcard=False, padding=False)


def _field(table: DetectorTable, row: int, shape: tuple[int, int]) -> ChebyshevModel | None:
    """Return how a calibration varies over the detector; None if it does not."""
    values = table.numbers(row, _FIELD)
    if values is None or not values.size or not np.isfinite(values).all():
        return None
    side = math.isqrt(values.size)
    if side * side != values.size:
        raise InputError(f"{values.size} coefficients are no square")
    return ChebyshevModel(values.reshape(side, side), shape)


def _error(table: DetectorTable, row: int, names: tuple[str, ...]) -> float:
    """Return the error of a calibration, zero where there is none."""
    error = table.number(row, *names)
    return error if math.isfinite(error) else 0.0
