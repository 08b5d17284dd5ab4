import numpy as np
import pytest

from skytool.core.resampling.kernels import resampling_kernel
from skytool.core.stacks.coadd import (
    Clipping,
    CoaddBits,
    CoaddPlanes,
    Tally,
    coadd,
    median_variance,
)

NO_DATA, BAD, SAT, EDGE, DETECTED = 1, 2, 4, 8, 16
CLIPPED, REJECTED, SENSOR_EDGE, INEXACT, SUSPECT = 32, 64, 128, 256, 512
BITS = CoaddBits(
    no_data=NO_DATA,
    bad=BAD | SAT,
    edge=EDGE,
    clipped=CLIPPED,
    rejected=REJECTED,
    sensor_edge=SENSOR_EDGE,
    inexact_psf=INEXACT,
    suspect=SUSPECT,
    propagated=(SAT,),
)


def combined(images, variances, masks=None, weights=None, rows=None, bits=BITS, **options):
    """Combine images; weights are equal unless given, None for inverse variances."""
    images = np.asarray(images, np.float32)
    n, ny, nx = images.shape
    variances = np.broadcast_to(np.asarray(variances, np.float32), images.shape).copy()
    masks = np.zeros(images.shape, np.int32) if masks is None else masks.astype(np.int32)
    rows = rows or slice(0, ny)
    out, tally = CoaddPlanes.empty((rows.stop - rows.start, nx)), Tally.zero(n)
    weights = np.ones(n) if weights is None else weights
    coadd(
        images,
        variances,
        masks,
        weights=None if weights is BY_PIXEL else np.asarray(weights, float),
        bits=bits,
        out=out,
        tally=tally,
        rows=rows,
        **options,
    )
    return out, tally


BY_PIXEL = "pixel"


def flagged(out, bit):
    return (out.mask & bit) != 0


def test_the_mean_is_weighted_and_its_variance_propagated():
    images = np.array([[[1.0, 2.0]], [[4.0, 6.0]], [[-3.0, 1.0]]])
    variances = np.array([[[1.0, 4.0]], [[2.0, 3.0]], [[5.0, 0.5]]])
    weights = np.array([0.5, 2.0, 1.5])

    out, tally = combined(images, variances, weights=weights, statistic="mean")

    w = weights[:, None, None]
    np.testing.assert_allclose(out.image, (w * images).sum(0) / w.sum(), rtol=1e-6)
    np.testing.assert_allclose(out.variance, (w**2 * variances).sum(0) / w.sum() ** 2, rtol=1e-6)
    np.testing.assert_array_equal(out.count, 3)
    np.testing.assert_array_equal(tally.used, [2, 2, 2])


def test_weights_by_pixel_are_inverse_variances():
    images = np.array([[[1.0, 2.0]], [[4.0, 6.0]]])
    variances = np.array([[[1.0, 4.0]], [[2.0, 3.0]]])

    out, _ = combined(images, variances, weights=BY_PIXEL, statistic="mean")

    np.testing.assert_allclose(out.image, [[2.0, 30 / 7]], rtol=1e-6)
    np.testing.assert_allclose(out.variance, [[2 / 3, 12 / 7]], rtol=1e-6)


@pytest.mark.parametrize(("n", "expected"), [(3, 5.0), (4, 4.0)])
def test_the_median_has_no_weights(n, expected):
    images = np.array([1.0, 5.0, 40.0, 3.0])[:n, None, None]

    out, _ = combined(images, 2.0, weights=[9, 1, 1, 1][:n], statistic="median")

    assert out.image[0, 0] == expected
    np.testing.assert_allclose(out.variance[0, 0], median_variance(n) * 2.0 / n, rtol=1e-6)


