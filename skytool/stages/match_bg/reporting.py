"""The cells in which the misfit of a model is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.chebyshev_fit import MAD_TO_SIGMA
from skytool.core.difference.cells import CellRule, frame_cells
from skytool.core.statistics import noise_correlation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from skytool.core.background.cells import CellStatistics
    from skytool.core.difference.cells import FrameCells, ImagePiece
    from skytool.models.background.hdus import BackgroundModel
    from skytool.stages.match_bg.config import MatchConfig
    from skytool.stages.match_bg.models import FrameModel

    Floats = NDArray[np.float64]

_STRIPS = 8
_PIXELS = 1 << 18
_MIN_PIXELS = 500
_CLIP = 5.0


@dataclass(frozen=True, eq=False)
class CellReport:
    """Cells that tell where there is something to fit, and how well a model fits.

    Parameters
    ----------
    cells : CellStatistics
        The cells.
    is_own : bool
        Whether they are those of the model.
    """

    cells: CellStatistics
    is_own: bool

    @property
    def count(self) -> int:
        """Number of cells with a value."""
        return int(self.cells.valid.sum())

    def distinct_positions(self) -> int:
        """Return the number of rows or of columns with a value, whichever is smaller."""
        valid = self.cells.valid
        return int(min(valid.any(axis=1).sum(), valid.any(axis=0).sum()))

    def has_scatter(self, epsilon: float) -> bool:
        """Tell whether the error of any cell exceeds a limit, with a floor under its scatter."""
        cells, valid = self.cells, self.cells.valid
        scatter = np.maximum(np.sqrt(np.nan_to_num(cells.variance[valid])), epsilon)
        return bool((scatter / np.sqrt(cells.kept[valid]) > epsilon).any())

    def misfit(self, model: FrameModel, residual: Floats) -> float:
        """Return the root mean square of the cells less the model.

        Parameters
        ----------
        model : FrameModel
            The model, taken at the pixel that holds the middle of a cell.
        residual : ndarray of float64, shape (n_y, n_x)
            What the model leaves of its own cells, which counts if these are the ones.
        """
        if self.is_own:
            left = residual[np.isfinite(residual)]
        else:
            grid = self.cells.grid
            middles = [
                ((edges[:-1] + edges[1:]) / 2).astype(np.int64)
                for edges in (grid.y_edges, grid.x_edges)
            ]
            left = self.cells.value - model.lattice(middles[0], middles[1])
            left = left[np.isfinite(left)]
        return float(np.sqrt(np.mean(left**2))) if left.size else float("nan")


def report_cells(
    pieces: Callable[[], Iterable[ImagePiece]], frame: FrameCells, size: int, config: MatchConfig
) -> CellReport:
    """Return the cells of the report.

    Parameters
    ----------
    pieces : callable
        Returns the pieces of the difference; called only where further cells are asked for.
    frame : FrameCells
        Cells of the model.
    size : int
        Side of a cell [pixel].
    config : MatchConfig
        Settings.
    """
    if config.report_grid == "model":
        return CellReport(frame.cells, is_own=True)
    grid = CellGrid.of_fixed_size(frame.cells.grid.image_shape, size)
    rule = CellRule(
        statistic=config.cells.statistic, clip=config.cells.clip, min_fraction=0.0, min_neighbors=0
    )
    cells = frame_cells(pieces(), grid, rule).cells
    return CellReport(cells.only(cells.count >= 2), is_own=False)


def measured_correlation(
    image: NDArray[np.float32], bad: NDArray[np.bool_], model: BackgroundModel
) -> float:
    """Return how much correlation raises the variance of a mean of many pixels of a difference.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
        The difference; NaN where it has no value.
    bad : ndarray of bool, shape (ny, nx)
        Pixels that do not count.
    model : BackgroundModel
        Model of its background.

    Returns
    -------
    factor : float
        Mean over some strips of the image, not below one; one where it cannot be measured.

    Notes
    -----
    What is left of sources is correlated too: pixels beyond 5 robust standard deviations do not
    count. A mean over m pixels scatters less than one over fewer by more than the number: pixels
    correlated over 4 lags are taken into account.
    """
    shape = image.shape[0], image.shape[1]
    factors, weights = [], []
    for rows in _strips(image):
        left = image[rows] - model.evaluate(shape, rows=rows)
        flags = bad[rows] | ~np.isfinite(left)
        if np.count_nonzero(~flags) < _MIN_PIXELS:
            continue
        spread = MAD_TO_SIGMA * float(np.median(np.abs(left[~flags])))
        flags |= np.abs(np.where(flags, 0.0, left)) > _CLIP * spread
        factor = noise_correlation(left, flags)
        if np.isfinite(factor):
            factors.append(factor)
            weights.append(np.count_nonzero(~flags))
    return max(float(np.average(factors, weights=weights)), 1.0) if factors else 1.0


def _strips(image: NDArray[np.float32]) -> list[slice]:
    """Return strips across the part with values, with about a quarter of a million pixels."""
    nx = image.shape[1]
    filled = np.flatnonzero(np.isfinite(image[:, :: max(1, nx // 256)]).any(axis=1))
    if not filled.size:
        return []
    first, length = int(filled[0]), int(filled[-1] - filled[0]) + 1
    height = min(max(16, min(64, _PIXELS // (_STRIPS * nx))), length)
    count = min(_STRIPS, length // height)
    starts = first + (np.arange(count) + 0.5) * length / count - height / 2
    return [slice(int(start), int(start) + height) for start in starts]
