"""Compiled loops over the pixels of differences of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray


@compiled
def squared_residuals(
    difference: NDArray[Any], bad: NDArray[np.bool_], model: NDArray[Any]
) -> tuple[int, float]:
    """Return the number of good pixels and the sum of the squares of difference less model.

    The model has a value everywhere.
    """
    count = 0
    total = 0.0
    for y in range(difference.shape[0]):
        n = 0
        row = 0.0
        for x in range(difference.shape[1]):
            value = difference[y, x]
            if np.isfinite(value) and (not bad[y, x]):
                residual = np.float64(value) - np.float64(model[y, x])
                row += residual * residual
                n += 1
        count += n
        total += row
    return count, total
