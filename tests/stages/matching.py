"""Exposures of one field on one grid whose backgrounds differ by known surfaces."""

import numpy as np

from skytool.core.background.chebyshev import ChebyshevModel
from skytool.core.windows import Window
from skytool.models.exposure import Exposure, Origin
from skytool.models.mask import Mask
from skytool.stages.match_bg import Match, MatchConfig, Piece, reference_for

SHAPE = (300, 340)


def surface(coefficients, shape=SHAPE):
    """Return a Chebyshev surface over an image."""
    return ChebyshevModel(np.asarray(coefficients, float), shape).image(dtype=np.float64)


def random_coefficients(rng, order, size):
    """Return coefficients up to a total degree."""
    p, q = np.indices((order + 1, order + 1))
    return np.where(p + q <= order, rng.normal(0, size, (order + 1, order + 1)), 0.0)


def stars(rng, shape, n, *, fwhm):
    """Return an image of Gaussian stars; the generator decides on positions and fluxes."""
    image = np.zeros(shape)
    sigma = fwhm / 2.3548
    for _ in range(n):
        y, x, flux = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), 10 ** rng.uniform(3, 5)
        top, left = max(int(y) - 20, 0), max(int(x) - 20, 0)
        box = np.s_[top : int(y) + 21, left : int(x) + 21]
        yy, xx = np.mgrid[
            box[0].start : image[box].shape[0] + top, left : image[box].shape[1] + left
        ]
        profile = np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / (2 * sigma**2))
        image[box] += flux * profile / (2 * np.pi * sigma**2)
    return image


def exposure(
    image,
    *,
    noise=1.0,
    rng=None,
    flags=None,
    missing=None,
    name="exposure",
    origin=(0, 0),
    variance=None,
):
    """Return an exposure of an image with white noise.

    `flags` maps planes to where they are set; `missing` pixels have no value.
    """
    values = np.array(image, np.float64)
    if rng is not None:
        values += rng.normal(0, noise, values.shape)
    mask = Mask.empty(values.shape)
    for plane, where in (flags or {}).items():
        mask = mask.with_flagged(where, plane)
    spread = np.full(values.shape, noise**2 if variance is None else variance, np.float32)
    pixels = values.astype(np.float32)
    if missing is not None:
        pixels[missing] = np.nan
        spread[missing] = np.inf
        mask = mask.with_flagged(missing, "NO_DATA")
    return Exposure(pixels, mask, spread, name=name, unit="adu", origin=Origin(*origin))


def piece(one, window=None):
    return Piece(one.name, window or Window.whole(one.shape), lambda: one)


def match_of(science, reference, config=None, *, scale=1.0):
    """Return the match of an exposure to another one of the same shape."""
    config = config or MatchConfig()
    target = reference_for(reference.name, [piece(reference)], config, single=True)
    return Match(science.name, [piece(science)], target, science.shape, config, scale=scale)


def matched(science, reference, config=None, **options):
    """Return a matched exposure, what was added, and how well it fits."""
    match = match_of(science, reference, config, **options)
    fit = match.fit()
    ((result, quality),) = match.matched(fit)
    return result, quality, fit


def added(result):
    """Return what a match added to every pixel."""
    return result.layer.model.evaluate(result.exposure.shape).astype(np.float64)
