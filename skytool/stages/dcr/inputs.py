"""The exposures that a DCR model is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.dcr.region_records import RegionExposure
from skytool.errors import AlgorithmError, IncompatibleError
from skytool.models.exposure import Exposure
from skytool.models.mask import Mask
from skytool.models.psf.coadd import merged_psf
from skytool.stages.coadd import CoaddConfig, CoaddInput
from skytool.stages.coadd.inputs import common_unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from skytool.models.psf.kinds import Psf
    from skytool.stages.coadd.inputs import CoaddUnit
    from skytool.stages.dcr.tiles import Tile


@dataclass(frozen=True, eq=False)
class DcrInput:
    """What is known of an exposure beside its pixels.

    Parameters
    ----------
    facts : CoaddInput
        Unit, calibration, planes, noise.
    used : int
        Pixels that count.
    psf : Psf or None
        Its point spread function.
    """

    facts: CoaddInput
    used: int
    psf: Psf | None

    @classmethod
    def from_exposure(cls, exposure: Exposure, bad_planes: tuple[str, ...]) -> DcrInput:
        """Return what the assembly needs to know of an exposure."""
        usable = usable_pixels(exposure, bad_planes)
        return cls(
            CoaddInput.from_exposure(exposure, CoaddConfig(bad_planes=bad_planes)),
            int(usable.sum()),
            exposure.psf,
        )

    def star(self, *, y: float, x: float) -> NDArray[np.float64] | None:
        """Return the PSF at a place, centred on the middle pixel of a stamp; None without one."""
        if self.psf is None:
            return None
        try:
            return self.psf.everywhere().kernel_image(y=y, x=x)
        except AlgorithmError:
            return None

    def width(self, *, y: float, x: float) -> float | None:
        """Return the full width at half maximum of the PSF at a place [pixel]; None without."""
        if self.psf is None:
            return None
        try:
            return self.psf.everywhere().fwhm(y=y, x=x)
        except AlgorithmError:
            return None


def usable_pixels(exposure: Exposure, bad_planes: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which pixels count: with a value, a variance, and no bad plane."""
    good = np.isfinite(exposure.image) & np.isfinite(exposure.variance) & (exposure.variance > 0)
    return good & ~exposure.mask.any_of(bad_planes)


@dataclass(frozen=True, eq=False)
class TileInput:
    """What an exposure contributes to a piece of sky, beside its pixels.

    Parameters
    ----------
    scale : float
        Factor to common units.
    weight : float
        Inverse of the typical variance in these units.
    star : ndarray of float64, shape (h, w), or None
        PSF in the middle of the piece.
    airmass : float
        Its airmass.
    """

    scale: float
    weight: float
    star: NDArray[np.float64] | None
    airmass: float


def tile_inputs(
    inputs: Sequence[DcrInput], unit: CoaddUnit, tile: Tile, airmasses: Sequence[float]
) -> tuple[TileInput, ...]:
    """Return what every exposure contributes to a piece; the one without use has weight zero."""
    y = tile.core.y + (tile.core.shape[0] - 1) / 2.0
    x = tile.core.x + (tile.core.shape[1] - 1) / 2.0
    found = []
    for entry, scale, airmass in zip(inputs, unit.scales, airmasses, strict=True):
        variance = entry.facts.mean_variance * scale**2
        weight = 1.0 / variance if entry.used and np.isfinite(variance) and variance > 0 else 0.0
        found.append(TileInput(scale, weight, entry.star(y=y, x=x), airmass))
    return tuple(found)


def units_of(inputs: Sequence[DcrInput]) -> CoaddUnit:
    """Return the unit of the model.

    Raises
    ------
    IncompatibleError
        If units do not fit together.
    """
    return common_unit([entry.facts for entry in inputs], CoaddConfig())


