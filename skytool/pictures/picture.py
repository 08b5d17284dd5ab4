"""Panels as one picture."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skytool.pictures.colours import mask_colours, pixel_colours, signed_colours
from skytool.pictures.compass import draw_compass
from skytool.pictures.lettering import fitted
from skytool.pictures.scaling import tick_values
from skytool.pictures.scatter import ScatterPanel, draw_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from skytool.pictures.colours import LegendEntry
    from skytool.pictures.panel import Panel
    from skytool.pictures.scaling import Scale

    AnyPanel = Panel | ScatterPanel

_DPI = 100
_MARGINS = {"left": 58, "right": 96, "top": 48, "bottom": 40}  # around the pixels [px]
_BAR_WIDTH, _BAR_GAP = 14, 8
_LEGEND_ROW = 18
_LEGEND_ENTRY, _LEGEND_LETTER = 36, 8  # of an entry without its letters, and of each of these
_NARROWEST = 440  # of a panel, so that its title fits
_LARGEST_ZOOM = 32
_FONT = 9
_TEXT_GAP = 8  # at least between the titles of two panels
_INK, _FAINT = "#1c2330", "#5b6472"


class Picture(NamedTuple):
    """A picture.

    Parameters
    ----------
    content : bytes
        The file.
    size : (int, int)
        Width and height [px].
    """

    content: bytes
    size: tuple[int, int]


@dataclass(frozen=True)
class _Cell:
    """Size of the panels of a picture [px of the picture].

    Parameters
    ----------
    width, height : int
        A panel with all that is around its image.
    image_width, image_height : int
        Room for the image.
    legend_entry : int
        Room for an entry of the legend.
    """

    width: int
    height: int
    image_width: int
    image_height: int
    legend_entry: int


def draw_picture(
    panels: Sequence[AnyPanel], *, size: tuple[int, int] | None = None, kind: str = "png"
) -> Picture:
    """Return the picture of one panel or several.

    Parameters
    ----------
    panels : sequence of Panel or ScatterPanel
        In the order of the picture: rows from the top, each from the left.
    size : (int, int), optional
        Width and height that the picture may have [px]; images are shown smaller, or with whole
        pixels repeated, to fill it.
    kind : {"png", "pdf", "svg"}
        Format; in the latter two lines and letters are drawn at any size, a hundred pixels an inch.

    Returns
    -------
    Picture
        The same for the same panels: neither time nor version are in it.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    n_columns = _columns(panels, size)
    n_rows = -(-len(panels) // n_columns)
    cell = _cell(panels, n_columns, n_rows, size)
    width, height = n_columns * cell.width, n_rows * cell.height
    with style.context("default"):
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        for number, panel in enumerate(panels):
            row, column = divmod(number, n_columns)
            corner = column * cell.width, height - (row + 1) * cell.height
            _Drawing(figure, (width, height), corner, cell).draw(panel)
        return Picture(_file_of(figure, kind), (width, height))


def _file_of(figure: Figure, kind: str) -> bytes:
    """Return a figure as a file without a time, a version or random names in it."""
    target = io.BytesIO()
    canvas: Any
    if kind == "pdf":
        from matplotlib.backends.backend_pdf import FigureCanvasPdf

        canvas = FigureCanvasPdf(figure)
        canvas.print_pdf(target, metadata=dict.fromkeys(("Creator", "Producer", "CreationDate")))
    elif kind == "svg":
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        canvas = FigureCanvasSVG(figure)
        with rc_context({"svg.hashsalt": "skytool"}):
            canvas.print_svg(target, metadata=dict.fromkeys(("Creator", "Date")))
    else:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(figure)
        canvas.print_png(target, metadata={"Software": None})
    return target.getvalue()


def _room(size: tuple[int, int] | None, n_panels: int) -> tuple[int, int]:
    if size is not None:
        return size
    return (1000, 900) if n_panels == 1 else (1600, 1200)


def _columns(panels: Sequence[AnyPanel], size: tuple[int, int] | None) -> int:
    """Return how many panels are side by side, so that their images are largest."""

    def magnification(n_columns: int) -> float:
        n_rows = -(-len(panels) // n_columns)
        cell = _cell(panels, n_columns, n_rows, size, snug=False)
        ny, nx = _largest(panels)
        return min(cell.image_width / nx, cell.image_height / ny)

    most = max(_room(size, len(panels))[0] // _NARROWEST, 1)
    return max(range(1, min(len(panels), most) + 1), key=magnification)


def _largest(panels: Sequence[AnyPanel]) -> tuple[int, int]:
    return max(p.shape[0] for p in panels), max(p.shape[1] for p in panels)


def _cell(
    panels: Sequence[AnyPanel],
    n_columns: int,
    n_rows: int,
    size: tuple[int, int] | None,
    *,
    snug: bool = True,
) -> _Cell:
    """Return the size of the panels; if ``snug``, no more than their images need."""
    room = _room(size, len(panels))
    side = _MARGINS["left"] + _MARGINS["right"]
    image_width = max(room[0] // n_columns - side, 64)
    width = max(image_width + side, _NARROWEST)
    entry = _legend_entry(panels)
    rows = _legend_rows(panels, width, entry)
    upright = _MARGINS["top"] + _MARGINS["bottom"] + _LEGEND_ROW * rows
    image_height = max(room[1] // n_rows - upright, 64)
    if snug:
        shown = [_shown(panel, image_width, image_height) for panel in panels]
        image_height, image_width = (max(axis) for axis in zip(*shown, strict=True))
        width = max(image_width + side, _NARROWEST)
        rows = _legend_rows(panels, width, entry)
        upright = _MARGINS["top"] + _MARGINS["bottom"] + _LEGEND_ROW * rows
    return _Cell(width, image_height + upright, image_width, image_height, entry)


def _legend_entry(panels: Sequence[AnyPanel]) -> int:
    """Return the room for an entry of any of the legends [px]."""
    texts = [_legend_text(entry) for panel in panels for entry in panel.legend]
    return _LEGEND_ENTRY + _LEGEND_LETTER * max(map(len, texts), default=0)


def _legend_rows(panels: Sequence[AnyPanel], width: int, entry: int) -> int:
    """Return the rows that the longest of the legends takes."""
    return max(-(-len(panel.legend) // _per_row(width, entry)) for panel in panels)


def _per_row(width: int, entry: int) -> int:
    return max((width - 20) // entry, 1)


def _legend_text(entry: LegendEntry) -> str:
    return f"{entry.name} {share_text(entry.share)}"


def _zoom(panel: AnyPanel, width: int, height: int) -> float:
    """Return the size of a pixel in the picture [px]: a whole number where that is 3 or more."""
    ny, nx = panel.shape
    zoom = min(height / ny, width / nx, _LARGEST_ZOOM)
    return math.floor(zoom) if zoom >= 3 else zoom


def _shown(panel: AnyPanel, width: int, height: int) -> tuple[int, int]:
    """Return the height and width of the image of a panel [px]."""
    zoom = _zoom(panel, width, height)
    ny, nx = panel.shape
    return max(round(ny * zoom), 1), max(round(nx * zoom), 1)


@dataclass(frozen=True)
class _Drawing:
    """One panel at its place in the figure, in pixels of the picture."""

    figure: Figure
    size: tuple[int, int]
    corner: tuple[int, int]
    cell: _Cell

    def draw(self, panel: AnyPanel) -> None:
        """Draw the image, and what is around it."""
        height, width = _shown(panel, self.cell.image_width, self.cell.image_height)
        left = _MARGINS["left"] + (self.cell.width - _side() - width) // 2
        bottom = self.cell.height - _MARGINS["top"] - height
        self._write(8, self.cell.height - 10, panel.title, weight="bold", size=_FONT + 1)
        self._write(8, self.cell.height - 27, panel.subtitle, color=_FAINT)
        if isinstance(panel, ScatterPanel):
            axes = self._framed((left, bottom, width, height))
            draw_points(axes, panel, font=_FONT, ink=_FAINT)
            return
        factor = max(math.floor(panel.shape[1] / width), 1)
        reduced = panel.reduced(factor)
        if reduced is not None:
            shades, scale = reduced
            colours = pixel_colours(shades, factor=factor, mask=panel.mask, legend=panel.legend)
            self._draw_bar(panel, scale, (left + width + _BAR_GAP, bottom, _BAR_WIDTH, height))
        elif panel.mask is not None:
            colours = mask_colours(panel.mask, factor=factor, legend=panel.legend)
        self._draw_image(panel, colours, factor, (left, bottom, width, height))
        self._draw_legend(panel, bottom - _MARGINS["bottom"])

    def _axes(self, place: tuple[int, int, int, int]) -> Any:
        """Return axes at a place of the panel: left, bottom, width, height [px]."""
        left, bottom, width, height = place
        return self.figure.add_axes(
            (
                (self.corner[0] + left) / self.size[0],
                (self.corner[1] + bottom) / self.size[1],
                width / self.size[0],
                height / self.size[1],
            )
        )

    def _framed(self, place: tuple[int, int, int, int]) -> Any:
        """Return axes with a thin frame and small labels."""
        axes = self._axes(place)
        axes.tick_params(labelsize=_FONT - 1, colors=_FAINT, length=3)
        for spine in axes.spines.values():
            spine.set_color(_FAINT)
            spine.set_linewidth(0.6)
        return axes

    def _write(self, x: float, y: float, text: str, **options: Any) -> None:
        """Write text whose upper left corner is at a place of the panel [px]."""
        options = {"size": _FONT, "color": _INK, "va": "top", "parse_math": False, **options}
        room = self.cell.width - x - _TEXT_GAP
        shown = fitted(text, room, size=options["size"], weight=options.get("weight", "normal"))
        self.figure.text(
            (self.corner[0] + x) / self.size[0],
            (self.corner[1] + y) / self.size[1],
            shown,
            **options,
        )

    def _draw_image(
        self,
        panel: Panel,
        colours: NDArray[np.uint8],
        factor: int,
        place: tuple[int, int, int, int],
    ) -> None:
        """Draw the pixels, with coordinates at the edges, and the compass over them."""
        axes = self._framed(place)
        ny, nx = colours.shape[:2]
        y0, x0 = panel.origin
        extent = (x0 - 0.5, x0 + nx * factor - 0.5, y0 - 0.5, y0 + ny * factor - 0.5)
        axes.imshow(colours, origin="lower", extent=extent, interpolation="auto", aspect="auto")
        axes.set_xlim(x0 - 0.5, x0 + panel.shape[1] - 0.5)
        axes.set_ylim(y0 - 0.5, y0 + panel.shape[0] - 0.5)
        axes.xaxis.set_major_locator(_whole_ticks(place[2]))
        axes.yaxis.set_major_locator(_whole_ticks(place[3]))
        if panel.orientation is not None:
            zoom = place[2] / panel.shape[1]
            draw_compass(self._axes(place), panel.orientation, size=place[2:], zoom=zoom)

    def _draw_bar(self, panel: Panel, scale: Scale, place: tuple[int, int, int, int]) -> None:
        """Draw the colour bar with its unit."""
        axes = self._framed(place)
        shades = np.linspace(0.0, 1.0, 256)[:, None]
        if panel.view.is_signed:
            shades = signed_colours(shades)
        axes.imshow(
            shades,
            cmap="gray",
            origin="lower",
            extent=(0, 1, 0, 1),
            aspect="auto",
            vmin=0.0,
            vmax=1.0,
        )
        values = tick_values(scale, separation=max(28 / place[3], 0.05))
        axes.set_yticks(
            [float(scale.shades(np.array([value]))[0]) for value in values],
            [f"{value:.8g}".replace("-", "−") for value in values],
        )
        axes.yaxis.tick_right()
        axes.set_xticks([])
        if panel.unit:
            self._write(place[0], place[1] - 8, panel.unit, size=_FONT - 1)

    def _draw_legend(self, panel: AnyPanel, top: int) -> None:
        """Draw a patch, the name and the share of every plane, below a height of the panel [px]."""
        from matplotlib.patches import Rectangle

        per_row = _per_row(self.cell.width, self.cell.legend_entry)
        for number, entry in enumerate(panel.legend):
            row, column = divmod(number, per_row)
            x = 10 + column * self.cell.legend_entry
            y = top - _LEGEND_ROW * row
            patch = Rectangle(
                (
                    (self.corner[0] + x) / self.size[0],
                    (self.corner[1] + y - 13) / self.size[1],
                ),
                12 / self.size[0],
                11 / self.size[1],
                facecolor=entry.colour,
                edgecolor=_FAINT,
                linewidth=0.5,
                transform=self.figure.transFigure,
            )
            self.figure.add_artist(patch)
            self._write(x + 17, y - 1, _legend_text(entry))


def _side() -> int:
    return _MARGINS["left"] + _MARGINS["right"]


def _whole_ticks(length: int) -> Any:
    """Return what puts marks at round pixel numbers, not closer than their labels are wide."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=max(min(length // 70, 10), 1), integer=True)


def share_text(share: float) -> str:
    """Return a share of pixels in percent, with two digits that count."""
    percent = 100.0 * share
    if percent and percent < 0.01:
        return "<0.01 %"
    return f"{percent:.{0 if percent >= 10 else 1 if percent >= 1 else 2}f} %"
