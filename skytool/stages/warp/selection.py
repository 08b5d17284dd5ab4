"""Which exposures are good enough for a warp."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skytool.models.psf.statistics import PsfStatistics


@dataclass(frozen=True, kw_only=True)
class PsfCuts:
    """Limits on the statistics of PSFs; None does not limit.

    Parameters
    ----------
    max_ellip_residual, max_size_scatter, max_scaled_size_scatter : float or None
        How far stars may differ from the PSF, see `~skytool.models.psf.statistics.PsfStatistics`.
    max_psf_trace_radius_delta, max_psf_ap_flux_delta, max_psf_ap_corr_sigma_scaled_delta : float or None
        How far the PSF may vary over the detector.
    max_star_e_per_band : float or None
        Largest median ellipticity of stars.
    max_fwhm : float or None
        Largest width of the PSF [arcsec].
    max_ellipticity : float or None
        Largest ellipticity of the PSF.
    min_n_psf_star_per_band : int or None
        Fewest stars.
    """

    max_ellip_residual: float | None = None
    max_size_scatter: float | None = None
    max_scaled_size_scatter: float | None = None
    max_psf_trace_radius_delta: float | None = None
    max_psf_ap_flux_delta: float | None = None
    max_psf_ap_corr_sigma_scaled_delta: float | None = None
    max_star_e_per_band: float | None = None
    max_fwhm: float | None = None
    max_ellipticity: float | None = None
    min_n_psf_star_per_band: int | None = None

    def limits(self) -> dict[str, float]:
        """Return the limits there are, by the name of the cut."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: float(value) for name, value in values.items() if value is not None}


LIMITED = {
    "max_ellip_residual": "ellip_residual",
    "max_size_scatter": "size_scatter",
    "max_scaled_size_scatter": "scaled_size_scatter",
    "max_psf_trace_radius_delta": "trace_radius_delta",
    "max_psf_ap_flux_delta": "ap_flux_delta",
    "max_psf_ap_corr_sigma_scaled_delta": "ap_corr_sigma_scaled_delta",
    "max_star_e_per_band": "star_e",
    "max_fwhm": "fwhm",
    "max_ellipticity": "ellipticity",
    "min_n_psf_star_per_band": "n_psf_star",
}
"""The number that each cut limits."""


def unknown_cuts(statistics: Sequence[PsfStatistics], cuts: PsfCuts) -> list[str]:
    """Return the cuts on numbers that no exposure has."""
    return [
        name
        for name in cuts.limits()
        if all(math.isnan(getattr(known, LIMITED[name])) for known in statistics)
    ]


def rejection(statistics: PsfStatistics, cuts: PsfCuts, *, ignored: Sequence[str] = ()) -> str:
    """Return why an exposure is not good enough; empty if it is.

    Parameters
    ----------
    statistics : PsfStatistics
        Its numbers; one that is limited and not known is a reason.
    cuts : PsfCuts
        The limits.
    ignored : sequence of str
        Cuts that do not count.
    """
    for name, limit in cuts.limits().items():
        if name in ignored:
            continue
        value, option = getattr(statistics, LIMITED[name]), name.replace("_", "-")
        what = LIMITED[name].replace("_", " ")
        if math.isnan(value):
            return f"{what} unknown, with --{option}"
        if value < limit if name.startswith("min") else value > limit:
            return f"{what} {value:.4g}, with --{option} {limit:g}"
    return ""
