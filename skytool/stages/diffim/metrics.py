"""Numbers of a difference for reports: its kernel, its flux scale, its depth."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.errors import SkytoolWarning
from skytool.models.photometry import NANOJANSKY_ZERO_POINT

if TYPE_CHECKING:
    from skytool.models.exposure import Exposure
    from skytool.models.matching_kernel import MatchingKernel
    from skytool.models.psf.kinds import Psf
    from skytool.stages.diffim.inputs import Pair

_LARGE_OFFSET = 0.05  # of flux scales [mag]
_LIMIT = 5.0  # signal over noise of the faintest source
_GRID = 3  # places along an axis at which a kernel is described


def count_filled(pair: Pair) -> int:
    """Return how many pixels of the science image had to be filled in either image."""
    return int(np.count_nonzero(pair.science.empty | pair.template.inner(pair.margin).empty))


def kernel_metrics(kernel: MatchingKernel) -> dict[str, Any]:
    """Return the numbers of a kernel, those of a shape at 3 x 3 places row by row."""
    shift, stars = kernel.shift, kernel.stars
    return {
        "kernel_sum": kernel.sum,
        "kernel_shift_y": shift[0],
        "kernel_shift_x": shift[1],
        "kernel_size": kernel.basis.shape[1],
        "kernel_candidates": int(stars.used.size),
        "kernel_stars": int(np.count_nonzero(stars.used)),
        "kernel_order": kernel.kernel_order,
        "kernel_rejected": stars.counts(),
        "kernel_condition": kernel.condition,
        "background_order": kernel.background_order,
        "convolved": kernel.convolved.lower(),
        "basis_kind": kernel.basis_kind.lower(),
        "basis_n_gauss": len(kernel.widths),
        "basis_degrees": list(kernel.degrees),
        "basis_widths": list(kernel.widths),
        **_shapes(kernel),
    }


def _shapes(kernel: MatchingKernel) -> dict[str, list[float]]:
    """Return sums, shifts and second moments of a kernel over its image."""
    model = kernel.kernel
    ny, nx = kernel.shape
    names = ("sums", "shifts_y", "shifts_x", "moments_yy", "moments_xx", "moments_xy")
    rows: list[tuple[float, ...]] = []
    v, u = np.mgrid[: model.images.shape[2], : model.images.shape[3]]
    v, u = v - model.half[0], u - model.half[1]
    for y in np.linspace(0, ny - 1, _GRID):
        for x in np.linspace(0, nx - 1, _GRID):
            image = model.at(y=float(y), x=float(x))
            total = float(image.sum())
            share = image / total if total else np.full_like(image, math.nan)
            at_y, at_x = float((share * v).sum()), float((share * u).sum())
            moments = (
                float((share * a * b).sum())
                for a, b in ((v - at_y, v - at_y), (u - at_x, u - at_x), (v - at_y, u - at_x))
            )
            rows.append((total, at_y, at_x, *moments))
    return {
        f"kernel_{name}": list(values)
        for name, values in zip(names, np.transpose(rows).tolist(), strict=True)
    }


def scale_metrics(
    kernel: MatchingKernel, science: Exposure, template: Exposure
) -> dict[str, float]:
    """Return by how much the sum of the kernel and the calibrations disagree [mmag].

    It is NaN unless both images have a calibration.

    Warns
    -----
    SkytoolWarning
        If it is much.
    """
    unknown = {"scale_offset_mmag": math.nan}
    if science.calibration is None or template.calibration is None:
        return unknown
    expected = template.calibration.scale / science.calibration.scale
    if kernel.convolved == "SCIENCE":
        expected = 1.0 / expected
    if not (kernel.sum > 0.0 and expected > 0.0):
        return unknown
    offset = float(2.5 * np.log10(kernel.sum / expected))
    if abs(offset) > _LARGE_OFFSET:
        warnings.warn(
            f"the kernel has the sum {kernel.sum:.4g}, and by the zero points of {science.name} and "
            f"{template.name} it should have {expected:.4g}: {1000 * offset:.0f} mmag off.",
            SkytoolWarning,
            stacklevel=2,
        )
    return {"scale_offset_mmag": 1000.0 * offset}


def depth_metrics(
    kernel: MatchingKernel,
    exposures: tuple[Exposure, Exposure],
    psfs: tuple[Psf, Psf],
    factor: float,
) -> dict[str, float]:
    """Return the magnitudes of point sources of a signal five times the noise.

    Parameters
    ----------
    kernel : MatchingKernel
        With the variances of pixels.
    exposures : (Exposure, Exposure)
        Science image and template.
    psfs : (Psf, Psf)
        Their PSFs, in pixels of the science image.
    factor : float
        On the variances.

    Returns
    -------
    dict
        AB magnitudes of science image, template and difference; NaN without a calibration. The
        flux of the difference is the root of the summed squares of the other two.
    """
    y, x = kernel.middle
    fluxes = []
    variances = kernel.science_variance, kernel.template_variance
    for exposure, psf, variance in zip(exposures, psfs, variances, strict=True):
        star = psf.everywhere().kernel_image(y=y, x=x)
        scale = math.nan if exposure.calibration is None else exposure.calibration.scale
        fluxes.append(_LIMIT * math.sqrt(factor * variance / float(np.square(star).sum())) * scale)
    names = ("science", "template", "difference")
    return {
        f"{name}_limit": NANOJANSKY_ZERO_POINT - 2.5 * math.log10(flux) if flux > 0.0 else math.nan
        for name, flux in zip(names, (*fluxes, math.hypot(*fluxes)), strict=True)
    }
