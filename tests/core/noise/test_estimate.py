import numpy as np
import pytest

from skytool.core.noise.estimate import counting_variance, sky_noise, with_source_noise

SHAPE = (300, 410)


def white(rng, *, level=50.0, rms=7.0, shape=SHAPE):
    return rng.normal(level, rms, shape)


def relative_error(n_pixels):
    # standard error of a clipped standard deviation of n pairs of pixels, which share pixels
    return 1.2 / np.sqrt(n_pixels)


def test_white_noise_is_measured_to_its_statistical_error(rng):
    noise = sky_noise(white(rng))
    assert noise.typical_rms == pytest.approx(7.0, rel=4 * relative_error(300 * 410))
    assert noise.typical_level == pytest.approx(50.0, abs=5 * 7.0 * 1.25 / np.sqrt(300 * 410))


def test_every_tile_of_white_noise_is_right_within_its_error(rng):
    noise = sky_noise(white(rng))
    assert noise.rms.shape == noise.level.shape == (5, 7)
    assert np.all(np.abs(noise.rms / 7.0 - 1.0) < 5 * relative_error(44 * 26))


def test_noise_that_varies_over_the_image_is_followed(rng):
    expected = np.linspace(5.0, 15.0, SHAPE[1])
    image = rng.normal(0.0, expected, SHAPE)
    measured = sky_noise(image).rms_image().mean(axis=0)
    inner = slice(64, -64)  # constant outside of the outermost tile centres
    assert np.max(np.abs(measured[inner] / expected[inner] - 1.0)) < 0.06


def test_a_gradient_of_the_background_adds_nothing(rng):
    y, x = np.indices(SHAPE)
    noise = sky_noise(white(rng) + 0.5 * x - 0.3 * y)
    # over a lag of 8 pixels the gradient moves differences by 4 and 2.4: 0.57 sigma at most
    assert noise.typical_rms == pytest.approx(7.0, rel=0.1)
    assert noise.level_image()[150, 205] == pytest.approx(50.0 + 0.5 * 205 - 0.3 * 150, abs=5.0)


def test_sources_and_bad_pixels_do_not_raise_the_noise(rng):
    image = white(rng)
    bad = rng.random(SHAPE) < 0.05
    image[bad] = 1e6
    stars = rng.random(SHAPE) < 0.03
    image[stars] += rng.exponential(3000.0, np.count_nonzero(stars))
    image[10:20, 30:40] = np.nan
    noise = sky_noise(image, bad)
    assert noise.typical_rms == pytest.approx(7.0, rel=0.06)
    assert noise.typical_level == pytest.approx(50.0, abs=1.0)


def test_correlated_noise_is_measured_in_full_at_the_default_lag(rng):
    unsmoothed = rng.normal(0.0, 1.0, (SHAPE[0] + 2, SHAPE[1] + 2))
    image = sum(unsmoothed[j : j + 300, i : i + 410] for j in range(3) for i in range(3)) / 9.0
    assert sky_noise(image).typical_rms == pytest.approx(1.0 / 3.0, rel=0.02)
    # neighbours in a 3 by 3 mean share 6 of 9 pixels: their difference has a third of the variance
    assert sky_noise(image, lag=1).typical_rms == pytest.approx(np.sqrt(1 / 3) / 3, rel=0.03)


def test_rows_left_out_of_large_images_do_not_bias_the_noise(rng):
    noise = sky_noise(rng.normal(-3.0, 2.0, (1500, 1700)).astype(np.float32))
    assert noise.typical_rms == pytest.approx(2.0, rel=0.005)
    assert noise.rms_image().shape == (1500, 1700)


def test_an_image_without_usable_pixels_has_no_noise():
    noise = sky_noise(np.full((40, 30), np.nan))
    assert np.isnan(noise.typical_rms)
    assert np.isnan(noise.typical_level)
    assert np.isnan(noise.rms_image()).all()


def test_tiles_without_pixels_get_the_median_of_the_others(rng):
    image = white(rng)
    image[:, 200:] = np.nan
    noise = sky_noise(image)
    assert np.isfinite(noise.rms).all()
    assert noise.rms[2, 6] == pytest.approx(7.0, rel=0.1)


def test_an_image_smaller_than_the_lag_is_measured(rng):
    noise = sky_noise(rng.normal(0.0, 3.0, (9, 40)))
    assert noise.typical_rms == pytest.approx(3.0, rel=0.4)


def test_counting_variance_is_photons_plus_read_noise():
    level = np.array([[100.0, -20.0, 0.0]])
    expected = [[100 / 2.5 + 4.0, 4.0, 4.0]]
    assert counting_variance(level, gain=2.5, read_noise=5.0) == pytest.approx(np.array(expected))


def test_sources_add_their_photons_and_holes_add_nothing():
    sky, level = np.full((2, 3), 9.0), np.full((2, 3), 10.0)
    image = np.array([[10.0, 30.0, -50.0], [np.nan, np.inf, 12.0]])
    variance = with_source_noise(sky, image, level, gain=4.0)
    assert variance.dtype == np.float32
    assert variance == pytest.approx(np.array([[9.0, 14.0, 9.0], [np.inf, np.inf, 9.5]]))


def test_a_gain_without_end_leaves_the_variance_of_the_sky():
    sky = np.full((2, 2), 3.0)
    image = np.array([[1e5, 0.0], [5.0, -1.0]])
    assert np.array_equal(with_source_noise(sky, image, np.zeros((2, 2)), gain=np.inf), sky)


def test_the_variance_from_gain_and_read_noise_is_that_of_simulated_counts(rng):
    sky, gain, read_noise = 80.0, 1.7, 6.0
    image = rng.poisson(sky * gain, (400, 300)) / gain + rng.normal(
        0, read_noise / gain, (400, 300)
    )
    predicted = counting_variance(np.array(sky), gain=gain, read_noise=read_noise)
    assert image.var() == pytest.approx(float(predicted), rel=5 * np.sqrt(2 / image.size))
    assert sky_noise(image).typical_rms ** 2 == pytest.approx(float(predicted), rel=0.03)


def test_noise_of_coarse_integers_is_that_of_the_rounded_values(rng):
    image = np.round(rng.normal(10.0, 0.2, SHAPE))
    expected = image.std()
    assert 0.0 < expected < 0.2
    # nine of ten differences are zero, the others are one: clipping may take none away
    assert sky_noise(image).typical_rms == pytest.approx(expected, rel=0.1)
