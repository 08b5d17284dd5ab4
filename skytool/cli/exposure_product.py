"""Files of exposures to which a stage has added something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skytool.models.records.provenance import (
    config_table,
    earlier_settings,
    history_line,
    inputs_table,
    merged_settings,
    without_provenance,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from skytool.models.exposure import Exposure
    from skytool.models.records.provenance import InputRecord, SettingRecord


def write_exposure(
    exposure: Exposure,
    output: str,
    *,
    stage: str,
    history: str,
    cards: Mapping[str, Any],
    records: Sequence[InputRecord],
    settings: Sequence[SettingRecord],
    overwrite: bool,
    compress: str,
    kind: str = "EXPOSURE",
) -> None:
    """Write an exposure, with what was recorded before.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from skytool.io.fits import write_hdus
    from skytool.models.exposure_hdus import primary_header, to_hdus

    earlier = earlier_settings(exposure.extensions, name=exposure.name)
    kept = without_provenance(exposure.extensions)
    primary = primary_header(
        exposure, kind=kind, stage=stage, history=history_line(stage, history), cards=cards
    )
    hdus = [
        *to_hdus(exposure.with_values(extensions=tuple(kept))),
        inputs_table(records),
        config_table(merged_settings([earlier, settings])),
    ]
    write_hdus(output, hdus, primary=primary, overwrite=overwrite, compress=compress)
