import numpy as np
import pytest

from skytool.core.dcr.errors import NoiseTable, spread_levels


def test_table_takes_the_covariance_of_a_solution_of_noise_at_each_brightness(rng):
    levels = np.linspace(0.0, 4.0, 12)
    brightness = np.exp(rng.uniform(0.0, 4.0, (240, 250))).astype("f4")
    scale = rng.uniform(0.5, 2.0, brightness.shape).astype("f4")
    true = np.array([[2.0, 0.6], [0.6, 0.5]])
    noise = np.einsum("ab,byx->ayx", np.linalg.cholesky(true), rng.normal(size=(2, 240, 250)))
    guess = np.broadcast_to(np.diag([1.0, 3.0]), (12, 6, 2, 2))
    everywhere = np.ones(brightness.shape, bool)

    table = NoiseTable(levels, guess).calibrated(
        (noise * np.sqrt(scale)).astype("f4"), scale, brightness, everywhere
    )

    for left, right in ((0, 0), (0, 1), (1, 1)):
        unit = np.eye(2)
        found = table.variance(unit[left], unit[right], brightness, np.ones_like(brightness))
        assert found.mean() == pytest.approx(true[left, right], rel=0.03)
        assert found.std() < 0.1 * np.sqrt(true[left, left] * true[right, right])


def test_table_without_noise_of_colours_stays_finite():
    levels = np.linspace(0.0, 1.0, 12)
    guess = np.broadcast_to(np.diag([1.0, 0.0]), (12, 6, 2, 2))
    flat = np.full((9, 11), 1.5, np.float32)
    noise = np.zeros((2, 9, 11), np.float32)

    table = NoiseTable(levels, guess).calibrated(noise, flat, flat, flat > 0)

    assert np.isfinite(table.covariance).all()
    assert table.covariance[:, :, 1, 1].max() < 1e-6


def test_spread_at_a_brightness_is_that_of_pixels_so_bright(rng):
    brightness = np.exp(rng.uniform(1.0, 5.0, (60, 70))).astype("f4")

    levels, spreads = spread_levels(brightness, brightness**2)

    np.testing.assert_allclose(np.log(spreads), 2 * levels, atol=0.3)
