"""The matching kernel of a pair: sizes of the PSFs, basis, stamps, fit."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.matching.kernel_basis import BasisShape, alard_lupton_basis, basis_shape
from skytool.core.matching.kernel_cells import cell_numbers
from skytool.core.matching.kernel_delta import component_basis, pixel_kernels
from skytool.core.matching.kernel_fit import FitError, KernelFitter
from skytool.core.matching.kernel_regularization import central_penalty, forward_penalty
from skytool.errors import AlgorithmError, NothingToDoError, SkytoolWarning
from skytool.models.matching_kernel import KernelStars, MatchingKernel
from skytool.stages.diffim.kernel_stars import (
    Candidates,
    find_candidates,
    listed_candidates,
    select,
    stamps_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.matching.kernel_fit import KernelFit
    from skytool.core.matching.kernel_stamps import KernelStamps
    from skytool.models.exposure import Exposure
    from skytool.stages.diffim.config import BasisConfig, DiffimConfig
    from skytool.stages.diffim.inputs import Pair
    from skytool.stages.diffim.kernel_stars import SourceList

_GRID = 10  # positions along an axis where a PSF is tried if it has none in the middle
_MOST_FREE = 60  # stars that kernels of single pixels are fitted to
_BORDER = 0.05  # of the image that is left out there


@dataclass(frozen=True, kw_only=True)
class PsfSizes:
    """Widths of the PSFs in the middle of the image, by adaptive moments [pixel].

    Parameters
    ----------
    science, template : float
        Full widths at half maximum.
    """

    science: float
    template: float


def psf_size(exposure: Exposure, *, y: float, x: float) -> float:
    """Return the width of the PSF at a position, or the mean over the image [pixel].

    Raises
    ------
    AlgorithmError
        If it has a width nowhere.
    """
    psf = exposure.psf
    assert psf is not None  # noqa: S101  it was measured if there was none
    try:
        return psf.adaptive_fwhm(y=y, x=x)
    except AlgorithmError:
        ny, nx = exposure.shape
        part = np.linspace(_BORDER, 1.0 - _BORDER, _GRID)
        sizes = []
        for row in part * (ny - 1):
            for column in part * (nx - 1):
                try:
                    sizes.append(psf.adaptive_fwhm(y=float(row), x=float(column)))
                except AlgorithmError:
                    continue
        if sizes:
            return float(np.mean(sizes))
    try:
        return psf.fwhm(y=y, x=x)  # moments of very few pixels converge nowhere
    except AlgorithmError as error:
        raise AlgorithmError(
            f"{exposure.name}: the PSF has no width that can be measured: {error.message}",
            hint="Give one by --psf or --fwhm.",
        ) from error


def kernel_shape(sizes: PsfSizes, convolved: str, config: BasisConfig) -> BasisShape:
    """Return widths and size of the basis for a pair of PSFs."""
    fwhm, target = sizes.template, sizes.science
    if convolved == "SCIENCE":
        fwhm, target = target, fwhm
    known = config.scale_by_fwhm and config.kind == "alard-lupton"
    return basis_shape(
        fwhm if known else None,
        target if known else None,
        n_gauss=config.n_gauss,
        beta=config.beta,
        min_sigma=config.min_sigma,
        min_sigma_deconvolution=config.min_sigma_deconvolution,
        default_widths=config.widths,
        default_size=config.size,
        size_scaling=config.size_scaling,
        min_size=config.min_size,
        max_size=config.max_size,
    )


@dataclass(frozen=True, eq=False)
class Matched:
    """A kernel with what is known of its fit.

    Parameters
    ----------
    kernel : MatchingKernel
        The kernel.
    fit : KernelFit
        Its fit.
    candidates : Candidates
        All sources that were looked at.
    """

    kernel: MatchingKernel
    fit: KernelFit
    candidates: Candidates


def match(
    pair: Pair,
    sizes: PsfSizes,
    shape: BasisShape,
    convolved: str,
    config: DiffimConfig,
    *,
    noise: tuple[float, float],
    sources: SourceList | None,
    names: tuple[str, str],
) -> Matched:
    """Fit the kernel of a pair.

    Parameters
    ----------
    pair : Pair
        The images.
    sizes : PsfSizes
        Widths of their PSFs.
    shape : BasisShape
        Widths and size of the basis.
    convolved : {"TEMPLATE", "SCIENCE"}
        Which image is convolved.
    config : DiffimConfig
        Settings.
    noise : (float, float)
        Typical variances of science image and template.
    sources : SourceList or None
        Sources to use; they are searched without it.
    names : (str, str)
        What messages call science image and template.

    Raises
    ------
    AlgorithmError
        If there are too few sources, or all are rejected.
    NothingToDoError
        If that is so and little of the science image is covered.
    """
    arguments = pair, sizes, shape, convolved, config
    if sources is not None and config.stars.allow_detection:
        try:
            return _match(*arguments, noise=noise, sources=sources, names=names)
        except (AlgorithmError, NothingToDoError) as error:
            warnings.warn(
                f"{error.message} The sources of {names[0]} are searched instead.",
                SkytoolWarning,
                stacklevel=2,
            )
            sources = None
    return _match(*arguments, noise=noise, sources=sources, names=names)


def _match(
    pair: Pair,
    sizes: PsfSizes,
    shape: BasisShape,
    convolved: str,
    config: DiffimConfig,
    *,
    noise: tuple[float, float],
    sources: SourceList | None,
    names: tuple[str, str],
) -> Matched:
    """Fit the kernel of a pair to the sources that are given, or searched if there are none."""
    ny, nx = pair.science.image.shape
    stars = config.stars
    half = stars.stamp_half or shape.size // 2 + 1
    if sources is None:
        candidates = find_candidates(pair.science, pair.science_bad, sizes.science, stars)
    else:
        candidates = listed_candidates(sources, pair.science)
    bad = select(
        candidates, pair, fwhm=sizes.science, kernel_size=shape.size, half=half, config=stars
    )
    source, target = pair.template, pair.science
    if convolved == "SCIENCE":
        source, target = pair.science, pair.template.inner(pair.margin)
    try:
        stamps = stamps_of(
            candidates, bad, source, target, kernel_size=shape.size, half=half, config=stars
        )
        cells = cell_numbers(stamps.row, stamps.column, shape=(ny, nx), cell=stars.cell)
        domain = (-0.5, ny - 0.5, -0.5, nx - 0.5)
        fit = KernelFitter(
            stamps, _basis(shape, stamps, config.basis), cells, domain, config.fit
        ).fit()
    except FitError as error:
        counts = _counted(error.reason)
        raise _failure(
            f"no kernel for {names[1]} and {names[0]}: {error}; of {error.reason.size} sources "
            f"were rejected {counts}.",
            pair,
            config,
        ) from error
    except AlgorithmError as error:
        raise _failure(f"{names[0]}: {error.message}", pair, config, error.hint) from error
    kernel = MatchingKernel(
        basis=fit.basis,
        coefficients=fit.coefficients,
        background=fit.background,
        shape=(ny, nx),
        convolved="SCIENCE" if convolved == "SCIENCE" else "TEMPLATE",
        science_variance=noise[0],
        template_variance=noise[1],
        basis_kind="DELTA" if config.basis.kind == "delta" else "AL",
        widths=shape.widths if config.basis.kind == "alard-lupton" else (),
        degrees=config.basis.degrees_for(shape.mode) if config.basis.kind == "alard-lupton" else (),
        kernel_order=fit.kernel_order,
        background_order=max(fit.background_order, 0),
        condition=fit.condition,
        stars=_stars(candidates, fit),
    )
    return Matched(kernel, fit, candidates)


def _basis(shape: BasisShape, stamps: KernelStamps, config: BasisConfig) -> NDArray[np.float64]:
    """Return the kernels to fit: Gaussians, or components of kernels of single stars.

    Raises
    ------
    AlgorithmError
        If kernels of single stars have no sum.
    """
    if config.kind == "alard-lupton":
        return alard_lupton_basis(shape.size, shape.widths, config.degrees_for(shape.mode))
    penalty = None
    if config.regularization == "central":
        penalty = central_penalty(
            shape.size, stencil=config.stencil, border_penalty=config.border_penalty
        )
    elif config.regularization == "forward":
        penalty = forward_penalty(
            shape.size, orders=config.forward_orders, border_penalty=config.border_penalty
        )
    brightest = stamps.of(np.arange(min(len(stamps), _MOST_FREE)))
    kernels = pixel_kernels(
        brightest,
        penalty,
        strength=config.strength,
        relative=config.strength_kind == "relative",
    )
    try:
        return component_basis(kernels, config.n_components)
    except ValueError as error:
        raise AlgorithmError(f"{error}.", hint="Give --kernel-basis-set alard-lupton.") from error


def _counted(reason: NDArray[np.str_]) -> str:
    """Return the most frequent reasons with their numbers."""
    names, numbers = np.unique(reason[reason != ""], return_counts=True)
    order = np.argsort(-numbers, kind="stable")[:3]
    return ", ".join(f"{numbers[i]} by {names[i]}" for i in order) or "none"


def _failure(
    message: str, pair: Pair, config: DiffimConfig, hint: str = ""
) -> AlgorithmError | NothingToDoError:
    """Return the failure of a fit; where little is covered, that is the cause."""
    if pair.coverage < config.expected_fraction:
        return NothingToDoError(
            f"the template covers {pair.coverage:.1%} of the science image, too little for a "
            f"kernel: {message}",
            hint=hint,
            coverage=pair.coverage,
        )
    return AlgorithmError(message, hint=hint)


def _stars(candidates: Candidates, fit: KernelFit) -> KernelStars:
    """Return what became of every candidate."""
    selected = candidates.selected
    reason = candidates.reason.astype("U24")
    reason[selected] = fit.reason

    def of_all(found: NDArray[np.float64]) -> NDArray[np.float64]:
        full = np.full(selected.size, np.nan)
        full[selected] = found
        return full

    return KernelStars(
        y=candidates.y,
        x=candidates.x,
        snr=candidates.snr,
        sums=of_all(fit.sums),
        mean=of_all(fit.residual_mean),
        std=of_all(fit.residual_std),
        reason=reason,
    )
