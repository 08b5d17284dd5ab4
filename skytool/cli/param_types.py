"""Parameter types of the command line: files, sky positions, sizes, angles, lists."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from skytool.errors import SkytoolError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ARCSEC = {
    "s": 1.0,
    '"': 1.0,
    "arcsec": 1.0,
    "m": 60.0,
    "'": 60.0,
    "arcmin": 60.0,
    "d": 3600.0,
    "deg": 3600.0,
    "mas": 1e-3,
}
_PIXEL = ("", "p", "px", "pix", "pixel", "pixels")
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s]*)\s*$")


class InputFile(click.ParamType[str]):
    """The text that names an input: ``FILE``, ``FILE[EXT]`` or ``-``."""

    name = "file"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Let the shell complete a file name."""
        return [CompletionItem(incomplete, type="file")]


INPUT = InputFile()


class NumberOrKeyword(click.ParamType[str]):
    """The text of a number, or ``!KEYWORD`` for a card of each input's header."""

    name = "number|!keyword"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the text and return it."""
        text = str(value).strip()
        if re.fullmatch(r"![\w-]+", text):
            return text
        try:
            finite = math.isfinite(float(text))
        except ValueError:
            finite = False
        if not finite:
            self.fail(f"{value!r} is neither a number nor !KEYWORD.", param, ctx)
        return text


NUMBER_OR_KEYWORD = NumberOrKeyword()


class Number(click.ParamType[float]):
    """A finite number.

    Parameters
    ----------
    minimum : float, optional
        The least value.
    """

    name = "float"

    def __init__(self, *, minimum: float | None = None) -> None:
        self.minimum = minimum

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse a number."""
        number: float = click.FLOAT.convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not finite.", param, ctx)
        if self.minimum is not None and number < self.minimum:
            self.fail(f"{number:g} must be at least {self.minimum:g}.", param, ctx)
        return number


@dataclass(frozen=True)
class SkyPosition:
    """A position on the sky.

    Parameters
    ----------
    ra, dec : float
        ICRS right ascension, 0 <= ra < 360, and declination, -90 <= dec <= 90 [deg].
    """

    ra: float
    dec: float

    def __str__(self) -> str:
        return f"{self.ra!r},{self.dec!r}"


class SkyPositionType(click.ParamType[SkyPosition]):
    """``RA,DEC`` in degrees, or sexagesimal with the right ascension in hours."""

    name = "RA,DEC"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> SkyPosition:
        """Parse a position."""
        if isinstance(value, SkyPosition):
            return value
        from skytool.models.sky.coordinates import parse_position

        try:
            return SkyPosition(*parse_position(str(value)))
        except SkytoolError as error:
            self.fail(str(error), param, ctx)


class Angle(click.ParamType[float]):
    """A small angle, in the unit named unless the value has one of its own.

    Parameters
    ----------
    unit : str
        ``arcsec``, ``arcmin`` or ``deg``: unit of a bare number and of the result.
    positive : bool
        Whether the value must be above zero.
    """

    def __init__(self, unit: str, *, positive: bool = False) -> None:
        self.name = unit
        self.unit = unit
        self.positive = positive

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse an angle."""
        match = _NUMBER.match(str(value))
        unit = match and (match[2].lower() or self.unit)
        if match is None or unit not in _ARCSEC:
            self.fail(f"{value!r} is not an angle; write 0.2, 0.2arcsec, 3m, 1.5deg.", param, ctx)
        size = float(match[1])
        if unit != self.unit:
            size = size * _ARCSEC[unit] / _ARCSEC[self.unit]
        if not math.isfinite(size) or (self.positive and size <= 0):
            self.fail(f"{value!r} must be {'positive' if self.positive else 'finite'}.", param, ctx)
        return size


@dataclass(frozen=True)
class GridSize:
    """Width and height of a grid, each in pixels or as an angle.

    Parameters
    ----------
    width, height : (float, str)
        Number and unit; the unit is ``""`` for pixels.
    """

    width: tuple[float, str]
    height: tuple[float, str]

    def __str__(self) -> str:
        sides = (self.width, self.height)
        return ",".join(f"{repr(size).removesuffix('.0')}{unit}" for size, unit in sides)

    def shape(self, *, pixel_scale: float) -> tuple[int, int]:
        """Return ``(ny, nx)``, angles divided by ``pixel_scale`` [arcsec/pixel] and rounded up."""

        def pixels(size: float, unit: str) -> int:
            if not unit:
                return round(size)
            return max(1, math.ceil(size * _ARCSEC[unit] / pixel_scale - 1e-9))

        return pixels(*self.height), pixels(*self.width)


class GridSizeType(click.ParamType[GridSize]):
    """``NX,NY`` or one number for both; pixels, or angles as 10m, 0.5d, 90s."""

    name = "NX,NY"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> GridSize:
        """Parse a size."""
        if isinstance(value, GridSize):
            return value
        parts = str(value).split(",")
        if len(parts) not in {1, 2}:
            self.fail(f"{value!r} is not a size; write 4000,3000 or 20m,15m.", param, ctx)
        sizes = []
        for part in parts:
            match = _NUMBER.match(part)
            unit = match and match[2].lower()
            if match is None or (unit not in _ARCSEC and unit not in _PIXEL):
                self.fail(f"{part!r} is not a size; write 4000 or 20m or 0.5deg.", param, ctx)
            size = float(match[1])
            if unit in _PIXEL:
                unit = ""
                if size != int(size):
                    self.fail(f"{part!r} is not a whole number of pixels.", param, ctx)
            if size <= 0:
                self.fail(f"{part!r} must be positive.", param, ctx)
            sizes.append((size, str(unit)))
        return GridSize(sizes[0], sizes[-1])


class CommaList(click.ParamType[tuple[Any, ...]]):
    """Values separated by commas; an empty text is an empty list.

    Parameters
    ----------
    item : click type
        Type of every value, ``str`` unless said otherwise.
    length : int, optional
        How many values there must be.
    """

    is_list = True

    def __init__(self, item: Any = str, *, length: int | None = None, name: str = "") -> None:
        self.item = click.types.convert_type(item)
        self.length = length
        self.name = name or f"{self.item.name},..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Parse a list."""
        texts: Sequence[Any] = value
        if isinstance(value, str):
            texts = [part.strip() for part in value.split(",")] if value.strip() else []
        if any(text == "" for text in texts):
            self.fail(f"{value!r} has an empty item.", param, ctx)
        if self.length is not None and len(texts) != self.length:
            self.fail(f"{value!r} must be {self.length} values with commas between.", param, ctx)
        return tuple(self.item.convert(text, param, ctx) for text in texts)


class PlaneList(CommaList):
    """Names of mask planes separated by commas, in upper case; each name once."""

    def __init__(self) -> None:
        super().__init__(str, name="PLANE,...")

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Parse a list of plane names; which names exist is for the mask to say."""
        return tuple(dict.fromkeys(name.upper() for name in super().convert(value, param, ctx)))


SKY_POSITION = SkyPositionType()
GRID_SIZE = GridSizeType()
PLANES = PlaneList()
