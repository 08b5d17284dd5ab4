import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skytool.core.noise.fill import fill_bad
from skytool.core.resampling.kernels import predicted_noise, resampling_kernel
from skytool.core.resampling.pixel_map import PixelMap, Window
from skytool.core.resampling.resample import resample
from tests.core.resampled import (
    EDGE,
    KERNELS,
    NO_DATA,
    SAT,
    affine_map,
    box,
    centroid,
    draw_stars,
    rotated_map,
)

SHAPE = (62, 81)
BORDERS = {"lanczos3": 3, "lanczos4": 4, "lanczos5": 5, "spline3": 3, "bilinear": 1, "nearest": 1}


def planes(rng, shape=SHAPE):
    image = rng.normal(250, 12, shape).astype(np.float32)
    variance = rng.uniform(3, 9, shape).astype(np.float32)
    mask = np.where(rng.random(shape) < 0.1, SAT, 0).astype(np.int32)
    return image, variance, mask


def inner(shape, kernel):
    """Pixels whose own footprint is on the image."""
    n = BORDERS[kernel]
    return np.s_[n - 1 : shape[0] - n, n - 1 : shape[1] - n]


def assert_empty(result, where):
    assert np.isnan(result.image[where]).all()
    assert (result.mask[where] == NO_DATA).all()
    assert np.isposinf(result.variance[where]).all()


# --- copies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_same_grid_gives_the_same_planes_inside_the_border(rng, kernel):
    image, variance, mask = planes(rng)

    result = resample(
        image, variance, mask, affine_map(SHAPE), no_data=NO_DATA, kernel=kernel, grow=SAT
    )

    part = inner(SHAPE, kernel)
    outside = np.ones(SHAPE, dtype=bool)
    outside[part] = False
    assert_array_equal(result.image[part], image[part])
    assert_array_equal(result.variance[part], variance[part])
    assert_array_equal(result.mask[part], mask[part])
    assert_empty(result, outside)
    assert result.n_good == (~outside).sum()
    assert result.mean_area == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_shift_by_whole_pixels_is_a_copy_even_of_a_lost_pixel(rng, kernel):
    image, variance, mask = planes(rng)
    if kernel != "spline3":
        image[30, 40] = np.nan
    shape, shift = (50, 90), (7, -5)

    result = resample(
        image, variance, mask, affine_map(shape, shift=shift), no_data=NO_DATA, kernel=kernel
    )

    expected = np.full(shape, np.nan, dtype=np.float32)
    y, x = np.indices(shape)
    part = inner(SHAPE, kernel)
    rows, columns = np.arange(SHAPE[0])[part[0]], np.arange(SHAPE[1])[part[1]]
    seen = np.isin(y + shift[0], rows) & np.isin(x + shift[1], columns)
    expected[seen] = image[y[seen] + shift[0], x[seen] + shift[1]]
    assert_array_equal(result.image, expected)
    good = np.isfinite(expected)
    assert_array_equal(result.mask[good], mask[y[good] + shift[0], x[good] + shift[1]])
    assert_array_equal(result.variance[good], variance[y[good] + shift[0], x[good] + shift[1]])
    assert_empty(result, ~good)


def test_rounding_errors_of_positions_do_not_turn_a_copy_into_an_interpolation(rng):
    image, variance, mask = planes(rng)
    image[30, 40] = np.nan
    noisy = PixelMap(
        lambda x, y: (x + 4 + 3e-9 * np.sin(x), y - 2 + 3e-9 * np.cos(x + y)), SHAPE, step=0
    )

    result = resample(image, variance, mask, noisy, no_data=NO_DATA, grow=SAT)

    whole = resample(image, variance, mask, affine_map(SHAPE, shift=(-2, 4)), no_data=NO_DATA)
    assert_allclose(result.image, whole.image, rtol=3e-8)
    assert_array_equal(result.mask, whole.mask)


