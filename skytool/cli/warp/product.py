"""The file of a warp: planes, records, provenance."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from skytool.models.records.provenance import InputRecord, config_table, fingerprint, inputs_table
from skytool.models.records.warp import (
    CcdRecord,
    VisitRecord,
    recorded_times,
    records_table,
    with_unique_ids,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skytool.cli.warp.making import WarpTask
    from skytool.io.sources import ExposureSource
    from skytool.models.exposure import Exposure
    from skytool.stages.warp import DetectorReport, Member, WarpResult
    from skytool.stages.warp.matching import MatchReport

_CCDS_PER_VISIT = 1000


def product_fingerprint(task: WarpTask) -> str:
    """Return what changes whenever the product of a task may change."""
    from skytool.io.fits import content_key
    from skytool.models.records.provenance import SettingRecord

    sums = [member.candidate.digest() for member in task.visit.members]
    sums += [content_key(file) for _, file in _models(task)]
    grid = task.grid.header_cards().tostring()
    size = ",".join(map(str, task.grid.shape))
    target = [
        SettingRecord("warp", "target", f"{size} {grid}", ""),
        SettingRecord("warp", "matching", repr(task.matching), ""),
        *(
            SettingRecord("warp", f"rejected {member.candidate.name}", reason, "")
            for member, reason in task.rejected
        ),
    ]
    return fingerprint(sums, [*task.settings, *target])


def write_warp(task: WarpTask, result: WarpResult, output: str) -> None:
    """Write a warp with its records.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from skytool.io.fits import write_hdus
    from skytool.models.exposure_hdus import primary_header, to_hdus
    from skytool.models.records.provenance import history_line

    kernel = task.config.kernel
    matches = result.matches or (None,) * len(result.detectors)
    ccds = with_unique_ids(
        replace(_ccd_record(task, member, report), **_match_columns(match))
        for member, report, match in zip(task.visit.members, result.detectors, matches, strict=True)
    )
    exposure = _identified(result.exposure, ccds)
    ccds = [ccd for ccd in ccds if ccd.goodpix] or ccds
    primary = primary_header(
        exposure,
        kind="WARP",
        stage="warp",
        history=history_line("warp", f"{result.used_detectors} inputs, {kernel}, {task.grid.name}"),
        cards=_cards(task, result),
    )
    plane = fits.ImageHDU(result.n_image, name="NIMAGE", header=task.grid.header_cards())
    hdus = [*to_hdus(exposure), plane]
    if result.masked_fraction is not None:
        header = task.grid.header_cards()
        hdus.append(fits.ImageHDU(result.masked_fraction, name="FRACMASK", header=header))
    hdus += _noise_hdus(task, result)
    hdus += [
        records_table([_visit_record(task, result, ccds)], "VISITS"),
        records_table(ccds, "CCDS"),
        inputs_table(_input_records(task, result)),
        config_table(task.settings),
    ]
    write_hdus(output, hdus, primary=primary, overwrite=task.overwrite, compress=task.compress)


def _identified(exposure: Exposure, ccds: Sequence[CcdRecord]) -> Exposure:
    """Return a warp whose PSF, if it has that of each, calls the detectors as their records do."""
    psf = exposure.psf
    if psf is None:
        return exposure
    from skytool.models.psf.coadd import CoaddPsf

    if not isinstance(psf, CoaddPsf):
        return exposure
    named = psf.changed(lambda entry: replace(entry, id=ccds[entry.id].id))
    return exposure.with_values(psf=named)


def _cards(task: WarpTask, result: WarpResult) -> dict[str, Any]:
    """Return the cards of the primary that only a warp has."""
    return {
        "VISIT": task.visit.name,
        "WARPTYPE": ("psfMatched" if result.matches else "direct", "direct or psfMatched"),
        **task.place,
        "KERNEL": (task.config.kernel, "resampling kernel"),
        "NCCD": (result.used_detectors, "detectors in this warp"),
        "GOODPIX": (result.good_pixels, "good pixels, overlaps counted twice"),
        "NCOVERED": (result.covered_pixels, "pixels with a value"),
        "NOVERLAP": (result.overlap_pixels, "pixels that several detectors see"),
        "WCSERR": (
            max(report.wcs_error for report in result.detectors),
            "[pixel] largest error of interpolated positions",
        ),
        "SKYPRINT": product_fingerprint(task),
        **_noise_cards(result),
        **_match_cards(result),
    }


