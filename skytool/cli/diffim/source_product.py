"""The files of what was found in a difference: catalogue, regions, score, places."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from astropy.io import fits

    from skytool.cli.diffim.sources import SourceOptions
    from skytool.models.exposure import Exposure
    from skytool.stages.diffim import DiffimResult
    from skytool.stages.diffim.sources import SourceReport

STAGE = "diffim"
_REGION_RADIUS = 2.0  # [FWHM]


def write_catalogue(
    report: SourceReport,
    output: Path,
    *,
    tables: Sequence[fits.BinTableHDU],
    overwrite: bool,
) -> None:
    """Write a catalogue as FITS, or as ECSV.

    Parameters
    ----------
    report : SourceReport
        What was found.
    output : Path
        The file; its suffix decides.
    tables : sequence of BinTableHDU
        Provenance.
    overwrite : bool
        Whether it may be replaced.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from skytool.io.writing import write_bytes, write_hdus

    catalogue = report.catalogue
    if output.suffix.lower() == ".ecsv":
        write_bytes(output, catalogue.to_ecsv(), overwrite=overwrite)
        return
    primary = _primary(report, report.difference, "SOURCES", f"{len(catalogue)} sources")
    write_hdus(output, [catalogue.to_hdu(), *tables], primary=primary, overwrite=overwrite)


def write_regions(report: SourceReport, output: Path, *, fwhm: float, overwrite: bool) -> None:
    """Write circles around sources, for DS9; `fwhm` is that of the PSF [pixel]."""
    from skytool.io.writing import write_bytes
    from skytool.models.sky.celestial import pixel_scale

    wcs = report.difference.wcs
    scale = None if wcs is None else pixel_scale(wcs, name=report.difference.name)
    regions = report.catalogue.to_regions(radius=_REGION_RADIUS * fwhm, pixel_scale=scale)
    write_bytes(output, regions, overwrite=overwrite)


def write_locations(
    result: DiffimResult,
    report: SourceReport,
    source: SourceOptions,
    *,
    tables: Sequence[fits.BinTableHDU],
    overwrite: bool,
) -> None:
    """Write the table of places all over the image."""
    from skytool.io.writing import write_hdus
    from skytool.models.tables import table_hdu
    from skytool.stages.diffim.locations import location_columns

    assert source.locations is not None  # noqa: S101  asked before
    columns = location_columns(result, report, n=source.n_locations, size=source.location_size)
    text = f"{source.n_locations} places of {report.difference.name}"
    primary = _primary(report, report.difference, "LOCATIONS", text)
    hdus = [table_hdu("LOCATIONS", columns), *tables]
    write_hdus(source.locations, hdus, primary=primary, overwrite=overwrite)


def write_score(
    report: SourceReport,
    output: Path,
    *,
    tables: Sequence[fits.BinTableHDU],
    overwrite: bool,
    compress: str,
) -> None:
    """Write the score with its variance, mask and significance."""
    from skytool.io.writing import write_hdus
    from skytool.models.exposure_hdus import to_hdus

    primary = _primary(report, report.score, "SCORE", f"score of {report.difference.name}")
    hdus = [*to_hdus(report.score), snr_hdu(report), *tables]
    write_hdus(output, hdus, primary=primary, overwrite=overwrite, compress=compress)


def _primary(report: SourceReport, exposure: Exposure, kind: str, text: str) -> fits.Header:
    """Return the primary header of a file, with the numbers that were measured."""
    from skytool.models.exposure_hdus import primary_header
    from skytool.models.records.provenance import history_line

    history = history_line(STAGE, text)
    return primary_header(exposure, kind=kind, stage=STAGE, history=history, cards=report.metrics)


def snr_hdu(report: SourceReport) -> fits.ImageHDU:
    """Return the significance of point sources as an extension, SNR."""
    from astropy.io import fits

    from skytool.models.exposure_hdus import to_hdus
    from skytool.models.keywords import set_card

    header = to_hdus(report.score)[0].header.copy()
    for key in ("EXTNAME", "EXTTYPE", "BUNIT", "CHECKSUM", "DATASUM"):
        header.remove(key, ignore_missing=True)
    hdu = fits.ImageHDU(report.snr, header=header, name="SNR")
    set_card(hdu.header, "EXTTYPE", "SNR", "signal-to-noise ratio of a point source")
    return hdu
