"""How well the point spread function of an exposure is known, and how much it varies."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from astropy.io import fits
    from numpy.typing import NDArray

    from skytool.models.psf.base import Psf
    from skytool.models.records.detector_table import DetectorTable

PSF_CARDS = (
    *("PSFFWHM", "PSFELL", "PSFNSTAR", "PSFNRES", "PSFORDER", "PSFRESID"),
    *("PSFDSIZE", "PSFSSIZE", "PSFSELL"),
)
"""Cards about the PSF of an exposure, which hold for its own pixels only."""

_FWHM_OF_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
_PLACES = 5  # along each side of an image, at which its PSF is looked at
_LEAST_RADIUS, _RADII = 2.0, 3.0  # of the aperture [pixel], and over the trace radius
_FINE = 5  # samples per pixel and axis by which an aperture is filled


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
        taken to be that of a Gaussian; the ellipticity of stars is that of the PSF.
        """
        relative = _number(header, "PSFSSIZE")
        size = _number(header, "PSFFWHM") / _FWHM_OF_SIGMA
        return cls(
            ellip_residual=_number(header, "PSFSELL"),
            size_scatter=relative * size,
            scaled_size_scatter=relative / size if size > 0 else math.nan,
            n_psf_star=_number(header, "PSFNSTAR"),
            star_e=_number(header, "PSFELL"),
            ellipticity=_number(header, "PSFELL"),
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

    @classmethod
    def of_psf(cls, psf: Psf, shape: tuple[int, int], *, pixel_scale: Callable[[], float]) -> Self:
        """Return what a PSF itself says: width and ellipticity in the middle, and its ranges.

        Parameters
        ----------
        psf : Psf
            The PSF.
        shape : tuple of int
            Shape ``(ny, nx)`` of the exposure.
        pixel_scale : callable
            Returns the side of a pixel [arcsec].

        Raises
        ------
        AlgorithmError
            If there is no star in the middle.
        ValueError
            If its moments do not converge.

        Notes
        -----
        Ranges are over five by five places. The trace radius is that of the adaptive moments; the
        aperture has three of those in the middle, at least two pixels, and the flux is that of a
        star of flux 1.
        """
        from skytool.core.psf.adaptive_moments import adaptive_moments
        from skytool.models.psf.places import stars_across

        y, x = ((size - 1) / 2 for size in shape)
        middle = adaptive_moments(psf.kernel_image(y=y, x=x))
        radius = max(_LEAST_RADIUS, _RADII * math.sqrt((middle.yy + middle.xx) / 2))
        traces, fluxes = [], []
        for star in (star for row in stars_across(psf, shape, n=_PLACES) for star in row):
            if star is None:
                continue
            try:
                moments = adaptive_moments(star.stamp)
            except ValueError:
                continue
            traces.append(math.sqrt((moments.yy + moments.xx) / 2))
            fluxes.append(_aperture_flux(star.stamp, radius))
        return cls(
            trace_radius_delta=max(traces) - min(traces) if traces else math.nan,
            ap_flux_delta=max(fluxes) - min(fluxes) if fluxes else math.nan,
            fwhm=middle.fwhm * pixel_scale(),
            ellipticity=middle.ellipticity,
        )

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


def _aperture_flux(stamp: NDArray[np.float64], radius: float) -> float:
    """Return the light of a star within a circle about the middle of its image."""
    inside = (np.arange(_FINE) + 0.5) / _FINE - 0.5
    y, x = (((np.arange(size) - size // 2)[:, None] + inside).ravel() ** 2 for size in stamp.shape)
    within = (y[:, None] + x <= radius**2).reshape(stamp.shape[0], _FINE, stamp.shape[1], _FINE)
    return float(np.sum(stamp * within.mean(axis=(1, 3))))


def _number(header: fits.Header, keyword: str) -> float:
    """Return the value of a card; NaN if it is no number."""
    value = header.get(keyword)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else math.nan
