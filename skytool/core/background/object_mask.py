"""Where objects are: smoothing on several scales, a threshold, and growth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.blocks import block_statistics
from skytool.core.background.curves import Extrapolation, InterpolationStyle
from skytool.core.background.interpolation import InterpolationRule, interpolate_outer
from skytool.core.mask_spread import spread_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.background.blocks import Blocks
    from skytool.core.statistics import Clip

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DetectionScale:
    """Objects of one size.

    Parameters
    ----------
    sigma : float
        Standard deviation of the Gaussian that smooths the image [pixel].
    threshold : float
        Least significance of a smoothed pixel [sigma].
    growth : float
        Radius by which what is found grows [pixel].
    """

    sigma: float
    threshold: float
    growth: float


@dataclass(frozen=True)
class DetectionRule:
    """How objects are found.

    Parameters
    ----------
    scales : tuple of DetectionScale
        Sizes, the smallest first; each is searched for in what is left by those before.
    background_size : float
        Side of the cells of the sky that is taken off first [pixel].
    min_cells : int
        Least number of these cells along each axis: with fewer they could not follow a slope.
    iterations : int
        Rounds, each with a sky measured without the objects of the one before.
    clip : Clip, optional
        Clipping in these cells; 3 sigma and 3 passes if not given.
    style : InterpolationStyle
        How the cells are joined.
    min_pixels : int
        Least number of connected pixels above the threshold.
    n_sigma_for_kernel : float
        Full width of the Gaussian [sigma].
    search_border : bool
        Search also where the kernel does not fit into the image.
    """

    scales: tuple[DetectionScale, ...]
    background_size: float = 512.0
    min_cells: int = 2
    iterations: int = 2
    clip: Clip | None = None
    style: InterpolationStyle = InterpolationStyle.AKIMA_SPLINE
    min_pixels: int = 1
    n_sigma_for_kernel: float = 7.0
    search_border: bool = True


@dataclass(frozen=True, eq=False)
class ObjectMask:
    """What was found; arrays of bool, shape ``(by, bx)``.

    Parameters
    ----------
    detected : ndarray
        Blocks with objects, grown.
    unsearched : ndarray
        Blocks that were not searched because they are too near the border.
    """

    detected: NDArray[np.bool_]
    unsearched: NDArray[np.bool_]


def find_objects(
    blocks: Blocks, rule: DetectionRule, *, variance: NDArray[np.floating] | None = None
) -> ObjectMask:
    r"""Find objects in blocks.

    Parameters
    ----------
    blocks : Blocks
        Image in blocks; those without good pixels are not searched.
    rule : DetectionRule
        How.
    variance : ndarray of float, shape (by, bx), optional
        Variance of a pixel in every block [unit of image squared]. If it is not given, the scatter
        of the blocks gives one.

    Returns
    -------
    ObjectMask
        Empty where nothing can be searched.

    Notes
    -----
    With a kernel k, deviations d from the sky and numbers of good pixels n the significance is
    :math:`\sum k n d / \sqrt{\sum k^2 n \sigma^2}`: the ratio of the best estimate of the mean
    brightness under the kernel to its error.
    """
    detected = np.zeros(blocks.shape, np.bool_)
    border = np.zeros(blocks.shape, np.bool_)
    if not blocks.count.any():
        return ObjectMask(detected, border)
    kernels = [_taps(scale.sigma / blocks.size, rule) for scale in rule.scales]
    for _ in range(max(rule.iterations, 1)):
        sky, noise = _sky(blocks.without(detected), rule)
        deviation = np.where(blocks.bad, 0.0, blocks.mean - sky).astype(np.float32)
        noise_power = noise**2 if variance is None else np.where(blocks.bad, 0.0, variance)
        detected = np.zeros(blocks.shape, np.bool_)
        for scale, taps in zip(rule.scales, kernels, strict=True):
            weight = np.where(detected, 0, blocks.count).astype(np.float32)
            power = (weight * noise_power).astype(np.float32)
            found = _significant(weight * deviation, power, taps, scale.threshold) & (weight > 0)
            if not rule.search_border:
                border = _border(blocks.shape, len(taps) // 2)
                found &= ~border
            found = _large_enough(found, rule.min_pixels)
            detected |= spread_mask(found, _disc(scale.growth / blocks.size))
    return ObjectMask(detected, border)


def _sky(blocks: Blocks, rule: DetectionRule) -> tuple[NDArray[np.floating], float]:
    """Return the smooth sky in every block, and the typical noise of a pixel."""
    sides = blocks.grid.image_shape
    size = min(rule.background_size, min(sides) / rule.min_cells)
    coarse = blocks.regrouped(size)
    cells = block_statistics(coarse, clip=rule.clip)
    noise = cells.noise[np.isfinite(cells.noise)]
    typical = float(np.median(noise)) if noise.size else math.inf
    if not np.isfinite(cells.value).any():  # everything is covered: the sky is what there is
        return np.full(blocks.shape, np.nanmedian(blocks.mean)), typical
    interpolation = InterpolationRule(
        rule.style, extrapolation=Extrapolation.LINEAR, reach=size / 2
    )
    grid = blocks.grid
    return (
        interpolate_outer(
            cells.value,
            y_knots=coarse.cells.y_centers,
            x_knots=coarse.cells.x_centers,
            y=grid.y_centers,
            x=grid.x_centers,
            rule=interpolation,
        ),
        typical,
    )


def _taps(sigma: float, rule: DetectionRule) -> NDArray[np.float32]:
    """Return a Gaussian of sum 1 along an axis; a single tap where it is narrower than a block."""
    half = int(rule.n_sigma_for_kernel * sigma + 0.5) // 2
    offsets = np.arange(-half, half + 1)
    taps = np.exp(-0.5 * (offsets / max(sigma, 1e-6)) ** 2)
    return (taps / taps.sum()).astype(np.float32)


def _significant(
    signal: NDArray[np.float32],
    power: NDArray[np.float32],
    taps: NDArray[np.float32],
    threshold: float,
) -> NDArray[np.bool_]:
    """Tell where the smoothed signal exceeds the threshold times its error."""
    from skytool.core.background.block_loops import smooth

    brightness, error = np.empty_like(signal), np.empty_like(signal)
    smooth(signal, taps, taps, brightness)
    squared = taps**2
    smooth(power, squared, squared, error)
    return brightness > threshold * np.sqrt(np.maximum(error, 0.0))


def _border(shape: tuple[int, int], width: int) -> NDArray[np.bool_]:
    """Return True within a width of the edges."""
    border = np.ones(shape, np.bool_)
    border[width : shape[0] - width, width : shape[1] - width] = False
    return border


def _disc(radius: float) -> NDArray[np.bool_]:
    """Return a disc of a radius around the middle, sides odd."""
    half = int(radius)
    y, x = np.ogrid[-half : half + 1, -half : half + 1]
    return np.asarray(y * y + x * x <= radius * radius)


def _large_enough(found: NDArray[np.bool_], min_pixels: int) -> NDArray[np.bool_]:
    """Return what is left without connected pieces of too few elements."""
    if min_pixels <= 1 or not found.any():
        return found
    from scipy.ndimage import label

    labels, _ = label(found, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(sizes[labels] >= min_pixels)
