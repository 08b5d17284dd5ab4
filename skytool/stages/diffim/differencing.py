"""Convolution, subtraction and whitening: from a pair and its kernel to planes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.clipped import clipped_moments
from skytool.core.convolve import convolve, convolve_variance
from skytool.core.decorrelation import InputNoise, nodes, through_nodes, whitening
from skytool.core.mask_spread import spread_mask_by_weight
from skytool.models.psf import BasisPsf, ConstantPsf
from skytool.stages.diffim.background import sky_background
from skytool.stages.diffim.inputs import TEMPLATE_SUFFIX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.decorrelation import Whitening
    from skytool.core.spatial_kernel import SpatialKernel
    from skytool.models.matching_kernel import MatchingKernel
    from skytool.models.psf import Psf
    from skytool.stages.diffim.config import DiffimConfig
    from skytool.stages.diffim.inputs import Pair, PreparedImage

    Floats = NDArray[np.float32]

NOT_TYPICAL = (*("INTRP", "EDGE", "DETECTED", "SAT", "CR", "BAD", "NO_DATA", "DETECTED_NEGATIVE"),)
"""Planes of pixels that do not count for the typical variance of an image."""

_LEAST_SHARE = 1e-3  # of its own variance that a pixel keeps at least
_PSF_ORDER = 4
_PSF_NEGLIGIBLE = 1e-5


@dataclass(frozen=True, kw_only=True, eq=False)
class Planes:
    """Planes of an image.

    Parameters
    ----------
    image, variance : ndarray of float32, shape (ny, nx)
        Pixels, finite everywhere.
    mask : ndarray of int32, shape (ny, nx)
        Bits of the pair.
    """

    image: Floats
    variance: Floats
    mask: NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Subtracted:
    """A difference before its noise is white.

    Parameters
    ----------
    difference : Planes
        In units of the science image.
    matched : Planes
        The convolved image.
    scale : float
        What the difference was divided by: the sum of the kernel if it is for the science image.
    kernel : MatchingKernel
        With its background.
    """

    difference: Planes
    matched: Planes
    scale: float
    kernel: MatchingKernel


def typical_variance(
    variance: Floats, mask: NDArray[np.int32], empty: NDArray[np.bool_], pair: Pair
) -> float:
    """Return the clipped mean of a variance, in single precision so that cards can hold it."""
    bad = empty | ((mask & pair.bitmask(*NOT_TYPICAL)) != 0)
    rows = slice(None, None, max(1, variance.size >> 18))
    mean, _ = clipped_moments(variance[rows][~bad[rows]])
    if not mean > 0.0:
        mean, _ = clipped_moments(variance[rows].ravel())
    return float(np.float32(mean))


def subtracted(
    pair: Pair, kernel: MatchingKernel, config: DiffimConfig, *, fit_background: bool
) -> Subtracted:
    """Convolve one image of a pair and subtract.

    Parameters
    ----------
    pair : Pair
        The images.
    kernel : MatchingKernel
        Kernel and background.
    config : DiffimConfig
        Settings.
    fit_background : bool
        Whether the background is measured on the difference.
    """
    convolved_science = kernel.convolved == "SCIENCE"
    margin = pair.margin
    source, target = pair.template, pair.science
    if convolved_science:
        source = pair.science.padded(margin, pair.bitmask("EDGE"))
        target = pair.template.inner(margin)
    matched = _convolved(source, kernel.kernel, margin, pair, config)
    left = target.image - matched.image
    order = config.fit.background_order
    if fit_background and order >= 0:
        bad = pair.science_bad | pair.template_bad[inner_part(margin)]
        coefficients = sky_background(left, target.variance + matched.variance, bad, order)
        found = coefficients.shape[0] - 1
        kernel = replace(kernel, background=coefficients, background_order=found)
    if config.subtract_background:
        left -= kernel.surface.image()
    # K * S + background - T is the negative of what was computed
    scale = kernel.sum if convolved_science else 1.0
    difference = Planes(
        image=left * np.float32(-1.0 / scale if convolved_science else 1.0),
        variance=(target.variance + matched.variance) * np.float32(1.0 / scale**2),
        mask=matched.mask | target.mask,
    )
    return Subtracted(difference=difference, matched=matched, scale=scale, kernel=kernel)


def inner_part(margin: int) -> tuple[slice, slice]:
    """Return the part of a plane inside of its margin."""
    part = slice(margin, -margin or None)
    return part, part


def _convolved(
    source: PreparedImage, kernel: SpatialKernel, margin: int, pair: Pair, config: DiffimConfig
) -> Planes:
    """Convolve the planes of an image and cut its margin off."""
    part = inner_part(margin)
    moved = kernel.shifted(dy=margin, dx=margin)
    fixed = pair.bitmask(*config.fixed_planes)
    mask = spread_mask_by_weight(source.mask & ~fixed, moved, config.mask_spread)
    return Planes(
        image=convolve(source.image, moved)[part],
        variance=convolve_variance(source.variance, moved)[part],
        mask=(mask | (source.mask & fixed))[part],
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class White:
    """A difference with white noise.

    Parameters
    ----------
    planes : Planes
        The difference.
    whitening : Whitening
        What made it white.
    """

    planes: Planes
    whitening: Whitening


def whitened(
    found: Subtracted,
    pair: Pair,
    config: DiffimConfig,
    *,
    correlations: tuple[NDArray[np.float64] | None, NDArray[np.float64] | None] = (None, None),
) -> White:
    """Make the noise of a difference white.

    Parameters
    ----------
    found : Subtracted
        The difference.
    pair : Pair
        The images.
    config : DiffimConfig
        Settings.
    correlations : (ndarray or None, ndarray or None)
        Correlation of the noise of science image and template, if it is known.
    """
    kernel = found.kernel
    noises = [
        InputNoise(variance=variance, correlation=correlation)
        for variance, correlation in zip(
            (kernel.science_variance, kernel.template_variance), correlations, strict=True
        )
    ]
    images = [pair.science, pair.template.inner(pair.margin)]
    if kernel.convolved == "SCIENCE":
        noises.reverse()
        images.reverse()
    made = whitening(kernel.kernel, *noises)
    filled = _without_bad(found, pair, config)
    variance = _white_variance(images, made, kernel, config)
    return White(
        planes=Planes(
            image=convolve(filled, made.kernel),
            variance=variance * np.float32(1.0 / found.scale**2),
            mask=_white_mask(found.difference.mask, made, pair, config),
        ),
        whitening=made,
    )


def _without_bad(found: Subtracted, pair: Pair, config: DiffimConfig) -> Floats:
    """Return the difference with nothing but background in pixels that are not to be spread."""
    difference = found.difference
    bad = (difference.mask & _filled_bits(pair, config)) != 0
    if not bad.any():
        return difference.image
    level: Floats | np.float32 = np.float32(0.0)
    if not config.subtract_background:
        sign = -1.0 if found.kernel.convolved == "SCIENCE" else 1.0
        level = found.kernel.surface.image() * np.float32(sign / found.scale)
    return np.where(bad, level, difference.image)


def _filled_bits(pair: Pair, config: DiffimConfig) -> np.int32:
    names = [*config.fill_planes, *(f"{name}{TEMPLATE_SUFFIX}" for name in config.fill_planes)]
    return pair.bitmask(*names)


def _white_variance(
    images: list[PreparedImage], made: Whitening, kernel: MatchingKernel, config: DiffimConfig
) -> Floats:
    """Return the variance of the white difference."""
    squares = (made.plain_squares, made.matched_squares)
    y, x = kernel.middle
    total = np.zeros(kernel.shape, np.float32)
    for image, carried in zip(images, squares, strict=True):
        if config.pixel_variance:
            part = convolve(image.variance, carried)
            # rounding must not leave a variance that is not positive
            total += np.maximum(part, np.float32(_LEAST_SHARE) * image.variance)
        else:
            total += image.variance * np.float32(carried.sum_at(y=y, x=x))
    return total


def _white_mask(
    mask: NDArray[np.int32], made: Whitening, pair: Pair, config: DiffimConfig
) -> NDArray[np.int32]:
    """Return the mask with what whitening carries."""
    if config.white_mask_spread >= 1.0:
        return mask
    moving = mask & _filled_bits(pair, config)
    return mask | spread_mask_by_weight(moving, made.kernel, config.white_mask_spread)


def white_psf(psf: Psf, kernel: SpatialKernel, shape: tuple[int, int]) -> Psf:
    """Return a PSF convolved with the kernel that made noise white.

    Parameters
    ----------
    psf : Psf
        PSF of the image that was not convolved.
    kernel : SpatialKernel
        Whitening kernel.
    shape : (int, int)
        Shape ``(ny, nx)`` of the image.
    """
    ny, nx = shape
    psf = psf.everywhere()
    constant = kernel.is_constant and isinstance(psf, ConstantPsf)
    domain = (-0.5, ny - 0.5, -0.5, nx - 0.5)
    order = 0 if constant else _PSF_ORDER
    at = nodes(order, domain)
    h, w = psf.shape
    reach_y, reach_x = kernel.half
    stamps = np.zeros((at["y"].size, h + 2 * reach_y, w + 2 * reach_x))
    for number, (y, x) in enumerate(zip(at["y"], at["x"], strict=True)):
        star = np.pad(psf.kernel_image(y=y, x=x), ((reach_y, reach_y), (reach_x, reach_x)))
        stamps[number] = convolve(star, kernel.at(y=y, x=x), dtype=np.float64)
    if constant:
        return ConstantPsf(stamps[0])
    terms = through_nodes(stamps, order, domain, negligible=_PSF_NEGLIGIBLE).images
    used = np.argwhere(np.any(terms != 0.0, axis=(2, 3)))
    coefficients = np.zeros((len(used), *terms.shape[:2]))
    coefficients[np.arange(len(used)), used[:, 0], used[:, 1]] = 1.0
    return BasisPsf(terms[used[:, 0], used[:, 1]], coefficients, shape)
