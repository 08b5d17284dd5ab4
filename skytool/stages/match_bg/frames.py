"""The frame of pixels that exposures have in common, and the place of each in it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from skytool.core.windows import Window
from skytool.errors import IncompatibleError
from skytool.models.keywords import is_wcs_keyword

# What is imported while pixels are in memory may keep them there, in the traces of exceptions.
from skytool.models.sky.geometry import source_positions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from astropy.io import fits
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from skytool.models.exposure import Origin

    Floats = NDArray[np.float64]

_TOLERANCE = 0.01  # [pixel]
_TABLES = ("CPDIS", "D2IM", "PS")  # cards that refer to tables in the file


class Placed(Protocol):
    """An exposure of which only the header has been read."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def header(self) -> fits.Header:
        """Cards of the image and of the primary."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)``."""

    @property
    def origin(self) -> Origin:
        """Place of the first pixel in the parent frame."""

    def wcs(self) -> WCS | None:
        """Celestial coordinates, if it has any."""


@dataclass(frozen=True)
class Frame:
    """A rectangle of pixels that holds all exposures.

    Parameters
    ----------
    shape : (int, int)
        Its shape ``(ny, nx)``.
    windows : tuple of Window
        Place of each exposure in it.
    """

    shape: tuple[int, int]
    windows: tuple[Window, ...]

    @property
    def is_single(self) -> bool:
        """Whether every exposure fills it."""
        return all(window == Window.whole(self.shape) for window in self.windows)


def common_frame(exposures: Sequence[Placed], *, like: str = "") -> Frame:
    """Return the frame of exposures that are on one grid of pixels.

    They are if all have the same origin, shape and coordinates, or if they are patches of one
    tract: their origins differ, and the same sky has the same pixel of the parent frame in all.

    Parameters
    ----------
    exposures : sequence
        One at least.
    like : str
        File that a hint names as the grid to resample to; that of the first exposure by default.

    Raises
    ------
    IncompatibleError
        If they are not on one grid.
    """
    first = exposures[0]
    cards = _wcs_cards(first)
    wcs: WCS | None = None
    same_origin = all(one.origin == first.origin for one in exposures)
    for other in exposures[1:]:
        if same_origin and other.shape != first.shape:
            sizes = [f"{one.shape[1]} x {one.shape[0]}" for one in (first, other)]
            raise _different(
                first,
                other,
                f"{first.name} has {sizes[0]} pixels, {other.name} has {sizes[1]}",
                like,
            )
        if cards and same_origin and _wcs_cards(other) == cards:
            continue
        wcs = wcs or first.wcs()
        _compare(first, wcs, other, like)
    boxes = [Window(y=one.origin.y, x=one.origin.x, shape=one.shape) for one in exposures]
    whole = Window.around(boxes)
    return Frame(whole.shape, tuple(box.moved(y=whole.y, x=whole.x) for box in boxes))


def _wcs_cards(exposure: Placed) -> dict[str, object]:
    """Return the cards that alone decide on the coordinates; none if there is more to them."""
    header = exposure.header
    cards = {key: header[key] for key in header if is_wcs_keyword(key)}
    whole = "CTYPE1" in cards and not any(key.startswith(_TABLES) for key in cards)
    return cards if whole else {}


def _compare(first: Placed, wcs: WCS | None, other: Placed, like: str) -> None:
    """Refuse an exposure whose pixels are not those of the first one."""
    theirs = other.wcs()
    if wcs is None or theirs is None:
        if (wcs is None) != (theirs is None):
            without = first if wcs is None else other
            raise IncompatibleError(
                f"{without.name} has no celestial WCS, other inputs have one.",
                hint="Solve its astrometry.",
            )
        return
    ny, nx = other.shape
    y, x = np.array([0, 0, ny - 1, ny - 1, ny / 2]), np.array([0, nx - 1, 0, nx - 1, nx / 2])
    shift = _shift(wcs, theirs, y=y, x=x)
    expected = (other.origin.y - first.origin.y, other.origin.x - first.origin.x)
    away = np.abs(shift - np.array(expected)[:, None])
    if not (away < _TOLERANCE).all():  # NaN where a projection does not reach
        largest = float(np.max(away)) if np.isfinite(away).all() else np.inf
        text = f"{first.name} and {other.name} are not on one grid: pixels are "
        text += (
            f"{largest:.3g} pixels apart" if np.isfinite(largest) else "on other parts of the sky"
        )
        raise _different(first, other, text, like)


def _shift(first: WCS, other: WCS, *, y: Floats, x: Floats) -> Floats:
    """Return where pixels of the other one lie in the first, less where they are, ``(2, n)``."""
    u, v = source_positions(other, first)(x, y)
    return np.array([v - y, u - x])


def _different(first: Placed, other: Placed, text: str, like: str) -> IncompatibleError:
    names = shlex.quote(str(other.path)), shlex.quote(like or str(first.path))
    return IncompatibleError(
        f"{text}.",
        hint=f"Bring it to that grid: skytool warp {names[0]} --like {names[1]} -o OUT.fits",
    )