def region_exposure(
    rows: Exposure,
    entry: TileInput,
    tile: Tile,
    place: int,
    bad_planes: tuple[str, ...],
) -> RegionExposure:
    """Return what an exposure shows of a piece of sky, in common units.

    Parameters
    ----------
    rows : Exposure
        The rows of the piece, over the whole width of the image.
    entry : TileInput
        What else is known.
    tile : Tile
        The piece.
    place : int
        Number of the exposure.
    bad_planes : tuple of str
        Planes of pixels that do not count.
    """
    columns = tile.outer.columns
    usable = usable_pixels(rows, bad_planes)[:, columns]
    image = np.where(usable, rows.image[:, columns] * np.float32(entry.scale), 0.0)
    variance = np.where(usable, rows.variance[:, columns] * np.float32(entry.scale**2), 1.0)
    return RegionExposure(
        image=image.astype(np.float32),
        variance=variance.astype(np.float32),
        usable=usable,
        weight=entry.weight,
        dy=tile.dy[place],
        dx=tile.dx[place],
        psf=entry.star,
    )


def model_psf(
    inputs: Sequence[DcrInput], unit: CoaddUnit, shape: tuple[int, int], *, psf_aware: bool
) -> Psf | None:
    """Return the PSF of a model: the mean of the exposures', or the sharpest of them.

    Parameters
    ----------
    inputs : sequence of DcrInput
        The exposures.
    unit : CoaddUnit
        Common unit, for weights.
    shape : tuple of int
        Shape ``(ny, nx)``.
    psf_aware : bool
        Whether the model has the sharpest PSF.

    Returns
    -------
    Psf or None
        None if an exposure that is used has none.
    """
    pairs = [
        (entry, 1.0 / (entry.facts.mean_variance * scale**2))
        for entry, scale in zip(inputs, unit.scales, strict=True)
        if entry.used and entry.facts.mean_variance > 0.0
    ]
    psfs = [(entry.facts.psf, weight) for entry, weight in pairs if entry.facts.psf is not None]
    if not psfs or len(psfs) < len(pairs):
        return None
    if not psf_aware:
        return merged_psf(psfs, shape)
    middle = {"y": (shape[0] - 1) / 2.0, "x": (shape[1] - 1) / 2.0}

    def sharpness(entry: DcrInput) -> float:
        star = entry.star(**middle)
        return 0.0 if star is None else float(np.square(star).sum())

    return max((entry for entry, _ in pairs), key=sharpness).psf


def mean_exposure(
    exposures: Iterable[Exposure],
    inputs: Sequence[DcrInput],
    unit: CoaddUnit,
    bad_planes: tuple[str, ...],
) -> Exposure:
    """Return the weighted mean of exposures, in common units, with the planes of none.

    Parameters
    ----------
    exposures : iterable of Exposure
        The exposures, each needed once.
    inputs : sequence of DcrInput
        What is known of them.
    unit : CoaddUnit
        Common unit.
    bad_planes : tuple of str
        Planes of pixels that do not count.
    """
    total = summed = noise = np.zeros(0)
    for exposure, entry, scale in zip(exposures, inputs, unit.scales, strict=True):
        if not summed.size:
            total, summed, noise = np.zeros((3, *exposure.shape))
        variance = entry.facts.mean_variance * scale**2
        if not entry.used or not variance > 0.0:
            continue
        usable = usable_pixels(exposure, bad_planes)
        weight = usable / variance
        total += np.where(usable, exposure.image, 0.0) * (weight * scale)
        noise += np.where(usable, exposure.variance, 0.0) * np.square(weight * scale)
        summed += weight
    covered = summed > 0.0
    image = np.divide(total, summed, out=np.full_like(total, np.nan), where=covered)
    variance_of_mean = np.divide(
        noise, np.square(summed), out=np.full_like(noise, np.inf), where=covered
    )
    return Exposure(
        image.astype(np.float32),
        Mask.empty(image.shape).with_flagged(~covered, "NO_DATA"),
        variance_of_mean.astype(np.float32),
        name="the mean of the exposures",
    )


def scale_of_template(template: Exposure, unit: CoaddUnit) -> float:
    """Return the factor that brings a template to common units.

    Raises
    ------
    IncompatibleError
        If only one of both is calibrated, or units without calibration differ.
    """
    if unit.zero_point is not None and template.calibration is not None:
        return template.calibration.factor_to_zero_point(unit.zero_point)
    if (unit.zero_point is None) == (template.calibration is None) and template.unit == unit.name:
        return 1.0
    raise IncompatibleError(
        f"{template.name} is in {template.unit or 'no unit'}, the exposures are in "
        f"{unit.name or 'no unit'}.",
        hint="Give a template with the calibration of the exposures.",
    )
