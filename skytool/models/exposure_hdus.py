"""Exposures as FITS extensions: the layout of all files that hold image, mask and variance."""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from skytool import __version__
from skytool.errors import InputError, SkytoolWarning
from skytool.models.exposure import Exposure, Origin
from skytool.models.keywords import observation_cards, set_card, valid_cards
from skytool.models.mask import Mask
from skytool.models.pixels import (
    agreeing_planes,
    damage_errors,
    extension_name,
    flag_unexplained,
    image_array,
    integer_array,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeAlias

    from astropy.wcs import WCS

    from skytool.models.photometric_calibration import PhotometricCalibration
    from skytool.models.psf.kinds import Psf

    Hdu: TypeAlias = "fits.ImageHDU | fits.BinTableHDU"

FORMAT = 1
"""Version of the layout: which extensions there are and what they mean."""

PLANE_NAMES = ("IMAGE", "MASK", "VARIANCE")
"""EXTNAME of the extensions 1, 2 and 3."""

_PSF_NAMES = frozenset(
    {"PSF", "PSFCOEFF", "PSFGRID", "PSFCCDS", "CCDPSF", "CCDPSFCOEFF", "CCDPSFGRID"}
)
_WCS_TABLES = frozenset({"WCSDVARR", "D2IMARR"})
_WCS_TABLE_CARDS = re.compile(r"(CPDIS|CPERR|D2IMDIS|D2IMERR)\d+|(DP|D2IM)\d+(\..+)?|AXISCORR")
_MAGNITUDE = 0.4 * math.log(10.0)  # change of the logarithm of a flux by one magnitude
_WORD = re.compile(r"[A-Za-z]+")


def to_hdus(exposure: Exposure) -> list[Hdu]:
    """Return the extensions of an exposure: IMAGE, MASK, VARIANCE, PSF, and what else it carries.

    A pixel has a value in all planes or in none: where the image is not finite, the mask says
    NO_DATA, or the variance is not a positive finite number, the file has NaN, NO_DATA and
    infinity.

    Parameters
    ----------
    exposure : Exposure
        What to store; its arrays are not changed.

    Raises
    ------
    IncompatibleError
        If there are values but nowhere a variance.
    """
    image, mask, variance = agreeing_planes(
        exposure.image, exposure.mask, exposure.variance, name=exposure.name
    )
    place, tables = _place_cards(exposure.wcs, exposure.origin)
    squared = squared_unit(exposure.unit)
    hdus: list[Hdu] = [
        _plane(image, "IMAGE", exposure.unit, place),
        _plane(mask.array, "MASK", "", place, mask.cards()),
        _plane(variance, "VARIANCE", squared, place, [("UTYPE", "VarianceUncertainty", None)]),
    ]
    if exposure.psf is not None:
        hdus += exposure.psf.to_hdus()
    hdus += tables
    taken = {*PLANE_NAMES, *_PSF_NAMES, *(hdu.name for hdu in tables)}
    hdus += [hdu for hdu in exposure.extensions if hdu.name not in taken]
    return hdus


def primary_header(
    exposure: Exposure,
    *,
    kind: str,
    stage: str,
    history: str | Iterable[str] = (),
    cards: Mapping[str, object] | None = None,
) -> fits.Header:
    """Return the cards of the primary: what was observed, and what this file is.

    Parameters
    ----------
    exposure : Exposure
        Its observation cards and calibration are stored.
    kind : str
        SKYTYPE: EXPOSURE, WARP, SKYFRAME, COADD, DIFFERENCE, SCORE, DCRCOADD.
    stage : str
        SKYSTAGE: who writes the file.
    history : str or iterable of str
        Lines to add behind the history of the exposure.
    cards : mapping of str to value, or to value and comment
        Further cards; they replace observation cards of the same keyword.
    """
    header = fits.Header()
    set_card(header, "SKYFMT", FORMAT)
    set_card(header, "SKYTYPE", kind)
    set_card(header, "SKYSTAGE", stage)
    set_card(header, "CREATOR", f"skytool {__version__}")
    header.extend(observation_cards(exposure.header), update=True)
    calibration = exposure.calibration
    if calibration is not None:
        set_card(header, "MAGZERO", calibration.zero_point)
        set_card(header, "FLUXMAG0", 10.0 ** (0.4 * calibration.zero_point))
        if calibration.scale_error > 0.0:
            relative = calibration.scale_error / calibration.scale
            set_card(header, "MAGZERR", relative / _MAGNITUDE)
        if calibration.field is not None:
            warnings.warn(
                f"{exposure.name}: its calibration varies over the image, the file keeps one zero "
                "point.",
                SkytoolWarning,
                stacklevel=2,
            )
    for key, value in (cards or {}).items():
        if isinstance(value, tuple):
            set_card(header, key, *value)
        else:
            set_card(header, key, value)
    for line in [history] if isinstance(history, str) else history:
        header.add_history(line)
    return header


def from_hdus(hdus: fits.HDUList, *, name: str, planes_only: bool = False) -> Exposure:
    """Return the exposure of an open file that `to_hdus` and `primary_header` made.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The file.
    name : str
        What messages call it.
    planes_only : bool
        Leave out the coordinates and all extensions but planes and PSF, half of the time.

    Returns
    -------
    Exposure
        With native arrays; nothing refers to the file. Image, mask and variance agree on which
        pixels have no value, as `to_hdus` says; NaN without any flag is also UNMASKEDNAN.

    Raises
    ------
    InputError
        If the file is of another kind or newer, or lacks a plane.
    IncompatibleError
        If its WCS is not usable.
    """
    check_format(hdus[0].header, name=name)
    image_hdu, mask_hdu, variance_hdu = (_named(hdus, plane, name) for plane in PLANE_NAMES)
    image = image_array(image_hdu, name=extension_name(name, "IMAGE"))
    flags = integer_array(mask_hdu, name=extension_name(name, "MASK"))
    variance = image_array(variance_hdu, name=extension_name(name, "VARIANCE"))
    if not image.shape == flags.shape == variance.shape:
        shapes = ", ".join(" x ".join(map(str, a.shape)) for a in (image, flags, variance))
        raise InputError(f"{name}: IMAGE, MASK and VARIANCE differ in shape: {shapes}.")
    mask = Mask.from_array(flags, mask_hdu.header, name=extension_name(name, "MASK"))
    image, mask, variance = agreeing_planes(
        image, flag_unexplained(image, mask), variance, name=name
    )
    header = image_hdu.header
    unit = str(header.get("BUNIT", "")).strip()
    wcs = None if planes_only else _wcs(header, hdus, name)
    return Exposure(
        image=image,
        mask=mask,
        variance=variance,
        wcs=wcs,
        unit=unit,
        calibration=_calibration(hdus[0].header, unit, name),
        psf=_psf(hdus, name),
        header=observation_cards(hdus[0].header),
        origin=_origin(header),
        name=name,
        extensions=() if planes_only else tuple(_others(hdus, wcs, name)),
    )


def check_format(header: fits.Header, *, name: str) -> str:
    """Return the SKYTYPE of a file, after a check that this program can read it.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header of the primary.
    name : str
        What messages call the file.

    Raises
    ------
    InputError
        If the file has no valid SKYFMT or SKYTYPE, or is of a newer layout.
    """
    version = header.get("SKYFMT")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"{name}: SKYFMT is {version!r}, not the version of a layout.")
    if version > FORMAT:
        raise InputError(
            f"{name} was written by a newer skytool: its layout is {version}, this program reads "
            f"up to {FORMAT}.",
            hint="Update skytool.",
        )
    kind = header.get("SKYTYPE")
    if not isinstance(kind, str) or not kind.strip():
        raise InputError(f"{name} has no SKYTYPE card.")
    return kind.strip()


