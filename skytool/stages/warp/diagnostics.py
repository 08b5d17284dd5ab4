"""What is wrong with a match of PSFs, and what to change."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.matching.psf_match import automatic_kernel_size

if TYPE_CHECKING:
    from skytool.core.matching.psf_match import PsfMatch
    from skytool.stages.warp.matching_config import MatchingConfig

_RING = 0.03  # of sum |K|, in the outer ring of two pixels
_BOXY = 1e-3  # of sum M^2: what a kernel too small leaves; a broad one may have light at its edge
_RESIDUAL = 1e-2  # of sum M^2
_ELLIPTICITY = 0.01
_NOISE_GAIN = 1.0
_OVERSIZED = 2.0  # over the side that holds the model
_WIDTH = 1e-3  # by how much a PSF may be wider than the model, which is the error of the widths


def complaint(match: PsfMatch, matching: MatchingConfig) -> str | None:
    """Return what a user should know of a match, with its remedy; None if all is well.

    Of several troubles only the first is named, since it is the cause of the others: a model
    narrower than the PSF, amplified noise, a kernel too small, a PSF not reached, a kernel too large.

    Parameters
    ----------
    match : PsfMatch
        The kernel and its cells.
    matching : MatchingConfig
        Settings it was made with.
    """
    cells, size = match.cells, match.kernel.images.shape[-1]
    n = cells.y.size
    wide = cells.fwhm_in > match.target_fwhm * (1.0 + _WIDTH)
    if wide.any():
        widest = float(np.nanmax(cells.fwhm_in))
        safe = matching.model.with_adaptive_fwhm(widest).fwhm
        return (
            f"the PSF is wider than the model in {wide.sum()} of {n} cells, {widest:.2f} against "
            f"{match.target_fwhm:.2f} pixels, so that the match deconvolves: noise and ripples "
            f"grow. The smallest safe value is --model-fwhm {math.ceil(100 * safe) / 100:g}."
        )
    noisy = cells.noise_gain > _NOISE_GAIN
    if noisy.any():
        return (
            f"the kernel amplifies noise in {noisy.sum()} of {n} cells, sum K^2 up to "
            f"{cells.noise_gain.max():.3g}. Give a ridge (--ridge 1e-4), or wider Gaussians "
            "(--alard-sig-gauss 1.5,3.0,6.0)."
        )
    ring, residual = float(cells.ring_fraction.max()), float(cells.residual.max())
    if ring > _RING and residual > _BOXY:
        return (
            f"the kernel is too small: {100 * ring:.1f} per cent of it lie on its edge. Give "
            f"--kernel-size {size + 6}, which is slower."
        )
    ellipticity = float(np.nanmax(cells.ellipticity_out, initial=0.0))
    if residual > _RESIDUAL or ellipticity > _ELLIPTICITY:
        return (
            f"the matched PSF differs from the model by {100 * residual:.2g} per cent of its "
            f"power, with an ellipticity of {ellipticity:.3f}. Give --cell "
            f"{max(matching.cell_x // 2, 16)}, or --auto-pad-to 1.6, or --no-auto-pad with --pad-by 6."
        )
    enough = automatic_kernel_size(matching.model)
    if size > _OVERSIZED * enough:
        return (
            f"a kernel of {size} pixels is far larger than the match needs, {enough}, and leaves no "
            f"value within {size // 2} pixels of the edges. Give --kernel-size {enough}."
        )
    return None
