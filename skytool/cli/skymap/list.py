"""``skytool skymap list``: the tracts of a sky map, or the patches of a tract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from skytool.cli.config import StageCommand
from skytool.cli.options import INPUT, common_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from skytool.cli.options import RunOptions
    from skytool.models.skymap.skymap import SkyMap, Tract

STAGE = "skymap list"

LOOK_UP_ONLY = (
    *("overwrite", "jobs", "scheduler", "compress", "progress"),
    *("reuse", "depfile", "dry_run"),
)
"""Options of a run that a command which only looks things up has no use for."""

_TRACT_COLUMNS: tuple[str, ...] = ("tract", "ra", "dec", "nx", "ny", "patches_x", "patches_y")
_PATCH_COLUMNS: tuple[str, ...] = (
    "tract",
    "patch",
    "patch_id",
    "ra",
    "dec",
    "x0",
    "y0",
    "nx",
    "ny",
)


@click.command(cls=StageCommand, name="list")
@click.argument("sky_map", type=INPUT, metavar="MAP")
@click.option("--tract", type=click.IntRange(min=0), help="List the patches of this tract instead.")
@common_options(without=(*LOOK_UP_ONLY, "keep_going", "allow_empty", "report"))
def list_tracts(sky_map: str, tract: int | None, run: RunOptions) -> None:
    """List the tracts of a sky map, or the patches of one tract.

    A tract has its number, its middle [deg], its size and its number of patches; a patch its place
    x,y and its sequential number, the middle of its inner part [deg], and the first pixel and the
    size of its images, borders included.

    \b
    Examples:
      skytool skymap list field.fits
      skytool skymap list rings.fits --tract 9813 --json
    """
    from skytool.cli.report import Reporter
    from skytool.io.skymaps import read_sky_map

    found = read_sky_map(sky_map)
    if tract is None:
        columns, rows = _TRACT_COLUMNS, _tract_rows(found)
    else:
        columns, rows = _PATCH_COLUMNS, patch_rows(found.tract(tract))
    with Reporter(STAGE, columns, run=run) as report:
        for row in rows:
            report.row(sky_map, row, text=as_text(sky_map, row, columns))


def as_text(path: str, row: dict[str, Any], columns: tuple[str, ...]) -> str:
    """Return a row as it is printed: angles to a thousandth of a second of arc."""
    cells = [row[column] for column in columns]
    texts = [f"{cell:.7f}" if isinstance(cell, float) else str(cell) for cell in cells]
    return "\t".join([path, *texts])


def _tract_rows(sky_map: SkyMap) -> Iterator[dict[str, Any]]:
    """Yield what there is to say of every tract."""
    from skytool.models.skymap.hdus import tract_columns

    columns = tract_columns(sky_map)
    names = ("TRACT", "RA", "DEC", "NX", "NY", "NPATCHX", "NPATCHY")
    for values in zip(*(columns[name].tolist() for name in names), strict=True):
        yield dict(zip(_TRACT_COLUMNS, values, strict=True))


def patch_rows(tract: Tract) -> Iterator[dict[str, Any]]:
    """Yield what there is to say of every patch of a tract."""
    nx = tract.n_patches[1]
    for number, (ra, dec) in enumerate(zip(*map(list, tract.patch_centers()), strict=True)):
        patch = tract.patch(y=number // nx, x=number % nx)
        box = patch.outer_box
        yield {
            "tract": tract.number,
            "patch": patch.label,
            "patch_id": number,
            "ra": float(ra),
            "dec": float(dec),
            "x0": box.x,
            "y0": box.y,
            "nx": box.shape[1],
            "ny": box.shape[0],
        }
