import logging
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from skytool.core.background.curves import Extrapolation, InterpolationStyle
from skytool.core.background.interpolation import InterpolationRule, UndersampleStyle
from skytool.core.background.polynomial_match import PolynomialRule
from skytool.core.difference.cells import CellRule
from skytool.core.statistics import Clip, Statistic
from skytool.core.windows import Window
from skytool.errors import AlgorithmError, IncompatibleError, InputError, NothingToDoError
from skytool.models.exposure import Origin
from skytool.models.photometry import PhotometricCalibration
from skytool.stages.match_bg import (
    EXTRAPOLATED,
    Match,
    MatchConfig,
    check_quality,
    common_frame,
    reference_for,
    unchanged,
    undone,
    with_layer,
)
from skytool.stages.match_bg.scaling import fitted_scale
from tests.stages.matching import (
    SHAPE,
    added,
    exposure,
    match_of,
    matched,
    piece,
    random_coefficients,
    stars,
    surface,
)

LEFT = np.s_[:, :150]


def spline(bin_size=64, style="akima_spline", undersample="reduce_interp_order", **more):
    rule = InterpolationRule(
        InterpolationStyle(style), UndersampleStyle(undersample), Extrapolation.LINEAR
    )
    return MatchConfig(bin_size=bin_size, use_polynomial=False, spline=rule, **more)


def polynomial(order, bin_size=None, undersample="reduce_interp_order", **more):
    rule = PolynomialRule(order=order, undersample=UndersampleStyle(undersample))
    return MatchConfig(bin_size=bin_size, polynomial=rule, **more)


def lsst(bin_size=128, **polynomial_rule):
    """What the original does, without any of the departures."""
    return MatchConfig(
        bin_size=bin_size,
        use_polynomial=bool(polynomial_rule),
        cells=CellRule(statistic=Statistic.MEAN, clip=Clip(3, 2), min_fraction=0.0, basis="center"),
        polynomial=PolynomialRule(
            weight_power=1.0, pooling=0.0, clip=None, max_condition=np.inf, **polynomial_rule
        ),
        spline=InterpolationRule(),
        reach_cells=np.inf,
        report_grid="fixed",
        quality_pixels=0,
        mask_sources="never",
        extrapolation_plane=False,
        measure_correlation=False,
    )


@pytest.fixture
def pair(rng):
    """Two exposures whose backgrounds differ by a surface of order 3, with stars in both."""
    difference = surface(random_coefficients(rng, 3, 20.0))
    skies = np.random.default_rng(5), np.random.default_rng(5)
    sources = [
        stars(sky, SHAPE, 40, fwhm=fwhm) for sky, fwhm in zip(skies, (3.0, 4.5), strict=True)
    ]
    detected = [light > 0.5 for light in sources]
    reference = exposure(
        sources[0] + 100.0, rng=rng, noise=2.0, flags={"DETECTED": detected[0]}, name="reference"
    )
    science = exposure(
        sources[1] + 100.0 - difference,
        rng=rng,
        noise=2.0,
        flags={"DETECTED": detected[1]},
        name="science",
    )
    return science, reference, difference


# --- accuracy ---------------------------------------------------------------------------------


def test_the_offset_is_found_to_the_noise(pair):
    science, reference, difference = pair

    result, quality, fit = matched(science, reference)

    error = added(result) - difference
    # Ten factors on 9e4 good pixels of noise 2 sqrt(2): 0.03 expected.
    assert error.std() < 0.06
    assert fit.order == 3
    assert fit.style == "polynomial"
    assert quality.ratio == pytest.approx(1.0, abs=0.02)
    assert quality.diff_variance == pytest.approx(8.0, rel=1e-3)
    assert fit.reduced_chi2 == pytest.approx(1.0, abs=0.4)
    assert fit.offset_before > 10
    assert fit.offset_after < 0.1


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        # One value a cell of some 3e3 or 8e2 pixels, and half a cell of continuation at the edges.
        (spline(64), 0.15),
        (spline(32), 0.25),
        (spline(64, "natural_spline"), 0.15),
        (spline(64, "linear"), 0.3),
        # Six to 21 factors on all pixels.
        (polynomial(2), 0.06),
        (polynomial(5, 32), 0.12),
        (MatchConfig(polynomial=PolynomialRule(smoothing=None)), 0.15),
    ],
)
def test_all_models_find_a_gentle_offset(rng, config, limit):
    difference = surface(random_coefficients(rng, 2, 3.0))
    reference = exposure(0 * difference, rng=rng, noise=2.0, name="reference")
    science = exposure(-difference, rng=rng, noise=2.0, name="science")

    result, quality, _ = matched(science, reference, config)

    assert (added(result) - difference).std() < limit
    assert quality.ratio == pytest.approx(1.0, abs=0.02)


