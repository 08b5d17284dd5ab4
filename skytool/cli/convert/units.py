"""The exposures that ``skytool convert`` converts: found by headers, then read and written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from skytool.cli.stage_files import Product, Unit, run_units
from skytool.errors import IncompatibleError, SkytoolError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from astropy.io import fits

    from skytool.cli.config import Setting
    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.io.sources import ExposureSource, ReadOptions
    from skytool.models.exposure import Exposure
    from skytool.models.records.provenance import InputRecord, SettingRecord

STAGE = "convert"
COLUMNS = ("layout", "shape", "coverage")
OWN = "skytool"


@dataclass(frozen=True, kw_only=True)
class ConvertTask:
    """One exposure to read and write.

    Parameters
    ----------
    source : ExposureSource
        The exposure.
    to : str
        Layout to write.
    bad_planes : tuple of str
        Planes that are bad where the layout has no planes.
    settings : tuple of SettingRecord
        All settings, for the record.
    named : Path
        The file that was asked for, which names all.
    outputs : tuple of str
        The files, the image first.
    overwrite : bool
        Whether they may be replaced.
    compress : str
        How they are compressed.
    """

    source: ExposureSource
    to: str
    bad_planes: tuple[str, ...]
    settings: tuple[SettingRecord, ...]
    named: Path
    outputs: tuple[str, ...]
    overwrite: bool
    compress: str


def convert_units(
    inputs: Sequence[str],
    *,
    destination: Destination,
    to: str,
    bad_planes: tuple[str, ...],
    reading: ReadOptions,
    run: RunOptions,
    recorded: Sequence[Setting],
) -> None:
    """Find the exposures in the inputs and convert each.

    Raises
    ------
    SkytoolError
        What reading and writing raise; with ``--keep-going`` only at the end.
    """
    from skytool.models.records.provenance import SettingRecord

    if destination.output is not None:
        destination.paths(inputs)  # one input
    shared = {
        "to": to,
        "bad_planes": bad_planes,
        "settings": tuple(SettingRecord(STAGE, *setting) for setting in recorded),
        "overwrite": run.may_replace,
        "compress": run.compress,
    }
    units: list[Unit[Any]] = []
    for name in inputs:
        try:
            sources = _sources(name, destination, reading)
            if run.dry_run:
                check_headers(sources)
            units += [_unit(source, destination, shared) for source in sources]
        except SkytoolError as error:
            if not run.keep_going:
                raise
            units.append(Unit(name=name, inputs=(name,), outputs=(), task=None, error=error))
    _refuse_equal_names(units)
    run_units(
        convert_exposure, units, stage=STAGE, columns=COLUMNS, run=run, is_current=_is_current
    )


def _sources(name: str, destination: Destination, reading: ReadOptions) -> list[ExposureSource]:
    """Return the exposures of an input; only one if there is one output."""
    from skytool.io.sources import find_sources

    sources = find_sources(name, reading)
    if destination.output is not None and len(sources) > 1:
        raise IncompatibleError(
            f"{name} holds {len(sources)} exposures, and --output is for one.",
            hint=f"Give --output-dir, or one of {', '.join(source.name for source in sources)}.",
        )
    return sources


def check_headers(sources: Sequence[ExposureSource]) -> None:
    """Refuse without reading pixels what reading would refuse for its headers.

    Raises
    ------
    IncompatibleError
        If coordinates are not usable.
    """
    for source in sources:
        source.wcs()


def _unit(
    source: ExposureSource, destination: Destination, shared: dict[str, Any]
) -> Unit[ConvertTask]:
    named = _named(source, destination)
    outputs = _outputs(source, named, shared["to"])
    task = ConvertTask(source=source, named=named, outputs=tuple(map(str, outputs)), **shared)
    return Unit(
        name=source.name,
        inputs=tuple(str(path) for path in source.files),
        outputs=outputs,
        task=task,
        plan={"layout": source.layout, "shape": list(source.shape), "to": shared["to"]},
    )


def _named(source: ExposureSource, destination: Destination) -> Path:
    """Return the name that the files for an exposure are named by.

    An exposure that was named by its extension, or is one of several in a file, has the
    extension in its name: ``raw7-N4.fits``.
    """
    spec = source.spec
    if destination.output is not None:
        return destination.single()
    if spec.is_standard_stream:
        raise click.UsageError(
            "standard input has no name; give --output.", click.get_current_context()
        )
    label = source.name.removeprefix(spec.file_name).strip("[]").replace(",", "-")
    stem = f"{spec.stem}-{label}" if label else spec.stem
    return destination.named(f"{stem.replace('/', '_')}.fits")


def _outputs(source: ExposureSource, output: Path, to: str) -> tuple[Path, ...]:
    """Return the files for an exposure, the image first."""
    if to == OWN:
        return (output,)
    from skytool.io.exports import EXPORTS

    outputs = EXPORTS[to].paths(output, source.header, source.name)
    if len(outputs) > 1 and str(output) == "-":
        raise click.UsageError(
            f"--to {to} writes {len(outputs)} files; give --output FILE.",
            click.get_current_context(),
        )
    return outputs


def _refuse_equal_names(units: Sequence[Unit[Any]]) -> None:
    """Refuse two inputs whose products would have one name."""
    made: dict[Path, str] = {}
    for unit in units:
        for path in unit.outputs:
            if path in made:
                raise click.UsageError(
                    f"{made[path]} and {unit.name} would both become {path}.",
                    click.get_current_context(),
                )
            made[path] = unit.name


def convert_exposure(task: ConvertTask) -> list[Product]:
    """Read one exposure and write it."""
    exposure = task.source.read()
    if task.to == OWN:
        _write_own(task, exposure)
    else:
        from skytool.io.exports import export_exposure

        export_exposure(
            exposure,
            task.named,
            to=task.to,
            bad_planes=task.bad_planes,
            notes=_notes(task),
            overwrite=task.overwrite,
            compress=task.compress,
        )
    metrics = _metrics(task.source, exposure)
    return [Product(path=path, metrics=metrics) for path in task.outputs]


def _metrics(source: ExposureSource, exposure: Exposure) -> dict[str, Any]:
    """Return the numbers for the report."""
    import numpy as np

    valued = np.isfinite(exposure.image)
    ny, nx = exposure.shape
    planes = {
        name: int(np.count_nonzero(exposure.mask.any_of([name]))) for name in exposure.mask.bits
    }
    return {
        "layout": source.layout,
        "shape": f"{nx}x{ny}",
        "coverage": float(np.mean(valued)),
        "unit": exposure.unit,
        "planes": {name: count for name, count in planes.items() if count},
        "psf": exposure.psf is not None,
        "wcs": exposure.wcs is not None,
    }


def _fingerprint(task: ConvertTask) -> str:
    """Return what changes whenever the product of a task may change."""
    from skytool.models.records.provenance import fingerprint

    return fingerprint([task.source.digest()], task.settings)


def _notes(task: ConvertTask) -> fits.Header:
    """Return the cards of the conversion itself."""
    from astropy.io import fits

    from skytool.models.keywords import set_card
    from skytool.models.records.provenance import history_line

    header = fits.Header()
    set_card(header, "SKYPRINT", _fingerprint(task))
    source = task.source
    header.add_history(history_line(STAGE, f"{source.name}, {source.layout} to {task.to}"))
    return header


def _write_own(task: ConvertTask, exposure: Exposure) -> None:
    """Write an exposure in our layout, with its provenance."""
    from skytool.io.fits import write_hdus
    from skytool.models.exposure_hdus import primary_header, to_hdus
    from skytool.models.records.provenance import (
        INPUTS,
        config_table,
        earlier_settings,
        inputs_table,
        without_provenance,
    )

    notes = _notes(task)
    earlier = exposure.extensions
    # what made a file of ours stays true of its copy
    inputs = [hdu for hdu in earlier if hdu.name == INPUTS] or [inputs_table(_records(task))]
    settings = [*earlier_settings(earlier, name=exposure.name), *task.settings]
    exposure = exposure.with_values(extensions=tuple(without_provenance(earlier)))
    primary = primary_header(
        exposure,
        kind=kind_of(task.source),
        stage=STAGE,
        history=str(notes["HISTORY"][0]),
        cards={"SKYPRINT": notes["SKYPRINT"]},
    )
    write_hdus(
        task.outputs[0],
        [*to_hdus(exposure), *inputs, config_table(settings)],
        primary=primary,
        overwrite=task.overwrite,
        compress=task.compress,
    )


def kind_of(source: ExposureSource) -> str:
    """Return what the product holds: an exposure, or what a file of ours holds already."""
    return str(source.header["SKYTYPE"]).strip() if source.recipe.native else "EXPOSURE"


def _records(task: ConvertTask) -> list[InputRecord]:
    """Return a row for the image and for every plane that was read beside it."""
    from skytool.io.assembly import datasums
    from skytool.models.records.provenance import InputRecord

    recipe = task.source.recipe
    mask = () if recipe.mask.plane is None else (recipe.mask.plane,)
    planes = [
        ("science", (recipe.image,)),
        (recipe.variance.kind, recipe.variance.planes),
        ("mask", mask),
        ("psf", recipe.psf),
    ]
    records = []
    for role, refs in planes:
        for ref, datasum in zip(refs, datasums(list(refs)), strict=True):
            name, _, version = ref.label.partition(",")
            records.append(
                InputRecord(
                    role=role,
                    file=ref.path.name,
                    extname=name,
                    extver=int(version or 1),
                    datasum=datasum,
                )
            )
    return records


def _is_current(unit: Unit[ConvertTask]) -> bool:
    """Return whether all products were made from the input and settings in force."""
    from skytool.io.fits import opened

    wanted = _fingerprint(unit.task)
    for path in unit.outputs:
        with opened(path, verify=True) as hdus:
            if hdus[0].header.get("SKYPRINT") != wanted:
                return False
    return True
