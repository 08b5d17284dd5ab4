"""Exposures made ready to be compared: fluxes on one scale, and the pixels that do not count."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from skytool.core.noise.source_mask import source_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytool.core.background.chebyshev import ChebyshevModel
    from skytool.core.windows import Window
    from skytool.models.exposure import Exposure
    from skytool.stages.match_bg.config import MatchConfig

_log = logging.getLogger(__name__)

_STRIP = 64  # rows [pixel]


@dataclass(frozen=True, eq=False)
class PreparedPiece:
    """An exposure, or a patch of one, in its place.

    Parameters
    ----------
    name : str
        What messages call it.
    window : Window
        Its place in the frame.
    image : ndarray of float32, shape (ny, nx)
        Pixels on the scale of fluxes of the reference; NaN where there is no value.
    bad : ndarray of bool, shape (ny, nx)
        Pixels that do not count.
    variance : ndarray of float32, shape (n, nx)
        Variance of every `step`-th row.
    step : int
        See `variance`.
    """

    name: str
    window: Window
    image: NDArray[np.float32]
    bad: NDArray[np.bool_]
    variance: NDArray[np.float32]
    step: int


@dataclass(frozen=True, eq=False)
class PackedPiece:
    """A piece that takes little more memory than its image, while others are read.

    Parameters
    ----------
    rest : PreparedPiece
        The piece without the pixels that do not count.
    bits : ndarray of uint8
        Those, eight in a byte.
    """

    rest: PreparedPiece
    bits: NDArray[np.uint8]

    @classmethod
    def of(cls, piece: PreparedPiece) -> Self:
        """Return a piece packed; nothing but its image is shared."""
        variance = piece.variance.copy()  # a slice would keep the whole plane alive
        rest = replace(piece, bad=np.empty((0, 0), bool), variance=variance)
        return cls(rest, np.packbits(piece.bad, axis=1))

    def piece(self) -> PreparedPiece:
        """Return the piece."""
        width = self.rest.window.shape[1]
        return replace(self.rest, bad=np.unpackbits(self.bits, axis=1, count=width).view(bool))


@dataclass(frozen=True, eq=False)
class Difference:
    """Reference less science, on the pixels of a science piece.

    Parameters
    ----------
    window : Window
        Place of the piece in the frame.
    image : ndarray of float32, shape (ny, nx)
        The difference; NaN where one of both has no value.
    bad : ndarray of bool, shape (ny, nx)
        Pixels that do not count.
    variance : ndarray of float32, shape (n, nx)
        Variance of every `step`-th row of the difference.
    step : int
        See `variance`.
    """

    window: Window
    image: NDArray[np.float32]
    bad: NDArray[np.bool_]
    variance: NDArray[np.float32]
    step: int


def prepare(
    exposure: Exposure, window: Window, config: MatchConfig, *, scale: float = 1.0, step: int = 1
) -> PreparedPiece:
    """Return an exposure ready to be compared.

    Parameters
    ----------
    exposure : Exposure
        The exposure; its arrays are shared where nothing changes.
    window : Window
        Its place in the frame.
    config : MatchConfig
        Settings.
    scale : float
        Factor to the fluxes of the reference.
    step : int
        Rows between those whose variance is kept.

    Raises
    ------
    IncompatibleError
        If a mask plane is unknown.
    """
    bits = exposure.mask.bitmask(config.bad_planes)
    bad = np.empty(exposure.shape, bool)
    for start in range(0, len(bad), _STRIP):  # temporary arrays that stay in the cache
        rows = slice(start, start + _STRIP)
        np.not_equal(exposure.mask.array[rows] & bits, 0, out=bad[rows])
        bad[rows] |= ~np.isfinite(exposure.variance[rows])
    image, variance = exposure.image, exposure.variance[::step]
    if _needs_source_mask(exposure, config):
        bad |= source_mask(image, bad)
    if scale != 1.0:
        image, variance = image * np.float32(scale), variance * np.float32(scale**2)
    return PreparedPiece(exposure.name, window, image, bad, variance, step)


def quality_step(shape: tuple[int, int], config: MatchConfig) -> int:
    """Return how many rows lie between those on which the typical variance is measured."""
    if not config.quality_pixels:
        return 1
    return max(1, shape[0] * shape[1] // config.quality_pixels)


def _needs_source_mask(exposure: Exposure, config: MatchConfig) -> bool:
    """Tell whether sources have to be found, saying so where nobody else has."""
    if config.mask_sources == "always":
        return True
    if "DETECTED" not in config.bad_planes:
        return False
    flagged = int(np.bitwise_or.reduce(exposure.mask.array, axis=None))
    if flagged & int(exposure.mask.bitmask(["DETECTED"])):
        return False
    if config.mask_sources == "never":
        _log.info("%s: no pixel is DETECTED, sources count as sky", exposure.name)
        return False
    _log.info("%s: no pixel is DETECTED, sources are found here", exposure.name)
    return True


def difference(
    science: PreparedPiece,
    references: Sequence[PreparedPiece],
    *,
    correction: ChebyshevModel | None = None,
    reuse: bool = False,
) -> Difference:
    """Return the reference less a science piece.

    Parameters
    ----------
    science : PreparedPiece
        The piece.
    references : sequence of PreparedPiece
        Pieces of the reference; where several have a value, the first counts.
    correction : ChebyshevModel, optional
        Surface over the frame that is added to the reference.
    reuse : bool
        Write the pixels that do not count over those of the piece, which is not needed any more.
    """
    window, step = science.window, science.step
    bad = science.bad if reuse else science.bad.copy()
    if len(references) == 1 and references[0].window == window and references[0].step == step:
        reference = references[0]
        image = reference.image - science.image
        bad |= reference.bad
        variance = reference.variance + science.variance
    else:
        image = np.full(window.shape, np.nan, np.float32)
        variance = np.full(science.variance.shape, np.nan, np.float32)
        for reference in references:
            _fill(image, bad, variance, science, reference)
    if correction is not None:
        for start in range(0, len(image), _STRIP):
            part = image[start : start + _STRIP]
            rows = slice(window.y + start, window.y + start + len(part))
            part += correction.image(rows=rows)[:, window.columns]
    return Difference(window, image, bad, variance, step)


def _fill(
    image: NDArray[np.float32],
    bad: NDArray[np.bool_],
    variance: NDArray[np.float32],
    science: PreparedPiece,
    reference: PreparedPiece,
) -> None:
    """Put a reference piece where none has a value yet."""
    common = reference.window.common(science.window)
    if common is None:
        return
    here, there = common.within(science.window), common.within(reference.window)
    values = reference.image[there] - science.image[here]
    empty = np.isnan(image[here])
    image[here] = np.where(empty, values, image[here])
    bad[here] |= empty & reference.bad[there]
    if science.step == reference.step == 1:
        total = reference.variance[there] + science.variance[here]
        variance[here] = np.where(empty, total, variance[here])
