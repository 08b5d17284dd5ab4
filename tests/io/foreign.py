"""Small made-up files in the layouts of other programs."""

from typing import NamedTuple

import numpy as np
import pytest
from astropy.io import fits

SHAPE = (90, 70)
SKY, RMS = 120.0, 8.0
ESTIMATED = pytest.mark.filterwarnings("ignore:.*variance from the scatter of the sky")


class Planes(NamedTuple):
    """Pixels of an exposure: the sky of `SKY`, noise of `RMS` and one star."""

    image: np.ndarray
    variance: np.ndarray


def planes(rng, *, shape=SHAPE, sky=SKY):
    y, x = np.indices(shape)
    star = 5000.0 * np.exp(-0.5 * ((y - 40) ** 2 + (x - 31) ** 2) / 2.1**2)
    image = (rng.normal(sky, RMS, shape) + star).astype(np.float32)
    return Planes(image, (RMS**2 + star / 2.0).astype(np.float32))


def wcs_header(*, scale=0.25, ra=150.1, dec=2.3, y0=0, x0=0):
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = ra, dec
    header["CRPIX1"], header["CRPIX2"] = 33.0 - x0, 52.0 - y0
    header["CD1_1"], header["CD2_2"] = -scale / 3600, scale / 3600
    header["CD1_2"], header["CD2_1"] = 0.0, 0.0
    header["CUNIT1"], header["CUNIT2"] = "deg", "deg"
    header["RADESYS"] = "ICRS"
    return header


def primary(**cards):
    hdu = fits.PrimaryHDU()
    hdu.header.update(cards)
    return hdu


def image_hdu(data, name=None, *, header=None, ver=None, compressed=False, **cards):
    kind = fits.CompImageHDU if compressed else fits.ImageHDU
    options = {"quantize_level": 0.0, "compression_type": "GZIP_2"} if compressed else {}
    hdu = kind(data, header=header, name=name, **options)
    if ver is not None:
        hdu.ver = ver
    hdu.header.update(cards)
    return hdu


def write(path, *hdus):
    fits.HDUList(list(hdus)).writeto(path)
    return str(path)


def planes_at(exposure, y, x):
    """Return the names of the planes that a pixel has."""
    value = exposure.mask.array[y, x]
    return {name for name, bit in exposure.mask.bits.items() if value & (1 << bit)}


def assert_planes_agree(exposure):
    """Check the rule of all exposures: NaN, NO_DATA and infinite variance are the same pixels."""
    nothing = exposure.mask.any_of(["NO_DATA"])
    assert np.array_equal(nothing, np.isnan(exposure.image))
    assert np.array_equal(nothing, np.isinf(exposure.variance))
    assert (exposure.variance > 0).all()
    assert exposure.image.dtype == exposure.variance.dtype == np.float32
    assert exposure.image.dtype.isnative
    assert exposure.mask.array.dtype == np.int32