# --- levels, fluxes, positions ------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["lanczos3", "lanczos4", "lanczos5", "spline3", "bilinear"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_half_a_pixel_keeps_a_constant_and_scales_its_variance(kernel, dtype):
    image, variance = np.full(SHAPE, 1000, dtype=dtype), np.full(SHAPE, 4, dtype=np.float32)

    result = resample(
        image, variance, None, affine_map(SHAPE, shift=(0.5, 0.5)), no_data=NO_DATA, kernel=kernel
    )

    good = np.isfinite(result.image)
    assert result.image.dtype == dtype
    assert_allclose(result.image[good], 1000, rtol=1e-9)
    half = resampling_kernel(kernel).weights(0.5)
    assert_allclose(result.variance[10:-10, 10:-10], 4 * np.sum(half**2) ** 2, rtol=1e-6)
    if kernel == "lanczos3":
        assert_allclose(result.variance[10:-10, 10:-10], 4 * 0.61744, rtol=0, atol=4e-4)


@settings(max_examples=30)
@given(
    degrees=st.floats(0, 360),
    scale=st.floats(0.5, 1.4),
    kernel=st.sampled_from(KERNELS),
    level=st.floats(-1e4, 1e4),
)
def test_a_constant_stays_constant_under_any_affine_map(degrees, scale, kernel, level):
    image, variance = np.full(SHAPE, level), np.ones(SHAPE, dtype=np.float32)
    pixel_map, _ = rotated_map((45, 52), SHAPE, degrees=degrees, scale=scale)

    brightness, flux = (
        resample(image, variance, None, pixel_map, no_data=NO_DATA, kernel=kernel, conserve_flux=f)
        for f in (False, True)
    )

    good = np.isfinite(flux.image)
    assert good.any()
    assert_allclose(brightness.image[good], level, rtol=1e-12)
    assert_allclose(flux.image[good], level * scale**2, rtol=1e-9)
    assert_allclose(flux.variance[good], brightness.variance[good] * scale**4, rtol=1e-6)


def star_field(fwhm):
    rng = np.random.default_rng(3)
    shape = (460, 510)
    ys, xs = np.meshgrid(np.arange(60, 410, 48.0), np.arange(60, 460, 52.0), indexing="ij")
    ys, xs = (
        ys.ravel() + rng.uniform(-0.5, 0.5, ys.size),
        xs.ravel() + rng.uniform(-0.5, 0.5, xs.size),
    )
    return draw_stars(shape, ys, xs, fwhm=fwhm), ys, xs


@pytest.mark.parametrize(("kernel", "tolerance"), [("lanczos3", 0.012), ("spline3", 0.003)])
@pytest.mark.parametrize("fwhm", [3.0, 4.0])
def test_a_shift_moves_stars_by_the_shift_and_keeps_their_flux(kernel, tolerance, fwhm):
    image, ys, xs = star_field(fwhm)
    shift = (0.37, -0.71)

    result = resample(
        image, None, None, affine_map(image.shape, shift=shift), no_data=NO_DATA, kernel=kernel
    )

    for y, x in zip(ys, xs, strict=True):
        flux = box(result.image, y - shift[0], x - shift[1], 18).sum()
        assert abs(flux - box(image, y, x, 18).sum()) < 1e-9
        before = centroid(image, y, x, fwhm=fwhm, half_size=9)
        after = centroid(result.image, y - shift[0], x - shift[1], fwhm=fwhm, half_size=9)
        assert np.abs(after + shift - before).max() < tolerance


def flux_errors(kernel, *, fwhm, degrees, scale):
    image, ys, xs = star_field(fwhm)
    shape = (int(700 / scale), int(700 / scale))
    pixel_map, matrix = rotated_map(shape, image.shape, degrees=degrees, scale=scale)

    result = resample(image, None, None, pixel_map, no_data=NO_DATA, kernel=kernel)

    positions = np.linalg.solve(
        matrix, np.array([ys, xs]) - (np.array(image.shape) - 1)[:, None] / 2
    )
    positions += (np.array(shape) - 1)[:, None] / 2
    return np.array([box(result.image, y, x, round(16 / scale)).sum() - 1 for y, x in positions.T])


