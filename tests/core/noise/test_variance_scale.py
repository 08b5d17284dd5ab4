import numpy as np
import pytest

from skytool.core.noise.variance_scale import fine_scatter_factor, variance_scale
from skytool.errors import AlgorithmError

SHAPE = (240, 310)
ERROR = 3 * 2.33 / np.sqrt(240 * 310)  # three times the relative error of a variance by quartiles


def sky(rng, sigma, slope=0.0):
    ny, nx = SHAPE
    y, x = np.mgrid[:ny, :nx]
    level = slope * (np.sin(x / 60) + y / 100)
    return (rng.normal(0, sigma, SHAPE) + level).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.5])
@pytest.mark.parametrize("slope", [0.0, 3.0])
def test_factor_is_that_of_the_scatter_on_any_sky(rng, sigma, slope):
    image = sky(rng, sigma, slope)
    # the mean of a cell of 32 x 32 pixels takes a thousandth of the variance
    factor = variance_scale(image, np.ones(SHAPE, np.float32), np.zeros(SHAPE, bool))

    assert factor == pytest.approx(sigma**2, rel=ERROR + (0.02 if slope else 2e-3))


def test_variance_that_varies_is_looked_at_pixel_by_pixel(rng):
    variance = np.linspace(1, 9, SHAPE[1], dtype=np.float32) * np.ones(SHAPE, np.float32)
    image = sky(rng, 1.0) * np.sqrt(1.3 * variance)

    factor = variance_scale(image, variance, np.zeros(SHAPE, bool))

    assert factor == pytest.approx(1.3, rel=ERROR + 2e-3)


def test_bright_and_lost_pixels_change_nothing(rng):
    image, variance = sky(rng, 1.0), np.ones(SHAPE, np.float32)
    bad = np.zeros(SHAPE, bool)
    bad[50:100, 60:110], image[50:100, 60:110] = True, 1e4
    image[::17, ::13] = np.nan
    variance[::11, ::19] = np.inf
    image[3::31, 5::37] += 50  # objects that nobody flagged

    assert variance_scale(image, variance, bad) == pytest.approx(1.0, rel=0.03)


def test_many_wild_variances_do_not_decide(rng):
    """Pixel by pixel the factor would be 12; that of the image to the median variance is one."""
    image = sky(rng, 1.0)
    variance = np.where(rng.random(SHAPE) < 0.49, 1e-8, 1.0).astype(np.float32)

    factor = variance_scale(image, variance, np.zeros(SHAPE, bool))

    assert factor == pytest.approx(1.0, rel=ERROR + 2e-3)


def test_what_cannot_be_is_refused(rng):
    image = sky(rng, 10.0)
    with pytest.raises(AlgorithmError, match="beyond 10"):
        variance_scale(image, np.full(SHAPE, 1.0, np.float32), np.zeros(SHAPE, bool))
    with pytest.raises(AlgorithmError, match="fewer than 100 pixels"):
        variance_scale(image, np.full(SHAPE, 1.0, np.float32), np.ones(SHAPE, bool))
    constant = np.full(SHAPE, 3.0, np.float32)
    with pytest.raises(AlgorithmError, match="beyond 10"):
        variance_scale(constant, np.ones(SHAPE, np.float32), np.zeros(SHAPE, bool))


def test_what_is_smooth_does_not_count_from_pixel_to_pixel(rng):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    wavy = (sky(rng, 3.0) + 300 * np.sin(x / 5) * np.cos(y / 6)).astype(np.float32)
    bad = np.zeros(SHAPE, bool)
    bad[80:90, 100:140] = True
    wavy[bad] = np.nan

    # of neighbouring values only about every sixth is new
    assert fine_scatter_factor(wavy, np.full(SHAPE, 4.0, np.float32), bad) == pytest.approx(
        9 / 4, rel=ERROR * np.sqrt(6)
    )
