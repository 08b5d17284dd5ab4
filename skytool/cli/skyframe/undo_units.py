"""The files of ``skytool skyframe undo``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skytool.cli.members import Member, find_members, member_record, output_of_members
from skytool.cli.stage_files import Product, Unit, run_units
from skytool.errors import SkytoolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skytool.cli.config import Setting
    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.io.sources import ReadOptions
    from skytool.models.exposure import Exposure
    from skytool.models.records.provenance import SettingRecord

STAGE = "skyframe undo"
COLUMNS = ("undone", "layers_left")

_CARDS = ("SKYSCALE", "SKYSCERR", "SKYFRAME", "SKYNSAMP", "SKYNREJ", "SKYCHI2")


@dataclass(frozen=True)
class UndoTask:
    """One exposure to restore.

    Parameters
    ----------
    member : Member
        The exposure.
    output : str
        The product.
    settings : tuple of SettingRecord
        All settings, for the record.
    overwrite : bool
        Whether the product may be replaced.
    compress : str
        How it is compressed.
    """

    member: Member
    output: str
    settings: tuple[SettingRecord, ...]
    overwrite: bool
    compress: str


def undo_units(
    inputs: Sequence[str],
    *,
    destination: Destination,
    reading: ReadOptions,
    run: RunOptions,
    recorded: Sequence[Setting],
) -> None:
    """Restore every input."""
    from skytool.models.records.provenance import SettingRecord

    settings = tuple(SettingRecord(STAGE, *setting) for setting in recorded)
    failures: list[Unit[Any]] = []
    members = find_members(inputs, reading, run, failures)
    outputs = output_of_members(members, destination)
    units = [
        Unit(
            name=member.source.name,
            inputs=member.files,
            outputs=(output,),
            task=UndoTask(member, str(output), settings, run.may_replace, run.compress),
        )
        for member, output in zip(members, outputs, strict=True)
    ]
    run_units(restore, [*failures, *units], stage=STAGE, columns=COLUMNS, run=run)


def restore(task: UndoTask | SkytoolError) -> list[Product]:
    """Read, restore and write one exposure."""
    if isinstance(task, SkytoolError):
        raise task
    from skytool.cli.exposure_product import write_exposure
    from skytool.stages.skyframe import without_layers

    exposure = task.member.source.read()
    stored = _number_of_layers(exposure)
    exposure = without_layers(exposure)
    header = exposure.header.copy()
    for key in _CARDS:
        header.remove(key, ignore_missing=True)
    left = _number_of_layers(exposure)
    undone = stored - left
    write_exposure(
        exposure.with_values(header=header),
        task.output,
        stage=STAGE,
        history=f"{undone} layers of background put back",
        cards={},
        records=[member_record(task.member, role="science", scale=1.0)],
        settings=task.settings,
        overwrite=task.overwrite,
        compress=task.compress,
    )
    return [Product(path=task.output, metrics={"undone": undone, "layers_left": left})]


def _number_of_layers(exposure: Exposure) -> int:
    return sum(hdu.name == "BKG" for hdu in exposure.extensions)
