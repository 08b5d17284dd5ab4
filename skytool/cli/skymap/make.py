"""``skytool skymap make``: a new sky map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from skytool.cli.config import StageCommand, settings_of
from skytool.cli.inputs import expanded
from skytool.cli.options import INPUT, common_options, output_file, reading_options
from skytool.cli.skymap.options import sky_map_options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from skytool.cli.config import Setting
    from skytool.cli.options import RunOptions
    from skytool.io.sources import ExposureSource, ReadOptions
    from skytool.models.skymap.skymap import SkyMap

STAGE = "skymap make"


@click.command(cls=StageCommand)
@click.argument("inputs", nargs=-1, type=INPUT, metavar="[IN...]", callback=expanded)
@output_file
@sky_map_options
@reading_options
@common_options(
    without=(
        *("jobs", "scheduler", "keep_going", "compress", "progress"),
        *("allow_empty", "reuse", "depfile"),
    )
)
@click.pass_context
def make(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    output: Path,
    reading: ReadOptions,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Divide the sky, or a field, into tracts and these into patches.

    A discrete sky map has the tracts that are listed, or with images one tract around them; rings,
    dodeca and healpix divide the whole sky, equat a band along the equator.

    \b
    Examples:
      skytool skymap make raw/*.fits --pixel-scale 0.2 -o field.fits
      skytool skymap make --ra-list 150.1 --dec-list 2.2 --radius-list 0.8 -o cosmos.fits
      skytool skymap make --kind rings --num-rings 120 --projection TAN -o rings.fits
    """
    from skytool.cli.report import Reporter
    from skytool.cli.skymap.options import layout_of, tiling_of, values_of
    from skytool.cli.stage_files import settings_files
    from skytool.io.fits import check_outputs
    from skytool.models.skymap.skymap import SkyMap

    values = values_of(ctx, settings, has_images=bool(inputs))
    side = [] if run.report is None else [run.report]
    check_outputs([output, *side], [*inputs, *settings_files()], overwrite=run.overwrite)
    layout = layout_of(values)
    sources = _sources(inputs, reading)
    sky_map = SkyMap(tiling_of(values, sources), layout, name="the sky map")
    metrics = _metrics(sky_map)
    with Reporter(STAGE, ("kind", "tracts", "patches"), run=run) as report:
        status = "planned" if run.dry_run else "done"
        if not run.dry_run:
            _write(output, sky_map, sources, _in_force(settings_of(ctx), values), run)
        report.row(output, metrics, status=status, inputs=inputs)


def _sources(inputs: Sequence[str], reading: ReadOptions) -> list[ExposureSource]:
    from skytool.io.sources import find_sources

    return [source for name in inputs for source in find_sources(name, reading)]


def _metrics(sky_map: SkyMap) -> dict[str, Any]:
    """Return the numbers of a sky map for the report."""
    from skytool.models.skymap.hdus import tract_columns

    columns = tract_columns(sky_map)
    return {
        "kind": sky_map.tiling.kind,
        "tracts": sky_map.n_tracts,
        "patches": int((columns["NPATCHX"] * columns["NPATCHY"]).sum()),
    }


def _in_force(recorded: Sequence[Setting], values: dict[str, Any]) -> list[Setting]:
    """Return the settings, with the defaults of the kind of sky map where nothing was said."""
    from skytool.cli.config import toml_value

    filled = []
    for setting in recorded:
        value = values.get(setting.name.replace("-", "_"))
        if not setting.value and value is not None:
            setting = setting._replace(value=toml_value(value))  # noqa: PLW2901
        filled.append(setting)
    return filled


def _write(
    output: Path,
    sky_map: SkyMap,
    sources: Sequence[ExposureSource],
    settings: Sequence[Setting],
    run: RunOptions,
) -> None:
    from skytool.io.input_records import input_record
    from skytool.io.skymaps import write_sky_map
    from skytool.models.records.provenance import (
        SettingRecord,
        config_table,
        history_line,
        inputs_table,
    )

    records = [input_record(source, role="skymap-input") for source in sources]
    tables = [inputs_table(records)] if records else []
    tables.append(config_table(SettingRecord(STAGE, *setting) for setting in settings))
    write_sky_map(
        output,
        sky_map,
        history=history_line(STAGE, f"{sky_map.tiling.kind}, {sky_map.n_tracts} tracts"),
        records=tables,
        overwrite=run.may_replace,
    )
