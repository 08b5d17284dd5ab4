"""A small exposure that has everything, and its file in the layout of the program."""

import numpy as np
from astropy.io import fits

from skytool.core.background.chebyshev import ChebyshevModel
from skytool.io.fits import write_hdus
from skytool.models.background.hdus import (
    Background,
    BackgroundLayer,
    ChebyshevBackground,
    background_to_hdus,
)
from skytool.models.exposure import Exposure, Origin
from skytool.models.exposure_hdus import primary_header, to_hdus
from skytool.models.mask import Mask
from skytool.models.photometry import PhotometricCalibration
from skytool.models.psf.kinds import GridPsf
from skytool.models.records.provenance import InputRecord, SettingRecord, config_table, inputs_table
from skytool.models.sky.celestial import celestial_wcs
from tests.io.foreign import SHAPE, planes, wcs_header

FLAGS = {
    "BAD": (slice(4, 9), slice(3, 5)),
    "SAT": (slice(39, 42), slice(30, 33)),
    "CR": (slice(70, 72), slice(10, 20)),
    "SUSPECT": (slice(80, 84), slice(50, 53)),
    "DETECTED": (slice(35, 46), slice(26, 37)),
    "EDGE": (slice(None), slice(66, None)),
    "NO_DATA": (slice(0, 3), slice(60, 66)),
}
"""Where the planes are set; SAT lies within DETECTED."""

SIP = {"A_ORDER": 2, "A_2_0": 3e-5, "A_1_1": -2e-5, "B_ORDER": 2, "B_0_2": 4e-5, "B_1_1": 1e-5}


def gaussians(*sigmas, half_size=7):
    y, x = np.indices((2 * half_size + 1,) * 2) - half_size
    return np.stack([np.exp(-0.5 * (y**2 + x**2) / sigma**2) for sigma in sigmas])


def exposure(rng, *, sip=False, **changes):
    """Return an exposure with flags, PSF, calibration, background, records and an odd origin."""
    pixels = planes(rng)
    header = wcs_header()
    if sip:
        header.update(SIP)
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    mask = Mask.empty(SHAPE)
    for plane, where in FLAGS.items():
        mask.array[where] |= mask.bitmask([plane])
    image, variance = pixels.image.copy(), pixels.variance.copy()
    image[FLAGS["NO_DATA"]], variance[FLAGS["NO_DATA"]] = np.nan, np.inf
    surface = ChebyshevModel(np.array([[100.0, 3.0], [-7.0, 0.0]]), SHAPE)
    layer = BackgroundLayer(ChebyshevBackground(surface), "SUBTRACT", 1.5, "match-bg")
    made = Exposure(
        image,
        mask,
        variance,
        wcs=celestial_wcs(header, name="made"),
        unit="adu",
        calibration=PhotometricCalibration.from_zero_point(27.25, 0.01),
        psf=GridPsf(gaussians(2.1, 2.4), np.array([10.0, 80.0]), np.array([33.0, 33.0])),
        header=fits.Header(
            [
                ("VISIT", 12),
                ("DETECTOR", 3),
                ("FILTER", "r"),
                ("EXPTIME", 30.0),
                ("AIRMASS", 1.25),
                ("OBJECT", "field 7"),
            ]
        ),
        origin=Origin(17, -4),
        name="rich.fits",
        extensions=(
            *background_to_hdus(Background((layer,), "adu")),
            inputs_table([InputRecord("warp-input", "raw12.fits", scale=2.5, weight=1.0)]),
            config_table(
                [
                    SettingRecord("warp", "kernel", '"lanczos5"', "command line"),
                    SettingRecord("warp", "fill", '"interp"', "default"),
                ]
            ),
        ),
    )
    return made.with_values(**changes)


def write_ours(path, made, *, compress="none", **options):
    """Write an exposure as a stage of the program does."""
    header = primary_header(made, kind="EXPOSURE", stage="match-bg", history="skytool 0.1.0 x: y")
    write_hdus(path, to_hdus(made), primary=header, compress=compress, **options)
    return str(path)
