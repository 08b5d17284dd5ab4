"""Panels of points: what is left of a pattern against the pattern."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from skytool.core.background.blocks import block_means, block_statistics, kept_average
from skytool.core.statistics import Clip
from skytool.errors import IncompatibleError
from skytool.models.background.hdus import BinnedBackground, background_from_hdus

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.models.background.hdus import BackgroundLayer
    from skytool.models.exposure import Exposure
    from skytool.pictures.colours import Colour, LegendEntry

    Floats = NDArray[np.float64]

_NOT_SKY = ("BAD", "SAT", "CR", "EDGE", "STREAK", "NO_DATA", "DETECTED", "DETECTED_NEGATIVE")
_BEFORE: Colour = (0.62, 0.66, 0.72)
_AFTER: Colour = (0.11, 0.38, 0.75)
_BLOCK = 4  # pixels
_CLIP = Clip(4.0)
_SHOWN = 0.5, 99.5  # percentiles


class Points(NamedTuple):
    """Points of one colour."""

    name: str
    colour: Colour
    x: Floats
    y: Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class ScatterPanel:
    """Points with axes.

    Parameters
    ----------
    points : tuple of Points
        In the order in which they are drawn.
    title, subtitle : str
        Two lines above.
    x_label, y_label : str
        What the axes are.
    """

    points: tuple[Points, ...]
    title: str
    subtitle: str
    x_label: str
    y_label: str

    shape: ClassVar[tuple[int, int]] = 512, 512
    """Room that it takes, as if it were an image of as many pixels ``(ny, nx)``."""

    @property
    def legend(self) -> list[LegendEntry]:
        """No mask plane."""
        return []


def sky_fit_panel(exposure: Exposure, title: str) -> ScatterPanel:
    """Return averages of an exposure over superpixels against the sky frame taken off it.

    Parameters
    ----------
    exposure : Exposure
        An exposure that sky frames were taken off, with its list of backgrounds.
    title : str
        First line above the panel.

    Raises
    ------
    IncompatibleError
        If no sky frame is in the list.
    """
    stored = [hdu for hdu in exposure.extensions if hdu.name.startswith("BKG")]
    layers = background_from_hdus(stored, name=exposure.name).layers if stored else ()
    frames = [layer for layer in layers if layer.sky_file]
    if not frames or not isinstance(frames[-1].model, BinnedBackground):
        raise IncompatibleError(
            f"{exposure.name} says of no sky frame that was taken off it.",
            hint="Give what `skytool skyframe apply` made.",
        )
    pattern, after = _averages(exposure, frames, frames[-1].model)
    before = after + pattern
    unit = f" [{exposure.unit}]" if exposure.unit else ""
    return ScatterPanel(
        points=(
            Points("before", _BEFORE, pattern, before),
            Points("after", _AFTER, pattern, after),
        ),
        title=title,
        subtitle=f"correlation with the sky frame: {_correlation(before, pattern)} before, "
        f"{_correlation(after, pattern)} after",
        x_label=f"sky frame times its scale{unit}",
        y_label=f"average over a superpixel, less the median{unit}",
    )


def _averages(
    exposure: Exposure, frames: list[BackgroundLayer], model: BinnedBackground
) -> tuple[Floats, Floats]:
    """Return averages of pattern and exposure over superpixels, these less their median."""
    surface = np.zeros(exposure.shape)
    for layer in frames:  # what was put back counts against what was taken off
        surface -= layer.factor * layer.model.evaluate(exposure.shape)
    bad = int(exposure.mask.bitmask(_NOT_SKY))
    flags, cells = exposure.mask.array, model.grid
    blocks = block_means(exposure.image, flags, cells, _BLOCK, bad=bad)
    found = block_statistics(blocks, clip=_CLIP)
    smooth = block_means(surface, flags, cells, _BLOCK, bad=bad).mean
    pattern = kept_average(blocks, found, smooth)
    good = np.isfinite(found.value) & np.isfinite(pattern)
    values = found.value[good]
    return pattern[good], values - (np.median(values) if values.size else 0.0)


def _correlation(a: Floats, b: Floats) -> str:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return "none"
    return f"{np.corrcoef(a, b)[0, 1]:.2f}"


def draw_points(axes: Any, panel: ScatterPanel, *, font: float, ink: str) -> None:
    """Draw the points of a panel.

    Parameters
    ----------
    axes : `matplotlib.axes.Axes`
        Where.
    panel : ScatterPanel
        What.
    font : float
        Size of the text [point].
    ink : str
        Colour of the text.
    """
    axes.axhline(0.0, color=ink, linewidth=0.6)
    for name, colour, x, y in panel.points:
        size = min(max(400 / math.sqrt(max(len(x), 1)), 2.0), 14.0)
        axes.scatter(x, y, s=size, color=[colour], label=name, linewidths=0)
    values = np.concatenate([points.y for points in panel.points])
    if values.size:  # a few superpixels full of stars do not set the scale
        low, high = np.percentile(values, _SHOWN)
        margin = 0.2 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)
    axes.set_xlabel(panel.x_label, fontsize=font, color=ink)
    axes.set_ylabel(panel.y_label, fontsize=font, color=ink)
    axes.legend(fontsize=font, loc="upper left", frameon=False)