@pytest.mark.parametrize("statistic", ["mean", "meanclip", "median"])
@pytest.mark.parametrize("n", [1, 2, 3, 6, 11])
def test_the_variance_is_that_of_the_noise(rng, statistic, n):
    sigma = np.full(n, 1.5) if statistic == "median" else rng.uniform(0.5, 2.0, n)
    images = sigma[:, None, None] * rng.standard_normal((n, 300, 310))

    out, _ = combined(images, sigma[:, None, None] ** 2, weights=sigma**-2, statistic=statistic)

    pull = out.image / np.sqrt(out.variance)
    error = 1 / np.sqrt(2 * pull.size)
    # clipping at 4 sigma leaves out 6e-5 of the values, which adds 3e-4 to the scatter
    assert abs(pull.std() - 1) < 4 * error + (0.003 if statistic == "meanclip" else 0)
    assert abs(pull.mean()) < 4 / np.sqrt(pull.size)


@pytest.mark.parametrize("n", [3, 4, 5, 10, 24, 65, 90])
def test_the_variance_of_a_median_is_that_of_samples(rng, n):
    medians = np.median(rng.standard_normal((40_000, n)), axis=1)

    assert n * medians.var() == pytest.approx(median_variance(n), rel=4 * np.sqrt(2 / 40_000))


def test_the_variance_of_a_median_goes_to_its_limit():
    values = [median_variance(n) for n in (64, 66, 1000)]

    assert values[0] == pytest.approx(values[1], rel=1e-3)  # integrated, then expanded
    assert values[0] < values[1] < values[2] < np.pi / 2
    assert [median_variance(n) for n in (0, 1, 2)] == [1, 1, 1]
    assert median_variance(3) == pytest.approx(3 * 0.44867, rel=1e-4)  # Arnold et al. 1992
    with pytest.raises(ValueError, match="less than no values"):
        median_variance(-1)


def test_what_is_no_value_does_not_count():
    images = np.full((5, 1, 1), 7.0)
    images[1] = np.nan
    variances = np.array([4.0, 1.0, np.inf, 0.0, 1.0])[:, None, None]
    masks = np.array([DETECTED, 0, 0, 0, NO_DATA])[:, None, None]

    out, tally = combined(images, variances, masks, statistic="mean")

    assert out.image[0, 0] == 7
    assert out.variance[0, 0] == 4
    assert out.count[0, 0] == 1
    assert out.mask[0, 0] == DETECTED
    np.testing.assert_array_equal(tally.used, [1, 0, 0, 0, 0])


def test_bad_planes_are_left_out_and_others_passed_on():
    images = np.array([1.0, 3.0, 100.0])[:, None, None]
    masks = np.array([0, DETECTED, BAD | DETECTED])[:, None, None]

    out, _ = combined(images, 1.0, masks, statistic="mean")

    assert out.image[0, 0] == 2
    assert out.mask[0, 0] == DETECTED | REJECTED | INEXACT


@pytest.mark.parametrize(("weights", "has_sat"), [((8, 8, 1), False), ((8, 8, 4), True)])
def test_a_plane_is_propagated_by_the_weight_of_what_was_left_out(weights, has_sat):
    masks = np.array([0, 0, SAT])[:, None, None]

    out, _ = combined(np.ones((3, 1, 1)), 1.0, masks, weights=weights, statistic="mean")

    assert flagged(out, SAT)[0, 0] == has_sat
    assert flagged(out, REJECTED)[0, 0]


def test_a_pixel_without_any_good_value_is_empty():
    masks = np.array([[[BAD, SAT, NO_DATA]], [[BAD, SAT, NO_DATA]]])

    out, _ = combined(np.ones((2, 1, 3)), 1.0, masks, statistic="mean")

    assert np.isnan(out.image).all()
    assert np.isposinf(out.variance).all()
    np.testing.assert_array_equal(out.count, 0)
    np.testing.assert_array_equal(
        out.mask,
        [[NO_DATA | REJECTED | INEXACT, NO_DATA | SAT | REJECTED | INEXACT, NO_DATA]],
    )


