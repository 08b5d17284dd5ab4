import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skytool.core.noise.fill import fill_bad
from tests.core.resampled import draw_stars

SHAPE = (48, 61)


def smooth_image():
    y, x = np.indices(SHAPE, dtype=float)
    return (200 + 0.7 * y - 0.4 * x).astype(np.float32)


def with_bad(*parts):
    bad = np.zeros(SHAPE, dtype=bool)
    for part in parts:
        bad[part] = True
    return bad


AREAS = [
    np.s_[20, 30],
    np.s_[:, 17:19],
    np.s_[33, :],
    np.s_[10:25, 40:50],
]


@pytest.mark.parametrize("part", AREAS)
def test_a_plane_is_restored_wherever_it_can_be_interpolated(part):
    image, bad = smooth_image(), with_bad(part)
    spoiled = np.where(bad, np.nan, image).astype(np.float32)

    result = fill_bad(spoiled, bad)

    assert_allclose(result.image, image, rtol=2e-7)
    assert_array_equal(result.filled, bad)


def test_good_pixels_are_kept_to_the_bit_and_the_input_is_not_changed(rng):
    image = rng.normal(50, 3, SHAPE).astype(np.float32)
    bad = rng.random(SHAPE) < 0.05
    before = image.copy()

    result = fill_bad(image, bad)

    assert_array_equal(result.image[~bad], before[~bad])
    assert_array_equal(image, before)


@pytest.mark.parametrize("fwhm", [3.0, 4.0, 5.0])
def test_the_peak_of_a_star_comes_back_to_the_error_of_a_cubic(fwhm):
    star = draw_stars(SHAPE, [24.3], [29.6], fwhm=fwhm)

    result = fill_bad(star, with_bad(np.s_[24, 30]))

    # the cubic through -2, -1, 1, 2 misses by up to 4 / 24 of the fourth derivative, which is
    # 3 / sigma^4 at the peak of a Gaussian
    peak = 1 / (2 * np.pi * (fwhm / 2.3548) ** 2)
    assert abs(result.image - star).max() < 0.5 / (fwhm / 2.3548) ** 4 * peak


def test_a_bad_column_is_bridged_along_rows_with_structure():
    y, x = np.indices(SHAPE, dtype=float)
    image = np.sin(y / 1.5) * 10 + x
    bad = with_bad(np.s_[:, 20])

    assert_allclose(fill_bad(image, bad).image, image, rtol=0, atol=1e-9)


def test_pixels_that_are_not_finite_count_as_bad():
    image = smooth_image()
    image[5, 7], image[6, 40] = np.nan, np.inf

    result = fill_bad(image, np.zeros(SHAPE, dtype=bool))

    assert np.isfinite(result.image).all()
    assert result.filled.sum() == 2


def test_the_middle_of_a_large_area_gets_the_median_and_its_rim_the_neighbours():
    image, bad = np.full(SHAPE, 30.0), with_bad(np.s_[10:40, 10:50])
    image[:, :10] = 20.0

    result = fill_bad(image, bad, max_distance=5)

    assert result.image[25, 30] == 30.0
    assert result.image[25, 10] == 20.0
    assert result.filled[25, 30]


def test_an_image_without_good_pixels_stays_without_values():
    result = fill_bad(np.ones(SHAPE), np.ones(SHAPE, dtype=bool))

    assert np.isnan(result.image).all()
    assert not result.filled.any()


def test_other_methods_put_zero_or_do_nothing():
    image, bad = smooth_image(), with_bad(np.s_[20:22, 30])
    image[3, 3] = np.nan

    zero = fill_bad(image, bad, method="zero")
    none = fill_bad(image, bad, method="none")

    assert (zero.image[20:22, 30] == 0).all()
    assert zero.image[3, 3] == 0
    assert zero.filled.sum() == 3
    assert none.image is image
    assert not none.filled.any()


@given(seed=st.integers(0, 2**16))
def test_filling_a_transposed_image_is_transposing_a_filled_one(seed):
    rng = np.random.default_rng(seed)
    image, bad = rng.normal(50, 3, SHAPE), rng.random(SHAPE) < rng.uniform(0, 0.6)

    straight = fill_bad(image, bad, max_distance=6)
    across = fill_bad(image.T, bad.T, max_distance=6)

    assert_allclose(across.image.T, straight.image, rtol=1e-12)
    assert_array_equal(across.filled.T, straight.filled)


def test_big_endian_images_are_filled_too():
    image, bad = smooth_image(), with_bad(np.s_[20, 30])

    result = fill_bad(image.astype(">f4"), bad)

    assert result.image.dtype == np.float32
    assert_allclose(result.image, image, rtol=2e-7)


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="fill method 'mean' is none of interp, zero, none"):
        fill_bad(smooth_image(), with_bad(), method="mean")
    with pytest.raises(ValueError, match=r"differ in shape: \(48, 61\), \(61, 48\)"):
        fill_bad(smooth_image(), with_bad().T)
