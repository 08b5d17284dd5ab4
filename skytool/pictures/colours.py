"""Colours of mask planes, and pixels as red, green and blue."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.pictures.scaling import block_any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytool.models.mask import Mask

Colour = tuple[float, float, float]

NO_VALUE: Colour = (0.24, 0.29, 0.40)
"""Colour of pixels without a value, and of the plane NO_DATA."""

_COLOURS: dict[str, Colour] = {
    "BAD": (0.90, 0.16, 0.22),
    "SAT": (1.00, 0.62, 0.04),
    "INTRP": (0.62, 0.80, 0.30),
    "CR": (0.10, 0.80, 0.95),
    "EDGE": (0.45, 0.50, 0.95),
    "DETECTED": (0.20, 0.72, 0.35),
    "DETECTED_NEGATIVE": (0.70, 0.45, 0.95),
    "EXTRAPOLATED": (0.40, 0.76, 0.65),
    "REJECTED": (0.72, 0.55, 0.85),
    "SENSOR_EDGE": (0.65, 0.85, 0.33),
    "SUSPECT": (0.98, 0.92, 0.25),
    "NO_DATA": NO_VALUE,
    "STREAK": (0.95, 0.30, 0.85),
    "CLIPPED": (0.55, 0.35, 0.20),
    "UNMASKEDNAN": (0.85, 0.70, 0.85),
}
_OTHERS: tuple[Colour, ...] = (
    (0.40, 0.76, 0.65),
    (0.99, 0.55, 0.38),
    (0.55, 0.63, 0.80),
    (0.91, 0.54, 0.76),
    (0.65, 0.85, 0.33),
    (0.90, 0.77, 0.58),
)
QUIET_PLANES = frozenset(
    {
        *("DETECTED", "DETECTED_NEGATIVE", "INEXACT_PSF", "INTRP", "NOT_DEBLENDED"),
        *("SENSOR_EDGE", "UNMASKEDNAN"),
    }
)
"""Planes that hide what one wants to see, or add nothing to it: drawn only if asked for."""

_OPACITY = 0.6
_DIVERGING: tuple[Colour, ...] = (  # from the lowest to the highest, zero in the middle
    (0.09, 0.23, 0.62),
    (0.42, 0.67, 0.93),
    (0.96, 0.96, 0.96),
    (0.97, 0.62, 0.44),
    (0.64, 0.05, 0.13),
)


class LegendEntry(NamedTuple):
    """One plane of the legend: its colour, and the share of pixels that have it."""

    name: str
    colour: Colour
    share: float


def colour_of(plane: str, bit: int) -> Colour:
    """Return the colour of a plane, the same in all pictures; of a foreign one that of its bit."""
    return _COLOURS.get(plane, _OTHERS[bit % len(_OTHERS)])


def planes_set(mask: Mask) -> list[str]:
    """Return the planes that any pixel has, in the order of their bits."""
    used = int(np.bitwise_or.reduce(mask.array, axis=None)) if mask.array.size else 0
    ordered = sorted(mask.bits.items(), key=lambda item: item[1])
    return [name for name, bit in ordered if used >> bit & 1]


def legend_of(mask: Mask, planes: Sequence[str]) -> list[LegendEntry]:
    """Return the entries of planes, the most frequent first."""
    entries = [
        LegendEntry(plane, colour_of(plane, mask.bits[plane]), float(mask.any_of([plane]).mean()))
        for plane in planes
        if plane in mask.bits
    ]
    return sorted(entries, key=lambda entry: (-entry.share, entry.name))


def signed_colours(shades: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return blue for shades from 0, red up to 1 and white in the middle; ``(..., 3)``, NaN of NaN."""
    places = np.linspace(0.0, 1.0, len(_DIVERGING))
    return np.stack(
        [np.interp(shades, places, channel) for channel in zip(*_DIVERGING, strict=True)], axis=-1
    )


def pixel_colours(
    shades: NDArray[np.floating],
    *,
    factor: int,
    mask: Mask | None,
    legend: Sequence[LegendEntry],
) -> NDArray[np.uint8]:
    """Return an image in shades of grey, or in colours, with the planes of a mask over it.

    Parameters
    ----------
    shades : ndarray of float, shape (ceil(ny / factor), ceil(nx / factor)) or that and 3
        From 0 (black) to 1 (white), or the same of red, green and blue; NaN where there is no
        value.
    factor : int
        Pixels of the mask along each side that become one.
    mask : Mask or None
        Planes, shape ``(ny, nx)``.
    legend : sequence of LegendEntry
        Which planes to draw, the lowest first.

    Returns
    -------
    ndarray of uint8, shape (ceil(ny / factor), ceil(nx / factor), 3)
        Colours; a block has a plane if any of its pixels has it.
    """
    colours = shades.copy() if shades.ndim == 3 else np.repeat(shades[..., None], 3, axis=2)
    colours[np.isnan(colours).any(axis=2)] = NO_VALUE
    for entry in legend:
        if mask is None or entry.colour == NO_VALUE:
            continue
        where = block_any(mask.any_of([entry.name]), factor)
        colours[where] = (1.0 - _OPACITY) * colours[where] + _OPACITY * np.array(entry.colour)
    return np.rint(255.0 * colours).astype(np.uint8)


def mask_colours(mask: Mask, *, factor: int, legend: Sequence[LegendEntry]) -> NDArray[np.uint8]:
    """Return the planes of a mask in full colours on white; arguments as for `pixel_colours`."""
    ny, nx = block_any(mask.array != 0, factor).shape
    colours = np.ones((ny, nx, 3))
    for entry in legend:
        colours[block_any(mask.any_of([entry.name]), factor)] = entry.colour
    return np.rint(255.0 * colours).astype(np.uint8)
