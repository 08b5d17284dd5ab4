"""Pieces of sky put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from skytool.models.dcr.model import DcrModel
from skytool.models.mask import Mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astropy.io import fits
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from skytool.core.refraction.atmosphere import Variant
    from skytool.models.dcr.bands import Band
    from skytool.models.exposure import Origin
    from skytool.models.psf.kinds import Psf
    from skytool.stages.coadd.inputs import CoaddUnit
    from skytool.stages.dcr.tiles import Tile

    Image = NDArray[np.float32]

_FEW = 2  # exposures, below which the solution is that of the surroundings


class Step(NamedTuple):
    """One step of a solver in a piece.

    Parameters
    ----------
    round : int
        How often weights had been made anew.
    number : int
        Number of the step.
    metric : float
        Direct solver: distance to the solution [sigma]. Iterative solver: residual relative to the
        images.
    gain : float
        Weight of the step; NaN for the direct solver.
    """

    round: int
    number: int
    metric: float
    gain: float = np.nan


@dataclass(frozen=True, eq=False, kw_only=True)
class TileResult:
    """The solution of a piece.

    Parameters
    ----------
    subfilters, subfilter_variances : ndarray of float32, shape (n_subfilters, ny, nx)
        Flux of each subfilter, and its variance.
    variance : ndarray of float32, shape (ny, nx)
        Variance of the sum.
    count : ndarray of int16, shape (ny, nx)
        Exposures at each pixel.
    rejected : ndarray of bool, shape (ny, nx)
        Where an exposure was left out as an outlier.
    before, after : ndarray of float32, shape (ny, nx)
        Root mean square residual of the exposures from their mean and from the model [sigma].
    slope, slope_error : ndarray of float32, shape (ny, nx)
        Relative difference of the flux density at the red end from that in the middle, and its
        error; NaN where it is not certain.
    bits : ndarray of int32, shape (ny, nx)
        Planes of the pixels that were used, together.
    misfits : ndarray of float64, shape (n_exposures, 3)
        Sums over bright pixels of the squares of both residuals of each exposure, and the number.
    steps : list of Step
        How it went.
    """

    subfilters: Image
    subfilter_variances: Image
    variance: Image
    count: NDArray[np.int16]
    rejected: NDArray[np.bool_]
    before: Image
    after: Image
    slope: Image
    slope_error: Image
    bits: NDArray[np.int32]
    misfits: NDArray[np.float64]
    steps: list[Step]

    @classmethod
    def empty(cls, shape: tuple[int, int], n_subfilters: int, n_exposures: int) -> Self:
        """Return the result of a piece, or of a whole image, without any data."""
        nothing = np.full(shape, np.nan, np.float32)
        return cls(
            subfilters=np.zeros((n_subfilters, *shape), np.float32),
            subfilter_variances=np.full((n_subfilters, *shape), np.inf, np.float32),
            variance=np.full(shape, np.inf, np.float32),
            count=np.zeros(shape, np.int16),
            rejected=np.zeros(shape, np.bool_),
            before=nothing.copy(),
            after=nothing.copy(),
            slope=nothing.copy(),
            slope_error=nothing.copy(),
            bits=np.zeros(shape, np.int32),
            misfits=np.zeros((n_exposures, 3)),
            steps=[],
        )

    def put(self, part: TileResult, tile: Tile) -> None:
        """Take the planes of a piece into those of the whole image, and add its sums."""
        place = (..., tile.core.rows, tile.core.columns)
        for name in _PLANES:
            getattr(self, name)[place] = getattr(part, name)
        self.misfits[...] += part.misfits


_PLANES = (
    *("subfilters", "subfilter_variances", "variance", "count", "rejected", "before", "after"),
    *("slope", "slope_error", "bits"),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class DcrResult:
    """A DCR model and how good it is.

    Parameters
    ----------
    model : DcrModel
        The model.
    whole : TileResult
        All planes.
    steps : list of (int, Step)
        Steps of all pieces, with the number of the piece.
    information : float
        Chromatic information [pixel squared].
    """

    model: DcrModel
    whole: TileResult
    steps: list[tuple[int, Step]]
    information: float

    def misfit(self, *, after: bool) -> float:
        """Return the mean square residual in bright pixels over all exposures [sigma squared]."""
        total = self.whole.misfits.sum(axis=0)
        return float(total[int(after)] / total[2]) if total[2] else 0.0

    def exposure_misfits(self) -> NDArray[np.float64]:
        """Return the same for each exposure, before and after, shape (n, 2)."""
        sums = self.whole.misfits
        return np.asarray(sums[:, :2] / np.maximum(sums[:, 2:], 1.0))


@dataclass(frozen=True, eq=False, kw_only=True)
class Frame:
    """What a model has beside its planes.

    Parameters
    ----------
    shape : tuple of int
        Shape ``(ny, nx)``.
    wcs : `~astropy.wcs.WCS` or None
        Coordinates.
    origin : Origin
        Place of the first pixel.
    band : Band
        The band.
    reference_wavelength : float
        Wavelength of light that is in its place [nm].
    filter_name : str
        Name of the filter.
    refraction : {"stone", "lsst", "filippenko"}
        Formula of the refraction.
    unit : CoaddUnit
        Unit.
    psf : Psf or None
        Point spread function.
    header : `~astropy.io.fits.Header`
        Cards common to the exposures.
    bits : mapping of str to int
        Numbers of the mask planes.
    name : str
        What messages call the model.
    """

    shape: tuple[int, int]
    wcs: WCS | None
    origin: Origin
    band: Band
    reference_wavelength: float
    filter_name: str
    refraction: Variant
    unit: CoaddUnit
    psf: Psf | None
    header: fits.Header
    bits: Mapping[str, int]
    name: str


def assembled(
    parts: Sequence[tuple[Tile, TileResult]],
    frame: Frame,
    *,
    spectrum: str,
    information: float,
) -> DcrResult:
    """Put pieces together.

    Parameters
    ----------
    parts : sequence of (Tile, TileResult)
        All pieces.
    frame : Frame
        What else the model has.
    spectrum : {"steps", "polynomial"}
        What is between the subfilters.
    information : float
        Chromatic information.
    """
    first = parts[0][1]
    whole = TileResult.empty(frame.shape, len(first.subfilters), len(first.misfits))
    for tile, part in parts:
        whole.put(part, tile)
    mask = Mask(whole.bits, frame.bits)
    mask = mask.with_flagged(whole.count == 0, "NO_DATA")
    mask = mask.with_flagged((whole.count > 0) & (whole.count < _FEW), "INEXACT_PSF")
    mask = mask.with_flagged(whole.rejected, "CLIPPED")
    number = len(whole.subfilters)
    model = DcrModel(
        model_images=list(whole.subfilters),
        mask=mask,
        variance=whole.variance / np.float32(number),
        effective_wavelength=frame.band.effective_wavelength,
        bandwidth=frame.band.bandwidth,
        curve=frame.band.curve,
        reference_wavelength=frame.reference_wavelength,
        filter=frame.filter_name,
        psf=frame.psf,
        wcs=frame.wcs,
        unit=frame.unit.name,
        calibration=frame.unit.calibration,
        origin=frame.origin,
        spectrum=spectrum,
        refraction=frame.refraction,
        name=frame.name,
        subfilter_variances=list(whole.subfilter_variances),
        header=frame.header,
    )
    steps = [(number, step) for number, (_, part) in enumerate(parts) for step in part.steps]
    return DcrResult(model=model, whole=whole, steps=steps, information=information)
