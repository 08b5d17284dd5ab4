"""Units of pixels: what other programs write in BUNIT, as FITS unit strings."""

from __future__ import annotations

import re

_NAMES = {
    "electron": "electron e e- el elec electrons photoelectron photoelectrons",
    "adu": "adu adus dn counts count cts ct du digital_number",
    "nJy": "njy nanojansky nanojanskys",
    "uJy": "ujy microjansky microjanskys",
    "mJy": "mjy millijansky millijanskys",
    "Jy": "jy jansky janskys",
    "MJy": "megajansky megajanskys",
    "nmgy": "nmgy nanomaggy nanomaggies nanomaggys",
    "s": "s sec second seconds",
    "sr": "sr steradian steradians ster",
    "pixel": "pix pixel pixels",
    "": "unknown none unitless dimensionless",
}
_ALIASES = {alias: unit for unit, aliases in _NAMES.items() for alias in aliases.split()}
_EXACT = {"MJy": "MJy", "MJY": "MJy", "Mjy": "MJy"}
_PER_SECOND = re.compile(r"^(.*?)\s*(?:/\s*s|\bs\s*(?:\*\*|\^)?\s*\(?-1\)?)$")
_CPS = frozenset({"cps", "count_rate", "counts_per_second"})


def fits_unit(text: object) -> str:
    """Return the FITS unit string of what a BUNIT card holds.

    Known names of electrons, counts, janskys and nanomaggies are translated, each side of a slash
    for itself; the difference of ``mJy`` and ``MJy`` is kept. Other units come back as they are.

    Parameters
    ----------
    text : str or anything else
        Value of the card; what is no text means no unit.

    Returns
    -------
    str
        ``electron``, ``adu/s``, ``MJy/sr`` and so on; empty if there is no unit.

    Examples
    --------
    >>> fits_unit("ELECTRONS/S"), fits_unit("DN / s"), fits_unit("counts")
    ('electron/s', 'adu/s', 'adu')
    """
    if not isinstance(text, str):
        return ""
    whole = text.strip()
    if whole.lower() in _CPS:
        return "adu/s"
    match = _PER_SECOND.match(whole)
    if match and match[1].strip():
        return f"{_part(match[1])}/s"
    return "/".join(_part(part) for part in whole.split("/"))


def is_per_second(unit: str) -> bool:
    """Return True for a FITS unit string of a rate."""
    return unit.endswith(("/s", " s-1"))


def _part(text: str) -> str:
    """Return one side of a slash in its FITS spelling."""
    name = text.strip().strip("()[]").strip()
    return _EXACT.get(name) or _ALIASES.get(name.lower(), name)
