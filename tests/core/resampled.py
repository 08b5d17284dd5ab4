"""Maps, stars and measurements that the tests of resampling share."""

import numpy as np

from skytool.core.resampling.pixel_map import PixelMap

NO_DATA = 256
EDGE = 16
SAT = 2
KERNELS = ("lanczos3", "lanczos4", "lanczos5", "spline3", "bilinear", "nearest")


def affine_map(
    shape, *, matrix=((1.0, 0.0), (0.0, 1.0)), shift=(0.0, 0.0), source_shape=None, **options
):
    """Map with ``(v, u) = matrix (y, x) + shift``."""
    (yy, yx), (xy, xx) = matrix

    def to_source(x, y):
        return xy * y + xx * x + shift[1], yy * y + yx * x + shift[0]

    return PixelMap(to_source, shape, source_shape=source_shape, **options)


def rotated_map(shape, source_shape, *, degrees, scale):
    """Map about the centres of both; a target pixel has the side `scale` of a source pixel."""
    cosine, sine = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    matrix = np.array([[cosine, sine], [-sine, cosine]])
    middle = (np.array(shape) - 1) / 2
    source_middle = (np.array(source_shape) - 1) / 2
    return affine_map(shape, matrix=matrix, shift=source_middle - matrix @ middle), matrix


def draw_stars(shape, ys, xs, *, fwhm, flux=1.0):
    """Image of Gaussian stars, sampled at the pixel centres."""
    sigma = fwhm / 2.3548200450309493
    y, x = np.indices(shape, dtype=float)
    image = np.zeros(shape)
    for star_y, star_x in zip(ys, xs, strict=True):
        square = (y - star_y) ** 2 + (x - star_x) ** 2
        image += flux * np.exp(-square / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    return image


def box(image, y, x, half_size):
    """Pixels around a position."""
    y, x = round(float(y)), round(float(x))
    return image[y - half_size : y + half_size + 1, x - half_size : x + half_size + 1]


def centroid(image, y, x, *, fwhm, half_size):
    """Gaussian-weighted centroid about a position that is iterated."""
    rows, columns = np.indices(image.shape, dtype=float)
    near = np.s_[
        round(y) - half_size : round(y) + half_size + 1,
        round(x) - half_size : round(x) + half_size + 1,
    ]
    stamp, rows, columns = image[near], rows[near], columns[near]
    sigma = fwhm / 2.3548200450309493
    for _ in range(50):
        weight = stamp * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))
        y += 2 * ((weight * rows).sum() / weight.sum() - y)
        x += 2 * ((weight * columns).sum() / weight.sum() - x)
    return np.array([y, x])
