"""The rows of the catalogue of a difference: one for every source, and for every empty place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.difference.dipole import ImagePart
from skytool.models.source_catalogue import COLUMNS, SourceCatalogue
from skytool.stages.diffim.deblending import separated
from skytool.stages.diffim.sky_sources import empty_places
from skytool.stages.diffim.sources_measure import (
    calibrated,
    dipole_columns,
    fitted_dipoles,
    footprint_flags,
    forced_fluxes,
    mask_flags,
    measured_fluxes,
    measured_positions,
    peak_places,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.difference.detection import Detections
    from skytool.core.difference.dipole import Dipole
    from skytool.models.exposure import Exposure
    from skytool.models.mask import Mask
    from skytool.stages.diffim.sources_config import SourcesConfig
    from skytool.stages.diffim.sources_measure import Floats, Measured, Values

    Plane = NDArray[np.float32]
    Flags = NDArray[np.bool_]

_OCCUPIED = ("DETECTED", "DETECTED_NEGATIVE", "BAD", "NO_DATA", "EDGE")
_SKY_BORDER = 9  # [pixel]


def make_catalogue(
    difference: Exposure,
    noise_scale: float,
    snr: Plane,
    found: Detections,
    parts: list[Measured],
    named: list[str],
    config: SourcesConfig,
) -> tuple[SourceCatalogue, dict[str, int]]:
    """Return the sources that are not refused, and how many there were at every step.

    Parameters
    ----------
    difference : Exposure
        Where they were found, with its detections flagged.
    noise_scale : float
        What the errors of fluxes are multiplied with.
    snr : ndarray of float32, shape (ny, nx)
        Significance of point sources.
    found : Detections
        Footprints and peaks.
    parts : list of Measured
        The difference, and the science image and template as far as they are known.
    named : list of str
        Which of these there are, SCI and TPL.
    config : SourcesConfig
        Settings.
    """
    mask = difference.mask
    peaks = peak_places(snr, found.row, found.column)
    refused = (mask.array[found.row, found.column] & mask.bitmask(config.reject_planes)) != 0
    rejected = np.zeros(len(found), np.bool_)
    rejected[found.footprint[refused]] = True
    kept = np.flatnonzero(~rejected)
    values = _sources(difference, noise_scale, snr, found, peaks, kept, parts, named, config)
    if config.sky_sources:
        sky = _sky(difference, noise_scale, snr, values, parts, named, config)
        values = _joined(values, sky)
    values |= calibrated(difference, values)
    removed = _removed(mask, values, config)
    n_removed = int(np.count_nonzero(removed & ~np.asarray(values["SKY"], np.bool_)))
    ordered = {name: values[name][~removed] for name in COLUMNS if name in values}
    ordered = {"ID": np.arange(1, int(np.count_nonzero(~removed)) + 1), **ordered}
    ordered["PARENT"] = _parents(ordered["PARENT"])
    counts = {
        "n_unmerged_dia_sources": found.n_unmerged,
        "n_merged_dia_sources": len(found),
        "n_rejected_bad_mask_planes": int(np.count_nonzero(rejected)),
        "n_removed_bad_flagged_sources": n_removed,
    }
    unit = difference.unit
    return SourceCatalogue(ordered, unit, dict(mask.bits)), counts


def _parents(footprint: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the numbers of the first source of every footprint, 0 where there is but one."""
    _, first, which, count = np.unique(
        footprint, return_index=True, return_inverse=True, return_counts=True
    )
    shared = (count[which] > 1) & (footprint != 0)
    return np.where(shared, first[which] + 1, 0).astype(np.int64)


