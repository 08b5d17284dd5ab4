"""The sources of an exposure: found, measured, and the stars among them selected."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.matching.kernel_basis import SIGMA_TO_FWHM
from skytool.core.psf.field_fit import FieldFit
from skytool.core.psf.forms import Forms, fit_forms
from skytool.core.psf.peaks import find_peaks
from skytool.core.psf.star_selection import Surroundings, stellar_size, thinned
from skytool.core.psf.star_stamps import cut_stamps, smoothing_for, star_moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.psf.peaks import Peaks
    from skytool.core.psf.star_stamps import StarMoments
    from skytool.stages.psf.config import PsfConfig
    from skytool.stages.psf.planes import Planes

    Floats = NDArray[np.float64]
    Pixels = NDArray[np.intp]
    Flags = NDArray[np.bool_]

_FIRST_SMOOTHING = 1.0  # [pixel]
_BESIDE = 2  # [pixel] from a peak, where no pixel may be bad if the source tells the width
_FIRST_SIGMA = 1.5  # [pixel] of the smoothing before the width of stars is known
_SEARCH = 5.0  # least significance of a peak
_BRIGHT = 15.0  # of one that tells the width of stars
_MOST_FOR_WIDTH = 1500
_WIDTH_ROUNDS = 4
_ALIKE = 0.3  # logarithm of widths of Gaussians that find the same sources
_MOMENT_REACH = 5.0  # half side of the stamps for moments [standard deviation]
_CORE = 1.5  # radius within which every pixel must be good [FWHM]
_MOST_MISSING = 0.3  # part of the stamp
_MOST_LIGHT = 0.05  # of neighbours at the place of a star, over its own
_SHAPE_ERROR = 1.15  # of the logarithm of the size and of half of e1 and e2, times the S/N
_FIRST_SCATTER = 0.05  # of the sizes and shapes of stars over an image
_LEAST_SCATTER = 0.01  # what moments tell apart no better
_CLIP = 3.0

REASONS = (
    *("faint", "bright", "edge", "saturated", "bad pixels", "neighbour", "shape", "size"),
    *("surplus", "outlier"),
)
"""Why a source is not used, in the order in which this is asked."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Sources of an exposure, the most significant first; arrays of shape ``(n,)``.

    Parameters
    ----------
    peaks : Peaks
        Where they are.
    row, column : ndarray of int
        Pixel next to the peak.
    moments : StarMoments
        Adaptive moments, centres from these pixels.
    snr : ndarray of float64
        Ratio of signal to noise.
    reason : ndarray of str
        Why a source is not used; empty for stars.
    form : FieldFit
        Logarithm of the radius [pixel], half of e1 and of e2 of stars, by moments.
    """

    peaks: Peaks
    row: Pixels
    column: Pixels
    moments: StarMoments
    snr: Floats
    reason: NDArray[np.str_]
    form: FieldFit

    @property
    def fwhm(self) -> float:
        """Width of a Gaussian with the moments of a star in the middle of the image [pixel]."""
        y, x = (np.array([(size - 1) / 2]) for size in self.form.shape)
        return float(SIGMA_TO_FWHM * np.exp(self.form.at(y=y, x=x)[0, 0]))

    @property
    def selected(self) -> Flags:
        """Which of them are stars to use."""
        return np.asarray(self.reason == "")

    def left_out(self, rule: str, which: Flags) -> Candidates:
        """Return candidates without some; those that are left out keep their reason."""
        return replace(self, reason=np.where(self.selected & which, rule, self.reason))

    def counts(self) -> dict[str, int]:
        """Return how many sources each rule left out."""
        return {
            rule: count for rule in REASONS if (count := int(np.count_nonzero(self.reason == rule)))
        }


def find_sources(planes: Planes) -> tuple[Peaks, float | None]:
    """Find the sources of an exposure, and the width of the stars among them.

    Returns
    -------
    peaks : Peaks
        The sources.
    sigma : float or None
        Adaptive radius of stars [pixel]; None if no source has one.
    """
    found = find_peaks(planes.scaled, planes.bad, sigma=_FIRST_SIGMA, threshold=_SEARCH)
    # peaks around a saturated star all have the size of its halo
    row, column = (np.rint(at).astype(np.intp) for at in (found.y, found.x))
    whole = ~np.any(cut_stamps(planes.bad, row, column, _BESIDE, fill=True), axis=(1, 2))
    bright = found[whole & (found.significance > _BRIGHT)]
    sigma = _FIRST_SIGMA
    for _ in range(_WIDTH_ROUNDS):
        measured = (bright if len(bright) else found)[:_MOST_FOR_WIDTH]
        _, _, moments, snr = _measured(planes, measured, 1.5 * sigma, smoothing=_FIRST_SMOOTHING)
        known = np.isfinite(moments.radius) & (snr > 0.0)
        if not known.any():
            return found, None
        size = stellar_size(
            np.log(moments.radius[known]),
            _shape_errors(snr[known], moments[known], _FIRST_SMOOTHING),
        )
        before, sigma = sigma, math.exp(size)
        if sigma < 1.3 * before:  # the stamps were large enough
            break
    if abs(math.log(sigma / _FIRST_SIGMA)) > _ALIKE:
        found = find_peaks(planes.scaled, planes.bad, sigma=sigma, threshold=_SEARCH)
    return found, sigma


def select_stars(
    planes: Planes, peaks: Peaks, sigma: float, half: int, config: PsfConfig
) -> Candidates:
    """Measure sources and tell which are stars to use.

    Parameters
    ----------
    planes : Planes
        The exposure.
    peaks : Peaks
        Sources.
    sigma : float
        Adaptive radius of stars, roughly [pixel].
    half : int
        Half side of the stamps that stars will be fitted in [pixel].
    config : PsfConfig
        Settings.
    """
    smoothing = smoothing_for(sigma)
    row, column, moments, snr = _measured(planes, peaks, sigma, smoothing=smoothing)
    nothing = FieldFit(np.array([[math.log(sigma), 0.0, 0.0]]), 0, planes.shape)
    found = Candidates(peaks, row, column, moments, snr, np.full(len(peaks), "", "U10"), nothing)
    unshaped = ~np.isfinite(moments.radius)
    strength = np.where(unshaped, peaks.significance, snr)
    found = found.left_out("faint", strength < config.min_snr)
    found = found.left_out("bright", strength > config.max_snr)
    found = _with_good_pixels(found, planes, half)
    found = _without_neighbours(found, half, config)
    found = found.left_out("shape", unshaped)
    found = _alike(found, config, smoothing)
    selected = np.flatnonzero(found.selected)
    kept = thinned(
        row[selected].astype(np.float64),
        column[selected].astype(np.float64),
        snr[selected],
        shape=planes.shape,
        most=config.max_stars,
    )
    surplus = np.zeros(len(peaks), np.bool_)
    surplus[selected[~kept]] = True
    return found.left_out("surplus", surplus)


def _measured(
    planes: Planes, peaks: Peaks, sigma: float, *, smoothing: float
) -> tuple[Pixels, Pixels, StarMoments, Floats]:
    """Return pixels, moments and signal-to-noise ratios of sources."""
    row, column = (np.rint(at).astype(np.intp) for at in (peaks.y, peaks.x))
    half = math.ceil(_MOMENT_REACH * sigma)
    stamps = cut_stamps(planes.image, row, column, half, fill=0.0)
    moments = star_moments(stamps.astype(np.float64), sigma, smoothing=smoothing)
    weight = cut_stamps(planes.weight, row, column, half, fill=0.0)
    at = np.arange(-half, half + 1)
    taper = np.exp(-np.add.outer(at**2, at**2) / (sigma**2 + smoothing**2))
    with np.errstate(divide="ignore"):
        variance = np.where(weight > 0.0, 1.0 / weight, 0.0)
    # the flux is twice the sum of the pixels under the Gaussian
    noise = 2.0 * np.sqrt(np.sum(variance * taper, axis=(1, 2)))
    snr = np.divide(moments.flux, noise, out=np.zeros(len(peaks)), where=noise > 0.0)
    return row, column, moments, np.where(np.isfinite(snr), snr, 0.0)


def _with_good_pixels(found: Candidates, planes: Planes, half: int) -> Candidates:
    """Leave out sources at the edge, saturated ones, and those with bad pixels."""
    core = max(math.ceil(_CORE * found.fwhm), 2)
    inside = np.ones(len(found.peaks), np.bool_)
    for at, size in zip((found.row, found.column), planes.shape, strict=True):
        inside &= (at >= core) & (at < size - core)
    found = found.left_out("edge", ~inside)
    at = np.arange(-core, core + 1)
    disc = np.add.outer(at**2, at**2) <= core**2
    for rule, plane in (("saturated", planes.saturated), ("bad pixels", planes.bad)):
        stamps = cut_stamps(plane, found.row, found.column, core, fill=False)
        found = found.left_out(rule, np.any(stamps & disc, axis=(1, 2)))
    some = found.selected
    missing = cut_stamps(planes.bad, found.row[some], found.column[some], half, fill=False)
    spoiled = np.zeros(some.size, np.bool_)
    spoiled[some] = missing.mean(axis=(1, 2)) > _MOST_MISSING
    return found.left_out("bad pixels", spoiled)


def _without_neighbours(found: Candidates, half: int, config: PsfConfig) -> Candidates:
    """Leave out sources that others are too near to."""
    around = Surroundings(found.peaks, found.fwhm)
    crowded = np.zeros(len(found.peaks), np.bool_)
    for number in np.flatnonzero(found.selected).tolist():
        brightest = around.brightest(number, half)
        crowded[number] = brightest > config.max_neighbor or around.light(number) > _MOST_LIGHT
    return found.left_out("neighbour", crowded)


def _alike(found: Candidates, config: PsfConfig, smoothing: float) -> Candidates:
    """Leave out sources that have not the size and shape of stars where they are."""
    some = found.selected
    if not some.any():
        return found
    moments = found.moments[some]
    values = np.stack([np.log(moments.radius), 0.5 * moments.e1, 0.5 * moments.e2], axis=1)
    errors = _shape_errors(found.snr[some], moments, smoothing)
    size = stellar_size(values[:, 0], errors)
    near = np.abs(values[:, 0] - size) < 3.0 * np.hypot(errors, _FIRST_SCATTER)
    centre = np.array([[size, *np.median(values[near, 1:], axis=0)]])
    fit = fit_forms(
        Forms(values, errors),
        FieldFit(centre, 0, found.form.shape),
        y=found.row[some] + moments.y,
        x=found.column[some] + moments.x,
        order=config.spatial_order,
        max_order=config.max_spatial_order,
        clip=_CLIP,
        tolerance=_FIRST_SCATTER,
        first_scatter=_FIRST_SCATTER,
        least_scatter=_LEAST_SCATTER,
    )
    unlike = np.zeros(some.size, np.bool_)
    unlike[some] = ~fit.kept
    return replace(found.left_out("size", unlike), form=fit.field)


def _shape_errors(snr: Floats, moments: StarMoments, smoothing: float) -> Floats:
    """Return the standard errors of logarithms of sizes and of half of the elongations."""
    return _SHAPE_ERROR / snr * (1.0 + smoothing**2 / moments.radius**2)
