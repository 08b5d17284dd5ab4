"""Positions and sizes on the sky as people type them."""

from __future__ import annotations

import math
import re

from skytool.errors import InputError

MAX_AXIS = 2**31 - 1
"""Longest axis of a grid [pixel]: FITS tools count pixels in 32-bit integers."""

_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
_SEXAGESIMAL = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>\d{1,3})(?P<unit>[:hd°])"
    r"(?P<minutes>\d{1,2})(?:[:m'](?:(?P<seconds>\d{1,2}(?:\.\d*)?)[s\"]?)?)?$"
)
_SIZE = re.compile(r"\+?(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?P<unit>[a-zA-Z\"'°]*)$")
_UNIT_ARCSEC = {"s": 1.0, '"': 1.0, "m": 60.0, "'": 60.0, "d": 3600.0, "°": 3600.0}


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
    return ra % 360.0, dec


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


def parse_size(text: str, *, pixel_scale: float) -> tuple[int, int]:
    """Return the shape of a grid.

    Parameters
    ----------
    text : str
        ``NX,NY`` or one length for both. A bare number counts pixels; ``s``, ``m`` and ``d`` stand
        for seconds of arc, minutes of arc and degrees: ``10m,0.5d``.
    pixel_scale : float
        Side of a pixel [arcsec].

    Returns
    -------
    ny, nx : int
        Shape [pixel], enough whole pixels for the angle.

    Raises
    ------
    InputError
        If a length is no number, not positive, or more than ``MAX_AXIS`` pixels.

    Examples
    --------
    >>> parse_size("10m,300", pixel_scale=0.5)
    (300, 1200)
    """
    parts = text.replace(",", " ").split()
    if not 1 <= len(parts) <= 2:
        raise InputError(f"{text!r} is no size.", hint="Give NX,NY in pixels, or as 10m,10m.")
    lengths = [_pixels(part, pixel_scale) for part in parts]
    return lengths[-1], lengths[0]


def _pixels(text: str, pixel_scale: float) -> int:
    """Return a length [pixel]."""
    match = _SIZE.match(text)
    unit = match["unit"].lower() if match else "?"
    if match is None or unit not in {"", "px", "pix", *_UNIT_ARCSEC}:
        raise InputError(
            f"{text!r} is no length.", hint="Write pixels, or an angle as 30s, 10m or 1.5d."
        )
    number = float(match["number"])
    if unit in _UNIT_ARCSEC:
        # the small part takes back what the division may have rounded up
        number = math.ceil(number * _UNIT_ARCSEC[unit] / pixel_scale - 1e-6)
    if number != int(number):
        raise InputError(f"{text!r} is no whole number of pixels.")
    if not 1 <= number <= MAX_AXIS:
        raise InputError(f"a grid is 1 to {MAX_AXIS} pixels long, not {text}.")
    return int(number)
