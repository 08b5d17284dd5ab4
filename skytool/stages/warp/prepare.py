"""One detector made ready for resampling: background, units, unusable pixels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.errors import IncompatibleError
from skytool.models.photometry import NANOJANSKY_ZERO_POINT

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from skytool.models.background.hdus import Background
    from skytool.models.exposure import Exposure
    from skytool.models.mask import Mask
    from skytool.stages.warp.config import WarpConfig

_PER_AREA = re.compile(r"/ ?(sr|arcsec|deg)|(sr|arcsec2?|deg2?)\^?-\d|sr-1")


@dataclass(frozen=True)
class FluxUnit:
    """Unit of a warp.

    Parameters
    ----------
    name : str
        FITS unit; empty if it has no name.
    zero_point : float or None
        AB magnitude of one unit; None if the exposures are not calibrated, or if it depends on
        the area of pixels.
    """

    name: str
    zero_point: float | None

    @property
    def per_area(self) -> bool:
        """Whether it is one per area on the sky, as MJy/sr."""
        return _PER_AREA.search(self.name) is not None


@dataclass(frozen=True, eq=False)
class Prepared:
    """Planes of a detector in the unit of the warp, without unusable values.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
        Finite wherever a value could be filled in [unit of the warp].
    variance : ndarray of float32, shape (ny, nx)
        Variance [unit of the warp squared]; of a filled value, that of the filling.
    mask : ndarray of int32, shape (ny, nx), or None
        Planes in the bits of the warp, INTRP where a value was filled in; None if none is set.
    unusable : ndarray of bool, shape (ny, nx)
        Pixels that were filled in or have no value.
    wcs : `~astropy.wcs.WCS`
        Celestial coordinates of the detector.
    name : str
        What messages call it.
    per_area : bool
        Whether the unit of the warp is one per area on the sky, as MJy/sr.
    scale : float
        Factor from the unit of the input to that of the warp, its mean where it varies.
    sky_added, sky_subtracted : float
        Median of the background added and of the sky correction subtracted [unit of the input].
    """

    image: NDArray[np.float32]
    variance: NDArray[np.float32]
    mask: NDArray[np.int32] | None
    unusable: NDArray[np.bool_]
    wcs: WCS
    name: str
    per_area: bool
    scale: float
    sky_added: float
    sky_subtracted: float

    @property
    def filled(self) -> float:
        """Share of the pixels without a usable value."""
        return float(self.unusable.mean())


def unit_of_visit(config: WarpConfig, first: Exposure) -> FluxUnit:
    """Return the unit of a warp whose first detector is ``first``."""
    if config.units == "njy" or (config.units == "auto" and first.calibration is not None):
        return FluxUnit("nJy", NANOJANSKY_ZERO_POINT)
    if config.units == "zeropoint":
        return FluxUnit("", config.zeropoint)
    if FluxUnit(first.unit, None).per_area:
        return FluxUnit(first.unit, None)  # means the same whatever the pixels: no factor
    return FluxUnit(first.unit, first.calibration.zero_point if first.calibration else None)


def prepare(
    exposure: Exposure,
    config: WarpConfig,
    unit: FluxUnit,
    planes: Mask,
    *,
    background: Background | None,
    sky: Background | None,
    flat_ratio: Background | None = None,
) -> Prepared:
    """Return the planes of a detector ready to be resampled.

    The background is added and the sky correction subtracted, the planes are brought to the unit
    of the warp, and unusable pixels are filled in.

    Parameters
    ----------
    exposure : Exposure
        The detector; it is not changed.
    config : WarpConfig
        Settings.
    unit : FluxUnit
        Unit of the warp.
    planes : Mask
        A mask with the planes of the warp.
    background, sky : Background or None
        Models to add and to subtract.
    flat_ratio : Background or None
        What both are multiplied by before: the exposure counts as divided by it meanwhile.

    Raises
    ------
    IncompatibleError
        If the exposure has no WCS, is not calibrated as the warp is, or is in another unit than a
        model.
    """
    if exposure.wcs is None:
        raise IncompatibleError(f"{exposure.name} has no celestial WCS.")
    image, variance = exposure.image, exposure.variance
    skies = {"background": background, "sky correction": sky}
    levels = dict.fromkeys(skies, 0.0)
    for kind, model in skies.items():
        if model is not None:
            pixels = _in_unit_of(exposure, model, kind)
            if flat_ratio is not None:
                pixels = pixels * flat_ratio.evaluate(exposure.shape)
            levels[kind] = float(np.median(pixels))
            image = image + pixels if kind == "background" else image - pixels
    image, variance, scale = _scaled(exposure, image, variance, unit, config)
    unusable = exposure.mask.any_of(config.fill_planes) | ~np.isfinite(image)
    mask = exposure.mask.renumbered(planes.bits)
    if unusable.any():
        from skytool.core.noise.fill import fill_bad
        from skytool.core.noise.fill_variance import fill_variance

        image, filled = fill_bad(image, unusable, method=config.fill)
        if config.fill != "none":
            variance = fill_variance(variance, image, unusable)
            mask = mask.with_flagged(filled, "INTRP")
    return Prepared(
        image=image,
        variance=variance,
        mask=mask.array if mask.array.any() else None,
        unusable=unusable,
        wcs=exposure.wcs,
        name=exposure.name,
        per_area=unit.per_area,
        scale=scale,
        sky_added=levels["background"],
        sky_subtracted=levels["sky correction"],
    )


def _in_unit_of(exposure: Exposure, model: Background, kind: str) -> NDArray[np.float32]:
    """Return the pixels of a model in the unit of an exposure."""
    pixels = model.evaluate(exposure.shape)
    if model.unit in {exposure.unit, ""}:
        return pixels
    if model.unit == "nJy" and exposure.calibration is not None:
        relative = exposure.calibration.relative_scale(exposure.shape)
        scale = np.float32(exposure.calibration.scale)
        return pixels / (scale if relative is None else scale * relative)
    raise IncompatibleError(
        f"the {kind} of {exposure.name} is in {model.unit}, the exposure in "
        f"{exposure.unit or 'no unit'}, and nothing says how to convert them.",
        hint="Set BUNIT of the model, or calibrate the exposure.",
    )


def _scaled(
    exposure: Exposure,
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    unit: FluxUnit,
    config: WarpConfig,
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Return image and variance in the unit of the warp, and the factor."""
    calibration = exposure.calibration
    if unit.zero_point is None:
        if exposure.unit != unit.name:
            raise IncompatibleError(
                f"{exposure.name} is in {exposure.unit or 'no unit'}, the first exposure of the "
                f"visit in {unit.name or 'no unit'}, and there is no calibration.",
                hint="Give exposures in one unit, or their zero points.",
            )
        return image, variance, 1.0
    if calibration is None:
        raise IncompatibleError(
            f"{exposure.name} has no photometric calibration.",
            hint="Give --flux-keyword, or --units input to keep the values as they are.",
        )
    scale = calibration.factor_to_zero_point(unit.zero_point)
    if scale == 1.0 and calibration.field is None and not config.calib_variance:
        return image, variance, scale
    factor = np.float32(scale / calibration.scale)
    image, variance = calibration.apply(image, variance, include_calib_var=config.calib_variance)
    if factor != 1.0:
        image *= factor
        variance *= factor * factor
    return image, variance, scale
