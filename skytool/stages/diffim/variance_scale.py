"""The variance of an exposure, scaled to the scatter of its pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.noise import sky_noise
from skytool.core.statistics import IQR_TO_SIGMA
from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure
    from skytool.stages.diffim.config import DiffimConfig

    Floats = NDArray[np.float32]

NOT_SKY = ("DETECTED", "DETECTED_NEGATIVE", "BAD", "SAT", "NO_DATA", "INTRP")
"""Planes of pixels that do not tell the noise."""

_CELL = 32  # [pixel] of the background
_SAMPLED = 1 << 18  # pixels that tell a scatter, of which more are left out by rows
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
        If the factor is too large.

    Notes
    -----
    The factor is the squared robust scatter of the pixels over their standard deviations or,
    where that is larger than can be believed, the squared scatter over the median variance.
    """
    image, variance = exposure.image, exposure.variance
    bad = exposure.mask.any_of(NOT_SKY)
    bad |= ~(np.isfinite(image) & np.isfinite(variance) & (variance > 0.0))
    if not config.scale_variance or np.count_nonzero(~bad) < 2:
        return variance, 1.0
    if config.variance_from == "difference":
        factors = _from_pairs(image, variance, bad)
    else:
        factors = _from_quartiles(image, variance, bad)
    believed = [factor for factor in factors if 0.0 < factor <= config.max_variance_factor]
    if not believed:
        raise AlgorithmError(
            f"the scatter of {exposure.name} is {factors[0]:.3g} (pixel by pixel) or "
            f"{factors[1]:.3g} (in all) times its variance, and at most "
            f"{config.max_variance_factor:g} is believed.",
            hint="Correct the variance, or give --no-do-scale-variance.",
        )
    return variance * np.float32(believed[0]), believed[0]


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
    """
    rows = slice(None, None, max(1, image.size // _SAMPLED))
    good = ~bad[rows]
    if not config.scale_variance or config.variance_from != "difference" or good.sum() < _LEAST:
        return 1.0
    scaled = image[rows][good] / np.sqrt(variance[rows][good])
    factor = (IQR_TO_SIGMA * float(np.subtract(*np.percentile(scaled, [75, 25])))) ** 2
    return factor if factor > 0.0 else 1.0


def _from_pairs(image: Floats, variance: Floats, bad: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the factors by the differences of pixels some distance apart."""
    rows = slice(None, None, max(1, image.size // _SAMPLED))
    left_out = bad[rows]
    sigma = np.sqrt(np.where(left_out, np.float32(1.0), variance[rows]))
    scaled = sky_noise(image[rows] / sigma, left_out).typical_rms ** 2
    if np.isfinite(scaled) and scaled > 0.0:
        return scaled, scaled
    return _from_quartiles(image, variance, bad)


def _from_quartiles(image: Floats, variance: Floats, bad: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the factors by the quartiles of all pixels less a background."""
    good = ~bad
    flat = (image - _background(image, bad))[good].astype(np.float64)
    known = variance[good].astype(np.float64)
    by_pixel, by_image = (
        (IQR_TO_SIGMA * float(np.subtract(*np.percentile(values, [75, 25])))) ** 2
        for values in (flat / np.sqrt(known), flat)
    )
    return by_pixel, by_image / float(np.median(known))


def _background(image: Floats, bad: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return a smooth surface through the levels of cells."""
    from skytool.core.cell_grid import CellGrid
    from skytool.core.cells import cell_statistics
    from skytool.core.interpolation import InterpolationRule, interpolate_outer

    grid = CellGrid.from_bin_size(image.shape, _CELL)
    cells = cell_statistics(image, bad, grid)
    ny, nx = image.shape
    return interpolate_outer(
        cells.value,
        y_knots=grid.y_centers,
        x_knots=grid.x_centers,
        y=np.arange(ny),
        x=np.arange(nx),
        rule=InterpolationRule(),
    )
