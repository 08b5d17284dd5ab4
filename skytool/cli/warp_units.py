"""The visits of ``skytool warp``: found by headers, then read, resampled and written one by one."""

from __future__ import annotations

import logging
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skytool.cli.stage_files import Product, Unit, run_units
from skytool.cli.warp_settings import stage_config
from skytool.errors import IncompatibleError, NothingToDoError, SkytoolError, SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from skytool.cli.config import Setting
    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.cli.target import Target
    from skytool.cli.warp_matching import Matching
    from skytool.io.sources import ExposureSource, ReadOptions
    from skytool.models.geometry import TargetGrid
    from skytool.models.provenance import SettingRecord
    from skytool.stages.warp import Detector, Member, Visit, WarpConfig, WarpResult
    from skytool.stages.warp.matching_config import MatchingConfig

_log = logging.getLogger(__name__)

STAGE = "warp"
STORED = "stored"
_MOST_OVERLAP = 0.5  # share of the pixels
COLUMNS = ("detectors", "good_pixels", "coverage")


@dataclass(frozen=True, kw_only=True)
class WarpTask:
    """One visit to resample and write.

    Parameters
    ----------
    visit : Visit
        The exposures that see the target.
    rejected : tuple of (Member, str)
        The others, and why.
    grid : TargetGrid
        The target.
    place : mapping of str to (value, str)
        Header cards that name the target.
    config : WarpConfig
        Settings of the stage.
    add_background, sky_correction : str or None
        Names of models, see `skytool.io.backgrounds`.
    settings : tuple of SettingRecord
        All settings, for the record.
    matching : MatchingConfig or None
        Settings of the PSF-matched warp.
    direct_output, matched_output : str or None
        The products that are wanted.
    overwrite : bool
        Whether they may be replaced.
    compress : str
        How they are compressed.
    """

    visit: Visit[ExposureSource]
    rejected: tuple[tuple[Member[ExposureSource], str], ...]
    grid: TargetGrid
    place: Mapping[str, tuple[int | str, str]]
    config: WarpConfig
    add_background: str | None
    sky_correction: str | None
    settings: tuple[SettingRecord, ...]
    matching: MatchingConfig | None
    direct_output: str | None
    matched_output: str | None
    overwrite: bool
    compress: str


def warp_units(
    inputs: Sequence[str],
    *,
    destination: Destination,
    target: Target,
    matching: Matching,
    group_by: tuple[str, ...] | None,
    reading: ReadOptions,
    run: RunOptions,
    settings: dict[str, Any],
    recorded: Sequence[Setting],
) -> None:
    """Find the visits among the inputs and make the warp of each.

    Raises
    ------
    NothingToDoError
        If no exposure sees the target.
    SkytoolError
        What reading, resampling and writing raise; with ``--keep-going`` only at the end.
    """
    from skytool.models.provenance import SettingRecord
    from skytool.stages.warp import group_visits

    config = stage_config(settings)
    failures: list[Unit[Any]] = []
    sources = _sources(inputs, reading, run, failures)
    keys = () if group_by == ("none",) else group_by
    one = destination.output is not None
    visits = group_visits(sources, keys=keys, single=one and keys is None)
    if one and len(visits) > 1:
        names = ", ".join(visit.name for visit in visits)
        raise IncompatibleError(
            f"the inputs are {len(visits)} visits by {','.join(group_by or ())}: {names}.",
            hint="Give --output-dir for a warp of each.",
        )
    grid = target.grid([_footprint(source) for source in sources] if target.auto else ())
    shared = {
        "grid": grid,
        "place": target.cards(),
        "config": config,
        "matching": matching.config(_overlapping(visits, grid), grid),
        "add_background": settings["add_background"],
        "sky_correction": settings["sky_correction"],
        "settings": tuple(SettingRecord(STAGE, *setting) for setting in recorded),
        "overwrite": run.may_replace,
        "compress": run.compress,
    }
    units = [
        unit
        for visit in visits
        if (unit := _unit(visit, destination, matching, shared, run, failures)) is not None
    ]
    if not units and not failures:
        raise NothingToDoError(f"no exposure overlaps {grid.name}.")
    run_units(
        make_warp,
        [*failures, *units],
        stage=STAGE,
        columns=COLUMNS,
        run=run,
        shared=target.files(),
        is_current=_is_current,
    )


