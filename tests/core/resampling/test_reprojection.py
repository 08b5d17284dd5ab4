import warnings

import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skytool.core.resampling.pixel_map import PixelMap, Window
from skytool.core.resampling.reprojection import AREA_KERNELS, area_resampler
from tests.core.resampled import EDGE, NO_DATA, SAT, affine_map, box, draw_stars, rotated_map

SHAPE = (66, 81)


def tan_wcs(shape, *, scale, degrees):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 53.1, -27.8
    wcs.wcs.crpix = shape[1] / 2 + 0.3, shape[0] / 2 - 0.2
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    wcs.wcs.cd = scale / 3600 * np.array([[-cosine, sine], [sine, cosine]])
    wcs.pixel_shape = shape[::-1]
    return wcs


def celestial_map(source, target, shape, **options):
    def to_source(x, y):
        return tuple(source.all_world2pix(*target.all_pix2world(x, y, 0), 0))

    return PixelMap(to_source, shape, **options)


def assert_empty(result, where):
    assert np.isnan(result.image[where]).all()
    assert (result.mask[where] == NO_DATA).all()
    if result.variance is not None:
        assert np.isposinf(result.variance[where]).all()


@pytest.mark.parametrize("scale", [0.27, 0.2, 0.5])
@pytest.mark.parametrize("kernel", AREA_KERNELS)
def test_images_are_those_of_reproject(rng, kernel, scale):
    import reproject

    image = rng.normal(100, 9, SHAPE)
    shape = (int(20 / scale), int(23 / scale))
    source, target = tan_wcs(SHAPE, scale=0.263, degrees=0), tan_wcs(shape, scale=scale, degrees=20)
    function = getattr(reproject, f"reproject_{kernel}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, coverage = function((image, source), target, shape_out=shape)

    result = area_resampler(
        kernel,
        image,
        None,
        None,
        celestial_map(source, target, shape),
        no_data=NO_DATA,
        conserve_flux=False,
    ).part()

    good = np.isfinite(result.image)
    assert_array_equal(good, np.isfinite(expected) & (coverage > 1 - 1e-9))
    assert good.sum() > 500
    # where pixels are as large as those of the source, spherical polygons are planar to 1e-10
    assert_allclose(result.image[good], expected[good], rtol=1e-6)


@pytest.mark.parametrize(
    ("kernel", "degrees", "scale"),
    [("exact", 17, 0.9), ("exact", 30, 2.2), ("adaptive", 17, 0.9), ("adaptive", 30, 1.7)],
)
def test_the_variance_is_that_of_many_realisations_of_the_noise(rng, kernel, degrees, scale):
    n = 200
    variance = rng.uniform(2, 6, SHAPE).astype(np.float32)
    draws = rng.normal(0, 1, (n, *SHAPE)) * np.sqrt(variance)
    pixel_map, _ = rotated_map(
        (int(66 / scale), int(70 / scale)), SHAPE, degrees=degrees, scale=scale
    )

    result = area_resampler(
        kernel, draws[0], variance, None, pixel_map, no_data=NO_DATA, extras=draws[1:]
    ).part()

    good = np.isfinite(result.image)
    assert good.sum() > 500
    values = np.concatenate([result.image[None, good], result.extras[:, good]])
    ratio = values.var(axis=0, ddof=1) / result.variance[good]
    assert abs(ratio.mean() - 1) < 0.02


def test_the_adaptive_variance_has_the_squared_weights_of_every_pixel(rng):
    shape = (17, 19)
    variance = rng.uniform(2, 6, shape).astype(np.float32)
    pixel_map, _ = rotated_map((18, 20), shape, degrees=35, scale=0.95)
    units = np.eye(shape[0] * shape[1]).reshape(-1, *shape)

    result = area_resampler(
        "adaptive", units[0], variance, None, pixel_map, no_data=NO_DATA, extras=units[1:]
    ).part()

    weights = np.concatenate([result.image[None], result.extras])
    expected = np.einsum("kyx,k->yx", weights**2, variance.ravel())
    good = np.isfinite(result.image)
    assert good.sum() > 30
    assert_allclose(result.variance[good], expected[good], rtol=1e-6)


@settings(max_examples=25)
@given(degrees=st.floats(0, 360), scale=st.floats(0.4, 2.5), y=st.floats(-1, 1), x=st.floats(-1, 1))
def test_overlaps_lose_and_gain_nothing(degrees, scale, y, x):
    image = draw_stars(SHAPE, [32.5 + y], [40.1 + x], fwhm=2.2)
    shape = (int(90 / scale), int(96 / scale))
    pixel_map, _ = rotated_map(shape, SHAPE, degrees=degrees, scale=scale)

    result = area_resampler("exact", image, None, None, pixel_map, no_data=NO_DATA).part()

    assert np.nansum(result.image) == pytest.approx(image.sum(), abs=1e-9)
    assert result.mean_area == pytest.approx(scale**2, rel=1e-9)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (7.0, -5.0)])
def test_overlaps_after_a_shift_by_whole_pixels_are_a_copy(rng, shift):
    image, mask = rng.normal(250, 12, SHAPE).astype(np.float32), np.zeros(SHAPE, dtype=np.int32)
    variance = rng.uniform(1, 2, SHAPE).astype(np.float32)
    mask[30, 40], image[20, 25] = SAT, np.nan
    pixel_map = affine_map(SHAPE, shift=shift)

    result = area_resampler("exact", image, variance, mask, pixel_map, no_data=NO_DATA).part()

    dy, dx = int(shift[0]), int(shift[1])
    y, x = np.indices(SHAPE)
    on_source = (y + dy < SHAPE[0]) & (x + dx >= 0)
    expected = np.full(SHAPE, np.nan, dtype=np.float32)
    expected[on_source] = image[y[on_source] + dy, x[on_source] + dx]
    assert_array_equal(result.image, expected)
    assert_array_equal(np.argwhere(result.mask == SAT), [[30 - dy, 40 - dx]])
    good = np.isfinite(expected)
    assert_array_equal(result.variance[good], variance[y[good] + dy, x[good] + dx])
    assert_empty(result, ~good)


