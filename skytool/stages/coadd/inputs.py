"""The inputs of a coadd: whether they fit together, and what each counts."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from skytool.core.statistics import sample_statistics
from skytool.errors import IncompatibleError
from skytool.models.keywords import is_wcs_keyword
from skytool.models.photometry import NANOJANSKY_ZERO_POINT, PhotometricCalibration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from astropy.io import fits
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure, Origin
    from skytool.models.psf.coadd import CoaddPsf
    from skytool.models.psf.kinds import Psf
    from skytool.stages.coadd.config import CoaddConfig


class Warp(Protocol):
    """A warp of which only the header has been read."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)``."""

    @property
    def origin(self) -> Origin:
        """Place of the first pixel in the parent frame."""

    def wcs(self) -> WCS | None:
        """Celestial coordinates, if it has any."""

    @property
    def header(self) -> fits.Header:
        """Cards of the image and of the primary."""


@dataclass(frozen=True, eq=False)
class CoaddInput:
    """What is known of an input beside its pixels.

    Parameters
    ----------
    name : str
        What messages call it.
    unit : str
        Its unit.
    shape : tuple of int
        Shape ``(ny, nx)``.
    calibration : PhotometricCalibration or None
        What one unit is in nanojansky.
    psf : CoaddPsf or None
        Its PSF.
    header : `~astropy.io.fits.Header`
        Its observation cards.
    bits : mapping of str to int
        Its mask planes.
    mean_variance : float
        Clipped mean variance of its usable pixels [unit squared]; NaN if there is none.
    """

    name: str
    unit: str
    shape: tuple[int, int]
    calibration: PhotometricCalibration | None
    psf: CoaddPsf | None
    header: fits.Header
    bits: Mapping[str, int]
    mean_variance: float

    @classmethod
    def from_exposure(cls, exposure: Exposure, config: CoaddConfig) -> CoaddInput:
        """Return what a coadd needs to know of an exposure."""
        unusable = exposure.mask.any_of(config.bad_planes) | ~np.isfinite(exposure.image)
        variance = sample_statistics(exposure.variance, unusable).clip_mean
        return cls(
            name=exposure.name,
            unit=exposure.unit,
            shape=exposure.shape,
            calibration=exposure.calibration,
            psf=_warp_psf(exposure.psf, exposure.shape),
            header=exposure.header,
            bits=exposure.mask.bits,
            mean_variance=variance,
        )

    def renumbered(self, numbers: Mapping[int, int]) -> CoaddInput:
        """Return the same input with other numbers for the detectors behind its PSF."""
        if self.psf is None:
            return self
        psf = self.psf.changed(lambda entry: replace(entry, id=numbers.get(entry.id, entry.id)))
        return replace(self, psf=psf)


def _warp_psf(psf: Psf | None, shape: tuple[int, int]) -> CoaddPsf | None:
    """Return the PSF of a warp; that of another image becomes one of a single input."""
    if psf is None:
        return None
    from skytool.models.psf.coadd import CoaddPsf
    from skytool.models.psf.input import PsfInput

    if isinstance(psf, CoaddPsf):
        return psf
    return CoaddPsf((PsfInput.of_image(psf, shape, good_pixels=shape[0] * shape[1]),), shape)


@dataclass(frozen=True)
class CoaddUnit:
    """Unit of a coadd, and the factors of its inputs.

    Parameters
    ----------
    name : str
        FITS unit; empty if it has no name.
    zero_point : float or None
        AB magnitude of one unit; None if the inputs are not calibrated.
    scales : tuple of float
        Factor from the unit of each input.
    """

    name: str
    zero_point: float | None
    scales: tuple[float, ...]

    @property
    def calibration(self) -> PhotometricCalibration | None:
        """What one unit is in nanojansky."""
        if self.zero_point is None:
            return None
        return PhotometricCalibration.from_zero_point(self.zero_point)


