"""Pairs of exposures of Gaussian stars that the tests of differences share."""

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from skytool.models.exposure import Exposure, Origin
from skytool.models.mask import Mask
from skytool.models.psf.kinds import ConstantPsf

SIGMA_TEMPLATE, SIGMA_SCIENCE, SCALE = 1.6, 2.4, 1.2
SHAPE = (400, 440)
STARS = 40
FWHM = 2.3548200450309493


def gaussian(sigma, half, *, y=0.0, x=0.0):
    """A Gaussian of sum one, sampled at pixel centres, its centre off the middle by y, x."""
    rows, columns = (np.arange(-half, half + 1) - at for at in (y, x))
    image = np.exp(-0.5 * (rows[:, None] ** 2 + columns**2) / sigma**2)
    return image / (2 * np.pi * sigma**2)


def places(rng, shape=SHAPE, count=STARS, border=25, apart=0.0):
    """Positions of stars, which may be asked to keep a distance."""
    found = []
    while len(found) < count:
        y, x = (rng.uniform(border, size - border) for size in shape)
        if all(np.hypot(y - a, x - b) >= apart for a, b in found):
            found.append((y, x))
    return np.array(found).T


def drawn(shape, y, x, flux, sigma):
    """An image of stars; sigma may be one for each."""
    image = np.zeros(shape)
    half = 24
    padded = np.pad(image, half)
    for at_y, at_x, light, width in zip(y, x, flux, np.broadcast_to(sigma, len(y)), strict=True):
        row, column = round(at_y), round(at_x)
        stamp = gaussian(width, half, y=at_y - row, x=at_x - column)
        padded[row : row + 2 * half + 1, column : column + 2 * half + 1] += light * stamp
    return padded[half:-half, half:-half]


def wcs_of(shape, shift=(0, 0)):
    """Tangential coordinates whose reference point is the same on the sky for any shift."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.1, 2.3]
    wcs.wcs.cdelt = [-5e-5, 5e-5]
    wcs.wcs.crpix = [shape[1] / 2 + 3 + shift[1], shape[0] / 2 - 2 + shift[0]]
    return wcs


def exposure(image, variance, sigma, *, name, shift=(0, 0), shape=None):
    """An exposure of an image; sigma is that of its PSF."""
    header = fits.Header({"FILTER": "r", "EXPTIME": 30.0, "DATE-OBS": "2026-01-02T03:04:05"})
    psf = sigma if not np.isscalar(sigma) else ConstantPsf(gaussian(sigma, 20))
    return Exposure(
        image.astype(np.float32),
        Mask.empty(image.shape),
        np.broadcast_to(np.float32(variance), image.shape).copy(),
        wcs=wcs_of(shape or image.shape, shift),
        unit="adu",
        psf=psf,
        header=header,
        origin=Origin(70, 110),
        name=name,
    )


def pair(
    rng,
    *,
    noise=1.0,
    shape=SHAPE,
    count=STARS,
    sigmas=(SIGMA_SCIENCE, SIGMA_TEMPLATE),
    scale=SCALE,
    variances=(1.0, 1.0),
    apart=0.0,
    fluxes=(2.9, 4.3),
):
    """A science image and a template of the same stars, with the stars' positions and fluxes."""
    y, x = places(rng, shape, count, apart=apart)
    flux = 10 ** rng.uniform(*fluxes, count)
    science = drawn(shape, y, x, scale * flux, sigmas[0])
    template = drawn(shape, y, x, flux, sigmas[1])
    if noise:
        science = science + rng.normal(size=shape) * np.sqrt(variances[0])
        template = template + rng.normal(size=shape) * np.sqrt(variances[1])
    return (
        exposure(science, variances[0], sigmas[0], name="science.fits"),
        exposure(template, variances[1], sigmas[1], name="template.fits"),
        (y, x, flux),
    )


def sky(shape, y, x, away=20, border=40):
    """Pixels away from stars and from the border."""
    free = np.ones(shape, bool)
    rows, columns = np.indices(shape)
    for at_y, at_x in zip(y, x, strict=True):
        free &= (rows - at_y) ** 2 + (columns - at_x) ** 2 > away**2
    free[:border] = free[-border:] = False
    free[:, :border] = free[:, -border:] = False
    return free


def correlation(image, good, dy, dx):
    """Correlation of good pixels with those a step away."""
    ny, nx = image.shape
    a = np.s_[max(0, -dy) : ny - max(0, dy), max(0, -dx) : nx - max(0, dx)]
    b = np.s_[max(0, dy) : ny - max(0, -dy), max(0, dx) : nx - max(0, -dx)]
    both = good[a] & good[b]
    return float(np.mean((image[a] * image[b])[both]) / np.mean(image[good] ** 2))
