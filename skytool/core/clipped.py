"""Clipped means of single samples, without the start-up time of compiled loops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.statistics import IQR_TO_SIGMA, Clip

if TYPE_CHECKING:
    from numpy.typing import NDArray


def clipped_moments(values: NDArray[np.floating], clip: Clip | None = None) -> tuple[float, float]:
    """Return the clipped mean and standard deviation of a sample.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        Finite values.
    clip : Clip, optional
        Clipping; 3 sigma and 3 passes if not given.

    Returns
    -------
    mean, std : float
        The same as those of `~skytool.core.statistics.sample_statistics`; the standard deviation
        of a single value is zero, both are NaN without any.
    """
    clip = clip or Clip()
    if values.size == 0:
        return np.nan, np.nan
    low, centre, high = np.percentile(values, [25.0, 50.0, 75.0])
    width = clip.sigma * IQR_TO_SIGMA * (high - low)
    std = 0.0
    for _ in range(clip.iterations):
        kept = values[np.abs(values - centre) <= width]
        centre = kept.mean(dtype=np.float64)
        std = float(kept.std(dtype=np.float64, ddof=1)) if kept.size > 1 else 0.0
        width = clip.sigma * std
    return float(centre), std
