import numpy as np
import pytest

from skytool.core.dcr.limits import (
    apply_thresholds,
    average_steps,
    limit_colours,
    limit_step,
    noise_cutoff,
)
from skytool.errors import SkytoolWarning


@pytest.fixture
def sky():
    return np.full((40, 50), 10.0, np.float32)


def test_single_hot_pixel_is_left_but_for_a_width_of_zero(sky):
    sky[12, 31] = 100.0
    kept, clipped = sky.copy(), sky.copy()
    limit = np.full_like(sky, 20.0)

    apply_thresholds(kept, limit, width=2)
    apply_thresholds(clipped, limit, width=0)

    assert kept[12, 31] == 100.0
    assert clipped[12, 31] == 20.0


def test_block_is_clipped_but_for_its_corners(sky):
    sky[10:17, 20:27] = 100.0
    limit = np.full_like(sky, 20.0)

    apply_thresholds(sky, limit, width=2)

    block = sky[10:17, 20:27]
    corners = np.array([block[i, j] for i in (0, -1) for j in (0, -1)])
    assert (corners == 100.0).all()
    assert (block == 100.0).sum() == 12  # each corner with its two neighbours
    assert block[3, 3] == 20.0


def test_nan_is_never_flagged(sky):
    sky[5:12, 5:12] = np.nan

    apply_thresholds(sky, np.full_like(sky, 5.0), np.full_like(sky, 1.0), width=0)

    assert np.isnan(sky).sum() == 49


def test_extended_change_is_limited_and_noise_kept(sky):
    new = sky.copy()
    new[10:20, 10:20] = 55.0
    new[30, 30] = 55.0

    limit_step(new, sky, 2.0)

    assert new[15, 15] == 20.0
    assert new[30, 30] == 55.0


@pytest.mark.parametrize(("keep", "expected"), [(False, -5.0), (True, -10.0)])
def test_negative_area_is_lifted_unless_kept(sky, keep, expected):
    new = -sky

    limit_step(new, -sky, 2.0, keep_negative=keep)

    assert new[20, 20] == expected


def test_equal_subfilters_stay_equal(sky, rng):
    image = (sky + rng.normal(size=sky.shape)).astype("f4")
    images = [image.copy() for _ in range(3)]

    limit_colours(images, image, 1.0, 4.0)

    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])
    np.testing.assert_allclose(images[0], image, rtol=1e-5)


def test_colours_need_a_width(sky):
    with pytest.raises(ValueError, match="positive width"):
        limit_colours([sky], sky, 1.0, 4.0, width=0)


def test_colours_of_nothing_are_left(sky):
    images = [sky.copy()]

    limit_colours(images, -sky, 1.0, 4.0)

    np.testing.assert_array_equal(images[0], sky)


def test_noise_is_that_of_the_usable_pixels(rng):
    image = rng.normal(scale=5.0, size=(90, 110)).astype("f4")
    usable = rng.random(image.shape) > 0.2
    image[~usable] = 1e5

    assert noise_cutoff(image, usable) == pytest.approx(5.0, rel=0.05)


def test_noise_without_a_usable_pixel_is_robust(rng):
    image = rng.normal(scale=5.0, size=(90, 110)).astype("f4")

    with pytest.warns(SkytoolWarning, match="no pixel without source"):
        noise = noise_cutoff(image, np.zeros(image.shape, bool))

    assert noise == pytest.approx(5.0, rel=0.05)
    assert noise_cutoff(np.full((3, 4), np.nan), np.ones((3, 4), bool)) == 0.0


@pytest.mark.parametrize(("gain", "factor"), [(1.0, 2.0), (3.0, 2.5)])
def test_steps_are_averaged_by_gain(sky, gain, factor):
    new = [3 * sky]

    average_steps(new, [sky], gain)

    np.testing.assert_allclose(new[0], factor * sky)
