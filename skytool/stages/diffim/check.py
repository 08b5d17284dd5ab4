"""A test of a difference on the images themselves: sources put in, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.difference.detection import detect
from skytool.core.difference.detection_rate import noise_peaks
from skytool.core.difference.score import matched_filter
from skytool.core.difference.source_measure import Pixels, point_fluxes
from skytool.errors import AlgorithmError, IncompatibleError
from skytool.stages.diffim.sources_measure import source_psf

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from skytool.core.difference.source_psf import SourcePsf
    from skytool.models.exposure import Exposure
    from skytool.models.psf.kinds import Psf
    from skytool.stages.diffim.sources import SourceReport
    from skytool.stages.diffim.sources_config import SourcesConfig

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Plane = NDArray[np.float32]
    Numbers = dict[str, float | int]

_BINS = (3.5, 5.0, 7.0, 10.0, 20.0)
_SPACING = 4.0  # of sources from each other [FWHM]
_FREE = 2.0  # radius around them without anything else [FWHM]
_MATCH = 3.0  # from a place to its detection [pixel]
_LEVELS = (3.5, 4.0, 4.5)  # at which peaks of noise are counted [sigma]


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """What is put into the science image.

    Parameters
    ----------
    n_sources : int
        Number of sources, if there is room.
    seed : int
        Seed of their places and fluxes.
    """

    n_sources: int = 200
    seed: int = 4711


@dataclass(frozen=True, eq=False)
class Injected:
    """Sources that were put into the science image; arrays of shape ``(n,)``.

    Parameters
    ----------
    y, x : ndarray of float64
        Position [pixel].
    flux : ndarray of float64
        Flux [unit of the image], half of them negative.
    snr : ndarray of float64
        Absolute flux over the error that the score claims there.
    """

    y: Floats
    x: Floats
    flux: Floats
    snr: Floats


def check_difference(
    science: Exposure,
    difference: Exposure,
    report: SourceReport,
    subtract: Callable[[Exposure], Exposure],
    config: SourcesConfig,
    check: CheckConfig,
) -> Numbers:
    """Test a difference with sources put into the science image.

    Parameters
    ----------
    science : Exposure
        The science image, with its PSF.
    difference : Exposure
        The difference as it was before its sky was subtracted.
    report : SourceReport
        What was found in it.
    subtract : callable
        Returns the difference of another science image, with the same kernel and background.
    config : SourcesConfig
        Settings of detection.
    check : CheckConfig
        What to put in.

    Returns
    -------
    dict
        Bias and scatter of fluxes between the differences with and without sources, in which the
        noise cancels; pull of the fluxes in the noise (mean 0, standard deviation 1 is right);
        part that was detected, and what an ideal search detects, by signal-to-noise ratio; and
        peaks of either sign in source-free pixels over the number that pure noise gives.

    Raises
    ------
    IncompatibleError
        If the science image has no PSF.
    AlgorithmError
        If there is no room for any source.
    """
    psf = source_psf(report.difference.psf, difference.shape, name=difference.name)
    free = _free_pixels(report, psf)
    injected = _chosen(report, free, psf, config, check)
    after = subtract(_with_sources(science, injected))
    change = after.image - difference.image
    numbers: Numbers = {"check_sources": injected.y.size}
    numbers |= _paired(change, difference, injected, psf, config)
    level = difference.image - report.difference.image
    numbers |= _in_noise(after, level, injected, psf, config)
    numbers |= _noise_peaks(report.snr, free, psf)
    return numbers


def _free_pixels(report: SourceReport, psf: SourcePsf) -> Flags:
    """Return the pixels that are searched and in no footprint."""
    mask = report.difference.mask
    occupied = mask.any_of(("DETECTED", "DETECTED_NEGATIVE"))
    free = np.isfinite(report.snr) & ~occupied
    half = max(psf.half)
    free[:half] = free[-half:] = False
    free[:, :half] = free[:, -half:] = False
    return np.asarray(free, np.bool_)


def _chosen(
    report: SourceReport, free: Flags, psf: SourcePsf, config: SourcesConfig, check: CheckConfig
) -> Injected:
    """Return places on a lattice that chance moves a little, and fluxes evenly over the bins."""
    rng = np.random.default_rng(check.seed)
    ny, nx = free.shape
    spacing = max(_SPACING * psf.fwhm, np.sqrt(free.size / (2.0 * check.n_sources)))
    grid = np.meshgrid(
        *(np.arange(0.5 * spacing, n - 1.0, spacing) for n in (ny, nx)), indexing="ij"
    )
    y, x = (axis.ravel() for axis in grid)
    y, x = (np.asarray(at + rng.uniform(-0.25, 0.25, at.size) * spacing) for at in (y, x))
    y, x = np.clip(y, 0, ny - 1), np.clip(x, 0, nx - 1)
    row, column = np.round(y).astype(np.intp), np.round(x).astype(np.intp)
    reach = int(_FREE * psf.fwhm)
    sums = np.pad(np.cumsum(np.cumsum(~free, axis=0, dtype=np.int64), axis=1), ((1, 0), (1, 0)))
    top, bottom = np.maximum(row - reach, 0), np.minimum(row + reach + 1, ny)
    left, right = np.maximum(column - reach, 0), np.minimum(column + reach + 1, nx)
    taken = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    usable = np.flatnonzero(taken == 0)
    usable = np.sort(rng.permutation(usable)[: check.n_sources])
    if not usable.size:
        raise AlgorithmError(
            f"{report.difference.name} has no room for test sources.",
            hint="Leave --check out.",
        )
    y, x, row, column = y[usable], x[usable], row[usable], column[usable]
    snr = np.exp(rng.uniform(np.log(_BINS[0]), np.log(_BINS[-1]), usable.size))
    sign = np.where(np.arange(usable.size) % 2, -1.0, 1.0)
    error = point_fluxes(_pixels(report.difference, config), psf, y=y, x=x).error
    return Injected(y, x, sign * snr * error, snr)


def _pixels(exposure: Exposure, config: SourcesConfig) -> Pixels:
    return Pixels.usable(exposure.image, exposure.variance, exposure.mask.any_of(config.bad_planes))


def _with_sources(science: Exposure, injected: Injected) -> Exposure:
    """Return the science image with stars of its own PSF added."""
    if science.psf is None:
        raise IncompatibleError(f"{science.name} has no PSF to put test sources in with.")
    image = science.image.copy()
    psf: Psf = science.psf.everywhere()
    for y, x, flux in zip(injected.y, injected.x, injected.flux, strict=True):
        star = psf.image(y=float(y), x=float(x))
        top, left = (
            int(np.floor(at + 0.5)) - side // 2 for at, side in zip((y, x), star.shape, strict=True)
        )
        into, out_of = [], []
        for first, side, length in zip((top, left), star.shape, image.shape, strict=True):
            into.append(slice(max(first, 0), min(first + side, length)))
            out_of.append(slice(into[-1].start - first, into[-1].stop - first))
        image[tuple(into)] += (flux * star[tuple(out_of)]).astype(np.float32)
    return science.with_values(image=image)


def _paired(
    change: Plane, difference: Exposure, injected: Injected, psf: SourcePsf, config: SourcesConfig
) -> Numbers:
    """Return how the fluxes of sources without noise compare with those put in."""
    pixels = _pixels(difference, config)._replace(image=np.asarray(change, np.float32))
    found = point_fluxes(pixels, psf, y=injected.y, x=injected.x)
    ratio = (found.flux / injected.flux)[~found.failed]
    if not ratio.size:
        return {}
    scatter = float(ratio.std(ddof=1)) if ratio.size > 1 else 0.0
    return {"check_flux_bias": float(ratio.mean()) - 1.0, "check_flux_scatter": scatter}


def _in_noise(
    after: Exposure, level: Plane, injected: Injected, psf: SourcePsf, config: SourcesConfig
) -> Numbers:
    """Return pull and completeness of sources in the noise of the difference."""
    pixels = _pixels(after, config)._replace(image=np.asarray(after.image - level, np.float32))
    found = point_fluxes(pixels, psf, y=injected.y, x=injected.x)
    pull = ((found.flux - injected.flux) / found.error)[~found.failed]
    numbers: Numbers = {}
    if pull.size > 1:
        numbers |= {
            "check_pull_mean": float(pull.mean()),
            "check_pull_std": float(pull.std(ddof=1)),
            "check_pull_std_error": float(1.0 / np.sqrt(2.0 * (pull.size - 1))),
        }
    score = matched_filter(pixels.image, pixels.variance, ~pixels.good, psf)
    detections = detect(score.snr, threshold=config.threshold)
    seen = _recovered(injected, detections.row, detections.column, detections.negative)
    ideal = _normal_share(injected.snr - config.threshold)
    for low, high in pairwise(_BINS):
        inside = (injected.snr >= low) & (injected.snr < high)
        if inside.any():
            name = f"{low:g}_to_{high:g}".replace(".", "_")
            numbers[f"check_found_{name}"] = float(seen[inside].mean())
            numbers[f"check_ideal_{name}"] = float(ideal[inside].mean())
    return numbers


def _recovered(
    injected: Injected, row: NDArray[np.intp], column: NDArray[np.intp], negative: Flags
) -> Flags:
    """Tell which sources have a peak of their sign near their place."""
    if not row.size:
        return np.zeros(injected.y.size, np.bool_)
    distance = np.hypot(injected.y[:, None] - row, injected.x[:, None] - column)
    same = (injected.flux < 0.0)[:, None] == negative
    return np.asarray((same & (distance < _MATCH)).any(axis=1), np.bool_)


def _normal_share(values: Floats) -> Floats:
    """Return the part of a unit normal distribution below values."""
    from math import erf, sqrt

    return np.array([0.5 * (1.0 + erf(value / sqrt(2.0))) for value in values])


def _noise_peaks(snr: Plane, free: Flags, psf: SourcePsf) -> Numbers:
    """Return the peaks in source-free pixels over those that pure noise has there."""
    found = detect(np.where(free, snr, np.float32(np.nan)), threshold=_LEVELS[0])
    n_free = int(np.count_nonzero(free))
    numbers: Numbers = {}
    for level in _LEVELS:
        expected = n_free * noise_peaks(psf.sigma, level)
        at = f"{level:g}".replace(".", "_")
        for name, sign in (("positive", False), ("negative", True)):
            count = int(np.count_nonzero((found.significance > level) & (found.negative == sign)))
            numbers[f"check_peaks_{name}_{at}"] = count
        numbers[f"check_peaks_expected_{at}"] = expected
    return numbers
