"""SWarp and SCAMP: one image, and its weights in a file beside it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from skytool.errors import SkytoolWarning
from skytool.io.exports.cards import image_header, observation_header
from skytool.io.filespec import FileSpec
from skytool.io.fits import write_foreign
from skytool.models.sky.tpv import tpv_header

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from skytool.models.exposure import Exposure


def paths(output: Path, header: Mapping[str, Any], name: str) -> tuple[Path, ...]:
    """Return the image ``x.fits`` and its weights ``x.weight.fits``."""
    del header, name  # there are two files of any exposure
    spec = FileSpec(output)
    return output, output.with_name(f"{spec.stem}.weight{spec.suffix}")


def write(
    exposure: Exposure,
    output: Path,
    *,
    bad_planes: Sequence[str],
    notes: fits.Header,
    overwrite: bool,
) -> None:
    """Write the image, 0 where there is no value, and the weights, 0 where a pixel is bad.

    Weights are inverse variances: ``-WEIGHT_TYPE MAP_WEIGHT``. SWarp does not know SIP: such a
    distortion is written as TPV, which is the same.
    """
    nothing = np.isnan(exposure.image)
    bad = exposure.mask.any_of(bad_planes) | nothing
    weight = np.where(bad, np.float32(0.0), np.float32(1.0) / exposure.variance)
    image = np.where(nothing, np.float32(0.0), exposure.image)
    header = _known_to_swarp(exposure)
    weight_header = header.copy()
    weight_header.remove("BUNIT", ignore_missing=True)
    weight_header.extend(notes)
    header.extend(observation_header(exposure, notes))
    image_path, weight_path = paths(output, exposure.header, exposure.name)
    write_foreign(
        {
            image_path: [fits.PrimaryHDU(image, header)],
            weight_path: [fits.PrimaryHDU(weight, weight_header)],
        },
        overwrite=overwrite,
    )


def _known_to_swarp(exposure: Exposure) -> fits.Header:
    """Return the cards of the image, with a SIP distortion written as TPV."""
    header = image_header(exposure)
    if exposure.wcs is None or exposure.wcs.sip is None:
        return header
    theirs = tpv_header(exposure.wcs)
    if theirs is None:
        warnings.warn(
            f"{exposure.name}: SWarp does not know its SIP distortion, and it cannot be written "
            "as TPV.",
            SkytoolWarning,
            stacklevel=2,
        )
        return header
    theirs.extend(card for card in header.cards if card.keyword in {"BUNIT", "LTV1", "LTV2"})
    return theirs
