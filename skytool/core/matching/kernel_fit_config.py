"""How a matching kernel is fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """How a kernel is fitted.

    Parameters
    ----------
    kernel_order : int or None
        Total order of the variation over the image; None lets the stamps choose.
    max_kernel_order : int
        Highest that they may choose.
    scale_order, background_order : int
        Total order of the sum of the kernel and of the background; -1 for no background.
    background : {"stamps", "sky"}
        The background is fitted with the kernel, or every stamp has a constant of its own in the
        fit and the background is measured elsewhere.
    design : {"exact", "stamp"}
        Polynomials of the position are evaluated in every pixel, or at each source.
    weighting : {"pixel", "stamp"}
        Weights are inverse variances of the difference in each pixel, or one for each stamp, of
        the median sum of the two variances.
    correct_noise : bool
        Whether what noise of the image that is convolved does to the fit is taken off, and stamps
        count by their light over noise; with weights by pixels only.
    lower_orders : bool
        Whether orders are lowered until there are two stamps for each term.
    stars_per_cell : int
        Stamps in use at a time in each cell; below one for all.
    max_iterations : int
        Spatial fits that may reject.
    single_clipping, sum_clipping, spatial_clipping : bool
        Whether stamps are rejected by their own kernel, by its sum, and by the spatial fit.
    max_sum_sigma : float
        Largest deviation of the sum of a kernel [standard deviation].
    sum_scatter : {"own", "all"}
        The standard deviation is that of each sum, or that of all sums.
    sum_floor : float
        Least standard deviation of sums over their mean.
    max_residual_mean, max_residual_std : float
        Largest mean and standard deviation of what is left [standard deviation].
    accuracy : float
        Error of the model over the light of a source that is allowed beside noise.
    core_radius : int or None
        Half side of the part of stamps that is looked at for residuals [pixel].
    """

    kernel_order: int | None = None
    max_kernel_order: int = 2
    scale_order: int = 0
    background_order: int = 2
    background: Literal["stamps", "sky"] = "sky"
    design: Literal["exact", "stamp"] = "exact"
    weighting: Literal["pixel", "stamp"] = "pixel"
    correct_noise: bool = True
    lower_orders: bool = True
    stars_per_cell: int = 0
    max_iterations: int = 3
    single_clipping: bool = True
    sum_clipping: bool = True
    spatial_clipping: bool = True
    max_sum_sigma: float = 3.0
    sum_scatter: Literal["own", "all"] = "own"
    sum_floor: float = 0.005
    max_residual_mean: float = 0.25
    max_residual_std: float = 1.5
    accuracy: float = 0.01
    core_radius: int | None = None