@pytest.mark.parametrize(
    ("kernel", "fwhm", "degrees", "scale", "tolerance"),
    [
        ("lanczos3", 2.5, 31, 0.8, 3e-4),
        ("lanczos3", 4.0, 31, 0.8, 3e-4),
        ("lanczos3", 2.5, 7, 0.97, 5e-3),
        ("lanczos3", 2.5, 12, 1.05, 5e-3),
        ("lanczos3", 4.0, 12, 1.03, 1.5e-3),
        ("lanczos5", 4.0, 12, 1.03, 5e-4),
        ("spline3", 2.0, 12, 1.04, 1e-4),
        ("spline3", 2.0, 31, 0.8, 1e-4),
        ("spline3", 3.0, 7, 0.97, 2e-5),
    ],
)
def test_star_fluxes_survive_rotation_and_scaling(kernel, fwhm, degrees, scale, tolerance):
    errors = flux_errors(kernel, fwhm=fwhm, degrees=degrees, scale=scale)

    assert np.abs(errors).max() < tolerance


def test_pixel_areas_follow_the_celestial_coordinates():
    from astropy.wcs import WCS

    def tan(scale, shape):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
        wcs.wcs.crval = 53.1, -27.8
        wcs.wcs.crpix = shape[1] / 2, shape[0] / 2
        wcs.wcs.cdelt = -scale / 3600, scale / 3600
        return wcs

    shape = (340, 310)
    source, target = tan(0.30, SHAPE_SKY), tan(0.20, shape)
    pixel_map = PixelMap(
        lambda x, y: tuple(source.all_world2pix(*target.all_pix2world(x, y, 0), 0)), shape
    )
    flat = np.full(SHAPE_SKY, 90.0)
    stars = draw_stars(SHAPE_SKY, [90.2, 130.7], [110.4, 70.1], fwhm=4, flux=2000)

    flat_result = resample(flat, None, None, pixel_map, no_data=NO_DATA)
    star_result = resample(stars, None, None, pixel_map, no_data=NO_DATA)

    good = np.isfinite(flat_result.image)
    assert good.sum() > 60000
    assert_allclose(flat_result.image[good], 90 * 4 / 9, rtol=1e-6)
    assert np.nansum(star_result.image) == pytest.approx(4000, rel=1e-3)
    assert flat_result.mean_area == pytest.approx(4 / 9, rel=1e-6)


SHAPE_SKY = (220, 200)

# --- variance -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["lanczos3", "lanczos5", "spline3", "bilinear"])
def test_the_variance_is_that_of_many_realisations_of_the_noise(rng, kernel):
    shape, n = (58, 71), 200
    variance = rng.uniform(2, 6, shape).astype(np.float32)
    draws = rng.normal(0, 1, (n, *shape)) * np.sqrt(variance)
    pixel_map, _ = rotated_map((60, 64), shape, degrees=17, scale=0.9)

    result = resample(
        draws[0], variance, None, pixel_map, no_data=NO_DATA, kernel=kernel, extras=draws[1:]
    )

    good = np.isfinite(result.image)
    assert good.sum() > 1500
    values = np.concatenate([result.image[None, good], result.extras[:, good]])
    ratio = values.var(axis=0, ddof=1) / result.variance[good]
    # the mean over all pixels of a variance from 200 draws: 2 / 199 / (independent pixels)
    error = np.sqrt(2 / (n - 1) / good.sum()) * predicted_noise(kernel).sum_factor ** 2
    assert abs(ratio.mean() - 1) < min(0.02, 4 * error)


@pytest.mark.parametrize("kernel", ["lanczos3", "lanczos5", "spline3", "bilinear"])
def test_white_noise_gets_the_predicted_variance_and_correlation(rng, kernel):
    noise = rng.normal(0, 1, (600, 560))
    variance = np.ones(noise.shape, dtype=np.float32)
    pixel_map, _ = rotated_map((620, 640), noise.shape, degrees=3.3, scale=1.0)

    result = resample(noise, variance, None, pixel_map, no_data=NO_DATA, kernel=kernel)

    expected = predicted_noise(kernel)
    good = np.isfinite(result.image)
    n = good.sum()
    error = 5 * np.sqrt(2 / n) * expected.sum_factor
    assert abs(np.nanvar(result.image) - expected.variance) < error
    assert abs(result.variance[good].mean() - expected.variance) < 3e-3
    for lag, correlation in enumerate(expected.correlations, 1):
        product = np.nanmean(result.image[:, lag:] * result.image[:, :-lag])
        # the axes are turned by 3 degrees, which hardly matters at these distances
        assert abs(product / expected.variance - correlation) < error + 4e-3


