"""The visits of ``skytool warp``: found by headers, then read, resampled and written one by one."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from skytool.cli.stage_files import Unit, run_units
from skytool.cli.warp.making import WarpTask, make_warp, model_files
from skytool.cli.warp.settings import stage_config, with_background
from skytool.errors import IncompatibleError, NothingToDoError, SkytoolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skytool.cli.config import Setting
    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.cli.target import Target
    from skytool.cli.warp.candidates import Judge, Rejections
    from skytool.cli.warp.matching import Matching
    from skytool.cli.warp.selection import Selection
    from skytool.io.sources import ExposureSource, ReadOptions
    from skytool.models.sky.geometry import TargetGrid
    from skytool.stages.warp import Visit

_log = logging.getLogger(__name__)

STAGE = "warp"
COLUMNS = ("detectors", "good_pixels", "coverage")
_MODELS = ("add_background", "sky_correction", "flat_background_ratio")
_MOST_REASONS = 3


def warp_units(
    inputs: Sequence[str],
    *,
    destination: Destination,
    target: Target,
    matching: Matching,
    selection: Selection,
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
    from skytool.cli.warp.candidates import Judge, selected_sources
    from skytool.models.records.provenance import SettingRecord

    settings = with_background(settings)
    config = stage_config(settings)
    failures: list[Unit[Any]] = []
    sources = selected_sources(_sources(inputs, reading, run, failures), selection.ids)
    judge = Judge.of(selection)
    judged = judge.judged(_visits(sources, group_by, one=destination.output is not None))
    visits = [visit for visit, _ in judged]
    members = [member for visit in visits for member in visit.members]
    if not members and not failures:
        raise NothingToDoError("no exposure is left to be warped.", hint=_reasons(judged))
    footprints = [_footprint(member.candidate) for member in members] if target.auto else ()
    grid = target.grid(footprints)
    shared = {
        "grid": grid,
        "place": target.cards(),
        "config": config,
        "matching": matching.config(_overlapping(visits, grid), grid),
        **{name: settings[name] for name in _MODELS},
        "settings": tuple(SettingRecord(STAGE, *setting) for setting in recorded),
        "overwrite": run.may_replace,
        "compress": run.compress,
    }
    units = [
        unit
        for visit, rejected in judged
        if (unit := _unit(visit, rejected, judge, destination, matching, shared, run, failures))
        is not None
    ]
    if not units and not failures:
        raise NothingToDoError(f"no exposure overlaps {grid.name}.")
    run_units(
        make_warp,
        [*failures, *units],
        stage=STAGE,
        columns=COLUMNS,
        run=run,
        shared=[*target.files(), *selection.files()],
        is_current=_is_current,
    )


def _visits(
    sources: Sequence[ExposureSource], group_by: tuple[str, ...] | None, *, one: bool
) -> list[Visit[ExposureSource]]:
    """Sort the exposures into visits; for one output there may be only one."""
    from skytool.stages.warp import group_visits

    keys = () if group_by == ("none",) else group_by
    visits = group_visits(sources, keys=keys, single=one and keys is None)
    if one and len(visits) > 1:
        names = ", ".join(visit.name for visit in visits)
        raise IncompatibleError(
            f"the inputs are {len(visits)} visits by {','.join(group_by or ())}: {names}.",
            hint="Give --output-dir for a warp of each.",
        )
    return visits


def _reasons(judged: Sequence[tuple[Visit[ExposureSource], Rejections]]) -> str:
    """Return why no exposure was good enough, a few examples of it."""
    pairs = [pair for _, rejected in judged for pair in rejected]
    texts = [f"{member.candidate.name}: {reason}" for member, reason in pairs[:_MOST_REASONS]]
    more = len(pairs) - len(texts)
    return "; ".join(texts) + (f"; and {more} more." if more else "." if texts else "")


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
    judged: Rejections,
    judge: Judge,
    destination: Destination,
    matching: Matching,
    shared: dict[str, Any],
    run: RunOptions,
    failures: list[Unit[Any]],
) -> Unit[Any] | None:
    """Return the work for a visit; None if no exposure of it sees the target."""
    from dataclasses import replace

    from skytool.stages.warp import select_overlapping

    selected, rejected = [], list(judged)
    for member in visit.members:
        try:
            seen, unseen = select_overlapping([member], shared["grid"])
        except SkytoolError as error:
            _postpone(error, member.candidate.name, run, failures)
            seen, unseen = [], [(member, str(error))]
        selected += seen
        rejected += unseen
    for member, reason in rejected:
        _log.info("visit %s: %s is not used: %s", visit.name, member.candidate.name, reason)
    if not selected:
        _log.info("visit %s: no exposure is used", visit.name)
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
    headers = [file for member in selected if (file := judge.wcs_file(member)) is not None]
    return Unit(
        name=f"visit {visit.name}",
        inputs=tuple(dict.fromkeys(files + models + headers)),
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


def _is_current(unit: Unit[Any]) -> bool:
    """Return whether the products were made from the inputs and settings in force."""
    from skytool.cli.warp.product import product_fingerprint
    from skytool.io.fits import opened

    wanted = product_fingerprint(unit.task)
    for output in unit.outputs:
        with opened(output, verify=True) as hdus:
            if hdus[0].header.get("SKYPRINT") != wanted:
                return False
    return True
