"""What can be set for image differences."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from skytool.core.difference.cosmic_rays import CosmicRayRule
from skytool.core.matching.kernel_basis import DEFAULT_DEGREES, DEFAULT_WIDTHS
from skytool.core.matching.kernel_fit_config import FitConfig

Mode = Literal["convolve-template", "convolve-science", "auto"]


@dataclass(frozen=True, kw_only=True)
class BasisConfig:
    """Kernels that a matching kernel is made of.

    Parameters
    ----------
    kind : {"alard-lupton", "delta"}
        Gaussians times polynomials, or single pixels.
    size : int
        Side of the kernel where it does not follow from the PSF sizes [pixel], odd.
    scale_by_fwhm : bool
        Whether widths and size of the Gaussians follow from the PSF sizes.
    size_scaling : float
        Kernel side over the largest width.
    min_size, max_size : int
        Bounds of the kernel side [pixel].
    n_gauss : int
        Number of Gaussians.
    degrees : tuple of int
        Degree of the polynomial on each.
    deconvolution_degrees : tuple of int
        The same where the PSF gets narrower.
    widths : tuple of float
        Standard deviations where they do not follow from the PSF sizes [pixel].
    beta : float
        Ratio of successive widths.
    min_sigma, min_sigma_deconvolution : float
        Smallest width where the PSF gets wider or narrower [pixel].
    regularization : {"none", "central", "forward"}
        Penalty on kernels of single pixels.
    stencil : int
        Points of the Laplacian of the central penalty.
    forward_orders : tuple of int
        Orders of the differences of the forward penalty.
    border_penalty : float
        Weight of the penalty on the border of the kernel.
    strength_kind : {"absolute", "relative"}
        Whether the strength is a number, or is taken over the trace of the equations.
    strength : float
        Of the penalty.
    n_components : int
        Components that kernels of single pixels are reduced to.
    """

    kind: Literal["alard-lupton", "delta"] = "alard-lupton"
    size: int = 21
    scale_by_fwhm: bool = True
    size_scaling: float = 6.0
    min_size: int = 21
    max_size: int = 35
    n_gauss: int = 3
    degrees: tuple[int, ...] = DEFAULT_DEGREES
    deconvolution_degrees: tuple[int, ...] = (6, 4, 4)
    widths: tuple[float, ...] = DEFAULT_WIDTHS
    beta: float = 2.0
    min_sigma: float = 0.7
    min_sigma_deconvolution: float = 0.4
    regularization: Literal["none", "central", "forward"] = "central"
    stencil: int = 9
    forward_orders: tuple[int, ...] = (1, 2)
    border_penalty: float = 3.0
    strength_kind: Literal["absolute", "relative"] = "relative"
    strength: float = 1e-4
    n_components: int = 5

    def degrees_for(self, mode: str) -> tuple[int, ...]:
        """Return the degrees for the sense of a match, see `skytool.core.matching.kernel_basis.BasisShape`."""
        return self.deconvolution_degrees if mode == "deconvolution" else self.degrees

    def __post_init__(self) -> None:
        for side in (self.size, self.min_size, self.max_size):
            if side < 3 or side % 2 == 0:
                raise ValueError(f"the side of a kernel is odd and at least 3, not {side}")
        for degrees in (self.degrees, self.deconvolution_degrees):
            if len(degrees) != self.n_gauss:
                raise ValueError(f"{self.n_gauss} Gaussians but {len(degrees)} degrees")
        if len(self.widths) != self.n_gauss:
            raise ValueError(f"{self.n_gauss} Gaussians but {len(self.widths)} widths")


@dataclass(frozen=True, kw_only=True)
class StarsConfig:
    """Sources that a kernel is fitted to.

    Parameters
    ----------
    min_snr, max_snr : float
        Range of the ratio of signal to noise.
    most, least : int
        Most that are used (none: no limit), and fewest that are needed.
    edge : bool
        Whether the stamps must lie on the image with the kernel around them.
    bad_planes : tuple of str
        Planes of pixels that are not compared.
    min_good : float
        Least part of good pixels in a stamp.
    good_core : float
        Radius within which all pixels must be good [FWHM].
    isolated : float or None
        Largest brightness of a neighbour in the stamp over the source.
    spread : bool
        Whether surplus sources are left out evenly over the image, or the faintest of all.
    cell : (int, int)
        Size ``(y, x)`` of cells that take turns [pixel].
    allow_detection : bool
        Whether sources are searched if no kernel can be fitted to those that are listed.
    stamp_half : int or None
        Half side of the compared part [pixel]; None for half the kernel and one pixel.
    """

    min_snr: float = 10.0
    max_snr: float = float("inf")
    most: int = 400
    least: int = 3
    edge: bool = False
    bad_planes: tuple[str, ...] = (
        *("NO_DATA", "BAD", "SAT", "EDGE", "CR", "FAKE", "STREAK", "HIGH_VARIANCE"),
    )
    min_good: float = 0.8
    good_core: float = 1.0
    isolated: float | None = None
    spread: bool = True
    cell: tuple[int, int] = (128, 128)
    allow_detection: bool = False
    stamp_half: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_snr < self.max_snr:
            raise ValueError(f"the range of S/N, {self.min_snr:g} to {self.max_snr:g}, is empty")
        if self.least < 1:
            raise ValueError(f"a kernel needs at least one source, not {self.least}")


@dataclass(frozen=True, kw_only=True)
class DiffimConfig:
    """Settings of `~skytool.stages.diffim.subtract`; values out of range are a `ValueError`.

    Parameters
    ----------
    mode : {"convolve-template", "convolve-science", "auto"}
        Which image is convolved; ``auto`` takes the one with the narrower PSF.
    scale_variance : bool
        Whether variances are scaled to the scatter of the pixels.
    variance_from : {"difference", "images"}
        What tells the scatter: at last the difference, in which no sources are, or for each image
        by itself the quartiles of its pixels on a background in cells of 32 pixels.
    max_variance_factor : float
        Largest factor.
    subtract_background : bool
        Whether the background that was fitted is subtracted.
    required_fraction, expected_fraction : float
        Covered part of the science image below which there is nothing to do, and below which a
        failure to fit is taken for that.
    preserve_planes, rename_planes : tuple of str
        Planes of the template that are kept, and that get a name of their own.
    fixed_planes : tuple of str
        Planes that convolution does not spread.
    fill_planes : tuple of str
        Planes of pixels that are replaced before convolution.
    mask_spread, white_mask_spread : float
        Part of the weight of the matching kernel, and of the whitening one, that flagged pixels may
        hold without flagging the result.
    cosmic_rays : bool
        Whether pixels of the difference that are sharper than stars are flagged CR.
    cosmic_ray : CosmicRayRule
        Which ones are.
    decorrelate : bool
        Whether the noise of the difference is made white.
    measure_noise : bool
        Whether noise that is left correlated is measured on the difference and made white, too.
    pixel_variance : bool
        Whether the variance of the white difference is carried pixel by pixel, or scaled.
    basis : BasisConfig
        Kernels.
    stars : StarsConfig
        Sources.
    fit : FitConfig
        Fit.
    max_residual_ratio, max_residual_scatter : float
        Mean and standard deviation of the ratio of residuals to stars above which the difference
        is called bad.
    """

    mode: Mode = "auto"
    scale_variance: bool = True
    variance_from: Literal["difference", "images"] = "difference"
    max_variance_factor: float = 10.0
    subtract_background: bool = True
    required_fraction: float = 0.1
    expected_fraction: float = 0.2
    preserve_planes: tuple[str, ...] = ("NO_DATA", "BAD", "HIGH_VARIANCE")
    rename_planes: tuple[str, ...] = ("SAT", "INJECTED", "INJECTED_CORE")
    fixed_planes: tuple[str, ...] = (
        *("INJECTED", "INJECTED_CORE", "INJECTED_TEMPLATE", "INJECTED_CORE_TEMPLATE"),
    )
    fill_planes: tuple[str, ...] = ("NO_DATA", "BAD", "SAT", "CR")
    mask_spread: float = 0.01
    white_mask_spread: float = 0.02
    cosmic_rays: bool = True
    cosmic_ray: CosmicRayRule = field(default_factory=CosmicRayRule)
    decorrelate: bool = True
    measure_noise: bool = True
    pixel_variance: bool = True
    basis: BasisConfig = field(default_factory=BasisConfig)
    stars: StarsConfig = field(default_factory=StarsConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    max_residual_ratio: float = 0.2
    max_residual_scatter: float = 0.4

    def __post_init__(self) -> None:
        for name in ("required_fraction", "expected_fraction", "mask_spread", "white_mask_spread"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")
