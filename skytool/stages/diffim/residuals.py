"""How much of the stars is left in a difference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.star_stamps import cut_stamps

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
        pixels within one width; the sky is the median of ``|D|``. NaN without stars.
    """
    half = max(round(fwhm), 1)
    at = np.arange(-half, half + 1)
    disc = np.add.outer(at**2, at**2) <= half**2
    y, x = (np.floor(place[stars.used] + 0.5).astype(np.intp) for place in (stars.y, stars.x))
    if not y.size:
        return {"residual_ratio": math.nan, "residual_scatter": math.nan}
    every = np.abs(difference.ravel()[:: max(1, difference.size // _SAMPLED)])
    sky = float(np.nanmedian(every))
    left = np.abs(cut_stamps(difference, y, x, half, fill=np.nan)[:, disc])
    light = cut_stamps(science, y, x, half, fill=np.nan)[:, disc]
    around = cut_stamps(science, y, x, math.ceil(_SKY_REACH * fwhm), fill=np.nan)
    level = np.nanmedian(around, axis=(1, 2))
    ratio = np.abs(np.nanmean(left, axis=1) - sky) / np.nanmean(
        np.abs(light - level[:, None]), axis=1
    )
    ratio = ratio[np.isfinite(ratio)]
    return {"residual_ratio": float(ratio.mean()), "residual_scatter": float(ratio.std())}
