"""The stars that a point spread function was measured with: a table of the exposure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import numpy as np

from skytool.models.tables import TableColumn, table_columns, table_hdu

if TYPE_CHECKING:
    from astropy.io import fits
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PSF_STARS = "PSFSTARS"
"""EXTNAME of the table."""

_COLUMNS = (
    ("X", "x", "pixel", "0-based position"),
    ("Y", "y", "pixel", "0-based position"),
    ("FLUX", "flux", None, "fitted with the PSF"),
    ("FLUXERR", "flux_error", None, "its standard error"),
    ("FWHM", "fwhm", "pixel", "of a Gaussian with the adaptive moments"),
    ("E1", "e1", "", "(xx - yy) / (xx + yy) of the moments"),
    ("E2", "e2", "", "2 xy / (xx + yy) of the moments"),
    ("PSF_FWHM", "psf_fwhm", "pixel", "the same of the PSF"),
    ("PSF_E1", "psf_e1", "", "the same of the PSF"),
    ("PSF_E2", "psf_e2", "", "the same of the PSF"),
    ("RESIDUAL", "residual", "", "power of star minus PSF over the star's, less noise"),
    ("RESERR", "residual_error", "", "its standard error"),
    ("CHI2", "chi2", "", "reduced chi-square"),
    ("USED", "used", "", "the PSF was fitted to it"),
    ("RESERVED", "reserved", "", "kept apart to judge the PSF by"),
)


@dataclass(frozen=True, eq=False)
class PsfStars:
    """Stars of an exposure beside their point spread function; arrays of shape ``(n,)``.

    A star that is neither used nor reserved did not agree with the others.

    Parameters
    ----------
    y, x : ndarray of float64
        Positions [pixel].
    flux, flux_error : ndarray of float64
        Flux and its standard error [unit of the image].
    fwhm, e1, e2 : ndarray of float64
        Width [pixel] and elongation by adaptive moments; NaN where these do not converge.
    psf_fwhm, psf_e1, psf_e2 : ndarray of float64
        The same of the PSF at the place of the star, on the same pixels.
    residual, residual_error : ndarray of float64
        Sum of the squares of star minus PSF over that of the star, less what noise gives, and its
        standard error.
    chi2 : ndarray of float64
        Weighted squares for each degree of freedom.
    used, reserved : ndarray of bool
        Whether the PSF was fitted to the star, and whether it was kept apart.
    """

    y: Floats
    x: Floats
    flux: Floats
    flux_error: Floats
    fwhm: Floats
    e1: Floats
    e2: Floats
    psf_fwhm: Floats
    psf_e1: Floats
    psf_e2: Floats
    residual: Floats
    residual_error: Floats
    chi2: Floats
    used: NDArray[np.bool_]
    reserved: NDArray[np.bool_]

    def __len__(self) -> int:
        return self.y.size

    def __getitem__(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        return type(self)(*(getattr(self, entry.name)[which] for entry in fields(self)))

    @property
    def snr(self) -> Floats:
        """Ratio of signal to noise of the flux."""
        return self.flux / self.flux_error

    def to_hdu(self, *, unit: str = "") -> fits.BinTableHDU:
        """Return the table; ``unit`` is that of fluxes."""
        columns = [
            TableColumn(name, getattr(self, key), unit if of is None else of, comment)
            for name, key, of, comment in _COLUMNS
        ]
        columns.insert(4, TableColumn("SNR", self.snr, "", "FLUX over FLUXERR"))
        return table_hdu(PSF_STARS, columns)

    @classmethod
    def from_hdu(cls, hdu: fits.BinTableHDU, *, name: str) -> Self:
        """Return what a table holds.

        Raises
        ------
        InputError
            If it is damaged or lacks a column.
        """
        found = table_columns(hdu, name=name, required=[column for column, *_ in _COLUMNS])
        values = {
            key: np.asarray(found[column], dtype=bool if key in {"used", "reserved"} else float)
            for column, key, *_ in _COLUMNS
        }
        return cls(**values)
