"""One exposure matched to another one, in as many pieces as it comes in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.core.difference_cells import ImagePiece
from skytool.core.match_kernels import squared_residuals
from skytool.core.statistics import sample_statistics
from skytool.errors import AlgorithmError, NothingToDoError
from skytool.models.background import BackgroundLayer, BackgroundModel, ConstantBackground
from skytool.stages.match_bg.config import EXTRAPOLATED
from skytool.stages.match_bg.fitting import BackgroundFit, fit_background, given_background
from skytool.stages.match_bg.prepared import (
    Difference,
    PreparedPiece,
    difference,
    prepare,
    quality_step,
)
from skytool.stages.match_bg.reporting import measured_correlation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from skytool.core.chebyshev import ChebyshevModel
    from skytool.core.windows import Window
    from skytool.models.exposure import Exposure
    from skytool.models.mask import Mask
    from skytool.stages.match_bg.config import MatchConfig

STAGE = "match-bg"

_STRIP = 256  # rows [pixel]


class Piece(NamedTuple):
    """An exposure, or a patch of one, that is read when it is needed.

    Parameters
    ----------
    name : str
        What messages call it.
    window : Window
        Its place in the frame.
    read : callable
        Returns the exposure.
    """

    name: str
    window: Window
    read: Callable[[], Exposure]


@dataclass(eq=False)
class Reference:
    """What exposures are matched to.

    Parameters
    ----------
    name : str
        What messages call it.
    pieces : sequence of Piece
        Its pieces.
    config : MatchConfig
        Settings.
    step : int
        Rows between those whose variance is kept.
    correction : ChebyshevModel, optional
        Surface over the frame that is added to it.
    """

    name: str
    pieces: Sequence[Piece]
    config: MatchConfig
    step: int = 1
    correction: ChebyshevModel | None = None
    _held: dict[int, PreparedPiece] = field(default_factory=dict)

    def at(self, window: Window) -> list[PreparedPiece]:
        """Return the pieces that a window needs: the one with the same pixels, or all that meet it."""
        same = [k for k, piece in enumerate(self.pieces) if piece.window == window][:1]
        wanted = same or [
            k for k, piece in enumerate(self.pieces) if piece.window.common(window) is not None
        ]
        for k in [k for k in self._held if k not in wanted]:
            del self._held[k]
        for k in wanted:
            if k not in self._held:
                piece = self.pieces[k]
                prepared = prepare(piece.read(), piece.window, self.config, step=self.step)
                # A slice would keep the whole plane alive.
                self._held[k] = replace(prepared, variance=prepared.variance.copy())
        return [self._held[k] for k in wanted]


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


@dataclass(frozen=True, eq=False)
class MatchedPiece:
    """A matched exposure, or a patch of one.

    Parameters
    ----------
    exposure : Exposure
        The exposure with the model added.
    layer : BackgroundLayer
        What was added.
    scale : float
        What the pixels were multiplied with before.
    fit_variance : BackgroundModel or None
        What was added to the variance.
    new_plane : str
        Mask plane that the exposure did not have before; empty if there is none.
    """

    exposure: Exposure
    layer: BackgroundLayer
    scale: float = 1.0
    fit_variance: BackgroundModel | None = None
    new_plane: str = ""


class Match:
    """An exposure and what it is matched to.

    Parameters
    ----------
    name : str
        What messages call the exposure.
    pieces : sequence of Piece
        Its pieces; a single one is read once, several are read anew for every pass.
    reference : Reference
        What it is matched to.
    frame_shape : (int, int)
        Shape ``(ny, nx)`` of the frame.
    config : MatchConfig
        Settings.
    scale : float
        Factor to the fluxes of the reference.
    """

    def __init__(
        self,
        name: str,
        pieces: Sequence[Piece],
        reference: Reference,
        frame_shape: tuple[int, int],
        config: MatchConfig,
        *,
        scale: float = 1.0,
    ) -> None:
        self.name, self.pieces, self.reference = name, pieces, reference
        self.frame_shape, self.config, self.scale = frame_shape, config, scale
        self._held: tuple[Exposure, Difference] | None = None

    def fit(self) -> BackgroundFit:
        """Fit the model.

        Raises
        ------
        AlgorithmError
            If both have no pixel in common, or too few for the model.
        """
        fit = fit_background(
            self.image_pieces,
            self.frame_shape,
            self.config,
            name=self.name,
            reference=self.reference.name,
            is_held=len(self.pieces) == 1,
        )
        if not self.config.measure_correlation:
            return fit
        factors = [
            measured_correlation(piece.image, piece.bad, fit.model.piece(piece.window))
            for piece in islice(self.image_pieces(), 1)
        ]
        return fit.with_correlation(factors[0])

    def given(self, value: float) -> BackgroundFit:
        """Return a given offset instead of a fit."""
        return given_background(self.image_pieces, self.frame_shape, self.config, value)

    def image_pieces(self) -> Iterator[ImagePiece]:
        """Read the pieces of the difference."""
        for _, found in self.differences():
            yield ImagePiece(found.window, found.image, found.bad)

    def differences(self) -> Iterator[tuple[Exposure, Difference]]:
        """Read the pieces, each with its difference."""
        if self._held is not None:
            yield self._held
            return
        for piece in self.pieces:
            exposure = piece.read()
            step = self.reference.step
            prepared = prepare(exposure, piece.window, self.config, scale=self.scale, step=step)
            found = difference(
                prepared, self.reference.at(piece.window), correction=self.reference.correction
            )
            del prepared
            if len(self.pieces) == 1:
                self._held = exposure, found
            yield exposure, found

    def quality(self, fit: BackgroundFit) -> MatchQuality:
        """Measure what a model leaves of the difference."""
        sums = [
            _left_over(found, fit.model.piece(found.window), self.config)
            for _, found in self.differences()
        ]
        return _combined(sums, fit)

    def matched(self, fit: BackgroundFit) -> Iterator[tuple[MatchedPiece, MatchQuality]]:
        """Add the model piece by piece.

        Yields
        ------
        MatchedPiece
            The piece.
        MatchQuality
            What the model leaves of its difference.
        """
        for exposure, found in self.differences():
            outside = fit.model.outside(found.window) if self.config.extrapolation_plane else None
            if outside is not None:
                outside &= np.isnan(found.image) & np.isfinite(exposure.image)
            model = fit.model.piece(found.window)
            spread = _spread(fit, found.window, self.config)
            # The memory of the difference takes up the result, strip by strip.
            sums = _left_over(found, model, self.config, add_to=exposure.image, scale=self.scale)
            self._held = None
            matched = _exposure(exposure, found.image, outside, spread, self.scale)
            layer = BackgroundLayer(model, operation="ADD", stage=STAGE)
            is_new = EXTRAPOLATED in set(matched.mask.bits) - set(exposure.mask.bits)
            new_plane = EXTRAPOLATED if is_new else ""
            result = MatchedPiece(matched, layer, self.scale, spread, new_plane)
            yield result, _combined([sums], fit)


def unchanged(exposure: Exposure) -> MatchedPiece:
    """Return the reference, or an exposure that is alone: matched by nothing."""
    layer = BackgroundLayer(ConstantBackground(0.0), operation="ADD", stage=STAGE)
    return MatchedPiece(exposure, layer)


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


class _LeftOver(NamedTuple):
    """Sums over the good pixels of a piece."""

    n_pixels: int
    squares: float
    variance: float
    n_sampled: int


def _left_over(
    found: Difference,
    model: BackgroundModel,
    config: MatchConfig,
    *,
    add_to: NDArray[np.float32] | None = None,
    scale: float = 1.0,
) -> _LeftOver:
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
    return _LeftOver(count, squares, variance.clip_mean, variance.count)


def _combined(pieces: Sequence[_LeftOver], fit: BackgroundFit) -> MatchQuality:
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


def _spread(fit: BackgroundFit, window: Window, config: MatchConfig) -> BackgroundModel | None:
    """Return what is added to the variance."""
    if not config.add_fit_variance:
        return None
    if config.fit_variance == "rms":
        return ConstantBackground(fit.fit_rms**2)
    return fit.model.variance(window)


def _exposure(
    exposure: Exposure,
    image: NDArray[np.float32],
    outside: NDArray[np.bool_] | None,
    spread: BackgroundModel | None,
    scale: float,
) -> Exposure:
    """Return the matched exposure with its new planes."""
    mask: Mask = exposure.mask
    if outside is not None and outside.any():
        mask = mask.with_flagged(outside, EXTRAPOLATED)
    variance, calibration = exposure.variance, exposure.calibration
    if scale != 1.0:
        variance = variance * np.float32(scale**2)
        calibration = None if calibration is None else calibration.scaled(scale)
    if spread is not None:
        variance = variance + spread.evaluate(exposure.shape)
    return exposure.with_values(image=image, mask=mask, variance=variance, calibration=calibration)


def reference_for(
    name: str, pieces: Sequence[Piece], config: MatchConfig, *, single: bool
) -> Reference:
    """Return a reference; with `single` all exposures fill the frame, and less is kept.

    Raises
    ------
    NothingToDoError
        If there is no piece.
    """
    if not pieces:
        raise NothingToDoError(f"{name} has no pixels to match to.")
    step = quality_step(pieces[0].window.shape, config) if single else 1
    return Reference(name, pieces, config, step)