def check_warps(warps: Sequence[Warp]) -> str:
    """Return the filter of warps that can be added.

    Raises
    ------
    IncompatibleError
        If their grids, filters or kinds differ.
    """
    from skytool.models.observation.observation import check_single_filter, observation_from_header

    filter_name = check_single_filter(
        (warp.name, observation_from_header(warp.header)) for warp in warps
    )
    kinds = {str(warp.header.get("WARPTYPE", "direct")): warp.name for warp in warps}
    if len(kinds) > 1:
        (kind, name), (other, another) = list(kinds.items())[:2]
        raise IncompatibleError(
            f"{name} is a {kind} warp, {another} a {other} one: their PSFs do not mix.",
            hint="Give warps of one kind.",
        )
    first = warps[0]
    cards = _place(first)
    unlike = [warp for warp in warps[1:] if _place(warp) != cards]
    if unlike:
        _check_grids(first, unlike)
    return filter_name


def _check_grids(first: Warp, unlike: Sequence[Warp]) -> None:
    """Refuse warps whose coordinates, written in another way, are not those of the first."""
    from skytool.stages.match_bg.frames import common_frame

    frame = common_frame([first, *unlike])
    if not frame.is_single:
        moved = next(warp for warp in unlike if warp.origin != first.origin)
        names = shlex.quote(str(moved.path)), shlex.quote(str(first.path))
        raise IncompatibleError(
            f"{first.name} and {moved.name} are parts of one grid that begin at other pixels: "
            f"(x, y) = {first.origin[::-1]} and {moved.origin[::-1]}.",
            hint=f"Bring it to that grid: skytool warp {names[0]} --like {names[1]} -o OUT.fits",
        )


def _place(warp: Warp) -> tuple[object, ...]:
    """Return the cards that say where the pixels of a warp are; equal ones need no computing."""
    header = warp.header
    cards = [(key, header[key]) for key in header if is_wcs_keyword(key)]
    return (warp.shape, warp.origin, *sorted(cards, key=str))


def common_unit(inputs: Sequence[CoaddInput], config: CoaddConfig) -> CoaddUnit:
    """Return the unit in which inputs are added.

    Raises
    ------
    IncompatibleError
        If an input is not calibrated and others are, or units differ.
    """
    calibrated = [entry for entry in inputs if entry.calibration is not None]
    first = inputs[0]
    zero_point: float | None
    if config.units == "zeropoint":
        name, zero_point = "", config.zeropoint
    elif config.units == "njy" or (config.units == "auto" and calibrated):
        name, zero_point = "nJy", NANOJANSKY_ZERO_POINT
    else:
        name = first.unit
        zero_point = first.calibration.zero_point if first.calibration else None
    if zero_point is None:
        for other in inputs:
            if other.unit != first.unit or other.calibration is not None:
                raise IncompatibleError(
                    f"{first.name} is in {first.unit or 'no unit'} without a calibration, "
                    f"{other.name} in {other.unit or 'no unit'}.",
                    hint="Give warps in one unit, or with zero points.",
                )
        return CoaddUnit(name, None, (1.0,) * len(inputs))
    scales = []
    for entry in inputs:
        if entry.calibration is None:
            raise IncompatibleError(
                f"{entry.name} has no photometric calibration.",
                hint="Give --flux-keyword, or leave it out.",
            )
        scales.append(entry.calibration.factor_to_zero_point(zero_point))
    return CoaddUnit(name, zero_point, tuple(scales))


def visit_weights(
    inputs: Sequence[CoaddInput], scales: Sequence[float], config: CoaddConfig
) -> NDArray[np.float64]:
    """Return the weight of every input [1 / unit of the coadd squared]; zero without a pixel."""
    variances = np.array([entry.mean_variance for entry in inputs]) * np.square(scales)
    usable = np.isfinite(variances) & (variances > 0.0)
    if config.weight == "equal":
        return usable.astype(np.float64)
    return np.divide(1.0, variances, out=np.zeros(len(inputs)), where=usable)
