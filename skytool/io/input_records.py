"""Rows of the table INPUTS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skytool.models.records.provenance import InputRecord

if TYPE_CHECKING:
    from skytool.io.sources import ExposureSource


def input_record(source: ExposureSource, **values: Any) -> InputRecord:
    """Return the row of an exposure that a product was made from.

    Parameters
    ----------
    source : ExposureSource
        Names the file and the extension, and has the sum of its pixels.
    **values
        Other fields of the record, the role at least; they also replace those of the source.
    """
    extension = source.extension
    name, version = extension if isinstance(extension, tuple) else (extension, 1)
    place = {"file": source.path.name, "extname": str(name), "extver": version}
    if "datasum" not in values:
        place["datasum"] = source.datasum()
    return InputRecord(**{**place, **values})