def test_swapping_both_changes_the_sign(pair):
    science, reference, _ = pair
    for config in (MatchConfig(), spline(), lsst(64), lsst(32, order=2)):
        there, _, _ = matched(science, reference, config)
        back, _, _ = matched(reference, science, config)

        np.testing.assert_array_equal(added(back), -added(there))


def test_a_constant_and_a_factor_go_through(pair):
    science, reference, _ = pair
    plain, quality, _ = matched(science, reference)

    raised = science.with_values(image=science.image + np.float32(64))
    # 64 more cost six bits of the pixels of single precision, of which a cell averages many.
    np.testing.assert_allclose(added(matched(raised, reference)[0]), added(plain) - 64, atol=5e-5)
    doubled = [
        one.with_values(image=2 * one.image, variance=4 * one.variance)
        for one in (science, reference)
    ]
    result, twice, _ = matched(*doubled)
    np.testing.assert_array_equal(added(result), 2 * added(plain))
    assert twice.matched_mse == pytest.approx(4 * quality.matched_mse, rel=1e-9)


def test_pixels_that_do_not_count_may_hold_anything(pair):
    science, reference, _ = pair
    bad = np.zeros(SHAPE, bool)
    bad[100:103, 40:200] = True
    expected = None
    for value in (0.0, 65000.0, np.nan):
        image = science.image.copy()
        image[bad] = value
        changed = science.with_values(image=image, mask=science.mask.with_flagged(bad, "SAT"))
        result, quality, fit = matched(changed, reference)
        values = added(result), quality.matched_mse, fit.fit_rms
        if expected is None:
            expected = values
        np.testing.assert_array_equal(values[0], expected[0])
        assert values[1:] == expected[1:]


def test_identical_exposures_get_nothing(rng):
    image = exposure(surface([[50.0, 3.0], [1.0, 0.0]]), rng=rng, name="same")
    for config in (MatchConfig(), spline(), lsst(), lsst(100, order=2)):
        result, quality, _ = matched(image, image, config)

        assert not added(result).any()
        assert quality.matched_mse == 0
        assert quality.ratio == 0


def test_a_gap_in_the_reference_does_not_bend_the_fit(rng):
    y, x = np.indices((300, 341))
    plane = 0.02 * x - 0.01 * y
    gap = np.zeros(plane.shape, bool)
    gap[:, 120:180] = True
    reference = exposure(plane + 50, rng=rng, missing=gap, name="reference")
    science = exposure(10 + 0 * plane, rng=rng, name="science")

    result, quality, _ = matched(science, reference, polynomial(4, 60))
    at_centers = MatchConfig(
        bin_size=60, cells=CellRule(basis="center"), polynomial=PolynomialRule(order=4)
    )
    poor, _, _ = matched(science, reference, at_centers)

    errors = [np.sqrt(np.mean((added(one) - (plane + 40)) ** 2)) for one in (result, poor)]
    assert errors[0] < 0.05
    assert errors[1] > 1.5 * errors[0]
    assert 0.985 < quality.ratio < 1.01
    assert np.isfinite(result.exposure.image).all()


