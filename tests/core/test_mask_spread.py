import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from skytool.core.mask_spread import spread_mask, spread_mask_by_weight
from skytool.core.matching.spatial_kernel import SpatialKernel


def spread_slowly(mask, support):
    ny, nx = mask.shape
    out = np.zeros_like(mask)
    for dy, dx in np.argwhere(support) - np.array(support.shape) // 2:
        for y in range(max(dy, 0), min(ny, ny + dy)):
            for x in range(max(dx, 0), min(nx, nx + dx)):
                out[y, x] |= mask[y - dy, x - dx]
    return out


@given(
    arrays(np.int32, (9, 13), elements=st.sampled_from([0, 0, 0, 0, 1, 4, 1 << 30])),
    arrays(np.bool_, st.sampled_from([(1, 1), (3, 5), (7, 3), (5, 19)])),
)
def test_bits_go_where_the_kernel_carries_values(mask, support):
    np.testing.assert_array_equal(spread_mask(mask, support), spread_slowly(mask, support))


def test_a_single_pixel_takes_the_shape_of_the_kernel(rng):
    support = rng.random((5, 7)) < 0.5
    mask = np.zeros((21, 26), np.int32)
    mask[8, 11] = 6

    out = spread_mask(mask, support)

    np.testing.assert_array_equal(out[6:11, 8:15], np.where(support, 6, 0))
    assert np.count_nonzero(out) == support.sum()


def test_flags_may_be_boolean():
    bad = np.zeros((6, 9), bool)
    bad[0, 8] = True

    out = spread_mask(bad, np.ones((3, 3), bool))

    assert out.dtype == bool
    assert np.argwhere(out).tolist() == [[0, 7], [0, 8], [1, 7], [1, 8]]


def test_the_input_is_left_alone(rng):
    mask = (rng.random((30, 41)) < 0.1).astype(np.int32)
    before = mask.copy()

    spread_mask(mask, np.ones((7, 5), bool))

    np.testing.assert_array_equal(mask, before)


def test_kernels_need_a_middle_pixel():
    with pytest.raises(ValueError, match="odd"):
        spread_mask(np.zeros((5, 6), np.int32), np.ones((2, 3), bool))


@pytest.mark.parametrize("fraction", [0.004, 0.02, 0.2])
def test_by_weight_a_bit_goes_where_flagged_pixels_hold_enough_of_the_kernel(rng, fraction):
    pixels = rng.normal(size=(9, 5))
    mask = np.where(rng.random((301, 270)) < 0.01, 4, 0).astype(np.int32)
    mask[40:60, 100:130] |= 1 << 9
    kernel = SpatialKernel.constant(pixels)

    out = spread_mask_by_weight(mask, kernel, fraction)

    weight = np.abs(pixels) / np.abs(pixels).sum()
    for bit in (4, 1 << 9):
        held = np.zeros(mask.shape)
        padded = np.pad((mask & bit) != 0, ((4, 4), (2, 2)))
        for v in range(9):
            for u in range(5):
                held += weight[v, u] * padded[8 - v : 8 - v + 301, 4 - u : 4 - u + 270]
        np.testing.assert_array_equal((out & bit) != 0, held > fraction)


def test_by_weight_no_fraction_means_every_pixel_of_the_kernel():
    mask = np.zeros((20, 31), np.int32)
    mask[9, 17] = 2
    kernel = SpatialKernel.constant(np.full((3, 5), 1e-9) + np.eye(3, 5))

    assert np.count_nonzero(spread_mask_by_weight(mask, kernel, 0.0)) == 15
    assert np.count_nonzero(spread_mask_by_weight(mask, kernel, 1e-3)) == 3


def test_by_weight_the_local_kernel_counts():
    images = np.zeros((1, 2, 1, 5))
    images[0, 0, 0] = [0.5, 0.0, 1.0, 0.0, 0.5]
    images[0, 1, 0] = [-0.5, 0.0, 0.0, 0.0, 0.5]
    kernel = SpatialKernel(images=images, domain=(-0.5, 39.5, -0.5, 1023.5))
    mask = np.zeros((40, 1024), np.int32)
    mask[20, [30, 1000]] = 8

    rows, columns = np.nonzero(spread_mask_by_weight(mask, kernel, 0.2))

    assert set(rows) == {20}
    assert columns.tolist() == [28, 30, 1000, 1002]
