"""Reading, solving and writing of ``skytool dcr-assemble``."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skytool.cli.stage_files import Product, Unit
from skytool.errors import NothingToDoError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from skytool.cli.dcr.assemble_units import AssembleTask
    from skytool.io.sources import ExposureSource
    from skytool.io.warps import StoredWarp
    from skytool.stages.coadd.inputs import CoaddUnit
    from skytool.stages.dcr.config import DcrConfig
    from skytool.stages.dcr.inputs import DcrInput, TileInput
    from skytool.stages.dcr.iterative import StartingSky
    from skytool.stages.dcr.result import DcrResult, TileResult
    from skytool.stages.dcr.tiles import RefractionSetting, Tile


@dataclass(frozen=True, eq=False, kw_only=True)
class TileTask:
    """A piece of sky to solve for.

    Parameters
    ----------
    name : str
        What messages call it.
    sources : tuple of ExposureSource
        The exposures.
    tile : Tile
        The piece.
    inputs : tuple of TileInput
        What the exposures contribute.
    config : DcrConfig
        Settings.
    n_subfilters : int
        Number of subfilters.
    bits : mapping of str to int
        Numbers of the mask planes of the result.
    sky : StartingSky or None
        What the solution begins with; a direct one needs none.
    """

    name: str
    sources: tuple[ExposureSource, ...]
    tile: Tile
    inputs: tuple[TileInput, ...]
    config: DcrConfig
    n_subfilters: int
    bits: Mapping[str, int]
    sky: StartingSky | None


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known of all exposures when each has been read once.

    Parameters
    ----------
    inputs : list of DcrInput
        Facts of each.
    stored : list of StoredWarp
        Their records, without pixels.
    unit : CoaddUnit
        Unit of the model.
    """

    inputs: list[DcrInput]
    stored: list[StoredWarp]
    unit: CoaddUnit


def make_model(task: AssembleTask) -> list[Product]:
    """Read, solve and write."""
    from skytool.cli.dcr.product import write_model

    survey = _survey(task)
    result = _solved(task, survey)
    write_model(task, survey, result)
    return [Product(path=task.output, metrics=_metrics(task, result))]


def _survey(task: AssembleTask) -> Survey:
    """Read every exposure once, for what is not in its header."""
    from dataclasses import replace

    from skytool.io.warps import read_warp
    from skytool.stages.dcr.inputs import DcrInput, units_of

    inputs, stored = [], []
    for index, source in enumerate(task.sources):
        warp = read_warp(source, index)
        inputs.append(DcrInput.from_exposure(warp.exposure, task.config.bad_planes))
        nothing = warp.exposure.with_values(
            image=warp.exposure.image[:0],
            variance=warp.exposure.variance[:0],
            mask=type(warp.exposure.mask)(warp.exposure.mask.array[:0], warp.exposure.mask.bits),
            psf=None,
            extensions=(),
        )
        stored.append(replace(warp, exposure=nothing))
    if not any(entry.used for entry in inputs):
        raise NothingToDoError("no exposure has a usable pixel.")
    return Survey(inputs, stored, units_of(inputs))


def _solved(task: AssembleTask, survey: Survey) -> DcrResult:
    """Solve for all pieces and put them together."""
    from skytool.parallel import run_tasks
    from skytool.stages.dcr.result import assembled

    setting = _setting(task)
    n_subfilters, information = _plan(task, survey, setting)
    tasks = _tile_tasks(task, survey, setting, n_subfilters)
    parts = []
    with closing(
        run_tasks(solve_piece, tasks, jobs=task.jobs, scheduler=task.scheduler)
    ) as outcomes:
        for piece, outcome in zip(tasks, outcomes, strict=True):
            parts.append((piece.tile, outcome.result))
    if not any(part.count.any() for _, part in parts):
        raise NothingToDoError("no exposure has a usable pixel.")
    spectrum = "polynomial" if task.config.solver == "lsq" else "steps"
    frame = _frame(task, survey, tasks[0].bits)
    return assembled(parts, frame, spectrum=spectrum, information=information)


def _setting(task: AssembleTask) -> RefractionSetting:
    from skytool.stages.dcr.tiles import RefractionSetting

    wcs = task.sources[0].wcs()
    return RefractionSetting(
        task.pointings, wcs, task.band, task.reference_wavelength, task.variant
    )


def _plan(task: AssembleTask, survey: Survey, setting: RefractionSetting) -> tuple[int, float]:
    """Return the number of subfilters and how well colours are constrained."""
    from skytool.stages.dcr.constraint import automatic_number, warn_of_constraints

    ny, nx = task.sources[0].shape
    middle = {"y": (ny - 1) / 2.0, "x": (nx - 1) / 2.0}
    smears = setting.smears(**middle)
    widths = [] if task.config.lsq.psf_aware else [entry.width(**middle) for entry in survey.inputs]
    information = warn_of_constraints(
        smears,
        [pointing.airmass for pointing in task.pointings],
        effective_wavelength=task.band.effective_wavelength,
        widths=[width for width in widths if width is not None],
    )
    return task.config.num_subfilters or automatic_number(smears), information