def _sources(
    inputs: Sequence[str], reading: ReadOptions, run: RunOptions, failures: list[Unit[Any]]
) -> list[ExposureSource]:
    """Find the exposures in the inputs; with ``--keep-going`` what cannot be read is left out."""
    from skytool.io.sources import find_sources

    sources = []
    for name in inputs:
        try:
            sources += find_sources(name, reading)
        except SkytoolError as error:
            _postpone(error, name, run, failures)
    return sources


def _overlapping(visits: Sequence[Visit[ExposureSource]], grid: TargetGrid) -> list[ExposureSource]:
    """Return the exposures that see the target; those without usable coordinates do not."""
    from skytool.stages.warp import select_overlapping

    found = []
    for member in (member for visit in visits for member in visit.members):
        with suppress(SkytoolError):
            found += [chosen.candidate for chosen in select_overlapping([member], grid)[0]]
    return found


def _postpone(error: SkytoolError, name: str, run: RunOptions, failures: list[Unit[Any]]) -> None:
    """Let a failure be one of the units of work, where the run goes on in spite of it."""
    if not run.keep_going:
        raise error
    failures.append(Unit(name=name, inputs=(), outputs=(), task=None, error=error))


def _footprint(source: ExposureSource) -> tuple[Any, tuple[int, int]]:
    from skytool.stages.warp.visits import wcs_of

    return wcs_of(source), source.shape


def _unit(
    visit: Visit[ExposureSource],
    destination: Destination,
    matching: Matching,
    shared: dict[str, Any],
    run: RunOptions,
    failures: list[Unit[Any]],
) -> Unit[Any] | None:
    """Return the work for a visit; None if no exposure of it sees the target."""
    from dataclasses import replace

    from skytool.stages.warp import select_overlapping

    selected, rejected = [], []
    for member in visit.members:
        try:
            seen, unseen = select_overlapping([member], shared["grid"])
        except SkytoolError as error:
            _postpone(error, member.candidate.name, run, failures)
            seen, unseen = [], [(member, str(error))]
        selected += seen
        rejected += unseen
    if not selected:
        _log.info("visit %s: no exposure overlaps the target", visit.name)
        return None
    stem = _file_name(visit.name)
    names = {"direct": f"warp-{stem}.fits", "matched": f"psfMatchedWarp-{stem}.fits"}
    wanted = {"direct": matching.direct, "matched": matching.matched}
    outputs = {kind: destination.named(name) for kind, name in names.items() if wanted[kind]}
    task = WarpTask(
        visit=replace(visit, members=tuple(selected)),
        rejected=tuple(rejected),
        direct_output=str(outputs["direct"]) if matching.direct else None,
        matched_output=str(outputs["matched"]) if matching.matched else None,
        **shared,
    )
    files = [str(path) for member in selected for path in member.candidate.files]
    models = [file for member in selected for file in model_files(task, member).values()]
    return Unit(
        name=f"visit {visit.name}",
        inputs=tuple(dict.fromkeys(files + models)),
        outputs=tuple(outputs.values()),
        task=task,
        plan={"detectors": len(selected), "shape": list(shared["grid"].shape)},
        error=_unreadable(models, run),
    )


def _unreadable(files: Sequence[str], run: RunOptions) -> SkytoolError | None:
    """Return what is wrong with models, where the run goes on in spite of it."""
    from skytool.io.fits import list_extensions

    try:
        for file in dict.fromkeys(files):
            list_extensions(file)
    except SkytoolError as error:
        if not run.keep_going:
            raise
        return error
    return None


def _file_name(visit: str) -> str:
    """Return the visit as part of a file name; one named after its file loses the suffix."""
    from skytool.io.filespec import FileSpec

    spec = FileSpec.parse(visit)
    stem = spec.stem if spec.suffix.startswith(".fit") else visit
    kept = [char if char.isalnum() or char in "._+-" else "_" for char in stem]
    return "".join(kept).strip("._") or "visit"


