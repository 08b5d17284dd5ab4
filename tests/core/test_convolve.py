import numpy as np
import pytest

from skytool.core.convolve import convolve, convolve_planes, convolve_variance
from skytool.core.matching.spatial_kernel import SpatialKernel


def convolved_slowly(plane, kernel):
    """Sum over the taps of the kernel evaluated at every output pixel."""
    ny, nx = plane.shape
    half_y, half_x = kernel.half
    padded = np.pad(plane.astype(np.float64), ((half_y, half_y), (half_x, half_x)))
    rows, columns = kernel.rows(np.arange(ny)), kernel.columns(np.arange(nx))
    out = np.zeros(plane.shape)
    for v in range(2 * half_y + 1):
        for u in range(2 * half_x + 1):
            tap = rows @ kernel.images[:, :, v, u] @ columns.T
            out += tap * padded[2 * half_y - v :, 2 * half_x - u :][:ny, :nx]
    return out


def varying_kernel(rng, order=2, shape=(7, 9), image=(200, 230)):
    images = rng.normal(size=(order + 1, order + 1, *shape))
    for p in range(order + 1):
        images[p, order + 1 - p :] = 0.0
    return SpatialKernel(images=images, domain=(-0.5, image[0] - 0.5, -0.5, image[1] - 0.5))


@pytest.mark.parametrize("shape", [(200, 230), (61, 1100), (700, 37), (9, 8)])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_images_and_variances_agree_with_the_sum_over_taps(rng, shape, order):
    image = rng.normal(100.0, 10.0, shape).astype(np.float32)
    variance = rng.uniform(5.0, 9.0, shape).astype(np.float32)
    kernel = varying_kernel(rng, order, image=shape)
    squared = SpatialKernel(images=kernel.squared().images, domain=kernel.domain)

    slow, fast = convolved_slowly(image, kernel), convolve(image, kernel)
    slow_v, fast_v = convolved_slowly(variance, squared), convolve_variance(variance, kernel)

    assert fast.dtype == fast_v.dtype == np.float32
    np.testing.assert_allclose(fast, slow, rtol=0, atol=3e-6 * np.abs(slow).max())
    np.testing.assert_allclose(fast_v, slow_v, rtol=0, atol=3e-6 * slow_v.max())


def test_double_precision_is_there_for_those_who_need_it(rng):
    image = rng.normal(1e4, 10.0, (200, 230))
    kernel = varying_kernel(rng)

    slow, fast = convolved_slowly(image, kernel), convolve(image, kernel, dtype=np.float64)

    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-13 * np.abs(slow).max())


def test_the_kernel_is_not_flipped(rng):
    image = np.zeros((31, 44))
    image[12, 20] = 2.0
    pixels = rng.normal(size=(5, 3))

    out = convolve(image, pixels)

    np.testing.assert_allclose(out[10:15, 19:22], 2.0 * pixels, atol=1e-6)


def test_the_kernel_is_evaluated_at_the_output_pixel():
    images = np.zeros((1, 2, 1, 3))
    images[0, 1, 0] = 1.0  # 2 (x + 0.5) / 40 - 1 in every tap
    kernel = SpatialKernel(images=images, domain=(-0.5, 9.5, -0.5, 39.5))
    image = np.zeros((10, 40))
    image[5, 25] = 1.0

    out = convolve(image, kernel)

    np.testing.assert_allclose(out[5, 24:27], 2 * (np.arange(24, 27) + 0.5) / 40 - 1, atol=1e-7)


def test_the_number_of_threads_does_not_change_a_bit(rng):
    image = rng.normal(size=(500, 610)).astype(np.float32)
    kernel = varying_kernel(rng, image=image.shape)

    np.testing.assert_array_equal(convolve(image, kernel), convolve(image, kernel, threads=3))


def test_a_plane_that_is_not_finite_is_refused():
    image = np.ones((20, 30))
    image[3, 4] = np.nan

    with pytest.raises(ValueError, match="finite"):
        convolve(image, np.ones((3, 3)))


def test_a_part_of_an_image_with_a_shifted_kernel_is_a_part_of_the_whole(rng):
    image = rng.normal(size=(120, 140))
    kernel = varying_kernel(rng, image=image.shape)

    whole = convolve(image, kernel, dtype=np.float64)
    part = convolve(image[30:90, 50:], kernel.shifted(dy=-30, dx=-50), dtype=np.float64)

    np.testing.assert_allclose(part[3:-3, 4:-4], whole[33:87, 54:-4], atol=1e-11)


def test_noise_has_the_propagated_variance(rng):
    kernel = varying_kernel(rng, 1, (5, 5), (300, 320))
    variance = np.where(np.arange(320) < 160, 1.0, 9.0) * np.ones((300, 1))
    noise = rng.normal(size=(12, 300, 320)) * np.sqrt(variance)

    measured = np.mean([convolve(n.astype(np.float32), kernel) ** 2 for n in noise], axis=0)
    pull = measured / convolve_variance(variance, kernel)

    # 12 x 75 x 80 samples per block, each pixel correlated with some 25 others
    blocks = pull.reshape(4, 75, 4, 80).mean(axis=(1, 3))
    np.testing.assert_allclose(blocks, 1.0, atol=5 * np.sqrt(2 * 25 / (12 * 75 * 80)))