def _tile_tasks(
    task: AssembleTask, survey: Survey, setting: RefractionSetting, n_subfilters: int
) -> list[TileTask]:
    from skytool.models.mask import Mask
    from skytool.stages.dcr.inputs import tile_inputs
    from skytool.stages.dcr.tiles import tiles_of

    planes = Mask.empty((1, 1))
    for entry in survey.inputs:
        planes = planes.with_planes(entry.facts.bits)
    tiles = tiles_of(
        setting,
        task.sources[0].shape,
        n_subfilters,
        size=task.config.subregion_size,
        border=task.config.border,
    )
    airmasses = [pointing.airmass for pointing in task.pointings]
    sky = _starting_sky(task, survey)
    return [
        TileTask(
            name=f"piece {number} of {len(tiles)} of {task.output}",
            sources=task.sources,
            tile=tile,
            inputs=tile_inputs(survey.inputs, survey.unit, tile, airmasses),
            sky=None if sky is None else sky.piece(tile),
            config=task.config,
            n_subfilters=n_subfilters,
            bits=planes.bits,
        )
        for number, tile in enumerate(tiles, start=1)
    ]


def _starting_sky(task: AssembleTask, survey: Survey) -> StartingSky | None:
    """Return the template; without one, the mean of the exposures for steps."""
    from skytool.stages.dcr.inputs import mean_exposure, scale_of_template
    from skytool.stages.dcr.iterative import StartingSky

    if task.template is None:
        if task.config.solver == "lsq":  # which makes the mean of each piece itself
            return None
        template = mean_exposure(
            (source.read() for source in task.sources),
            survey.inputs,
            survey.unit,
            task.config.bad_planes,
        )
        return StartingSky.of_template(template, 1.0, task.config)
    template = task.template.read()
    return StartingSky.of_template(template, scale_of_template(template, survey.unit), task.config)


def solve_piece(task: TileTask) -> TileResult:
    """Read what belongs to a piece and solve for it."""
    from skytool.io.rows import exposure_rows
    from skytool.stages.dcr.iterative import step_tile
    from skytool.stages.dcr.lsq import solve_tile

    with exposure_rows(task.sources) as rows:
        if task.config.solver == "iterative" and task.sky is not None:
            return step_tile(task.tile, task.inputs, rows, task.sky, task.config, bits=task.bits)
        return solve_tile(
            task.tile,
            task.inputs,
            rows,
            task.config,
            n_subfilters=task.n_subfilters,
            bits=task.bits,
            sky=task.sky,
        )


def _frame(task: AssembleTask, survey: Survey, bits: Mapping[str, int]) -> Any:
    """Return what the model has beside its planes."""
    from skytool.models.keywords import common_cards
    from skytool.stages.dcr.inputs import model_psf
    from skytool.stages.dcr.result import Frame

    first = task.sources[0]
    return Frame(
        shape=first.shape,
        wcs=first.wcs(),
        origin=first.origin,
        band=task.band,
        reference_wavelength=task.reference_wavelength,
        filter_name=task.filter_name,
        refraction=task.variant,
        unit=survey.unit,
        psf=model_psf(survey.inputs, survey.unit, first.shape, psf_aware=task.config.lsq.psf_aware),
        header=common_cards(entry.facts.header for entry in survey.inputs),
        bits=bits,
        name=task.output,
    )


def _metrics(task: AssembleTask, result: DcrResult) -> dict[str, Any]:
    """Return the numbers of a model for the report."""
    misfits = result.exposure_misfits()
    rejected = float(result.whole.rejected.mean())
    return {
        "inputs": len(task.sources),
        "subfilters": len(result.model),
        "residual_before": result.misfit(after=False) ** 0.5,
        "residual_after": result.misfit(after=True) ** 0.5,
        "steps": len(result.steps),
        "information": result.information,
        "rejected": rejected,
        "exposures": [
            {
                "file": source.path.name,
                "airmass": pointing.airmass,
                "residual_before": float(before) ** 0.5,
                "residual_after": float(after) ** 0.5,
            }
            for source, pointing, (before, after) in zip(
                task.sources, task.pointings, misfits, strict=True
            )
        ],
    }


def product_fingerprint(task: AssembleTask) -> str:
    """Return what changes whenever the product of a task may change."""
    from skytool.models.records.provenance import fingerprint

    read: Sequence[ExposureSource] = task.sources
    if task.template is not None:
        read = [*read, task.template]
    curve = [repr(task.band.curve)] if task.band.curve else []
    return fingerprint([*(source.digest() for source in read), *curve], task.settings)


def model_is_current(unit: Unit[AssembleTask]) -> bool:
    """Return whether a product was made from the inputs and settings in force."""
    from skytool.io.fits import opened

    with opened(unit.outputs[0], verify=True) as hdus:
        made_by = hdus[0].header.get("SKYPRINT")
    return bool(made_by == product_fingerprint(unit.task))