def _sources(
    difference: Exposure,
    noise_scale: float,
    snr: Plane,
    found: Detections,
    peaks: Floats,
    kept: NDArray[np.intp],
    parts: list[Measured],
    named: list[str],
    config: SourcesConfig,
) -> Values:
    """Return the columns of the detected sources."""
    dipoles = _dipoles(found, peaks, parts, named, config)
    rows = separated(parts[0], snr, found, peaks, kept, dipoles, config)
    peak, footprint = rows.peak, rows.footprint
    values = measured_positions(parts[0], peaks[peak])
    if config.dipoles:
        values |= dipole_columns([dipoles[k] for k in footprint])
        for name in ("X", "Y"):
            values[name] = np.where(values["DIPOLE"], values[f"DIP{name}"], values[name])
    rows.put(values, ("X", "Y", "XERR", "YERR"))
    values["BADPOS"] = np.asarray(values["BADPOS"], np.bool_) & ~rows.blended
    wholly_negative = (found.has_negative & ~found.has_positive)[footprint]
    values |= {
        "SNR": found.significance[peak],
        "SKY": np.zeros(peak.size, np.bool_),
        "PEAKX": found.column[peak],
        "PEAKY": found.row[peak],
        "NPIX": found.area[footprint],
        "NPEAKS": np.bincount(found.footprint, minlength=len(found))[footprint],
        "NEGATIVE": np.where(rows.blended, found.negative[peak], wholly_negative),
        "POSPART": found.has_positive[footprint],
        "NEGPART": found.has_negative[footprint],
        "PARENT": footprint + 1,
        "FLAGS": footprint_flags(difference.mask, found)[footprint],
    }
    values |= _measured(difference, noise_scale, values, parts, named, config)
    rows.put(values, ("FLUX", "FLUXERR"), noise_scale)
    return values


def _dipoles(
    found: Detections,
    peaks: Floats,
    parts: list[Measured],
    named: list[str],
    config: SourcesConfig,
) -> list[Dipole | None]:
    """Return the dipole of every footprint, None where there is none."""
    if not config.dipoles:
        return [None] * len(found)
    signs = {"SCI": (1.0, 0.0), "TPL": (0.0, 1.0)}
    both = parts if len(named) == 2 else parts[:1]
    fitted = [
        ImagePart(part.pixels, part.psf, sign)
        for part, sign in zip(both, [(1.0, -1.0), *(signs[name] for name in named)], strict=False)
    ]
    return fitted_dipoles(fitted, found, peaks, max_area=config.max_dipole_area, rule=config.dipole)


def _measured(
    difference: Exposure,
    noise_scale: float,
    values: Values,
    parts: list[Measured],
    named: list[str],
    config: SourcesConfig,
) -> Values:
    """Return what is measured in the same way at sources and at empty places."""
    y, x = (np.asarray(values[name], np.float64) for name in ("Y", "X"))
    more = measured_fluxes(parts[0], y, x, config)
    more["FLUXERR"] = np.asarray(more["FLUXERR"], np.float64) * noise_scale
    if config.forced:
        for name, part in zip(named, parts[1:], strict=True):
            more |= forced_fluxes(part, y, x, name)
    return more | mask_flags(difference.mask, y, x)


def _sky(
    difference: Exposure,
    noise_scale: float,
    snr: Plane,
    sources: Values,
    parts: list[Measured],
    named: list[str],
    config: SourcesConfig,
) -> Values:
    """Return the columns of the empty places."""
    mask = difference.mask
    occupied = mask.any_of(_OCCUPIED) | ~np.isfinite(snr)
    y, x = empty_places(
        occupied,
        n=config.sky_sources,
        radius=config.sky_radius,
        border=_SKY_BORDER,
        tries=config.sky_tries,
        seed=config.seed,
    )
    row, column = (np.floor(at + 0.5).astype(np.intp) for at in (y, x))
    values: Values = {
        "X": x,
        "Y": y,
        "PEAKX": column,
        "PEAKY": row,
        "SKY": np.ones(x.size, np.bool_),
        "SNR": np.abs(snr[row, column]).astype(np.float64),
        "FLAGS": mask.array[row, column],
    }
    values |= _measured(difference, noise_scale, values, parts, named, config)
    for name, column_values in sources.items():
        if name not in values:
            missing: Any = np.nan if column_values.dtype.kind == "f" else 0
            values[name] = np.full(x.size, missing, column_values.dtype)
    return values


def _joined(one: Values, other: Values) -> Values:
    """Return the rows of one table and then those of the other."""
    return {name: np.concatenate([values, other[name]]) for name, values in one.items()}


def _removed(mask: Mask, values: Values, config: SourcesConfig) -> Flags:
    """Return which sources are refused because of the pixels at their position."""
    any_of, all_of = (np.asarray(values[name], np.int32) for name in ("CENTANY", "CENTALL"))
    removed = np.asarray(values["OFFIMAGE"], np.bool_).copy()
    removed |= (any_of & mask.bitmask(config.remove_planes)) != 0
    if config.remove_interpolated:
        removed |= (all_of & mask.bitmask(["INTRP"])) != 0
    return removed
