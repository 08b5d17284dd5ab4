"""What is measured of every source of a difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.difference.decorrelation import nodes
from skytool.core.difference.dipole import ImagePart, fit_dipole
from skytool.core.difference.source_loops import flags_in_footprints, flags_near
from skytool.core.difference.source_measure import (
    Pixels,
    aperture_fluxes,
    point_fluxes,
    point_positions,
)
from skytool.core.difference.source_psf import SourcePsf, whole_image
from skytool.core.psf.star_stamps import star_moments
from skytool.core.sphere.directions import longitude_latitude
from skytool.errors import IncompatibleError
from skytool.models.photometric_calibration import NANOJANSKY_ZERO_POINT
from skytool.models.sky.celestial import directions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytool.core.difference.detection import Detections
    from skytool.core.difference.dipole import Dipole, DipoleRule
    from skytool.models.exposure import Exposure
    from skytool.models.mask import Mask
    from skytool.models.psf.kinds import Psf
    from skytool.stages.diffim.sources_config import SourcesConfig

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Values = dict[str, NDArray[np.generic]]

_NODES = 5  # along an axis, where star images are taken
_REACH = 1.0  # from the peak to the position [FWHM]
_LEAST_REACH = 2.0  # [pixel]
_MOMENT_HALF = 4.0  # half side of the stamps for moments [standard deviation of the PSF]
_MAGNITUDE = 2.5 / np.log(10.0)


@dataclass(frozen=True, eq=False)
class Measured:
    """An exposure to measure on.

    Parameters
    ----------
    pixels : Pixels
        Image, variance, and which pixels count.
    psf : SourcePsf
        Point spread function.
    """

    pixels: Pixels
    psf: SourcePsf

    @classmethod
    def of(
        cls, exposure: Exposure, planes: Sequence[str], psf: SourcePsf | None = None
    ) -> Measured:
        """Return an exposure with pixels of some planes left out.

        Raises
        ------
        IncompatibleError
            If there is no PSF.
        """
        bad = exposure.mask.any_of(planes)
        pixels = Pixels.usable(exposure.image, exposure.variance, bad)
        if psf is None:
            psf = source_psf(exposure.psf, exposure.shape, name=exposure.name)
        return cls(pixels, psf)


def source_psf(psf: Psf | None, shape: tuple[int, int], *, name: str) -> SourcePsf:
    """Return a point spread function in the form for measurements; see `star_images`."""
    return star_images(psf, shape, name=name).trimmed()


def star_images(psf: Psf | None, shape: tuple[int, int], *, name: str) -> SourcePsf:
    """Return a point spread function as images of sum one that are polynomials of the position.

    Raises
    ------
    IncompatibleError
        If there is none.
    """
    if psf is None:
        raise IncompatibleError(
            f"{name} has no PSF to find sources with.", hint="Attach one with skytool psf."
        )
    everywhere = psf.everywhere()
    at = nodes(_NODES - 1, whole_image(shape))
    stamps = np.stack(
        [everywhere.kernel_image(y=y, x=x) for y, x in zip(at["y"], at["x"], strict=True)]
    )
    return SourcePsf.fit(stamps, **at, shape=shape)


def peak_places(
    snr: NDArray[np.float32], row: NDArray[np.intp], column: NDArray[np.intp]
) -> Floats:
    """Return where the parabolas through peaks are highest, shape ``(n, 2)`` of y and x [pixel]."""
    places = []
    for axis, at in enumerate((row, column)):
        last = snr.shape[axis] - 1
        before, after = np.maximum(at - 1, 0), np.minimum(at + 1, last)
        pairs = ((before, column), (after, column)) if axis == 0 else ((row, before), (row, after))
        low, high = (np.abs(snr[pair]).astype(np.float64) for pair in pairs)
        bend = 2.0 * np.abs(snr[row, column]) - low - high
        known = np.isfinite(bend) & (bend > 0.0) & (at > 0) & (at < last)
        step = np.divide(0.5 * (high - low), bend, out=np.zeros(at.size), where=known)
        places.append(at + np.clip(step, -0.5, 0.5))
    return np.stack(places, axis=1)


def measured_positions(difference: Measured, peaks: Floats) -> Values:
    """Return positions by the PSF, starting at peaks, shape ``(n, 2)``."""
    reach = max(_REACH * difference.psf.fwhm, _LEAST_REACH)
    found = point_positions(
        difference.pixels, difference.psf, y=peaks[:, 0], x=peaks[:, 1], reach=reach
    )
    return {
        "X": found.x,
        "Y": found.y,
        "XERR": found.x_error,
        "YERR": found.y_error,
        "BADPOS": found.failed,
    }


def measured_fluxes(difference: Measured, y: Floats, x: Floats, config: SourcesConfig) -> Values:
    """Return fluxes by the PSF and in circles, and second moments."""
    pixels, psf = difference.pixels, difference.psf
    found = point_fluxes(pixels, psf, y=y, x=x)
    aperture, aperture_error, incomplete = aperture_fluxes(pixels, y=y, x=x, radius=config.aperture)
    ny, nx = pixels.image.shape
    row, column = (np.floor(at + 0.5).astype(np.intp) for at in (y, x))
    return {
        "FLUX": found.flux,
        "FLUXERR": found.error,
        "PSFAREA": found.area,
        "CHI2": found.chi2,
        "NDATA": found.n_pixels,
        "BADFLUX": found.failed,
        "APFLUX": aperture,
        "APERR": aperture_error,
        "BADAP": incomplete,
        "EDGE": found.edge,
        "OFFIMAGE": (row < 0) | (column < 0) | (row >= ny) | (column >= nx),
        **_moments(difference, row, column, found.flux),
    }


def _moments(
    difference: Measured, row: NDArray[np.intp], column: NDArray[np.intp], flux: Floats
) -> Values:
    """Return adaptive moments of the absolute value of sources."""
    pixels, sigma = difference.pixels, difference.psf.sigma
    ny, nx = pixels.image.shape
    half = max(int(_MOMENT_HALF * sigma + 0.5), 3)
    offsets = np.arange(-half, half + 1)
    rows, columns = (at[:, None] + offsets for at in (row, column))
    inside = ((rows >= 0) & (rows < ny))[:, :, None] & ((columns >= 0) & (columns < nx))[:, None]
    at = np.clip(rows, 0, ny - 1)[:, :, None], np.clip(columns, 0, nx - 1)[:, None]
    stamps = np.where(inside & pixels.good[at], pixels.image[at], np.float32(0.0))
    found = star_moments(np.sign(np.nan_to_num(flux))[:, None, None] * stamps, sigma)
    return {"IXX": found.xx, "IYY": found.yy, "IXY": found.xy}


def forced_fluxes(exposure: Measured, y: Floats, x: Floats, prefix: str) -> Values:
    """Return fluxes by the PSF at positions of another exposure."""
    found = point_fluxes(exposure.pixels, exposure.psf, y=y, x=x)
    return {
        f"{prefix}FLUX": found.flux,
        f"{prefix}ERR": found.error,
        f"BAD{prefix}": found.failed,
    }


def mask_flags(mask: Mask, y: Floats, x: Floats) -> Values:
    """Return the planes of any, and of all, of the nine pixels at positions."""
    row, column = (np.floor(at + 0.5).astype(np.int64) for at in (y, x))
    any_of, all_of = np.zeros((2, row.size), np.int32)
    flags_near(mask.array, row, column, any_of, all_of, np.zeros(row.size, np.bool_))
    return {"CENTANY": any_of, "CENTALL": all_of}


def footprint_flags(mask: Mask, detections: Detections) -> NDArray[np.int32]:
    """Return the planes of any pixel of every footprint, shape ``(n_footprints,)``."""
    found = np.zeros(len(detections), np.int32)
    flags_in_footprints(mask.array, detections.labels, found)
    return found


def calibrated(exposure: Exposure, values: Values) -> Values:
    """Return positions on the sky, and fluxes in nanojansky and magnitudes, where they are known."""
    y, x = (np.asarray(values[name], np.float64) for name in ("Y", "X"))
    results: Values = {}
    if exposure.wcs is not None:
        ra, dec = longitude_latitude(directions(exposure.wcs, y=y, x=x))
        results |= {"RA": ra, "DEC": dec}
    if exposure.calibration is not None:
        scale = np.full(y.shape, exposure.calibration.scale)
        relative = exposure.calibration.relative_scale(exposure.shape)
        if relative is not None:
            row, column = (
                np.clip(np.round(at).astype(np.intp), 0, size - 1)
                for at, size in zip((y, x), exposure.shape, strict=True)
            )
            scale *= relative[row, column]
        flux, error = (np.asarray(values[name]) * scale for name in ("FLUX", "FLUXERR"))
        with np.errstate(divide="ignore", invalid="ignore"):
            magnitude = NANOJANSKY_ZERO_POINT - 2.5 * np.log10(np.abs(flux))
            magnitude_error = _MAGNITUDE * error / np.abs(flux)
        known = np.isfinite(magnitude)
        results |= {"FLUXNJY": flux, "ERRNJY": error}
        results["MAG"] = np.where(known, magnitude, np.nan)
        results["MAGERR"] = np.where(known, magnitude_error, np.nan)
    return results


def fitted_dipoles(
    parts: Sequence[ImagePart],
    detections: Detections,
    peaks: Floats,
    *,
    max_area: int,
    rule: DipoleRule,
) -> list[Dipole | None]:
    """Return the dipoles among the footprints that have peaks of both signs.

    Parameters
    ----------
    parts : sequence of ImagePart
        The difference and, if known, the images it is made of.
    detections : Detections
        Footprints.
    peaks : ndarray of float64, shape (n_peaks, 2)
        Places of the peaks [pixel].
    max_area : int
        Largest footprint that is tried [pixel].
    rule : DipoleRule
        How.

    Returns
    -------
    list of Dipole or None
        One a footprint; None where none was fitted.
    """
    found: list[Dipole | None] = [None] * len(detections)
    both = detections.has_positive & detections.has_negative & (detections.area <= max_area)
    ends = np.append(detections.first[1:], detections.row.size)
    for number in np.flatnonzero(both):
        mine = np.arange(detections.first[number], ends[number])
        negative = detections.negative[mine]
        if negative.all() or not negative.any():
            continue
        top, bottom = peaks[mine[~negative][0]], peaks[mine[negative][0]]
        found[number] = fit_dipole(
            parts,
            detections.labels,
            int(number) + 1,
            box=tuple(int(edge) for edge in detections.box[number]),  # type: ignore[arg-type]
            positive=(float(top[0]), float(top[1])),
            negative=(float(bottom[0]), float(bottom[1])),
            rule=rule,
        )
    return found


def dipole_columns(dipoles: Sequence[Dipole | None]) -> Values:
    """Return the columns of fitted dipoles, NaN where there are none."""
    attributes = {
        "DIPX": "x",
        "DIPY": "y",
        "DIPXPOS": "x_positive",
        "DIPYPOS": "y_positive",
        "DIPXNEG": "x_negative",
        "DIPYNEG": "y_negative",
        "DIPFPOS": "flux_positive",
        "DIPFNEG": "flux_negative",
        "DIPEPOS": "error_positive",
        "DIPENEG": "error_negative",
        "DIPSEP": "separation",
        "DIPANGLE": "orientation",
        "DIPSNR": "snr",
        "DIPCHI2": "chi2",
    }
    columns: Values = {
        name: np.array(
            [np.nan if d is None else getattr(d, attribute) for d in dipoles], np.float64
        )
        for name, attribute in attributes.items()
    }
    columns["DIPOLE"] = np.array([d is not None and d.is_dipole for d in dipoles], np.bool_)
    return columns
