"""The one unit of work of ``skytool dcr-template``."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from skytool.cli.dcr.options import sky_center
from skytool.cli.skymap.options import wcs_of
from skytool.cli.stage_files import Product, Unit, run_units
from skytool.errors import IncompatibleError, SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from skytool.cli.config import Setting
    from skytool.cli.dcr.options import RefractionChoice
    from skytool.cli.options import RunOptions
    from skytool.io.sources import ExposureSource, ReadOptions
    from skytool.models.dcr.model import DcrModel
    from skytool.models.exposure import Exposure
    from skytool.models.observation.pointing import Pointing
    from skytool.models.records.provenance import SettingRecord
    from skytool.stages.dcr.template import TemplateConfig

STAGE = "dcr-template"
COLUMNS = ("models", "coverage", "airmass", "largest_shift")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TemplateTask:
    """A template to make.

    Parameters
    ----------
    models : tuple of str
        Files of the models.
    science : ExposureSource
        The exposure.
    pointing : Pointing
        Where the zenith was in it.
    config : TemplateConfig
        Settings of the stage.
    allow_missing : bool
        Whether subfilters may be missing.
    settings : tuple of SettingRecord
        All settings, for the record.
    output : str
        The product.
    overwrite : bool
        Whether it may be replaced.
    compress : str
        How it is compressed.
    """

    models: tuple[str, ...]
    science: ExposureSource
    pointing: Pointing
    config: TemplateConfig
    allow_missing: bool
    settings: tuple[SettingRecord, ...]
    output: str
    overwrite: bool
    compress: str


def template_units(
    inputs: Sequence[str],
    *,
    science: str,
    output: Path,
    config: dict[str, Any],
    allow_missing: bool,
    choice: RefractionChoice,
    reading: ReadOptions,
    run: RunOptions,
    recorded: Sequence[Setting],
) -> None:
    """Find the exposure and where its zenith was, and make the template.

    Raises
    ------
    IncompatibleError
        If the exposure does not say where the zenith was, or models do not fit.
    SkytoolError
        What reading and writing raise.
    """
    from skytool.core.resampling.kernels import resampling_kernel
    from skytool.io.sources import find_sources
    from skytool.models.records.provenance import SettingRecord
    from skytool.stages.dcr.template import TemplateConfig

    ctx = click.get_current_context(silent=True)
    try:
        resampling_kernel(config["kernel"])
    except ValueError as error:
        raise click.UsageError(f"--kernel: {error}.", ctx) from error
    found = find_sources(science, reading)
    if len(found) != 1:
        raise IncompatibleError(
            f"{science} holds {len(found)} images, and a template is for one.",
            hint="Give FILE[EXT].",
        )
    order: int | str | None = config["order"]
    if order != "auto":
        order = None if order == "spectral" else int(config["order"])
    task = TemplateTask(
        models=tuple(inputs),
        science=found[0],
        pointing=_pointing(found[0], choice),
        config=TemplateConfig(order=order, kernel=config["kernel"], border=config["border"]),
        allow_missing=allow_missing,
        settings=tuple(SettingRecord(STAGE, *setting) for setting in recorded),
        output=str(output),
        overwrite=run.may_replace,
        compress=run.compress,
    )
    unit = Unit(
        name=str(output),
        inputs=(*inputs, *dict.fromkeys(str(path) for path in found[0].files)),
        outputs=(output,),
        task=task,
        plan={"models": len(inputs), "shape": list(found[0].shape)},
    )
    run_units(make_template, [unit], stage=STAGE, columns=COLUMNS, run=run, is_current=_is_current)


def _pointing(source: ExposureSource, choice: RefractionChoice) -> Pointing:
    """Return where the zenith was in the exposure."""
    from skytool.models.observation.observation import observation_from_header
    from skytool.models.observation.pointing import resolve_pointing

    pointing = resolve_pointing(
        observation_from_header(source.header),
        center=sky_center(source),
        name=source.name,
        options=choice.pointing_options(),
    )
    for note in pointing.notes:
        warnings.warn(f"{source.name}: {note}.", SkytoolWarning, stacklevel=2)
    unknown = [name for name, origin in pointing.sources.items() if origin == "default"]
    if unknown:
        text = ", ".join(unknown)
        _log.info("%s: standard air, for the header has no %s", source.name, text)
    return pointing


def make_template(task: TemplateTask) -> list[Product]:
    """Read the models, make the template and write it."""
    import numpy as np

    from skytool.io.dcr_models import read_dcr_models
    from skytool.models.sky.geometry import TargetGrid
    from skytool.stages.dcr.template import template_for

    models = read_dcr_models(task.models, allow_missing=task.allow_missing)
    _check_filter(task, models)
    science = task.science
    grid = TargetGrid(wcs_of(science), science.shape, science.origin, science.name)
    template = template_for(models, task.pointing, grid, task.config)
    largest = max(model.shifts_for(task.pointing).largest for model in models)
    _write(task, template, largest)
    metrics = {
        "models": len(models),
        "coverage": float(np.isfinite(template.image).mean()),
        "airmass": task.pointing.airmass,
        "largest_shift": largest,
        "zenith_position_angle": task.pointing.parallactic_angle,
    }
    return [Product(path=task.output, metrics=metrics)]


def _check_filter(task: TemplateTask, models: Sequence[DcrModel]) -> None:
    """Refuse an exposure through another filter than that of the models."""
    from skytool.models.observation.observation import band_of, observation_from_header

    own = observation_from_header(task.science.header)
    for model in models:
        if own.filter and model.filter and band_of(model.filter) != own.band:
            raise IncompatibleError(
                f"{task.science.name} has the filter {own.filter!r}, {model.name} "
                f"{model.filter!r}.",
                hint="Give models of its filter.",
            )


def _write(task: TemplateTask, template: Exposure, largest: float) -> None:
    """Write the template with its records."""
    from skytool.io.fits import write_hdus
    from skytool.models.exposure_hdus import primary_header, to_hdus
    from skytool.models.records.provenance import config_table, history_line, inputs_table

    text = f"{len(task.models)} models, for {task.science.spec.file_name}"
    primary = primary_header(
        template,
        kind="COADD",
        stage=STAGE,
        history=history_line(STAGE, text),
        cards={
            "AIRMASS": task.pointing.airmass,
            "ZENITHPA": (task.pointing.parallactic_angle, "[deg] direction of the zenith"),
            "DCRSHIFT": (largest, "[pixel] largest shift of a subfilter"),
            "SKYPRINT": _fingerprint(task),
        },
    )
    hdus = [*to_hdus(template), inputs_table(_records(task)), config_table(task.settings)]
    write_hdus(task.output, hdus, primary=primary, overwrite=task.overwrite, compress=task.compress)


def _records(task: TemplateTask) -> list[Any]:
    """Return a row for each model, and one for the exposure."""
    from skytool.io.filespec import FileSpec
    from skytool.io.fits import data_sums
    from skytool.io.input_records import input_record
    from skytool.models.records.provenance import InputRecord

    models = [
        InputRecord(
            role="model",
            file=FileSpec.parse(file).file_name,
            extname="IMAGE",
            datasum=data_sums(file)[1],
        )
        for file in task.models
    ]
    return [*models, input_record(task.science, role="science")]


def _fingerprint(task: TemplateTask) -> str:
    """Return what changes whenever the product of a task may change."""
    from skytool.io.fits import content_key
    from skytool.models.records.provenance import fingerprint

    sums = [content_key(file) for file in task.models]
    return fingerprint([*sums, task.science.digest()], task.settings)


def _is_current(unit: Unit[TemplateTask]) -> bool:
    """Return whether a product was made from the inputs and settings in force."""
    from skytool.io.fits import opened

    with opened(unit.outputs[0], verify=True) as hdus:
        made_by = hdus[0].header.get("SKYPRINT")
    return bool(made_by == _fingerprint(unit.task))
