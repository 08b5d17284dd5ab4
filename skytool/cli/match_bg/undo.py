"""``skytool match-bg --undo``: exposures as they were before they were matched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from skytool.cli.match_bg.product import STAGE, matched_record, write_product
from skytool.cli.stage_files import Product, Unit, run_units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skytool.cli.config import Setting
    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.io.sources import ReadOptions
    from skytool.models.records.provenance import SettingRecord


@dataclass(frozen=True)
class UndoTask:
    """One file to restore.

    Parameters
    ----------
    input, output : str
        The files.
    reading : ReadOptions
        How to read it.
    settings : tuple of SettingRecord
        All settings, for the record.
    overwrite : bool
        Whether the product may be replaced.
    compress : str
        How it is compressed.
    """

    input: str
    output: str
    reading: ReadOptions
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
    """Take back the last match of every input."""
    from skytool.models.records.provenance import SettingRecord

    settings = tuple(SettingRecord(STAGE, *setting) for setting in recorded)
    units = [
        Unit(
            name=text,
            inputs=(text,),
            outputs=(output,),
            task=UndoTask(
                input=text,
                output=str(output),
                reading=reading,
                settings=settings,
                overwrite=run.may_replace,
                compress=run.compress,
            ),
        )
        for text, output in zip(inputs, destination.paths(inputs), strict=True)
    ]
    run_units(restore, units, stage=STAGE, columns=("layers_left",), run=run)


def restore(task: UndoTask) -> list[Product]:
    """Read, restore and write one file."""
    from skytool.cli.match_bg.units import one_source
    from skytool.stages.match_bg import undone

    source = one_source(task.input, task.reading)
    exposure = undone(source.read())
    write_product(
        exposure,
        task.output,
        history="the last match is taken back",
        cards={},
        records=[matched_record(source, role="science", scale=1.0)],
        settings=task.settings,
        overwrite=task.overwrite,
        compress=task.compress,
    )
    left = sum(hdu.name == "BKG" for hdu in exposure.extensions)
    return [Product(path=task.output, metrics={"layers_left": left})]
