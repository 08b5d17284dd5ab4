"""Exposures reduced to what sky frames need of them, small enough to keep many in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.blocks import Blocks, block_means, block_statistics
from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.curves import InterpolationStyle
from skytool.core.background.interpolation import InterpolationRule, interpolate_outer
from skytool.core.background.object_mask import DetectionRule, DetectionScale, find_objects
from skytool.core.statistics import Clip, Statistic
from skytool.stages.skyframe.config import OBJECT_PLANES
from skytool.stages.skyframe.layers import changed_image, restoring_layers

if TYPE_CHECKING:
    from astropy.io import fits
    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure, Origin
    from skytool.stages.skyframe.config import BackgroundConfig, MaskObjectsConfig

    Floats = NDArray[np.float64]

_BLOCKS_ACROSS = 4  # least number along a side of a cell, where it has as many pixels

ROUNDING = float(np.finfo(np.float32).eps)
"""Relative error of an image without noise."""


@dataclass(frozen=True, eq=False)
class SkyBlocks:
    """One detector of one exposure, in blocks.

    Parameters
    ----------
    name : str
        What messages call it.
    visit : str
        Exposures with the same visit share one level.
    detector : str
        Detector; exposures of the same one share one frame.
    filter_name : str
        Filter; empty if unknown.
    blocks : Blocks
        Means of the pixels without defects or objects that the exposure brings flags for.
    flagged : ndarray of float64, shape (n_y, n_x)
        Fraction of the pixels of each superpixel that the exposure flags as objects.
    kept_out : ndarray of bool, shape (by, bx), or None
        Blocks that do not enter a background by cells of the focal plane.
    variance : ndarray of float32, shape (by, bx), or None
        Mean variance of the pixels of each block [unit of image squared].
    origin : Origin
        Place of the first pixel in the parent frame.
    header : `~astropy.io.fits.Header`
        Observation cards.
    """

    name: str
    visit: str
    detector: str
    filter_name: str
    blocks: Blocks
    flagged: Floats
    kept_out: NDArray[np.bool_] | None
    variance: NDArray[np.float32] | None
    origin: Origin
    header: fits.Header

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of the image."""
        return self.blocks.cells.image_shape

    @property
    def memory(self) -> int:
        """Bytes of the arrays."""
        arrays = (self.blocks.mean, self.blocks.count, self.kept_out, self.variance)
        return sum(array.nbytes for array in arrays if array is not None)


def superpixel_grid(shape: tuple[int, int], config: BackgroundConfig) -> CellGrid:
    """Return the superpixels of an image of a shape."""
    size = config.y_bin_size, config.x_bin_size
    return CellGrid.from_bin_size(shape, size, rounding="nearest")


