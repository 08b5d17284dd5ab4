"""Correlation of the noise of neighbouring pixels, measured on noise or known from a filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


_TRIMMED = 1e-3  # of the sum of all correlations: what far lags may leave out


@dataclass(frozen=True, eq=False)
class NoiseCorrelation:
    """Correlation of the noise of a pixel with that of the pixels around it.

    Parameters
    ----------
    correlation : ndarray of float64, shape (2 n + 1, 2 n + 1)
        Covariance over variance at the lag ``(row - n, column - n)``; 1 in the middle, and the same
        at opposite lags.
    samples : float
        Pixels of noise it was measured on, or pixels whose light it was followed from.
    variance : float
        Variance of the noise, over the one that it has where pixels are taken for independent.
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


def response_correlation(responses: NDArray[np.floating], *, max_lag: int) -> NoiseCorrelation:
    """Return the correlation that a linear filter gives to white noise.

    Parameters
    ----------
    responses : ndarray of float, shape (ny, nx)
        What the filter makes of single pixels of light 1, all more than `max_lag` apart and whole.
    max_lag : int
        Largest lag along an axis [pixel].

    Raises
    ------
    ValueError
        If there is no response.

    Notes
    -----
    White noise is a sum of such pixels with independent amplitudes, so that its covariance is the
    sum of their autocorrelations; nothing is left to chance.
    """
    values = np.asarray(responses, np.float64)
    padded = tuple(size + max_lag for size in values.shape)
    spectrum = np.fft.rfft2(values, s=padded)
    covariance = np.fft.irfft2(np.abs(spectrum) ** 2, s=padded)
    covariance = np.roll(covariance, (max_lag, max_lag), axis=(0, 1))
    covariance = covariance[: 2 * max_lag + 1, : 2 * max_lag + 1]
    total = covariance[max_lag, max_lag]
    if not total > 0.0:
        msg = "there is no response to follow"
        raise ValueError(msg)
    return NoiseCorrelation(_symmetric(covariance / total), float(np.count_nonzero(values)))


def convolved_correlation(
    correlation: NoiseCorrelation, kernels: NDArray[np.float64]
) -> NoiseCorrelation:
    """Return the correlation of noise after a convolution.

    Parameters
    ----------
    correlation : NoiseCorrelation
        That before it.
    kernels : ndarray of float64, shape (n, h, w)
        The kernel at several places, which count alike.

    Returns
    -------
    NoiseCorrelation
        As far as it matters for sums over pixels. Its variance is that over the sum of squares of
        the kernel.
    """
    before = correlation.correlation
    height, width = kernels.shape[1:]
    shape = tuple(n + 2 * (size - 1) for n, size in zip(before.shape, (height, width), strict=True))
    power = np.mean(np.abs(np.fft.rfft2(kernels, s=shape)) ** 2, axis=0)
    own = np.fft.irfft2(power, s=shape)
    total = np.fft.irfft2(power * np.fft.rfft2(before, s=shape), s=shape)
    middle = [n // 2 for n in before.shape]  # where lag 0 of the first was
    total = np.roll(total, (height - 1, width - 1), axis=(0, 1))
    lag = min(middle[0] + height - 1, middle[1] + width - 1)
    y, x = middle[0] + height - 1, middle[1] + width - 1
    covariance = total[y - lag : y + lag + 1, x - lag : x + lag + 1]
    variance = correlation.variance * covariance[lag, lag] / own[0, 0]
    whole = _symmetric(covariance / covariance[lag, lag])
    return NoiseCorrelation(_trimmed(whole), correlation.samples, float(variance))


def _symmetric(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a covariance that rounding has not made different at opposite lags."""
    return 0.5 * (covariance + covariance[::-1, ::-1])


def _trimmed(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out large lags that change the sum by little."""
    middle, total = correlation.shape[0] // 2, correlation.sum()
    kept = correlation
    for lag in range(middle - 1, 0, -1):
        part = correlation[middle - lag : middle + lag + 1, middle - lag : middle + lag + 1]
        if abs(part.sum() - total) > _TRIMMED * total:
            break
        kept = part
    return kept


def mean_correlation(parts: Iterable[tuple[NoiseCorrelation, float]]) -> NoiseCorrelation:
    """Return the mean of measurements with their weights."""
    measured = list(parts)
    weights = np.array([weight for _, weight in measured])
    side = max(part.correlation.shape[0] for part, _ in measured)
    images = np.array(
        [np.pad(part.correlation, (side - part.correlation.shape[0]) // 2) for part, _ in measured]
    )
    mean = np.tensordot(weights / weights.sum(), images, axes=1)
    variance = sum(part.variance * weight for part, weight in measured) / weights.sum()
    return NoiseCorrelation(mean, sum(part.samples for part, _ in measured), float(variance))
