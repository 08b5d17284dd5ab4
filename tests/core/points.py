"""Gaussian stars on pixels, and their point spread functions."""

import numpy as np

from skytool.core.difference.decorrelation import nodes
from skytool.core.difference.source_psf import SourcePsf, whole_image

HALF = 15


def gaussian(sigma, half=HALF):
    """Return a star of sum one in the middle of its stamp."""
    taps = np.exp(-0.5 * np.square(np.arange(-half, half + 1) / sigma))
    stamp = np.outer(taps, taps)
    return stamp / stamp.sum()


def gaussian_psf(shape, sigma):
    """Return the PSF of an image; `sigma` is a number, or a function of y and x."""
    at = nodes(4, whole_image(shape))
    width = sigma if callable(sigma) else lambda *_: sigma
    stamps = np.array([gaussian(width(y, x)) for y, x in zip(at["y"], at["x"], strict=True)])
    return SourcePsf.fit(stamps, **at, shape=shape)


def add_stars(image, *, y, x, flux, sigma):
    """Add stars to an image; `sigma` is a number, or a function of y and x."""
    width = sigma if callable(sigma) else lambda *_: sigma
    rows, columns = (np.arange(size) for size in image.shape)
    for y_star, x_star, light in zip(y, x, flux, strict=True):
        s = width(y_star, x_star)
        near_y = np.abs(rows - y_star) < 7 * s
        near_x = np.abs(columns - x_star) < 7 * s
        along_y = np.exp(-0.5 * np.square((rows[near_y] - y_star) / s))
        along_x = np.exp(-0.5 * np.square((columns[near_x] - x_star) / s))
        image[np.ix_(near_y, near_x)] += light * np.outer(along_y, along_x) / (2 * np.pi * s**2)
    return image


def lattice(shape, step, rng, jitter=0.5):
    """Return positions that are at least about a step apart and from the edges, off pixel centres."""
    y, x = np.meshgrid(*(np.arange(step, n - step, step) for n in shape), indexing="ij")
    return tuple(axis.ravel() + rng.uniform(-jitter, jitter, axis.size) for axis in (y, x))
