"""A fitted background with its figures, and how much of a frame it is based on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from skytool.core.background.chebyshev import n_terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from skytool.core.difference.cells import ImagePiece
    from skytool.stages.match_bg.models import FrameModel

_MOST_POINTS = 512  # of a lattice along an axis


class CellMaps(NamedTuple):
    """The differences of two exposures, cell by cell; NaN where there is none.

    Parameters
    ----------
    before, after : ndarray of float, shape (n_y, n_x)
        Reference less exposure before and after the match [unit of image].
    """

    before: NDArray[np.floating]
    after: NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class BackgroundFit:
    """A model of reference less science, and how well it is founded.

    Parameters
    ----------
    model : FrameModel
        The model.
    style : str
        ``polynomial``, ``superpixels``, or the style of the curves.
    order : int
        Degree of the polynomial; -1 for curves.
    smoothing : float
        Strength of the penalty on terms of high degree.
    cells_used, cells_total : int
        Number of cells that entered, and of all.
    covered : float
        Share of the frame where both have a value.
    extrapolated : float
        Share of the frame that lies outside of all these.
    fit_rms : float
        Root mean square of the misfit of the cells [unit of image].
    reduced_chi2 : float
        Of the fit; NaN for curves, which go through their cells.
    condition : float
        Condition number of the fit; NaN for curves.
    offset_before, offset_after : float
        Root mean square of the values of the cells before and after the match, the latter without
        what the noise of the cells explains [unit of image].
    cell_noise : float
        Root mean square of the errors of the cells [unit of image].
    correlation : float
        Factor by which correlation of the noise raises the variance of a mean, as measured, on
        which the errors given here are based.
    maps : CellMaps or None
        The differences in the cells of the frame.
    """

    model: FrameModel
    style: str
    order: int
    smoothing: float
    cells_used: int
    cells_total: int
    covered: float
    extrapolated: float
    fit_rms: float
    reduced_chi2: float
    condition: float
    offset_before: float
    offset_after: float
    cell_noise: float = 0.0
    correlation: float = 1.0
    maps: CellMaps | None = None

    def with_correlation(self, factor: float) -> Self:
        """Return the same fit with the errors that a correlation of the noise asks for."""
        noise = self.cell_noise * math.sqrt(factor)
        # Part of the noise of the cells went into the model.
        spared = max(1 - self.n_factors / max(self.cells_used, 1), 0.0)
        after = math.sqrt(max(self.offset_after**2 - spared * noise**2, 0.0))
        return replace(
            self,
            model=self.model.with_noise(factor),
            reduced_chi2=self.reduced_chi2 / factor,
            offset_after=after,
            cell_noise=noise,
            correlation=factor,
        )

    @property
    def n_factors(self) -> int:
        """Number of factors that were fitted; those of curves are as many as the cells."""
        return n_terms(self.order) if self.order >= 0 else self.cells_used


class Lattice:
    """Points of the frame, and which of them have been seen with a value."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.steps = [max(1, -(-length // _MOST_POINTS)) for length in shape]
        self.was_watched = False
        self.seen = np.zeros(
            [-(-length // step) for length, step in zip(shape, self.steps, strict=True)], bool
        )

    def watch(self, pieces: Iterable[ImagePiece]) -> Iterator[ImagePiece]:
        """Hand on pieces."""
        self.was_watched = True
        for piece in pieces:
            starts = [
                -first % step
                for first, step in zip((piece.window.y, piece.window.x), self.steps, strict=True)
            ]
            values = np.isfinite(
                piece.image[starts[0] :: self.steps[0], starts[1] :: self.steps[1]]
            )
            place = [
                slice((first + start) // step, (first + start) // step + count)
                for first, start, step, count in zip(
                    (piece.window.y, piece.window.x), starts, self.steps, values.shape, strict=True
                )
            ]
            self.seen[place[0], place[1]] |= values
            yield piece
