"""Header keywords: the comment of every card skytool writes, and the cards it never copies."""

from __future__ import annotations

import math
import re
import warnings
from copy import copy
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from skytool.errors import SkytoolWarning
from skytool.models.reserved import as_reserved

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CardValue = str | bool | int | float

COMMENTS: Mapping[str, str] = {
    # what the file is
    "SKYFMT": "version of the layout of this file",
    "SKYTYPE": "what this file holds",
    "SKYSTAGE": "stage that wrote this file",
    "SKYPRINT": "fingerprint of inputs, settings and version",
    "CREATOR": "program that wrote this file",
    "EXTTYPE": "what this extension holds",
    "INHERIT": "the primary's cards hold here too",
    "UTYPE": "kind of uncertainty",
    "BUNIT": "unit of the pixels",
    # photometry
    "MAGZERO": "[mag] AB magnitude of one BUNIT",
    "MAGZERR": "[mag] standard error of MAGZERO",
    "FLUXMAG0": "[BUNIT] flux of AB magnitude 0",
    "PHOTSCAL": "factor that was applied to the pixels",
    # observation
    "TELESCOP": "telescope",
    "INSTRUME": "instrument",
    "DETECTOR": "detector",
    "FILTER": "filter",
    "OBJECT": "field observed",
    "VISIT": "visit",
    "EXPTIME": "[s] exposure time",
    "MJD-OBS": "[d] start of the exposure",
    "MJD-AVG": "[d] middle of the exposure",
    "DATE-OBS": "start of the exposure",
    "DATE-AVG": "middle of the exposure",
    "TIMESYS": "time scale of the dates",
    "AIRMASS": "airmass at the middle of the exposure",
    "BORE-RA": "[deg] right ascension of the boresight",
    "BORE-DEC": "[deg] declination of the boresight",
    "BORE-AZ": "[deg] azimuth of the boresight, east is 90",
    "BORE-ALT": "[deg] altitude of the boresight",
    "BORE-AIRMASS": "airmass at the boresight",
    "BORE-ROTANG": "[deg] rotator angle",
    "AVG-ERA": "[deg] Earth rotation angle, middle of exposure",
    "OBS-LONG": "[deg] longitude of the site, positive east",
    "OBS-LAT": "[deg] latitude of the site",
    "OBS-ELEV": "[m] elevation of the site",
    "AIRTEMP": "[C] air temperature",
    "AIRPRESS": "[Pa] air pressure",
    "HUMIDITY": "[%] relative humidity",
    "GAIN": "[electron/adu] gain",
    "RDNOISE": "[electron] read noise",
    "SATURATE": "[BUNIT] saturation level",
    # measures of the product
    "PSFFWHM": "[pixel] full width of the PSF at half maximum",
    "SKYRMS": "[BUNIT] rms of the sky",
    # place in the parent frame
    "LTV1": "[pixel] minus x of first pixel in the parent",
    "LTV2": "[pixel] minus y of first pixel in the parent",
    "WCSNAMEA": "pixels of the parent frame, 0-based",
    "CTYPE1A": "pixels of the parent frame",
    "CTYPE2A": "pixels of the parent frame",
    "CRPIX1A": "[pixel] first pixel",
    "CRPIX2A": "[pixel] first pixel",
    "CRVAL1A": "[pixel] its x in the parent frame, 0-based",
    "CRVAL2A": "[pixel] its y in the parent frame, 0-based",
    "CUNIT1A": "unit of CRVAL1A",
    "CUNIT2A": "unit of CRVAL2A",
    # celestial coordinates
    "WCSAXES": "number of coordinate axes",
    "CTYPE1": "kind of axis 1",
    "CTYPE2": "kind of axis 2",
    "CRPIX1": "[pixel] reference point, 1-based",
    "CRPIX2": "[pixel] reference point, 1-based",
    "CRVAL1": "[deg] coordinate 1 of the reference point",
    "CRVAL2": "[deg] coordinate 2 of the reference point",
    "CUNIT1": "unit of coordinate 1",
    "CUNIT2": "unit of coordinate 2",
    "CD1_1": "[deg/pixel] element of the linear matrix",
    "CD1_2": "[deg/pixel] element of the linear matrix",
    "CD2_1": "[deg/pixel] element of the linear matrix",
    "CD2_2": "[deg/pixel] element of the linear matrix",
    "LONPOLE": "[deg] native longitude of the celestial pole",
    "LATPOLE": "[deg] native latitude of the celestial pole",
    "RADESYS": "celestial reference system",
    "EQUINOX": "[yr] equinox of the coordinates",
    # models
    "SKYMODEL": "kind of model",
    "SKYMVER": "version of the layout of this model",
    "DOMAINX": "[pixel] width the model spans",
    "DOMAINY": "[pixel] height the model spans",
    "PSFKIND": "kind of PSF model",
    "BKGOP": "how the model was applied",
    "BKGSTAGE": "stage that applied the model",
    "SKYSCALE": "factor on the model when it was applied",
    "SKYSCERR": "standard error of SKYSCALE",
    "SKYFILE": "sky frame that was applied",
    "SKYSUM": "DATASUM of the sky frame",
    "SKYBINX": "[pixel] width of a cell",
    "SKYBINY": "[pixel] height of a cell",
    "KDIR": "image that was convolved",
    "KSUM": "sum of the kernel",
    "KCENX": "[pixel] x where it was evaluated, 0-based",
    "KCENY": "[pixel] y where it was evaluated, 0-based",
    "KTRUE": "true convolution, not correlation",
    "KMODE": "kind of kernel basis",
    "KORDER": "spatial order of the kernel",
    "ROLE": "whose PSF this is",
    "DCRNUM": "number of subfilters",
    "DCRLAMBD": "[nm] effective wavelength of the band",
    "DCRWIDTH": "[nm] width of the band",
    "DCRREF": "[nm] wavelength that stays in place",
    "DCRWAVE1": "[nm] lower limit of the subfilter",
    "DCRWAVE2": "[nm] upper limit of the subfilter",
}
"""Comment of every card skytool writes; a unit comes first, in brackets."""

