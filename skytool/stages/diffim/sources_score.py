"""The score of a difference by preconvolution: for a template wider than the science image, too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.convolve import convolve, convolve_planes
from skytool.core.decorrelation import nodes, through_nodes
from skytool.core.score_correction import score_correction
from skytool.core.stamps import resized
from skytool.models.psf import ConstantPsf
from skytool.stages.diffim.grids import grid_shift
from skytool.stages.diffim.inputs import prepare
from skytool.stages.diffim.kernel_stars import SourceList
from skytool.stages.diffim.sources_measure import star_images
from skytool.stages.diffim.stage import subtract

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytool.core.source_psf import SourcePsf
    from skytool.core.spatial_kernel import SpatialKernel
    from skytool.models.exposure import Exposure
    from skytool.models.matching_kernel import MatchingKernel
    from skytool.stages.diffim.config import DiffimConfig
    from skytool.stages.diffim.inputs import Pair
    from skytool.stages.diffim.stage import DiffimResult

    Floats = NDArray[np.float64]

_ORDER = 2  # of the polynomials that the correction follows
_NEGLIGIBLE = 1e-4


def preconvolved_score(
    science: Exposure, template: Exposure, result: DiffimResult, config: DiffimConfig
) -> Exposure:
    """Return the score of a science image that is correlated with its PSF before it is matched.

    Parameters
    ----------
    science, template : Exposure
        The exposures of the difference.
    result : DiffimResult
        Their difference, whose stars and typical variances are used again.
    config : DiffimConfig
        Settings of the difference.

    Returns
    -------
    Exposure
        Score and its variance, with the mask of the matching; EDGE where the PSF does not fit into
        the image.

    Notes
    -----
    Correlation with the PSF makes the image to be matched broader by the square root of two, so
    that a template may be wider than the science image without any deconvolution. The difference
    ``Q_0 = P * S - kernel x T`` is filtered such that the result is the likelihood ratio of a
    point source (Zackay, Ofek & Gal-Yam 2016), everywhere in the image by the PSF and the kernel
    there.
    """
    shift = grid_shift(science, template)
    star = star_images(science.psf, science.shape, name=science.name)
    broad = _correlated(science, star)
    settings = replace(config, mode="convolve-template", decorrelate=False, scale_variance=False)
    matched = subtract(broad, template, settings, sources=_star_list(result))
    filters, squares = _corrections(star, matched.kernel, result.kernel)
    pair = prepare(science, template, shift, 0, replace(config, scale_variance=False))
    planes = _scaled_variances(pair, result)
    variance = sum(convolve(plane, square) for plane, square in zip(planes, squares, strict=True))
    difference = matched.difference
    return difference.with_values(
        image=convolve(difference.image, filters),
        variance=np.maximum(variance, np.float32(0.0)),
        psf=science.psf,
        name="score",
    )


def _correlated(science: Exposure, star: SourcePsf) -> Exposure:
    """Return the science image correlated with its PSF, and what its stars then look like."""
    mask = science.mask.with_planes(["EDGE"])
    planes = convolve_planes(
        science.image,
        star.kernel.flipped(),
        variance=science.variance,
        mask=mask.array,
        edge="partial",
        edge_bits=int(mask.bitmask(["EDGE"])),
        nonfinite="fill",
        spread_fraction=0.01,
    )
    assert planes.mask is not None  # noqa: S101  it was given
    assert planes.variance is not None  # noqa: S101
    half_y, half_x = star.half
    wide = np.pad(star.middle, ((half_y, half_y), (half_x, half_x)))
    broad = convolve(wide, star.middle[::-1, ::-1], dtype=np.float64)
    return science.with_values(
        image=planes.image,
        variance=planes.variance,
        mask=type(mask)(planes.mask, mask.bits),
        psf=ConstantPsf.from_image(broad),
        name=f"{science.name}, correlated with its PSF",
    )


def _star_list(result: DiffimResult) -> SourceList:
    """Return the stars that the kernel of the difference was fitted to."""
    stars = result.kernel.stars
    used = stars.used
    none = np.zeros(int(np.count_nonzero(used)), np.bool_)
    return SourceList(stars.y[used], stars.x[used], stars.snr[used], none, "the kernel's stars")


def _corrections(
    star: SourcePsf, kernel: MatchingKernel, plain: MatchingKernel
) -> tuple[SpatialKernel, list[SpatialKernel]]:
    """Return the filter, and the squares that carry the variances of both images to the score."""
    domain = kernel.kernel.domain
    at = nodes(_ORDER, domain)
    stars, kernels = star.kernel.at_many(**at), kernel.kernel.at_many(**at)
    found = [
        score_correction(
            stars[k],
            kernels[k],
            science_variance=plain.science_variance,
            template_variance=plain.template_variance,
        )
        for k in range(len(stars))
    ]
    filters = _through([each.kernel for each in found], domain)
    squares = [
        _through([np.square(image) for image in images], domain)
        for images in ([each.science for each in found], [each.template for each in found])
    ]
    return filters, squares


def _through(images: Sequence[Floats], domain: tuple[float, float, float, float]) -> SpatialKernel:
    """Return the kernel that has given images, of unlike sizes, at the nodes."""
    shape = max(image.shape for image in images)
    stack = np.stack([resized(image, shape) for image in images])
    return through_nodes(stack, _ORDER, domain, negligible=_NEGLIGIBLE)


def _scaled_variances(pair: Pair, result: DiffimResult) -> tuple[NDArray[np.float32], ...]:
    """Return the variances of both images, scaled as those of the difference were."""
    factors = result.metrics["science_factor"], result.metrics["template_factor"]
    images = pair.science, pair.template
    return tuple(
        image.variance * np.float32(factor) for image, factor in zip(images, factors, strict=True)
    )
