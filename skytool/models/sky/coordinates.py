"""Positions on the sky as people type them."""

from __future__ import annotations

import math
import re

from skytool.errors import InputError

_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
_SEXAGESIMAL = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>\d{1,3})(?P<unit>[:hd°])"
    r"(?P<minutes>\d{1,2})(?:[:m'](?:(?P<seconds>\d{1,2}(?:\.\d*)?)[s\"]?)?)?$"
)


def parse_position(text: str) -> tuple[float, float]:
    """Return right ascension and declination of a position.

    Parameters
    ----------
    text : str
        ``RA,DEC`` or ``RA DEC``: decimal degrees, or sexagesimal, then with the right ascension
        in hours (``10:00:24,+02:12:00``, ``10h00m24s +02d12m00s``, ``10 00 24 +02 12 00``).

    Returns
    -------
    ra, dec : float
        Position [deg]; ``ra`` is in [0, 360).

    Raises
    ------
    InputError
        If the text is no position, or an angle is out of its range.

    Examples
    --------
    >>> parse_position("10:00:24,+02:12:00")
    (150.1, 2.2)
    """
    parts = text.replace(",", " ").split()
    if len(parts) == 6 and "," not in text.strip().strip(","):
        parts = [":".join(parts[:3]), ":".join(parts[3:])]
    elif text.count(",") == 1 and len(parts) > 2:
        parts = [":".join(half.split()) for half in text.split(",")]
    if len(parts) != 2:
        raise InputError(
            f"{text!r} is no sky position.", hint="Give RA,DEC, as 150.1,2.2 or 10:00:24,+02:12:00."
        )
    ra = parse_angle(parts[0], hours=True)
    dec = parse_angle(parts[1], hours=False)
    if not -360.0 <= ra <= 360.0:
        raise InputError(f"the right ascension {parts[0]} is outside 0 to 360 degrees.")
    if not -90.0 <= dec <= 90.0:
        raise InputError(f"the declination {parts[1]} is outside -90 to 90 degrees.")
    ra %= 360.0
    return 0.0 if ra == 360.0 else ra, dec  # so little below zero that it rounds to 360


def parse_angle(text: str, *, hours: bool) -> float:
    """Return an angle [deg].

    Parameters
    ----------
    text : str
        Decimal degrees (``150.1`` or ``150.1d``), or sexagesimal.
    hours : bool
        Whether a sexagesimal angle with colons is in hours.

    Raises
    ------
    InputError
        If the text is no angle, or minutes or seconds are 60 or more.
    """
    bare = text.strip()
    decimal = bare.removesuffix("d").removesuffix("°")
    if _DECIMAL.match(decimal):
        value = float(decimal)
        if math.isfinite(value):
            return value
    match = _SEXAGESIMAL.match(bare)
    if match is None:
        raise InputError(f"{text!r} is no angle.", hint="Write 150.1 or 10:00:24.")
    minutes, seconds = float(match["minutes"]), float(match["seconds"] or 0.0)
    if minutes >= 60.0 or seconds >= 60.0:
        raise InputError(f"{text!r} is no angle: minutes and seconds are less than 60.")
    in_hours = match["unit"] == "h" or (match["unit"] == ":" and hours)
    # one division at the end, so that 10:00:24 is 150.1 and not its neighbour
    total = float(match["whole"]) * 3600.0 + minutes * 60.0 + seconds
    value = total * (15.0 if in_hours else 1.0) / 3600.0
    return -value if match["sign"] == "-" else value