@pytest.mark.parametrize("bin_size", [64, 32])
def test_curves_are_moved_to_the_centres_of_cells_at_a_gap(rng, bin_size):
    y, x = np.indices(SHAPE)
    plane = 0.02 * x - 0.01 * y
    gap = np.zeros(SHAPE, bool)
    gap[:, 145:200] = True
    reference = exposure(plane + 50, noise=0.1, rng=rng, missing=gap, name="reference")
    science = exposure(10 + 0 * plane, noise=0.1, rng=rng, name="science")

    moved = added(matched(science, reference, spline(bin_size))[0])
    still = added(matched(science, reference, spline(bin_size, cells=CellRule(basis="center")))[0])

    errors = [(model - plane - 40).std() for model in (moved, still)]
    assert errors[0] < 0.02
    assert errors[1] > 3 * errors[0]


def test_unmasked_sources_are_found_and_left_out(rng):
    skies = np.random.default_rng(6), np.random.default_rng(6)
    sources = [
        stars(sky, SHAPE, 60, fwhm=fwhm) for sky, fwhm in zip(skies, (3.0, 6.0), strict=True)
    ]
    reference = exposure(sources[0] + 30, rng=rng, noise=2.0, name="reference")
    science = exposure(sources[1], rng=rng, noise=2.0, name="science")

    kept = {}
    for policy in ("auto", "never"):
        config = MatchConfig(mask_sources=policy, cells=CellRule(statistic=Statistic.MEAN))
        result, quality, _ = matched(science, reference, config)
        kept[policy] = (np.abs(added(result) - 30).max(), quality.ratio)

    assert kept["auto"][0] < 0.3
    assert kept["auto"][1] < 1.1
    assert kept["never"][1] > 2


def test_a_line_tells_that_sources_count_as_sky(rng, caplog):
    image = exposure(np.zeros(SHAPE), rng=rng, name="raw7.fits")

    with caplog.at_level(logging.INFO, "skytool"):
        matched(image, image, MatchConfig(mask_sources="never"))

    assert "raw7.fits: no pixel is DETECTED" in caplog.text


# --- the acceptance scenes of the original ----------------------------------------------------


@pytest.mark.parametrize("config", [lsst(128), lsst(64), lsst(100, order=4), MatchConfig()])
@pytest.mark.parametrize("scene", ["plain", "gap", "ramp", "part"])
def test_scenes_of_the_original(rng, config, scene):
    shape = (600, 601)
    y, x = np.indices(shape)
    level = 50.0 + (x + 2.0 * y if scene == "ramp" else 0.0 * x)
    gap = (x >= 200) & (x < 300) & (scene == "gap")
    lost = (x >= 200) & (scene == "part")
    reference = exposure(level, rng=rng, missing=gap, name="reference")
    science = exposure(np.full(shape, 10.0), rng=rng, missing=lost, name="science")

    result, quality, _ = matched(science, reference, config)

    image = result.exposure.image
    np.testing.assert_array_equal(np.isnan(image), lost)
    assert quality.ratio < 1.01
    if scene == "plain":
        assert quality.ratio > 0.985
        assert image.mean() == pytest.approx(50.0, abs=0.02)
        limit = 0.03 if config.use_polynomial else 0.035
        assert np.sqrt(np.mean((added(result) - 40) ** 2)) < limit
    if scene == "part":
        assert image[~lost].mean() == pytest.approx(50.0, abs=0.02)


def test_too_few_cells_for_the_order_is_an_error(rng):
    image = exposure(np.zeros((600, 601)), rng=rng, name="raw7.fits")
    for order in range(3, 8):
        with pytest.raises(AlgorithmError, match=r"raw7.fits: 3 cells of 256 pixels along a side"):
            matched(image, image, polynomial(order, 256))
    with pytest.raises(AlgorithmError, match="cells of 601 pixels do not fit in a side of 600"):
        matched(image, image, polynomial(0, 601))
    for bin_size, order in ((600, 0), (300, 1), (200, 2), (100, 5)):
        assert matched(image, image, polynomial(order, bin_size))[2].order == order


