"""The one unit of work of ``skytool coadd``: all warps are read twice, first as a whole, then by rows."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from skytool.cli.stage_files import Product, Unit, run_units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from skytool.cli.config import Setting
    from skytool.cli.options import RunOptions
    from skytool.io.sources import ExposureSource, ReadOptions
    from skytool.models.exposure import Exposure
    from skytool.models.records.merged import WarpRecords
    from skytool.models.records.provenance import InputRecord, SettingRecord
    from skytool.stages.coadd import CoaddConfig, CoaddInput, CoaddResult

STAGE = "coadd"
COLUMNS = ("inputs", "coverage", "clipped")
_BYTES_PER_PIXEL = 12  # of image, mask and variance
_OF_NOISE = ("clip_amplitude", "clip_steepness", "clip_grow")
_OF_CLIPPING = ("sigma_clip", "clip_iter", "clip_scale", *_OF_NOISE)


@dataclass(frozen=True, kw_only=True)
class CoaddTask:
    """Warps to add and where to write the coadd.

    Parameters
    ----------
    sources : tuple of ExposureSource
        The warps.
    filter_name : str
        Filter of all.
    config : CoaddConfig
        Settings of the stage.
    settings : tuple of SettingRecord
        All settings, for the record.
    output : str
        The product.
    overwrite : bool
        Whether it may be replaced.
    compress : str
        How it is compressed.
    """

    sources: tuple[ExposureSource, ...]
    filter_name: str
    config: CoaddConfig
    settings: tuple[SettingRecord, ...]
    output: str
    overwrite: bool
    compress: str


@dataclass(frozen=True, eq=False)
class ReadWarp:
    """What is kept of a warp when it has been read.

    Parameters
    ----------
    facts : CoaddInput
        What the stage needs to know of it.
    records : WarpRecords
        Its visit and detectors.
    settings : tuple of SettingRecord
        How it was made.
    inputs : tuple of InputRecord
        What it was made of.
    planes : Exposure or None
        Its pixels, if there is room for those of all.
    """

    facts: CoaddInput
    records: WarpRecords
    settings: tuple[SettingRecord, ...]
    inputs: tuple[InputRecord, ...]
    planes: Exposure | None


def coadd_units(
    inputs: Sequence[str],
    *,
    output: Path,
    reading: ReadOptions,
    run: RunOptions,
    settings: dict[str, Any],
    recorded: Sequence[Setting],
) -> None:
    """Find the warps, check that they fit together, and add them.

    Raises
    ------
    IncompatibleError
        If grids, filters or units differ.
    SkytoolError
        What reading, combining and writing raise.
    """
    from skytool.io.sources import find_sources
    from skytool.models.records.provenance import SettingRecord
    from skytool.stages.coadd import check_warps

    config = _config(settings)
    sources = [source for name in inputs for source in find_sources(name, reading)]
    task = CoaddTask(
        sources=tuple(sources),
        filter_name=check_warps(sources),
        config=config,
        settings=tuple(SettingRecord(STAGE, *setting) for setting in recorded),
        output=str(output),
        overwrite=run.may_replace,
        compress=run.compress,
    )
    files = dict.fromkeys(str(path) for source in sources for path in source.files)
    unit = Unit(
        name=str(output),
        inputs=tuple(files),
        outputs=(output,),
        task=task,
        plan={"inputs": len(sources), "shape": list(sources[0].shape)},
    )
    run_units(make_coadd, [unit], stage=STAGE, columns=COLUMNS, run=run, is_current=_is_current)


def _config(settings: dict[str, Any]) -> CoaddConfig:
    """Return the settings of the stage, checked against each other."""
    from skytool.cli.warp.settings import refuse_unused
    from skytool.models.mask import parse_planes
    from skytool.stages.coadd import Clipping, CoaddConfig

    ctx = click.get_current_context()
    if (settings["units"] == "zeropoint") != (settings["zeropoint"] is not None):
        raise click.UsageError("--units zeropoint and --zeropoint go together.", ctx)
    if settings["statistic"] != "meanclip":
        refuse_unused(_OF_CLIPPING, "without --statistic meanclip", ctx)
    elif settings["clip_scale"] == "scatter":
        refuse_unused(_OF_NOISE, "with --clip-scale scatter", ctx)
    clipping = Clipping(
        sigma=settings["sigma_clip"],
        iterations=settings["clip_iter"],
        scale=settings["clip_scale"],
        amplitude=settings["clip_amplitude"],
        steepness=settings["clip_steepness"],
        grow_sigma=settings["clip_grow"],
    )
    return CoaddConfig(
        statistic=settings["statistic"],
        clipping=clipping,
        weight=settings["weight_by"],
        propagate_from=settings["propagate_from"],
        units=settings["units"],
        zeropoint=settings["zeropoint"],
        bad_planes=parse_planes(",".join(settings["bad_planes"])),
        propagate_planes=parse_planes(",".join(settings["propagate_planes"])),
        strip_bytes=settings["strip_memory"] << 20,
    )


def make_coadd(task: CoaddTask) -> list[Product]:
    """Read, combine and write."""
    from skytool.cli.coadd.product import write_coadd
    from skytool.stages.coadd import coadd_warps

    warps = _numbered(_read(task))
    first = task.sources[0]
    with _rows(task, warps) as rows:
        result = coadd_warps(
            [warp.facts for warp in warps],
            rows,
            shape=first.shape,
            wcs=first.wcs(),
            origin=first.origin,
            config=task.config,
            name=task.output,
        )
    write_coadd(task, warps, result)
    return [Product(path=task.output, metrics=_metrics(result))]


def _read(task: CoaddTask) -> list[ReadWarp]:
    """Read the warps one after the other, and keep their pixels if all of them are few."""
    from skytool.io.warps import read_warp
    from skytool.stages.coadd import CoaddInput

    ny, nx = task.sources[0].shape
    keep = len(task.sources) * ny * nx * _BYTES_PER_PIXEL <= task.config.strip_bytes
    warps = []
    for index, source in enumerate(task.sources):
        stored = read_warp(source, index)
        facts = CoaddInput.from_exposure(stored.exposure, task.config)
        planes = stored.exposure.with_values(psf=None, extensions=()) if keep else None
        warps.append(ReadWarp(facts, stored.records, stored.settings, stored.inputs, planes))
        del stored
    return warps


def _numbered(warps: list[ReadWarp]) -> list[ReadWarp]:
    """Return the warps with a number of its own for every visit and detector."""
    from dataclasses import replace

    from skytool.models.records.merged import numbered_apart

    apart = numbered_apart(warp.records for warp in warps)
    return [
        replace(warp, records=records, facts=warp.facts.renumbered(records.numbers))
        for warp, records in zip(warps, apart, strict=True)
    ]


@contextmanager
def _rows(
    task: CoaddTask, warps: Sequence[ReadWarp]
) -> Iterator[Callable[[int, int, int], Exposure]]:
    """Return what reads rows of a warp, from memory or from its file."""
    from skytool.io.rows import exposure_rows, rows_of

    kept = [warp.planes for warp in warps if warp.planes is not None]
    if len(kept) == len(warps):
        yield lambda index, start, stop: rows_of(kept[index], start, stop)
    else:
        with exposure_rows(task.sources) as rows:
            yield rows


def _metrics(result: CoaddResult) -> dict[str, Any]:
    """Return the numbers of a coadd for the report."""
    used = sum(entry.used for entry in result.inputs)
    clipped = sum(entry.clipped for entry in result.inputs)
    return {
        "inputs": sum(entry.weight > 0.0 for entry in result.inputs),
        "coverage": result.coverage,
        "clipped": clipped / max(used + clipped, 1),
        "mean_depth": used / result.n_image.size,
    }


def _is_current(unit: Unit[CoaddTask]) -> bool:
    """Return whether a product was made from the inputs and settings in force."""
    from skytool.cli.coadd.product import product_fingerprint
    from skytool.io.fits import opened

    with opened(unit.outputs[0], verify=True) as hdus:
        made_by = hdus[0].header.get("SKYPRINT")
    return bool(made_by == product_fingerprint(unit.task))
