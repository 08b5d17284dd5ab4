"""How far an iterative solution goes with each step, and whether it still gets better.

After Sullivan & Reiss, "DCR-matched template generation" (Rubin Observatory note DMTN-037): the
weight of a new solution relative to the old one, the gain, grows while the solution converges as
it is expected to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Image = NDArray[np.floating]

_RECENT = 5
_ROUNDING = 1e-9


def next_gain(
    metrics: Sequence[float],
    gains: Sequence[float],
    *,
    base_gain: float,
    progressive: bool = True,
) -> float:
    """Return the gain of the next step.

    Parameters
    ----------
    metrics : sequence of float
        Convergence before the first step and after each.
    gains : sequence of float
        Gains of the steps so far, one less.
    base_gain : float
        Smallest gain, that of the first two steps.
    progressive : bool
        Whether it may grow.

    Notes
    -----
    If every step mixes the solution towards a final metric, that is
    ``e_i = ((1 + g_i) c_(i+1) - c_i) / g_i``. With E, the median of the latest of these, the last
    metric should have been ``(E g + c) / (1 + g)``; the relative distance from it decides.
    """
    if not progressive or len(metrics) < 3:
        return base_gain
    final = [
        ((1.0 + gain) * after - before) / gain
        for gain, before, after in zip(gains, metrics[:-1], metrics[1:], strict=True)
    ]
    expected = float(
        np.median([max(value, 0.0) for value in final[max(len(metrics) - _RECENT, 0) :]])
    )
    before, last, gain = metrics[-2], metrics[-1], gains[-1]
    predicted = (expected * gain + before) / (1.0 + gain)
    room = (before - expected) / (1.0 + gain)
    deviation = (predicted - last) / room if abs(room) > _ROUNDING * abs(before) else 0.0
    return max(base_gain, (1.0 - abs(deviation) + gain) / 2.0)


def convergence_metric(image: Image, template: Image, significance: Image) -> float:
    """Return by how much a template differs from an image, relative to both.

    Parameters
    ----------
    image, template, significance : ndarray of float, shape (n,)
        Finite pixels of sources, and what each counts.

    Returns
    -------
    float
        Zero without any pixel.
    """
    difference = float(np.sum(np.abs(image - template) * significance, dtype=np.float64))
    size = float(np.sum(np.abs(image + template) * significance / 2.0, dtype=np.float64))
    return difference / size if size else 0.0