def test_undersampled_polynomials_fail_or_are_reduced_or_get_smaller_cells(rng):
    missing = np.zeros(SHAPE, bool)
    missing[:, 114:] = True  # two columns of cells of 64 are left
    image = exposure(surface([[5.0, 40.0]]), noise=0.5, rng=rng, missing=missing, name="raw7.fits")
    whole = exposure(np.zeros(SHAPE), noise=0.5, rng=rng, name="whole")

    with pytest.raises(AlgorithmError, match=r"raw7.fits: cells .* 2 rows or columns"):
        matched(image, whole, polynomial(4, 64, "throw_exception"))
    assert matched(image, whole, polynomial(4, 64))[2].order == 1
    finer = matched(image, whole, polynomial(4, 64, "increase_nxnysample"))[2]
    assert finer.order == 4
    assert finer.cells_total == 12 * 14  # of 2 * 64 // 5 = 25 pixels
    counted = matched(image, whole, polynomial(4, 64, "increase_nxnysample", increase_as="count"))[
        2
    ]
    assert counted.cells_total == 25**2


def test_undersampled_curves_fail_or_are_reduced(rng):
    image = exposure(np.zeros(SHAPE), rng=rng, name="raw7.fits")

    with pytest.raises(AlgorithmError, match="akima_spline needs 5 values"):
        matched(image, image, spline(100, undersample="throw_exception"))
    styles = {size: matched(image, image, spline(size))[2].style for size in (64, 100, 200, 340)}
    assert styles == {
        64: "akima_spline",
        100: "cubic_spline",
        200: "linear",
        340: "constant",
    }


# --- coverage ---------------------------------------------------------------------------------


def test_nothing_in_common_is_an_error_with_both_names(rng):
    left = np.zeros(SHAPE, bool)
    left[LEFT] = True
    one = exposure(np.zeros(SHAPE), rng=rng, missing=left, name="one.fits")
    other = exposure(np.zeros(SHAPE), rng=rng, missing=~left, name="other.fits")
    for config in (MatchConfig(), spline(), polynomial(0)):
        with pytest.raises(
            AlgorithmError, match=r"one.fits and other.fits have no pixel in common"
        ):
            matched(one, other, config)


def test_an_exposure_without_any_value_is_an_error_with_its_name(rng):
    nothing = np.ones(SHAPE, bool)
    empty = exposure(np.zeros(SHAPE), rng=rng, missing=nothing, name="empty.fits")
    other = exposure(np.zeros(SHAPE), rng=rng, name="other.fits")
    for pair in ((empty, other), (other, empty)):
        with pytest.raises(AlgorithmError, match=r"^empty.fits has no pixel with a value"):
            matched(*pair)


def test_all_masked_is_an_error_that_says_so(rng):
    everywhere = {"SAT": np.ones(SHAPE, bool)}
    one = exposure(np.zeros(SHAPE), rng=rng, flags=everywhere, name="one.fits")

    with pytest.raises(AlgorithmError, match=r"one.fits: no cell has enough good pixels"):
        matched(one, one)


def test_a_model_keeps_its_value_away_from_its_cells(rng):
    x = np.indices(SHAPE)[1]
    slope = 0.5 * x
    missing = x >= 100
    reference = exposure(slope, rng=rng, missing=missing, name="reference")
    science = exposure(np.zeros(SHAPE), rng=rng, name="science")

    result, _, fit = matched(science, reference, MatchConfig(bin_size=50))

    model = added(result)
    # Followed for one cell beyond the last covered one, which ends at 96, then kept.
    np.testing.assert_allclose(model[:, :140], slope[:, :140], atol=0.5)
    assert np.ptp(model[:, 150:], axis=1).max() < 1e-4
    assert model.max() == pytest.approx(0.5 * 146, abs=1.0)
    flagged = result.exposure.mask.any_of([EXTRAPOLATED])
    np.testing.assert_array_equal(flagged, missing)
    assert fit.covered == pytest.approx(100 / 340, abs=0.01)
    assert fit.extrapolated == pytest.approx(240 / 340, abs=0.01)


