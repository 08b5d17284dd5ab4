"""Headers as plain text: ``.head`` files of SWarp and SCAMP, ``.hdr`` templates of Montage."""

from __future__ import annotations

import re

from astropy.io import fits

from skytool.errors import InputError

_CARD = re.compile(r"\s*([A-Za-z0-9_-]{1,8})\s*=\s*(.*)$")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([EeDd][+-]?\d+)?$")
_SKIPPED = ("COMMENT", "HISTORY", "CONTINUE", "HIERARCH")


def parse_header_text(text: str, *, name: str) -> fits.Header:
    """Return the header that a text file holds.

    Parameters
    ----------
    text : str
        Lines ``KEYWORD = value / comment`` up to a line ``END`` or to the end of the text; the
        80-character cards of a FITS header without line breaks are read too. Left out are HISTORY,
        COMMENT, CONTINUE, HIERARCH, cards without a value, and lines that start with ``#``.
    name : str
        What messages call the file.

    Returns
    -------
    `~astropy.io.fits.Header`
        Cards in the order of the text; of a keyword that comes twice, the last value.

    Raises
    ------
    InputError
        If a line is no card, or a value is neither number, logical nor quoted string.
    """
    lines = text.splitlines()
    if len(lines) == 1 and len(text) > 80 and len(text) % 80 == 0:
        lines = [text[start : start + 80] for start in range(0, len(text), 80)]
    header = fits.Header()
    for number, line in enumerate(lines, start=1):
        stripped = line.strip()
        if stripped.upper() == "END":
            break
        if not stripped or stripped.startswith("#") or stripped.upper().startswith(_SKIPPED):
            continue
        match = _CARD.match(line)
        if match is None:
            raise InputError(
                f"{name}: line {number} is no header card: {stripped[:60]!r}.",
                hint="Lines look like KEYWORD = value.",
            )
        if not match[2] or match[2].startswith("/"):
            continue
        value = _value(match[2].strip())
        if value is None:
            raise InputError(f"{name}: line {number} has no valid value: {stripped[:60]!r}.")
        header[match[1].upper()] = value
    if not header:
        raise InputError(f"{name} holds no header card.")
    return header


def _value(text: str) -> str | bool | int | float | None:
    """Return the value of a card, its comment taken off; None if it is not valid."""
    if text.startswith("'"):
        quoted = re.match(r"'((?:[^']|'')*)'", text)
        return None if quoted is None else quoted[1].replace("''", "'").rstrip()
    bare = text.split("/", 1)[0].strip()
    if bare in {"T", "F"}:
        return bare == "T"
    if not _NUMBER.match(bare):
        return None
    if re.fullmatch(r"[+-]?\d+", bare):
        return int(bare)
    return float(bare.replace("D", "E").replace("d", "e"))
