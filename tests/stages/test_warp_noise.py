import numpy as np
import pytest
from astropy.io import fits

from skytool.core.matching.model_psf import ModelPsf
from skytool.core.resampling.kernels import predicted_noise
from skytool.models.exposure import Exposure
from skytool.models.mask import Mask
from skytool.models.psf.kinds import AnalyticPsf
from skytool.models.sky.celestial import celestial_wcs
from skytool.models.sky.geometry import TargetGrid
from skytool.stages.warp import Detector, WarpConfig, warp_and_match_visit, warp_visit
from skytool.stages.warp.matching_config import MatchingConfig

SHAPE = (380, 420)


def wcs_of(shape, rotation):
    s, t = 0.3 / 3600, np.radians(rotation)
    cards = {
        "NAXIS": 2,
        "NAXIS1": shape[1],
        "NAXIS2": shape[0],
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": 30.0,
        "CRVAL2": -2.0,
        "CRPIX1": shape[1] / 2 + 0.3,
        "CRPIX2": shape[0] / 2 - 1.7,
        "CD1_1": -s * np.cos(t),
        "CD1_2": s * np.sin(t),
        "CD2_1": s * np.sin(t),
        "CD2_2": s * np.cos(t),
    }
    return celestial_wcs(fits.Header(cards), name="simulated")


def detector(name="a.fits", sigma=2.5, rotation=13.0, level=7.0):
    return Detector(
        Exposure(
            image=np.full(SHAPE, level, np.float32),
            mask=Mask.empty(SHAPE),
            variance=np.full(SHAPE, sigma**2, np.float32),
            wcs=wcs_of(SHAPE, rotation),
            unit="adu",
            psf=AnalyticPsf.gaussian(3.0, size=25),
            name=name,
        )
    )


@pytest.fixture
def grid():
    return TargetGrid(wcs_of((400, 400), 0.0), (400, 400), name="target")


def test_realisations_have_the_variance_that_the_warp_states(grid):
    result = warp_visit([detector()], grid, WarpConfig(noise=3))

    good = np.isfinite(result.exposure.image)
    ratio = result.noise[:, good] ** 2 / result.exposure.variance[good]
    # of 3 x 1e5 pixels, correlated with few neighbours
    assert ratio.mean() == pytest.approx(1.0, abs=4 * np.sqrt(2 / ratio.size) * 1.3)
    np.testing.assert_array_equal(np.isfinite(result.noise[0]), good)
    assert not np.array_equal(result.noise[0][good], result.noise[1][good])


def test_realisations_of_a_detector_do_not_depend_on_the_others(grid):
    config = WarpConfig(noise=1, overlap="first")
    alone = warp_visit([detector()], grid, config).noise
    first = warp_visit([detector(), detector("b.fits")], grid, config).noise
    other = warp_visit([detector("b.fits")], grid, config).noise

    np.testing.assert_array_equal(first, alone)
    assert not np.array_equal(other, alone, equal_nan=True)


def test_files_of_one_name_have_realisations_of_their_own(grid):
    one, two = (
        warp_visit([detector(level=level)], grid, WarpConfig(noise=1)).noise[0]
        for level in (7.0, 8.0)
    )

    good = np.isfinite(one) & np.isfinite(two)
    # 1e5 pixels, correlated with few neighbours
    correlation = np.corrcoef(one[good], two[good])[0, 1]
    assert abs(correlation) < 5 * 1.3 / np.sqrt(good.sum())


def test_a_seed_gives_other_realisations(grid):
    one, two = (
        warp_visit([detector()], grid, WarpConfig(noise=1, noise_seed=seed)).noise
        for seed in (0, 1)
    )

    assert not np.array_equal(one, two, equal_nan=True)


@pytest.mark.parametrize("kernel", ["lanczos3", "lanczos5", "bilinear", "spline3"])
def test_the_correlation_is_that_of_the_kernel(grid, kernel):
    # turned so little that neighbours stay neighbours, and enough to meet all sub-pixel positions
    turned = detector(rotation=2.0)
    found = warp_visit([turned], grid, WarpConfig(kernel=kernel)).correlation

    predicted = predicted_noise(kernel)
    # hundreds of pixels, and by their places between those of the target half of the variance
    assert found.samples > 150
    assert found.neighbours == pytest.approx(predicted.correlations[0], abs=0.02)
    assert found.sum_factor == pytest.approx(predicted.sum_factor, rel=0.015)