def test_a_tenth_covered_is_a_tenth_reported(rng):
    missing = np.ones(SHAPE, bool)
    missing[:, :34] = False
    reference = exposure(np.zeros(SHAPE), rng=rng, missing=missing, name="reference")
    science = exposure(np.zeros(SHAPE), rng=rng, name="science")

    _, _, fit = matched(science, reference)

    assert fit.covered == pytest.approx(0.1, abs=0.005)
    assert fit.extrapolated == pytest.approx(0.9, abs=0.005)


def test_mask_and_variance_stay_as_they_are(pair):
    science, reference, _ = pair

    result, _, _ = matched(science, reference)

    np.testing.assert_array_equal(result.exposure.mask.array, science.mask.array)
    assert result.exposure.mask.bits == science.mask.bits
    np.testing.assert_array_equal(result.exposure.variance, science.variance)
    assert result.new_plane == ""


def test_inputs_are_not_changed(pair):
    science, reference, _ = pair
    before = [(one.image.copy(), one.mask.array.copy()) for one in (science, reference)]

    matched(science, reference)

    for one, (image, mask) in zip((science, reference), before, strict=True):
        np.testing.assert_array_equal(one.image, image)
        np.testing.assert_array_equal(one.mask.array, mask)


def test_isolated_cells_can_be_refused(rng):
    missing = np.ones(SHAPE, bool)
    missing[:128, :128] = False
    missing[200:220, 300:320] = False
    reference = exposure(np.zeros(SHAPE), rng=rng, missing=missing, name="reference")
    science = exposure(np.zeros(SHAPE), rng=rng, name="science")

    counts = [
        matched(science, reference, MatchConfig(bin_size=32, cells=CellRule(min_neighbors=n)))[
            2
        ].cells_used
        for n in (0, 2)
    ]

    assert counts[0] > counts[1]


# --- quality ----------------------------------------------------------------------------------


def test_the_variance_of_the_model_is_that_of_its_scatter():
    errors, stated = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        reference = exposure(np.zeros(SHAPE), rng=rng, name="reference")
        science = exposure(np.zeros(SHAPE), rng=rng, name="science")
        config = polynomial(2, add_fit_variance=True, measure_correlation=False)
        result, _, _ = matched(science, reference, config)
        errors.append(added(result))
        stated.append(result.exposure.variance - science.variance)

    measured, said = np.mean(np.square(errors)), np.mean(stated)
    # 30 draws of 6 factors: 180 squares, so 11 per cent.
    assert said == pytest.approx(measured, rel=0.35)
    assert np.all(np.array(stated) > 0)


def test_the_variance_of_correlated_noise_is_raised(rng):
    white = [rng.normal(0, 2.0, (SHAPE[0] + 2, SHAPE[1] + 2)) for _ in range(2)]
    smooth = [
        sum(one[j : j + SHAPE[0], i : i + SHAPE[1]] for j in range(3) for i in range(3)) / 9
        for one in white
    ]
    images = [exposure(one, noise=2 / 3, name=f"{k}") for k, one in enumerate(smooth)]

    _, _, fit = matched(*images)

    # Nine pixels share one value: the variance of a mean is nine times that of white noise.
    assert fit.correlation == pytest.approx(9.0, rel=0.15)


def test_the_variance_added_may_be_the_misfit(pair):
    science, reference, _ = pair

    result, quality, _ = matched(
        science, reference, polynomial(1, add_fit_variance=True, fit_variance="rms")
    )

    added_variance = result.exposure.variance - science.variance
    np.testing.assert_allclose(added_variance, quality.fit_rms**2, rtol=1e-5)


