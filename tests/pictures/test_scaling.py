import numpy as np
import pytest
from astropy.visualization import ZScaleInterval

from skytool.pictures.scaling import (
    Scale,
    Stretch,
    block_any,
    block_means,
    scale_of,
    tick_values,
    zscale,
)

SHAPE = (110, 130)


def field(rng, *, sky=500.0, rms=10.0):
    """Noise with a few bright stars."""
    image = rng.normal(sky, rms, SHAPE)
    image[rng.integers(0, 110, 40), rng.integers(0, 130, 40)] += rng.uniform(1e3, 1e5, 40)
    return image.astype(np.float32)


def nothing(image):
    return np.zeros(image.shape, bool)


def test_zscale_gives_the_limits_of_astropy(rng):
    values = field(rng).ravel()
    low, high = zscale(values)
    theirs = ZScaleInterval(n_samples=values.size, krej=2.5).get_limits(values)

    # the same algorithm; they also reject the neighbours of what is rejected
    np.testing.assert_allclose((low, high), theirs, atol=0.1 * (high - low))
    assert low < 500 - 30
    assert 500 + 30 < high < 700


def test_zscale_of_few_or_equal_values_is_their_range():
    assert zscale(np.full(50, 3.0)) == (3.0, 3.0)
    assert zscale(np.array([1.0, 2.0, 9.0])) == (1.0, 9.0)


@pytest.mark.parametrize("stretch", list(Stretch))
def test_shades_go_from_black_to_white_without_a_step_back(stretch):
    scale = Scale(-5.0, 200.0, stretch, 12.0)
    values = np.linspace(-5.0, 200.0, 500)
    shades = scale.shades(values)

    assert shades[0] == 0.0
    assert shades[-1] == pytest.approx(1.0, abs=1e-12)
    assert (np.diff(shades) > 0).all()
    np.testing.assert_array_equal(scale.shades(np.array([-99.0, 999.0])), [0.0, 1.0])
    assert np.isnan(scale.shades(np.array([np.nan]))).all()


def test_the_asinh_is_linear_below_its_softening_and_logarithmic_above():
    scale = Scale(0.0, 1e6, Stretch.ASINH, 10.0)
    one, two, far, further = scale.shades(np.array([0.5, 1.0, 1e4, 1e5]))

    assert two / one == pytest.approx(2.0, rel=2e-3)
    assert further - far == pytest.approx(scale.shades(np.array([1e6]))[0] - further, rel=1e-3)


def test_the_sky_is_dark_and_stars_are_bright(rng):
    image = field(rng)
    scale = scale_of(image, nothing(image), stretch=Stretch.ASINH)
    sky, star = scale.shades(np.array([500.0, 5000.0]))

    assert 0.05 < sky < 0.4
    assert star > 0.6


def test_flagged_pixels_and_those_without_value_do_not_count(rng):
    image = field(rng)
    expected = scale_of(image, nothing(image), stretch=Stretch.ASINH)
    spoilt = np.pad(image, ((0, 60), (0, 0)), constant_values=np.inf)
    bad = np.zeros(spoilt.shape, bool)
    bad[140:] = True
    spoilt[140:] = 1e9

    found = scale_of(spoilt, bad, stretch=Stretch.ASINH)
    assert found[:2] == pytest.approx(expected[:2])


@pytest.mark.parametrize("value", [0.0, 7.0, -1e8, np.nan])
def test_an_image_of_one_value_has_a_scale_too(value):
    image = np.full(SHAPE, value, np.float32)
    scale = scale_of(image, nothing(image), stretch=Stretch.ASINH)

    assert scale.low < scale.high
    assert np.isfinite(scale.shades(np.array([0.0]))).all()
    assert len(tick_values(scale, separation=0.1)) >= 2


def test_limits_are_those_asked_for(rng):
    image = field(rng)

    def limits(how):
        return scale_of(image, nothing(image), stretch=Stretch.LINEAR, limits=how)[:2]

    assert limits((3.0, 4.5)) == (3.0, 4.5)
    assert limits("minmax") == (image.min(), image.max())
    assert limits("zscale") == pytest.approx(zscale(image.ravel()))


def test_blocks_have_the_mean_of_their_values(rng):
    image = rng.normal(size=(7, 11)).astype(np.float32)
    image[0:3, 0:3] = np.nan
    image[3, 4] = np.inf
    blocks = block_means(image, 3)

    assert blocks.shape == (3, 4)
    assert np.isnan(blocks[0, 0])
    finite = np.isfinite(image[3:6, 3:6])
    assert blocks[1, 1] == pytest.approx(image[3:6, 3:6][finite].mean(), rel=1e-6)
    assert blocks[2, 3] == pytest.approx(image[6:, 9:].mean(), rel=1e-6)
    np.testing.assert_array_equal(block_any(np.isnan(image), 3)[0], [True, False, False, False])
    single = block_means(image, 1)
    assert np.isnan(single[3, 4])
    np.testing.assert_array_equal(single[6], image[6])


@pytest.mark.parametrize(
    ("low", "high", "stretch"),
    [
        (-97.0, 1500.0, Stretch.ASINH),
        (545.2, 588.7, Stretch.LINEAR),
        (0.0, 1.0, Stretch.LOG),
        (-3e-7, -1e-7, Stretch.SQRT),
        (1e9, 1.001e9, Stretch.ASINH),
    ],
)
def test_marks_are_round_apart_and_inside(low, high, stretch):
    scale = Scale(low, high, stretch, 0.03 * (high - low))
    marks = tick_values(scale, separation=0.06)
    places = scale.shades(np.array(marks))

    assert 4 <= len(marks) <= 17
    assert all(low <= mark <= high for mark in marks)
    assert (np.diff(places) >= 0.06).all()
    steps = [digit * 10.0**power for power in range(-10, 10) for digit in (1, 2, 5)]
    fine = [step for step in steps if step >= 0.02 * (high - low)]
    for mark in marks:
        whole = [abs(mark / step - round(mark / step)) < 1e-6 for step in fine[:3]]
        assert any(whole) or any(abs(abs(mark) / step - 1.0) < 1e-9 for step in steps)
