from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import fftconvolve

from skytool.core.matching.kernel_fit_config import FitConfig
from skytool.errors import AlgorithmError, NothingToDoError, SkytoolWarning
from skytool.models.photometry import PhotometricCalibration
from skytool.stages.diffim import BasisConfig, DiffimConfig, StarsConfig, subtract
from tests.stages.pairs import (
    SCALE,
    SHAPE,
    SIGMA_SCIENCE,
    SIGMA_TEMPLATE,
    drawn,
    exposure,
    gaussian,
    pair,
    places,
)

QUIET = DiffimConfig(scale_variance=False)
POSITIONS = {"y": [10.0, 10.0, 200.0, 390.0, 390.0], "x": [12.0, 430.0, 220.0, 12.0, 430.0]}


def ordered(order, config=QUIET, **changes):
    return replace(config, fit=replace(config.fit, kernel_order=order, **changes))


def relative(found, truth):
    norm = np.linalg.norm(truth, axis=(-2, -1))
    return np.max(np.linalg.norm(found - truth, axis=(-2, -1)) / norm)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_kernel_of_gaussians_without_noise_is_the_gaussian_between_them(rng, order):
    science, template, (y, x, flux) = pair(rng, noise=0, variances=(1e-4, 1e-4))
    science = science.with_values(image=science.image.astype(np.float64))
    template = template.with_values(image=template.image.astype(np.float64))

    result = subtract(science, template, replace(ordered(order), decorrelate=False))
    kernels = result.kernel.kernel.at_many(**POSITIONS)
    half = kernels.shape[-1] // 2
    truth = SCALE * gaussian(np.sqrt(SIGMA_SCIENCE**2 - SIGMA_TEMPLATE**2), half)

    assert relative(kernels, truth) < 1e-3
    assert kernels.sum(axis=(1, 2)) == pytest.approx(SCALE, rel=1e-4)
    left = result.difference.image.astype(np.float64)
    for at_y, at_x, light in zip(y, x, flux, strict=True):
        row, column = round(at_y), round(at_x)
        stamp = left[row - 8 : row + 9, column - 8 : column + 9]
        assert abs(stamp.sum()) < 1e-6 * SCALE * light


