"""What the FITS standard wants of the values of some keywords."""

from __future__ import annotations

import re

from astropy.io import fits

_TEXTS = frozenset({"OBJECT", "INSTRUME", "TELESCOP", "OBSERVER", "ORIGIN", "AUTHOR", "REFERENC"})
_NUMBERS = frozenset(
    {
        *("MJD-OBS", "MJD-AVG", "OBSGEO-X", "OBSGEO-Y", "OBSGEO-Z", "RESTFRQ", "RESTFREQ"),
        *("RESTWAV", "VELOSYS", "ZSOURCE", "VELANGL"),
    }
)
_DATE = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d*)?)?|"
    r"(0[1-9]|[12]\d|3[01])/(0[1-9]|1[0-2])/\d\d",
    re.ASCII,
)


def as_reserved(key: str, value: object, *, plain: bool = True) -> object:
    """Return a value in the form that the FITS standard wants for a keyword.

    Parameters
    ----------
    key : str
        The keyword.
    value : object
        Value of a card.
    plain : bool
        False for keywords of HIERARCH cards, which the standard reserves nothing for.

    Returns
    -------
    object
        The value, as text or number where that is wanted; `astropy.io.fits.card.UNDEFINED` if it
        cannot be in that form.

    Notes
    -----
    FITS standard 4.0, sections 4.4.2 and 8: names are text, times in days and positions of the
    observatory numbers, and all that begins with DATE is ``yyyy-mm-dd``, perhaps with
    ``Thh:mm:ss[.sss]``, or ``dd/mm/yy`` in the twentieth century.
    """
    if not plain or isinstance(value, fits.card.Undefined):
        return value
    if key in _TEXTS and not isinstance(value, str):
        return str(value)
    if key in _NUMBERS and (isinstance(value, bool) or not isinstance(value, (int, float))):
        try:
            return float(str(value))
        except ValueError:
            return fits.card.UNDEFINED
    if key.startswith("DATE") and not (isinstance(value, str) and _DATE.fullmatch(value.strip())):
        return fits.card.UNDEFINED
    return value
