"""Convolution, subtraction and whitening: from a pair and its kernel to planes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.clipped import clipped_moments
from skytool.core.convolve import convolve, convolve_variance
from skytool.core.difference.decorrelation import InputNoise, nodes, through_nodes, whitening
from skytool.core.mask_spread import spread_mask_by_weight
from skytool.core.noise.correlation import measure_correlation
from skytool.models.psf.kinds import BasisPsf, ConstantPsf
from skytool.stages.diffim.background import sky_background
from skytool.stages.diffim.inputs import TEMPLATE_SUFFIX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.difference.decorrelation import Whitening
    from skytool.core.matching.spatial_kernel import SpatialKernel
    from skytool.models.matching_kernel import MatchingKernel
    from skytool.models.psf.kinds import Psf
    from skytool.stages.diffim.config import DiffimConfig
    from skytool.stages.diffim.inputs import Pair, PreparedImage

    Floats = NDArray[np.float32]

NOT_TYPICAL = (*("INTRP", "EDGE", "DETECTED", "SAT", "CR", "BAD", "NO_DATA", "DETECTED_NEGATIVE"),)
"""Planes of pixels that do not count for the typical variance of an image."""

_LAG = 3  # [pixel] up to which noise that is left is looked at
_WHITE = 0.02  # correlation that is taken for none
_SIGNIFICANT = 5.0  # standard errors
_LEAST_FOR_NOISE = 5000  # pixels that tell a correlation
_CLIP = 3.0
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
    image : ndarray of float32, shape (ny, nx)
        Difference in units of the science image.
    mask : ndarray of int32, shape (ny, nx)
        Its bits.
    matched_image, matched_mask : ndarray, shape (ny, nx)
        The image that was convolved, in its own units.
    source : PreparedImage
        The image before it was convolved, with a margin.
    target : PreparedImage
        The other one.
    margin : int
        Width of the margin [pixel].
    scale : float
        What the difference was divided by: the sum of the kernel if it is for the science image.
    kernel : MatchingKernel
        With its background.
    """

    image: Floats
    mask: NDArray[np.int32]
    matched_image: Floats
    matched_mask: NDArray[np.int32]
    source: PreparedImage
    target: PreparedImage
    margin: int
    scale: float
    kernel: MatchingKernel

    @cached_property
    def matched(self) -> Planes:
        """The image that was convolved with its variance, which is made when it is asked for."""
        moved = self.kernel.kernel.shifted(dy=self.margin, dx=self.margin)
        variance = convolve_variance(self.source.variance, moved)[inner_part(self.margin)]
        variance = np.ascontiguousarray(variance)
        return Planes(image=self.matched_image, variance=variance, mask=self.matched_mask)

    @property
    def difference(self) -> Planes:
        """The difference with its variance."""
        variance = self.target.variance + self.matched.variance
        variance *= np.float32(1.0 / self.scale**2)
        return Planes(image=self.image, variance=variance, mask=self.mask)


def typical_noise(pair: Pair) -> tuple[float, float]:
    """Return clipped means of the variances of science image and template.

    They are in single precision, so that cards can hold them.
    """
    template = pair.template.inner(pair.margin)
    planes = pair.bitmask(*NOT_TYPICAL)
    return _typical(pair.science, planes), _typical(template, planes)


def _typical(image: PreparedImage, planes: np.int32) -> float:
    rows = slice(None, None, max(1, image.variance.size >> 18))
    variance = image.variance[rows]
    bad = image.empty[rows] | ((image.mask[rows] & planes) != 0)
    mean, _ = clipped_moments(variance[~bad])
    if not mean > 0.0:
        mean, _ = clipped_moments(variance.ravel())
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
    part = inner_part(margin)
    moved = kernel.kernel.shifted(dy=margin, dx=margin)
    image = np.ascontiguousarray(convolve(source.image, moved)[part])  # without the margin
    fixed = pair.bitmask(*config.fixed_planes)
    moving = source.mask & ~fixed
    spread = spread_mask_by_weight(moving, moved, config.mask_spread)
    spread |= np.bitwise_and(source.mask, fixed, out=moving)
    mask = np.ascontiguousarray(spread[part], np.int32)
    left = target.image - image
    order = config.fit.background_order
    if fit_background and order >= 0:
        typical = kernel.science_variance + kernel.sum**2 * kernel.template_variance
        if convolved_science:
            typical = kernel.template_variance + kernel.sum**2 * kernel.science_variance
        bad = pair.science_bad | pair.template_bad[part]
        coefficients = sky_background(left, typical, bad, order)
        found = coefficients.shape[0] - 1
        kernel = replace(kernel, background=coefficients, background_order=found)
    if config.subtract_background:
        left -= kernel.surface.image()
    scale = kernel.sum if convolved_science else 1.0
    if convolved_science:  # K * S + background - T is the negative of what was computed
        left *= np.float32(-1.0 / scale)
    return Subtracted(
        image=left,
        mask=mask | target.mask,
        matched_image=image,
        matched_mask=mask,
        source=source,
        target=target,
        margin=margin,
        scale=scale,
        kernel=kernel,
    )