def make_warp(task: WarpTask) -> list[Product]:
    """Read, resample and write one visit."""
    from skytool.cli.warp_product import write_warp
    from skytool.stages.warp import warp_and_match_visit

    direct, matched = warp_and_match_visit(_detectors(task), task.grid, task.config, task.matching)
    _warn_of_overlap(task, direct)
    products = []
    for output, result in ((task.direct_output, direct), (task.matched_output, matched)):
        if output is None or result is None:
            continue
        if isinstance(result, SkytoolError):
            raise result
        write_warp(task, result, output)
        products.append(Product(path=output, metrics=_metrics(result)))
    return products


def _warn_of_overlap(task: WarpTask, result: WarpResult) -> None:
    """Warn if detectors overlap as those of no camera do."""
    shared = result.overlap_pixels / max(result.covered_pixels, 1)
    if shared > _MOST_OVERLAP and task.config.overlap != "mean":
        warnings.warn(
            f"visit {task.visit.name}: {shared:.0%} of its pixels are seen by several detectors, "
            f"of which --overlap {task.config.overlap} takes one; is it one visit?",
            SkytoolWarning,
            stacklevel=2,
        )


def _detectors(task: WarpTask) -> Iterator[Detector]:
    """Read one detector after the other."""
    for member in task.visit.members:
        yield _detector(task, member)  # kept by no name, so that its memory can be given back


def _detector(task: WarpTask, member: Member[ExposureSource]) -> Detector:
    """Read one detector."""
    from skytool.io.backgrounds import read_background, stored_background
    from skytool.stages.warp import Detector

    exposure = member.candidate.read()
    files = model_files(task, member)
    models = {role: read_background(file) for role, file in files.items()}
    if task.add_background == STORED:
        models["background"] = stored_background(exposure)
    return Detector(exposure, models.get("background"), models.get("sky"))


def model_files(task: WarpTask, member: Member[ExposureSource]) -> dict[str, str]:
    """Return the files of the models for a detector, by what is done with them.

    Parameters
    ----------
    task : WarpTask
        Names the models.
    member : Member
        The detector.

    Returns
    -------
    dict of str to str
        Of ``background``, which is added, and ``sky``, which is subtracted, those that are in
        files.
    """
    seen = member.observation
    parts = {
        "{stem}": member.candidate.spec.stem,
        "{visit}": seen.visit,
        "{detector}": seen.detector_name if seen.detector is None else str(seen.detector),
    }
    added = None if task.add_background == STORED else task.add_background
    names = {"background": added, "sky": task.sky_correction}
    return {
        role: re.sub(r"\{(stem|visit|detector)\}", lambda match: parts[match[0]], name)
        for role, name in names.items()
        if name is not None
    }


def _metrics(result: WarpResult) -> dict[str, Any]:
    """Return the numbers of a warp for the report."""
    covered = result.covered_pixels
    return {
        "detectors": len(result.detectors),
        "good_pixels": result.good_pixels,
        "overlap_pixels": result.overlap_pixels,
        "coverage": covered / result.n_image.size,
        "wcs_error": max(report.wcs_error for report in result.detectors),
        **_match_metrics(result),
    }


def _is_current(unit: Unit[Any]) -> bool:
    """Return whether the products were made from the inputs and settings in force."""
    from skytool.cli.warp_product import product_fingerprint
    from skytool.io.fits import opened

    wanted = product_fingerprint(unit.task)
    for output in unit.outputs:
        with opened(output, verify=True) as hdus:
            if hdus[0].header.get("SKYPRINT") != wanted:
                return False
    return True


def _match_metrics(result: WarpResult) -> dict[str, Any]:
    """Return the numbers of the match for the report."""
    matches = [match for match in result.matches if match is not None]
    if not matches:
        return {}
    return {
        "model_fwhm": matches[0].fwhm_model,
        "fwhm_in": [match.fwhm_in for match in matches],
        "fwhm_out": [match.fwhm_out for match in matches],
        "noise_gain": max(match.noise_gain for match in matches),
        "residual": max(match.residual for match in matches),
        "cells": sum(match.n_cells for match in matches),
    }
