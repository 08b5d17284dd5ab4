"""What is known of a piece of sky: its exposures, and its solution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class RegionExposure:
    """What an exposure shows of a piece of sky.

    Parameters
    ----------
    image, variance : ndarray of float32, shape (ny, nx)
        Pixels and their variance; anything finite where not usable.
    usable : ndarray of bool, shape (ny, nx)
        Which pixels count.
    weight : float
        Inverse of the typical variance.
    dy, dx : ndarray of float64, shape (n_nodes,)
        Shifts at `~skytool.core.dcr.basis.band_nodes` [pixel].
    psf : ndarray of float64, shape (h, w), or None
        Star in the middle, sum one.
    """

    image: Image
    variance: Image
    usable: NDArray[np.bool_]
    weight: float
    dy: Floats
    dx: Floats
    psf: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class RegionSolution:
    """The sky of a piece.

    Parameters
    ----------
    subfilters : ndarray of float32, shape (n_subfilters, ny, nx)
        Flux in each subfilter.
    subfilter_variances : ndarray of float32, shape (n_subfilters, ny, nx)
        Variance of it; infinite where there are no data.
    variance : ndarray of float32, shape (ny, nx)
        Variance of the sum.
    slope, slope_error : ndarray of float32, shape (ny, nx)
        First coefficient relative to the flux, and its error; NaN where the flux is not certain.
    count : ndarray of int16, shape (ny, nx)
        Exposures at each pixel.
    rejected : ndarray of bool, shape (ny, nx)
        Where an exposure counts less than half for being an outlier.
    before, after : ndarray of float32, shape (ny, nx)
        Root mean square residual of the exposures from their mean and from the solution [sigma].
    misfits : ndarray of float64, shape (n_exposures, 3)
        Sums over bright pixels of the squares of both residuals of each exposure, and the number.
    errors : list of list of float
        Distance to the solution after every step, for each round.
    """

    subfilters: Image
    subfilter_variances: Image
    variance: Image
    slope: Image
    slope_error: Image
    count: NDArray[np.int16]
    rejected: NDArray[np.bool_]
    before: Image
    after: Image
    misfits: Floats
    errors: list[list[float]]