def test_the_edge_of_an_input_is_flagged():
    images = np.ones((2, 7, 9))
    images[1, :, 5:] = np.nan
    masks = np.zeros((2, 7, 9))
    masks[0, 2, 1] = EDGE

    out, _ = combined(images, 1.0, masks, statistic="mean")

    expected = np.zeros((7, 9), bool)
    expected[:, 4] = expected[2, 1] = True
    np.testing.assert_array_equal(flagged(out, SENSOR_EDGE), expected)
    np.testing.assert_array_equal(flagged(out, INEXACT), expected)
    assert not flagged(out, EDGE).any()


def test_rows_around_tell_where_an_input_ends_and_where_outliers_are(rng):
    images = rng.standard_normal((6, 40, 30))
    images[2, 21:24, 10:13] += 60
    images[3, 19, :] = np.nan
    whole, whole_tally = combined(images, 1.0)

    parts, tallies = [], np.zeros(6)
    for start, stop in ((0, 19), (19, 23), (23, 40)):
        first, last = max(start - 2, 0), min(stop + 2, 40)
        part, tally = combined(images[:, first:last], 1.0, rows=slice(start - first, stop - first))
        parts.append(part)
        tallies += tally.used

    for name in ("image", "variance", "mask", "count"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))
    np.testing.assert_array_equal(tallies, whole_tally.used)


@pytest.mark.parametrize("n", [3, 5, 9])
@pytest.mark.parametrize("strength", [20.0, 1e4])
def test_an_outlier_of_one_image_is_left_out(rng, n, strength):
    images = rng.standard_normal((n, 12, 14))
    clean = images.copy()
    images[1, 6, 5] += strength

    out, tally = combined(images, 1.0)

    assert flagged(out, CLIPPED)[6, 5]
    assert flagged(out, INEXACT)[6, 5]
    assert out.count[6, 5] == n - 1
    assert tally.clipped[1] >= 1
    expected = np.delete(clean, 1, axis=0)[:, 6, 5].mean()
    assert out.image[6, 5] == pytest.approx(expected, abs=1e-6)


def test_of_two_values_none_can_be_told_to_be_wrong():
    images = np.zeros((2, 5, 5))
    images[1, 2, 3] = 500

    out, tally = combined(images, 1.0)

    assert out.image[2, 3] == 250
    np.testing.assert_array_equal(flagged(out, SUSPECT), images[1] > 0)
    assert not flagged(out, CLIPPED).any()
    np.testing.assert_array_equal(tally.clipped, 0)


def test_where_most_values_would_be_outliers_all_are_used():
    images = np.zeros((5, 5, 5))
    images[:, 2, 3] = -200, -100, 0, 100, 200
    variances = np.full((5, 5, 5), 1.0)
    few = Clipping(sigma=0.5, amplitude=0.0, steepness=0.0, grow_sigma=9.0)

    out, tally = combined(images, variances, clipping=few)

    assert out.image[2, 3] == 0
    assert out.count[2, 3] == 5
    np.testing.assert_array_equal(flagged(out, SUSPECT), images[0] < 0)
    np.testing.assert_array_equal(tally.clipped, 0)


def cosmic_rays(rng, shape):
    """Single pixels of a detector after resampling, on one image each, apart from each other."""
    rays = np.zeros(shape)
    kernel = resampling_kernel("lanczos3")
    for y in range(5, shape[1] - 10, 20):
        for x in range(5, shape[2] - 10, 20):
            weights = np.outer(kernel.weights(rng.random()), kernel.weights(rng.random()))
            image = rays[rng.integers(shape[0])]
            image[y : y + 6, x : x + 6] = 10 ** rng.uniform(2, 4) * weights
    return rays


@pytest.mark.parametrize("n", [4, 10])
def test_cosmic_rays_leave_less_than_the_noise(rng, n):
    shape = (n, 200, 210)
    noise = 10 * rng.standard_normal(shape)
    rays = cosmic_rays(rng, shape)
    truth, _ = combined(noise, 100.0, statistic="mean")

    plain, _ = combined(noise + rays, 100.0 + np.clip(rays, 0, None), statistic="mean")
    clipped, _ = combined(noise + rays, 100.0 + np.clip(rays, 0, None))

    seen = np.abs(rays).max(axis=0) > 1
    before, after = (np.sqrt(np.mean((o.image - truth.image)[seen] ** 2)) for o in (plain, clipped))
    sigma = 10 / np.sqrt(n)
    assert before > 5 * sigma
    # fewer values are averaged there, and what lies below the limits stays
    assert after < 1.0 * sigma
    assert after < 0.12 * before


