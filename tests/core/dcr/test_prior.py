import numpy as np
import pytest
from scipy import fft

from skytool.core.dcr.prior import ColourPrior, FluxPrior, sharpeners
from tests.stages.chromatic import profile, stamp

SHAPE = (75, 81)
NOISE = 2.0


def star(flux, *, y=30.3, x=41.6, fwhm=4.0):
    lines = [profile(np.arange(n), c, fwhm)[:, 0] for n, c in zip(SHAPE, (y, x), strict=True)]
    return (flux * np.outer(*lines)).astype("f4")


def distances(y=30.3, x=41.6):
    rows, columns = np.indices(SHAPE)
    return np.hypot(rows - y, columns - x)


def test_sharpened_star_is_more_compact_and_has_no_ripples_far_away():
    sharp, _ = sharpeners(stamp(4.0), SHAPE)

    points = fft.irfft2(fft.rfft2(star(1e4)) * sharp, s=SHAPE)

    points -= np.median(points)  # a smooth background counts less, the mean with it
    assert points.max() > 3 * star(1e4).max()
    assert np.abs(points[distances() > 10]).max() < 2e-3 * points.max()


def test_points_are_expected_where_stars_are_and_small_ones_everywhere():
    prior = FluxPrior(level=5.0)
    _, quiet = sharpeners(stamp(4.0), SHAPE)

    spread = prior.spread(star(1e5), quiet, NOISE)

    assert spread.max() > star(1e5).max()
    np.testing.assert_allclose(spread[distances() > 20], 5.0 * NOISE, rtol=0.1)


@pytest.mark.parametrize("smoothing", [0.0, 2.0])
def test_brightness_is_positive_and_that_of_the_flux(smoothing):
    prior = ColourPrior(floor=0.2)

    brightness = prior.brightness(star(1e4) - np.float32(1.0), NOISE, smoothing=smoothing)

    assert brightness.min() == pytest.approx(0.2 * NOISE, rel=1e-3)
    assert (brightness.max() < 0.8 * star(1e4).max()) == bool(smoothing)


def test_coherent_field_of_white_noise_has_variance_one(rng):
    white = rng.normal(size=(255, 243)).astype("f4")

    field = fft.irfft2(
        fft.rfft2(white) * ColourPrior(coherence=1.5).filter(white.shape), s=white.shape
    )

    assert field.std() == pytest.approx(1.0, abs=0.06)
