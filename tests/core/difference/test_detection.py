import numpy as np
import pytest

from skytool.core.difference.detection import detect, grown_pixels
from skytool.core.difference.detection_rate import noise_peaks
from skytool.core.difference.score import matched_filter
from tests.core.points import gaussian_psf

SHAPE = (60, 90)


def empty():
    return np.zeros(SHAPE, np.float32)


def test_nothing_is_found_in_an_empty_image():
    found = detect(empty(), growth=4)

    assert len(found) == 0
    assert found.n_unmerged == 0
    assert not found.positive.any()
    assert not found.labels.any()


def test_nan_is_not_searched():
    snr = np.full(SHAPE, np.nan, np.float32)
    snr[20, 30] = 7.0
    found = detect(snr)

    assert len(found) == 1
    assert found.significance == pytest.approx([7.0])


def test_touching_pixels_are_one_footprint_also_at_corners():
    snr = empty()
    snr[10, 10], snr[11, 11], snr[12, 10] = 6.0, 8.0, 7.0
    snr[11, 13] = 9.0
    found = detect(snr)

    assert len(found) == 2
    assert found.row[found.first].tolist() == [11, 11]
    assert found.column[found.first].tolist() == [13, 11]
    assert found.area.tolist() == [1, 3]
    assert found.box.tolist() == [[11, 11, 13, 13], [10, 12, 10, 11]]


def test_u_shaped_footprint_has_one_label():
    snr = empty()
    snr[5:20, 10] = 6.0
    snr[5:20, 16] = 6.0
    snr[19, 10:17] = 6.0
    found = detect(snr)

    assert len(found) == 1
    assert found.area.tolist() == [int((snr > 5).sum())]


def test_footprints_of_one_sign_merge_when_they_grow():
    snr = empty()
    snr[30, 40], snr[30, 47] = 6.0, 9.0

    apart, together = detect(snr, growth=2), detect(snr, growth=3)

    assert (len(apart), len(together)) == (2, 1)
    assert together.column.tolist() == [47, 40]  # the highest peak first


def test_footprints_of_both_signs_are_united_and_keep_all_peaks():
    snr = empty()
    snr[30, 40], snr[30, 43] = 8.0, -9.0
    snr[50, 70] = -6.0
    found = detect(snr, growth=2)

    assert len(found) == 2
    assert found.n_unmerged == 3
    assert found.significance.tolist() == [9.0, 8.0, 6.0]
    assert found.negative.tolist() == [True, False, True]
    assert found.has_positive.tolist() == [True, False]
    assert found.has_negative.tolist() == [True, True]
    assert found.positive[30, 38]
    assert found.negative_mask[30, 45]


def test_chain_of_alternating_signs_is_one_footprint():
    snr = empty()
    snr[30, 10:60:6] = 6.0
    snr[30, 13:63:6] = -6.0
    found = detect(snr, growth=2)

    assert len(found) == 1
    assert found.row.size == 18


def test_growth_is_a_disc():
    snr = empty()
    snr[30, 40] = 6.0
    y, x = np.indices(SHAPE)

    np.testing.assert_array_equal(detect(snr, growth=5).positive, np.hypot(y - 30, x - 40) <= 5)
    np.testing.assert_array_equal(
        grown_pixels(-snr, threshold=5.0, growth=5), np.hypot(y - 30, x - 40) <= 5
    )


def test_small_groups_can_be_left_out():
    snr = empty()
    snr[10, 10] = 9.0
    snr[30, 40:43] = 6.0
    found = detect(snr, min_pixels=3)

    assert found.row.tolist() == [30]
    assert not found.positive[10, 10]


def test_sources_at_the_corners_are_found():
    snr = empty()
    snr[0, 0], snr[-1, -1], snr[0, -1] = 6.0, -7.0, 8.0
    found = detect(snr, growth=3)

    assert found.significance.tolist() == [8.0, 7.0, 6.0]


def test_equal_neighbours_have_one_peak():
    snr = empty()
    snr[20:23, 30:34] = 6.0
    found = detect(snr)

    assert found.row.size == 1


@pytest.mark.parametrize("sigma", [1.3, 2.0])
def test_noise_has_the_expected_number_of_peaks(rng, sigma):
    shape, level = (900, 1000), 3.5
    noise = rng.standard_normal(shape, dtype=np.float32)
    psf = gaussian_psf(shape, sigma).trimmed()
    snr = matched_filter(noise, np.ones_like(noise), np.zeros(shape, np.bool_), psf).snr

    found = detect(snr, threshold=level)

    expected = noise_peaks(sigma, level) * noise.size
    for count in (np.count_nonzero(found.negative), np.count_nonzero(~found.negative)):
        # the rate itself is known to 4 per cent
        assert abs(count - expected) < 4 * np.sqrt(expected) + 0.04 * expected


# counted in 1e8 pixels and more of noise: peaks of one sign per million pixels
@pytest.mark.parametrize(
    ("sigma", "threshold", "counted"),
    [(1.0, 3.5, 150.0), (1.5, 4.5, 1.79), (2.0, 4.0, 8.93), (2.0, 5.0, 0.12), (2.5, 5.0, 0.075)],
)
def test_expected_number_of_peaks_is_what_was_counted(sigma, threshold, counted):
    # counts of 12 and 7.5 at 5 sigma are good to a third
    tolerance = 0.06 if threshold < 5 else 0.35
    assert noise_peaks(sigma, threshold) == pytest.approx(counted * 1e-6, rel=tolerance)
