"""How much of the stars is left in a difference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.psf.star_stamps import cut_stamps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.models.matching_kernel import KernelStars

_SKY_REACH = 3.0  # half side of the part that tells the sky around a star [FWHM]
_SAMPLED = 1 << 18  # pixels that tell the sky of the difference


def residual_ratios(
    difference: NDArray[np.float32],
    science: NDArray[np.float32],
    stars: KernelStars,
    *,
    fwhm: float,
) -> dict[str, float]:
    """Return mean and scatter of the ratio of residuals to stars.

    Parameters
    ----------
    difference, science : ndarray of float32, shape (ny, nx)
        The difference, and the science image as it was subtracted.
    stars : KernelStars
        Stars; those that the kernel was fitted to count.
    fwhm : float
        Width of a star [pixel].

    Returns
    -------
    dict
        ``residual_ratio`` and ``residual_scatter`` of ``|mean |D| - sky| / mean |S|`` over the
        pixels within one width; the sky is the median of ``|D|``. ``difference_ratio`` and
        ``difference_scatter`` are the same of ``mean |D| / mean |S|``. NaN without stars.
    """
    ratios = _ratios(difference, science, stars.y[stars.used], stars.x[stars.used], fwhm=fwhm)
    return {**_moments("residual", ratios[0]), **_moments("difference", ratios[1])}


def empty_ratios(
    difference: NDArray[np.float32],
    science: NDArray[np.float32],
    places: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    fwhm: float,
) -> dict[str, float]:
    """Return what `residual_ratios` calls the ratio of the difference, of empty places ``(y, x)``.

    Returns
    -------
    dict
        ``empty_ratio`` and ``empty_scatter``; NaN without places.
    """
    y, x = places
    return _moments("empty", _ratios(difference, science, y, x, fwhm=fwhm)[1])


def _ratios(
    difference: NDArray[np.float32],
    science: NDArray[np.float32],
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    *,
    fwhm: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ratios of the difference to the science image at places, less the sky and not."""
    if not y.size:
        return np.empty(0), np.empty(0)
    half = max(round(fwhm), 1)
    at = np.arange(-half, half + 1)
    disc = np.add.outer(at**2, at**2) <= half**2
    rows, columns = (np.floor(place + 0.5).astype(np.intp) for place in (y, x))
    every = np.abs(difference.ravel()[:: max(1, difference.size // _SAMPLED)])
    sky = float(np.nanmedian(every))
    left = np.abs(cut_stamps(difference, rows, columns, half, fill=np.nan)[:, disc])
    light = cut_stamps(science, rows, columns, half, fill=np.nan)[:, disc]
    around = cut_stamps(science, rows, columns, math.ceil(_SKY_REACH * fwhm), fill=np.nan)
    level = np.nanmedian(around, axis=(1, 2))
    mean = np.nanmean(left, axis=1)
    light = np.nanmean(np.abs(light - level[:, None]), axis=1)
    return np.abs(mean - sky) / light, mean / light


def _moments(name: str, ratio: NDArray[np.float64]) -> dict[str, float]:
    """Return mean and standard deviation of what is finite, by name."""
    ratio = ratio[np.isfinite(ratio)]
    mean, scatter = (ratio.mean(), ratio.std()) if ratio.size else (math.nan, math.nan)
    return {f"{name}_ratio": float(mean), f"{name}_scatter": float(scatter)}
