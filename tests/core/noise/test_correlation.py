import numpy as np
import pytest

from skytool.core.noise.correlation import mean_correlation, measure_correlation


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