def test_infinite_variance_of_a_pixel_is_passed_on_to_its_footprint_only(rng):
    image, variance, mask = planes(rng)
    variance[30, 40] = np.inf

    result = resample(image, variance, mask, affine_map(SHAPE, shift=(0.3, 0.0)), no_data=NO_DATA)

    part = inner(SHAPE, "lanczos3")
    infinite = np.isposinf(result.variance[part])
    assert np.isfinite(result.image[27:32, 40]).all()
    assert not np.isnan(result.variance).any()
    assert infinite.sum() == 6
    assert np.isposinf(result.variance[27:33, 40]).all()


# --- masks and lost pixels ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shift", "n_sat", "n_edge"),
    [((0.3, -0.4), 4, 36), ((0.3, 2.0), 2, 6), ((-3.0, 2.0), 1, 1)],
)
def test_bits_reach_the_pixels_their_kernel_has_weight_in(shift, n_sat, n_edge):
    image, mask = np.ones(SHAPE, dtype=np.float32), np.zeros(SHAPE, dtype=np.int32)
    mask[30, 40] = SAT | EDGE

    result = resample(image, None, mask, affine_map(SHAPE, shift=shift), no_data=NO_DATA, grow=EDGE)

    part = inner(SHAPE, "lanczos5")
    assert ((result.mask[part] & SAT) != 0).sum() == n_sat
    assert ((result.mask[part] & EDGE) != 0).sum() == n_edge


@pytest.mark.parametrize(
    ("kernel", "mask_kernel", "n_taps"),
    [
        ("lanczos3", "none", 6),
        ("lanczos5", "none", 10),
        ("lanczos5", "lanczos3", 6),
        ("lanczos3", "nearest", 1),
        ("bilinear", "none", 2),
        ("nearest", "none", 1),
        ("nearest", "bilinear", 2),
        ("spline3", "none", 12),
    ],
)
def test_the_mask_kernel_says_how_far_bits_spread(kernel, mask_kernel, n_taps):
    image, mask = np.ones(SHAPE, dtype=np.float32), np.zeros(SHAPE, dtype=np.int32)
    mask[30, 40] = SAT

    result = resample(
        image,
        None,
        mask,
        affine_map(SHAPE, shift=(0.3, 0.6)),
        no_data=NO_DATA,
        kernel=kernel,
        mask_kernel=mask_kernel,
    )

    assert ((result.mask & SAT) != 0).sum() == n_taps**2


def test_the_nearest_pixel_goes_up_at_a_half():
    image = np.arange(SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)

    result = resample(
        image, None, None, affine_map(SHAPE, shift=(0.5, 0.49)), no_data=NO_DATA, kernel="nearest"
    )

    assert_array_equal(result.image[3:-3, 3:-3], image[4:-2, 3:-3])


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_pixel_without_value_lacks_the_no_data_bit(rng, kernel):
    image, variance, mask = planes(rng)
    image[20, 30], image[40, 50] = np.nan, np.inf
    variance[25, 60] = np.nan
    pixel_map, _ = rotated_map((70, 75), SHAPE, degrees=20, scale=0.9)

    result = resample(image, variance, mask, pixel_map, no_data=NO_DATA, kernel=kernel)

    empty = ~np.isfinite(result.image)
    assert_array_equal(result.mask == NO_DATA, empty)
    assert_empty(result, empty)
    assert not np.isnan(result.variance).any()
    assert result.n_good == (~empty).sum()


def test_a_lost_pixel_empties_the_footprint_of_a_spline_and_nothing_else(rng):
    image, variance, mask = planes(rng)
    spoiled = image.copy()
    spoiled[30, 40] = np.nan
    pixel_map = affine_map(SHAPE, shift=(0.3, 0.4))

    result = resample(spoiled, variance, mask, pixel_map, no_data=NO_DATA, kernel="spline3")

    zero = image.copy()
    zero[30, 40] = 0
    expected = resample(zero, variance, mask, pixel_map, no_data=NO_DATA, kernel="spline3").image
    expected[24:36, 34:46] = np.nan
    assert_array_equal(result.image, expected)