def inner_part(margin: int) -> tuple[slice, slice]:
    """Return the part of a plane inside of its margin."""
    part = slice(margin, -margin or None)
    return part, part


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
    if kernel.convolved == "SCIENCE":
        noises.reverse()
    made = whitening(kernel.kernel, *noises, left=kernel.noise_left)
    variance = _white_variance(found, made, config)
    variance *= np.float32(1.0 / found.scale**2)
    return White(
        planes=Planes(
            image=convolve(_without_bad(found, pair, config), made.kernel),
            variance=variance,
            mask=_white_mask(found.mask, made, pair, config),
        ),
        whitening=made,
    )


def correlation_left(white: White, bad: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Return the correlation of noise that should be white; None if it is.

    Parameters
    ----------
    white : White
        The difference.
    bad : ndarray of bool, shape (ny, nx)
        Pixels to leave out.
    """
    planes = white.planes
    ny = planes.image.shape[0]
    height = max(1, (1 << 20) // planes.image.shape[1])
    rows = slice(max(0, (ny - height) // 2), (ny + height) // 2 + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = planes.image[rows] / np.sqrt(planes.variance[rows])
    good = ~bad[rows] & np.isfinite(scaled)
    if np.count_nonzero(good) < _LEAST_FOR_NOISE:
        return None
    scaled -= np.median(scaled[good])
    spread = 1.4826 * np.median(np.abs(scaled[good]))
    outside = ~good | (np.abs(scaled) > _CLIP * spread)
    found = measure_correlation(np.where(outside, np.nan, scaled), max_lag=_LAG)
    image = found.correlation
    off = np.abs(image).ravel()
    off[off.size // 2] = 0.0
    if off.max() <= max(_WHITE, _SIGNIFICANT / np.sqrt(found.samples)):
        return None
    return image


def _without_bad(found: Subtracted, pair: Pair, config: DiffimConfig) -> Floats:
    """Return the difference with nothing but background in pixels that are not to be spread."""
    filled = _filled_bits(pair, config)
    bad = np.stack([(row & filled) != 0 for row in found.mask])
    if not bad.any():
        return found.image
    image = found.image.copy()
    if config.subtract_background:
        image[bad] = 0.0
    else:
        sign = -1.0 if found.kernel.convolved == "SCIENCE" else 1.0
        level = found.kernel.surface.image() * np.float32(sign / found.scale)
        np.copyto(image, level, where=bad)
    return image


def _filled_bits(pair: Pair, config: DiffimConfig) -> np.int32:
    names = [*config.fill_planes, *(f"{name}{TEMPLATE_SUFFIX}" for name in config.fill_planes)]
    return pair.bitmask(*names)


def _white_variance(found: Subtracted, made: Whitening, config: DiffimConfig) -> Floats:
    """Return the variance of the white difference."""
    y, x = found.kernel.middle
    parts = []
    for image, carried in (
        (found.target, made.plain_squares),
        (found.source.inner(found.margin), made.matched_squares),
    ):
        if config.pixel_variance:
            part = convolve(image.variance, carried)
            np.maximum(part, np.float32(0.0), out=part)
        else:
            part = image.variance * np.float32(carried.sum_at(y=y, x=x))
        parts.append(part)
    plain, matched = parts
    return np.add(plain, matched, out=plain)


def _white_mask(
    mask: NDArray[np.int32], made: Whitening, pair: Pair, config: DiffimConfig
) -> NDArray[np.int32]:
    """Return the mask with what whitening carries."""
    if config.white_mask_spread >= 1.0:
        return mask
    moving = mask & _filled_bits(pair, config)
    spread = spread_mask_by_weight(moving, made.kernel, config.white_mask_spread)
    return np.bitwise_or(spread, mask, out=spread)


def convolved_psf(psf: Psf, kernel: SpatialKernel, shape: tuple[int, int]) -> Psf:
    """Return a PSF convolved with a kernel, with sum 1.

    Parameters
    ----------
    psf : Psf
        PSF of the image.
    kernel : SpatialKernel
        Matching kernel or whitening kernel.
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
