"""A match taken back: what was added is subtracted, what was multiplied divided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from skytool.core.windows import Window
from skytool.errors import IncompatibleError, InputError, NothingToDoError
from skytool.models.background.hdus import (
    Background,
    BackgroundLayer,
    ImageBackground,
    background_from_hdus,
)
from skytool.models.background.hdus import background_to_hdus as layers_to_hdus
from skytool.models.keywords import set_card
from skytool.models.mask import Mask
from skytool.stages.match_bg.config import EXTRAPOLATED
from skytool.stages.match_bg.flags import FLAGS, flags_hdu, without_flags
from skytool.stages.match_bg.stage import STAGE

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    from skytool.models.background.hdus import BackgroundModel
    from skytool.models.exposure import Exposure
    from skytool.stages.match_bg.stage import MatchedPiece

    Hdu: TypeAlias = "fits.ImageHDU | fits.BinTableHDU"

FIT_VARIANCE = "BKGFVAR"
"""EXTNAME of what was added to the variance."""

MAPS = ("MATCHDIF", "MATCHRES")
"""EXTNAMEs of the differences in cells before and after a match."""

CARDS = ("BKGREF", "BKGMODE", "BKGRMS", "BKGRATIO")
"""Cards of the primary that describe a match."""

_LAYER_NAMES = {"BKG", "BKGMASK", "BKGVAR", FIT_VARIANCE}
_NAMES = {*_LAYER_NAMES, FLAGS, *MAPS}
_STRIP = 256  # rows [pixel]


def with_layer(matched: MatchedPiece) -> Exposure:
    """Return a matched exposure with the record of the match among its extensions."""
    exposure = matched.exposure
    kept = list(exposure.extensions)
    version = 1 + max((hdu.ver or 1 for hdu in kept if hdu.name == "BKG"), default=0)
    background = Background((matched.layer,), exposure.unit)
    hdus: list[Hdu] = [*layers_to_hdus(background, origin=exposure.origin, extver=version)]
    if matched.scale != 1.0:
        set_card(hdus[0].header, "PHOTSCAL", matched.scale)
    if matched.new_plane:
        set_card(hdus[0].header, "BKGFLAG", matched.new_plane, "mask plane that was added")
    if matched.flagged is not None:
        hdus.append(flags_hdu(matched.flagged, EXTRAPOLATED, version=version))
    if matched.fit_variance is not None:
        hdus.append(_variance_hdu(matched.fit_variance, exposure, version))
    if matched.maps is not None:
        for name, values in zip(MAPS, matched.maps, strict=True):
            hdu = fits.ImageHDU(values.astype(np.float32), name=name, ver=version)
            if exposure.unit:
                hdu.header["BUNIT"] = exposure.unit
            hdus.append(hdu)
    return exposure.with_values(extensions=(*kept, *hdus))


def _variance_hdu(model: BackgroundModel, exposure: Exposure, version: int) -> fits.ImageHDU:
    """Return what was added to the variance as an extension."""
    layer = BackgroundLayer(model, operation="ADD", stage=STAGE)
    hdus = layers_to_hdus(Background((layer,)), extver=version)
    if len(hdus) > 1:  # cells have a mask and a variance of their own: simpler as an image
        image = ImageBackground(model.evaluate(exposure.shape))
        hdus = layers_to_hdus(Background((BackgroundLayer(image, "ADD", stage=STAGE),)))
    hdu = hdus[0]
    hdu.name, hdu.ver = FIT_VARIANCE, version
    return hdu


def undone(exposure: Exposure) -> Exposure:
    """Return an exposure as it was before it was matched.

    Only the last match is taken back. Pixels come back to the rounding of single precision, the
    mask and, unless the variance of the fit or a scale was applied, the variance bit by bit.

    Raises
    ------
    NothingToDoError
        If it was not matched.
    IncompatibleError
        If something else was done with its background afterwards.
    InputError
        If the record is damaged.
    """
    name = exposure.name
    layers = [hdu for hdu in exposure.extensions if hdu.name == "BKG"]
    if not layers:
        raise NothingToDoError(
            f"{name} has no layer of a background to take off.", hint="It was not matched."
        )
    last = max(layers, key=lambda hdu: hdu.ver or 1)
    version = last.ver or 1
    stage = str(last.header.get("BKGSTAGE", "")).strip()
    if stage != STAGE:
        raise IncompatibleError(
            f"{name}: the last change of its background was made by {stage or 'another program'}, "
            f"not by {STAGE}.",
            hint="Take that back first.",
        )
    parts = [h for h in exposure.extensions if _is_part(h, version) and h.name in _LAYER_NAMES]
    layer = background_from_hdus(parts, name=name).layers[0]
    image = _without(exposure.image, layer, name)
    variance = exposure.variance
    for hdu in (h for h in parts if h.name == FIT_VARIANCE):
        variance = _without(variance, _renamed(hdu, name), name)
    scale = _scale(last.header, name)
    calibration = exposure.calibration
    if scale != 1.0:
        image, variance = image / np.float32(scale), variance / np.float32(scale**2)
        calibration = None if calibration is None else calibration.scaled(1 / scale)
    mask = _without_plane(exposure.mask, last.header.get("BKGFLAG"))
    for hdu in exposure.extensions:
        if hdu.name == FLAGS and _is_part(hdu, version) and isinstance(hdu, fits.BinTableHDU):
            mask = without_flags(mask, hdu, name=name)
    header = exposure.header.copy()
    for key in CARDS:
        header.remove(key, ignore_missing=True)
    return exposure.with_values(
        image=image,
        variance=variance,
        header=header,
        mask=mask,
        calibration=calibration,
        extensions=tuple(h for h in exposure.extensions if not _is_part(h, version)),
    )


def _is_part(hdu: Hdu, version: int) -> bool:
    return hdu.name in _NAMES and (hdu.ver or 1) == version


def _scale(header: fits.Header, name: str) -> float:
    scale = header.get("PHOTSCAL", 1.0)
    if not isinstance(scale, float | int) or not 0 < scale < np.inf:
        raise InputError(f"{name}: PHOTSCAL {scale!r} of its background is no factor.")
    return float(scale)


def _renamed(hdu: Hdu, name: str) -> BackgroundLayer:
    """Return the layer that an extension of another name holds."""
    copy = fits.ImageHDU(hdu.data, hdu.header.copy(), name="BKG", ver=hdu.ver)
    return background_from_hdus([copy], name=name).layers[0]


def _without(plane: NDArray[np.float32], layer: BackgroundLayer, name: str) -> NDArray[np.float32]:
    """Return a plane without what a layer added."""
    shape = Window.whole((plane.shape[0], plane.shape[1])).shape
    out = np.empty_like(plane)
    for start in range(0, shape[0], _STRIP):
        rows = slice(start, min(start + _STRIP, shape[0]))
        try:
            surface = np.float32(layer.factor) * layer.model.evaluate(shape, rows=rows)
        except IncompatibleError as error:
            raise InputError(f"{name}: {error.message}", hint="The record is damaged.") from error
        if not np.isfinite(surface).all():
            raise InputError(
                f"{name}: the model of its background has no value in places.",
                hint="The record is damaged.",
            )
        out[rows] = plane[rows] - surface
    return out


def _without_plane(mask: Mask, plane: object) -> Mask:
    """Return a mask without a plane."""
    if not isinstance(plane, str) or plane not in mask.bits:
        return mask
    bits = dict(mask.bits)
    value = np.int32(~(1 << bits.pop(plane)))
    return Mask(mask.array & value, bits)
