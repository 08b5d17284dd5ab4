"""What can be set for sky frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

OBJECT_PLANES = ("DETECTED", "DETECTED_NEGATIVE")
"""Planes of sources, as far as the exposures bring any."""

DEFECT_PLANES = ("BAD", "SAT", "CR", "EDGE", "STREAK", "NO_DATA")
"""Planes of pixels that say nothing of the sky."""


@dataclass(frozen=True)
class BackgroundConfig:
    """How an exposure is divided into superpixels.

    Parameters
    ----------
    statistic : str
        Value of a superpixel: ``meanclip``, ``mean`` or ``median``.
    x_bin_size, y_bin_size : float
        Size of the superpixels; the nearest whole number of them is taken [pixel].
    algorithm : str
        How they are joined: ``constant``, ``linear``, ``natural_spline`` or ``akima_spline``.
    mask : tuple of str
        Planes of pixels that are not used.
    block_size : int
        Pixels are averaged over squares of this side first, of which superpixels are made and in
        which objects are sought [pixel].
    clip : float
        Limit of the clipped mean [sigma].
    n_iter : int
        Passes of the clipped mean.
    """

    statistic: str = "meanclip"
    x_bin_size: float = 32.0
    y_bin_size: float = 32.0
    algorithm: str = "natural_spline"
    mask: tuple[str, ...] = (*DEFECT_PLANES, *OBJECT_PLANES)
    block_size: int = 4
    clip: float = 4.0
    n_iter: int = 3


@dataclass(frozen=True)
class MaskObjectsConfig:
    """How objects are found and kept out.

    Parameters
    ----------
    detect_sigma : tuple of float
        Standard deviations of the Gaussians that smooth the image, the smallest first [pixel];
        objects of each size are sought in what is left by those before.
    threshold : tuple of float
        Least significance for each of them [sigma].
    grow : tuple of float
        Radius by which what is found grows, for each of them [pixel].
    n_iter : int
        Rounds, each with a sky measured without the objects of the one before; 0 seeks none.
    background_bin_size : float
        Size of the cells of this sky [pixel].
    background_cells : int
        Least number of these cells along each axis.
    background_clip : float
        Clipping in these cells [sigma].
    noise : {"scatter", "variance"}
        Noise from the scatter of the image, or from its variance plane.
    n_sigma_for_kernel : float
        Full width of the Gaussians [sigma].
    min_pixels : int
        Least number of connected blocks above the threshold.
    search_border : bool
        Search also where the Gaussian does not fit into the image; otherwise that is left out.
    fill : {"none", "model", "median"}
        What replaces the pixels of objects: nothing, they are left out; a smooth model, after
        which they count as sky; the median.
    fill_bin_size : float
        Size of the cells of the smooth model [pixel].
    """

    detect_sigma: tuple[float, ...] = (3.0, 12.0)
    threshold: tuple[float, ...] = (4.0, 4.0)
    grow: tuple[float, ...] = (4.0, 16.0)
    n_iter: int = 2
    background_bin_size: float = 512.0
    background_cells: int = 2
    background_clip: float = 3.0
    noise: Literal["scatter", "variance"] = "scatter"
    n_sigma_for_kernel: float = 7.0
    min_pixels: int = 1
    search_border: bool = True
    fill: Literal["none", "model", "median"] = "none"
    fill_bin_size: float = 256.0


@dataclass(frozen=True)
class FocalPlaneConfig:
    """A smooth background over all detectors of an exposure.

    Parameters
    ----------
    model : {"polynomial", "cells", "none"}
        Chebyshev terms over the focal plane, or cells of it.
    order : int
        Highest total degree of the terms.
    x_size, y_size : float
        Size of the cells [unit of the focal plane].
    pixel_size : float
        Size of a pixel [unit of the focal plane].
    min_frac : float
        Least fraction of a cell's pixels that must be good.
    mask : tuple of str
        Planes of pixels that do not enter cells.
    interpolation : str
        How missing cells are filled, and how the grid is evaluated.
    do_smooth : bool
        Smooth the cells.
    smooth_scale : float
        By a Gaussian of this sigma [cell].
    binning : int
        Size of the cells of the model on a detector [pixel].
    """

    model: Literal["polynomial", "cells", "none"] = "polynomial"
    order: int = 2
    x_size: float = 4096.0
    y_size: float = 4096.0
    pixel_size: float = 1.0
    min_frac: float = 0.1
    mask: tuple[str, ...] = (*DEFECT_PLANES, "INTRP", *OBJECT_PLANES)
    interpolation: str = "akima_spline"
    do_smooth: bool = False
    smooth_scale: float = 2.0
    binning: int = 64


@dataclass(frozen=True)
class CombineConfig:
    """How exposures are combined.

    Parameters
    ----------
    statistic : str
        ``meanclip``, ``mean`` or ``median``.
    by : {"errors", "scatter"}
        Weights and rejection by the errors of the superpixels; or equal weights and rejection by
        the scatter of the exposures.
    clip : float
        Largest deviation from the others [sigma].
    n_iter : int
        Passes.
    noise_pool : float
        The noise of a superpixel is that of its own blocks and of this many typical ones, so that
        a few blocks that happen to agree do not get a large weight.
    """

    statistic: str = "meanclip"
    by: Literal["errors", "scatter"] = "errors"
    clip: float = 4.0
    n_iter: int = 3
    noise_pool: float = 256.0


@dataclass(frozen=True)
class BuildConfig:
    """Settings of `~skytool.stages.skyframe.build_sky_frames`.

    Parameters
    ----------
    background : BackgroundConfig
        Superpixels.
    objects : MaskObjectsConfig
        Objects.
    large_scale : FocalPlaneConfig
        Smooth background of each exposure.
    combine : CombineConfig
        Combination of the exposures.
    keep_common : {"auto", "always", "never"}
        Whether what smooth backgrounds of all exposures have in common is part of the pattern;
        auto: where it stands out of what single exposures have of it.
    passes : int
        How often the frame is made; from the second time on the one before is taken off before
        objects are sought. With a single pass they are sought at once.
    min_exposures : int
        Least number of exposures of a detector, and of a superpixel with a value of its own.
    max_deviation : float
        An exposure is left out if the pattern of the others is weaker or stronger in it by more
        than this fraction (and five standard errors); 0 leaves none out.
    components : int
        Number of patterns: the mean one and the principal ones of what varies.
    fill : {"interpolate", "median"}
        What superpixels without a value get.
    restore_background : bool
        Add backgrounds that the exposures have stored, before anything else.
    """

    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    objects: MaskObjectsConfig = field(default_factory=MaskObjectsConfig)
    large_scale: FocalPlaneConfig = field(default_factory=FocalPlaneConfig)
    combine: CombineConfig = field(default_factory=CombineConfig)
    keep_common: Literal["auto", "always", "never"] = "auto"
    passes: int = 2
    min_exposures: int = 3
    max_deviation: float = 0.5
    components: int = 1
    fill: Literal["interpolate", "median"] = "interpolate"
    restore_background: bool = True


@dataclass(frozen=True)
class StatsConfig:
    """Statistics of the boxes in which a scale is measured.

    Parameters
    ----------
    statistic : str
        ``meanclip``, ``mean`` or ``median``.
    clip : float
        Limit of the clipped mean [sigma].
    n_iter : int
        Passes of the clipped mean.
    mask : tuple of str
        Planes of pixels that are not used.
    """

    statistic: str = "meanclip"
    clip: float = 4.0
    n_iter: int = 3
    mask: tuple[str, ...] = (*DEFECT_PLANES, *OBJECT_PLANES)


@dataclass(frozen=True)
class SkyMeasurementConfig:
    """How sky frames are measured in an exposure.

    Parameters
    ----------
    sky_iter : int
        Rounds of rejection.
    sky_rej : float
        Largest residual of a sample [sigma].
    x_num_samples, y_num_samples : int
        Boxes along each axis of a detector; 0 takes one for each superpixel of the frame.
    background : BackgroundConfig
        Superpixels, for frames made from single exposures.
    stats : StatsConfig
        Statistics of the boxes.
    same_pixels : bool
        Average image and pattern over the same pixels, clipped by their difference; otherwise the
        pattern is averaged over all pixels of a box and clipped by itself.
    fit : {"scale", "background"}
        Fit scales alone, or together with a smooth background.
    background_order : int
        Highest total degree of this background over the focal plane; -1 takes what the samples
        call for, up to 3.
    pistons : bool
        A constant of its own for every detector.
    weighted : bool
        Weight samples by their errors.
    clip_about : {"median", "zero"}
        Middle of the residuals that are kept.
    robust_start : bool
        Begin with least absolute deviations, and let rejected samples return.
    min_samples : int
        Least number of samples.
    min_fraction : float
        Least fraction of samples that must agree.
    frame_noise : bool
        Correct for the noise of the frame, which makes scales too small.
    """

    sky_iter: int = 3
    sky_rej: float = 3.0
    x_num_samples: int = 0
    y_num_samples: int = 0
    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    stats: StatsConfig = field(default_factory=StatsConfig)
    same_pixels: bool = True
    fit: Literal["scale", "background"] = "background"
    background_order: int = -1
    pistons: bool = True
    weighted: bool = True
    clip_about: Literal["median", "zero"] = "median"
    robust_start: bool = True
    min_samples: int = 5
    min_fraction: float = 0.5
    frame_noise: bool = True


@dataclass(frozen=True)
class ApplyConfig:
    """Settings of `~skytool.stages.skyframe.solve_visit`.

    Parameters
    ----------
    sky : SkyMeasurementConfig
        Measurement of the scale.
    objects : MaskObjectsConfig
        Objects.
    do_mask_objects : bool
        Seek objects; otherwise only those flagged already are left out.
    do_sky : bool
        Subtract the sky frame.
    keep_averages : bool
        Lay the surface of the frame so that its averages over superpixels are the values of the
        frame; otherwise it runs through these values at their centres.
    bg_model1 : FocalPlaneConfig
        Background that is subtracted before the sky frame: ``polynomial`` is the one fitted
        together with it, ``cells`` is measured first.
    undo_bg_model1 : bool
        Put it back in the end.
    do_bg_model2 : bool
        Subtract what is left after the sky frame, smoothed.
    bg_model2 : FocalPlaneConfig
        Cells of this second background.
    restore_background : bool
        Add backgrounds that the exposures have stored, before anything else.
    """

    sky: SkyMeasurementConfig = field(default_factory=SkyMeasurementConfig)
    objects: MaskObjectsConfig = field(default_factory=MaskObjectsConfig)
    do_mask_objects: bool = True
    do_sky: bool = True
    keep_averages: bool = True
    bg_model1: FocalPlaneConfig = field(default_factory=FocalPlaneConfig)
    undo_bg_model1: bool = False
    do_bg_model2: bool = False
    bg_model2: FocalPlaneConfig = field(
        default_factory=lambda: FocalPlaneConfig(
            model="cells",
            x_size=256.0,
            y_size=256.0,
            min_frac=0.3,
            do_smooth=True,
            smooth_scale=1.0,
        )
    )
    restore_background: bool = True
