import numpy as np
import pytest

from skytool.core.background.blocks import block_means
from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.object_mask import DetectionRule, DetectionScale, find_objects

SHAPE = (512, 600)
RULE = DetectionRule((DetectionScale(3.0, 4.0, 4.0), DetectionScale(12.0, 5.0, 8.0)))


def blocks_of(image, bad=None, size=4):
    return block_means(image, bad, CellGrid.from_bin_size(image.shape, 32), size)


def gaussian(y, x, sigma):
    yy, xx = np.indices(SHAPE)
    return np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / (2 * sigma**2))


def test_a_compact_source_is_found_and_grown(rng):
    image = 100 + rng.normal(0, 2, SHAPE) + 40 * gaussian(201, 307, 2.0)
    blocks = blocks_of(image)

    found = blocks.expand(find_objects(blocks, RULE).detected)

    yy, xx = np.indices(SHAPE)
    radius = np.hypot(yy - 201, xx - 307)
    assert found[radius < 6].all()
    assert not found[radius > 30].mean() > 0.02


def test_a_faint_wide_source_is_found_by_the_wide_scale_alone(rng):
    image = rng.normal(0, 2, SHAPE) + 0.5 * gaussian(250, 300, 25.0)  # a quarter of the noise
    blocks = blocks_of(image)
    narrow = DetectionRule(RULE.scales[:1])

    wide = blocks.expand(find_objects(blocks, RULE).detected)

    middle = np.s_[235:265, 285:315]
    few = blocks.expand(find_objects(blocks, narrow).detected)
    assert wide[middle].mean() > 0.5 > few[middle].mean()


def test_the_rate_of_false_detections_is_that_of_the_threshold(rng):
    image = rng.normal(0, 2, SHAPE)
    rule = DetectionRule((DetectionScale(3.0, 3.0, 0.0),))

    blocks = blocks_of(image)
    rate = find_objects(blocks, rule).detected.mean()

    # 0.135 % of a normal distribution lie beyond 3 sigma; smoothed blocks are some 2000 samples
    assert 0.0002 < rate < 0.0040


def test_the_sky_may_slope(rng):
    yy, xx = np.indices(SHAPE)
    image = 0.2 * xx - 0.1 * yy + rng.normal(0, 2, SHAPE)

    blocks = blocks_of(image)

    assert find_objects(blocks, RULE).detected.mean() < 0.01


def test_masked_pixels_are_neither_sources_nor_do_they_hide_them(rng):
    image = rng.normal(0, 2, SHAPE) + 60 * gaussian(201, 307, 2.0)
    bad = np.zeros(SHAPE, bool)
    bad[:, 308:340] = True
    image[bad] = 1e6
    image[100:110, 100:110] = np.nan
    blocks = blocks_of(image, bad)

    found = find_objects(blocks, RULE).detected

    assert blocks.expand(found)[195:208, 300:307].all()
    assert found.mean() < 0.01


def test_noise_may_come_from_a_variance(rng):
    image = rng.normal(0, 2, SHAPE) + 8 * gaussian(201, 307, 2.0)
    blocks = blocks_of(image)
    large = np.full(blocks.shape, 40.0**2, np.float32)

    assert find_objects(blocks, RULE).detected.any()
    assert not find_objects(blocks, RULE, variance=large).detected.any()


def test_small_pieces_may_be_dropped(rng):
    image = rng.normal(0, 2, SHAPE) + 400 * gaussian(201, 307, 1.0)
    rule = DetectionRule((DetectionScale(0.5, 10.0, 0.0),), min_pixels=30)
    blocks = blocks_of(image)

    assert find_objects(blocks, DetectionRule(rule.scales)).detected.any()
    assert not find_objects(blocks, rule).detected.any()


def test_the_border_may_be_left_unsearched(rng):
    image = rng.normal(0, 2, SHAPE) + 400 * gaussian(3, 300, 2.0)
    rule = DetectionRule((DetectionScale(5.0, 4.0, 0.0),), search_border=False)
    blocks = blocks_of(image, size=1)

    found = find_objects(blocks, rule)

    assert not found.detected[:17].any()
    assert found.unsearched[:17].all()
    assert not found.unsearched[17:-17, 17:-17].any()


@pytest.mark.parametrize("bad", [True, False])
def test_an_image_without_sky_has_no_objects(bad):
    image = np.full(SHAPE, 5.0 if bad else np.nan)

    found = find_objects(blocks_of(image, np.full(SHAPE, bad)), RULE)

    assert not found.detected.any()
