"""How well the point spread function of an exposure is known, and how much it varies."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from astropy.io import fits

    from skytool.models.records.detector_table import DetectorTable

PSF_CARDS = (
    *("PSFFWHM", "PSFELL", "PSFNSTAR", "PSFNRES", "PSFORDER", "PSFRESID"),
    *("PSFDSIZE", "PSFSSIZE", "PSFSELL"),
)
"""Cards about the PSF of an exposure, which hold for its own pixels only."""

_FWHM_OF_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))


@dataclass(frozen=True, kw_only=True)
class PsfStatistics:
    """Numbers by which exposures are chosen; NaN where one is not known.

    Parameters
    ----------
    ellip_residual : float
        Length of the median difference of the ellipticity between stars and PSF.
    size_scatter : float
        Robust scatter of the size of stars less that of the PSF [pixel].
    scaled_size_scatter : float
        The same over the square of the median size of stars.
    trace_radius_delta : float
        Range of the trace radius of the PSF over the detector [pixel].
    ap_flux_delta : float
        Range of the flux of the PSF in an aperture.
    ap_corr_sigma_scaled_delta : float
        Range of the aperture correction over the width of the PSF.
    n_psf_star : float
        Stars that the PSF was measured from.
    star_e : float
        Median ellipticity of these stars.
    fwhm : float
        Width of the PSF [arcsec].
    ellipticity : float
        Ellipticity of the PSF.
    """

    ellip_residual: float = math.nan
    size_scatter: float = math.nan
    scaled_size_scatter: float = math.nan
    trace_radius_delta: float = math.nan
    ap_flux_delta: float = math.nan
    ap_corr_sigma_scaled_delta: float = math.nan
    n_psf_star: float = math.nan
    star_e: float = math.nan
    fwhm: float = math.nan
    ellipticity: float = math.nan

    @classmethod
    def from_header(cls, header: fits.Header) -> Self:
        """Return what cards say: those of a measured PSF, and SEEING [arcsec].

        Cards have the scatter of sizes over the size, and the width instead of the size, which is
        taken to be that of a Gaussian.
        """
        relative = _number(header, "PSFSSIZE")
        size = _number(header, "PSFFWHM") / _FWHM_OF_SIGMA
        return cls(
            ellip_residual=_number(header, "PSFSELL"),
            size_scatter=relative * size,
            scaled_size_scatter=relative / size if size > 0 else math.nan,
            n_psf_star=_number(header, "PSFNSTAR"),
            fwhm=_number(header, "SEEING"),
        )

    @classmethod
    def from_row(cls, table: DetectorTable, row: int, *, pixel_scale: Callable[[], float]) -> Self:
        """Return what a row of a table says.

        Parameters
        ----------
        table : DetectorTable
            Columns are named as the fields, with or without ``psf`` or ``psfStar`` before, as in
            the summaries of visits of the LSST pipelines; a width may be ``psfSigma`` [pixel].
        row : int
            Number of the row.
        pixel_scale : callable
            Returns the side of a pixel [arcsec]; called for widths in pixels.
        """
        values = {name: table.number(row, *columns) for name, columns in _COLUMNS.items()}
        if math.isnan(values["ellip_residual"]):
            medians = [table.number(row, f"psfStarDeltaE{i}Median") for i in (1, 2)]
            values["ellip_residual"] = math.hypot(*medians)
        if math.isnan(values["fwhm"]) and table.has("psfSigma"):
            sigma = table.number(row, "psfSigma")
            values["fwhm"] = _FWHM_OF_SIGMA * sigma * pixel_scale()
        return cls(**values)

    def filled(self, other: PsfStatistics) -> PsfStatistics:
        """Return these numbers, with those of another in place of missing ones."""
        missing = {
            entry.name: getattr(other, entry.name)
            for entry in fields(self)
            if math.isnan(getattr(self, entry.name))
        }
        return replace(self, **missing)


_COLUMNS = {
    "ellip_residual": ("ellip_residual", "psf_ellip_residual"),
    "size_scatter": ("size_scatter", "psf_star_delta_size_scatter"),
    "scaled_size_scatter": ("scaled_size_scatter", "psf_star_scaled_delta_size_scatter"),
    "trace_radius_delta": ("trace_radius_delta", "psf_trace_radius_delta"),
    "ap_flux_delta": ("ap_flux_delta", "psf_ap_flux_delta"),
    "ap_corr_sigma_scaled_delta": (
        "ap_corr_sigma_scaled_delta",
        "psf_ap_corr_sigma_scaled_delta",
    ),
    "n_psf_star": ("n_psf_star",),
    "star_e": ("star_e", "star_e_median"),
    "fwhm": ("fwhm", "psf_fwhm", "seeing"),
    "ellipticity": ("ellipticity", "psf_ellipticity"),
}


def _number(header: fits.Header, keyword: str) -> float:
    """Return the value of a card; NaN if it is no number."""
    value = header.get(keyword)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else math.nan