def predicted_scatter(correlation, side):
    """Standard deviation of sums over squares of a side, over that of independent pixels."""
    lag = np.abs(np.arange(len(correlation)) - len(correlation) // 2)
    shared = np.clip(1 - lag / side, 0, None)
    return np.sqrt(np.sum(correlation * shared[:, None] * shared))


@pytest.mark.parametrize("side", [4, 12, 24])
@pytest.mark.parametrize("kernel", ["lanczos3", "lanczos5", "bilinear", "spline3"])
def test_sums_of_noise_have_the_scatter_that_is_recorded(grid, kernel, side):
    result = warp_visit(
        [detector()], grid, WarpConfig(noise=4, noise_variance="pixel", kernel=kernel)
    )

    scatter, n_sums = scatter_of_sums(result, side)
    wanted = predicted_scatter(result.correlation.correlation, side)
    assert scatter == pytest.approx(wanted, rel=4 / np.sqrt(2 * n_sums) + 0.01)


def scatter_of_sums(result, side, start=90, stop=306):
    """Standard deviation of sums over squares, over that of independent pixels; and their number."""
    n = (stop - start) // side
    inner = np.s_[..., start : start + n * side, start : start + n * side]
    sums = result.noise[inner].reshape(-1, n, side, n, side).sum(axis=(2, 4))
    return np.std(sums) / np.sqrt(np.mean(result.exposure.variance[inner]) * side**2), sums.size


@pytest.mark.parametrize("side", [4, 12, 24])
def test_sums_of_matched_noise_have_the_scatter_that_is_recorded(grid, side):
    warps = warp_and_match_visit(
        [detector()], grid, WarpConfig(noise=8, noise_variance="pixel"), MatchingConfig()
    )
    result = warps.matched

    scatter, n_sums = scatter_of_sums(result, side)
    wanted = predicted_scatter(result.correlation.correlation, side)
    # neighbouring sums share noise
    assert scatter == pytest.approx(wanted, rel=4 * np.sqrt(2 / n_sums) + 0.01)
    assert result.correlation.neighbours > warps.direct.correlation.neighbours
    assert result.correlation.sum_factor > predicted_scatter(result.correlation.correlation, 24)


def test_a_variance_that_is_wrong_is_scaled_to_the_scatter_of_the_sky(grid, rng):
    """The input states a quarter of its variance."""
    given = detector(sigma=1.25)
    image = rng.normal(7.0, 2.5, SHAPE).astype(np.float32)
    given = given._replace(exposure=given.exposure.with_values(image=image))
    plain, scaled = (
        warp_visit([given], grid, WarpConfig(noise=1, scale_variance=scale))
        for scale in (False, True)
    )

    # 1e5 pixels, of which a tenth of the information is in correlations with neighbours
    assert scaled.variance_scale == pytest.approx(4.0, rel=3 * 2.33 / np.sqrt(1e5) * 1.1)
    assert plain.variance_scale is None
    factor = np.float32(scaled.variance_scale)
    np.testing.assert_array_equal(scaled.exposure.variance, plain.exposure.variance * factor)
    np.testing.assert_array_equal(scaled.exposure.image, plain.exposure.image)
    np.testing.assert_allclose(scaled.noise, plain.noise * np.sqrt(factor), rtol=1e-6)


def test_matched_and_direct_warps_are_scaled_each_by_itself(grid, rng):
    given = detector(sigma=1.25)
    image = rng.normal(7.0, 2.5, SHAPE).astype(np.float32)
    given = given._replace(exposure=given.exposure.with_values(image=image))
    matching = MatchingConfig(model=ModelPsf(fwhm=4.5))

    direct, matched = warp_and_match_visit([given], grid, WarpConfig(scale_variance=True), matching)

    plain = warp_and_match_visit([given], grid, WarpConfig(), matching)
    for scaled, other in zip((direct, matched), plain, strict=True):
        good = np.isfinite(other.exposure.image)
        pull = (other.exposure.image[good] - 7.0) / np.sqrt(other.exposure.variance[good])
        # of matched noise some 5000 pixels are independent, 50 in a cell, whose mean takes one
        assert scaled.variance_scale == pytest.approx(pull.var(), rel=0.08)


@pytest.mark.parametrize("correlated", [True, False])
def test_matched_noise_has_the_variance_that_the_warp_states(grid, correlated):
    warps = warp_and_match_visit(
        [detector()],
        grid,
        WarpConfig(noise=8, noise_variance="pixel"),
        MatchingConfig(correlated_variance=correlated),
    )
    result = warps.matched

    good = np.isfinite(result.exposure.image)
    ratio = np.mean(result.noise[:, good] ** 2 / result.exposure.variance[good])
    # pixels that count: the others are like them
    alike = np.sum(result.correlation.correlation**2)
    error = np.sqrt(2 * alike / (8 * good.sum())) + 0.002
    if correlated:
        assert ratio == pytest.approx(1.0, abs=4 * error)
    else:
        assert ratio > 1.0 + 4 * error