def _noise_hdus(task: WarpTask, result: WarpResult) -> list[fits.ImageHDU]:
    """Return the record of the noise: its correlation, and realisations of it."""
    hdus = []
    correlation = result.correlation
    if correlation is not None:
        hdu = fits.ImageHDU(correlation.correlation, name="NOISECORR")
        side = correlation.correlation.shape[0]
        for axis, lag in ((1, "x"), (2, "y")):
            hdu.header[f"CTYPE{axis}"] = ("LINEAR", f"lag along {lag}")
            hdu.header[f"CRPIX{axis}"] = (side // 2 + 1, f"[pixel] lag 0 along {lag}")
            hdu.header[f"CRVAL{axis}"] = (0.0, f"[pixel] lag along {lag}")
            hdu.header[f"CDELT{axis}"] = (1.0, f"[pixel] lag along {lag}")
        hdu.header["NSAMPLE"] = (correlation.samples, "pixels whose light was followed")
        hdus.append(hdu)
    if result.noise is not None:
        for number, plane in enumerate(result.noise, 1):
            header = task.grid.header_cards()
            hdus.append(fits.ImageHDU(plane, name="NOISE", ver=number, header=header))
    return hdus


def _noise_cards(result: WarpResult) -> dict[str, Any]:
    """Return the cards of the primary that tell how large and how correlated noise is."""
    correlation, scale = result.correlation, result.variance_scale
    cards = {} if scale is None else {"VARSCALE": (scale, "factor on the variance")}
    if correlation is None:
        return cards
    return {
        **cards,
        "NCORR1": (correlation.neighbours, "noise correlation of adjacent pixels"),
        "CORRFAC": (
            correlation.sum_factor,
            "noise of sums over that of independent pixels",
        ),
    }


def _match_cards(result: WarpResult) -> dict[str, Any]:
    """Return the cards of the primary that only a PSF-matched warp has."""
    matches = [match for match in result.matches if match is not None]
    if not matches:
        return {}
    return {
        "PSFFWHM": (matches[0].fwhm_model, "[pixel] width of the PSF, adaptive moments"),
        "NOISEGN": (
            max(match.noise_gain for match in matches),
            "largest sum K^2, factor on white noise",
        ),
        "MATCHRES": (
            max(match.residual for match in matches),
            "largest residual power over that of the model",
        ),
    }


def _ccd_record(
    task: WarpTask, member: Member[ExposureSource], report: DetectorReport
) -> CcdRecord:
    """Return the record of one detector."""
    from skytool.io.filespec import extension_text
    from skytool.models.sky.geometry import celestial_header, footprint_edges

    source, seen = member.candidate, member.observation
    wcs = source.wcs()
    assert wcs is not None  # noqa: S101  it was selected by its place on the sky
    ra, dec = (
        (float(corner[0]), float(corner[1]), float(corner[2]), float(corner[3]))
        for corner in footprint_edges(wcs, source.shape, 1, name=source.name)
    )
    ny, nx = source.shape
    ccd = -1 if seen.detector is None else seen.detector
    return CcdRecord(
        id=_CCDS_PER_VISIT * task.visit.number + max(ccd, 0),
        visit=task.visit.number,
        ccd=ccd,
        file=source.path.name,
        extname=extension_text(source.extension),
        filter_name=seen.filter,
        goodpix=report.good_pixels,
        weight=1.0,
        scale=report.scale,
        zero_point=report.zero_point,
        sky_added=report.sky_added,
        sky_subtracted=report.sky_subtracted,
        area=report.area,
        filled=report.filled,
        corners_ra=ra,
        corners_dec=dec,
        **recorded_times(seen),
        bbox=(source.origin.x, source.origin.y, nx, ny),
        wcs_header=celestial_header(wcs).tostring(endcard=False),
    )


def _match_columns(match: MatchReport | None) -> dict[str, Any]:
    """Return what the record of a detector says of its match."""
    if match is None:
        return {}
    return {
        "fwhm_in": match.fwhm_in,
        "fwhm_out": match.fwhm_out,
        "noise_gain": match.noise_gain,
        "residual": match.residual,
        "n_cells": match.n_cells,
    }


def _visit_record(task: WarpTask, result: WarpResult, ccds: list[CcdRecord]) -> VisitRecord:
    """Return the record of the visit."""
    ny, nx = task.grid.shape
    means = {
        name: float(np.mean([getattr(ccd, name) for ccd in ccds]))
        for name in ("exposure_time", "mjd", "airmass")
    }
    return VisitRecord(
        id=task.visit.number,
        name=task.visit.name,
        filter_name=task.visit.filter_name,
        goodpix=result.good_pixels,
        weight=1.0,
        bbox=(task.grid.origin.x, task.grid.origin.y, nx, ny),
        **means,
    )


def _input_records(task: WarpTask, result: WarpResult) -> list[InputRecord]:
    """Return a row for every exposure of the visit, also for those that were not used."""
    lost = "no good pixel" if not result.matches else "not matched, or no good pixel"
    used = [
        _input_record(member, scale=report.scale, weight=1.0)
        if report.good_pixels
        else _input_record(member, status="skipped", reason=lost)
        for member, report in zip(task.visit.members, result.detectors, strict=True)
    ]
    skipped = [
        _input_record(member, status="skipped", reason=reason) for member, reason in task.rejected
    ]
    return used + skipped + [_model_record(role, file) for role, file in _models(task)]


def _models(task: WarpTask) -> list[tuple[str, str]]:
    """Return the files of models with what they were for, in the order of the detectors."""
    from skytool.cli.warp.making import model_files

    pairs = [pair for member in task.visit.members for pair in model_files(task, member).items()]
    return list(dict.fromkeys(pairs))


def _model_record(role: str, file: str) -> InputRecord:
    """Return the row of a model in a file."""
    from skytool.io.backgrounds import background_datasum
    from skytool.io.filespec import FileSpec

    return InputRecord(role=role, file=FileSpec.parse(file).name, datasum=background_datasum(file))


def _input_record(member: Member[ExposureSource], **values: Any) -> InputRecord:
    from skytool.io.input_records import input_record

    seen = member.observation
    places = {"visit": seen.visit, "detector": seen.detector_name}
    return input_record(member.candidate, role="warp-input", **places, **values)