def squared_unit(unit: str) -> str:
    """Return the unit of the variance of pixels in ``unit``: ``nJy2`` for ``nJy``.

    The words of products and quotients are squared one by one, as ``MJy2/sr2``, because programs
    do not agree on powers of expressions.
    """
    parts = re.split(r"\s*([./*])\s*|\s+", unit.strip())
    words, signs = parts[::2], [sign or " " for sign in parts[1::2]]
    if all(_WORD.fullmatch(word) for word in words):
        return "".join(f"{word}2{sign}" for word, sign in zip(words, [*signs, ""], strict=True))
    if not unit.strip():
        return ""
    from astropy import units

    try:
        return str((units.Unit(unit) ** 2).to_string("fits"))
    except ValueError:  # no unit that astropy knows
        return f"({unit})**2"


def detached(hdu: Hdu, *, name: str) -> Hdu:
    """Return a copy of an extension that does not need its file.

    Parameters
    ----------
    hdu : HDU
        Extension of an open file.
    name : str
        What messages call the file.

    Returns
    -------
    HDU
        Its pixels and rows are in memory; scaled integers are stored as the numbers they mean.

    Raises
    ------
    InputError
        If the extension is damaged.
    """
    with damage_errors(f"{name}: extension {hdu.name}"):
        return _detached(hdu)


