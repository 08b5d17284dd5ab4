"""DCR models as one exposure for each subfilter, in files of our layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astropy.io import fits

from skytool.errors import IncompatibleError
from skytool.io.filespec import FileSpec
from skytool.io.fits import write_foreign
from skytool.models.dcr.hdus import model_from_exposure, subfilter_exposures
from skytool.models.exposure_hdus import primary_header, to_hdus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from skytool.models.exposure import Exposure

_MOST = 1000
"""Subfilters, more than which no model has."""


def paths(output: Path, header: Mapping[str, Any], name: str) -> tuple[Path, ...]:
    """Return ``x.subfilter0.fits``, the bluest, and the others.

    Raises
    ------
    IncompatibleError
        If the header is not that of a model.
    """
    number = header.get("DCRNUM")
    if not isinstance(number, int) or not 1 <= number <= _MOST:
        raise IncompatibleError(
            f"{name} has no DCRNUM, it is no DCR model whose subfilters could be written.",
            hint="skytool dcr-assemble makes models.",
        )
    spec = FileSpec(output)
    return tuple(
        output.with_name(f"{spec.stem}.subfilter{place}{spec.suffix}") for place in range(number)
    )


def write(
    exposure: Exposure,
    output: Path,
    *,
    bad_planes: Sequence[str],
    notes: fits.Header,
    overwrite: bool,
) -> None:
    """Write what ``skytool dcr-template`` takes for a model again, all files or none.

    Raises
    ------
    IncompatibleError
        If the exposure is no DCR model.
    """
    del bad_planes  # our files keep every plane
    outputs = paths(output, exposure.header, exposure.name)
    parts = subfilter_exposures(model_from_exposure(exposure, name=exposure.name))
    files = {}
    for path, part in zip(outputs, parts, strict=True):
        hdus = to_hdus(part)
        primary = primary_header(
            part,
            kind="COADD",
            stage="convert",
            history=[str(line) for line in notes["HISTORY"]],
            cards={"SKYPRINT": notes["SKYPRINT"]},
        )
        primary["NEXTEND"] = (len(hdus), "number of extensions")
        files[path] = [fits.PrimaryHDU(header=primary), *hdus]
    write_foreign(files, overwrite=overwrite)
