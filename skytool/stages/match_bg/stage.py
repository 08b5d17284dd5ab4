"""One exposure matched to another one, in as many pieces as it comes in."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.core.difference.cells import ImagePiece
from skytool.errors import AlgorithmError, NothingToDoError
from skytool.models.background.hdus import BackgroundLayer, BackgroundModel, ConstantBackground
from skytool.stages.match_bg.config import EXTRAPOLATED
from skytool.stages.match_bg.fitting import fit_background, given_background
from skytool.stages.match_bg.prepared import (
    Difference,
    PackedPiece,
    difference,
    prepare,
    quality_step,
)
from skytool.stages.match_bg.quality import MatchQuality, combined_quality, left_over
from skytool.stages.match_bg.reporting import measured_correlation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from skytool.core.background.chebyshev import ChebyshevModel
    from skytool.core.windows import Window
    from skytool.models.exposure import Exposure
    from skytool.models.mask import Mask
    from skytool.stages.match_bg.background_fit import BackgroundFit, CellMaps
    from skytool.stages.match_bg.config import MatchConfig

STAGE = "match-bg"

_STRIP = 64  # rows [pixel]


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
    scale : float
        Factor on its fluxes.
    correction : ChebyshevModel, optional
        Surface over the frame that is added to it then.
    """

    name: str
    pieces: Sequence[Piece]
    config: MatchConfig
    step: int = 1
    scale: float = 1.0
    correction: ChebyshevModel | None = None
    _held: dict[int, PackedPiece] = field(default_factory=dict)

    def at(self, window: Window) -> list[PackedPiece]:
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
                prepared = prepare(
                    piece.read(), piece.window, self.config, scale=self.scale, step=self.step
                )
                self._held[k] = PackedPiece.of(prepared)
        return [self._held[k] for k in wanted]


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
    flagged : ndarray of bool, shape (ny, nx), or None
        Pixels that were flagged anew in a plane that it had before.
    maps : CellMaps or None
        Differences in the cells of the frame, before and after.
    """

    exposure: Exposure
    layer: BackgroundLayer
    scale: float = 1.0
    fit_variance: BackgroundModel | None = None
    new_plane: str = ""
    flagged: NDArray[np.bool_] | None = None
    maps: CellMaps | None = None


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
        try:
            fit = fit_background(
                self.image_pieces,
                self.frame_shape,
                self.config,
                name=self.name,
                reference=self.reference.name,
                is_held=len(self.pieces) == 1,
            )
        except AlgorithmError:
            self._check_values()
            raise
        if not self.config.measure_correlation:
            return fit
        factors = [
            measured_correlation(piece.image, piece.bad, fit.model.piece(piece.window))
            for piece in islice(self.image_pieces(), 1)
        ]
        return fit.with_correlation(factors[0])

    def _check_values(self) -> None:
        """Raise an AlgorithmError if the exposure or the reference has no value at all."""
        for name, pieces in (
            (self.name, self.pieces),
            (self.reference.name, self.reference.pieces),
        ):
            if not any(np.isfinite(piece.read().image).any() for piece in pieces):
                raise AlgorithmError(f"{name} has no pixel with a value.")

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
            # Of the reference less than all planes stays: it is read before the others are there.
            references = self.reference.at(piece.window)
            exposure = piece.read()
            step = self.reference.step
            prepared = prepare(exposure, piece.window, self.config, scale=self.scale, step=step)
            found = difference(
                prepared,
                [packed.piece() for packed in references],
                correction=self.reference.correction,
                reuse=True,
            )
            del prepared
            if len(self.pieces) == 1:
                self._held = exposure, found
            yield exposure, found

    def quality(self, fit: BackgroundFit) -> MatchQuality:
        """Measure what a model leaves of the difference."""
        sums = [
            left_over(found, fit.model.piece(found.window), self.config)
            for _, found in self.differences()
        ]
        return combined_quality(sums, fit)

    def matched(self, fit: BackgroundFit) -> Iterator[tuple[MatchedPiece, MatchQuality]]:
        """Add the model piece by piece.

        Yields
        ------
        MatchedPiece
            The piece.
        MatchQuality
            What the model leaves of its difference.
        """
        for given, found in self.differences():
            outside = _outside(given, found, fit) if self.config.extrapolation_plane else None
            model = fit.model.piece(found.window)
            spread = _spread(fit, found.window, self.config)
            # The memory of the difference takes up the result, strip by strip, and that of the
            # exposure is given back before further planes are made.
            sums = left_over(found, model, self.config, add_to=given.image, scale=self.scale)
            exposure = given.with_values(image=found.image)
            self._held = None
            del given, found
            had_flags = EXTRAPOLATED in exposure.mask.bits
            result = MatchedPiece(
                _with_planes(exposure, outside, spread, self.scale),
                BackgroundLayer(model, operation="ADD", stage=STAGE),
                self.scale,
                spread,
                EXTRAPOLATED if outside is not None and not had_flags else "",
                outside if had_flags else None,
                fit.maps,
            )
            yield result, combined_quality([sums], fit)


def unchanged(exposure: Exposure) -> MatchedPiece:
    """Return the reference, or an exposure that is alone: matched by nothing."""
    layer = BackgroundLayer(ConstantBackground(0.0), operation="ADD", stage=STAGE)
    return MatchedPiece(exposure, layer)


def _spread(fit: BackgroundFit, window: Window, config: MatchConfig) -> BackgroundModel | None:
    """Return what is added to the variance."""
    if not config.add_fit_variance:
        return None
    if config.fit_variance == "rms":
        return ConstantBackground(fit.fit_rms**2)
    return fit.model.variance(window)


def _outside(exposure: Exposure, found: Difference, fit: BackgroundFit) -> NDArray[np.bool_] | None:
    """Return the pixels to flag anew, where the model is extrapolated; None if there are none."""
    outside = fit.model.outside(found.window)
    if outside is None or not outside.any():
        return None
    had_flags = EXTRAPOLATED in exposure.mask.bits
    flag = exposure.mask.bitmask([EXTRAPOLATED]) if had_flags else np.int32(0)
    for start in range(0, len(outside), _STRIP):  # temporary arrays that stay in the cache
        rows = slice(start, start + _STRIP)
        outside[rows] &= np.isnan(found.image[rows]) & np.isfinite(exposure.image[rows])
        outside[rows] &= exposure.mask.array[rows] & flag == 0
    return outside if outside.any() else None


def _with_planes(
    exposure: Exposure,
    outside: NDArray[np.bool_] | None,
    spread: BackgroundModel | None,
    scale: float,
) -> Exposure:
    """Return the matched exposure with mask, variance and calibration to match."""
    mask: Mask = exposure.mask
    if outside is not None:
        mask = mask.with_flagged(outside, EXTRAPOLATED)
    variance, calibration = exposure.variance, exposure.calibration
    if scale != 1.0:
        variance = variance * np.float32(scale**2)
        calibration = None if calibration is None else calibration.scaled(scale)
    if spread is not None:
        variance = variance + spread.evaluate(exposure.shape)
    return exposure.with_values(mask=mask, variance=variance, calibration=calibration)


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
