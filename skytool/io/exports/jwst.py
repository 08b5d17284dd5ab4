"""Programs for HST and JWST: SCI, ERR and DQ, with the flags of JWST."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from skytool.io.exports.cards import image_header, observation_header, place_header
from skytool.io.fits import write_hdus
from skytool.models.keywords import set_card

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure
    from skytool.models.mask import Mask

_log = logging.getLogger(__name__)

FLAGS = {
    "BAD": (0, "DO_NOT_USE"),
    "SAT": (1, "SATURATED"),
    "CR": (4, "OUTLIER"),
    "NO_DATA": (9, "NON_SCIENCE"),
    "SUSPECT": (24, "UNRELIABLE_SLOPE"),
}
"""Bit of every plane that JWST has a flag for, and the name of the flag."""


def write(
    exposure: Exposure,
    output: Path,
    *,
    bad_planes: Sequence[str],
    notes: fits.Header,
    overwrite: bool,
    compress: str,
) -> None:
    """Write SCI, ERR and DQ.

    As in files of JWST, a pixel that is not to be used has the flag DO_NOT_USE, whatever other
    flag tells why; where there is no value, SCI and ERR are NaN. ``MP_`` cards name the bits.
    """
    nothing = np.isnan(exposure.image)
    bad = exposure.mask.any_of(bad_planes) | nothing
    quality = place_header(exposure)
    for plane, (bit, flag) in FLAGS.items():
        set_card(quality, f"MP_{plane}", bit, flag)
    error = np.where(nothing, np.float32(np.nan), np.sqrt(exposure.variance))
    hdus = [
        fits.ImageHDU(exposure.image, image_header(exposure), name="SCI"),
        fits.ImageHDU(error, image_header(exposure), name="ERR"),
        fits.ImageHDU(_flags(exposure.mask, bad, name=exposure.name), quality, name="DQ"),
    ]
    if exposure.psf is not None:
        hdus += exposure.psf.to_hdus()
    primary = observation_header(exposure, notes)
    write_hdus(output, hdus, primary=primary, overwrite=overwrite, compress=compress)


def _flags(mask: Mask, bad: NDArray[np.bool_], *, name: str) -> NDArray[np.uint32]:
    """Return the data-quality values of a mask."""
    values = bad.astype(np.uint32) << np.uint32(FLAGS["BAD"][0])
    for plane, (bit, _) in FLAGS.items():
        values |= mask.any_of([plane]).astype(np.uint32) << np.uint32(bit)
    used = int(np.bitwise_or.reduce(mask.array[~bad], axis=None))
    lost = [plane for plane, bit in mask.bits.items() if plane not in FLAGS and used >> bit & 1]
    if lost:
        _log.info("%s: JWST has no flag for %s, which is left out", name, ", ".join(lost))
    return values
