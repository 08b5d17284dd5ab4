"""The score of a pair whose science image is correlated with its PSF before the match."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.convolve import convolve, convolve_variance
from skytool.core.difference.decorrelation import InputNoise, whitening
from skytool.core.mask_spread import spread_mask_by_weight
from skytool.core.matching.spatial_kernel import SpatialKernel
from skytool.core.noise.local_fill import fill_from_neighbors
from skytool.errors import IncompatibleError
from skytool.models.mask import Mask
from skytool.stages.diffim.differencing import inner_part, subtracted, typical_noise
from skytool.stages.diffim.grids import check_bands, grid_shift
from skytool.stages.diffim.inputs import PreparedImage, prepare
from skytool.stages.diffim.matching import PsfSizes, kernel_shape, match, psf_size
from skytool.stages.diffim.variance_scale import difference_factor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure
    from skytool.models.matching_kernel import MatchingKernel
    from skytool.stages.diffim.config import DiffimConfig
    from skytool.stages.diffim.differencing import Subtracted
    from skytool.stages.diffim.inputs import Pair
    from skytool.stages.diffim.kernel_stars import SourceList


@dataclass(frozen=True, kw_only=True, eq=False)
class Preconvolved:
    """A score.

    Parameters
    ----------
    score : Exposure
        Matched-filter signal and its variance: their ratio has unit variance on empty sky.
    kernel : MatchingKernel
        Kernel that brings the template to the correlated science image.
    flux_factor : float
        Signal of a point source in its pixel over its flux, in the middle of the image.
    """

    score: Exposure
    kernel: MatchingKernel
    flux_factor: float


def preconvolved_score(
    science: Exposure,
    template: Exposure,
    config: DiffimConfig,
    *,
    sources: SourceList | None = None,
) -> Preconvolved:
    """Make the score of a pair from the science image correlated with its PSF.

    Parameters
    ----------
    science, template : Exposure
        Exposures on one grid of pixels, with variances and PSFs.
    config : DiffimConfig
        Settings; the template is convolved whatever they say.
    sources : SourceList, optional
        Sources to fit the kernel to.

    Raises
    ------
    IncompatibleError
        If the exposures do not fit together, or the science image has no PSF.
    NothingToDoError
        If too little of the science image is covered.
    AlgorithmError
        If no kernel can be fitted.

    Notes
    -----
    The correlated image is wider by the square root of two, so that a template with a wider PSF than
    the science image needs no deconvolution. What is left after the match is filtered so that it
    equals the white difference correlated with its own PSF.
    """
    check_bands(science, template)
    shift = grid_shift(science, template)
    if science.psf is None:
        raise IncompatibleError(f"{science.name} has no PSF.")
    y, x = ((size - 1) / 2 for size in science.shape)
    psf = science.psf.kernel_image(y=y, x=x)
    sizes = PsfSizes(
        science=math.sqrt(2.0) * psf_size(science, y=y, x=x),
        template=psf_size(template, y=y + shift[0], x=x + shift[1]),
    )
    shape = kernel_shape(sizes, "TEMPLATE", config.basis)
    pair = prepare(science, template, shift, shape.size // 2, config)
    noise = typical_noise(pair)
    before, pair = pair, correlated(pair, psf, config)
    names = (science.name, template.name)
    # weights of single pixels are not those of noise that the correlation has made smooth
    fit = replace(config.fit, correct_noise=False)
    fitting = replace(config, fit=fit)
    kernel = match(
        pair, sizes, shape, "TEMPLATE", fitting, noise=noise, sources=sources, names=names
    ).kernel
    kernel = replace(kernel, preconvolved=True)
    fit_background = config.fit.background == "sky"
    found = subtracted(pair, kernel, config, fit_background=fit_background)
    return _filtered(science, found, before, psf, config)


def correlated(pair: Pair, psf: NDArray[np.float64], config: DiffimConfig) -> Pair:
    """Return a pair with its science image correlated with its PSF; the border gets EDGE."""
    science = pair.science
    turned = SpatialKernel.constant(psf[::-1, ::-1])
    bad = (science.mask & pair.bitmask(*config.fill_planes)) != 0
    image = fill_from_neighbors(science.image, bad) if bad.any() else science.image
    mask = spread_mask_by_weight(science.mask, turned, config.mask_spread)
    mask = mask | _border(mask.shape, psf.shape, pair.bitmask("EDGE"))
    planes = pair.bitmask(*config.stars.bad_planes)
    return replace(
        pair,
        science=PreparedImage(
            image=convolve(image, turned),
            variance=convolve_variance(science.variance, turned),
            mask=mask,
            empty=science.empty,
        ),
        science_bad=pair.science_bad | ((mask & planes) != 0),
    )


def _border(shape: tuple[int, ...], psf: tuple[int, ...], bit: np.int32) -> NDArray[np.int32]:
    """Return a mask with a bit where the PSF reaches beyond the edge."""
    border = np.full(shape, bit, np.int32)
    inner = tuple(
        slice(size // 2, max(n - size // 2, size // 2)) for n, size in zip(shape, psf, strict=True)
    )
    border[inner] = 0
    return border


def _filtered(
    science: Exposure,
    found: Subtracted,
    before: Pair,
    psf: NDArray[np.float64],
    config: DiffimConfig,
) -> Preconvolved:
    """Filter what is left after the match of the correlated image; `before` is the pair without."""
    kernel = found.kernel
    noises = (
        InputNoise(variance=kernel.science_variance),
        InputNoise(variance=kernel.template_variance),
    )
    made = whitening(kernel.kernel, *noises, psf=psf)
    image = convolve(found.image, made.kernel)
    template = before.template.inner(before.margin)
    variance = convolve(before.science.variance, made.plain_squares)
    variance += convolve(template.variance, made.matched_squares)
    bad = before.science_bad | before.template_bad[inner_part(before.margin)] | (found.mask != 0)
    np.maximum(variance, np.float32(0.0), out=variance)
    variance *= np.float32(difference_factor(image, variance, bad, config))
    return Preconvolved(
        score=replace(
            science,
            image=image,
            variance=variance,
            mask=Mask(np.asarray(found.mask, np.int32), before.bits),
            name="score",
            extensions=(),
        ),
        kernel=kernel,
        flux_factor=_flux_factor(psf, made.kernel, kernel.middle),
    )


def _flux_factor(
    psf: NDArray[np.float64], kernel: SpatialKernel, middle: tuple[float, float]
) -> float:
    """Return the signal of a star of unit flux in its pixel."""
    padded = np.pad(psf, [(half, half) for half in kernel.half])
    seen = convolve(padded, psf[::-1, ::-1], dtype=np.float64)
    seen = convolve(seen, kernel.at(y=middle[0], x=middle[1]), dtype=np.float64)
    return float(seen[seen.shape[0] // 2, seen.shape[1] // 2])
