"""The difference of two exposures of one field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from skytool.errors import AlgorithmError, IncompatibleError
from skytool.models.mask import Mask
from skytool.stages.diffim.cosmic_rays import without_cosmic_rays
from skytool.stages.diffim.differencing import (
    Planes,
    White,
    convolved_psf,
    correlation_left,
    inner_part,
    subtracted,
    typical_noise,
    whitened,
)
from skytool.stages.diffim.grids import check_bands, grid_shift
from skytool.stages.diffim.inputs import prepare
from skytool.stages.diffim.matching import PsfSizes, kernel_shape, match, psf_size
from skytool.stages.diffim.metrics import (
    count_filled,
    depth_metrics,
    kernel_metrics,
    scale_metrics,
)
from skytool.stages.diffim.residuals import residual_ratios
from skytool.stages.diffim.variance_scale import difference_factor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.matching.kernel_basis import BasisShape
    from skytool.models.exposure import Exposure
    from skytool.models.matching_kernel import MatchingKernel
    from skytool.models.psf.kinds import Psf
    from skytool.stages.diffim.config import DiffimConfig
    from skytool.stages.diffim.differencing import Subtracted
    from skytool.stages.diffim.inputs import Pair
    from skytool.stages.diffim.kernel_stars import SourceList


@dataclass(frozen=True, kw_only=True, eq=False)
class DiffimResult:
    """What a difference consists of.

    Parameters
    ----------
    difference : Exposure
        Difference with its own variance, mask and PSF, in units of the science image.
    kernel : MatchingKernel
        The kernel.
    metrics : mapping
        Numbers for the report.
    science : Exposure
        The science image.
    subtracted : Subtracted
        The images as they were subtracted.
    psf : Psf
        PSF of the image that was not convolved.
    psfs : (Psf, Psf)
        PSFs of science image and template, in pixels of the science image.
    bits : mapping of str to int
        Mask planes.
    """

    difference: Exposure
    kernel: MatchingKernel
    metrics: dict[str, Any]
    science: Exposure
    subtracted: Subtracted
    psf: Psf
    psfs: tuple[Psf, Psf]
    bits: dict[str, int]

    @cached_property
    def matched(self) -> Exposure:
        """The convolved image: the template, or the science image, with the PSF of the other."""
        return self._exposure(self.subtracted.matched, "matched image")

    @cached_property
    def parts(self) -> tuple[Exposure, Exposure]:
        """Science image and template as they were subtracted, in units of the science image."""
        found = self.subtracted
        if found.kernel.convolved == "TEMPLATE":
            return self.science, self.matched
        factor = np.float32(1.0 / found.scale)
        target = found.target
        planes = Planes(image=target.image, variance=target.variance, mask=target.mask)
        science, template = (
            each.with_values(image=each.image * factor, variance=each.variance * factor**2)
            for each in (self.matched, self._exposure(planes, "template"))
        )
        return science, template

    def _exposure(self, planes: Planes, name: str) -> Exposure:
        return _like(self.science, planes, self.bits, psf=self.psf, name=name)

    def check_quality(self, config: DiffimConfig) -> None:
        """Refuse a difference with too much of its stars left.

        Raises
        ------
        AlgorithmError
            If the residuals are larger than allowed.
        """
        mean, scatter = self.metrics["residual_ratio"], self.metrics["residual_scatter"]
        if mean > config.max_residual_ratio or scatter > config.max_residual_scatter:
            raise AlgorithmError(
                f"bad subtraction: {mean:.1%} +- {scatter:.1%} of the light of stars is left, and "
                f"{config.max_residual_ratio:.0%} +- {config.max_residual_scatter:.0%} are allowed.",
                hint="Look at the matched template, or raise --bad-subtraction-ratio-threshold.",
            )


def subtract(
    science: Exposure,
    template: Exposure,
    config: DiffimConfig,
    *,
    sources: SourceList | None = None,
    kernel: MatchingKernel | None = None,
) -> DiffimResult:
    """Subtract a template from a science image.

    Parameters
    ----------
    science, template : Exposure
        Exposures on one grid of pixels, with variances and PSFs; the template may be larger.
    config : DiffimConfig
        Settings.
    sources : SourceList, optional
        Sources to fit the kernel to; they are searched without it.
    kernel : MatchingKernel, optional
        Kernel to use instead of fitting one.

    Returns
    -------
    DiffimResult
        The difference and what it was made with.

    Raises
    ------
    IncompatibleError
        If the exposures do not fit together.
    NothingToDoError
        If too little of the science image is covered.
    AlgorithmError
        If no kernel can be fitted.
    """
    plan = _Plan.of(science, template, config, kernel)
    pair = prepare(science, template, plan.shift, plan.margin, config)
    metrics: dict[str, Any] = {"basis_mode": None, "kernel_chi2": None}
    is_stored = kernel is not None
    fit_background = not is_stored and config.fit.background == "sky"
    if kernel is None:
        matched = match(
            pair,
            plan.sizes,
            plan.shape,
            plan.convolved,
            config,
            noise=typical_noise(pair),
            sources=sources,
            names=(science.name, template.name),
        )
        kernel = matched.kernel
        metrics = {"basis_mode": plan.shape.mode, "kernel_chi2": matched.fit.chi2}
    found = subtracted(pair, kernel, config, fit_background=fit_background)
    assert science.psf is not None  # noqa: S101  its width was measured
    y, x = kernel.middle
    star = science.psf.everywhere().kernel_image(y=y, x=x)
    found, metrics["cosmic_ray_count"] = without_cosmic_rays(found, pair, star, config)
    found, white = _white(found, pair, (science, template), config, is_stored=is_stored)
    return _result(science, template, plan, pair, found, white, config, metrics)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    """What is known before any pixel is looked at.

    Parameters
    ----------
    shift : (int, int)
        Pixel ``(y, x)`` of the template that is the first one of the science image.
    sizes : PsfSizes
        Widths of the PSFs.
    convolved : str
        Which image is convolved.
    shape : BasisShape
        Widths and size of the kernel.
    margin : int
        Pixels around the science image that the kernel reaches.
    """

    shift: tuple[int, int]
    sizes: PsfSizes
    convolved: str
    shape: BasisShape
    margin: int

    @classmethod
    def of(
        cls,
        science: Exposure,
        template: Exposure,
        config: DiffimConfig,
        kernel: MatchingKernel | None,
    ) -> Self:
        check_bands(science, template)
        shift = grid_shift(science, template)
        y, x = ((size - 1) / 2 for size in science.shape)
        sizes = PsfSizes(
            science=psf_size(science, y=y, x=x),
            template=psf_size(template, y=y + shift[0], x=x + shift[1]),
        )
        if kernel is None:
            convolved = _convolved(config, sizes)
            shape = kernel_shape(sizes, convolved, config.basis)
            return cls(
                shift=shift, sizes=sizes, convolved=convolved, shape=shape, margin=shape.size // 2
            )
        if kernel.shape != science.shape:
            raise IncompatibleError(
                f"the stored kernel is for {kernel.shape[1]} x {kernel.shape[0]} pixels, "
                f"{science.name} has {science.shape[1]} x {science.shape[0]}."
            )
        return cls(
            shift=shift,
            sizes=sizes,
            convolved=kernel.convolved,
            shape=kernel_shape(sizes, kernel.convolved, config.basis),
            margin=max(kernel.kernel.half),
        )


def _result(
    science: Exposure,
    template: Exposure,
    plan: _Plan,
    pair: Pair,
    found: Subtracted,
    white: White | None,
    config: DiffimConfig,
    metrics: dict[str, Any],
) -> DiffimResult:
    """Return planes with their PSF, and the numbers."""
    planes = found.difference if white is None else white.planes
    planes, factor = _rescaled(planes, found, pair, config)
    assert science.psf is not None  # noqa: S101  its width was measured
    assert template.psf is not None  # noqa: S101  its width was measured
    psfs = science.psf, template.psf.shifted(-plan.shift[0], -plan.shift[1])
    kernel, sizes = found.kernel, plan.sizes
    psf = science.psf
    if kernel.convolved == "SCIENCE":  # light that the template lacks was convolved, too
        psf = convolved_psf(psf, kernel.kernel, science.shape) if kernel.sum > 0.0 else psfs[1]
    plain = psf
    if white is not None:
        psf = convolved_psf(psf, white.whitening.kernel, science.shape)
    metrics |= kernel_metrics(kernel) | scale_metrics(kernel, science, template)
    metrics |= {
        "template_coverage": pair.coverage,
        "science_fwhm": sizes.science,
        "template_fwhm": sizes.template,
        "noise_factor": float(np.sqrt(factor)),
        "science_factor": pair.science_factor * factor,
        "template_factor": pair.template_factor * factor,
        "n_interpolated": count_filled(pair),
    }
    metrics |= depth_metrics(kernel, (science, template), psfs, factor)
    image = science.image
    if kernel.convolved == "SCIENCE":
        image = found.matched_image * np.float32(1.0 / found.scale)
    fwhm = max(sizes.science, sizes.template)
    metrics |= residual_ratios(planes.image, image, kernel.stars, fwhm=fwhm)
    return DiffimResult(
        difference=_like(science, planes, pair.bits, psf=psf, name="difference"),
        kernel=kernel,
        metrics=metrics,
        science=science,
        subtracted=found,
        psf=plain,
        psfs=psfs,
        bits=pair.bits,
    )


def _convolved(config: DiffimConfig, sizes: PsfSizes) -> str:
    """Return which image is convolved."""
    if config.mode == "auto":
        return "TEMPLATE" if sizes.template <= sizes.science else "SCIENCE"
    return "SCIENCE" if config.mode == "convolve-science" else "TEMPLATE"


def _white(
    found: Subtracted,
    pair: Pair,
    exposures: tuple[Exposure, Exposure],
    config: DiffimConfig,
    *,
    is_stored: bool,
) -> tuple[Subtracted, White | None]:
    """Return the difference with white noise, if that is wanted, and what noise it took for that.

    With a stored kernel the noise is that which is stored.
    """
    if not config.decorrelate:
        return found, None
    first, second = (noise_correlation(exposure) for exposure in exposures)
    white = whitened(found, pair, config, correlations=(first, second))
    if is_stored or not config.measure_noise:
        return found, white
    bad = pair.science_bad | pair.template_bad[inner_part(pair.margin)] | (white.planes.mask != 0)
    left = correlation_left(white, bad)
    if left is None:
        return found, white
    found = replace(found, kernel=replace(found.kernel, noise_left=left))
    return found, whitened(found, pair, config, correlations=(first, second))


def _rescaled(
    planes: Planes, found: Subtracted, pair: Pair, config: DiffimConfig
) -> tuple[Planes, float]:
    """Return a difference with its variance scaled to its scatter, and the factor."""
    image = planes.image
    if not config.subtract_background:
        sign = -1.0 if found.kernel.convolved == "SCIENCE" else 1.0
        level = found.kernel.surface.image() * np.float32(sign / found.scale)
        image = np.asarray(image - level, np.float32)
    bad = pair.science_bad | pair.template_bad[inner_part(pair.margin)] | (planes.mask != 0)
    factor = difference_factor(image, planes.variance, bad, config)
    np.multiply(planes.variance, np.float32(factor), out=planes.variance)  # theirs alone
    return planes, factor


def noise_correlation(exposure: Exposure) -> NDArray[np.float64] | None:
    """Return the correlation of noise that a file records, 1 in the middle; None without it."""
    for hdu in exposure.extensions:
        if hdu.name == "NOISECORR" and hdu.data is not None:
            image = np.asarray(hdu.data, np.float64)
            middle = image[image.shape[0] // 2, image.shape[1] // 2]
            if image.ndim == 2 and np.isfinite(image).all() and middle > 0.0:
                return image / middle
    return None


def _like(
    science: Exposure, planes: Planes, bits: dict[str, int], *, psf: Psf, name: str
) -> Exposure:
    """Return planes as an exposure with the coordinates and the header of the science image."""
    return replace(
        science,
        image=planes.image,
        variance=planes.variance,
        mask=Mask(np.asarray(planes.mask, np.int32), bits),
        psf=psf,
        name=name,
        extensions=(),
    )
