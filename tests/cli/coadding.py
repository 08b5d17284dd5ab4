"""Small warps that the tests of coadds share, written with astropy alone."""

import numpy as np
from astropy.io import fits

from tests.cli.warping import DEC, RA, run, sky_cards, write_exposure

SHAPE = (60, 75)
SKY = sky_cards(SHAPE, ra=RA, dec=DEC, rotation=12)
NANOJANSKY = 31.4


def write_warp(path, image, *, visit=101, sky=SKY, unit="nJy", origin=(0, 0), **values):
    """Write an image as a warp of a visit, calibrated in nanojansky unless told otherwise."""
    cards = {
        "VISIT": visit,
        "FILTER": "r",
        "EXPTIME": 30.0,
        "MJD-OBS": 60000.0 + (visit or 0) / 100,
        "MAGZERO": NANOJANSKY,
        "TELESCOP": "small",
        **{key: values.pop(key) for key in list(values) if key.isupper()},
    }
    if origin != (0, 0):
        sky = fits.Header(sky, copy=True)
        sky["LTV1"], sky["LTV2"] = -origin[1], -origin[0]
    cards = {key: value for key, value in cards.items() if value is not None}
    return write_exposure(path, image, sky=sky, unit=unit, **values, **cards)


def coadded(paths, output, *options):
    """Add warps and return the open file, its planes in native order."""
    result = run("coadd", *paths, "-o", output, "--overwrite", *options)
    assert result.exit_code == 0, result.output
    return read(output)


class Coadd:
    """What a coadd holds."""

    def __init__(self, hdus):
        self.image, self.mask, self.variance, self.count = (
            np.array(hdus[name].data, hdus[name].data.dtype.newbyteorder("="))
            for name in ("IMAGE", "MASK", "VARIANCE", "NIMAGE")
        )
        self.primary = hdus[0].header.copy()
        self.header = hdus["IMAGE"].header.copy()
        self.bits = {
            key[3:]: value for key, value in hdus["MASK"].header.items() if key.startswith("MP_")
        }
        self.names = [hdu.name for hdu in hdus]
        self.tables = {
            hdu.name: {name: np.array(hdu.data[name]) for name in hdu.columns.names}
            for hdu in hdus
            if isinstance(hdu, fits.BinTableHDU)
        }

    def flagged(self, *planes):
        """Return where any of the planes is set."""
        return (self.mask & sum(1 << self.bits[name] for name in planes)) != 0


def read(path):
    """Return what a coadd holds."""
    with fits.open(path) as hdus:
        return Coadd(hdus)
