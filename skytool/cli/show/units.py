"""The picture of ``skytool show``: exposures found by headers, then read and drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from skytool.cli.convert.units import check_headers
from skytool.cli.stage_files import Product, Unit, run_units
from skytool.errors import InputError, SkytoolError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from skytool.cli.options import RunOptions
    from skytool.io.sources import ExposureSource, ReadOptions
    from skytool.pictures.panel import View

STAGE = "show"
COLUMNS = ("panels", "width", "height")


@dataclass(frozen=True, kw_only=True)
class ShowTask:
    """A picture to draw.

    Parameters
    ----------
    sources : tuple of ExposureSource
        The exposures.
    views : tuple of View
        What to draw of each.
    size : (int, int) or None
        Room for the picture [px].
    kind : str
        Format: ``png``, ``pdf`` or ``svg``.
    output : Path
        The picture.
    overwrite : bool
        Whether it may be replaced.
    """

    sources: tuple[ExposureSource, ...]
    views: tuple[View, ...]
    size: tuple[int, int] | None
    kind: str
    output: Path
    overwrite: bool


def show_files(
    inputs: Sequence[str],
    output: Path,
    *,
    extensions: Sequence[str],
    view: dict[str, Any],
    size: tuple[int, int] | None,
    kind: str,
    reading: ReadOptions,
    run: RunOptions,
) -> None:
    """Find the exposures in the inputs and draw them.

    Raises
    ------
    SkytoolError
        What reading and writing raise; with ``--keep-going``, files that cannot be read are left
        out of the picture.
    """
    _require_matplotlib()
    if not extensions:
        raise click.UsageError("--extension names nothing to draw.", click.get_current_context())
    from skytool.io.sources import find_sources
    from skytool.pictures.panel import View
    from skytool.pictures.scaling import Stretch

    if view["stretch"] is not None:
        view = {**view, "stretch": Stretch(view["stretch"])}
    sources: list[ExposureSource] = []
    units: list[Unit[Any]] = []
    for name in inputs:
        try:
            found = find_sources(name, reading)
            if run.dry_run:
                check_headers(found)
            sources += found
        except SkytoolError as error:
            if not run.keep_going:
                raise
            units.append(Unit(name=name, inputs=(name,), outputs=(), task=None, error=error))
    if sources:
        views = tuple(View(extension=name, **view) for name in extensions)
        task = ShowTask(
            sources=tuple(sources),
            views=views,
            size=size,
            kind=kind,
            output=output,
            overwrite=run.may_replace,
        )
        units.append(_unit(task))
    run_units(draw, units, stage=STAGE, columns=COLUMNS, run=run)


def _unit(task: ShowTask) -> Unit[ShowTask]:
    names = [source.name for source in task.sources]
    return Unit(
        name=", ".join(names),
        inputs=tuple(dict.fromkeys(str(path) for s in task.sources for path in s.files)),
        outputs=(task.output,),
        task=task,
        plan={"panels": len(task.sources) * len(task.views)},
    )


def _require_matplotlib() -> None:
    """Refuse to begin where the package that draws is not installed."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise InputError(
            "pictures are drawn by matplotlib, which is not installed.",
            hint="Install the extra: pip install 'skytool[plot]'.",
        )


def draw(task: ShowTask) -> list[Product]:
    """Read the exposures, draw and write the picture."""
    from skytool.io.writing import write_bytes
    from skytool.pictures.panel import panel_of
    from skytool.pictures.picture import draw_picture

    panels = []
    for source in task.sources:
        exposure = source.read(needs_variance=False)
        panels += [panel_of(exposure, view) for view in task.views]
    picture = draw_picture(panels, size=task.size, kind=task.kind)
    write_bytes(task.output, picture.content, overwrite=task.overwrite)
    width, height = picture.size
    metrics = {"panels": len(panels), "width": width, "height": height}
    return [Product(path=str(task.output), metrics=metrics)]
