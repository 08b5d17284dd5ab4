"""The file of a DCR model: planes, how good they are, how they were made."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from skytool.cli.dcr.assemble_tasks import product_fingerprint
from skytool.models.records.provenance import (
    InputRecord,
    config_table,
    history_line,
    inputs_table,
    merged_settings,
)
from skytool.models.tables import TableColumn, table_hdu

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.cli.dcr.assemble_tasks import Survey
    from skytool.cli.dcr.assemble_units import AssembleTask
    from skytool.io.sources import ExposureSource
    from skytool.models.observation.pointing import Pointing
    from skytool.stages.dcr.result import DcrResult

STAGE = "dcr-assemble"
_UNITS = {"MJD": "d", "ELEVATION": "deg", "ZENITHPA": "deg", "SHIFTY": "pixel", "SHIFTX": "pixel"}


def write_model(task: AssembleTask, survey: Survey, result: DcrResult) -> None:
    """Write a model with its records.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from skytool.io.fits import write_hdus
    from skytool.models.dcr.hdus import KIND, model_cards, model_hdus
    from skytool.models.exposure_hdus import primary_header

    model = result.model
    text = f"{len(task.sources)} inputs, {len(model)} subfilters, {task.config.solver}"
    primary = primary_header(
        model.full_band(),
        kind=KIND,
        stage=STAGE,
        history=history_line(STAGE, text),
        cards={**model_cards(model), **_cards(task, result)},
    )
    stored = [record for warp in survey.stored for record in warp.inputs]
    hdus = [
        *model_hdus(model),
        *_quality_hdus(result, task),
        _history_table(result),
        inputs_table([*_records(task, survey, result), *stored], units=_UNITS),
        config_table(merged_settings([*(warp.settings for warp in survey.stored), task.settings])),
    ]
    write_hdus(task.output, hdus, primary=primary, overwrite=task.overwrite, compress=task.compress)


def _cards(task: AssembleTask, result: DcrResult) -> dict[str, Any]:
    """Return the cards that say how the model was made, and how good it is."""
    return {
        "SOLVER": (task.config.solver, "how the model was found"),
        "NEXP": (len(task.sources), "exposures"),
        "NITER": (len(result.steps), "steps of the solver in all pieces"),
        "CONV0": (result.misfit(after=False), "mean square residual of the mean, bright pixels"),
        "CONV1": (result.misfit(after=True), "mean square residual of the model, the same"),
        "CHROMINF": (result.information, "[pixel**2] chromatic information"),
        "SKYPRINT": product_fingerprint(task),
    }


def _quality_hdus(result: DcrResult, task: AssembleTask) -> list[fits.ImageHDU]:
    """Return number of exposures, slope with its error, and residuals."""
    from skytool.models.keywords import set_card
    from skytool.models.sky.celestial import celestial_header
    from skytool.models.sky.geometry import origin_cards

    model, whole = result.model, result.whole
    place = fits.Header() if model.wcs is None else celestial_header(model.wcs)
    place.extend(origin_cards(model.origin))
    half = np.float32(task.band.bandwidth / 2.0)
    planes: list[tuple[str, NDArray[np.generic], str]] = [
        ("NIMAGE", whole.count, ""),
        ("RESIDUAL0", whole.before, ""),
        ("RESIDUAL1", whole.after, ""),
    ]
    if np.isfinite(whole.slope).any():
        planes += [
            ("SLOPE", whole.slope / half, "nm-1"),
            ("SLOPEERR", whole.slope_error / half, "nm-1"),
        ]
    hdus = []
    for name, plane, unit in planes:
        header = place.copy()
        set_card(header, "BUNIT", unit or None)
        hdus.append(fits.ImageHDU(plane, header, name=name))
    return hdus


def _history_table(result: DcrResult) -> fits.BinTableHDU:
    """Return how the solver went, a row for each step in each piece."""
    steps = result.steps
    return table_hdu(
        "CONVERGENCE",
        [
            TableColumn("PIECE", np.array([piece for piece, _ in steps], np.int32)),
            TableColumn(
                "ROUND",
                np.array([step.round for _, step in steps], np.int32),
                comment="how often weights had been made anew",
            ),
            TableColumn("STEP", np.array([step.number for _, step in steps], np.int32)),
            TableColumn(
                "METRIC",
                np.array([step.metric for _, step in steps], np.float64),
                comment="lsq: distance to the solution [sigma]; iterative: relative residual",
            ),
            TableColumn("GAIN", np.array([step.gain for _, step in steps], np.float64)),
        ],
    )


def _records(task: AssembleTask, survey: Survey, result: DcrResult) -> list[InputRecord]:
    """Return a row for every warp, and one for the template that the solver began with."""
    misfits = result.exposure_misfits()
    places = [
        (pointing, survey.inputs[place].facts.mean_variance, survey.unit.scales[place], misfit)
        for place, (pointing, misfit) in enumerate(zip(task.pointings, misfits, strict=True))
    ]
    rows = []
    for source, (pointing, variance, scale, misfit) in zip(task.sources, places, strict=True):
        weight = 1.0 / (variance * scale**2) if variance > 0.0 else 0.0
        extra = _pointing_columns(source, pointing)
        extra |= {"CHI2_0": float(misfit[0]), "CHI2_1": float(misfit[1])}
        rows.append(_record(source, weight=weight, scale=scale, reason="", extra=extra))
    for source in task.skipped:
        reason = "the direction of the zenith is not known"
        rows.append(_record(source, weight=0.0, scale=np.nan, reason=reason, extra={}))
    if task.template is not None:
        began = _record(task.template, weight=0.0, scale=np.nan, reason="", extra={})
        rows.append(replace(began, role="template", weight=np.nan, status="used"))
    return rows


def _pointing_columns(source: ExposureSource, pointing: Pointing) -> dict[str, Any]:
    from skytool.models.observation.observation import observation_from_header

    middle = observation_from_header(source.header).mjd_mid
    air = pointing.conditions
    return {
        "MJD": np.nan if middle is None else float(middle),
        "AIRMASS": float(pointing.airmass),
        "ELEVATION": float(pointing.elevation),
        "ZENITHPA": float(pointing.parallactic_angle),
        "AIRTEMP": float(air.temperature),
        "AIRPRESS": float(air.pressure),
        "HUMIDITY": float(air.humidity),
        "SOURCES": "; ".join(f"{name}: {origin}" for name, origin in pointing.sources.items()),
    }


def _record(
    source: ExposureSource, *, weight: float, scale: float, reason: str, extra: dict[str, Any]
) -> InputRecord:
    from skytool.io.input_records import input_record
    from skytool.models.observation.observation import observation_from_header

    return input_record(
        source,
        role="warp",
        visit=observation_from_header(source.header).visit,
        weight=weight,
        scale=scale,
        status="used" if weight > 0.0 else "skipped",
        reason=reason,
        extra=extra,
    )