def stars(widths, fluxes, shape, spacing=40):
    """Moffat stars of several widths on a lattice, one width per image."""
    down, right = np.indices((31, 31)) - 15.0
    images = np.zeros((len(widths), *shape))
    places = [
        (y, x) for y in range(20, shape[0] - 20, spacing) for x in range(20, shape[1] - 20, spacing)
    ]
    for image, width in zip(images, widths, strict=True):
        profile = (1 + (down**2 + right**2) / (0.98 * width) ** 2) ** -3.0
        for (y, x), flux in zip(places, np.resize(fluxes, len(places)), strict=True):
            image[y - 15 : y + 16, x - 15 : x + 16] += flux * profile / profile.sum()
    return images, places


def test_stars_are_not_clipped_when_the_seeing_varies(rng):
    images, places = stars([3.2, 3.6, 4.0, 4.4, 5.0], [1e3, 3e4, 1e6], (260, 300))
    variances = 100 + images
    images += np.sqrt(variances) * rng.standard_normal(images.shape)
    mean, _ = combined(images, variances, statistic="mean")

    clipped, _ = combined(images, variances)
    by_scatter, _ = combined(images, variances, clipping=Clipping(3, 2, "scatter"))

    bright = [place for at, place in enumerate(places) if at % 3]  # noise is little of their light

    def worst(out):
        boxes = [np.s_[y - 6 : y + 7, x - 6 : x + 7] for y, x in bright]
        return max(abs(out.image[box].sum() / mean.image[box].sum() - 1) for box in boxes)

    assert worst(clipped) < 1e-3
    assert worst(by_scatter) > 3e-3
    lost, on_stars = flagged(clipped, CLIPPED), np.zeros(clipped.image.shape, np.bool_)
    for y, x in places:
        on_stars[y - 6 : y + 7, x - 6 : x + 7] = True
    by_noise, n = lost[~on_stars].mean(), np.count_nonzero(on_stars)
    # clipped pixels come in groups of about nine, with what is clipped beside them
    assert lost[on_stars].mean() < by_noise + 4 * np.sqrt(9 * by_noise / n)


def test_clipping_by_scatter_loses_good_values_where_they_are_few(rng):
    images = rng.standard_normal((5, 200, 210))

    noise, _ = combined(images, 1.0)
    scatter, _ = combined(images, 1.0, clipping=Clipping(3, 2, "scatter"))

    assert noise.image.std() * np.sqrt(5) == pytest.approx(1, abs=0.01)
    assert scatter.image.std() * np.sqrt(5) > 1.05


def test_weights_by_pixel_make_fluxes_depend_on_brightness(rng):
    images, places = stars([3.0, 3.4, 3.8, 4.2, 4.6], [1e3, 1e6], (260, 300))
    variances = 100 + images

    def fluxes(weights):
        out, _ = combined(images, variances, weights=weights, statistic="mean")
        boxes = [out.image[y - 13 : y + 14, x - 13 : x + 14].sum() for y, x in places]
        expected = [images[0, y - 13 : y + 14, x - 13 : x + 14].sum() for y, x in places]
        ratios = np.array(boxes) / expected
        return ratios[1::2].mean() / ratios[::2].mean()

    assert abs(fluxes(np.ones(5)) - 1) < 0.002
    assert fluxes(BY_PIXEL) < 0.98


def test_the_same_values_in_another_order_give_the_same_median():
    rng = np.random.default_rng(8)
    images = rng.standard_normal((7, 20, 24))

    first, _ = combined(images, 1.0, statistic="median")
    second, _ = combined(images[::-1], 1.0, statistic="median")

    np.testing.assert_array_equal(first.image, second.image)
