"""The exposures of ``skytool psf``: each is read, its PSF measured, and written with it."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from skytool.cli.convert.units import kind_of
from skytool.cli.members import (
    Member,
    find_members,
    member_record,
    output_of_members,
    postpone,
)
from skytool.cli.stage_files import Product, Unit, run_units
from skytool.errors import IncompatibleError, SkytoolError, SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skytool.cli.config import Setting
    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.io.sources import ReadOptions
    from skytool.models.exposure import Exposure
    from skytool.models.records.provenance import SettingRecord
    from skytool.stages.psf import PsfConfig, PsfMeasurement

STAGE = "psf"
COLUMNS = ("fwhm", "ellipticity", "stars", "reserved", "order", "residual")
_STEM = "{stem}"
_LARGEST_OFFSET = 0.05  # of the widths of stars from that of a given PSF, without a warning


@dataclass(frozen=True, kw_only=True)
class PsfTask:
    """One exposure to measure.

    Parameters
    ----------
    member : Member
        The exposure.
    given : bool
        Whether its PSF is one that the user gives.
    config : PsfConfig
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

    member: Member
    given: bool
    config: PsfConfig
    settings: tuple[SettingRecord, ...]
    output: str
    overwrite: bool
    compress: str


def psf_units(
    inputs: Sequence[str],
    *,
    destination: Destination,
    psf_from: str | None,
    reading: ReadOptions,
    run: RunOptions,
    settings: dict[str, Any],
    recorded: Sequence[Setting],
) -> None:
    """Find the exposures in the inputs and measure each.

    Raises
    ------
    SkytoolError
        What reading, measuring and writing raise; with ``--keep-going`` only at the end.
    """
    from skytool.models.records.provenance import SettingRecord

    config = psf_config(settings)
    _refuse_without_effect(given=psf_from is not None)
    failures: list[Unit[Any]] = []
    members: list[Member] = []
    for name in inputs:
        try:
            members += find_members([name], _with_psf(reading, psf_from, name), run, failures)
        except SkytoolError as error:
            postpone(error, name, run, failures)
    outputs = output_of_members(members, destination)
    shared: dict[str, Any] = {
        "given": psf_from is not None,
        "config": config,
        "settings": tuple(SettingRecord(STAGE, *setting) for setting in recorded),
        "overwrite": run.may_replace,
        "compress": run.compress,
    }
    units = [
        Unit(
            name=member.source.name,
            inputs=member.files,
            outputs=(output,),
            task=PsfTask(member=member, output=str(output), **shared),
            plan={"shape": list(member.source.shape)},
        )
        for member, output in zip(members, outputs, strict=True)
    ]
    run_units(
        attach_psf,
        [*failures, *units],
        stage=STAGE,
        columns=COLUMNS,
        run=run,
        is_current=_is_current,
    )


def psf_config(settings: dict[str, Any]) -> PsfConfig:
    """Return the settings of the stage.

    Raises
    ------
    click.UsageError
        If settings exclude each other.
    IncompatibleError
        If a mask plane is unknown.
    """
    from skytool.models.mask import parse_planes
    from skytool.stages.psf import PsfConfig

    ctx = click.get_current_context()
    grid = settings["grid"]
    if grid is not None and settings["method"] != "grid":
        raise click.UsageError("--grid goes with --method grid.", ctx)
    if grid is not None and (grid.width[1] or grid.height[1]):
        raise click.UsageError(f"--grid {grid} has units; it is a number of points.", ctx)
    try:
        return PsfConfig(
            method=settings["method"],
            spatial_order=settings["spatial_order"],
            max_spatial_order=settings["max_spatial_order"],
            size=settings["size"],
            oversampling=settings["oversampling"],
            grid=None if grid is None else grid.shape(pixel_scale=1.0),
            bad_planes=parse_planes(",".join(settings["bad_planes"])),
            min_snr=settings["min_snr"],
            max_snr=math.inf if settings["max_snr"] is None else settings["max_snr"],
            max_neighbor=settings["max_neighbor"],
            min_stars=settings["min_stars"],
            max_stars=settings["max_stars"],
            reserve_fraction=settings["reserve_fraction"],
            accuracy=settings["accuracy"],
        )
    except ValueError as error:
        raise click.UsageError(f"{error}.", ctx) from error


_OF_MEASURING = ("method", "grid", "oversampling", "min_stars", "reserve_fraction")


def _refuse_without_effect(*, given: bool) -> None:
    """Refuse options on the command line that others leave nothing to do."""
    ctx = click.get_current_context()
    names = {
        param.name
        for param in ctx.command.params
        if param.name and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    }
    for name in _OF_MEASURING:
        if given and name in names:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(
                f"{option} is for measuring a PSF, and --psf-from gives one.", ctx
            )
    if {"spatial_order", "max_spatial_order"} <= names:
        raise click.UsageError(
            "--spatial-order leaves no degree to choose up to --max-spatial-order.", ctx
        )