def planes(rng, shape=(40, 57)):
    image = rng.normal(50.0, 3.0, shape).astype(np.float32)
    variance = np.full(shape, 9.0, np.float32)
    mask = np.zeros(shape, np.int32)
    mask[20, 30] = 2
    return image, variance, mask


def test_empty_edges_have_no_value_and_only_their_own_bits(rng):
    image, variance, mask = planes(rng)
    mask[0, 0] = 64

    out = convolve_planes(image, np.ones((5, 7)), variance=variance, mask=mask, edge_bits=256)

    inside = np.zeros(image.shape, bool)
    inside[2:-2, 3:-3] = True
    np.testing.assert_array_equal(np.isfinite(out.image), inside)
    np.testing.assert_array_equal(np.isposinf(out.variance), ~inside)
    np.testing.assert_array_equal(out.mask[~inside], 256)
    np.testing.assert_allclose(out.variance[inside], 9.0 * 35, rtol=1e-5)
    assert out.mask.dtype == np.int32


def test_copied_edges_keep_the_input_and_gain_bits(rng):
    image, variance, mask = planes(rng)
    mask[0, 5] = 64

    out = convolve_planes(
        image, np.ones((5, 7)), variance=variance, mask=mask, edge="copy", edge_bits=16
    )

    np.testing.assert_array_equal(out.image[:2], image[:2])
    np.testing.assert_array_equal(out.variance[:, -3:], variance[:, -3:])
    assert out.mask[0, 5] == 64 + 16
    assert out.mask[0, 6] == 16


def test_partial_edges_hold_the_sum_inside_of_the_image(rng):
    image, _, mask = planes(rng)

    out = convolve_planes(image, np.ones((3, 3)), mask=mask, edge="partial", edge_bits=16)

    assert out.image[0, 0] == pytest.approx(image[:2, :2].sum(), rel=1e-5)
    assert out.variance is None
    assert (out.mask[0, 0], out.mask[5, 5], out.mask[19, 29]) == (16, 0, 2)


def test_pixels_without_a_value_spread_as_far_as_the_kernel(rng):
    image, variance, mask = planes(rng)
    image[10, 12] = np.nan
    variance[30, 40] = np.inf
    kernel = np.ones((3, 5))
    kernel[0, 0] = 0.0

    out = convolve_planes(image, kernel, variance=variance, mask=mask, edge="partial")

    lost = np.zeros(image.shape, bool)
    lost[9:12, 10:15] = lost[29:32, 38:43] = True
    lost[9, 10] = lost[29, 38] = False
    np.testing.assert_array_equal(np.isnan(out.image), lost)
    np.testing.assert_array_equal(np.isinf(out.variance), lost)


def test_pixels_without_a_value_can_be_filled_instead(rng):
    image, variance, mask = planes(rng)
    clean = convolve_planes(image, np.full((5, 5), 0.04), edge="partial").image
    image[10, 12] = np.nan
    variance[10, 12] = np.inf

    out = convolve_planes(
        image,
        np.full((5, 5), 0.04),
        variance=variance,
        mask=mask,
        edge="partial",
        nonfinite="fill",
    )

    assert np.all(np.isfinite(out.image))
    np.testing.assert_allclose(out.variance[5:-5, 5:-5], 0.36, rtol=1e-5)
    # one pixel in 25 is replaced: a change of at most 0.04 times its deviation from the median
    np.testing.assert_allclose(out.image, clean, atol=0.04 * 5 * 3.0)


def test_kept_bits_stay_where_they_are(rng):
    image, _, mask = planes(rng)
    mask[20, 30] = 2 + 32

    out = convolve_planes(image, np.ones((3, 3)), mask=mask, kept_bits=32, edge="partial")

    assert np.count_nonzero(out.mask & 2) == 9
    assert np.argwhere(out.mask & 32).tolist() == [[20, 30]]


def test_a_fraction_of_the_weight_keeps_the_mask_small(rng):
    image, _, mask = planes(rng)
    offsets = np.arange(15) - 7
    kernel = np.exp(-0.5 * (offsets[:, None] ** 2 + offsets**2) / 4.0)

    wide = convolve_planes(image, kernel, mask=mask, edge="partial")
    small = convolve_planes(image, kernel, mask=mask, edge="partial", spread_fraction=0.01)

    assert np.count_nonzero(wide.mask) == 225
    kernel /= kernel.sum()
    assert np.count_nonzero(small.mask) == np.count_nonzero(kernel > 0.01)


def test_an_image_smaller_than_the_kernel_has_only_edges():
    out = convolve_planes(
        np.ones((4, 30)), np.ones((9, 9)), mask=np.zeros((4, 30), int), edge_bits=8
    )

    assert np.all(np.isnan(out.image))
    assert np.all(out.mask == 8)
