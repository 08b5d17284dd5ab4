"""Correlation of the noise of neighbouring pixels, measured on images of noise alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class NoiseCorrelation:
    """Correlation of the noise of a pixel with that of the pixels around it.

    Parameters
    ----------
    correlation : ndarray of float64, shape (2 n + 1, 2 n + 1)
        Covariance over variance at the lag ``(row - n, column - n)``; 1 in the middle, and the same
        at opposite lags.
    samples : float
        Pixels it was measured on.
    variance : float
        Variance of the noise that it was measured on.
    """

    correlation: NDArray[np.float64]
    samples: float
    variance: float = 1.0

    @property
    def neighbours(self) -> float:
        """Mean correlation of pixels that share an edge."""
        n = self.correlation.shape[0] // 2
        return float((self.correlation[n, n + 1] + self.correlation[n + 1, n]) / 2)

    @property
    def sum_factor(self) -> float:
        """Standard deviation of a sum over many pixels, over that of independent ones."""
        return float(np.sqrt(max(self.correlation.sum(), 0.0)))


def measure_correlation(noise: NDArray[np.floating], *, max_lag: int = 4) -> NoiseCorrelation:
    """Measure the correlation in an image of noise.

    Parameters
    ----------
    noise : ndarray of float, shape (ny, nx)
        Noise over its standard deviation, of mean zero; NaN where there is none.
    max_lag : int
        Largest lag along an axis [pixel].

    Raises
    ------
    ValueError
        If no pixel has noise.
    """
    known = np.isfinite(noise)
    samples = int(known.sum())
    if not samples:
        msg = "there is no noise to measure"
        raise ValueError(msg)
    values = np.where(known, noise, 0.0).astype(np.float64)
    counts = known.astype(np.float64)
    side = 2 * max_lag + 1
    covariance = np.empty((side, side))
    for dy in range(max_lag + 1):
        for dx in range(-max_lag, max_lag + 1):
            here = np.s_[: values.shape[0] - dy, max(0, -dx) : values.shape[1] - max(0, dx)]
            there = np.s_[dy:, max(0, dx) : values.shape[1] + min(0, dx)]
            pairs = np.einsum("yx,yx->", counts[here], counts[there])
            mean = np.einsum("yx,yx->", values[here], values[there]) / pairs if pairs else 0.0
            covariance[max_lag + dy, max_lag + dx] = mean
            covariance[max_lag - dy, max_lag - dx] = mean
    variance = covariance[max_lag, max_lag]
    return NoiseCorrelation(covariance / variance, samples, float(variance))


def mean_correlation(parts: Iterable[tuple[NoiseCorrelation, float]]) -> NoiseCorrelation:
    """Return the mean of measurements with their weights."""
    measured = list(parts)
    weights = np.array([weight for _, weight in measured])
    images = np.array([part.correlation for part, _ in measured])
    mean = np.tensordot(weights / weights.sum(), images, axes=1)
    variance = sum(part.variance * weight for part, weight in measured) / weights.sum()
    return NoiseCorrelation(mean, sum(part.samples for part, _ in measured), float(variance))
