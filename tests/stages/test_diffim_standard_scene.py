"""Differences of a field of 150 stars on a million pixels, held to what theory allows."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import fftconvolve

from skytool.core.difference.detection import detect
from skytool.core.difference.score import matched_filter
from skytool.core.difference.source_measure import point_fluxes
from skytool.core.difference.source_psf import SourcePsf
from skytool.core.matching.spatial_kernel import SpatialKernel
from skytool.models.matching_kernel import MatchingKernel
from skytool.stages.diffim import DiffimConfig, SourceList, subtract
from skytool.stages.diffim.preconvolution import preconvolved_score
from skytool.stages.diffim.sources import find_sources
from skytool.stages.diffim.sources_config import SourcesConfig
from skytool.stages.diffim.sources_measure import Measured
from tests.stages.pairs import (
    SCALE,
    SIGMA_SCIENCE,
    SIGMA_TEMPLATE,
    correlation,
    drawn,
    exposure,
    gaussian,
    pair,
    sky,
)

pytestmark = pytest.mark.slow

SHAPE = (1000, 1056)
SIGMA_KERNEL = np.sqrt(SIGMA_SCIENCE**2 - SIGMA_TEMPLATE**2)
FORWARD = DiffimConfig(mode="convolve-template", scale_variance=False)
AXES = ((0, 1), (1, 0), (0, 2), (2, 0), (0, 3), (3, 0))
LAGS = (*AXES, (1, 1), (1, -1))


def powers(sigmas):
    """Power spectra of stars."""
    images = np.zeros((len(sigmas), 256, 256))
    for image, sigma in zip(images, sigmas, strict=True):
        image[:49, :49] = gaussian(sigma, 24)
    return np.abs(np.fft.fft2(images)) ** 2


def signal_to_noise(sigmas):
    """Signal-to-noise ratio of the best filter for a star of unit flux in unit noise."""
    science, template = powers(sigmas)
    return np.sqrt(np.mean(science * template / (template + SCALE**2 * science)))


def wrong_psf(scale):
    """Flux of a star of a white difference, measured with the PSF of the science image."""
    star, kernel = powers((SIGMA_SCIENCE, SIGMA_KERNEL))
    white = np.sqrt((1 + scale**2) / (1 + scale**2 * kernel))
    return np.mean(white * star) / np.mean(star)


def stored_kernel(shape, basis, coefficients):
    """A kernel of given images and coefficients, without background, for unit noise."""
    return MatchingKernel(
        basis=np.asarray(basis),
        coefficients=np.asarray(coefficients),
        background=np.zeros((1, 1)),
        shape=shape,
        convolved="TEMPLATE",
        science_variance=1.0,
        template_variance=1.0,
    )


@pytest.fixture(scope="module")
def scene():
    """The pair, its difference, and the sky."""
    science, template, stars = pair(np.random.default_rng(7), shape=SHAPE, count=150)
    result = subtract(science, template, FORWARD)
    return science, template, stars, result, sky(SHAPE, *stars[:2])


def test_kernels_of_noisy_stars_act_like_the_true_one():
    places = {"y": [10.0, 10.0, 310.0, 610.0, 610.0], "x": [12.0, 648.0, 330.0, 12.0, 648.0]}
    config = replace(FORWARD, decorrelate=False, fit=replace(FORWARD.fit, kernel_order=1))
    star, sums = gaussian(SIGMA_TEMPLATE, 14), []
    for seed in range(8):
        science, template, _ = pair(np.random.default_rng(seed), shape=(620, 660), count=70)
        kernel = subtract(science, template, config).kernel
        found = kernel.kernel.at_many(**places)
        truth = fftconvolve(SCALE * gaussian(SIGMA_KERNEL, found.shape[-1] // 2), star)
        for image in found:
            assert np.linalg.norm(fftconvolve(image, star) - truth) < 0.01 * np.linalg.norm(truth)
        sums.append(kernel.sum / SCALE)
        assert np.count_nonzero(kernel.stars.used) > 55

    assert np.mean(sums) == pytest.approx(1.0, abs=0.004)
    np.testing.assert_allclose(sums, 1.0, atol=0.008)


def test_noise_is_white_and_as_large_as_its_variance_says(scene):
    *_, result, free = scene
    image = result.difference.image.astype(float)
    variance = np.var(image[free])

    # 7e5 pixels: standard errors are 0.0012 of a correlation and 0.17 % of a variance
    assert max(abs(correlation(image, free, *lag)) for lag in LAGS) < 0.006
    assert variance == pytest.approx(1.0 + SCALE**2, rel=0.008)
    assert np.median(result.difference.variance[free]) == pytest.approx(variance, rel=0.008)


def test_the_variance_is_right_on_both_sides_of_a_step(scene):
    science, template, _, _, free = scene
    rng = np.random.default_rng(8)
    variance = np.ones(SHAPE, np.float32)
    variance[:, 528:] = 4.0
    image = science.image + np.sqrt(variance - 1.0) * rng.normal(size=SHAPE)
    noisy = science.with_values(image=image.astype(np.float32), variance=variance)

    difference = subtract(noisy, template, FORWARD).difference

    for side in (np.s_[:, 40:507], np.s_[:, 549:1016]):
        found = np.var(difference.image[side][free[side]])
        # 3.5e5 pixels
        assert np.median(difference.variance[side][free[side]]) == pytest.approx(found, rel=0.012)


def test_fluxes_of_transients_are_right_at_any_phase_with_the_psf_of_the_difference(scene):
    science, template, _, result, free = scene
    rng = np.random.default_rng(9)
    rows, columns = np.array([(y, x) for y in range(60, 950, 60) for x in range(60, 1000, 60)]).T
    open_sky = free[rows, columns]
    y, x = (at[open_sky] + rng.uniform(-0.5, 0.5, open_sky.sum()) for at in (rows, columns))
    flux = 700.0 * np.where(np.arange(y.size) % 2, -1.0, 1.0)
    added = science.image + drawn(SHAPE, y, x, flux, SIGMA_SCIENCE)
    brighter = science.with_values(image=added.astype(np.float32))

    again = subtract(brighter, template, FORWARD, kernel=result.kernel).difference
    change = again.image.astype(float) - result.difference.image
    ratios = []
    for psf in (result.difference.psf, science.psf):
        for at_y, at_x, light in zip(y, x, flux, strict=True):
            star = psf.image(y=at_y, x=at_x)
            half = star.shape[0] // 2
            top, left = (int(np.floor(at + 0.5)) - half for at in (at_y, at_x))
            part = change[top : top + len(star), left : left + len(star)]
            ratios.append(np.sum(star * part) / np.sum(star**2) / light)
    own, plain = np.reshape(ratios, (2, -1))

    assert y.size > 100
    np.testing.assert_allclose(own, 1.0, atol=3e-3)
    assert wrong_psf(1.0) == pytest.approx(1.11, abs=0.01)
    np.testing.assert_allclose(plain, wrong_psf(SCALE), atol=0.003)


def test_fluxes_of_transients_scatter_by_their_errors(scene):
    science, template, _, result, free = scene
    rng = np.random.default_rng(10)
    rows, columns = np.array([(y, x) for y in range(45, 960, 34) for x in range(45, 1010, 34)]).T
    open_sky = free[rows, columns]
    y, x = (at[open_sky] + rng.uniform(-0.5, 0.5, open_sky.sum()) for at in (rows, columns))
    ratio = 10 ** rng.uniform(np.log10(8), np.log10(50), y.size)
    flux = ratio * np.where(np.arange(y.size) % 2, -1.0, 1.0)
    flux /= signal_to_noise((SIGMA_SCIENCE, SIGMA_TEMPLATE))
    added = science.image + drawn(SHAPE, y, x, flux, SIGMA_SCIENCE)
    brighter = science.with_values(image=added.astype(np.float32))

    made = subtract(brighter, template, FORWARD, kernel=result.kernel).difference
    measured = Measured.of(made, ["NO_DATA", "EDGE"])
    found = point_fluxes(measured.pixels, measured.psf, y=y, x=x)

    assert y.size >= 400
    pull = (found.flux - flux) / found.error
    assert np.std(pull) == pytest.approx(1.0, abs=0.08)
    # 0.3 %: the weighted mean of 500 ratios of a significance of 8 to 50
    weight = 1.0 / found.error**2
    mean = np.sum(weight * flux * found.flux) / np.sum(weight * flux**2)
    assert mean == pytest.approx(1.0, abs=0.01)
    assert np.median(np.abs(flux) / found.error / ratio) == pytest.approx(1.0, abs=0.01)


@pytest.fixture(scope="module")
def score(scene):
    """The score of the pair."""
    science, template, *_ = scene
    return preconvolved_score(science, template, FORWARD)


def test_the_score_is_the_white_difference_filtered_with_its_psf(scene, score):
    *_, result, free = scene
    difference = result.difference
    star = difference.psf.kernel_image(y=500.0, x=528.0)
    filtered = matched_filter(
        difference.image,
        difference.variance,
        np.zeros(SHAPE, bool),
        SourcePsf(SpatialKernel.constant(star)),
    )

    signal = score.score.image / np.sqrt(score.score.variance)

    assert np.std((signal - filtered.snr)[free]) < 0.02
    # some 1e4 independent values of the sky: standard error 0.7 %
    assert np.std(signal[free]) == pytest.approx(1.0, abs=0.02)
    assert score.kernel.sum == pytest.approx(SCALE, rel=0.005)


def with_transients(science, free, sigmas):
    """A science image with transients of both signs and a significance of 12, on a lattice."""
    rows, columns = np.array([(y, x) for y in range(50, 950, 36) for x in range(50, 1000, 36)]).T
    rows, columns = (at[free[rows, columns]] for at in (rows, columns))
    flux = np.where(np.arange(rows.size) % 2, -12.0, 12.0) / signal_to_noise(sigmas)
    image = science.image + drawn(SHAPE, rows, columns, flux, sigmas[0])
    return science.with_values(image=image.astype(np.float32)), rows, columns, flux


def heights(score, rows, columns, flux):
    """Heights of the score at transients over the optimum."""
    image, variance = score.score.image, score.score.variance
    return np.sign(flux) * image[rows, columns] / np.sqrt(variance[rows, columns]) / 12.0


def test_the_score_tells_fluxes_and_is_as_significant_as_can_be(scene, score):
    science, template, _, _, free = scene
    sigmas = SIGMA_SCIENCE, SIGMA_TEMPLATE
    brighter, rows, columns, flux = with_transients(science, free, sigmas)

    found = preconvolved_score(brighter, template, FORWARD)

    assert rows.size >= 400
    change = (found.score.image - score.score.image)[rows, columns]
    assert np.mean(change / found.flux_factor / flux) == pytest.approx(1.0, abs=0.003)
    assert np.mean(heights(found, rows, columns, flux)) == pytest.approx(0.985, abs=0.02)


def test_the_score_is_as_good_where_the_template_has_the_wider_stars():
    sigmas = SIGMA_TEMPLATE, SIGMA_SCIENCE
    science, template, (y, x, _) = pair(
        np.random.default_rng(11), shape=SHAPE, count=150, sigmas=sigmas
    )
    free = sky(SHAPE, y, x)
    brighter, rows, columns, flux = with_transients(science, free, sigmas)

    found = preconvolved_score(brighter, template, FORWARD)

    signal = found.score.image / np.sqrt(found.score.variance)
    empty = free & sky(SHAPE, rows, columns, away=12)
    # 0.9 %
    assert np.std(signal[empty]) == pytest.approx(1.0, abs=0.03)
    assert found.kernel.sum == pytest.approx(SCALE, rel=0.006)
    assert np.mean(heights(found, rows, columns, flux)) == pytest.approx(0.985, abs=0.02)


def test_exchanging_the_images_is_the_same_difference_with_the_other_sign(scene):
    science, template, (y, x, flux), _, _ = scene
    listed = SourceList(y, x, flux / 10.0, np.zeros(y.size, bool), "stars")
    config = replace(FORWARD, mode="auto")

    there = subtract(science, template, config, sources=listed)
    back = subtract(template, science, config, sources=listed)
    scale, inner = there.kernel.sum, np.s_[40:-40, 40:-40]

    assert (there.kernel.convolved, back.kernel.convolved) == ("TEMPLATE", "SCIENCE")
    left = (back.difference.image * scale + there.difference.image)[inner]
    assert np.sqrt(np.mean(left**2)) < 1e-3 * np.std(there.difference.image[inner])
    ratio = there.difference.variance / back.difference.variance
    np.testing.assert_allclose(ratio[inner], scale**2, rtol=1e-4)


def test_factors_on_variances_that_are_too_small_are_found(scene):
    science, template, _, _, free = scene
    low = [
        each.with_values(variance=each.variance / np.float32(1.345)) for each in (science, template)
    ]

    result = subtract(*low, replace(FORWARD, scale_variance=True))
    difference = result.difference

    for name in ("science", "template"):
        assert result.metrics[f"{name}_factor"] == pytest.approx(1.345, rel=0.02)
    image = difference.image.astype(float)
    assert max(abs(correlation(image, free, *lag)) for lag in LAGS) < 0.006
    assert np.median(difference.variance[free]) == pytest.approx(np.var(image[free]), rel=0.015)


def test_noise_is_white_everywhere_under_a_kernel_that_varies():
    shape = (1950, 2060)
    rng = np.random.default_rng(12)
    narrow, wide = (gaussian(sigma, 12) for sigma in (1.2, 2.4))
    narrow, wide = (SCALE * image / image.sum() for image in (narrow, wide))
    kernel = stored_kernel(
        shape,
        [0.5 * (narrow + wide), 0.5 * (wide - narrow)],
        [[[1.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]],
    )
    images = (
        exposure(rng.normal(size=shape), 1.0, sigma, name=name)
        for sigma, name in ((SIGMA_SCIENCE, "science.fits"), (SIGMA_TEMPLATE, "template.fits"))
    )

    difference = subtract(*images, FORWARD, kernel=kernel).difference

    edges = [np.linspace(30, size - 30, 4).astype(int) for size in shape]
    for top, bottom in zip(edges[0], edges[0][1:], strict=False):
        for left, right in zip(edges[1], edges[1][1:], strict=False):
            part = difference.image[top:bottom, left:right].astype(float)
            good = np.ones(part.shape, bool)
            # 4.2e5 pixels: standard errors are 0.0015 of a correlation and 0.22 % of a variance
            assert np.var(part) == pytest.approx(1.0 + SCALE**2, rel=0.01)
            lags = (*LAGS, (0, 4), (4, 0))
            assert max(abs(correlation(part, good, *lag)) for lag in lags) < 0.01


def test_noise_has_no_more_peaks_than_theory_and_many_more_unless_it_is_white():
    shape, pairs = (1990, 2050), 3
    rng = np.random.default_rng(13)
    taps = gaussian(SIGMA_KERNEL, 10)
    kernel = stored_kernel(shape, [taps / taps.sum()], np.ones((1, 1, 1)))
    config = SourcesConfig(
        scale_score=False, subtract_background=False, dipoles=False, forced=False
    )

    peaks = {True: 0, False: 0}
    for _ in range(pairs):
        images = [
            exposure(rng.normal(size=shape), 1.0, sigma, name=name)
            for sigma, name in ((SIGMA_SCIENCE, "science.fits"), (SIGMA_TEMPLATE, "template.fits"))
        ]
        for white in peaks:
            made = subtract(*images, replace(FORWARD, decorrelate=white), kernel=kernel).difference
            peaks[white] += detect(find_sources(made, config).snr, threshold=5.0).row.size

    # 13 in a million pixels, both signs, against 0.18: smoothed by the PSF, noise that the kernel
    # has correlated is 1.27 times as large as that of independent pixels of the same variance
    million = pairs * np.prod(shape) / 1e6
    assert 13 * million / 1.5 < peaks[False] < 13 * million * 1.5
    assert peaks[True] <= 8  # 2.2 are expected, 8 are the bound of 99.9 %


# peaks of one sign in a million pixels above 4 and 4.5 sigma, counted in 1e8 pixels and more
RATES = {1.0: (23.3, 2.78), 1.5: (13.8, 1.79), 2.5: (6.10, 0.85)}


@pytest.mark.parametrize("sigma", RATES)
def test_peaks_of_pure_noise_are_as_many_as_were_counted(sigma):
    shape, blocks = (2000, 2040), 8
    rng = np.random.default_rng(14)
    psf = SourcePsf(SpatialKernel.constant(gaussian(sigma, round(5 * sigma))))
    flat, good = np.ones(shape, np.float32), np.zeros(shape, bool)
    counts = np.zeros((2, 3))
    for _ in range(blocks):
        noise = rng.standard_normal(shape, dtype=np.float32)
        found = detect(matched_filter(noise, flat, good, psf).snr, threshold=4.0)
        for sign in (0, 1):
            height = found.significance[found.negative == bool(sign)]
            counts[sign] += [np.count_nonzero(height > level) for level in (4.0, 4.5, 5.0)]
    million = blocks * np.prod(shape) / 1e6

    for of_sign in counts:
        for count, rate in zip(of_sign, RATES[sigma], strict=False):
            expected = rate * million
            assert abs(count - expected) < 3 * np.sqrt(expected) + 0.05 * expected
        # at most 0.23 in a million above 5 sigma: 7.5 are expected, 16 are the bound of 99.9 %
        assert of_sign[2] <= 16
