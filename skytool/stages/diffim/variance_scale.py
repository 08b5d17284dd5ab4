"""The variance of an exposure, scaled to the scatter of its pixels."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.noise.estimate import sky_noise
from skytool.core.noise.variance_scale import fine_scatter_factor, scatter_factors
from skytool.core.statistics import IQR_TO_SIGMA
from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure
    from skytool.stages.diffim.config import DiffimConfig

    Floats = NDArray[np.float32]

_log = logging.getLogger(__name__)

NOT_SKY = ("DETECTED", "DETECTED_NEGATIVE", "BAD", "SAT", "NO_DATA", "INTRP")
"""Planes of pixels that do not tell the noise."""

_SAMPLED = 1 << 18  # pixels that tell a scatter, of which more are left out by rows
_REMEDY = "raise --max-variance-factor, or give --no-do-scale-variance."
_SMOOTHED, _NEAR = 9, 21  # columns over which sources are sought, and that are left out around
_STANDS_OUT = 3.5  # sigma
_BRIGHTEST = 50.0  # sigma of a pixel beyond which more light does not matter
_NOTABLE = 3.0  # factor on a variance, or of scatter over that of neighbours, that noise rarely has
_LEAST = 1000  # pixels of a difference that can tell its scatter


def scaled_variance(exposure: Exposure, config: DiffimConfig) -> tuple[Floats, float]:
    """Return the variance of an exposure times the factor that makes it agree with the pixels.

    Parameters
    ----------
    exposure : Exposure
        Its planes.
    config : DiffimConfig
        Whether and how.

    Returns
    -------
    variance : ndarray of float32, shape (ny, nx)
        Scaled.
    factor : float
        1 if it is not to be scaled, or fewer than two pixels tell.

    Raises
    ------
    AlgorithmError
        If the factor is too large, and stars cannot be the reason, or the image is constant.

    Notes
    -----
    The factor is the squared robust scatter of the pixels over their standard deviations or,
    where that is larger than can be believed, the squared scatter over the median variance. Where
    the difference tells the factor at last, only pixels that differ from their neighbours by more
    than can be believed are an error: a crowded field scatters as well, but more smoothly.
    """
    image, variance = exposure.image, exposure.variance
    if not config.scale_variance:
        return variance, 1.0
    sampled = config.variance_from == "difference"
    rows = slice(None, None, max(1, image.size // _SAMPLED) if sampled else 1)
    bad = _not_sky(exposure, rows)
    if np.count_nonzero(~bad) < 2:
        return variance, 1.0
    factors = (_from_pairs if sampled else scatter_factors)(image[rows], variance[rows], bad)
    believed = [factor for factor in factors if 0.0 < factor <= config.max_variance_factor]
    if sampled and not factors[0] > 0.0:
        if np.ptp(image[rows][~bad]) == 0.0:
            raise AlgorithmError(
                f"{exposure.name} has one value in all its pixels.",
                hint="Is it the image that was meant?",
            )
        return variance, 1.0
    if sampled and factors[0] > _NOTABLE:
        fine = _fine_factor(exposure)
        smooth = not believed or not factors[0] < _NOTABLE * fine
        if smooth and not fine > config.max_variance_factor:
            _log.info("%s: too crowded to tell its noise; the difference will", exposure.name)
            return variance, 1.0
        factors = (fine, factors[0])
    if believed:
        return variance * np.float32(believed[0]), believed[0]
    raise AlgorithmError(
        f"the scatter of {exposure.name} is {factors[0]:.3g} (pixel by pixel) or "
        f"{factors[1]:.3g} (in all) times its variance, and at most "
        f"{config.max_variance_factor:g} is believed.",
        hint=f"Correct the variance, {_REMEDY}",
        factor=factors[0],
    )


def difference_factor(
    image: Floats, variance: Floats, bad: NDArray[np.bool_], config: DiffimConfig
) -> float:
    """Return the squared scatter of a difference over its standard deviation.

    Parameters
    ----------
    image, variance : ndarray of float32, shape (ny, nx)
        Difference without background.
    bad : ndarray of bool, shape (ny, nx)
        Pixels to leave out.
    config : DiffimConfig
        Settings.

    Returns
    -------
    float
        1 if the variance is not to be scaled by the difference.

    Raises
    ------
    AlgorithmError
        If the factor is too large.
    """
    rows = slice(None, None, max(1, image.size // _SAMPLED))
    good = ~bad[rows]
    if not config.scale_variance or config.variance_from != "difference" or good.sum() < _LEAST:
        return 1.0
    scaled = image[rows][good] / np.sqrt(variance[rows][good])
    factor = (IQR_TO_SIGMA * float(np.subtract(*np.percentile(scaled, [75, 25])))) ** 2
    if factor > config.max_variance_factor:
        raise AlgorithmError(
            f"the scatter of the difference is {factor:.3g} times the variance of its two images, "
            f"and at most {config.max_variance_factor:g} is believed.",
            hint=f"Correct the variances, {_REMEDY}",
            factor=factor,
        )
    return factor if factor > 0.0 else 1.0


def _not_sky(exposure: Exposure, rows: slice) -> NDArray[np.bool_]:
    """Return which pixels of some rows do not tell the noise."""
    image, variance = exposure.image[rows], exposure.variance[rows]
    flagged = (exposure.mask.array[rows] & exposure.mask.bitmask(NOT_SKY)) != 0
    known = np.isfinite(image) & np.isfinite(variance) & (variance > 0.0)
    return np.asarray(flagged | ~known, np.bool_)


def _fine_factor(exposure: Exposure) -> float:
    """Return the factor by neighbouring pixels of a band of rows, over which stars are smooth."""
    ny, nx = exposure.shape
    height = max(3, _SAMPLED // nx)
    rows = slice(max(0, (ny - height) // 2), (ny + height) // 2 + 1)
    image, variance = exposure.image[rows], exposure.variance[rows]
    return fine_scatter_factor(image, variance, _not_sky(exposure, rows))


def _from_pairs(image: Floats, variance: Floats, bad: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the factors by the differences of pixels some distance apart."""
    pixels = np.asarray(image / np.sqrt(np.where(bad, np.float32(1.0), variance)), np.float32)
    scaled = sky_noise(pixels, bad | _near_sources(pixels, bad)).typical_rms ** 2
    if np.isfinite(scaled) and scaled > 0.0:
        return scaled, scaled
    return scatter_factors(image, variance, bad)


def _near_sources(pixels: Floats, bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of rows near those whose means over some columns stand out.

    Stars would otherwise add two to four per cent to a variance. Rows are taken by themselves, for
    they need not follow each other.
    """
    level = np.median(pixels[~bad])
    centred = np.where(bad, np.float32(0.0), pixels - level)
    sums = _running_sums(np.clip(centred, -_BRIGHTEST, _BRIGHTEST), _SMOOTHED)
    quartiles = np.percentile(sums[:, ::_SMOOTHED], [25, 75])
    spread = IQR_TO_SIGMA * float(quartiles[1] - quartiles[0])
    if not spread > 0.0:
        return np.zeros(bad.shape, np.bool_)
    near = _running_sums((np.abs(sums) > _STANDS_OUT * spread).astype(np.float32), _NEAR)
    return np.asarray(near > 0.5, np.bool_)


def _running_sums(rows: Floats, width: int) -> Floats:
    """Return sums over an odd number of columns around every pixel."""
    half = width // 2
    total = np.cumsum(np.pad(rows, ((0, 0), (half + 1, half))), axis=1, dtype=np.float64)
    return (total[:, width:] - total[:, :-width]).astype(np.float32)
