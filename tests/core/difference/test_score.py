import numpy as np
import pytest

from skytool.core.difference.score import matched_filter
from tests.core.points import add_stars, gaussian_psf, lattice

SHAPE = (300, 420)


def noise_pair(rng):
    variance = np.full(SHAPE, 4.0, np.float32)
    variance[:, 200:] = 16.0
    image = (rng.standard_normal(SHAPE) * np.sqrt(variance)).astype(np.float32)
    return image, variance


def nothing():
    return np.zeros(SHAPE, np.bool_)


def direct(image, variance, good, psf, y, x):
    """Sum over the stamp at one pixel, in a loop."""
    star = psf.kernel.at(y=y, x=x)
    half_y, half_x = psf.half
    signal = power = 0.0
    for i in range(-half_y, half_y + 1):
        for j in range(-half_x, half_x + 1):
            row, column = y + i, x + j
            if 0 <= row < SHAPE[0] and 0 <= column < SHAPE[1] and good[row, column]:
                p = star[i + half_y, j + half_x]
                signal += p * image[row, column]
                power += p * p * variance[row, column]
    return signal, power


def test_score_is_the_sum_over_good_pixels_for_a_varying_psf_and_variance(rng):
    image, variance = noise_pair(rng)
    psf = gaussian_psf(SHAPE, lambda _, x: 1.6 + 0.8 * x / SHAPE[1]).trimmed()
    bad = nothing()
    bad[100, 150:260] = True
    image[50, 60] = np.nan
    variance[52, 200] = np.inf
    good = np.isfinite(image) & np.isfinite(variance) & ~bad

    score = matched_filter(image, variance, bad, psf)

    for y, x in ((0, 0), (51, 61), (52, 200), (100, 200), (104, 255), (299, 419), (150, 17)):
        signal, power = direct(image, variance, good, psf, y, x)
        if np.isfinite(score.signal[y, x]):
            assert score.signal[y, x] == pytest.approx(signal, abs=2e-5 * np.sqrt(power))
            assert score.variance[y, x] == pytest.approx(power, rel=1e-4)
    assert np.isfinite(score.snr[100, 200])  # one row is not half of the star
    assert np.isfinite(score.snr[52, 200])


def test_score_of_noise_has_unit_variance_everywhere(rng):
    image, variance = noise_pair(rng)
    psf = gaussian_psf(SHAPE, lambda _, x: 1.6 + 0.8 * x / SHAPE[1]).trimmed()

    snr = matched_filter(image, variance, nothing(), psf).snr

    # a sample is the area 4 pi sigma^2; its standard deviation is known to 1 / sqrt(2 n)
    for part, sigma in ((np.s_[:, :190], 1.8), (np.s_[:, 230:], 2.2)):
        n = snr[part].size / (4 * np.pi * sigma**2)
        assert np.nanstd(snr[part]) == pytest.approx(1.0, abs=4 / np.sqrt(2 * n))
        assert abs(np.nanmean(snr[part])) < 4 / np.sqrt(n)


def test_significance_of_stars_is_that_of_the_optimal_filter(rng):
    sigma = 2.0
    image, variance = np.zeros(SHAPE), np.full(SHAPE, 9.0, np.float32)
    y, x = (np.round(at) for at in lattice(SHAPE, 40, rng))
    flux = np.full(y.size, 500.0)
    add_stars(image, y=y, x=x, flux=flux, sigma=sigma)
    psf = gaussian_psf(SHAPE, sigma).trimmed()

    snr = matched_filter(image, variance, nothing(), psf).snr

    optimum = 500.0 / np.sqrt(9.0 * 4 * np.pi * sigma**2)
    np.testing.assert_allclose(snr[y.astype(int), x.astype(int)], optimum, rtol=1e-3)


def test_asymmetric_star_peaks_at_its_place():
    psf = gaussian_psf(SHAPE, 1.8)
    comatic = psf.kernel.images[0, 0] + 0.5 * np.roll(psf.kernel.images[0, 0], (2, 1), (0, 1))
    psf = gaussian_psf(SHAPE, 1.8)
    psf.kernel.images[0, 0] = comatic / comatic.sum()
    image = np.zeros(SHAPE, np.float32)
    half = psf.half[0]
    image[80 - half : 81 + half, 90 - half : 91 + half] = 100 * psf.kernel.images[0, 0]

    snr = matched_filter(image, np.ones(SHAPE, np.float32), nothing(), psf).snr

    assert np.unravel_index(np.nanargmax(snr), SHAPE) == (80, 90)
    assert np.nanmax(snr) == pytest.approx(100 * np.sqrt(np.square(psf.middle).sum()), rel=1e-4)


def test_pixels_with_most_of_the_star_missing_have_no_score(rng):
    image, variance = noise_pair(rng)
    bad = nothing()
    bad[100:130, 50:90] = True

    score = matched_filter(image, variance, bad, gaussian_psf(SHAPE, 2.0).trimmed())

    assert np.isnan(score.snr[110:120, 60:80]).all()
    assert np.isinf(score.variance[115, 70])
    assert np.isfinite(score.snr[97, 70])
    assert np.isnan(score.snr[0, 0])  # three quarters of the star are beyond the corner
    assert np.isfinite(score.snr[3, 3])


def test_image_without_a_good_pixel_has_no_score():
    empty = np.full(SHAPE, np.nan, np.float32)

    score = matched_filter(empty, np.ones(SHAPE, np.float32), nothing(), gaussian_psf(SHAPE, 2.0))

    assert np.isnan(score.snr).all()


def test_threads_do_not_change_the_score(rng):
    image, variance = noise_pair(rng)
    psf = gaussian_psf(SHAPE, 1.9).trimmed()

    one, two = (matched_filter(image, variance, nothing(), psf, threads=n).snr for n in (1, 2))

    np.testing.assert_array_equal(one, two)