def test_matches_worse_than_the_limits_are_refused(pair):
    science, reference, _ = pair
    match = match_of(science, reference, polynomial(0))
    quality = match.quality(match.fit())

    assert quality.ratio > 2
    check_quality(quality, MatchConfig(max_ratio=1e6, max_rms=1e6), name="science")
    with pytest.raises(AlgorithmError, match="science: the matched difference has") as caught:
        check_quality(quality, MatchConfig(max_ratio=1.1), name="science")
    assert caught.value.facts["ratio"] == quality.ratio
    with pytest.raises(AlgorithmError, match="science: the model misses its cells by"):
        check_quality(quality, MatchConfig(max_rms=1.0), name="science")


def test_quality_is_the_same_before_and_after_the_image_is_made(pair):
    science, reference, _ = pair
    match = match_of(science, reference)
    fit = match.fit()
    first = match.quality(fit)

    ((_, second),) = match.matched(fit)

    assert first == second


# --- fluxes -----------------------------------------------------------------------------------


def test_fluxes_are_scaled_before_the_match(rng):
    light = stars(np.random.default_rng(8), SHAPE, 40, fwhm=4.0)
    flags = {"DETECTED": light > 0.5}
    reference = exposure(light + 20, rng=rng, flags=flags, name="reference")
    science = exposure(light / 2 - 7, rng=rng, noise=0.5, flags=flags, name="science")
    science = science.with_values(calibration=PhotometricCalibration(2.0))

    result, quality, _ = matched(science, reference, scale=2.0)

    np.testing.assert_allclose(added(result), 34.0, atol=0.1)
    np.testing.assert_allclose(result.exposure.image, 2 * science.image + np.float32(34), atol=0.1)
    np.testing.assert_allclose(result.exposure.variance, 4 * science.variance)
    assert result.exposure.calibration.scale == pytest.approx(1.0)
    assert quality.ratio == pytest.approx(1.0, abs=0.02)
    np.testing.assert_allclose(undone(with_layer(result)).image, science.image, atol=2e-4)


def test_the_factor_is_found_from_sources(rng):
    seeds = np.random.default_rng(9), np.random.default_rng(9)
    light = [stars(one, (600, 650), 150, fwhm=f) for one, f in zip(seeds, (3.5, 4.5), strict=True)]
    flags = {"DETECTED": (light[0] > 0.3) | (light[1] > 0.3)}
    reference = exposure(light[0] + 20, rng=rng, flags=flags, name="reference")
    science = exposure(0.8 * light[1] + 50, rng=rng, flags=flags, name="science")

    found = fitted_scale([piece(science)], [piece(reference)], MatchConfig(), name="science")

    assert found.scale == pytest.approx(1.25, abs=max(4 * found.error, 0.005))
    assert found.error < 0.01


def test_a_factor_needs_sources(rng):
    flags = {"DETECTED": np.indices((600, 650))[1] < 3}
    images = [
        exposure(np.zeros((600, 650)), rng=rng, flags=flags, name=name)
        for name in ("raw7.fits", "r")
    ]

    with pytest.raises(AlgorithmError, match=r"raw7.fits: only \d+ cells have sources"):
        fitted_scale([piece(images[0])], [piece(images[1])], MatchConfig(), name="raw7.fits")


# --- given offsets, references, undo ------------------------------------------------------------


def test_a_given_offset_is_added_and_judged(pair):
    science, reference, _ = pair
    match = match_of(science, reference)
    fit = match.given(12.5)
    ((result, quality),) = match.matched(fit)

    np.testing.assert_array_equal(result.exposure.image, science.image + np.float32(12.5))
    assert fit.style == "given"
    assert quality.ratio > 2


def test_the_reference_stays_as_it_is(pair):
    _, reference, _ = pair

    result = unchanged(reference)

    np.testing.assert_array_equal(result.exposure.image, reference.image)
    assert not added(result).any()