def test_overlaps_pass_on_the_bits_of_all_pixels_they_touch():
    mask = np.zeros(SHAPE, dtype=np.int32)
    mask[30, 40] = SAT
    bad = mask != 0
    pixel_map = affine_map(SHAPE, shift=(0.25, -0.4))

    result = area_resampler(
        "exact", np.ones(SHAPE), None, mask, pixel_map, no_data=NO_DATA, bad=bad
    ).part()

    assert_array_equal(np.argwhere(result.mask == SAT), [[29, 40], [29, 41], [30, 40], [30, 41]])
    # target (30, 40) covers the source from 29.75 to 30.75 and from 39.1 to 40.1
    assert_allclose(
        result.bad_fraction[29:31, 40:42], np.outer([0.25, 0.75], [0.6, 0.4]), rtol=1e-6
    )


def test_adaptive_bits_come_from_the_bilinear_stencil_or_the_footprint():
    mask = np.zeros(SHAPE, dtype=np.int32)
    mask[30, 40] = SAT | EDGE
    pixel_map = affine_map(SHAPE, shift=(0.25, -0.4))

    result = area_resampler(
        "adaptive", np.ones(SHAPE), None, mask, pixel_map, no_data=NO_DATA, grow=EDGE, bad=mask != 0
    ).part()

    inside = np.isfinite(result.image)
    assert ((result.mask & SAT) != 0).sum() == 4
    assert 12 <= ((result.mask[inside] & EDGE) != 0).sum() <= 25
    assert np.nansum(result.bad_fraction) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("kernel", AREA_KERNELS)
def test_lost_pixels_and_infinite_variances_reach_their_footprint_only(rng, kernel):
    image = rng.normal(250, 12, SHAPE).astype(np.float32)
    variance = np.ones(SHAPE, dtype=np.float32)
    image[20, 30], variance[45, 50] = np.nan, np.inf
    pixel_map = affine_map(SHAPE, shift=(0.25, -0.4))

    result = area_resampler(kernel, image, variance, None, pixel_map, no_data=NO_DATA).part()

    inner = np.s_[5:-5, 5:-5]
    lost = np.isnan(result.image)
    infinite = np.isposinf(result.variance) & ~lost
    n_taps = 2 if kernel == "exact" else 5
    assert 4 <= lost[inner].sum() <= n_taps**2
    assert 4 <= infinite[inner].sum() <= n_taps**2
    assert_empty(result, lost)
    assert not np.isnan(result.variance).any()
    assert result.n_good == (~lost).sum()


@pytest.mark.parametrize("kernel", AREA_KERNELS)
def test_windows_hold_the_same_bytes_as_the_whole(rng, kernel):
    shape = (150, 170)
    image = rng.normal(250, 12, shape).astype(np.float32)
    variance, mask = np.ones(shape, dtype=np.float32), np.zeros(shape, dtype=np.int32)
    mask[:, 60:63] = SAT
    pixel_map, _ = rotated_map((190, 200), shape, degrees=25, scale=0.93)
    resampler = area_resampler(kernel, image, variance, mask, pixel_map, no_data=NO_DATA, grow=SAT)
    whole = resampler.part()

    for window in (Window(0, 64, 0, 200), Window(64, 190, 0, 200), Window(45, 171, 31, 133)):
        part = resampler.part(window)

        assert part.window == window
        for name in ("image", "variance", "mask"):
            expected = np.ascontiguousarray(getattr(whole, name)[window.slices])
            if kernel == "exact" or window.y_start % 128 == 0:
                assert getattr(part, name).tobytes() == expected.tobytes()
            else:
                assert_allclose(getattr(part, name), expected, rtol=1e-6)


@pytest.mark.parametrize("kernel", AREA_KERNELS)
def test_star_fluxes_survive_rotation_and_scaling(kernel):
    ys, xs = np.array([30.2, 34.4, 40.7]), np.array([25.1, 55.8, 40.3])
    image = draw_stars(SHAPE, ys, xs, fwhm=2.5)
    pixel_map, matrix = rotated_map((84, 90), SHAPE, degrees=12, scale=1.04)

    result = area_resampler(kernel, image, None, None, pixel_map, no_data=NO_DATA).part()

    middle = (np.array(SHAPE) - 1) / 2
    positions = np.linalg.solve(matrix, np.array([ys, xs]) - middle[:, None])
    positions += np.array([[41.5], [44.5]])
    tolerance = 1e-5 if kernel == "exact" else 2e-3
    for y, x in positions.T:
        assert abs(box(result.image, y, x, 7).sum() - 1) < tolerance


@pytest.mark.parametrize("kernel", AREA_KERNELS)
def test_a_source_out_of_sight_gives_an_empty_result(kernel):
    image = np.ones(SHAPE, dtype=np.float32)
    pixel_map = affine_map((40, 50), shift=(7000.0, 0.0), source_shape=SHAPE)

    result = area_resampler(kernel, image, image, None, pixel_map, no_data=NO_DATA).part()

    assert result.n_good == 0
    assert_empty(result, np.s_[:])


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match="'drizzle' is none of exact, adaptive"):
        area_resampler("drizzle", np.ones(SHAPE), None, None, affine_map(SHAPE), no_data=NO_DATA)
