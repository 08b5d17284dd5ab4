"""Small FITS files for the tests of reading and writing."""

import io

import numpy as np
from astropy.io import fits

SHAPE = (23, 31)


def plane(rng, dtype="f4"):
    """Return an image in which no two pixels are equal, with a value that is missing."""
    image = rng.permutation(np.arange(SHAPE[0] * SHAPE[1])).reshape(SHAPE).astype(dtype)
    if image.dtype.kind == "f":
        image += rng.normal(size=SHAPE).astype(dtype) / 100
        image[3, 5] = np.nan
    return image


def extensions(rng):
    """Return image, mask, variance and a table."""
    variance = 2 + plane(rng)
    variance[3, 5] = np.inf
    mask = rng.integers(0, 1 << 30, SHAPE).astype("i4")
    columns = [
        fits.Column("NAME", "5A", array=["one", "three"]),
        fits.Column("X", "D", unit="pixel", array=[1.5, -2.25]),
    ]
    return [
        fits.ImageHDU(plane(rng), name="IMAGE"),
        fits.ImageHDU(mask, name="MASK"),
        fits.ImageHDU(variance, name="VARIANCE"),
        fits.BinTableHDU.from_columns(columns, name="INPUTS"),
    ]


def as_bytes(*hdus):
    """Return a FITS file as astropy writes it."""
    whole = io.BytesIO()
    first = [] if isinstance(hdus[0], fits.PrimaryHDU) else [fits.PrimaryHDU()]
    fits.HDUList([*first, *hdus]).writeto(whole)
    return whole.getvalue()