def _with_psf(reading: ReadOptions, psf_from: str | None, name: str) -> ReadOptions:
    """Return how to read an input with the PSF that the user gives for it."""
    if psf_from is None:
        return reading
    from skytool.io.filespec import FileSpec

    return replace(reading, psf=psf_from.replace(_STEM, FileSpec.parse(name).stem))


def attach_psf(task: PsfTask) -> list[Product]:
    """Read an exposure, measure its PSF, and write it."""
    from skytool.stages.psf import judge_psf, measure_psf

    exposure = task.member.source.read()
    if task.given:
        if exposure.psf is None:
            raise IncompatibleError(f"{exposure.name}: the file of --psf-from holds no PSF.")
        measured = judge_psf(exposure, exposure.psf, task.config)
        _warn_of_doubt(exposure, measured)
    else:
        measured = measure_psf(exposure, task.config)
    metrics = psf_metrics(exposure, measured)
    _write(task, exposure, measured, metrics)
    return [Product(path=task.output, metrics=metrics)]


def _warn_of_doubt(exposure: Exposure, measured: PsfMeasurement) -> None:
    """Warn of a PSF that is not that of the stars, or that none tells of."""
    quality = measured.quality
    problem = ""
    if not quality.n_stars:
        problem = "no star to compare the PSF with"
    elif abs(quality.size_offset) > _LARGEST_OFFSET:
        word = "wider" if quality.size_offset > 0 else "narrower"
        problem = f"stars are {100 * abs(quality.size_offset):.1f} % {word} than the PSF"
    if problem:
        warnings.warn(f"{exposure.name}: {problem}.", SkytoolWarning, stacklevel=2)


def psf_metrics(exposure: Exposure, measured: PsfMeasurement) -> dict[str, Any]:
    """Return the numbers of a measurement for the report."""
    stars, quality = measured.stars, measured.quality
    width, elongation = measured.across(exposure.shape)
    return {
        "fwhm": float(width.mean()),
        "ellipticity": float(elongation.mean()),
        "stars": int(stars.used.sum()),
        "reserved": int(stars.reserved.sum()),
        "order": measured.order,
        "residual": quality.residual,
        "fwhm_min": float(width.min()),
        "fwhm_max": float(width.max()),
        "ellipticity_max": float(elongation.max()),
        "size_offset": quality.size_offset,
        "size_scatter": quality.size_scatter,
        "ellipticity_scatter": quality.ellipticity_scatter,
        "chi2": quality.chi2,
        "sources": measured.n_sources,
        "left_out": dict(measured.left_out),
        "saturation": measured.saturation,
    }


def _write(
    task: PsfTask, exposure: Exposure, measured: PsfMeasurement, metrics: dict[str, Any]
) -> None:
    """Write the exposure with its PSF and the table of stars."""
    from skytool.cli.exposure_product import write_exposure
    from skytool.models.psf.stars import PSF_STARS

    kept = [hdu for hdu in exposure.extensions if hdu.name != PSF_STARS]
    table = measured.stars.to_hdu(unit=exposure.unit)
    n_stars = metrics["stars"] or metrics["reserved"]
    source = task.member.source
    given = [ref.path.name for ref in source.recipe.psf] if task.given else []
    cards = {
        "PSFFWHM": (metrics["fwhm"], "[pixel] full width of the PSF at half maximum, mean"),
        "PSFELL": (metrics["ellipticity"], "ellipticity of the PSF, mean"),
        "PSFNSTAR": (metrics["stars"], "stars that the PSF was fitted to"),
        "PSFNRES": (metrics["reserved"], "stars kept apart to judge it by"),
        "PSFORDER": (metrics["order"], "degree of its variation"),
        "PSFRESID": (_number(metrics["residual"]), "power of the residual over that of stars"),
        "PSFDSIZE": (_number(metrics["size_offset"]), "stars wider than the PSF, relative"),
        "PSFSSIZE": (_number(metrics["size_scatter"]), "scatter of that"),
        "PSFSELL": (_number(metrics["ellipticity_scatter"]), "median difference of ellipticity"),
        "SKYPRINT": _fingerprint(task) or None,
    }
    write_exposure(
        exposure.with_values(psf=measured.psf, extensions=(*kept, table)),
        task.output,
        stage=STAGE,
        history=f"PSF {'of ' + given[0] if given else 'measured'}, {n_stars} stars",
        cards=cards,
        records=[
            member_record(task.member, role="science"),
        ],
        settings=task.settings,
        overwrite=task.overwrite,
        compress=task.compress,
        kind=kind_of(source),
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _fingerprint(task: PsfTask) -> str:
    """Return what changes whenever the product of a task may change."""
    from skytool.models.records.provenance import fingerprint

    source = task.member.source
    return "" if source.spec.is_standard_stream else fingerprint([source.digest()], task.settings)


def _is_current(unit: Unit[PsfTask]) -> bool:
    """Return whether a product was made from the input and settings in force."""
    from skytool.io.fits import opened

    wanted = _fingerprint(unit.task)
    with opened(unit.outputs[0], verify=True) as hdus:
        return bool(wanted and hdus[0].header.get("SKYPRINT") == wanted)