@pytest.mark.parametrize("seed", range(2))
def test_the_kernel_of_noisy_stars_acts_like_the_true_one(seed):
    science, template, _ = pair(np.random.default_rng(seed), count=60)

    result = subtract(science, template, ordered(1))
    found = result.kernel.kernel.at_many(**POSITIONS)
    truth = SCALE * gaussian(np.sqrt(SIGMA_SCIENCE**2 - SIGMA_TEMPLATE**2), found.shape[-1] // 2)
    star = gaussian(SIGMA_TEMPLATE, 14)
    seen = np.array([fftconvolve(kernel, star) for kernel in (*found, truth)])

    assert result.kernel.sum == pytest.approx(SCALE, rel=0.008)
    assert relative(seen[:-1], seen[-1]) < 0.02
    assert np.count_nonzero(result.kernel.stars.used) > 40


def test_an_image_less_itself_is_nothing(rng):
    science, _, (y, x, flux) = pair(rng, noise=0)

    result = subtract(science, science, replace(QUIET, decorrelate=False))

    peak = SCALE * flux * gaussian(SIGMA_SCIENCE, 1)[1, 1]
    rows, columns = np.rint(y).astype(int), np.rint(x).astype(int)
    assert np.all(np.abs(result.difference.image[rows, columns]) < 5e-3 * peak)
    assert result.kernel.sum == pytest.approx(1.0, abs=2e-3)


def test_a_kernel_that_grows_across_the_image_is_found_exactly(rng):
    y, x = places(rng, count=60)
    flux = 10 ** rng.uniform(3.5, 4.3, 60)
    template = drawn(SHAPE, y, x, flux, SIGMA_TEMPLATE)
    narrow, wide = (1.3 * gaussian(sigma, 10) for sigma in (1.2, 2.4))
    narrow, wide = (image / image.sum() for image in (narrow, wide))
    share = (2 * np.arange(SHAPE[1]) + 1) / SHAPE[1] / 2
    science = (1 - share) * fftconvolve(template, narrow, mode="same")
    science += share * fftconvolve(template, wide, mode="same")
    basis = BasisConfig(
        n_gauss=2,
        widths=(1.2, 2.4),
        degrees=(2, 2),
        deconvolution_degrees=(2, 2),
        scale_by_fwhm=False,
    )
    first = exposure(science, 1.0, SIGMA_SCIENCE, name="science.fits")
    second = exposure(template, 1.0, SIGMA_TEMPLATE, name="template.fits")
    first, second = (
        each.with_values(image=image) for each, image in ((first, science), (second, template))
    )

    config = replace(ordered(1), basis=basis, decorrelate=False)
    config = replace(config, fit=replace(config.fit, correct_noise=False))  # there is none
    result = subtract(first, second, config)
    positions = {"y": np.repeat([5.0, 200.0, 395.0], 3), "x": np.tile([5.0, 220.0, 435.0], 3)}
    part = (2 * positions["x"] + 1) / SHAPE[1] / 2
    truth = (1 - part)[:, None, None] * narrow + part[:, None, None] * wide

    assert relative(result.kernel.kernel.at_many(**positions), truth) < 1e-4
    inner = np.abs(result.difference.image[40:-40, 40:-40])
    assert inner.max() < 1e-5 * flux.max() * gaussian(SIGMA_SCIENCE, 0)[0, 0]


def test_variable_stars_are_left_out_of_the_kernel(rng):
    shape, count = SHAPE, 60
    y, x = places(rng, shape, count, apart=25)
    flux = 10 ** rng.uniform(3.6, 4.3, count)
    change = np.ones(count)
    change[::7] = np.where(np.arange(count)[::7] % 2, 1.4, 0.6)
    science = drawn(shape, y, x, SCALE * flux * change, SIGMA_SCIENCE) + rng.normal(size=shape)
    template = drawn(shape, y, x, flux, SIGMA_TEMPLATE) + rng.normal(size=shape)

    result = subtract(
        exposure(science, 1.0, SIGMA_SCIENCE, name="science.fits"),
        exposure(template, 1.0, SIGMA_TEMPLATE, name="template.fits"),
        DiffimConfig(),
    )
    stars = result.kernel.stars
    for at_y, at_x in zip(y[::7], x[::7], strict=True):
        near = np.hypot(stars.y - at_y, stars.x - at_x) < 3
        assert near.any()
        assert not stars.used[near].any()
    assert np.count_nonzero(stars.used) > 30
    assert result.kernel.sum == pytest.approx(SCALE, rel=0.003)


@pytest.mark.parametrize("where", ["sky", "stamps"])
def test_the_background_between_the_images_is_found(rng, where):
    science, template, _ = pair(rng, shape=(420, 460), count=70, apart=12)
    ny, nx = science.shape
    v, u = ((2 * np.arange(n) + 1) / n - 1 for n in (ny, nx))
    truth = np.array([[2.2, 2.1, 1.2], [2.0, 1.1, 0.0], [1.0, 0.0, 0.0]])
    surface = np.polynomial.chebyshev.chebgrid2d(v, u, truth)
    science = science.with_values(image=(science.image + surface).astype(np.float32))

    result = subtract(science, template, replace(QUIET, fit=FitConfig(background=where)))

    found = result.kernel.background
    error = 0.03 if where == "sky" else 0.25
    assert found.shape == (3, 3)
    np.testing.assert_allclose(found, truth, atol=error)
    assert abs(np.median(result.difference.image)) < 0.03


def test_a_star_saturated_in_the_template_alone_is_not_used(rng):
    science, template, (y, x, flux) = pair(rng, apart=25)
    brightest = int(np.argmax(flux))
    where = np.zeros(template.shape, bool)
    where[round(y[brightest]), round(x[brightest])] = True
    template = template.with_values(mask=template.mask.with_flagged(where, "SAT"))

    stars = subtract(science, template, QUIET).kernel.stars
    near = np.hypot(stars.y - y[brightest], stars.x - x[brightest]) < 2

    assert stars.reason[near].tolist() == ["masked middle"]


@pytest.mark.parametrize("regularization", ["central", "forward"])
def test_free_kernels_follow_trailed_stars(rng, regularization):
    y, x = places(rng, count=60, apart=8)
    flux = 10 ** rng.uniform(3.6, 4.3, 60)
    template = drawn(SHAPE, y, x, flux, SIGMA_TEMPLATE)
    trail = np.zeros((13, 13))
    trail[np.arange(1, 12), np.arange(1, 12)] = 1.1 / 11
    noise = rng.normal(size=(2, *SHAPE))
    science = fftconvolve(template, trail, mode="same") + noise[0]
    basis = BasisConfig(kind="delta", size=15, regularization=regularization)

    result = subtract(
        exposure(science, 1.0, SIGMA_SCIENCE, name="science.fits"),
        exposure(template + noise[1], 1.0, SIGMA_TEMPLATE, name="template.fits"),
        replace(ordered(0), basis=basis, mode="convolve-template"),
    )
    star = gaussian(SIGMA_TEMPLATE, 14)
    found = fftconvolve(result.kernel.kernel.at(y=200.0, x=200.0), star)
    truth = fftconvolve(np.pad(trail, 1), star)

    assert result.kernel.basis_kind == "DELTA"
    assert len(result.kernel.basis) == 5
    assert relative(found, truth) < 0.02
    assert result.kernel.sum == pytest.approx(1.1, rel=0.02)  # a penalty makes it small


def test_few_stars_lower_the_orders(rng):
    science, template, _ = pair(rng, count=5, fluxes=(4.0, 4.3), apart=40)

    result = subtract(science, template, ordered(3))

    assert result.kernel.kernel_order == 0
    assert result.kernel.sum == pytest.approx(SCALE, rel=0.01)


def test_the_stars_choose_an_order_no_higher_than_they_need(rng):
    science, template, _ = pair(rng, count=50)

    assert subtract(science, template, QUIET).kernel.kernel_order <= 1


def test_without_stars_the_counts_of_every_rule_are_said(rng):
    science, template, _ = pair(rng, count=1, fluxes=(4.3, 4.3))

    with pytest.raises(
        AlgorithmError, match="1 of 1 sources are fit for the kernel, 3 are required"
    ):
        subtract(science, template, QUIET)


def test_a_failure_with_little_coverage_is_nothing_to_do(rng):
    science, template, _ = pair(rng, count=1, fluxes=(4.3, 4.3))
    uncovered = np.zeros(template.shape, bool)
    uncovered[: int(0.85 * template.shape[0])] = True
    template = template.with_values(mask=template.mask.with_flagged(uncovered, "NO_DATA"))

    with pytest.raises(
        NothingToDoError, match=r"covers 15.*too little for a kernel: .* are required"
    ):
        subtract(science, template, QUIET)


def test_too_little_coverage_is_nothing_to_do(rng):
    science, template, _ = pair(rng)
    uncovered = np.zeros(template.shape, bool)
    uncovered[: int(0.91 * template.shape[0])] = True
    template = template.with_values(mask=template.mask.with_flagged(uncovered, "NO_DATA"))

    with pytest.raises(NothingToDoError, match=r"covers 9\.0% .* 10% are required.*fraction 0"):
        subtract(science, template, QUIET)


def test_most_of_a_covered_image_is_enough(rng):
    science, template, _ = pair(rng, count=60)
    uncovered = np.zeros(template.shape, bool)
    uncovered[: int(0.3 * template.shape[0])] = True
    template = template.with_values(mask=template.mask.with_flagged(uncovered, "NO_DATA"))

    result = subtract(science, template, QUIET)

    assert result.metrics["template_coverage"] == pytest.approx(0.7)
    assert np.all(result.difference.mask.any_of(["NO_DATA"])[uncovered])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: BasisConfig(size=20), "odd"),
        (lambda: BasisConfig(n_gauss=2), "2 Gaussians but 3 degrees"),
        (lambda: BasisConfig(widths=(1.0,)), "3 Gaussians but 1 widths"),
        (lambda: StarsConfig(min_snr=9.0, max_snr=8.0), "is empty"),
        (lambda: StarsConfig(least=0), "at least one"),
        (lambda: DiffimConfig(mask_spread=1.5), "between 0 and 1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        settings()


def test_a_template_that_lies_beside_its_coordinates_is_reported(rng):
    science, _, (y, x, flux) = pair(rng, count=50)
    beside = drawn(SHAPE, y - 0.5, x + 0.3, flux, SIGMA_TEMPLATE) + rng.normal(size=SHAPE)
    template = exposure(beside, 1.0, SIGMA_TEMPLATE, name="template.fits")

    metrics = subtract(science, template, QUIET).metrics

    assert metrics["kernel_shift_y"] == pytest.approx(0.5, abs=0.03)
    assert metrics["kernel_shift_x"] == pytest.approx(-0.3, abs=0.03)


def test_a_sum_of_the_kernel_that_zero_points_contradict_is_warned_of(rng):
    science, template, _ = pair(rng, count=50)
    right, wrong = (
        template.with_values(calibration=PhotometricCalibration(scale, 0.0))
        for scale in (SCALE, 1.1 * SCALE)
    )
    science = science.with_values(calibration=PhotometricCalibration(1.0, 0.0))

    assert abs(subtract(science, right, QUIET).metrics["scale_offset_mmag"]) < 10
    with pytest.warns(SkytoolWarning, match="mmag off"):
        offset = subtract(science, wrong, QUIET).metrics["scale_offset_mmag"]
    assert offset == pytest.approx(-2500 * np.log10(1.1), abs=10)


@pytest.mark.parametrize("count", [3, 4, 6])
def test_a_handful_of_stars_is_enough_for_any_order_that_is_asked_for(rng, count):
    science, template, _ = pair(rng, count=count, fluxes=(4.0, 4.3), apart=60)

    result = subtract(science, template, ordered(1, lower_orders=False))

    assert result.kernel.kernel_order == 1
    assert result.kernel.sum == pytest.approx(SCALE, rel=0.02)
