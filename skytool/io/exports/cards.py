"""Header cards of exports: what other programs, and our readers of their layouts, understand."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from astropy.io import fits

from skytool import __version__
from skytool.errors import SkytoolWarning
from skytool.io.units import is_per_second
from skytool.models.keywords import set_card
from skytool.models.photometry import calibration_from_header
from skytool.models.sky.celestial import celestial_header

if TYPE_CHECKING:
    from skytool.models.exposure import Exposure
    from skytool.models.photometry import PhotometricCalibration

_SAME = 0.005  # relative difference of two calibrations that is rounding
_CALIBRATION = (
    *("MAGZPT", "MAGZP", "MAGZPUNC", "MAGZRR", "PHOTZP", "PHOTZPER", "ZPAVE", "MAG_ZP", "PHOTZPT"),
    *("ZP", "PHOTMJSR", "PHOTFLAM", "FLXSCALE", "MAGZEROP"),
)


def observation_header(exposure: Exposure, notes: fits.Header) -> fits.Header:
    """Return the cards of the observation and its calibration, and those of the conversion.

    Cards of the camera that contradict the calibration of the exposure, because its pixels were
    scaled, are left out: a reader that does not know better would believe them.
    """
    header = exposure.header.copy()
    calibration = exposure.calibration
    if calibration is not None:
        if not _agree(header, exposure, calibration):
            for key in _CALIBRATION:
                header.remove(key, ignore_missing=True)
        flux = calibration.flux_mag0
        set_card(header, "FLUXMAG0", flux)
        if calibration.scale_error > 0.0:
            error = flux * calibration.scale_error / calibration.scale
            set_card(header, "FLUXMAG0ERR", error, "its standard error")
        if not is_per_second(exposure.unit):  # MAGZERO of an image per second has two meanings
            set_card(header, "MAGZERO", calibration.zero_point)
    set_card(header, "CREATOR", f"skytool {__version__}")
    header.extend(notes)
    return header


def place_header(exposure: Exposure) -> fits.Header:
    """Return the cards of one plane: its coordinates, and its place in the parent frame."""
    header = fits.Header() if exposure.wcs is None else celestial_header(exposure.wcs)
    set_card(header, "LTV1", -exposure.origin.x)
    set_card(header, "LTV2", -exposure.origin.y)
    return header


def image_header(exposure: Exposure) -> fits.Header:
    """Return the cards of a plane in the unit of the image."""
    header = place_header(exposure)
    set_card(header, "BUNIT", exposure.unit or None)
    return header


def _agree(header: fits.Header, exposure: Exposure, ours: PhotometricCalibration) -> bool:
    """Return whether the cards of the camera give the calibration of the exposure, or none."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", SkytoolWarning)
        theirs = calibration_from_header(header, unit=exposure.unit, name=exposure.name)
    return theirs is None or (not said and abs(theirs.scale / ours.scale - 1.0) < _SAME)
