"""Whether exposures show the pattern that the others show, and whether they show other fields."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.skyframe.combine import leave_one_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytool.core.skyframe.model import SkyCells, SkySolution

    Floats = NDArray[np.float64]

_SIGNIFICANT = 5.0


@dataclass(frozen=True, eq=False)
class ExposureChecks:
    """How well the pattern of the other exposures describes each one; arrays of shape ``(m,)``.

    Parameters
    ----------
    slope, slope_error : ndarray of float64
        Strength of the others' pattern in the exposure, 1 if it is the same, and its error.
    correlation : ndarray of float64
        Correlation coefficient of the exposure with the others' pattern.
    chi2 : ndarray of float64
        Mean square of the residuals from the others' pattern in units of their errors.
    cells : ndarray of int64
        Cells compared.
    """

    slope: Floats
    slope_error: Floats
    correlation: Floats
    chi2: Floats
    cells: NDArray[np.int64]

    def outliers(self, max_deviation: float) -> NDArray[np.bool_]:
        """Tell which exposures show the pattern too weakly or too strongly.

        Parameters
        ----------
        max_deviation : float
            Largest difference of the strength from 1; it must also be five standard errors.
        """
        deviation = np.abs(self.slope - 1)
        limit = np.maximum(max_deviation, _SIGNIFICANT * self.slope_error)
        return np.isfinite(deviation) & (deviation > limit)


def check_exposures(detectors: Sequence[SkyCells], solution: SkySolution) -> ExposureChecks:
    """Compare every exposure with the pattern that the other ones give.

    The noise of that pattern, which makes slopes too small, is taken off its variance; a slope is
    NaN where nothing is left.
    """
    sums = np.zeros((9, len(solution.level)))
    for cells, pattern in zip(detectors, solution.pattern, strict=True):
        values, errors = solution.relative(cells)
        # The pattern was shifted to mean zero, so that its weighted means are compared as such.
        others, weights = leave_one_out(values, pattern)
        with np.errstate(invalid="ignore", divide="ignore"):
            # Weights are inverse variances; without errors they are numbers, and scatter tells.
            noise_of_others = np.fmin(pattern.variance * pattern.weights.sum(axis=0), 1.0) / weights
            variance = errors**2 + noise_of_others
            used = np.isfinite(values - others) & np.isfinite(variance) & (pattern.weights > 0)
            w = np.where(used, 1 / variance, 0.0)
        x, y = np.where(used, others, 0.0), np.where(used, values, 0.0)
        sums += np.stack(
            [
                w.sum(axis=1),
                (w * x).sum(axis=1),
                (w * y).sum(axis=1),
                (w * x * x).sum(axis=1),
                (w * x * y).sum(axis=1),
                (w * y * y).sum(axis=1),
                (w * (y - x) ** 2).sum(axis=1),
                (w * np.where(used, noise_of_others, 0.0)).sum(axis=1),
                used.sum(axis=1),
            ]
        )
    total, x, y, xx, xy, yy, squares, noise_x, number = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        var_x, var_y = xx - x * x / total, yy - y * y / total
        covariance = xy - x * y / total
        signal = np.where(var_x > noise_x, var_x - noise_x, np.nan)
        chi2 = squares / number
        noise = np.sqrt(np.maximum(chi2, 1.0))
        return ExposureChecks(
            slope=covariance / signal,
            slope_error=noise * np.sqrt(var_x) / signal,
            correlation=covariance / np.sqrt(var_x * var_y),
            chi2=chi2,
            cells=number.astype(np.int64),
        )


def mask_overlap(fractions: Floats) -> float:
    """Return how alike the masks of exposures are: the mean correlation of their pairs.

    Parameters
    ----------
    fractions : ndarray of float64, shape (m, n)
        Masked fraction of each cell, as far as it comes from objects.

    Returns
    -------
    correlation : float
        Near 0 for different fields, near 1 where the same objects lie on the same pixels; NaN if
        less than two exposures have objects.
    """
    varying = fractions[np.std(fractions, axis=1) > 0]
    if len(varying) < 2:
        return math.nan
    matrix = np.corrcoef(varying)
    n = len(matrix)
    return float((matrix.sum() - n) / (n * (n - 1)))
