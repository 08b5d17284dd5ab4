"""The visits of ``skytool skyframe apply``: read, solved, read again, corrected and written."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skytool.cli.members import (
    Member,
    detector_places,
    find_members,
    member_record,
    output_of_members,
    postpone,
)
from skytool.cli.skyframe.config import apply_config
from skytool.cli.skyframe.flat_ratio import flat_ratio, ratio_file
from skytool.cli.stage_files import Product, Unit, run_units
from skytool.errors import IncompatibleError, SkytoolError, SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from skytool.cli.config import Setting
    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.cli.skyframe.frames import FrameFile
    from skytool.core.skyframe.focal_plane_grid import Affine
    from skytool.io.sources import ReadOptions
    from skytool.models.background.hdus import BackgroundLayer
    from skytool.models.exposure import Exposure
    from skytool.models.records.provenance import SettingRecord
    from skytool.stages.skyframe import ApplyConfig, ApplyInput, VisitSolution

STAGE = "skyframe apply"
COLUMNS = ("scale", "scale_error", "correlation_after")


@dataclass(frozen=True, kw_only=True)
class ApplyTask:
    """One visit to correct.

    Parameters
    ----------
    members : tuple of Member
        Its detectors.
    frames : tuple of FrameFile
        The sky frame of each.
    places : dict of str to Affine, or None
        Where detectors lie.
    config : ApplyConfig
        Settings of the stage.
    flat_ratio : str or None
        Image that exposures are multiplied with.
    outputs : tuple of str
        Product of each detector.
    settings : tuple of SettingRecord
        All settings, for the record.
    overwrite : bool
        Whether products may be replaced.
    compress : str
        How they are compressed.
    """

    members: tuple[Member, ...]
    frames: tuple[FrameFile, ...]
    places: dict[str, Affine] | None
    config: ApplyConfig
    flat_ratio: str | None
    outputs: tuple[str, ...]
    settings: tuple[SettingRecord, ...]
    overwrite: bool
    compress: str


def apply_units(
    inputs: Sequence[str],
    *,
    destination: Destination,
    frames: Sequence[str],
    focal_plane: str | None,
    group_by: tuple[str, ...] | None,
    reading: ReadOptions,
    run: RunOptions,
    settings: dict[str, Any],
    recorded: Sequence[Setting],
) -> None:
    """Find the visits among the inputs and correct each.

    Raises
    ------
    IncompatibleError
        If an exposure has no frame that fits.
    SkytoolError
        What reading, solving and writing raise; with ``--keep-going`` only at the end.
    """
    from skytool.cli.skyframe.frames import FrameSet
    from skytool.models.records.provenance import SettingRecord

    config = apply_config(settings)
    failures: list[Unit[Any]] = []
    exposures, among = _told_apart(inputs)
    known = FrameSet.read([*frames, *among])
    members = find_members(exposures, reading, run, failures, group_by=group_by)
    outputs = dict(zip(members, output_of_members(members, destination), strict=True))
    shared = {
        "places": detector_places(members, focal_plane),
        "config": config,
        "flat_ratio": settings["flat_ratio"],
        "settings": tuple(SettingRecord(STAGE, *setting) for setting in recorded),
        "overwrite": run.may_replace,
        "compress": run.compress,
    }
    units = []
    for visit in dict.fromkeys(member.visit for member in members):
        seen = sorted(
            (member for member in members if member.visit == visit), key=lambda each: each.detector
        )
        try:
            units.append(_unit(visit, seen, known, outputs, shared, settings["require_all"]))
        except SkytoolError as error:
            postpone(error, f"visit {visit}", run, failures)
    run_units(
        correct_visit,
        [*failures, *units],
        stage=STAGE,
        columns=COLUMNS,
        run=run,
        shared=[] if focal_plane is None else [focal_plane],
        is_current=_is_current,
    )


def _told_apart(inputs: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part the exposures among the inputs from the sky frames among them."""
    from skytool.cli.skyframe.frames import holds_frame

    exposures: list[str] = []
    frames: list[str] = []
    for name in inputs:
        (frames if holds_frame(name) else exposures).append(name)
    if not exposures:
        raise IncompatibleError(
            f"all {len(inputs)} inputs are sky frames.", hint="Give exposures to correct."
        )
    return exposures, frames


