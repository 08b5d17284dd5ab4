"""Warps of a field at several hour angles, smeared by refraction, as files."""

import math

import numpy as np
from astropy.io import fits

from skytool.io.fits import write_hdus
from skytool.models.exposure import Exposure
from skytool.models.exposure_hdus import primary_header, to_hdus
from skytool.models.mask import Mask
from skytool.models.photometry import PhotometricCalibration
from skytool.models.psf.kinds import ConstantPsf
from skytool.models.sky.geometry import TargetGrid
from tests.stages.chromatic import MIDDLE, SCALE, WIDTH, Sky, stamp

LATITUDE, DECLINATION = -30.2, -30.0
NOISE = 5.0
HOURS = (-3.6, -2.7, -1.5, 0.6, 2.2, 3.1, 3.8)
BAND = ("--effective-wavelength", MIDDLE, "--bandwidth", WIDTH)


def horizontal(hours):
    """Return altitude, azimuth and parallactic angle of the field [rad]."""
    hour, dec, lat = math.radians(15 * hours), math.radians(DECLINATION), math.radians(LATITUDE)
    sine = math.sin(dec) * math.sin(lat) + math.cos(dec) * math.cos(lat) * math.cos(hour)
    azimuth = math.atan2(
        -math.cos(dec) * math.sin(hour),
        math.sin(dec) * math.cos(lat) - math.cos(dec) * math.sin(lat) * math.cos(hour),
    )
    angle = math.atan2(
        math.sin(hour), math.cos(dec) * math.tan(lat) - math.sin(dec) * math.cos(hour)
    )
    return math.asin(sine), azimuth, angle


class Field:
    """A sky that can be observed at any hour angle."""

    def __init__(self, shape=(96, 118), number=12, seed=4):
        rng = np.random.default_rng(seed)
        self.sky = Sky.random(rng, shape, number, faintest=4.0, brightest=4.8)
        self.grid = TargetGrid.from_center(150.0, DECLINATION, SCALE, shape)

    def truth(self, hours):
        altitude, _, angle = horizontal(hours)
        # east is at smaller x
        return self.sky.exposure(1 / math.sin(altitude), -angle)

    def exposure(self, hours, *, seed=0, noise=NOISE, **cards):
        altitude, azimuth, _ = horizontal(hours)
        image = self.truth(hours) + np.random.default_rng(seed).normal(
            scale=noise, size=self.sky.shape
        )
        header = fits.Header()
        header["FILTER"], header["VISIT"] = "g", int(1000 + 100 * (hours + 6))
        values = {
            "BORE-RA": 150.0, "BORE-DEC": DECLINATION, "BORE-ALT": math.degrees(altitude),
            "BORE-AZ": math.degrees(azimuth) % 360, "OBS-LAT": LATITUDE, "OBS-LONG": -70.8,
            "OBS-ELEV": 2663.0, "AIRTEMP": 10.0, "AIRPRESS": 73892.0, "HUMIDITY": 40.0,
            **cards,
        }  # fmt: skip
        for key, value in values.items():
            if value is not None:
                header[key] = value
        return Exposure(
            image.astype("f4"),
            Mask.empty(image.shape),
            np.full(image.shape, NOISE**2, np.float32),
            wcs=self.grid.wcs,
            unit="nJy",
            calibration=PhotometricCalibration.from_zero_point(31.4),
            psf=ConstantPsf(stamp(4.0)),
            header=header,
        )


def write(exposure, path, **changes):
    exposure = exposure.with_values(**changes)
    primary = primary_header(exposure, kind="WARP", stage="warp")
    write_hdus(path, to_hdus(exposure), primary=primary, overwrite=True)
    return path


def write_night(folder, field, hours=HOURS, **cards):
    """Write a warp for each hour angle, and return the files."""
    folder.mkdir(exist_ok=True)
    return [
        write(field.exposure(hour, seed=number, **cards), folder / f"warp{number}.fits")
        for number, hour in enumerate(hours)
    ]
