import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skytool.core.resampling.resample import resample
from tests.core.resampled import NO_DATA, SAT, affine_map, box, draw_stars, rotated_map

SHAPE = (96, 118)


def sub_sample_mean(image, matrix, shift, shape, n, **options):
    """Mean of the surface brightness at n x n positions in every pixel."""
    offsets = (np.arange(n) + 0.5) / n - 0.5
    results = []
    for y in offsets:
        for x in offsets:
            moved = np.asarray(shift) + matrix @ np.array([y, x])
            pixel_map = affine_map(shape, matrix=matrix, shift=moved)
            results.append(
                resample(
                    image, None, None, pixel_map, no_data=NO_DATA, conserve_flux=False, **options
                )
            )
    return np.mean([result.image for result in results], axis=0)


@pytest.mark.parametrize("kernel", ["lanczos3", "spline3", "bilinear", "nearest"])
def test_the_value_is_the_mean_over_positions_in_the_pixel(rng, kernel):
    image = rng.normal(100, 9, SHAPE)
    matrix, shift, shape = np.array([[1.9, 0.3], [-0.2, 2.1]]), (2.3, 8.1), (43, 50)
    pixel_map = affine_map(shape, matrix=matrix, shift=shift)

    result = resample(
        image,
        None,
        None,
        pixel_map,
        no_data=NO_DATA,
        kernel=kernel,
        oversample=2,
        conserve_flux=False,
    )
    flux = resample(image, None, None, pixel_map, no_data=NO_DATA, kernel=kernel, oversample=2)

    expected = sub_sample_mean(image, matrix, shift, shape, 2, kernel=kernel)
    assert np.isfinite(expected).sum() > 1000
    assert_array_equal(np.isnan(result.image), np.isnan(expected))
    assert_allclose(result.image, expected, rtol=1e-11)
    assert_allclose(flux.image, expected * np.linalg.det(matrix), rtol=1e-9)


@pytest.mark.parametrize("kernel", ["lanczos3", "spline3"])
def test_the_variance_is_that_of_many_realisations(rng, kernel):
    n = 200
    variance = rng.uniform(2, 6, SHAPE).astype(np.float32)
    draws = rng.normal(0, 1, (n, *SHAPE)) * np.sqrt(variance)
    pixel_map, _ = rotated_map((52, 60), SHAPE, degrees=20, scale=2.2)

    result = resample(
        draws[0],
        variance,
        None,
        pixel_map,
        no_data=NO_DATA,
        kernel=kernel,
        oversample=2,
        extras=draws[1:],
    )

    good = np.isfinite(result.image)
    assert good.sum() > 500
    values = np.concatenate([result.image[None, good], result.extras[:, good]])
    ratio = values.var(axis=0, ddof=1) / result.variance[good]
    assert abs(ratio.mean() - 1) < 4 * np.sqrt(2 / (n - 1) / good.sum())


def test_one_position_in_every_pixel_is_the_ordinary_result(rng):
    image, variance = rng.normal(100, 9, SHAPE), rng.uniform(1, 2, SHAPE).astype(np.float32)
    pixel_map, _ = rotated_map((70, 77), SHAPE, degrees=20, scale=1.3)

    plain = resample(image, variance, None, pixel_map, no_data=NO_DATA)
    three = resample(image, variance, None, pixel_map, no_data=NO_DATA, oversample=3)

    both = np.isfinite(three.image)
    assert both.sum() < np.isfinite(plain.image).sum()
    assert (three.variance[both] < plain.variance[both]).mean() > 0.99


def test_large_target_pixels_lose_no_flux_of_stars():
    ys, xs = np.array([30.2, 60.4, 47.7]), np.array([33.1, 40.8, 80.3])
    image = draw_stars(SHAPE, ys, xs, fwhm=2.5)
    pixel_map, matrix = rotated_map((34, 41), SHAPE, degrees=13, scale=3.0)
    middle = (np.array(SHAPE) - 1) / 2
    at = np.linalg.solve(matrix, np.array([ys, xs]) - middle[:, None]) + np.array([[16.5], [20.0]])

    def errors(oversample):
        result = resample(image, None, None, pixel_map, no_data=NO_DATA, oversample=oversample)
        return max(abs(box(result.image, y, x, 4).sum() - 1) for y, x in at.T)

    assert errors(3) < 0.01
    assert errors(1) > 0.05


def test_mask_bits_and_bad_shares_come_from_all_positions():
    image, mask = np.ones(SHAPE, dtype=np.float32), np.zeros(SHAPE, dtype=np.int32)
    bad = np.zeros(SHAPE, dtype=bool)
    bad[50, 61] = True
    mask[50, 61] = SAT
    # the four positions in target pixel (20, 25) are at 49.5, 50.5 and 60.5, 61.5
    pixel_map = affine_map((40, 50), matrix=np.eye(2) * 2, shift=(10.0, 11.0))

    result = resample(
        image, image, mask, pixel_map, no_data=NO_DATA, oversample=2, bad=bad, kernel="bilinear"
    )

    assert_array_equal(np.argwhere(result.mask == SAT), [[20, 25]])
    assert_allclose(result.bad_fraction[20, 25], 0.25)
    assert np.nansum(result.bad_fraction) == pytest.approx(0.25)
    assert (result.mask[np.isnan(result.image)] == NO_DATA).all()


def test_a_lost_pixel_empties_every_pixel_that_has_it_in_a_footprint(rng):
    image = rng.normal(100, 9, SHAPE).astype(np.float32)
    spoiled = image.copy()
    spoiled[50, 61] = np.nan
    pixel_map, _ = rotated_map((52, 60), SHAPE, degrees=20, scale=2.0)
    options = {"no_data": NO_DATA, "oversample": 2}

    for kernel in ("lanczos3", "spline3"):
        before = resample(image, image, None, pixel_map, kernel=kernel, **options)
        after = resample(spoiled, image, None, pixel_map, kernel=kernel, **options)

        lost = np.isnan(after.image) & np.isfinite(before.image)
        assert 4 <= lost.sum() <= 80
        assert (after.mask[lost] == NO_DATA).all()
        # beyond its cut footprint a spline still has weights of 2e-4
        tail = 2e-4 * 4 * 100 if kernel == "spline3" else 0
        assert_allclose(after.image[~lost], before.image[~lost], rtol=0, atol=tail)
