"""The photometric calibration that the header of an image describes."""

from __future__ import annotations

import math
import re
import warnings
from typing import TYPE_CHECKING, NamedTuple

from skytool.errors import IncompatibleError, SkytoolWarning
from skytool.models.photometric_calibration import (
    NANOJANSKY_ZERO_POINT,
    PhotometricCalibration,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astropy.io import fits

__all__ = ["NANOJANSKY_ZERO_POINT", "PhotometricCalibration", "calibration_from_header"]

_EXPOSURE_KEYS = ("EXPTIME", "EXPOSURE", "XPOSURE", "EXP_TIME", "TEXPTIME", "ITIME")
_TOTAL, _RATE, _UNIT, _FACTOR, _FLUX0, _NJY = "total", "rate", "unit", "scale", "flux0", "njy"
_MEANINGS = (_UNIT, _TOTAL, _RATE, _FACTOR, _FLUX0, _NJY)

# What each zero point is the magnitude of, unless its comment says otherwise; in the order in
# which they are believed.
_ZERO_POINTS = {
    "MAGZERO": _TOTAL,
    "MAGZPT": _RATE,
    "MAGZP": _UNIT,
    "PHOTZP": _UNIT,
    "ZPAVE": _UNIT,
    "MAG_ZP": _UNIT,
    "PHOTZPT": _UNIT,
    "ZP": _UNIT,
}
_ERRORS = {"MAGZPT": "MAGZRR", "MAGZP": "MAGZPUNC", "PHOTZP": "PHOTZPER", "FLUXMAG0": "FLUXMAG0ERR"}
_PER_SECOND = re.compile(r"(/\s*|\bper\s+|\b1\s*)s(ec|econd)?\b", re.IGNORECASE)
_RATE_UNIT = re.compile(
    r"(/\s*s(ec|ecs|econd|econds)?|\bs\s*(\*\*|\^)?\s*\(?-1\)?)$", re.IGNORECASE
)
_NANOJANSKY = {
    "nJy": 1.0,
    "uJy": 1e3,
    "mJy": 1e6,
    "Jy": 1e9,
    "kJy": 1e12,
    "MJy": 1e15,
    "nmgy": 10.0 ** (0.4 * (NANOJANSKY_ZERO_POINT - 22.5)),
    "mgy": 10.0 ** (0.4 * NANOJANSKY_ZERO_POINT),
}
_SPELLINGS = {
    "njy": "nJy",
    "ujy": "uJy",
    "jy": "Jy",
    "nanomaggy": "nmgy",
    "nanomaggies": "nmgy",
    "nmgy": "nmgy",
    "maggy": "mgy",
    "maggies": "mgy",
    "mgy": "mgy",
}
_LIGHT_SPEED = 2.99792458e18  # [Angstrom / s]
_DEGREE = math.pi / 180.0
_DEGREES = {
    **dict.fromkeys(("", "deg", "degree", "degrees"), 1.0),
    "arcmin": 1 / 60,
    "arcsec": 1 / 3600,
    "mas": 1 / 3.6e6,
    "rad": 1 / _DEGREE,
}
_AGREEMENT = 0.02  # [mag] more than the rounding of a header, less than any mix-up
_SENSIBLE = (-10.0, 60.0)  # [mag] of one unit; SCAMP's relative scales are counted from zero


class _Found(NamedTuple):
    """A calibration that some cards give."""

    source: str
    scale: float  # nJy per unit
    error: float  # the same


class _UnusableError(Exception):
    """A card that cannot be used, with the reason."""


def calibration_from_header(
    header: fits.Header, *, unit: str, name: str, flux_keyword: str | None = None
) -> PhotometricCalibration | None:
    """Return what one unit of an image is in nanojansky.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Cards of the image and, behind them, of the primary.
    unit : str
        Unit of the pixels.
    name : str
        What messages call the image.
    flux_keyword : str, optional
        Keyword to use instead of all rules below. A meaning may follow, as ``KEY=rate``: ``unit``,
        ``total`` and ``rate`` for the AB magnitude of one unit, of one count in all and of one
        count per second; ``scale`` for a factor that brings pixels to the zero point MAGZEROP (0
        without it); ``flux0`` for the flux of magnitude zero; ``njy`` for nanojansky per unit.
        Without a meaning, a keyword with a rule below follows it; of others, those whose name holds
        MAG, ZP or ZERO are magnitudes of one unit, the rest factors.

    Returns
    -------
    PhotometricCalibration or None
        None if the header says nothing.

    Raises
    ------
    IncompatibleError
        If ``flux_keyword`` is missing in the header, or is no possible value.

    Warns
    -----
    SkytoolWarning
        If cards contradict each other by more than 0.02 mag, are impossible, or had to be
        interpreted.

    Notes
    -----
    The first of these that is there decides:

    1. the unit, if it is one of flux: janskys, nanomaggies (22.5 mag), or MJy/sr times the area of a
       pixel from PIXAR_SR, PIXAR_A2 or the WCS;
    2. in files of skytool, MAGZERO, the magnitude of one unit; cards of the camera are not asked;
    3. FLUXMAG0, the flux of magnitude zero;
    4. MAGZERO, magnitude of one count in all: divided by the exposure time where the unit is per
       second; MAGZPT, that of one count per second: multiplied by the exposure time where the unit
       is not per second; MAGZP, PHOTZP, ZPAVE, MAG_ZP, PHOTZPT and ZP, magnitudes of one unit. A
       comment that speaks of seconds makes any of them one of a count per second;
    5. PHOTMJSR, MJy/sr of one count per second;
    6. PHOTFLAM and PHOTPLAM, flux per Angstrom of one count per second and pivot wavelength;
    7. FLXSCALE, a factor that is only relative: the zero point is MAGZEROP, or 0.
    """
    if flux_keyword:
        found = _from_keyword(header, unit, name, flux_keyword)
        return PhotometricCalibration(found.scale, found.error)
    results: list[_Found] = []
    relative = header.get("FLXSCALE")
    rules = [_from_unit, _from_flux0, _from_zero_points, _from_photmjsr, _from_photflam]
    if "SKYFMT" in header:
        # cards of the camera, kept as history, are no longer those of the pixels
        rules, relative = [_from_unit, _from_own], None
    for rule in rules:
        try:
            results += rule(header, unit, name)
        except _UnusableError as problem:
            _warn(f"{name}: {problem}")
    if not results and relative is not None:
        try:
            results = [_from_factor(header, "FLXSCALE")]
        except _UnusableError as problem:
            _warn(f"{name}: {problem}")
        else:
            if not header.get("MAGZEROP"):
                _warn(
                    f"{name}: FLXSCALE is a relative scale: fluxes are right among the images, their "
                    "zero point is nominal."
                )
    if not results:
        return None
    chosen = results[0]
    _compare(results, relative, name)
    return PhotometricCalibration(chosen.scale, chosen.error)


def _compare(results: list[_Found], relative: object, name: str) -> None:
    """Warn if the cards of a header contradict each other."""
    chosen = results[0]
    others = [r for r in results[1:] if abs(_magnitude(r) - _magnitude(chosen)) > _AGREEMENT]
    if others:
        listed = ", ".join(f"{r.source} {_magnitude(r):.3f}" for r in (chosen, *others))
        _warn(
            f"{name}: the magnitude of one unit is {listed}; {chosen.source} is used, "
            "--flux-keyword chooses another."
        )
    if chosen.source != "FLXSCALE" and relative not in {None, 1}:
        _warn(
            f"{name}: FLXSCALE = {relative} is not used beside {chosen.source}; "
            "--flux-keyword FLXSCALE uses it alone."
        )


def _magnitude(found: _Found) -> float:
    return NANOJANSKY_ZERO_POINT - 2.5 * math.log10(found.scale)


def _from_keyword(header: fits.Header, unit: str, name: str, keyword: str) -> _Found:
    """Return the calibration by the keyword that the user chose."""
    key, _, meaning = keyword.partition("=")
    key, meaning = key.strip().upper(), meaning.strip().lower()
    if meaning and meaning not in _MEANINGS:
        raise IncompatibleError(
            f"{keyword!r}: a photometric keyword cannot mean {meaning!r}.",
            hint=f"It can mean {', '.join(_MEANINGS)}.",
        )
    if key not in header:
        raise IncompatibleError(f"{name} has no keyword {key}.", hint="Change --flux-keyword.")
    try:
        if not meaning and key in {"PHOTMJSR", "PHOTFLAM"}:
            rule = _from_photmjsr if key == "PHOTMJSR" else _from_photflam
            return next(rule(header, unit, name))
        if not meaning:
            own = key == "MAGZERO" and "SKYFMT" in header
            meaning = _UNIT if own else _ZERO_POINTS.get(key) or _guessed_meaning(key)
        if meaning == _FACTOR:
            return _from_factor(header, key)
        if meaning == _FLUX0:
            return _Found(key, _nanojansky(0.0) / _positive(header, key), 0.0)
        if meaning == _NJY:
            return _Found(key, _positive(header, key), 0.0)
        return _zero_point(header, unit, name, key, meaning)
    except _UnusableError as problem:
        raise IncompatibleError(f"{name}: {problem}") from problem
    except StopIteration:
        raise IncompatibleError(f"{name}: {key} cannot be used.") from None


def _guessed_meaning(key: str) -> str:
    """Return the meaning of a keyword without a rule."""
    if key == "FLUXMAG0":
        return _FLUX0
    return _UNIT if re.search("MAG|ZP|ZERO", key) else _FACTOR


def _from_unit(header: fits.Header, unit: str, name: str) -> Iterator[_Found]:
    """Yield the calibration of an image in units of flux."""
    del name
    text = re.sub(r"\s*\bsr\s*(\*\*|\^)?\s*\(?-1\)?$", "/sr", unit.strip())
    flux, _, area = (part.strip() for part in text.partition("/"))
    scale = _NANOJANSKY.get(flux) or _NANOJANSKY.get(_SPELLINGS.get(flux.lower(), ""))
    if scale is None or area.lower() not in {"", "pix", "pixel", "sr"}:
        return
    if area.lower() == "sr":
        scale *= _pixel_steradian(header)
    yield _Found(f"the unit {unit}", scale, 0.0)


def _pixel_steradian(header: fits.Header) -> float:
    """Return the area of a pixel [sr]."""
    if "PIXAR_SR" in header:
        return _positive(header, "PIXAR_SR")
    if "PIXAR_A2" in header:
        return _positive(header, "PIXAR_A2") * (_DEGREE / 3600.0) ** 2
    cd = [header.get(f"CD{i}_{j}") for i in (1, 2) for j in (1, 2)]
    if any(element is not None for element in cd):
        a, b, c, d = (float(element or 0.0) for element in cd)
    else:
        a, b, c, d = (
            float(header.get(f"PC{i}_{j}", float(i == j))) * float(header.get(f"CDELT{i}", 0.0))
            for i in (1, 2)
            for j in (1, 2)
        )
    area = abs(a * d - b * c) * _DEGREE**2
    for key in ("CUNIT1", "CUNIT2"):
        unit = str(header.get(key, "")).strip().lower()
        if unit not in _DEGREES:
            raise _UnusableError(
                f"{key} = {unit!r} is no unit of an angle, and there is no PIXAR_SR."
            )
        area *= _DEGREES[unit]
    if not area > 0.0:
        raise _UnusableError(
            "the unit is per steradian, and no PIXAR_SR gives the area of a pixel."
        )
    return area


def _from_own(header: fits.Header, unit: str, name: str) -> Iterator[_Found]:
    """Yield the calibration of a file of skytool."""
    if "SKYFMT" in header and "MAGZERO" in header:
        yield _zero_point(header, unit, name, "MAGZERO", _UNIT)


def _from_flux0(header: fits.Header, unit: str, name: str) -> Iterator[_Found]:
    """Yield the calibration from the flux of magnitude zero."""
    del unit, name
    if "FLUXMAG0" in header:
        flux = _positive(header, "FLUXMAG0")
        scale = _nanojansky(0.0) / flux
        yield _Found("FLUXMAG0", scale, scale * _error(header, "FLUXMAG0") / flux)


def _from_zero_points(header: fits.Header, unit: str, name: str) -> Iterator[_Found]:
    """Yield the calibrations from magnitudes of one unit or count."""
    for key, meaning in _ZERO_POINTS.items():
        if key not in header:
            continue
        is_rate = _PER_SECOND.search(header.comments[key]) is not None
        try:
            yield _zero_point(header, unit, name, key, _RATE if is_rate else meaning)
        except _UnusableError as problem:
            _warn(f"{name}: {problem}")


def _zero_point(header: fits.Header, unit: str, name: str, key: str, meaning: str) -> _Found:
    """Return the calibration from a magnitude of one unit, count, or count per second."""
    magnitude = _number(header, key)
    is_rate = _RATE_UNIT.search(unit.strip()) is not None
    if meaning == _TOTAL and is_rate:
        magnitude -= 2.5 * math.log10(_exposure_time(header, key))
        _warn(
            f"{name}: the image is per second, and {key} is taken to be that of one count in all; "
            f"if it is that of one unit, give --flux-keyword {key}=unit."
        )
    elif meaning == _RATE and not is_rate:
        magnitude += 2.5 * math.log10(_exposure_time(header, key))
    low, high = _SENSIBLE
    if not low <= magnitude <= high:
        raise _UnusableError(f"{key} gives one unit the impossible magnitude {magnitude:g}.")
    scale = _nanojansky(magnitude)
    return _Found(key, scale, 0.4 * math.log(10.0) * scale * _error(header, key))


def _from_photmjsr(header: fits.Header, unit: str, name: str) -> Iterator[_Found]:
    """Yield the calibration from the surface brightness of one count per second."""
    del name
    if "PHOTMJSR" in header and not list(_from_unit(header, unit, "")):
        scale = _positive(header, "PHOTMJSR") * _NANOJANSKY["MJy"] * _pixel_steradian(header)
        yield _Found("PHOTMJSR", scale / _seconds_per_unit(header, unit, "PHOTMJSR"), 0.0)


def _from_photflam(header: fits.Header, unit: str, name: str) -> Iterator[_Found]:
    """Yield the calibration from the flux per wavelength of one count per second."""
    del name
    if not ("PHOTFLAM" in header and "PHOTPLAM" in header) or list(_from_unit(header, unit, "")):
        return
    if not header["PHOTFLAM"]:
        return  # zero stands for none in calibrated data of some instruments
    pivot = _positive(header, "PHOTPLAM")
    per_frequency = _positive(header, "PHOTFLAM") * pivot**2 / _LIGHT_SPEED
    scale = per_frequency * 1e32 / _seconds_per_unit(header, unit, "PHOTFLAM")
    yield _Found("PHOTFLAM", scale, 0.0)


def _from_factor(header: fits.Header, key: str) -> _Found:
    """Return the calibration from a factor that brings pixels to a zero point."""
    zero_point = _number(header, "MAGZEROP") if "MAGZEROP" in header else 0.0
    return _Found(key, _positive(header, key) * _nanojansky(zero_point), 0.0)


def _seconds_per_unit(header: fits.Header, unit: str, key: str) -> float:
    """Return one for an image per second, the exposure time for one of counts."""
    return 1.0 if _RATE_UNIT.search(unit.strip()) else _exposure_time(header, key)


def _exposure_time(header: fits.Header, key: str) -> float:
    """Return the exposure time [s]."""
    for exposure_key in _EXPOSURE_KEYS:
        if exposure_key in header:
            return _positive(header, exposure_key)
    raise _UnusableError(f"{key} cannot be used without the exposure time EXPTIME.")


def _error(header: fits.Header, key: str) -> float:
    """Return the standard error of a keyword, zero if there is none."""
    try:
        value = _number(header, _ERRORS[key])
    except (KeyError, _UnusableError):
        return 0.0
    return max(value, 0.0)


def _positive(header: fits.Header, key: str) -> float:
    value = _number(header, key)
    if not value > 0.0:
        raise _UnusableError(f"{key} = {value:g} is not positive.")
    return value


def _number(header: fits.Header, key: str) -> float:
    """Return the value of a card as a finite number."""
    try:
        value = float(header[key])
    except (TypeError, ValueError):
        raise _UnusableError(f"{key} = {header[key]!r} is no number.") from None
    if isinstance(header[key], bool) or not math.isfinite(value):
        raise _UnusableError(f"{key} = {header[key]!r} is no number.")
    return value


def _nanojansky(magnitude: float) -> float:
    """Return the flux of an AB magnitude [nJy]."""
    return 10.0 ** (0.4 * (NANOJANSKY_ZERO_POINT - magnitude))


def _warn(message: str) -> None:
    warnings.warn(message, SkytoolWarning, stacklevel=4)
