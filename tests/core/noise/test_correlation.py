import numpy as np
import pytest

from skytool.core.noise.correlation import (
    convolved_correlation,
    mean_correlation,
    measure_correlation,
    response_correlation,
)


def test_white_noise_is_not_correlated(rng):
    measured = measure_correlation(rng.standard_normal((300, 340)), max_lag=3)

    error = 1 / np.sqrt(measured.samples)
    rest = np.delete(measured.correlation.ravel(), measured.correlation.size // 2)
    assert measured.correlation[3, 3] == 1.0
    assert np.abs(rest).max() < 5 * error
    assert measured.sum_factor == pytest.approx(1.0, abs=5 * np.sqrt(rest.size) * error)


def test_averages_of_neighbours_are_correlated_as_they_share_pixels(rng):
    noise = rng.standard_normal((301, 401))
    averaged = (noise[:, 1:] + noise[:, :-1]) / np.sqrt(2)

    measured = measure_correlation(averaged, max_lag=2)

    error = 5 / np.sqrt(measured.samples)
    np.testing.assert_allclose(measured.correlation[2], [0, 0.5, 1, 0.5, 0], atol=error)
    np.testing.assert_allclose(measured.correlation[1], 0, atol=error)
    assert measured.neighbours == pytest.approx(0.25, abs=error)
    assert measured.sum_factor == pytest.approx(np.sqrt(2), abs=5 * error)


def test_pixels_without_noise_do_not_count(rng):
    noise = rng.standard_normal((200, 260))
    noise[:, ::3] = np.nan
    noise[40:70] = np.nan

    measured = measure_correlation(noise, max_lag=3)

    assert measured.samples == np.isfinite(noise).sum()
    assert np.abs(measured.correlation[0]).max() < 5 / np.sqrt(measured.samples / 3)


def test_opposite_lags_are_equal(rng):
    correlation = measure_correlation(rng.standard_normal((90, 70)), max_lag=4).correlation

    np.testing.assert_array_equal(correlation, correlation[::-1, ::-1])


def test_the_mean_of_detectors_is_weighted(rng):
    parts = [measure_correlation(rng.standard_normal((50, 60)), max_lag=1) for _ in range(2)]

    mean = mean_correlation([(parts[0], 3.0), (parts[1], 1.0)])

    expected = 0.75 * parts[0].correlation + 0.25 * parts[1].correlation
    np.testing.assert_allclose(mean.correlation, expected)
    assert mean.samples == sum(part.samples for part in parts)


def test_an_image_without_noise_is_refused():
    with pytest.raises(ValueError, match="no noise"):
        measure_correlation(np.full((5, 6), np.nan))


def test_a_filter_has_the_correlation_of_its_responses():
    responses = np.zeros((40, 52))
    responses[8:10, 7:9] = 0.5
    responses[25:27, 30:32] = 1.5

    found = response_correlation(responses, max_lag=3)

    overlap = np.array([0, 0, 0.5, 1, 0.5, 0, 0])
    np.testing.assert_allclose(found.correlation, overlap[:, None] * overlap, atol=1e-12)
    assert found.sum_factor == pytest.approx(2.0)


def test_no_response_is_refused():
    with pytest.raises(ValueError, match="no response"):
        response_correlation(np.zeros((9, 12)), max_lag=2)


def test_a_convolution_of_white_noise_has_the_correlation_of_its_kernel(rng):
    white = response_correlation(np.pad([[1.0]], ((20, 25), (23, 19))), max_lag=4)
    kernel = rng.normal(size=(5, 7))

    found = convolved_correlation(white, kernel[np.newaxis])

    size = found.correlation.shape[0]
    lags = np.pad(response_correlation(np.pad(kernel, 12), max_lag=12).correlation, 20)
    middle = len(lags) // 2
    part = np.s_[middle - size // 2 : middle + size // 2 + 1]
    np.testing.assert_allclose(found.correlation, lags[part, part], atol=1e-12)
    assert found.variance == pytest.approx(1.0)


def test_correlated_noise_is_louder_after_a_convolution_and_alike_over_more_pixels(rng):
    noise = rng.standard_normal((700, 800))
    noise = noise[1:] + noise[:-1]
    kernel = np.full((3, 5), 1 / 15)
    smooth = (
        sum(noise[y : y - 3 or None, x : x - 5 or None] for y in range(3) for x in range(5)) / 15
    )
    before = response_correlation(np.pad([[1.0], [1.0]], 20), max_lag=4)

    found = convolved_correlation(before, kernel[np.newaxis])

    measured = measure_correlation(smooth, max_lag=2)
    n = found.correlation.shape[0] // 2
    middle = found.correlation[n - 2 : n + 3, n - 2 : n + 3]
    # the noise of about 30 pixels is one
    np.testing.assert_allclose(middle, measured.correlation, atol=5 * np.sqrt(30 / noise.size))
    gain = np.var(smooth) / (np.var(noise) * np.sum(kernel**2))
    assert found.variance == pytest.approx(gain, rel=5 * np.sqrt(2 * 30 / noise.size))
    assert found.sum_factor == pytest.approx(np.sqrt(15 * 2 / found.variance), rel=2e-3)


def test_the_mean_reaches_as_far_as_the_farthest(rng):
    parts = [measure_correlation(rng.standard_normal((50, 60)), max_lag=n) for n in (1, 3)]

    mean = mean_correlation([(part, 1.0) for part in parts]).correlation

    assert mean.shape == (7, 7)
    assert mean[3, 3] == 1.0
    np.testing.assert_allclose(mean[0], 0.5 * parts[1].correlation[0])
