import numpy as np
import pytest
from scipy.signal import fftconvolve

from skytool.core.convolve import convolve, convolve_variance
from skytool.core.difference.decorrelation import InputNoise, nodes, through_nodes, whitening
from skytool.core.matching.spatial_kernel import SpatialKernel

SHAPE = (700, 760)
DOMAIN = (-0.5, SHAPE[0] - 0.5, -0.5, SHAPE[1] - 0.5)


def gaussian(sigma, half=10):
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    image = np.exp(-0.5 * (rows**2 + columns**2) / sigma**2)
    return image / image.sum()


def growing(narrow=1.2, wide=2.4, scale=1.2):
    """A kernel that changes linearly along x from one Gaussian to another."""
    first, second = scale * gaussian(narrow), scale * gaussian(wide)
    images = np.stack([0.5 * (first + second), 0.5 * (second - first)])
    return SpatialKernel(images=images[None], domain=DOMAIN)


def padded(image, side=81):
    """An image in the middle of a larger one."""
    return np.pad(image, (side - image.shape[0]) // 2)


def correlation(image, dy, dx):
    ny, nx = image.shape
    a = image[: ny - dy, max(0, -dx) : nx - max(0, dx)]
    b = image[dy:, max(0, dx) : nx - max(0, -dx)]
    return np.mean(a * b) / np.mean(image**2)


LAGS = [(0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (0, 3), (3, 0), (0, 4), (4, 0)]


@pytest.mark.parametrize("ratio", [0.04, 1.0, 4.0, 100.0])
def test_the_noise_of_a_difference_becomes_white_with_the_predicted_variance(rng, ratio):
    kernel = 1.3 * gaussian(1.789)
    made = whitening(
        SpatialKernel.constant(kernel), InputNoise(variance=1.0), InputNoise(variance=ratio)
    )
    science = rng.normal(size=SHAPE)
    template = np.sqrt(ratio) * rng.normal(size=SHAPE)
    plain = science - fftconvolve(template, kernel, mode="same")

    white = convolve(plain, made.kernel, dtype=np.float64)[60:-60, 60:-60]
    carried = made.plain_squares.sum_at(y=0, x=0) + ratio * made.matched_squares.sum_at(y=0, x=0)

    # 370 000 pixels: a correlation has a standard error of 0.0016, a variance one of 0.23 %
    assert max(abs(correlation(white, *lag)) for lag in LAGS) < 0.007
    assert np.var(white) == pytest.approx(1.0 + ratio * 1.3**2, rel=0.01)
    assert carried == pytest.approx(1.0 + ratio * 1.3**2, rel=1e-4)
    assert made.kernel.sum_at(y=0, x=0) == pytest.approx(1.0, abs=1e-12)
    if ratio >= 1.0:
        assert correlation(plain[60:-60, 60:-60], 0, 1) > 0.015


def test_whitening_follows_a_kernel_across_the_image(rng):
    kernel = growing()
    noise = InputNoise(variance=1.0), InputNoise(variance=4.0)
    made = whitening(kernel, *noise)
    science, template = rng.normal(size=SHAPE), 2.0 * rng.normal(size=SHAPE)
    plain = science - convolve(template, kernel, dtype=np.float64)

    white = convolve(plain, made.kernel, dtype=np.float64)

    for column in range(3):
        part = white[40:-40, 40 + 226 * column : 40 + 226 * (column + 1)]
        assert np.var(part) == pytest.approx(1.0 + 4.0 * 1.2**2, rel=0.02)
        assert max(abs(correlation(part, *lag)) for lag in LAGS) < 0.013
    y, x = rng.uniform(0, 700, 20), rng.uniform(0, 760, 20)
    for at_y, at_x in zip(y, x, strict=True):
        local = SpatialKernel.constant(kernel.at(y=at_y, x=at_x))
        exact = padded(whitening(local, *noise).kernel.images[0, 0])
        found = padded(made.kernel.at(y=at_y, x=at_x))
        assert np.linalg.norm(found - exact) < 3e-3 * np.linalg.norm(exact)


def test_variances_that_step_are_carried_to_both_sides():
    kernel = SpatialKernel.constant(gaussian(1.789))
    made = whitening(kernel, InputNoise(variance=1.0), InputNoise(variance=1.0))
    variance = np.ones((90, 120))
    variance[:, 60:] = 4.0

    carried = convolve(variance, made.plain_squares, dtype=np.float64)
    carried += convolve(np.ones((90, 120)), made.matched_squares, dtype=np.float64)
    shares = made.plain_squares.sum_at(y=0, x=0), made.matched_squares.sum_at(y=0, x=0)

    assert carried[45, 35] == pytest.approx(2.0, rel=2e-3)
    assert carried[45, 85] == pytest.approx(4.0 * shares[0] + shares[1], rel=2e-3)


def test_the_noise_of_a_resampled_image_becomes_white_by_its_correlation(rng):
    taps = np.array([[0.05, 0.15, 0.05], [0.15, 0.7, 0.15], [0.05, 0.15, 0.05]])
    taps /= np.sqrt(np.sum(taps**2))
    covariance = fftconvolve(taps, taps[::-1, ::-1])
    kernel = gaussian(1.5)
    template = fftconvolve(rng.normal(size=SHAPE), taps, mode="same")
    plain = rng.normal(size=SHAPE) - fftconvolve(template, kernel, mode="same")
    known = InputNoise(variance=1.0, correlation=covariance)

    knowing, unknowing = (
        whitening(SpatialKernel.constant(kernel), InputNoise(variance=1.0), noise)
        for noise in (known, InputNoise(variance=1.0))
    )
    white, grey = (
        convolve(plain, made.kernel, dtype=np.float64)[60:-60, 60:-60]
        for made in (knowing, unknowing)
    )
    carried = knowing.plain_squares.sum_at(y=0, x=0) + knowing.matched_squares.sum_at(y=0, x=0)

    assert max(abs(correlation(white, *lag)) for lag in LAGS) < 0.007
    assert correlation(grey, 0, 1) > 0.03
    assert np.var(white) == pytest.approx(carried, rel=0.01)
    assert np.var(white) == pytest.approx(1.0 + covariance.sum(), rel=0.01)


def test_a_kernel_goes_through_its_nodes(rng):
    images = rng.normal(size=(16, 5, 7))

    found = through_nodes(images, 3, DOMAIN)

    np.testing.assert_allclose(found.at_many(**nodes(3, DOMAIN)), images, atol=1e-12)


def test_terms_that_do_not_count_are_left_out(rng):
    images = np.repeat(rng.normal(size=(1, 3, 3)), 9, axis=0)

    found = through_nodes(images, 2, DOMAIN, negligible=1e-9)

    assert found.images.shape == (1, 1, 3, 3)
    np.testing.assert_allclose(found.at(y=3.0, x=4.0), images[0], atol=1e-12)


def test_the_variance_of_independent_pixels_is_that_of_squares(rng):
    kernel = growing()
    made = whitening(kernel, InputNoise(variance=2.0), InputNoise(variance=1e-9))

    carried = convolve(np.full(SHAPE, 2.0), made.plain_squares, dtype=np.float64)

    assert carried[350, 380] == pytest.approx(2.0, rel=1e-3)
    assert np.all(convolve_variance(np.ones((60, 60)), made.kernel) > 0.9)
