"""What can be set for matching of backgrounds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from skytool.core.background.curves import Extrapolation
from skytool.core.background.interpolation import InterpolationRule
from skytool.core.background.polynomial_match import PolynomialRule
from skytool.core.background.reference_cost import CostKind, CostWeights
from skytool.core.difference.cells import CellRule
from skytool.core.statistics import Clip

if TYPE_CHECKING:
    from skytool.core.skyframe.superpixels import SuperpixelRule

Mode = Literal["reference", "global"]
Gauge = Literal["reference", "mean", "lowest"]
MaskSources = Literal["auto", "always", "never"]

BAD_PLANES = (
    *("NO_DATA", "DETECTED", "DETECTED_NEGATIVE", "SAT", "BAD", "INTRP", "CR"),
    *("EDGE", "STREAK"),
)
"""Planes whose pixels do not count for the sky."""

EXTRAPOLATED = "EXTRAPOLATED"
"""Plane of the pixels where the model of the background is not based on pixels around them."""


@dataclass(frozen=True, kw_only=True)
class MatchConfig:
    """Settings of `~skytool.stages.match_bg`.

    Parameters
    ----------
    bin_size : int or None
        Side of a cell at most [pixel]; None for a sixteenth of the shorter side of the frame, or of
        as much of it as both exposures have, within 32 and 128.
    use_polynomial : bool
        Model the difference by a polynomial; otherwise by a spline through the cells.
    measure_correlation : bool
        Measure by how much correlated noise raises the errors of cells.
    bad_planes : tuple of str
        Planes whose pixels are left out.
    cells : CellRule
        How pixels become cells.
    polynomial : PolynomialRule
        How polynomials are fitted.
    spline : InterpolationRule
        How splines are laid through cells; its reach is set by `reach_cells`.
    fill : InterpolationRule
        How superpixels without a value are filled.
    reach_cells : float
        How far a model goes on beyond the cells that it is based on, before it keeps its value
        [cell].
    increase_as : {"size", "count"}
        What the new size of INCREASE_NXNYSAMPLE means: a side of the cells [pixel], or, as LSST has
        it, a number of cells.
    stdev_epsilon : float
        Standard deviation of a cell below which its pixels count as equal [unit of image]; where
        all do, cells have no weights.
    report_grid : {"model", "fixed"}
        Cells in which the misfit is measured: those of the model, or cells of exactly the bin
        size, the last one cut off.
    quality_pixels : int
        Number of pixels, about, that the typical variance is measured on; 0 for all.
    quality_clip : Clip
        Clipping of that measurement.
    cost : CostKind
        What makes an exposure a poor reference.
    cost_weights : CostWeights
        How much each term of the cost counts.
    gauge : {"reference", "mean", "lowest"}
        What stays as it is in a global solution: the reference, the mean of all, or the exposure
        with the lowest sky.
    mask_sources : {"auto", "always", "never"}
        Whether pixels of sources are found and left out; auto: where no pixel is DETECTED.
    extrapolation_plane : bool
        Flag pixels with data where the model is extrapolated.
    add_fit_variance : bool
        Add the variance of the model to that of the exposure.
    fit_variance : {"model", "rms"}
        What that variance is: propagated from the cells, or the squared misfit of the cells.
    max_ratio : float or None
        Largest ratio accepted of the mean square of the matched difference to its variance.
    max_rms : float or None
        Largest misfit of the cells accepted [unit of image].
    superpixels : SuperpixelRule or None
        Model the difference on superpixels of the whole frame instead.
    binning : int
        Side of the cells that a model on superpixels is stored in [pixel].
    """

    bin_size: int | None = None
    use_polynomial: bool = True
    measure_correlation: bool = True
    bad_planes: tuple[str, ...] = BAD_PLANES
    cells: CellRule = field(default_factory=CellRule)
    polynomial: PolynomialRule = field(default_factory=PolynomialRule)
    spline: InterpolationRule = field(
        default_factory=lambda: InterpolationRule(extrapolation=Extrapolation.LINEAR)
    )
    fill: InterpolationRule = field(default_factory=InterpolationRule)
    reach_cells: float = 1.0
    increase_as: Literal["size", "count"] = "size"
    stdev_epsilon: float = 1e-8
    report_grid: Literal["model", "fixed"] = "model"
    quality_pixels: int = 1 << 20
    quality_clip: Clip = field(default_factory=Clip)
    cost: CostKind = CostKind.NOISE
    cost_weights: CostWeights = field(default_factory=CostWeights)
    gauge: Gauge = "reference"
    mask_sources: MaskSources = "auto"
    extrapolation_plane: bool = True
    add_fit_variance: bool = False
    fit_variance: Literal["model", "rms"] = "model"
    max_ratio: float | None = None
    max_rms: float | None = None
    superpixels: SuperpixelRule | None = None
    binning: int = 64

    def cell_size(self, frame_shape: tuple[int, int], share: float = 1.0) -> int:
        """Return the side of a cell [pixel].

        Parameters
        ----------
        frame_shape : (int, int)
            Shape ``(ny, nx)`` of the frame.
        share : float
            Share of the frame that there are cells in.
        """
        if self.bin_size is not None:
            return self.bin_size
        side = min(frame_shape)
        size = min(max(int(math.sqrt(share) * side / 16), 32), 128)
        if self.use_polynomial and self.polynomial.order is not None:
            size = min(size, side // (2 * self.polynomial.order + 2))
        return max(min(size, side), 1)