def _unit(
    visit: str,
    members: list[Member],
    known: Any,
    outputs: dict[Member, Path],
    shared: dict[str, Any],
    require_all: bool,
) -> Unit[Any]:
    """Return the work for a visit.

    Raises
    ------
    IncompatibleError
        If no detector has a frame, or one has none and all must have.
    """
    matched: list[tuple[Member, FrameFile]] = []
    for member in members:
        try:
            matched.append((member, known.of(member)))
        except IncompatibleError as error:
            if require_all or len(members) == 1:
                raise
            warnings.warn(f"{error.message} It is left out.", SkytoolWarning, stacklevel=2)
    if not matched:
        raise IncompatibleError(f"no detector of visit {visit} has a sky frame.")
    chosen = [member for member, _ in matched]
    frames = tuple(frame for _, frame in matched)
    ratios = [name for member in chosen if (name := ratio_file(shared["flat_ratio"], member))]
    files = dict.fromkeys(
        [
            *(file for member in chosen for file in member.files),
            *(frame.file for frame in frames),
            *ratios,
        ]
    )
    paths = tuple(outputs[member] for member in chosen)
    task = ApplyTask(members=tuple(chosen), frames=frames, outputs=tuple(map(str, paths)), **shared)
    alone = len(chosen) == 1
    return Unit(
        name=chosen[0].source.name if alone else f"visit {visit}",
        inputs=tuple(files),
        outputs=paths,
        task=task,
        plan={"detectors": len(chosen)},
    )


def correct_visit(task: ApplyTask | SkytoolError) -> list[Product]:
    """Solve for the scale of a visit, and write its detectors without the sky frame."""
    if isinstance(task, SkytoolError):
        raise task
    from skytool.stages.skyframe import solve_visit

    kept: dict[int, Exposure] = {}
    solution = solve_visit(list(_inputs(task, kept)), task.config, places=task.places)
    layers = {each.detector: each for each in solution.detectors}
    products = []
    for place, member in enumerate(task.members):
        correction = layers[member.detector]
        exposure = _corrected(  # which alone keeps what was read
            task,
            member,
            kept.pop(place) if place in kept else member.source.read(),
            correction.layers,
        )
        _write(task, place, exposure, solution)
        metrics = _metrics(task.frames[place], solution)
        for name in ("correlation_before", "correlation_after", "rms_before", "rms_after"):
            metrics[name] = getattr(correction, name)
        metrics["layers"] = len(correction.layers)
        products.append(Product(path=task.outputs[place], metrics=metrics))
        del exposure
    return products


def _inputs(task: ApplyTask, kept: dict[int, Exposure]) -> Iterator[ApplyInput]:
    """Read one detector after the other; a single one is kept, of several only blocks are."""
    from skytool.stages.skyframe import ApplyInput, sample_boxes, sky_blocks

    config = task.config
    in_cells = config.bg_model1.model == "cells" or config.do_bg_model2
    keep_out = config.bg_model1.mask if config.bg_model1.model == "cells" else config.bg_model2.mask
    for place, (member, file) in enumerate(zip(task.members, task.frames, strict=True)):
        exposure = member.source.read()
        file.frame.check_fits(exposure)
        sky = sky_blocks(
            exposure,
            sample_boxes(exposure.shape, config.sky, file.frame.cells),
            visit=member.visit,
            detector=member.detector,
            filter_name=member.seen.filter,
            planes=config.sky.stats.mask,
            block_size=config.sky.background.block_size,
            keep_out=keep_out if in_cells else (),
            with_variance=config.objects.noise == "variance",
            restore=config.restore_background,
            factor=flat_ratio(task.flat_ratio, member),
        )
        if len(task.members) == 1:
            kept[place] = exposure
        yield ApplyInput(
            sky=sky,
            frame=file.frame,
            file=file.name,
            datasum=file.datasum,
            in_build=file.was_made_of(exposure, member.source.datasum()),
        )
        del exposure


