"""Numbers and angles of headers, however observatories write them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from astropy.io import fits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SEXAGESIMAL = re.compile(
    r"(?P<sign>[+-]?) ?(?P<whole>\d{1,3})[: hd] ?(?P<minutes>\d{1,2})"
    r"(?:[: m'] ?(?P<seconds>\d{1,2}(?:\.\d*)?)[s\"]?)?$"
)
_ABSENT = re.compile(r"-9{4,6}(\.[09]*)?$")  # -9999.9 and the like stand for no value


class Found(NamedTuple):
    """A number of a header, and the card or cards it is from."""

    value: float
    source: str


def number_of(header: fits.Header, key: str) -> float | None:
    """Return the finite number of a card, also of a text; None if there is none.

    A text may be sexagesimal: ``-70:48:53.6``, ``10 00 24``, ``10h00m24s``. -9999 and the
    like, by which observatories say that they have no value, are none.
    """
    value = header.get(key)
    if value is None or isinstance(value, (bool, fits.card.Undefined)):
        return None
    number = _sexagesimal(value.strip()) if isinstance(value, str) else None
    if number is None:
        try:
            number = float(value)
        except (TypeError, ValueError):
            return None
    return number if math.isfinite(number) and not _ABSENT.match(f"{number:g}") else None


def is_sexagesimal(header: fits.Header, key: str) -> bool:
    """Say whether a card is a text of hours or degrees, minutes and seconds."""
    value = header.get(key)
    return isinstance(value, str) and _sexagesimal(value.strip()) is not None


def first_number(
    header: fits.Header,
    keys: Iterable[str | Sequence[str]],
    low: float = -math.inf,
    high: float = math.inf,
) -> Found | None:
    """Return the first number that cards have within limits.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Cards of the observation.
    keys : iterable of str or (str, str)
        Keywords, the best first; of a pair, for the start and the end of the exposure, the mean
        counts.
    low, high : float
        Limits; what is outside is no value.

    Returns
    -------
    Found or None
        Number and keyword.
    """
    for key in keys:
        names = (key,) if isinstance(key, str) else tuple(key)
        values = [number_of(header, name) for name in names]
        numbers = [value for value in values if value is not None]
        if len(numbers) == len(values) and all(low <= number <= high for number in numbers):
            return Found(math.fsum(numbers) / len(numbers), " and ".join(names))
    return None


def comment_of(header: fits.Header, key: str) -> str:
    """Return the comment of a card in small letters; empty if there is no card."""
    return header.comments[key].lower() if key in header else ""


def _sexagesimal(text: str) -> float | None:
    match = _SEXAGESIMAL.match(text)
    if match is None:
        return None
    minutes, seconds = float(match["minutes"]), float(match["seconds"] or 0.0)
    if minutes >= 60.0 or seconds >= 60.0:
        return None
    value = float(match["whole"]) + minutes / 60.0 + seconds / 3600.0
    return -value if match["sign"] == "-" else value
