"""Exposures of star fields whose point spread function is known at every place."""

import numpy as np

from skytool.core.psf.adaptive_moments import adaptive_moments
from skytool.models.exposure import Exposure
from skytool.models.mask import Mask
from tests.simulate import SimulatedPsf
from tests.simulate.psf import Box

SHAPE = (560, 620)
FINE = 3  # samples per pixel at which stars are compared


def varying(fwhm, beta=3.0, shape=SHAPE, **options):
    """Return a PSF that is a fifth wider and of another shape at one end than at the other."""
    values = {
        "g1": 0.03,
        "g2": -0.02,
        "radius": 4.5 * fwhm,
        "fwhm_slope": (0.06, -0.05),
        "shear_slope": (0.03, -0.04),
    }
    return SimulatedPsf(fwhm, beta, shape=shape, **{**values, **options})


def positions(rng, n, shape=SHAPE, *, apart=0.0, margin=-0.5):
    """Return random positions, none of them nearer to another or to the border than asked."""
    found = np.empty((0, 2))
    while len(found) < n:
        new = rng.uniform(margin, np.array(shape) - 1 - margin)
        if not len(found) or np.hypot(*(found - new).T).min() >= apart:
            found = np.vstack([found, new])
    return found.T


def draw(image, psf, y, x, flux):
    """Add stars to an image."""
    for at_y, at_x, light in np.broadcast(y, x, flux):
        star, box = psf.image(y=at_y, x=at_x)
        rows, columns = (
            slice(max(start, 0), min(start + n, size))
            for start, n, size in zip((box.y0, box.x0), (box.ny, box.nx), image.shape, strict=True)
        )
        part = np.s_[
            rows.start - box.y0 : rows.stop - box.y0, columns.start - box.x0 : columns.stop - box.x0
        ]
        image[rows, columns] += light * star[part]


def field(rng, psf, y, x, flux, *, shape=SHAPE, sky=60.0, noise=True, flags=None, galaxies=()):
    """Return an exposure of stars with the noise of photons; 1 unit is 1 electron.

    `galaxies` are ``(y, x, flux, width)``: what the PSF makes of them is a wider star.
    """
    light = np.zeros(shape)
    draw(light, psf, y, x, flux)
    for at_y, at_x, total, wide in galaxies:
        draw(light, SimulatedPsf(wide, 3.0, radius=4 * wide), at_y, at_x, total)
    variance = light + sky
    image = light + (rng.normal(0, 1, shape) * np.sqrt(variance) if noise else 0.0)
    mask = Mask.empty(shape)
    for plane, where in (flags or {}).items():
        mask = mask.with_flagged(where, plane)
    return Exposure(image.astype(np.float32), mask, variance.astype(np.float32), name="field.fits")


def crowd(rng, psf, n=110, *, flux=(1e5, 1e6), shape=SHAPE, apart=0.0, **options):
    """Return an exposure of random stars, as many in every interval of magnitudes."""
    y, x = positions(rng, n, shape, apart=apart)
    return field(rng, psf, y, x, np.exp(rng.uniform(*np.log(flux), n)), shape=shape, **options)


def compared(psf, truth, shape=SHAPE, n=4):
    """Return the largest errors of a model at places all over an image.

    They are those of the sum of the second moments, relative; of the ellipticity; and the power of
    the difference over that of the star. Stars are compared with three samples per pixel: what
    moments of undersampled stars are depends on how they fall on pixels.
    """
    worst = np.zeros(3)
    for y in np.linspace(4, shape[0] - 5, n).round():
        for x in np.linspace(4, shape[1] - 5, n).round():
            worst = np.maximum(worst, differences(psf, truth, y, x))
    return dict(zip(("size", "ellipticity", "residual"), worst, strict=True))


def differences(psf, truth, y, x):
    """Return the three errors of a model at a place."""
    h, w = psf.shape
    profile = truth.at(y=y, x=x)
    box = Box(-(h // 2), -(w // 2), h, w)

    def true(dy, dx):
        image = profile.integrated(np.array([dy]), np.array([dx]), np.ones(1), box)
        return image / image.sum()

    def model(dy, dx):
        return psf.star(y=y, x=x, shape=(h, w), dy=dy, dx=dx)

    ours, theirs = finely(model, (h, w)), finely(true, (h, w))
    a, b = adaptive_moments(ours), adaptive_moments(theirs)
    return np.array(
        [
            abs((a.yy + a.xx) / (b.yy + b.xx) - 1),
            np.hypot(a.e1 - b.e1, a.e2 - b.e2),
            np.sum((ours - theirs) ** 2) / np.sum(theirs**2),
        ]
    )


def finely(star, shape):
    """Return a star with several samples per pixel, from images of it at fractions of a pixel."""
    result = np.empty((shape[0] * FINE, shape[1] * FINE))
    middle = FINE // 2
    for row in range(FINE):
        for column in range(FINE):
            image = star((middle - row) / FINE, (middle - column) / FINE)
            result[row::FINE, column::FINE] = image
    return result
