"""What a match leaves of the difference of two exposures, and whether that is good enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.core.difference.loops import squared_residuals
from skytool.core.statistics import sample_statistics
from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytool.models.background.hdus import BackgroundModel
    from skytool.stages.match_bg.background_fit import BackgroundFit
    from skytool.stages.match_bg.config import MatchConfig
    from skytool.stages.match_bg.prepared import Difference

_STRIP = 256  # rows [pixel]


@dataclass(frozen=True)
class MatchQuality:
    """How well a match did on the pixels.

    Parameters
    ----------
    fit_rms : float
        Root mean square of the misfit of the cells [unit of image].
    matched_mse : float
        Mean square of the matched difference over good pixels [unit of image squared].
    diff_variance : float
        Typical variance of a pixel of the difference [unit of image squared].
    n_pixels : int
        Number of good pixels.
    """

    fit_rms: float
    matched_mse: float
    diff_variance: float
    n_pixels: int

    @property
    def ratio(self) -> float:
        """Mean square over variance: one where nothing but noise is left."""
        return self.matched_mse / self.diff_variance if self.diff_variance > 0 else math.nan


def check_quality(quality: MatchQuality, config: MatchConfig, *, name: str) -> None:
    """Refuse a match that is worse than the settings allow.

    Raises
    ------
    AlgorithmError
        If the ratio or the misfit is larger than its limit, or not a number.
    """
    facts = {
        "fit_rms": quality.fit_rms,
        "matched_mse": quality.matched_mse,
        "diff_variance": quality.diff_variance,
        "ratio": quality.ratio,
    }
    if config.max_ratio is not None and not quality.ratio <= config.max_ratio:
        raise AlgorithmError(
            f"{name}: the matched difference has {quality.ratio:.4g} times its variance, more "
            f"than {config.max_ratio:g}.",
            hint="Look for unmasked sources and a background that is not additive; --max-ratio "
            "sets the limit.",
            **facts,
        )
    if config.max_rms is not None and not quality.fit_rms <= config.max_rms:
        raise AlgorithmError(
            f"{name}: the model misses its cells by {quality.fit_rms:.4g}, more than "
            f"{config.max_rms:g}.",
            hint="Choose a higher --order or a smaller --bin-size; --max-rms sets the limit.",
            **facts,
        )


class LeftOver(NamedTuple):
    """Sums over the good pixels of a piece."""

    n_pixels: int
    squares: float
    variance: float
    n_sampled: int


def left_over(
    found: Difference,
    model: BackgroundModel,
    config: MatchConfig,
    *,
    add_to: NDArray[np.float32] | None = None,
    scale: float = 1.0,
) -> LeftOver:
    """Return what a model leaves; with `add_to` the difference is replaced by the matched image."""
    sample = found.variance
    flags = found.bad[:: found.step]
    variance = sample_statistics(sample, flags, clip=config.quality_clip)
    count, squares = 0, 0.0
    shape = found.window.shape
    for start in range(0, shape[0], _STRIP):
        rows = slice(start, min(start + _STRIP, shape[0]))
        surface = model.evaluate(shape, rows=rows)
        if not np.isfinite(surface[:: max(_STRIP - 1, 1)]).all():
            raise AlgorithmError("the model of the background has no value in places")
        n, total = squared_residuals(found.image[rows], found.bad[rows], surface)
        count += n
        squares += total
        if add_to is not None:
            if scale != 1.0:
                np.multiply(add_to[rows], np.float32(scale), out=found.image[rows])
                found.image[rows] += surface
            else:
                np.add(add_to[rows], surface, out=found.image[rows])
    return LeftOver(count, squares, variance.clip_mean, variance.count)


def combined_quality(pieces: Sequence[LeftOver], fit: BackgroundFit) -> MatchQuality:
    """Return the quality of a match from its pieces."""
    count = sum(piece.n_pixels for piece in pieces)
    sampled = sum(piece.n_sampled for piece in pieces)
    known = [piece for piece in pieces if piece.n_sampled]
    total = sum(piece.variance * piece.n_sampled for piece in known)
    return MatchQuality(
        fit_rms=fit.fit_rms,
        matched_mse=sum(piece.squares for piece in pieces) / count if count else math.nan,
        diff_variance=total / sampled if sampled else math.nan,
        n_pixels=count,
    )