def test_filled_pixels_leave_distant_stars_alone():
    image, ys, xs = star_field(4.0)
    image = image.astype(np.float32)
    bad = np.zeros(image.shape, dtype=bool)
    bad[85, :] = bad[60:80, 84] = True  # 20 pixels from the stars
    spoiled = np.where(bad, np.nan, image)
    pixel_map, matrix = rotated_map((560, 600), image.shape, degrees=10, scale=0.95)

    for kernel in ("lanczos3", "spline3"):
        filled = fill_bad(spoiled, bad).image
        with_bad = resample(filled, None, None, pixel_map, no_data=NO_DATA, kernel=kernel).image
        without = resample(image, None, None, pixel_map, no_data=NO_DATA, kernel=kernel).image
        for y, x in zip(ys, xs, strict=True):
            if abs(y - 85) < 19:
                continue
            at = np.linalg.solve(matrix, np.array([y, x]) - (np.array(image.shape) - 1) / 2)
            at += (np.array(without.shape) - 1) / 2
            difference = box(with_bad, *at, 15).sum() - box(without, *at, 15).sum()
            assert abs(difference) < 1e-6


def test_the_bad_fraction_is_a_bilinear_share():
    image, bad = np.ones(SHAPE, dtype=np.float32), np.zeros(SHAPE, dtype=bool)
    bad[30, 40] = True

    result = resample(
        image, None, None, affine_map(SHAPE, shift=(0.25, 0.4)), no_data=NO_DATA, bad=bad
    )

    # target (30, 40) lies at the source position (30.25, 40.4)
    expected = np.array([[0.25 * 0.4, 0.25 * 0.6], [0.75 * 0.4, 0.75 * 0.6]])
    assert_allclose(result.bad_fraction[29:31, 39:41], expected, rtol=1e-6)
    assert np.nansum(result.bad_fraction) == pytest.approx(1, rel=1e-6)
    assert_array_equal(np.isnan(result.bad_fraction), np.isnan(result.image))


# --- windows, copies of the work, kinds of input --------------------------------------------------


@pytest.mark.parametrize("kernel", ["lanczos3", "spline3"])
def test_windows_hold_the_same_bytes_as_the_whole(rng, kernel):
    image, variance, mask = planes(rng, (150, 130))
    bad = rng.random(image.shape) < 0.05
    pixel_map, _ = rotated_map((170, 180), image.shape, degrees=25, scale=0.93)
    arguments = {"no_data": NO_DATA, "kernel": kernel, "grow": EDGE, "bad": bad}
    whole = resample(image, variance, mask, pixel_map, **arguments)

    for window in (Window(0, 61, 0, 180), Window(45, 170, 31, 133), Window(90, 91, 60, 67)):
        part = resample(image, variance, mask, pixel_map, window=window, **arguments)

        assert part.window == window
        for name in ("image", "variance", "mask", "bad_fraction"):
            expected = np.ascontiguousarray(getattr(whole, name)[window.slices])
            assert getattr(part, name).tobytes() == expected.tobytes()


def test_a_small_source_in_a_large_target_is_resampled_like_in_a_close_one(rng):
    image, variance, mask = planes(rng)
    shape, shift = (900, 1100), np.array([400.3, 610.8])
    options = {"no_data": NO_DATA, "grow": SAT}
    large = affine_map(shape, shift=-shift, source_shape=SHAPE, step=0)
    everywhere = affine_map(shape, shift=-shift, step=0)

    seen = resample(image, variance, mask, large, **options)
    unlimited = resample(image, variance, mask, everywhere, **options)

    assert np.prod(large.window.shape) < 0.1 * np.prod(shape)
    assert seen.n_good == unlimited.n_good > 3000
    for name in ("image", "variance", "mask"):
        assert_array_equal(getattr(seen, name), getattr(unlimited, name))


def test_further_images_are_resampled_like_the_first(rng):
    image, variance, mask = planes(rng)
    other = rng.normal(0, 1, SHAPE).astype(np.float32)
    pixel_map, _ = rotated_map((64, 77), SHAPE, degrees=11, scale=0.95)

    for kernel in ("lanczos3", "spline3", "nearest"):
        options = {"no_data": NO_DATA, "kernel": kernel}
        result = resample(image, variance, mask, pixel_map, extras=[image, other], **options)
        alone = resample(other, variance, mask, pixel_map, **options)

        assert_array_equal(result.extras[0], result.image)
        assert_array_equal(result.extras[1], alone.image)


