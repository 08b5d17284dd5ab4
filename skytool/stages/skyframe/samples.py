"""Averages of an exposure and of sky frames over boxes, from which scales are found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.blocks import BlockStatistics, block_statistics, kept_average
from skytool.core.background.cell_averages import noise_of_averages
from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.interpolation import interpolate_outer
from skytool.core.skyframe.scale import ScaleRule
from skytool.core.statistics import Clip, Statistic
from skytool.stages.skyframe.blocks import ROUNDING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.background.blocks import Blocks
    from skytool.models.background.hdus import BinnedBackground
    from skytool.models.skyframe import SkyFrame
    from skytool.stages.skyframe.config import SkyMeasurementConfig, StatsConfig

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BoxSamples:
    """Averages over the boxes of one detector, row by row; arrays of float64.

    Parameters
    ----------
    image, error : ndarray, shape (n,)
        The image and its standard errors [unit of image]; NaN without good pixels.
    sky : ndarray, shape (n, t)
        The patterns.
    sky_variance : ndarray, shape (n,)
        Variance of the first pattern; NaN if unknown.
    y, x : ndarray, shape (n,)
        Mean position of the pixels [pixel].
    """

    image: Floats
    error: Floats
    sky: Floats
    sky_variance: Floats
    y: Floats
    x: Floats


def sample_boxes(shape: tuple[int, int], config: SkyMeasurementConfig, cells: CellGrid) -> CellGrid:
    """Return the boxes of a detector.

    Parameters
    ----------
    shape : (int, int)
        Shape ``(ny, nx)`` of the image.
    config : SkyMeasurementConfig
        Their number.
    cells : CellGrid
        Superpixels of the frame, which are the boxes where no number is given.
    """
    wanted = config.y_num_samples or cells.shape[0], config.x_num_samples or cells.shape[1]
    if not (config.y_num_samples or config.x_num_samples):
        return cells
    counts = min(wanted[0], shape[0]), min(wanted[1], shape[1])
    return CellGrid.from_counts(shape, counts, rounding="down")


def model_blocks(model: BinnedBackground, blocks: Blocks) -> Floats:
    """Return a binned model at the middle of every block."""
    return np.asarray(
        interpolate_outer(
            model.cells,
            y_knots=model.grid.y_centers,
            x_knots=model.grid.x_centers,
            y=blocks.grid.y_centers,
            x=blocks.grid.x_centers,
            rule=model.rule,
        )
    )


def measured_samples(
    blocks: Blocks,
    sky: Floats,
    removed: Floats,
    config: SkyMeasurementConfig,
    sky_variance: Floats,
) -> BoxSamples:
    """Average image and patterns over boxes.

    Parameters
    ----------
    blocks : Blocks
        The image, without objects, divided into boxes.
    sky : ndarray of float64, shape (t, by, bx)
        The patterns.
    removed : ndarray of float64, shape (by, bx)
        An estimate of pattern and background [unit of image], from which outliers are told.
    config : SkyMeasurementConfig
        How.
    sky_variance : ndarray of float64, shape (n_y, n_x)
        Variance of the first pattern in each box.
    """
    stats = config.stats
    if config.same_pixels:
        residual = blocks.with_mean(blocks.mean - removed)
        found = _statistics(residual, stats)
        patterns = [kept_average(residual, found, each).ravel() for each in sky]
        image = found.value + kept_average(residual, found, removed)
    else:
        found = _statistics(blocks, stats)
        image = found.value
        areas = np.multiply.outer(np.diff(blocks.grid.y_edges), np.diff(blocks.grid.x_edges))
        full = replace(blocks, count=areas.astype(np.uint16))
        patterns = [_statistics(full.with_mean(each), stats).value.ravel() for each in sky]
    return BoxSamples(
        image=image.ravel(),
        error=np.maximum(_pooled_error(found), ROUNDING * np.abs(image)).ravel(),
        sky=np.stack(patterns, axis=1),
        sky_variance=sky_variance.ravel(),
        y=found.y.ravel(),
        x=found.x.ravel(),
    )


def _statistics(blocks: Blocks, stats: StatsConfig) -> BlockStatistics:
    return block_statistics(
        blocks, statistic=Statistic(stats.statistic), clip=Clip(stats.clip, stats.n_iter)
    )


def _pooled_error(found: BlockStatistics) -> Floats:
    """Return errors by the typical noise of a pixel: that of a few blocks alone is too uncertain."""
    noise = found.noise[np.isfinite(found.noise) & (found.noise > 0)]
    typical = float(np.median(noise)) if noise.size else 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(typical / np.sqrt(found.kept))


def box_variance(frame: SkyFrame, boxes: CellGrid, *, keep_averages: bool) -> Floats:
    """Return the variance of the mean pattern in each box, shape ``(n_y, n_x)``.

    The errors of superpixels are independent, and the surface through them is smoother than they
    are; NaN if no superpixel has an error.

    Parameters
    ----------
    frame : SkyFrame
        The frame.
    boxes : CellGrid
        The boxes.
    keep_averages : bool
        How the surface is laid.
    """
    cells = frame.cells
    variance = frame.variance.astype(np.float64)
    known = np.isfinite(variance)
    n_y, n_x = boxes.shape
    rows = np.clip(np.searchsorted(boxes.y_edges, cells.y_centers, side="right") - 1, 0, n_y - 1)
    columns = np.clip(np.searchsorted(boxes.x_edges, cells.x_centers, side="right") - 1, 0, n_x - 1)
    index = rows[:, None] * n_x + columns[None, :]
    sums = np.bincount(index[known], variance[known], minlength=n_y * n_x)
    number = np.bincount(index[known], minlength=n_y * n_x)
    mean = np.divide(sums, number, out=np.full(n_y * n_x, np.nan), where=number > 0)
    if number.max(initial=0) == 0:
        return np.full(boxes.shape, np.nan)
    mean = np.where(number > 0, mean, np.nanmean(mean))
    share = noise_of_averages(frame.rule, keep_averages=keep_averages)
    reduced = np.where(number > 1, mean / np.maximum(number, 1), share * mean)
    return np.asarray(reduced.reshape(boxes.shape))


def scale_rule(config: SkyMeasurementConfig) -> ScaleRule:
    """Return how scales are solved for."""
    return ScaleRule(
        iterations=config.sky_iter,
        rejection=config.sky_rej,
        clip_about=config.clip_about,
        weighted=config.weighted,
        robust_start=config.robust_start,
        min_samples=config.min_samples,
        min_fraction=config.min_fraction,
        frame_noise=config.frame_noise,
    )