@pytest.mark.parametrize(
    "config",
    [
        MatchConfig(),
        MatchConfig(bin_size=50, add_fit_variance=True),
        spline(),
        spline(add_fit_variance=True),
        polynomial(2, add_fit_variance=True, fit_variance="rms"),
    ],
)
def test_undoing_restores_the_exposure(rng, config):
    missing = np.zeros(SHAPE, bool)
    missing[:, 200:] = True
    reference = exposure(surface([[300.0, 20.0], [7.0, 0.0]]), rng=rng, missing=missing, name="r")
    lost = np.zeros(SHAPE, bool)
    lost[:30] = True
    science = exposure(np.full(SHAPE, 77.0), rng=rng, missing=lost, name="science")
    result, _, _ = matched(science, reference, config)
    stored = with_layer(result)

    restored = undone(stored)

    assert stored.mask.any_of([EXTRAPOLATED]).any()
    np.testing.assert_allclose(restored.image, science.image, atol=4e-5)
    np.testing.assert_array_equal(restored.mask.array, science.mask.array)
    assert dict(restored.mask.bits) == dict(science.mask.bits)
    np.testing.assert_allclose(
        restored.variance, science.variance, rtol=2e-7 if config.add_fit_variance else 0
    )
    assert restored.extensions == ()


def test_only_the_last_match_is_undone(pair):
    science, reference, _ = pair
    once = with_layer(matched(science, reference)[0])
    twice = with_layer(matched(once, science)[0])

    assert [hdu.ver for hdu in twice.extensions if hdu.name == "BKG"] == [1, 2]
    np.testing.assert_allclose(undone(twice).image, once.image, atol=1e-4)
    np.testing.assert_allclose(undone(undone(twice)).image, science.image, atol=2e-4)


def test_flags_of_the_last_match_alone_are_undone(rng):
    left, lower = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    left[:, 200:] = lower[:180] = True
    one = exposure(np.full(SHAPE, 9.0), rng=rng, missing=left, name="one")
    other = exposure(np.full(SHAPE, 5.0), rng=rng, missing=lower, name="other")
    science = exposure(np.full(SHAPE, 7.0), rng=rng, name="science")
    once = with_layer(matched(science, one, MatchConfig(bin_size=50))[0])
    twice = with_layer(matched(once, other, MatchConfig(bin_size=50))[0])

    restored = undone(twice)

    counts = [np.count_nonzero(e.mask.any_of([EXTRAPOLATED])) for e in (once, twice)]
    assert 0 < counts[0] < counts[1]
    np.testing.assert_array_equal(restored.mask.array, once.mask.array)
    np.testing.assert_array_equal(undone(restored).mask.array, science.mask.array)
    flags = next(hdu for hdu in twice.extensions if hdu.name == "BKGFLAGS")
    flags.data["Y"][-1] = SHAPE[0]
    with pytest.raises(InputError, match=r"BKGFLAGS\] is damaged"):
        undone(twice)


def test_undoing_what_was_not_matched_is_refused(pair):
    science, reference, _ = pair
    with pytest.raises(NothingToDoError, match="science has no layer"):
        undone(science)
    stored = with_layer(matched(science, reference)[0])
    stored.extensions[0].header["BKGSTAGE"] = "skyframe apply"
    with pytest.raises(IncompatibleError, match="made by skyframe apply, not by match-bg"):
        undone(stored)


# --- patches of a tract -------------------------------------------------------------------------


def patches(image, windows, rng, **options):
    out = []
    for window in windows:
        part = exposure(
            image[window.rows, window.columns], rng=rng, origin=(window.y, window.x), **options
        )
        out.append(piece(part, window))
    return out


@pytest.mark.parametrize("config", [MatchConfig(), spline(60)])
def test_patches_of_a_visit_get_one_model_without_steps(rng, config):
    frame = (320, 610)
    windows = [
        Window(y=0, x=0, shape=(320, 220)),
        Window(y=0, x=200, shape=(320, 220)),
        Window(y=0, x=400, shape=(320, 210)),
    ]
    truth = surface(random_coefficients(rng, 2, 5.0), frame)
    science = patches(10 - truth, windows, rng, name="science")
    target = reference_for(
        "reference", patches(np.full(frame, 10.0), windows, rng), config, single=False
    )
    match = Match("science", science, target, frame, config)

    fit = match.fit()
    models = [added(result) for result, _ in match.matched(fit)]

    for window, model in zip(windows, models, strict=True):
        assert (model - truth[window.rows, window.columns]).std() < 0.2
    np.testing.assert_allclose(models[0][:, 200:], models[1][:, :20], atol=2e-4)
    np.testing.assert_allclose(models[1][:, 200:], models[2][:, :20], atol=2e-4)


