"""Arrows to the north and east, and a bar of a round angle."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skytool.models.sky.orientation import SkyOrientation

_ARROW = 38  # px
_PAD = 12
_LETTER = 10
_LIGHT, _DARK = "#ffffff", "#10141c"
_ANGLES = [
    *(digit * 10.0**power for power in range(-3, 1) for digit in (1, 2, 5)),
    *(10.0, 20.0, 30.0),
    *(60.0 * n for n in (1, 2, 5, 10, 20, 30)),
    *(3600.0 * n for n in (1, 2, 5, 10, 20, 30)),
]
"""Round angles [arcsec]."""
_SHARE = 0.3  # of the width of the image that the bar takes at most


def draw_compass(
    axes: Any, orientation: SkyOrientation, *, size: tuple[int, ...], zoom: float
) -> None:
    """Draw north, east and the scale into the lower corners of an image.

    Parameters
    ----------
    axes : `~matplotlib.axes.Axes`
        Empty axes over the image; they get coordinates in px.
    orientation : SkyOrientation
        What to draw.
    size : (int, int)
        Width and height of the axes [px].
    zoom : float
        Width of a pixel of the image [px].
    """
    width, height = size
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.set_axis_off()
    if min(width, height) < 3 * _ARROW:
        return
    _draw_arrows(axes, orientation, width)
    _draw_bar(axes, orientation.x_scale / zoom, width)


def _draw_arrows(axes: Any, orientation: SkyOrientation, width: int) -> None:
    """Draw both arrows in the lower right corner, whatever their directions."""
    from matplotlib.patheffects import withStroke

    arrows = [(*orientation.north(), "N"), (*orientation.east(), "E")]
    reach = _ARROW + _LETTER
    right = max(0.0, *(dx for _, dx, _ in arrows)) * reach
    down = max(0.0, *(-dy for dy, _, _ in arrows)) * reach
    x0, y0 = width - _PAD - right - _LETTER / 2, _PAD + down + _LETTER / 2
    outline = [withStroke(linewidth=3.0, foreground=_DARK)]
    for dy, dx, letter in arrows:
        axes.annotate(
            "",
            xy=(x0 + _ARROW * dx, y0 + _ARROW * dy),
            xytext=(x0, y0),
            arrowprops={
                "arrowstyle": "-|>",
                "color": _LIGHT,
                "linewidth": 1.4,
                "shrinkA": 0,
                "shrinkB": 0,
                "path_effects": outline,
            },
        )
        axes.text(
            x0 + reach * dx,
            y0 + reach * dy,
            letter,
            color=_LIGHT,
            size=9,
            weight="bold",
            ha="center",
            va="center",
            path_effects=outline,
        )


def _draw_bar(axes: Any, arcsec_per_px: float, width: int) -> None:
    """Draw the bar in the lower left corner."""
    from matplotlib.patheffects import Stroke, withStroke

    angle = round_angle(_SHARE * width * arcsec_per_px)
    if angle is None:
        return
    length = angle / arcsec_per_px
    axes.plot(
        [_PAD, _PAD + length],
        [_PAD, _PAD],
        color=_LIGHT,
        linewidth=2.0,
        solid_capstyle="butt",
        path_effects=[Stroke(linewidth=4.0, foreground=_DARK), withStroke(linewidth=0.1)],
    )
    axes.text(
        _PAD,
        _PAD + 4,
        angle_text(angle),
        color=_LIGHT,
        size=9,
        va="bottom",
        path_effects=[withStroke(linewidth=3.0, foreground=_DARK)],
    )


def round_angle(most: float) -> float | None:
    """Return the largest round angle up to a limit [arcsec]; None if there is none."""
    fitting = [angle for angle in _ANGLES if angle <= most]
    return fitting[-1] if fitting and math.isfinite(most) else None


def angle_text(angle: float) -> str:
    """Return an angle [arcsec] in seconds, minutes or degrees."""
    if angle >= 3600.0:
        return f"{angle / 3600.0:g}°"
    return f"{angle / 60.0:g}′" if angle >= 60.0 else f"{angle:g}″"
