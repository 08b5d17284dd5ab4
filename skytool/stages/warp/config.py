"""What can be set for a warp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from skytool.core.resampling.kernels import resampling_kernel

_AREA_KERNELS = (
    "adaptive",
    "exact",
)  # those of skytool.core.resampling.reprojection, whose import is late

Overlap = Literal["last", "first", "best-variance", "mean"]
Units = Literal["auto", "njy", "zeropoint", "input"]
Fill = Literal["interp", "zero", "none"]


@dataclass(frozen=True)
class WarpConfig:
    """Settings of `~skytool.stages.warp.warp_visit`.

    A mask kernel that is larger than the kernel is a `ValueError`.

    Parameters
    ----------
    kernel : str
        Resampling kernel: ``lanczos3``, ``lanczos4``, ``lanczos5``, ``spline3``, ``bilinear``,
        ``nearest``, or an algorithm of reproject, ``adaptive`` or ``exact``.
    mask_kernel : str
        Kernel whose non-zero taps decide which mask planes reach a pixel; empty for ``kernel``.
    grow_planes : tuple of str
        Planes that spread over the whole footprint of ``kernel``.
    wcs_step : int
        Spacing of the nodes between which positions are interpolated [pixel of the target];
        0 evaluates the WCS at every pixel.
    wcs_interpolation : {"polynomial", "linear"}
        How positions are interpolated between the nodes.
    wcs_tolerance : float
        Largest error of an interpolated position [pixel]; nodes are halved in spacing until it
        holds. 0 does not verify.
    fill : {"interp", "zero", "none"}
        What replaces unusable pixels before resampling.
    fill_planes : tuple of str
        Planes that make a pixel unusable, beside values that are not finite.
    bad_planes : tuple of str
        Warped pixels with one of these planes are not used for the visit.
    overlap : {"last", "first", "best-variance", "mean"}
        Which detector a pixel is taken from where several see it, in order of detector number.
    units : {"auto", "njy", "zeropoint", "input"}
        Flux units of the warp. ``input`` scales to those of the first detector; ``auto`` takes
        nanojanskys if that is calibrated, and otherwise its unit.
    zeropoint : float or None
        AB magnitude of one unit, with ``units="zeropoint"``.
    surface_brightness : bool
        Keep values per area instead of the flux: no factor for the relative area of pixels.
    pixel_area : {"centred", "backward"}
        Whether the area of a target pixel is that between its neighbours on both sides, or that to
        the neighbours on the left and below, half a pixel off.
    oversample : int or None
        Samples per target pixel and axis; None takes more than one where target pixels are more
        than 1.5 times as wide as those of the detector.
    calib_variance : bool
        Add the error of the photometric calibration to the variance.
    scale_variance : bool
        Multiply the variance of the warp by what makes it that of the scatter of its sky.
    write_empty : bool
        Make a warp even if no pixel has a value.
    masked_fraction : bool
        Also return the fraction of each pixel that comes from unusable pixels.
    psf_overlap : {"taken", "all"}
        Whether the PSF, where several detectors see a star, is that of the detector from which
        ``overlap`` takes the pixel, or the mean of all.
    psf_shift : {"model", "lanczos5"}
        How the PSF of a detector gets its place between pixels: by its model, or by resampling
        its image in the middle of a pixel.
    noise : int
        Realisations of the noise to make with the warp.
    noise_variance : {"median", "pixel"}
        Their variance: the median of the detector, or that of every pixel.
    noise_seed : int
        Seed of all random numbers.
    strip_rows : int
        Rows of the target that are worked on at once; bounds the memory.
    """

    kernel: str = "lanczos3"
    mask_kernel: str = "bilinear"
    grow_planes: tuple[str, ...] = ("EDGE",)
    wcs_step: int = 64
    wcs_interpolation: Literal["polynomial", "linear"] = "polynomial"
    wcs_tolerance: float = 1e-6
    fill: Fill = "interp"
    fill_planes: tuple[str, ...] = ("BAD", "SAT", "CR", "NO_DATA")
    bad_planes: tuple[str, ...] = ("NO_DATA",)
    overlap: Overlap = "last"
    units: Units = "auto"
    zeropoint: float | None = None
    surface_brightness: bool = False
    pixel_area: Literal["centred", "backward"] = "centred"
    oversample: int | None = None
    calib_variance: bool = False
    scale_variance: bool = False
    write_empty: bool = False
    masked_fraction: bool = False
    psf_overlap: Literal["taken", "all"] = "taken"
    psf_shift: Literal["model", "lanczos5"] = "model"
    noise: int = 0
    noise_variance: Literal["median", "pixel"] = "median"
    noise_seed: int = 0
    strip_rows: int = 64

    def __post_init__(self) -> None:
        if self.takes_areas or not self.mask_kernel:
            return
        names = self.mask_kernel, self.kernel
        if resampling_kernel(names[0]).half_size > resampling_kernel(names[1]).half_size:
            msg = "the mask kernel {} is larger than the kernel {}".format(*names)
            raise ValueError(msg)

    @property
    def takes_areas(self) -> bool:
        """Whether the kernel averages over areas; mask kernel and samples do not count then."""
        return self.kernel in _AREA_KERNELS