def test_a_patch_is_compared_with_all_pieces_it_meets(rng):
    frame = (320, 610)
    truth = surface([[3.0, 9.0]], frame)
    whole = [Window(y=0, x=0, shape=frame)]
    halves = [Window(y=0, x=0, shape=(320, 330)), Window(y=0, x=300, shape=(320, 310))]
    config = MatchConfig()
    target = reference_for("reference", patches(0 * truth, halves, rng), config, single=False)
    match = Match("science", patches(-truth, whole, rng), target, frame, config)

    fit = match.fit()
    ((result, quality),) = match.matched(fit)

    assert fit.covered == pytest.approx(1.0)
    np.testing.assert_allclose(added(result), truth, atol=0.1)
    assert quality.ratio == pytest.approx(1.0, abs=0.02)


class Header:
    """What a frame asks of an exposure."""

    def __init__(self, name, shape, origin=(0, 0), wcs=None):
        self.name, self.path, self.shape, self.origin = name, Path(name), shape, Origin(*origin)
        self._wcs = wcs
        self.header = fits.Header() if wcs is None else wcs.to_header()

    def wcs(self):
        return self._wcs


def tan(*, crpix, scale=0.2, crval=(150.0, 2.0)):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = crval
    wcs.wcs.crpix = crpix
    wcs.wcs.cd = np.array([[-scale, 0], [0, scale]]) / 3600
    wcs.wcs.set()
    return wcs


def test_exposures_of_one_grid_fill_one_frame():
    wcs = tan(crpix=(170.0, 150.0))
    frame = common_frame([Header("a", SHAPE, wcs=wcs), Header("b", SHAPE, wcs=wcs)])

    assert frame.shape == SHAPE
    assert frame.is_single


def test_patches_of_a_tract_share_a_frame():
    frame = common_frame(
        [
            Header("a", (320, 330), (100, 50), tan(crpix=(170.0, 150.0))),
            Header("b", (320, 310), (100, 350), tan(crpix=(170.0 - 300, 150.0))),
        ]
    )

    assert frame.shape == (320, 610)
    assert [(window.y, window.x) for window in frame.windows] == [(0, 0), (0, 300)]
    assert not frame.is_single


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Header("b.fits", (300, 341), wcs=tan(crpix=(170.0, 150.0))), "340 x 300 .* 341 x 300"),
        (Header("b.fits", SHAPE, wcs=tan(crpix=(170.5, 150.0))), "0.5 pixels apart"),
        (Header("b.fits", SHAPE, wcs=tan(crpix=(170.0, 150.0), scale=0.201)), "pixels apart"),
        (Header("b.fits", SHAPE, (0, 7), tan(crpix=(170.0, 150.0))), "7 pixels apart"),
        (Header("b.fits", SHAPE, wcs=tan(crpix=(170.0, 150.0), crval=(330.0, 2.0))), "other parts"),
    ],
)
def test_exposures_on_other_grids_are_refused_with_what_to_do(other, words):
    first = Header("a.fits", SHAPE, wcs=tan(crpix=(170.0, 150.0)))

    with pytest.raises(IncompatibleError, match=words) as caught:
        common_frame([first, other])

    assert caught.value.hint.endswith("skytool warp b.fits --like a.fits -o OUT.fits")


def test_exposures_with_and_without_coordinates_do_not_go_together():
    with pytest.raises(IncompatibleError, match=r"b.fits has no celestial WCS"):
        common_frame(
            [Header("a.fits", SHAPE, wcs=tan(crpix=(170.0, 150.0))), Header("b.fits", SHAPE)]
        )
    assert common_frame([Header("a.fits", SHAPE), Header("b.fits", SHAPE)]).is_single
