"""The sources of a difference: detected on its score, measured on the difference itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.difference.detection import detect, grown_pixels
from skytool.core.difference.score import matched_filter, significance
from skytool.core.difference.source_psf import SourcePsf
from skytool.errors import AlgorithmError
from skytool.models.background.hdus import Background, BackgroundLayer, background_to_hdus
from skytool.models.mask import Mask
from skytool.stages.diffim.sources_background import leftover_sky
from skytool.stages.diffim.sources_catalogue import make_catalogue
from skytool.stages.diffim.sources_measure import (
    Measured,
)
from skytool.stages.diffim.sources_metrics import (
    Searched,
    catalogue_metrics,
    mask_metrics,
    noise_metrics,
    noise_scale,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.models.background.layers import BackgroundModel
    from skytool.models.exposure import Exposure
    from skytool.models.source_catalogue import SourceCatalogue
    from skytool.stages.diffim.sources_config import SourcesConfig

    Plane = NDArray[np.float32]
    Flags = NDArray[np.bool_]

DETECTED = ("DETECTED", "DETECTED_NEGATIVE")
_OLD_PLANES = (*DETECTED, "NOT_DEBLENDED", "STREAK")
_STRIP = 256  # rows


@dataclass(frozen=True, eq=False)
class SourceReport:
    """What was found in a difference.

    Parameters
    ----------
    difference : Exposure
        The difference without its sky, with the planes DETECTED and DETECTED_NEGATIVE and the table
        of sources.
    score : Exposure
        Image and variance of the difference correlated with its PSF.
    snr : ndarray of float32, shape (ny, nx)
        Their signal-to-noise ratio, of unit variance; NaN where there is none.
    catalogue : SourceCatalogue
        The sources, then the empty places.
    background : BackgroundModel or None
        What was subtracted from the difference.
    metrics : dict
        Numbers for the header and the report.
    """

    difference: Exposure
    score: Exposure
    snr: Plane
    catalogue: SourceCatalogue
    background: BackgroundModel | None
    metrics: dict[str, float | int]


@dataclass(frozen=True, eq=False)
class _Images:
    """The difference and its score on the way, and the scale of the score's noise."""

    difference: Exposure
    score: Exposure
    psf: SourcePsf
    bad: Flags
    background: BackgroundModel | None
    noise_scale: float


def find_sources(
    difference: Exposure,
    config: SourcesConfig,
    *,
    score: Exposure | None = None,
    science: Exposure | None = None,
    template: Exposure | None = None,
) -> SourceReport:
    """Find and measure the sources of a difference.

    Parameters
    ----------
    difference : Exposure
        Difference of white noise, with its own PSF and variance.
    config : SourcesConfig
        Settings.
    score : Exposure, optional
        A score made otherwise, with its variance; sources are detected on it as it is. By default
        the difference is filtered with its PSF.
    science, template : Exposure, optional
        The science image, and the template as it was subtracted, for fluxes at the same places and
        for dipoles.

    Returns
    -------
    SourceReport
        Sources with their positions, fluxes, flags; empty if there are none.

    Raises
    ------
    IncompatibleError
        If the difference has no PSF.
    AlgorithmError
        If nothing was found and that is an error.
    """
    difference = _without_planes(difference)
    measured = Measured.of(difference, config.bad_planes)
    images = _prepared(difference, score, measured, config)
    snr = significance(images.score.image, images.score.variance)
    growth = int(config.grow * images.psf.sigma + 0.5)
    found = detect(snr, threshold=config.threshold, min_pixels=config.min_pixels, growth=growth)
    mask = images.difference.mask.with_flagged(found.positive, DETECTED[0])
    mask = mask.with_flagged(found.negative_mask, DETECTED[1])
    images = replace(images, difference=images.difference.with_values(mask=mask))
    images = replace(images, score=_flagged(images.score, mask))
    pixels = measured.pixels._replace(image=images.difference.image)
    parts = [Measured(pixels, images.psf)]
    for exposure in (science, template):
        if exposure is not None and (config.forced or config.dipoles):
            own = None if exposure.psf is not None or science is None else parts[-1].psf
            parts.append(Measured.of(exposure, config.bad_planes, own))
    named = [name for name, e in (("SCI", science), ("TPL", template)) if e is not None]
    catalogue, counts = make_catalogue(
        images.difference, images.noise_scale, snr, found, parts, named, config
    )
    if config.raise_on_no_sources and not len(catalogue.of_sky(sky=False)):
        raise AlgorithmError(
            f"{difference.name}: no source above {config.threshold:g} sigma.",
            hint="Lower --threshold-value.",
        )
    occupied = found.positive | found.negative_mask | images.bad
    searched = Searched(snr, images.psf.sigma, config.threshold)
    metrics: dict[str, float | int] = {"score_noise_scale": images.noise_scale}
    if score is None and config.filter == "psf":
        # the score at the place of a source of flux one, in the middle of the image
        metrics["score_flux_factor"] = float(np.square(images.psf.middle).sum())
    metrics |= {
        **noise_metrics(images.difference, occupied, searched),
        **mask_metrics(mask, images.bad, found),
        **catalogue_metrics(catalogue, counts),
    }
    searched_image = _with_records(images, catalogue)
    return SourceReport(searched_image, images.score, snr, catalogue, images.background, metrics)