def _corrected(
    task: ApplyTask, member: Member, exposure: Exposure, layers: Sequence[BackgroundLayer]
) -> Exposure:
    """Return a detector less its layers."""
    from skytool.stages.skyframe import divided_layers, restoring_layers, with_layers

    ratio = flat_ratio(task.flat_ratio, member)
    if ratio is not None:
        layers = [divided_layers(layers, ratio)]
    restored = restoring_layers(exposure) if task.config.restore_background else []
    return with_layers(exposure, [*restored, *layers])


def _write(task: ApplyTask, place: int, exposure: Exposure, solution: VisitSolution) -> None:
    """Write a corrected detector."""
    from skytool.cli.exposure_product import write_exposure
    from skytool.models.records.provenance import InputRecord

    member, file = task.members[place], task.frames[place]
    frame_record = InputRecord(
        role="sky-frame",
        file=file.name,
        extname="IMAGE",
        datasum=file.datasum,
        detector=member.detector,
        scale=solution.scale,
    )
    write_exposure(
        exposure,
        task.outputs[place],
        stage=STAGE,
        history=f"{file.name}, scale {solution.scale:.6g} +- {solution.scale_error:.2g}",
        cards={
            "SKYSCALE": (solution.scale, "[BUNIT] scale of the sky frame"),
            "SKYSCERR": (solution.scale_error, "[BUNIT] its standard error"),
            "SKYFRAME": (file.name, "sky frame"),
            "SKYNSAMP": (solution.n_samples, "samples of the scale"),
            "SKYNREJ": (solution.n_rejected, "samples that were rejected"),
            "SKYCHI2": (solution.chi2, "reduced chi-square of the samples"),
            "SKYPRINT": product_fingerprint(task) or None,
        },
        records=[
            member_record(member, role="science", scale=1.0),
            frame_record,
        ],
        settings=task.settings,
        overwrite=task.overwrite,
        compress=task.compress,
    )


def _metrics(file: FrameFile, solution: VisitSolution) -> dict[str, Any]:
    """Return the numbers of a visit for the report."""
    return {
        "scale": solution.scale,
        "scale_error": solution.scale_error,
        "component_scales": list(solution.component_scales),
        "samples": solution.n_samples,
        "rejected": solution.n_rejected,
        "chi2": solution.chi2,
        "background_order": solution.order,
        "sky_frame": file.name,
    }


def product_fingerprint(task: ApplyTask) -> str:
    """Return what changes whenever the products of a task may change."""
    from skytool.io.fits import data_sums
    from skytool.models.records.provenance import SettingRecord, fingerprint

    if any(member.source.spec.is_standard_stream for member in task.members):
        return ""
    sums = [member.source.digest() for member in task.members]
    sums += [frame.digest for frame in task.frames]
    for member in task.members:
        name = ratio_file(task.flat_ratio, member)
        sums += [] if name is None else data_sums(name)
    places = SettingRecord(STAGE, "places", _places_text(task.places), "")
    return fingerprint(sums, [*task.settings, places])


def _places_text(places: dict[str, Affine] | None) -> str:
    if places is None:
        return ""
    numbers = {
        key: [*affine.matrix.ravel().tolist(), *affine.shift.tolist()]
        for key, affine in sorted(places.items())
    }
    return str(numbers)


def _is_current(unit: Unit[Any]) -> bool:
    """Return whether all products were made from the inputs and settings in force."""
    from skytool.io.fits import opened

    if isinstance(unit.task, SkytoolError):
        return False
    wanted = product_fingerprint(unit.task)
    for path in unit.outputs:
        with opened(path, verify=True) as hdus:
            if not wanted or hdus[0].header.get("SKYPRINT") != wanted:
                return False
    return True