def block_side(cells: CellGrid, wanted: int) -> int:
    """Return the side of blocks, of which every cell has some, so that they tell its noise [pixel].

    Parameters
    ----------
    cells : CellGrid
        The cells.
    wanted : int
        Side that is wanted, if cells are large enough [pixel].
    """
    smallest = min(int(np.diff(edges).min()) for edges in (cells.y_edges, cells.x_edges))
    return min(wanted, max(smallest // _BLOCKS_ACROSS, 1))


def sky_blocks(
    exposure: Exposure,
    cells: CellGrid,
    *,
    visit: str = "",
    detector: str = "",
    filter_name: str = "",
    planes: tuple[str, ...],
    block_size: int,
    keep_out: tuple[str, ...] = (),
    with_variance: bool = False,
    restore: bool = True,
    factor: NDArray[np.float32] | None = None,
) -> SkyBlocks:
    """Reduce an exposure to blocks.

    Parameters
    ----------
    exposure : Exposure
        The pixels.
    cells : CellGrid
        Superpixels, which the blocks tile.
    visit, detector, filter_name : str
        What it is.
    planes : tuple of str
        Planes of pixels that are left out.
    block_size : int
        Side of a block, see `block_side` [pixel].
    keep_out : tuple of str
        Planes of pixels that keep their block out of backgrounds over the focal plane.
    with_variance : bool
        Keep the variance.
    restore : bool
        Put stored backgrounds back first.
    factor : ndarray of float32, shape (ny, nx), optional
        What the image is multiplied with.

    Raises
    ------
    IncompatibleError
        If a plane is unknown, or a stored background has another unit than the image.
    InputError
        If stored backgrounds are damaged.
    """
    layers = restoring_layers(exposure) if restore else []
    image = changed_image(exposure.image, layers) if layers else exposure.image
    mask = exposure.mask
    bad, objects = int(mask.bitmask(planes)), int(mask.bitmask(OBJECT_PLANES))
    if factor is not None:
        image = image * factor
    side = block_side(cells, block_size)
    blocks = block_means(image, mask.array, cells, side, bad=bad, counted=objects)
    flagged = cell_sums(blocks.marked, blocks) / cells.areas
    kept_out = variance = None
    if keep_out:
        extra = int(mask.bitmask(keep_out))
        kept_out = block_means(image, mask.array, cells, side, counted=extra).marked > 0
    if with_variance:
        plane = exposure.variance if factor is None else exposure.variance * factor**2
        variance = block_means(plane, mask.array, cells, side, bad=bad).mean
    return SkyBlocks(
        name=exposure.name,
        visit=visit,
        detector=detector,
        filter_name=filter_name,
        blocks=blocks,
        flagged=flagged,
        kept_out=kept_out,
        variance=variance,
        origin=exposure.origin,
        header=exposure.header,
    )


def detection_rule(config: MaskObjectsConfig) -> DetectionRule:
    """Return how objects are found."""
    scales = zip(config.detect_sigma, config.threshold, config.grow, strict=True)
    return DetectionRule(
        scales=tuple(DetectionScale(*scale) for scale in scales),
        background_size=config.background_bin_size,
        min_cells=config.background_cells,
        iterations=config.n_iter,
        clip=Clip(config.background_clip),
        min_pixels=config.min_pixels,
        n_sigma_for_kernel=config.n_sigma_for_kernel,
        search_border=config.search_border,
    )


def without_objects(
    blocks: Blocks, config: MaskObjectsConfig, variance: NDArray[np.float32] | None
) -> Blocks:
    """Return blocks without objects: left out, or replaced by the sky around them.

    Parameters
    ----------
    blocks : Blocks
        An image, best with its known pattern taken off.
    config : MaskObjectsConfig
        How.
    variance : ndarray of float32, shape (by, bx), or None
        Variance of pixels, for noise from the variance plane.
    """
    if config.n_iter < 1:
        return blocks
    found = find_objects(
        blocks, detection_rule(config), variance=variance if config.noise == "variance" else None
    )
    empty = blocks.without(found.detected | found.unsearched)
    if config.fill == "none" or not (found.detected & ~blocks.bad).any():
        return empty
    if config.fill == "median":
        values: NDArray[np.floating] = np.full(blocks.shape, np.median(blocks.mean[~empty.bad]))
    else:
        coarse = empty.regrouped(config.fill_bin_size)
        values = block_values(block_statistics(coarse, clip=Clip(3.0)).value, coarse)
    mean = np.where(found.detected & ~blocks.bad, values, blocks.mean)
    return blocks.with_mean(mean).without(found.unsearched)


def block_values(
    cells: NDArray[np.floating],
    blocks: Blocks,
    style: InterpolationStyle = InterpolationStyle.AKIMA_SPLINE,
) -> Floats:
    """Return values of cells, interpolated, at the middle of every block.

    Parameters
    ----------
    cells : ndarray of float, shape (n_y, n_x)
        Values of the cells of ``blocks``; NaN are bridged.
    blocks : Blocks
        The blocks.
    style : InterpolationStyle
        How cells are joined.
    """
    return np.asarray(
        interpolate_outer(
            cells,
            y_knots=blocks.cells.y_centers,
            x_knots=blocks.cells.x_centers,
            y=blocks.grid.y_centers,
            x=blocks.grid.x_centers,
            rule=InterpolationRule(style),
        )
    )


@dataclass(frozen=True, eq=False)
class Superpixels:
    """Values of the superpixels of one detector of one exposure; shape ``(n_y, n_x)``.

    Parameters
    ----------
    value : ndarray of float64
        Values [unit of image]; NaN without data.
    error : ndarray of float64
        Standard errors [unit of image].
    noise : float
        Typical noise of a pixel [unit of image].
    masked : ndarray of float64
        Fraction of the pixels without defects that objects cover.
    rejected : ndarray of float64
        Fraction of the good pixels that clipping rejected.
    blocks : Blocks or None
        The blocks they were made of, where these are needed further.
    """

    value: Floats
    error: Floats
    noise: float
    masked: Floats
    rejected: Floats
    blocks: Blocks | None = None


def superpixels(
    blocks: Blocks, before: Blocks, config: BackgroundConfig, noise_pool: float
) -> Superpixels:
    """Return the values of superpixels.

    Parameters
    ----------
    blocks : Blocks
        The blocks, without objects.
    before : Blocks
        The same before objects were taken out.
    config : BackgroundConfig
        Statistic and clipping.
    noise_pool : float
        Number of blocks with the typical noise that are added to each superpixel's own.
    """
    cells = block_statistics(
        blocks,
        statistic=Statistic(config.statistic),
        clip=Clip(config.clip, config.n_iter),
    )
    power = cells.noise**2
    known = np.isfinite(power)
    typical = float(np.median(power[known])) if known.any() else np.nan
    own = np.where(known, cells.kept / blocks.size**2, 0.0)
    pooled = own * np.where(known, power, 0.0) + noise_pool * typical
    with np.errstate(invalid="ignore", divide="ignore"):
        noise = np.sqrt(pooled / (own + noise_pool)) if noise_pool > 0 else cells.noise
        plain = noise / np.sqrt(cells.kept)
        error = np.where(cells.noise > 0, cells.error * noise / cells.noise, plain)
    taken = cell_sums(before.count, blocks) - cells.count
    return Superpixels(
        value=cells.value,
        error=np.maximum(error, ROUNDING * np.abs(cells.value)),
        noise=float(np.sqrt(typical)),
        masked=taken / blocks.cells.areas,
        rejected=(cells.count - cells.kept) / np.maximum(cells.count, 1),
    )


def cell_sums(values: NDArray[np.generic], blocks: Blocks) -> Floats:
    """Add up a quantity of blocks in every cell, shape ``(n_y, n_x)``."""
    rows = np.add.reduceat(values.astype(np.float64), blocks.y_cell[:-1], axis=0)
    return np.asarray(np.add.reduceat(rows, blocks.x_cell[:-1], axis=1))


def whole_cell_means(values: Floats, blocks: Blocks) -> Floats:
    """Average values of blocks over all blocks of each cell, shape ``(n_y, n_x)``."""
    areas = np.multiply.outer(np.diff(blocks.grid.y_edges), np.diff(blocks.grid.x_edges))
    sums = [cell_sums(plane, blocks) for plane in (values * areas, areas)]
    return np.asarray(sums[0] / sums[1])
