"""``skytool skymap find``: the tracts and patches of positions and images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from skytool.cli.config import StageCommand
from skytool.cli.inputs import expanded
from skytool.cli.options import INPUT, SKY_POSITION, common_options, reading_options
from skytool.cli.skymap.list import LOOK_UP_ONLY
from skytool.errors import NothingToDoError, SkytoolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from skytool.cli.options import RunOptions, SkyPosition
    from skytool.cli.report import Reporter
    from skytool.io.sources import ReadOptions
    from skytool.models.skymap.skymap import Patch, SkyMap

STAGE = "skymap find"
_COLUMNS = ("tract", "patch", "patch_id")


@click.command(cls=StageCommand)
@click.argument("sky_map", type=INPUT, metavar="MAP")
@click.argument("inputs", nargs=-1, type=INPUT, metavar="[IN...]", callback=expanded)
@click.option(
    "--position",
    "positions",
    type=SKY_POSITION,
    multiple=True,
    help="A position, ICRS; repeatable.",
)
@reading_options
@common_options(without=LOOK_UP_ONLY)
@click.pass_context
def find(
    ctx: click.Context,
    /,
    sky_map: str,
    inputs: tuple[str, ...],
    positions: tuple[SkyPosition, ...],
    reading: ReadOptions,
    run: RunOptions,
) -> None:
    """Find the tracts and patches that hold positions, and those that images reach.

    Where tracts overlap, the first row of a position is the tract it belongs to; the patch is the
    one with the position in its inner part. An image reaches a patch if it has a point in common
    with it, the border of the patch included. Of images only the headers are read.

    \b
    Examples:
      skytool skymap find rings.fits --position 10:00:28,+02:12:21
      skytool skymap find field.fits raw/*.fits --json
    """
    from skytool.cli.report import Reporter
    from skytool.io.fits import check_outputs
    from skytool.io.skymaps import read_sky_map

    if not inputs and not positions:
        raise click.UsageError("give images, or --position RA,DEC.", ctx)
    if run.report is not None:
        check_outputs([run.report], [sky_map, *inputs], overwrite=run.overwrite)
    found = read_sky_map(sky_map)
    with Reporter(STAGE, _COLUMNS, run=run) as report:
        for place, position in enumerate(positions):
            _attempt(str(position), place, _of_position(found, position), report)
        for place, name in enumerate(inputs, len(positions)):
            _attempt(name, place, _of_images(found, name, reading), report)


def _attempt(
    name: str, place: int, rows: Iterator[tuple[str, dict[str, Any]]], report: Reporter
) -> None:
    """Report what was found, or that it failed."""
    try:
        for path, row in rows:
            report.row(path, row)
    except SkytoolError as error:
        report.failure(name, error, index=place)
        if not report.run.keep_going:
            raise


def _of_position(sky_map: SkyMap, position: SkyPosition) -> Iterator[tuple[str, dict[str, Any]]]:
    tracts = sky_map.tracts_holding(position.ra, position.dec)
    if not tracts:
        raise NothingToDoError(f"{position} lies in no tract of {sky_map.name}.")
    own = int(sky_map.tiling.find(position.ra, position.dec)[0])
    for tract in tracts:
        patch = tract.patch_at(position.ra, position.dec)
        if patch is not None:
            yield str(position), {**_row(patch), "own": tract.number == own}


def _of_images(
    sky_map: SkyMap, name: str, reading: ReadOptions
) -> Iterator[tuple[str, dict[str, Any]]]:
    from skytool.cli.skymap.options import wcs_of
    from skytool.io.sources import find_sources

    sources = find_sources(name, reading)
    for source in sources:
        path = str(source.spec) if len(sources) > 1 else name
        patches = list(sky_map.overlapping(wcs_of(source), source.shape, name=source.name))
        if not patches:
            raise NothingToDoError(f"{path} reaches no patch of {sky_map.name}.")
        for patch in patches:
            yield path, _row(patch)


def _row(patch: Patch) -> dict[str, Any]:
    return {"tract": patch.tract.number, "patch": patch.label, "patch_id": patch.number}
