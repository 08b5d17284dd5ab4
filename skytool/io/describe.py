"""What a file holds, as numbers and texts that JSON can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skytool.io.describe_parts import (
    describe_backgrounds,
    describe_calibration,
    describe_image,
    describe_planes,
    describe_psf,
    describe_variance,
    describe_wcs,
)
from skytool.io.filespec import FileSpec
from skytool.io.fits import list_extensions, opened
from skytool.io.units import fits_unit
from skytool.models.observation.observation import observation_from_header
from skytool.models.photometry import calibration_from_header
from skytool.models.records.provenance import CONFIG, INPUTS, read_config, read_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.io import fits

    from skytool.io.layouts.contents import Contents
    from skytool.io.sources import ExposureSource
    from skytool.models.exposure import Exposure

_TYPES = {8: "uint8", 16: "int16", 32: "int32", 64: "int64", -32: "float32", -64: "float64"}
_UNSIGNED = {  # by their BZERO (FITS standard 4.0, table 11)
    ("uint8", -128): "int8",
    ("int16", 1 << 15): "uint16",
    ("int32", 1 << 31): "uint32",
    ("int64", 1 << 63): "uint64",
}


def describe_exposure(
    source: ExposureSource, contents: Contents, *, pixels: bool = True
) -> dict[str, Any]:
    """Return what an exposure holds.

    Parameters
    ----------
    source : ExposureSource
        The exposure.
    contents : Contents
        The file it is in.
    pixels : bool
        Read them; without, all that follows from headers.

    Raises
    ------
    InputError
        If a file cannot be read or a plane is damaged.
    IncompatibleError
        If planes do not fit together.
    """
    header, ny, nx = source.header, *source.shape
    hdu = contents.hdus[source.recipe.image.number]
    described: dict[str, Any] = {
        "layout": source.layout,
        **_kind(header),
        "file": _file(contents),
        "siblings": [plane.path.name for plane in source.recipe.siblings],
        "shape": [ny, nx],
        "dtype": _type_of(hdu.header),
        "unit": fits_unit(header.get("BUNIT")) or source.recipe.unit,
        "origin": {"y": source.origin.y, "x": source.origin.x},
        "observation": _observation(header),
    }
    exposure = source.read(needs_variance=False) if pixels else None
    wcs = source.wcs() if exposure is None else exposure.wcs
    described["wcs"] = None if wcs is None else describe_wcs(wcs, source.shape, name=source.name)
    calibration = (
        calibration_from_header(
            header,
            unit=described["unit"],
            name=source.name,
            flux_keyword=source.options.flux_keyword,
        )
        if exposure is None
        else exposure.calibration
    )
    described["calibration"] = describe_calibration(calibration)
    if exposure is not None:
        described |= _of_pixels(exposure, source)
    described["extensions"] = _extensions(contents)
    described |= _provenance(contents)
    described["history"] = [str(line) for line in header.get("HISTORY", [])]
    return described


def _type_of(header: fits.Header) -> str:
    """Return the type of the pixels: ``uint16`` by the BZERO of unsigned integers, for one."""
    stored = _TYPES.get(int(header.get("BITPIX", 0)), "")
    scale, zero = header.get("BSCALE", 1), header.get("BZERO", 0)
    if (scale, zero) == (1, 0):
        return stored
    return _UNSIGNED.get((stored, zero), f"scaled {stored}") if scale == 1 else f"scaled {stored}"


def describe_models(contents: Contents) -> dict[str, Any]:
    """Return what a file of skytool holds that has no exposure, only models or tables."""
    return {
        "layout": "skytool",
        **_kind(contents.primary),
        "file": _file(contents),
        "observation": _observation(contents.primary),
        "extensions": _extensions(contents),
        **_provenance(contents),
        "history": [str(line) for line in contents.primary.get("HISTORY", [])],
    }


def _kind(header: fits.Header) -> dict[str, Any]:
    """Return what a file of skytool is, and which stage made it."""
    keys = {"format": "SKYFMT", "kind": "SKYTYPE", "stage": "SKYSTAGE", "creator": "CREATOR"}
    return {name: header[key] for name, key in keys.items() if key in header}


def _file(contents: Contents) -> dict[str, Any]:
    """Return what holds for the file as a whole."""
    extents = list_extensions(FileSpec(contents.path))
    sums = [("CHECKSUM" in extent.cards) and ("DATASUM" in extent.cards) for extent in extents]
    return {
        "size": extents[-1].end,
        "compressed": any(extent.cards.get("ZIMAGE") == "T" for extent in extents),
        "checksums": "all" if all(sums) else "some" if any(sums) else "none",
    }


def _observation(header: fits.Header) -> dict[str, Any]:
    seen = observation_from_header(header)
    values = {
        "visit": seen.visit,
        "detector": seen.detector_name,
        "filter": seen.filter,
        "exposure_time": seen.exposure_time,
        "mjd_mid": seen.mjd_mid,
        "airmass": seen.airmass,
        "telescope": seen.telescope,
        "instrument": seen.instrument,
        "target": seen.target,
    }
    return {name: value for name, value in values.items() if value not in {None, ""}}


def _of_pixels(exposure: Exposure, source: ExposureSource) -> dict[str, Any]:
    """Return what only the pixels and models of an exposure tell."""
    plan = source.recipe.variance
    kept = source.recipe.native and not plan.planes and plan.kind == "estimate"
    return {
        "image": describe_image(exposure),
        "variance": {
            "from": "VARIANCE" if kept else plan.kind,
            **describe_variance(exposure),
        },
        "planes": describe_planes(exposure.mask),
        "psf": None if exposure.psf is None else describe_psf(exposure),
        "backgrounds": describe_backgrounds(exposure),
    }


def _extensions(contents: Contents) -> list[dict[str, Any]]:
    """Return what every HDU is."""
    described = []
    for hdu in contents.hdus:
        kind = "image" if hdu.is_image and hdu.axes else "empty" if hdu.is_image else "table"
        entry: dict[str, Any] = {"number": hdu.index, "name": hdu.name, "version": hdu.version}
        entry["type"] = kind
        if kind == "image":
            entry["axes"] = list(hdu.axes)
            entry["dtype"] = _type_of(hdu.header)
        if kind == "table":
            columns = range(1, int(hdu.header.get("TFIELDS", 0)) + 1)
            entry["rows"] = int(hdu.header.get("NAXIS2", 0))
            entry["columns"] = [str(hdu.header.get(f"TTYPE{n}", n)).strip() for n in columns]
        for key, card in (("model", "SKYMODEL"), ("psf_kind", "PSFKIND")):
            if card in hdu.header:
                entry[key] = str(hdu.header[card]).strip()
        described.append(entry)
    return described


def _provenance(contents: Contents) -> dict[str, Any]:
    """Return the records in a file of skytool: inputs, settings, detectors and visits."""
    tables = [hdu.name for hdu in contents.hdus if not hdu.is_image]
    if "SKYFMT" not in contents.primary:
        return {}
    found: dict[str, Any] = {}
    name = contents.file_name
    with opened(FileSpec(contents.path)) as hdus:
        if INPUTS in tables:
            found["inputs"] = [
                {
                    "role": record.role,
                    "file": record.file,
                    "extension": record.extname,
                    "status": record.status,
                    "reason": record.reason,
                    "scale": record.scale,
                    "weight": record.weight,
                }
                for record in read_inputs(hdus[INPUTS], name=name)
            ]
        if CONFIG in tables:
            found["settings"] = [
                {"stage": r.stage, "name": r.name, "value": r.value, "source": r.source}
                for r in read_config(hdus[CONFIG], name=name)
            ]
        for table in ("VISITS", "CCDS"):
            if table in tables:
                found[table.lower()] = _rows(hdus[table])
    return found


def _rows(hdu: fits.BinTableHDU) -> list[dict[str, Any]]:
    """Return the rows of a table, without the headers that it keeps as text."""
    names: Sequence[str] = [name for name in hdu.columns.names if name != "WCSHDR"]
    columns = {name: hdu.data[name].tolist() for name in names}
    return [
        {name.lower(): _stripped(columns[name][row]) for name in names}
        for row in range(len(hdu.data))
    ]


def _stripped(value: object) -> object:
    return value.strip() if isinstance(value, str) else value