def _detached(hdu: Hdu) -> Hdu:
    data = hdu.data
    header = valid_cards(hdu.header)
    for key in ("CHECKSUM", "DATASUM"):
        header.remove(key, ignore_missing=True)
    if isinstance(hdu, fits.TableHDU):
        return fits.TableHDU(data.copy(), header)
    if not hdu.is_image:
        table = fits.BinTableHDU(header=header)
        if data is not None:
            table.data = data  # data given to the constructor would import astropy.table
        return table
    for key in ("BSCALE", "BZERO", "BLANK"):
        header.remove(key, ignore_missing=True)
    native = None if data is None else np.array(data, dtype=data.dtype.newbyteorder("="))
    return fits.ImageHDU(native, header)


def _plane(
    array: np.ndarray,
    name: str,
    unit: str,
    place: fits.Header,
    cards: Iterable[tuple[str, str | int, str | None]] = (),
) -> fits.ImageHDU:
    """Return one plane with its cards: unit, place, and others."""
    header = fits.Header()
    set_card(header, "BUNIT", unit or None)
    set_card(header, "EXTTYPE", name)
    header["INHERIT"] = (True, "the primary's cards hold here too")
    for key, value, comment in cards:
        set_card(header, key.removeprefix("HIERARCH "), value, comment)
    header.extend(place)
    return fits.ImageHDU(array, header, name=name)


def _place_cards(wcs: WCS | None, origin: Origin) -> tuple[fits.Header, list[fits.ImageHDU]]:
    """Return the cards of the coordinates, and the tables that distortions need."""
    from skytool.models.sky.celestial import celestial_header, has_tables
    from skytool.models.sky.geometry import origin_cards

    header, tables = fits.Header(), []
    if wcs is not None and not has_tables(wcs):
        header = celestial_header(wcs)
    elif wcs is not None:
        plain = wcs.deepcopy()
        plain.cpdis1 = plain.cpdis2 = plain.det2im1 = plain.det2im2 = None
        header = celestial_header(plain)
        primary, *tables = wcs.to_fits(relax=True)
        for card in primary.header.cards:
            if _WCS_TABLE_CARDS.fullmatch(card.keyword):
                header.append(card)
    header.extend(origin_cards(origin))
    return header, tables


def _named(hdus: fits.HDUList, plane: str, name: str) -> fits.ImageHDU:
    with damage_errors(name):
        there = plane in hdus
    if not there:
        kind = str(hdus[0].header["SKYTYPE"]).strip()
        raise InputError(
            f"{name} has no extension {plane}.", hint=f"It holds a {kind}, see `skytool info`."
        )
    return hdus[plane]


def _wcs(header: fits.Header, hdus: fits.HDUList, name: str) -> WCS | None:
    if "CTYPE1" not in header:
        return None
    from skytool.models.sky.celestial import celestial_wcs

    return celestial_wcs(header, name=name, hdus=hdus)


def _origin(header: fits.Header) -> Origin:
    from skytool.models.sky.geometry import origin_from_header

    return origin_from_header(header)


def _calibration(header: fits.Header, unit: str, name: str) -> PhotometricCalibration | None:
    from skytool.models.photometry import calibration_from_header

    calibration = calibration_from_header(header, unit=unit, name=name)
    error = header.get("MAGZERR")
    if calibration is None or not isinstance(error, float):
        return calibration
    return replace(calibration, scale_error=_MAGNITUDE * calibration.scale * abs(error))


def _psf(hdus: fits.HDUList, name: str) -> Psf | None:
    if "PSF" not in hdus:
        return None
    from skytool.models.psf.kinds import psf_from_hdus

    return psf_from_hdus(hdus, name=name)


def _others(hdus: fits.HDUList, wcs: WCS | None, name: str) -> list[Hdu]:
    """Return the extensions that are neither plane nor PSF nor part of the coordinates."""
    from skytool.models.sky.celestial import has_tables

    known = {*PLANE_NAMES, *_PSF_NAMES}
    if wcs is not None and has_tables(wcs):
        known |= _WCS_TABLES
    return [detached(hdu, name=name) for hdu in hdus[1:] if hdu.name not in known]