# Words are compared as sets: a pattern with all of them would take longer to compile than to use.
_STRUCTURE = frozenset(
    {
        *("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "EXTEND", "PCOUNT", "GCOUNT", "GROUPS", "END"),
        *("TFIELDS", "THEAP", "BLOCKED", "LONGSTRN", "NEXTEND", "EXTNAME", "EXTVER", "EXTLEVEL"),
        *("EXTTYPE", "INHERIT", "UTYPE", "BUNIT", "BSCALE", "BZERO", "BLANK", "DATAMIN", "DATAMAX"),
        *("DATE", "CHECKSUM", "DATASUM", "ZHECKSUM", "ZDATASUM"),
        # tile compression
        *("ZIMAGE", "ZTABLE", "ZCMPTYPE", "ZBITPIX", "ZNAXIS", "ZTILELEN", "ZMASKCMP", "ZSIMPLE"),
        *("ZTENSION", "ZEXTEND", "ZBLOCKED", "ZPCOUNT", "ZGCOUNT", "ZQUANTIZ", "ZDITHER0"),
        *("ZSCALE", "ZZERO", "ZBLANK", "ZTHEAP", "FZALGOR", "FZTILE", "FZQVALUE", "FZQMETHD"),
        *("FZDTHRSD", "FZINT2F"),
        # skytool's own, and where LSST files keep their archive of objects
        *("SKYFMT", "SKYTYPE", "SKYSTAGE", "SKYPRINT", "CREATOR"),
        *("MAGZERO", "MAGZERR", "FLUXMAG0", "PHOTSCAL", "MASKSCHM"),
        *("AR_HDU", "AR_ID", "AR_NAME", "AR_NROW", "AR_ROW0", "AR_CATN", "PSF_ID", "SKYWCS_ID"),
        *("PHOTOCALIB_ID", "COADD_INPUTS_ID", "AP_CORR_MAP_ID", "VALID_POLYGON_ID"),
        "TRANSMISSION_CURVE_ID",
    }
)
_STRUCTURE_STEMS = frozenset(
    {
        *("NAXIS", "TTYPE", "TFORM", "TUNIT", "TNULL", "TSCAL", "TZERO", "TDISP", "TDIM", "TCOMM"),
        *("TBCOL", "ZNAXIS", "ZTILE", "ZNAME", "ZVAL", "ZFORM", "ZCTYP", "FZALG"),
        *("MSKN", "MSKM", "MSKD"),
    }
)
_WCS_WORDS = frozenset(
    {
        *("WCSAXES", "WCSNAME", "WCSDIM", "LONPOLE", "LATPOLE", "RADESYS", "RADECSYS", "EQUINOX"),
        *("EPOCH", "D2IMARR", "D2IMEXT", "AXISCORR", "NPOLEXT", "IDCSCALE", "MJDREF", "MJDREFI"),
        *("MJDREFF", "DVERR", "VELREF", "SPECSYS", "SSYSOBS", "SSYSSRC"),
    }
)
_WCS_STEMS = frozenset(  # with the number of an axis
    {
        *("CTYPE", "CRVAL", "CRPIX", "CDELT", "CUNIT", "CROTA", "CNAME", "CRDER", "CSYER"),
        *("CZPHS", "CPERI", "PROJP", "CPDIS", "CPERR", "CQDIS", "CQERR", "D2IMDIS", "D2IMERR"),
        *("DP", "DQ", "D2IM", "LTV", "ATV", "DTV"),
    }
)
_WCS_PAIRS = frozenset({"CD", "PC", "PV", "PS", "LTM", "ATM", "DTM", "WAT"})  # with two numbers
_SIP = re.compile(r"[AB]P?_(ORDER|DMAX|\d+_\d+)", re.ASCII)
_NUMBERED = re.compile(r"([A-Z0-9]*[A-Z])\d+(_\d+)?[A-Z]?", re.ASCII)
_BOILERPLATE = re.compile(
    r"FITS \(Flexible Image Transport System\) format|Astrophysics|and Astrophysics', volume 376|"
    r"volume 376, page 359|Contact the NASA Science Office|FITS Definition document"
)
_PLAIN_KEY = re.compile(r"[A-Z0-9_-]{1,8}", re.ASCII)
_LONG_KEY = re.compile(r"[\x21-\x3c\x3e-\x7e]+( [\x21-\x3c\x3e-\x7e]+)*")  # printable, without "="
_COMMENTARY = frozenset({"", "COMMENT", "HISTORY", "CONTINUE"})


def set_card(header: fits.Header, key: str, value: object, comment: str | None = None) -> None:
    """Set a card in the way all files of skytool have it.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header to change.
    key : str
        Keyword; longer than eight characters, or with others than letters, digits, ``-`` and ``_``,
        it becomes a HIERARCH card.
    value : str, bool, int, float, None, or a numpy scalar
        Value; None and what is not finite, which FITS cannot store, remove the card.
    comment : str, optional
        Comment; that of `COMMENTS` by default.

    Raises
    ------
    ValueError
        If no card can have this keyword, or a value of this kind.
    """
    card = _card(key, value, COMMENTS.get(key, "") if comment is None else comment)
    if card is None:
        header.remove(key, ignore_missing=True)
    elif key in header:
        header[card.keyword] = (card.value, card.comment)
    else:  # a card at the very end is three times as quick, but would follow history
        header.append(card, end=not header or header.cards[-1].keyword not in _COMMENTARY)


def _card(key: str, value: object, comment: str) -> fits.Card | None:
    """Return a card that fits into 80 characters or can go on in others; None for no value."""
    plain = _plain(value)
    if plain is None or (isinstance(plain, float) and not math.isfinite(plain)):
        return None
    short = _PLAIN_KEY.fullmatch(key) is not None
    if not short and _LONG_KEY.fullmatch(key) is None:
        msg = f"no header card can have the keyword {key!r}"
        raise ValueError(msg)
    name = key if short else f"HIERARCH {key}"
    # Long strings of plain keywords go on in CONTINUE cards, those of HIERARCH cards cannot; a
    # comment that does not fit is left out rather than cut in a word.
    room = 80 - (10 if short else len(name) + 3)
    size = 20
    if isinstance(plain, str):
        plain = _ascii(plain)
        size = max(_quoted(plain), 20 if short else 0)
        if size > room and not short:
            _warn(f"the value of {key} is cut to fit into a header card.")
            while _quoted(plain) > room:
                plain = plain[:-1]
    fits_behind = size + 3 + len(comment) <= room
    return fits.Card(name, plain, comment if comment and fits_behind else None)


def _warn(message: str) -> None:
    warnings.warn(message, SkytoolWarning, stacklevel=3)


def _quoted(text: str) -> int:
    """Return the length of a string in a card."""
    return len(text) + text.count("'") + 2


def _plain(value: object) -> CardValue | None:
    """Return a value as the Python type that a card can have."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    msg = f"a header card cannot hold {value!r}"
    raise ValueError(msg)


def _ascii(text: str) -> str:
    """Return text with what a header cannot hold replaced by question marks."""
    return "".join(char if " " <= char <= "~" else "?" for char in text).rstrip()


def is_wcs_keyword(key: str) -> bool:
    """Return True for a keyword of a world coordinate system, distortions included."""
    base = key.partition(".")[0]  # DP1.EXTVER is a part of DP1
    if base in _WCS_WORDS or (base[-1:].isalpha() and base[:-1] in _WCS_WORDS):
        return True
    match = _NUMBERED.fullmatch(base)
    if match is None:
        return _SIP.fullmatch(base) is not None
    return match[1] in (_WCS_STEMS if match[2] is None else _WCS_PAIRS)


def _is_observation(key: str) -> bool:
    """Return True for a keyword that says nothing of how and where pixels are stored."""
    if key in _STRUCTURE or key.startswith("MP_"):
        return False
    match = _NUMBERED.fullmatch(key)
    numbered = match is not None and match[2] is None and match[1] in _STRUCTURE_STEMS
    return not numbered and not is_wcs_keyword(key)


def observation_cards(header: fits.Header) -> fits.Header:
    """Return the cards that describe the observation, fit to be copied to a product.

    Left out are the cards of the file's structure, tables, compression, checksums, coordinates,
    mask planes and of skytool itself; empty cards and cards that are not valid FITS, the last with
    a log line; and of a keyword that is there twice, all but the first. Comments and history
    stay, the same line once. A card without a value, or whose value the FITS standard does not
    allow for its keyword (a date of another form, say), becomes a comment.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header of a primary or an image extension.
    """
    kept = fits.Header()
    seen: set[str] = set()
    comments: dict[tuple[str, str], None] = {}
    for card in header.cards:
        key = card.keyword
        if key in _COMMENTARY:
            if key in {"COMMENT", "HISTORY"}:
                comments[key, _ascii(str(card.value))] = None
            continue
        if key in seen or not _is_observation(key):
            continue
        seen.add(key)
        copied = _copied(card)
        if copied is not None:
            kept.append(copied, end=True)
    for key, text in comments:
        if text and not _BOILERPLATE.search(text):
            kept.append(fits.Card(key, text), end=True)
    return kept


def _copied(card: fits.Card) -> fits.Card | None:
    """Return a copy of a card of any file, or warn that there can be none."""
    try:
        key, value, comment = card.keyword, card.value, _ascii(card.comment)
        value = as_reserved(key, value, plain=_PLAIN_KEY.fullmatch(key) is not None)
        if isinstance(value, fits.card.Undefined):  # what it says stays, as words
            return _as_comment(card)
        copied = _card(key, value, comment)
    except (fits.VerifyError, ValueError, UnicodeError):
        copied = None
    if copied is None:
        _warn(f"the invalid header card {_ascii(card.keyword)} is not copied.")
    return copied


def _as_comment(card: fits.Card) -> fits.Card:
    """Return a card that says in words what a card without a valid value says."""
    value = "" if isinstance(card.value, fits.card.Undefined) else f" {card.value}"
    about = f" / {_ascii(card.comment)}" if card.comment else ""
    text = f"{card.keyword} ={value}{about}"
    return fits.Card("COMMENT", _ascii(text)[:72].rstrip())


def valid_cards(header: fits.Header) -> fits.Header:
    """Return the cards that can be written to a file as they are, and warn of the others."""
    kept = fits.Header()
    for card in header.cards:
        try:
            _ = card.value  # an error if there is none that makes sense
            valid = card.image.isascii() and card.image.isprintable()
        except (fits.VerifyError, ValueError, UnicodeError):
            valid = False
        if valid:
            kept.append(copy(card), end=True)
        else:
            _warn(f"the invalid header card {_ascii(card.keyword)} is left out.")
    return kept


def merged_headers(primary: fits.Header, extension: fits.Header) -> fits.Header:
    """Return the cards of an extension and, behind them, those of the primary it does not have.

    A keyword of the extension hides that of the primary, as the INHERIT convention has it;
    comments and history of both stay.
    """
    merged = extension.copy(strip=False)
    for card in primary.cards:
        try:
            missing = card.keyword in _COMMENTARY or card.keyword not in extension
        except (fits.VerifyError, ValueError):
            continue
        if missing and card.keyword not in {"SIMPLE", "EXTEND", "CONTINUE", ""}:
            merged.append(card, end=True)
    return merged


def common_cards(headers: Iterable[fits.Header]) -> fits.Header:
    """Return the cards that all headers have with the same value, in the order of the first.

    Comments and history are of one input only and are left out.
    """
    first, *others = list(headers)
    common = first.copy()
    for key in dict.fromkeys(first):
        same = key not in _COMMENTARY and all(
            key in other and other[key] == first[key] for other in others
        )
        if not same:
            common.remove(key, ignore_missing=True, remove_all=True)
    return common