def _with_records(images: _Images, catalogue: SourceCatalogue) -> Exposure:
    """Return the difference with the sky that was subtracted and the table of sources."""
    difference = images.difference
    record = Background(unit=difference.unit)
    if images.background is not None:
        record = record.with_layer(BackgroundLayer(images.background, stage="diffim"))
    layers = background_to_hdus(record, origin=difference.origin)
    extensions = (*difference.extensions, *layers, catalogue.to_hdu())
    return difference.with_values(extensions=extensions)


def _without_planes(difference: Exposure) -> Exposure:
    """Return the difference without planes of an earlier detection."""
    mask = difference.mask.with_planes(DETECTED)
    array = mask.array & ~mask.bitmask(_OLD_PLANES)
    return difference.with_values(mask=Mask(array, mask.bits))


def _prepared(
    difference: Exposure, score: Exposure | None, measured: Measured, config: SourcesConfig
) -> _Images:
    """Return the difference without its sky, and its score.

    The sky is measured twice, the second time without the sources that were found after the first.
    """
    image, variance = difference.image, difference.variance
    bad, psf = ~measured.pixels.good, measured.psf
    first = None
    if config.subtract_background:
        first = leftover_sky(image, bad, config, strict=False)
    if score is None:
        filtering = psf.simplified()
        if config.filter == "gaussian":
            filtering = _gaussian(psf, config.kernel_width)
        made = matched_filter(_less(image, first), variance, bad, filtering)
        score = difference.with_values(image=made.signal, variance=made.variance, extensions=())
        del made
        weight = np.float32(filtering.middle.sum())
    else:
        lost = score.mask.any_of(("NO_DATA", "EDGE"))
        filtered = _less(score.image, first)
        filtered[lost] = np.nan
        score = score.with_values(image=filtered)
        weight = np.float32(1.0)
    background, scale = first, 1.0
    snr = significance(score.image, score.variance)
    occupied = bad | grown_pixels(snr, threshold=config.threshold, growth=int(3 * psf.sigma + 1))
    if config.scale_score:
        scale = noise_scale(snr, occupied, psf.sigma)
        variance = score.variance * np.float32(scale**2) if scale != 1.0 else score.variance
        score = score.with_values(variance=variance)
    if first is not None:
        background = leftover_sky(image, occupied, config) or first
        # the change is so small, and so smooth, that the filter only multiplies it by its sum
        for start in range(0, len(image), _STRIP):
            rows = slice(start, start + _STRIP)
            change = background.evaluate(difference.shape, rows=rows)
            change -= first.evaluate(difference.shape, rows=rows)
            score.image[rows] -= weight * change
    difference = difference.with_values(image=_less(image, background))
    return _Images(difference, score, psf, bad, background, scale)


def _less(image: Plane, sky: BackgroundModel | None) -> Plane:
    """Return an image without its sky, as a copy."""
    out = image.copy()
    if sky is not None:
        for start in range(0, len(out), _STRIP):
            rows = slice(start, start + _STRIP)
            out[rows] -= sky.evaluate((image.shape[0], image.shape[1]), rows=rows)
    return out


def _gaussian(psf: SourcePsf, width: float) -> SourcePsf:
    """Return a round Gaussian as wide as the star in the middle of the image."""
    from skytool.core.matching.spatial_kernel import SpatialKernel

    half = int(width * psf.sigma + 0.5) // 2
    offsets = np.arange(-half, half + 1)
    taps = np.exp(-0.5 * np.square(offsets / psf.sigma))
    images = np.outer(taps, taps)[None, None] / taps.sum() ** 2
    return SourcePsf(SpatialKernel(images=images, domain=psf.kernel.domain))


def _flagged(score: Exposure, mask: Mask) -> Exposure:
    """Return the score with the planes of the difference, and EDGE where there is no value."""
    return score.with_values(mask=mask.with_flagged(~np.isfinite(score.image), "EDGE"))
