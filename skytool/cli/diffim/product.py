"""The files of a difference: planes, kernel, records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skytool.models.records.provenance import (
    InputRecord,
    config_table,
    fingerprint,
    history_line,
    inputs_table,
)

if TYPE_CHECKING:
    from pathlib import Path

    from astropy.io import fits

    from skytool.cli.diffim.units import DiffimTask
    from skytool.io.sources import ExposureSource
    from skytool.models.exposure import Exposure
    from skytool.stages.diffim import DiffimResult
    from skytool.stages.diffim.sources import SourceReport

STAGE = "diffim"
ROLES = ("science", "template")


def product_fingerprint(task: DiffimTask) -> str:
    """Return what changes whenever a product of a task may change."""
    from skytool.io.catalogs import list_digest
    from skytool.io.fits import content_key

    sums = [task.science.digest(), task.template.digest()]
    if task.files.kernel_in is not None:
        sums.append(content_key(task.files.kernel_in))
    if task.files.catalog is not None:
        sums.append(list_digest(task.files.catalog))
    return fingerprint(sums, task.settings)


def write_difference(task: DiffimTask, result: DiffimResult, searched: Exposure | None) -> None:
    """Write the difference and what else is wanted of it.

    Parameters
    ----------
    task : DiffimTask
        What is written where.
    result : DiffimResult
        The difference.
    searched : Exposure or None
        The difference as the search for sources left it, if there was one.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    files, kernel = task.files, [*result.kernel.to_hdus(), *_input_psfs(result)]
    _write(task, result, searched or result.difference, files.output, "DIFFERENCE", kernel)
    if files.matched is not None:
        _write(task, result, result.matched, files.matched, "EXPOSURE", [])
    if files.kernel_out is not None:
        from skytool.io.fits import write_hdus

        primary = _primary(task, result, result.difference, "KERNEL")
        hdus = [*kernel, *records(task)]
        write_hdus(files.kernel_out, hdus, primary=primary, overwrite=task.overwrite)


def _input_psfs(result: DiffimResult) -> list[Any]:
    """Return the PSFs of science image and template in the simplest form that they have."""
    from skytool.models.keywords import set_card

    hdus: list[Any] = []
    for number, (role, psf) in enumerate(zip(ROLES, result.psfs, strict=True), 1):
        parts = psf.everywhere().to_hdus(extname="PSFIN", extver=number)
        for hdu in parts:
            set_card(hdu.header, "ROLE", role, "whose PSF this is")
        hdus += parts
    return hdus


def write_sources(
    task: DiffimTask, result: DiffimResult, report: SourceReport, *, fwhm: float
) -> None:
    """Write what is wanted of the sources of a difference.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    from skytool.cli.diffim.source_product import (
        write_catalogue,
        write_locations,
        write_regions,
        write_score,
    )

    source, tables = task.source, records(task)
    if source.score is not None:
        write_score(
            report, source.score, tables=tables, overwrite=task.overwrite, compress=task.compress
        )
    if source.catalogue is not None:
        write_catalogue(report, source.catalogue, tables=tables, overwrite=task.overwrite)
    if source.regions is not None:
        write_regions(report, source.regions, fwhm=fwhm, overwrite=task.overwrite)
    if source.locations is not None:
        write_locations(result, report, source, tables=tables, overwrite=task.overwrite)


def records(task: DiffimTask) -> list[fits.BinTableHDU]:
    """Return the tables of inputs and settings."""
    pair = zip(ROLES, (task.science, task.template), strict=True)
    rows = [_input_record(role, source) for role, source in pair]
    return [inputs_table(rows), config_table(task.settings)]


def _input_record(role: str, source: ExposureSource) -> InputRecord:
    from skytool.io.input_records import input_record
    from skytool.models.observation.observation import observation_from_header

    seen = observation_from_header(source.header)
    return input_record(
        source,
        role=role,
        file=source.spec.file_name,
        visit=seen.visit,
        detector=seen.detector_name if seen.detector is None else str(seen.detector),
    )


def _write(
    task: DiffimTask,
    result: DiffimResult,
    exposure: Exposure,
    output: Path,
    kind: str,
    kernel: list[Any],
) -> None:
    """Write an exposure with records."""
    from skytool.io.fits import write_hdus
    from skytool.models.exposure_hdus import to_hdus

    write_hdus(
        output,
        [*to_hdus(exposure), *kernel, *records(task)],
        primary=_primary(task, result, exposure, kind),
        overwrite=task.overwrite,
        compress=task.compress,
    )


def _primary(task: DiffimTask, result: DiffimResult, exposure: Exposure, kind: str) -> fits.Header:
    from skytool.models.exposure_hdus import primary_header

    text = f"{task.science.spec.file_name} less {task.template.spec.file_name}"
    return primary_header(
        exposure,
        kind=kind,
        stage=STAGE,
        history=history_line(STAGE, text),
        cards={**_cards(result), "SKYPRINT": product_fingerprint(task)},
    )


def _cards(result: DiffimResult) -> dict[str, Any]:
    """Return the cards of the primary that only a difference has."""
    metrics = result.metrics
    return {
        "CONVIMG": (result.kernel.convolved, "image that was convolved"),
        "KSUM": (metrics["kernel_sum"], "sum of the kernel"),
        "NKSTARS": (metrics["kernel_stars"], "sources that the kernel was fitted to"),
        "TMPLFRAC": (metrics["template_coverage"], "covered part of the image"),
        "FWHMSCI": (metrics["science_fwhm"], "[pixel] FWHM of the science image"),
        "FWHMTMP": (metrics["template_fwhm"], "[pixel] FWHM of the template"),
        "NINTERP": (metrics["n_interpolated"], "pixels that were filled"),
        "MAGLIM": (metrics["difference_limit"], "[mag] five sigma, point source"),
        "RESRATIO": (metrics["residual_ratio"], "light of stars that is left, mean"),
        "RESSCAT": (metrics["residual_scatter"], "light of stars that is left, scatter"),
        "VFACSCI": (metrics["science_factor"], "factor on the variance of the science image"),
        "VFACTMP": (metrics["template_factor"], "factor on the variance of the template"),
    }
