"""The frames of ``skytool skyframe build``: one unit of work, with the exposures read in parallel."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from skytool.cli.members import Member, detector_places, find_members
from skytool.cli.skyframe.config import build_config
from skytool.cli.stage_files import Product, Unit, run_units
from skytool.errors import IncompatibleError, NothingToDoError, SkytoolError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from skytool.cli.config import Setting
    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.core.skyframe.focal_plane_grid import Affine
    from skytool.io.sources import ReadOptions
    from skytool.models.records.provenance import SettingRecord
    from skytool.stages.skyframe import BuildConfig, SkyBlocks

STAGE = "skyframe build"
COLUMNS = ("exposures", "pattern_rms", "error")

_MOST_BYTES = 1 << 30  # of blocks that are read before anything is computed


@dataclass(frozen=True, kw_only=True)
class BuildTask:
    """All frames of a run.

    Parameters
    ----------
    members : tuple of Member
        The exposures.
    config : BuildConfig
        Settings of the stage.
    places : dict of str to Affine, or None
        Where detectors lie.
    outputs : dict of str to str
        Product of every detector.
    settings : tuple of SettingRecord
        All settings, for the record.
    fingerprint : str
        What changes whenever a product may change.
    overwrite : bool
        Whether products may be replaced.
    compress : str
        How they are compressed.
    jobs, scheduler
        Who reads exposures.
    """

    members: tuple[Member, ...]
    config: BuildConfig
    places: dict[str, Affine] | None
    outputs: dict[str, str]
    settings: tuple[SettingRecord, ...]
    fingerprint: str
    overwrite: bool
    compress: str
    jobs: int
    scheduler: str | None


def build_units(
    inputs: Sequence[str],
    *,
    destination: Destination,
    focal_plane: str | None,
    group_by: tuple[str, ...] | None,
    reading: ReadOptions,
    run: RunOptions,
    settings: dict[str, Any],
    recorded: Sequence[Setting],
) -> None:
    """Find the exposures and make the frame of every detector.

    Raises
    ------
    NothingToDoError
        If no input can be read.
    SkytoolError
        What reading, building and writing raise.
    """
    from skytool.models.records.provenance import SettingRecord

    config = build_config(settings)
    failures: list[Unit[Any]] = []
    _refuse_frames(inputs)
    members = find_members(inputs, reading, run, failures, group_by=group_by)
    if not members and not failures:
        raise NothingToDoError("there is no exposure to build a sky frame from.")
    outputs = _outputs(members, destination)
    records = tuple(SettingRecord(STAGE, *setting) for setting in recorded)
    task = BuildTask(
        members=tuple(members),
        config=config,
        places=detector_places(members, focal_plane),
        outputs={detector: str(path) for detector, path in outputs.items()},
        settings=records,
        fingerprint=_fingerprint(members, focal_plane, records),
        overwrite=run.may_replace,
        compress=run.compress,
        jobs=run.jobs,
        scheduler=run.scheduler,
    )
    unit = Unit(
        name="the sky frame" if len(outputs) == 1 else f"{len(outputs)} sky frames",
        inputs=tuple(dict.fromkeys(file for member in members for file in member.files)),
        outputs=tuple(outputs.values()),
        task=task,
        plan={"exposures": len({member.visit for member in members})},
    )
    run_units(
        make_frames,
        [*failures, *([unit] if members else [])],
        stage=STAGE,
        columns=COLUMNS,
        run=replace(run, jobs=1, scheduler=None),
        shared=[] if focal_plane is None else [focal_plane],
        is_current=_is_current,
    )


def _refuse_frames(inputs: Sequence[str]) -> None:
    """Refuse sky frames among the exposures.

    Raises
    ------
    IncompatibleError
        If there is one.
    """
    from skytool.cli.skyframe.frames import holds_frame

    for name in inputs:
        if holds_frame(name):
            raise IncompatibleError(
                f"{name} is a sky frame, not an exposure.", hint="Give exposures alone."
            )


def _outputs(members: Sequence[Member], destination: Destination) -> dict[str, Path]:
    """Return the product of every detector.

    Raises
    ------
    IncompatibleError
        If ``-o`` is given and there are several detectors.
    """
    detectors = list(dict.fromkeys(member.detector for member in members))
    if destination.directory is None:
        if len(detectors) > 1:
            shown = ", ".join(detector or "?" for detector in detectors[:8])
            raise IncompatibleError(
                f"the inputs are of {len(detectors)} detectors: {shown}.",
                hint="Give --output-dir for one sky frame each.",
            )
        return {detector: destination.single() for detector in detectors}
    named = {
        detector: destination.named(f"sky-{_file_name(detector)}.fits" if detector else "sky.fits")
        for detector in detectors
    }
    if len(set(named.values())) < len(named):
        raise click.UsageError(
            "sky frames of two detectors would have one name.", click.get_current_context()
        )
    return named


def _file_name(text: str) -> str:
    kept = [char if char.isalnum() or char in "._+-" else "_" for char in text]
    return "".join(kept).strip("._") or "detector"


def _fingerprint(
    members: Sequence[Member], focal_plane: str | None, settings: Sequence[SettingRecord]
) -> str:
    """Return what changes whenever a product may change; empty where an input is a stream."""
    from pathlib import Path

    from skytool.models.records.provenance import SettingRecord, fingerprint

    if any(member.source.spec.is_standard_stream for member in members):
        return ""
    table = [] if focal_plane is None else [Path(focal_plane).read_text(encoding="utf-8")]
    extra = [SettingRecord(STAGE, "focal-plane-table", text, "") for text in table]
    sums = [member.source.digest() for member in members]
    return fingerprint(sums, [*settings, *extra])


def make_frames(task: BuildTask | SkytoolError) -> list[Product]:
    """Read the exposures, build the frames and write them."""
    if isinstance(task, SkytoolError):
        raise task
    from skytool.cli.skyframe.product import frame_metrics, write_frame
    from skytool.stages.skyframe import BuildInput, build_sky_frames

    ready = _read_ahead(task)
    inputs = [
        BuildInput(
            member.source.name,
            member.visit,
            member.detector,
            partial(read_blocks, _Reading(member, task.config)) if blocks is None else blocks,
        )
        for member, blocks in zip(task.members, ready, strict=True)
    ]
    result = build_sky_frames(inputs, task.config, places=task.places)
    products = []
    for detector, frame in result.frames.items():
        write_frame(task, detector, frame, result)
        metrics = frame_metrics(detector, frame, result)
        products.append(Product(path=task.outputs[detector], metrics=metrics))
    return products


@dataclass(frozen=True)
class _Reading:
    """An exposure to reduce to blocks."""

    member: Member
    config: BuildConfig


def _read_ahead(task: BuildTask) -> list[Any]:
    """Return functions that hand out blocks which several workers have read; None for the others."""
    pixels = sum(member.source.shape[0] * member.source.shape[1] for member in task.members)
    bytes_each = 8 / task.config.background.block_size**2
    alone = task.jobs == 1 and task.scheduler is None
    if alone or pixels * bytes_each > _MOST_BYTES:
        return [None] * len(task.members)
    from skytool.parallel import run_tasks

    work = [_Reading(member, task.config) for member in task.members]
    outcomes = run_tasks(read_blocks, work, jobs=task.jobs, scheduler=task.scheduler)
    with closing(outcomes):
        return [partial(_same, outcome.result) for outcome in outcomes]


def _same(blocks: SkyBlocks) -> SkyBlocks:
    return blocks


def read_blocks(reading: _Reading) -> SkyBlocks:
    """Read an exposure and reduce it to blocks."""
    from skytool.stages.skyframe import sky_blocks, superpixel_grid

    member, config = reading.member, reading.config
    exposure = member.source.read()
    cells = config.large_scale.model == "cells"
    return sky_blocks(
        exposure,
        superpixel_grid(exposure.shape, config.background),
        visit=member.visit,
        detector=member.detector,
        filter_name=member.seen.filter,
        planes=config.background.mask,
        block_size=config.background.block_size,
        keep_out=config.large_scale.mask if cells else (),
        with_variance=config.objects.noise == "variance",
        restore=config.restore_background,
    )


def _is_current(unit: Unit[Any]) -> bool:
    """Return whether all frames were made from the inputs and settings in force."""
    from skytool.io.fits import opened

    if isinstance(unit.task, SkytoolError) or not unit.task.fingerprint:
        return False
    for path in unit.outputs:
        with opened(path, verify=True) as hdus:
            if hdus[0].header.get("SKYPRINT") != unit.task.fingerprint:
                return False
    return True