@given(seed=st.integers(0, 2**16), kernel=st.sampled_from(KERNELS))
@settings(max_examples=20)
def test_exchanging_the_axes_exchanges_those_of_the_result(seed, kernel):
    rng = np.random.default_rng(seed)
    image, variance, mask = planes(rng)
    matrix = np.array([[0.9, 0.3], [-0.25, 1.05]]) + rng.uniform(-0.05, 0.05, (2, 2))
    shift, shape = rng.uniform(0, 9, 2), (66, 59)
    options = {"no_data": NO_DATA, "kernel": kernel, "grow": SAT}

    straight = resample(
        image, variance, mask, affine_map(shape, matrix=matrix, shift=shift, step=0), **options
    )
    crossed_map = affine_map(shape[::-1], matrix=matrix[::-1, ::-1], shift=shift[::-1], step=0)
    crossed = resample(image.T, variance.T, mask.T, crossed_map, **options)

    assert straight.n_good > 500
    assert_allclose(crossed.image.T, straight.image, rtol=2e-6, atol=2e-4)
    assert_allclose(crossed.variance.T, straight.variance, rtol=2e-6)
    assert_array_equal(crossed.mask.T, straight.mask)


@pytest.mark.parametrize("kernel", KERNELS)
def test_byte_order_memory_order_and_write_protection_do_not_matter(rng, kernel):
    image, variance, mask = planes(rng)
    pixel_map, _ = rotated_map((64, 77), SHAPE, degrees=11, scale=0.95)
    expected = resample(image, variance, mask, pixel_map, no_data=NO_DATA, kernel=kernel)

    foreign = image.astype(">f4"), np.asfortranarray(variance), mask.astype(">i4")
    for plane in foreign:
        plane.setflags(write=False)
    result = resample(*foreign, pixel_map, no_data=NO_DATA, kernel=kernel)

    for name in ("image", "variance", "mask"):
        assert getattr(result, name).tobytes() == getattr(expected, name).tobytes()


@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (40, 5), (2, 3)])
def test_a_source_smaller_than_the_kernel_gives_an_empty_result(shape):
    image = np.ones(shape, dtype=np.float32)

    for kernel in ("lanczos3", "spline3"):
        result = resample(image, image, None, affine_map((20, 30)), no_data=NO_DATA, kernel=kernel)

        assert result.n_good == 0
        assert np.isnan(result.mean_area)
        assert_empty(result, np.s_[:])


def test_a_source_out_of_sight_gives_an_empty_result():
    image = np.ones(SHAPE, dtype=np.float32)
    pixel_map = affine_map((40, 50), shift=(7000.0, 0.0), source_shape=SHAPE)

    result = resample(image, image, None, pixel_map, no_data=NO_DATA)

    assert_empty(result, np.s_[:])


def test_values_beyond_single_precision_are_no_values():
    image = np.full(SHAPE, 3e38, dtype=np.float32)

    result = resample(
        image, None, None, affine_map((30, 40), matrix=np.eye(2) * 2.0), no_data=NO_DATA
    )

    assert result.n_good == 0
    assert (result.mask == NO_DATA).all()


def test_misuse_is_refused():
    image = np.ones(SHAPE, dtype=np.float32)
    pixel_map = affine_map(SHAPE)

    with pytest.raises(ValueError, match="'cubic' is not a resampling kernel"):
        resample(image, None, None, pixel_map, no_data=NO_DATA, kernel="cubic")
    with pytest.raises(ValueError, match="'lanczos3' is larger than the image kernel 'bilinear'"):
        resample(
            image, None, None, pixel_map, no_data=NO_DATA, kernel="bilinear", mask_kernel="lanczos3"
        )
    with pytest.raises(ValueError, match=r"shapes \(62, 81\) and \(62, 80\)"):
        resample(image, image[:, 1:], None, pixel_map, no_data=NO_DATA)
    with pytest.raises(ValueError, match="oversample 0 is less than 1"):
        resample(image, None, None, pixel_map, no_data=NO_DATA, oversample=0)
