"""Numbers that tell how good a difference is, and whether its noise is what its variance says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.difference.detection_rate import noise_peaks
from skytool.core.noise.correlation import mean_correlation, measure_correlation
from skytool.core.statistics import sample_statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from skytool.core.difference.detection import Detections
    from skytool.models.exposure import Exposure
    from skytool.models.mask import Mask
    from skytool.models.source_catalogue import SourceCatalogue

    Plane = NDArray[np.float32]
    Flags = NDArray[np.bool_]
    Metrics = dict[str, float | int]

_SAMPLES = 1 << 20
_BLOCK, _BLOCKS = 128, 4  # side [pixel] and number along an axis of the samples of correlation
_LAGS = 3
_LEAST_INDEPENDENT = 100
_LEAST_NOISE = 1e-3  # [sigma] below it is rounding that would be correlated
_CLIP = 5.0  # sigma, of what is taken for noise


@dataclass(frozen=True, eq=False)
class Searched:
    """What detection was made on.

    Parameters
    ----------
    snr : ndarray of float32, shape (ny, nx)
        Signal-to-noise ratio of a point source; NaN where none is sought.
    sigma : float
        Standard deviation of the Gaussian like the PSF [pixel].
    threshold : float
        Of detection [sigma].
    """

    snr: Plane
    sigma: float
    threshold: float


def noise_scale(snr: Plane, occupied: Flags, sigma: float) -> float:
    """Return the standard deviation of a score on empty sky, one unless it certainly is not.

    Parameters
    ----------
    snr : ndarray of float32, shape (ny, nx)
        Signal-to-noise ratio of point sources.
    occupied : ndarray of bool, shape (ny, nx)
        Pixels of sources, and those that do not count.
    sigma : float
        Standard deviation of the Gaussian like the PSF [pixel].

    Notes
    -----
    Noise that is not white, because an input was resampled, scatters more or less in sums over a
    PSF than its variance says. The quartiles tell by how much; with one independent value in
    ``4 pi sigma^2`` pixels their error is ``1.17 / sqrt(n)``, and what is within three times that
    counts as one; so does an image without any scatter.
    """
    values = snr[~occupied]
    values = values[np.isfinite(values)]
    n_independent = values.size / (4.0 * np.pi * sigma**2)
    if n_independent < _LEAST_INDEPENDENT:
        return 1.0
    step = max(1, values.size // _SAMPLES)
    scale = float(sample_statistics(values[::step]).robust_std)
    differs = abs(scale - 1.0) > 3.0 * 1.17 / np.sqrt(n_independent)
    return scale if differs and scale > 0.0 else 1.0


def noise_metrics(difference: Exposure, bad: Flags, searched: Searched) -> Metrics:
    """Return how the noise of source-free pixels compares with the variance.

    Parameters
    ----------
    difference : Exposure
        The difference.
    bad : ndarray of bool, shape (ny, nx)
        Pixels of sources, and those that do not count.
    searched : Searched
        What detection was made on.

    Returns
    -------
    dict
        Robust standard deviations of the difference and of the score, in units of those claimed
        (one is right); mean of the score; correlation of pixels 1 to 3 apart along the axes; number
        of detections of either sign that pure noise gives.
    """
    step = max(1, bad.size // _SAMPLES)
    free = ~bad
    pull = _sampled(difference.image, difference.variance, free, step)
    snr = searched.snr.ravel()[::step][free.ravel()[::step]]
    metrics: Metrics = {}
    for name, values in (("difference", pull), ("score", snr[np.isfinite(snr)])):
        if values.size:
            statistics = sample_statistics(values)
            metrics[f"{name}_sky_std"] = float(statistics.robust_std)
            metrics[f"{name}_sky_mean"] = float(statistics.clip_mean)
    metrics |= _correlations(difference, free)
    n_searched = int(np.count_nonzero(np.isfinite(searched.snr)))
    metrics["n_searched_pixels"] = n_searched
    rate = noise_peaks(searched.sigma, searched.threshold)
    metrics["n_expected_noise_sources"] = 2.0 * rate * n_searched
    return metrics


def _sampled(image: Plane, variance: Plane, free: Flags, step: int) -> NDArray[np.float64]:
    """Return some pixels in units of their standard deviation."""
    use = free.ravel()[::step]
    values = image.ravel()[::step][use].astype(np.float64)
    return values / np.sqrt(variance.ravel()[::step][use])


def _correlations(difference: Exposure, free: Flags) -> Metrics:
    """Return the correlations of pixels some distance apart in x and y, of either."""
    parts = []
    for rows, columns in _sample_blocks(difference.shape):
        with np.errstate(invalid="ignore", divide="ignore"):
            noise = difference.image[rows, columns] / np.sqrt(difference.variance[rows, columns])
            noise[~free[rows, columns] | ~(np.abs(noise) < _CLIP)] = np.nan
        if np.count_nonzero(np.isfinite(noise)) >= _BLOCK and np.nanstd(noise) > _LEAST_NOISE:
            part = measure_correlation(noise - np.nanmean(noise), max_lag=_LAGS)
            parts.append((part, part.samples))
    if not parts:
        return {}
    middle = mean_correlation(parts).correlation
    return {
        f"autocorrelation_{axis}{lag}": float(
            middle[_LAGS + (lag if axis == "y" else 0), _LAGS + (lag if axis == "x" else 0)]
        )
        for lag in range(1, _LAGS + 1)
        for axis in "xy"
    }


def _sample_blocks(shape: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """Yield blocks that lie evenly over an image."""
    starts = [
        sorted({round(at) for at in np.linspace(0, max(n - _BLOCK, 0), _BLOCKS)}) for n in shape
    ]
    for y in starts[0]:
        for x in starts[1]:
            yield slice(y, y + _BLOCK), slice(x, x + _BLOCK)


def mask_metrics(mask: Mask, bad: Flags, detections: Detections) -> Metrics:
    """Return how many pixels are good, bad and detected, and the part that every plane has."""
    metrics: Metrics = {
        "n_bad_pixels": int(np.count_nonzero(bad)),
        "n_good_pixels": int(bad.size - np.count_nonzero(bad)),
    }
    for name, plane in (
        ("positive", detections.positive),
        ("negative", detections.negative_mask),
    ):
        metrics[f"n_pixels_detected_{name}"] = int(np.count_nonzero(plane))
        metrics[f"n_bad_pixels_detected_{name}"] = int(np.count_nonzero(plane & bad))
    present = int(np.bitwise_or.reduce(mask.array, axis=None))
    for name, bit in sorted(mask.bits.items(), key=lambda item: item[1]):
        if present >> bit & 1:
            part = np.count_nonzero(mask.array & np.int32(1 << bit)) / bad.size
            metrics[f"{name.lower()}_mask_fraction"] = part
    return metrics


def catalogue_metrics(catalogue: SourceCatalogue, counts: dict[str, int]) -> Metrics:
    """Return how many sources there are of every kind, and how empty places scatter.

    Parameters
    ----------
    catalogue : SourceCatalogue
        All sources.
    counts : dict
        Number of footprints before and after merging, and of those left out by each rule.
    """
    found, sky = (catalogue.of_sky(sky=sky) for sky in (False, True))
    metrics: Metrics = {**counts, "n_sources": len(found), "n_sky_sources": len(sky)}
    metrics["n_negative_sources"] = int(np.count_nonzero(found.columns["NEGATIVE"]))
    metrics["n_dipoles"] = int(np.count_nonzero(found.columns.get("DIPOLE", 0)))
    flux, error = (np.asarray(sky.columns[name], np.float64) for name in ("FLUX", "FLUXERR"))
    pull = (flux / error)[np.isfinite(flux) & (error > 0.0)]
    if pull.size > 1:
        metrics["sky_source_pull_mean"] = float(pull.mean())
        metrics["sky_source_pull_std"] = float(pull.std(ddof=1))
    return metrics
