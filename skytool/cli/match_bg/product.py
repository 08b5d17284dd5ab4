"""The file of a matched exposure: planes, the model that was added, provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skytool.models.records.provenance import (
    InputRecord,
    config_table,
    earlier_settings,
    history_line,
    inputs_table,
    merged_settings,
    without_provenance,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skytool.cli.match_bg.tasks import MatchTask, Member
    from skytool.io.sources import ExposureSource
    from skytool.models.exposure import Exposure
    from skytool.models.records.provenance import SettingRecord
    from skytool.stages.match_bg import MatchedPiece

STAGE = "match-bg"


def write_matched(
    task: MatchTask, member: Member, matched: MatchedPiece, metrics: dict[str, Any]
) -> None:
    """Write a matched exposure with its records.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from skytool.stages.match_bg import with_layer

    style = metrics["style"] if metrics["order"] < 0 else f"{metrics['style']} {metrics['order']}"
    text = "reference" if task.is_reference else f"{style}, reference {metrics['reference']}"
    cards = {
        "BKGREF": (metrics["reference"], "exposure that it was matched to"),
        "BKGMODE": (task.mode, "how backgrounds were matched"),
        "BKGRMS": (metrics["fit_rms"], "[BUNIT] rms misfit of the cells of the model"),
        "BKGRATIO": (metrics["ratio"], "mean square of difference over its variance"),
        "SKYPRINT": task.fingerprint,
    }
    records = [
        matched_record(member.source, role="science", scale=metrics["scale"]),
        *(() if task.is_reference else task.reference_records),
    ]
    write_product(
        with_layer(matched),
        member.output,
        history=text,
        cards=cards,
        records=records,
        settings=task.settings,
        overwrite=task.overwrite,
        compress=task.compress,
    )


def write_product(
    exposure: Exposure,
    output: str,
    *,
    history: str,
    cards: dict[str, Any],
    records: Sequence[InputRecord],
    settings: Sequence[SettingRecord],
    overwrite: bool,
    compress: str,
) -> None:
    """Write an exposure of this stage, with what was recorded before."""
    from skytool.io.fits import write_hdus
    from skytool.models.exposure_hdus import primary_header, to_hdus

    earlier = earlier_settings(exposure.extensions, name=exposure.name)
    kept = without_provenance(exposure.extensions)
    primary = primary_header(
        exposure,
        kind="EXPOSURE",
        stage=STAGE,
        history=history_line(STAGE, history),
        cards=cards,
    )
    hdus = [
        *to_hdus(exposure.with_values(extensions=tuple(kept))),
        inputs_table(records),
        config_table(merged_settings([earlier, settings])),
    ]
    write_hdus(output, hdus, primary=primary, overwrite=overwrite, compress=compress)


def matched_record(source: ExposureSource, **values: Any) -> InputRecord:
    """Return the row of an input."""
    from skytool.io.input_records import input_record
    from skytool.models.observation.observation import observation_from_header

    seen = observation_from_header(source.header)
    return input_record(source, visit=seen.visit, detector=seen.detector_name, **values)
