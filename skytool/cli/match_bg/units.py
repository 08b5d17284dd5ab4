"""What ``skytool match-bg`` has to do: found by headers, then planned, run and reported."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from skytool.cli.match_bg.tasks import Member, Visit, forget_reference, make_matched
from skytool.cli.stage_files import Unit, run_units
from skytool.errors import IncompatibleError, InputError, NothingToDoError, SkytoolWarning
from skytool.errors import SkytoolError as Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skytool.cli.config import Setting
    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.io.sources import ExposureSource, ReadOptions
    from skytool.stages.match_bg import Frame, MatchConfig

_log = logging.getLogger(__name__)

STAGE = "match-bg"
COLUMNS = ("is_reference", "fit_rms", "ratio")

_SAME_SCALE = 1e-6  # relative; zero points in headers have rounded digits


def match_units(
    inputs: Sequence[str],
    *,
    destination: Destination,
    reading: ReadOptions,
    run: RunOptions,
    settings: dict[str, Any],
    recorded: Sequence[Setting],
) -> None:
    """Find the exposures among the inputs and match the background of each.

    Raises
    ------
    IncompatibleError
        If inputs are not on one grid, or differ in unit.
    SkytoolError
        What reading and writing raise. An exposure that cannot be matched does not keep the
        others from being matched: it is an error at the end.
    """
    from skytool.cli.match_bg.config import match_config
    from skytool.cli.match_bg.plan import Plan

    config = match_config(settings)
    outputs = [str(path) for path in destination.paths(inputs)]
    failures: list[Unit[Any]] = []
    found = _sources(inputs, outputs, reading, run, failures)
    reference = _reference_source(settings["reference"], found, reading)
    found = _on_one_grid(found, reference, run, failures)
    if not found:
        if failures:
            run_units(make_matched, failures, stage=STAGE, columns=COLUMNS, run=run)
        raise NothingToDoError("no input is left to match.")
    visits, named = _visits(found, reference, config, settings)
    _check_filters([source for source, _ in found])
    plan = Plan.of(visits, named, settings, recorded, run=run)
    units = [*failures, *plan.units()]
    shared = [settings["offsets"]] if settings["offsets"] is not None else []
    # An exposure that cannot be matched is reported, and the others are matched all the same.
    several = len(units) > 1
    try:
        run_units(
            make_matched,
            units,
            stage=STAGE,
            columns=COLUMNS,
            run=replace(run, keep_going=True) if several else run,
            shared=shared,
            is_current=plan.is_current,
            prepare=plan.completed,
        )
    finally:
        forget_reference()


def one_source(argument: str, reading: ReadOptions) -> ExposureSource:
    """Return the one exposure of a file.

    Raises
    ------
    IncompatibleError
        If there are several.
    """
    from skytool.io.sources import find_sources

    sources = find_sources(argument, reading)
    if len(sources) > 1:
        names = ", ".join(source.name for source in sources[:8])
        raise IncompatibleError(
            f"{argument} holds {len(sources)} exposures, where one is wanted.",
            hint=f"Choose one of {names}.",
        )
    return sources[0]


def postpone(error: Failure, name: str, run: RunOptions, failures: list[Unit[Any]]) -> None:
    """Let a failure be one of the units of work, where the run goes on in spite of it."""
    if not run.keep_going:
        raise error
    failures.append(Unit(name=name, inputs=(), outputs=(), task=error, error=error))


def _sources(
    inputs: Sequence[str],
    outputs: Sequence[str],
    reading: ReadOptions,
    run: RunOptions,
    failures: list[Unit[Any]],
) -> list[tuple[ExposureSource, str]]:
    """Find the exposures, each with its product."""
    found = []
    for name, output in zip(inputs, outputs, strict=True):
        try:
            found.append((one_source(name, reading), output))
        except Failure as error:
            postpone(error, name, run, failures)
    return found


def _reference_source(
    name: str | None, found: Sequence[tuple[ExposureSource, str]], reading: ReadOptions
) -> ExposureSource | None:
    """Return the reference that the user named: one of the inputs, if it is."""
    if name is None:
        return None
    source = one_source(name, reading)
    for other, _ in found:
        if _same_file(source, other) and source.extension == other.extension:
            return other
    return source


def _same_file(one: ExposureSource, other: ExposureSource) -> bool:
    try:
        return os.path.samefile(one.path, other.path)  # noqa: PTH121
    except OSError:
        return one.path == other.path


def _on_one_grid(
    found: Sequence[tuple[ExposureSource, str]],
    reference: ExposureSource | None,
    run: RunOptions,
    failures: list[Unit[Any]],
) -> list[tuple[ExposureSource, str]]:
    """Return the exposures that are on the grid of the reference, or of the first."""
    if not found:
        return []
    base = found[0][0] if reference is None else reference
    try:
        _compare([base, *(source for source, _ in found if source is not base)])
    except Failure:
        if not run.keep_going:
            raise
    else:
        return list(found)
    kept = []
    for source, output in found:
        try:
            _compare([base, source])
        except Failure as error:
            postpone(error, source.name, run, failures)
        else:
            kept.append((source, output))
    return kept


def _compare(sources: Sequence[ExposureSource]) -> None:
    """Refuse exposures that are not on one grid, or in other units."""
    from skytool.stages.match_bg import common_frame

    common_frame(sources)
    for other in sources[1:]:
        _check_unit(sources[0], other)


def _check_unit(base: ExposureSource, other: ExposureSource) -> None:
    """Refuse an exposure in another unit, unless both are calibrated."""
    units = [unit_of(source) for source in (base, other)]
    if units[0] == units[1] or "" in units:
        return
    if all(calibration_of(source) is not None for source in (base, other)):
        return
    raise IncompatibleError(
        f"{base.name} is in {units[0]}, {other.name} in {units[1]}.",
        hint="Bring them to one unit: skytool warp --units.",
    )


def unit_of(source: ExposureSource) -> str:
    """Return the unit of an exposure."""
    from skytool.io.units import fits_unit

    return fits_unit(source.header.get("BUNIT")) or source.recipe.unit


def calibration_of(source: ExposureSource) -> Any:
    """Return the photometric calibration of an exposure by its header, None without one."""
    from skytool.models.photometry import calibration_from_header

    return calibration_from_header(
        source.header,
        unit=unit_of(source),
        name=source.name,
        flux_keyword=source.options.flux_keyword,
    )


def _check_filters(sources: Sequence[ExposureSource]) -> None:
    """Warn of exposures in different filters: their sources do not cancel."""
    from skytool.models.observation.observation import check_single_filter, observation_from_header

    try:
        check_single_filter(
            (source.name, observation_from_header(source.header)) for source in sources
        )
    except IncompatibleError as error:
        warnings.warn(error.message, SkytoolWarning, stacklevel=2)


def _visits(
    found: Sequence[tuple[ExposureSource, str]],
    reference: ExposureSource | None,
    config: MatchConfig,
    settings: dict[str, Any],
) -> tuple[list[Visit], Visit | None]:
    """Return the exposures, and the reference if the user named one."""
    from skytool.stages.match_bg import common_frame

    sources = [source for source, _ in found]
    is_outside = reference is not None and all(reference is not one for one in sources)
    every = [*sources, reference] if is_outside and reference is not None else sources
    frame = common_frame(every)
    scales = _scales(every, settings["scale"])
    keys = _group_keys(sources, frame, settings["group_by"])
    groups: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)

    def visit(name: str, members: tuple[Member, ...], scale: float) -> Visit:
        return Visit(
            name=name,
            members=members,
            frame_shape=frame.shape,
            is_single=frame.is_single,
            config=config,
            scale=scale,
        )

    visits = [
        visit(
            sources[places[0]].name if len(places) == 1 else f"visit {key}",
            tuple(Member(sources[k], frame.windows[k], found[k][1]) for k in places),
            scales[places[0]],
        )
        for key, places in groups.items()
    ]
    if reference is None:
        return visits, None
    if is_outside:
        member = Member(reference, frame.windows[-1])
        taken = any(one.name == reference.name for one in visits)
        name = str(reference.path) if taken else reference.name
        return visits, visit(name, (member,), scales[-1])
    named = next(one for one in visits if any(m.source is reference for m in one.members))
    return visits, named


def _scales(sources: Sequence[ExposureSource], kind: str) -> list[float]:
    """Return the factors to common fluxes that the calibrations ask for."""
    if kind != "calibration":
        return [1.0] * len(sources)
    calibrations = [calibration_of(source) for source in sources]
    if any(one is None for one in calibrations):
        return [1.0] * len(sources)
    first = calibrations[0]
    factors = [one.factor_to(first) for one in calibrations]
    if all(abs(factor - 1.0) < _SAME_SCALE for factor in factors):
        return [1.0] * len(sources)
    _log.info("fluxes are scaled by their calibrations, by up to %.4g", max(factors))
    return factors


def _group_keys(
    sources: Sequence[ExposureSource], frame: Frame, keys: tuple[str, ...] | None
) -> list[str]:
    """Return what tells the exposures apart: the visit, or the place among the inputs."""
    from skytool.models.observation.observation import visit_key

    alone = [str(index) for index in range(len(sources))]
    if keys == ("none",) or (keys is None and frame.is_single):
        return alone
    try:
        return [visit_key(source.header, keys, name=source.name) for source in sources]
    except IncompatibleError:
        if keys is not None:
            raise
    _log.info("no visits in the headers: every file is matched by itself")
    return alone


def find_visit(visits: Sequence[Visit], name: str) -> Visit:
    """Return the exposure of a visit.

    Raises
    ------
    InputError
        If no input is of this visit.
    """
    from skytool.models.observation.observation import observation_from_header

    for visit in visits:
        for member in visit.members:
            if observation_from_header(member.source.header).visit == name:
                return visit
    raise InputError(f"no input is of visit {name}.", hint="--reference names a file.")
