from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from scipy.signal import fftconvolve

from skytool.errors import AlgorithmError, IncompatibleError, NothingToDoError, SkytoolWarning
from skytool.models.mask import Mask
from skytool.models.psf.kinds import BasisPsf, ConstantPsf
from skytool.stages.diffim import DiffimConfig, aligned, subtract
from tests.stages.pairs import (
    SCALE,
    SHAPE,
    SIGMA_SCIENCE,
    SIGMA_TEMPLATE,
    correlation,
    drawn,
    exposure,
    gaussian,
    pair,
    sky,
    wcs_of,
)

FORWARD = DiffimConfig(mode="convolve-template")


@pytest.fixture(scope="module")
def standard():
    """A pair with its difference, and its sky."""
    science, template, stars = pair(np.random.default_rng(3), shape=(480, 520), count=50)
    result = subtract(science, template, FORWARD)
    return science, template, stars, result, sky(science.shape, *stars[:2])


def test_the_noise_of_a_difference_is_white_and_has_its_variance(standard):
    *_, result, free = standard
    image = result.difference.image.astype(float)

    # 110 000 pixels: standard errors are 0.003 of a correlation and 0.4 % of a variance
    for lag in ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (0, 3), (3, 0)):
        assert abs(correlation(image, free, *lag)) < 0.015
    assert np.var(image[free]) == pytest.approx(1.0 + SCALE**2, rel=0.02)
    assert np.median(result.difference.variance[free]) == pytest.approx(
        np.var(image[free]), rel=0.02
    )


def test_a_sky_that_is_left_in_changes_nothing(standard):
    science, template, _, result, _ = standard
    y, x = np.indices(science.shape, np.float32)
    lifted = [
        each.with_values(image=each.image + np.float32(level) * (1 + y / 90000 - x / 80000))
        for each, level in ((science, 3000.0), (template, 1700.0))
    ]

    again = subtract(*lifted, FORWARD)

    sums = [each.metrics["kernel_sum"] for each in (result, again)]
    assert sums[1] == pytest.approx(sums[0], rel=1e-3)
    counts = [each.metrics["kernel_candidates"] for each in (result, again)]
    assert abs(counts[1] - counts[0]) <= 2
    assert np.std(again.difference.image - result.difference.image) < 0.05


class PsfWithGap(ConstantPsf):
    """The PSF of a warp: none between two detectors, which is the middle of the image."""

    def everywhere(self):
        return ConstantPsf(self.stamp)

    def star(self, *, y, x, shape, dy=0.0, dx=0.0):
        if abs(x - (SHAPE[1] - 1) / 2) < 12:
            raise AlgorithmError(f"no input image sees (x, y) = ({x:g}, {y:g}).")
        return super().star(y=y, x=x, shape=shape, dy=dy, dx=dx)


def test_a_warp_with_a_gap_in_its_middle_is_subtracted():
    science, template, _ = pair(np.random.default_rng(9))
    whole = subtract(science, template, FORWARD)
    science = science.with_values(psf=PsfWithGap(science.psf.stamp))
    result = subtract(science, template, FORWARD)

    np.testing.assert_allclose(
        result.difference.image, whole.difference.image, rtol=0, atol=0.05, equal_nan=True
    )


def test_without_whitening_neighbours_are_correlated(standard):
    science, template, _, _, free = standard
    plain = subtract(science, template, replace(FORWARD, decorrelate=False)).difference

    assert correlation(plain.image.astype(float), free, 0, 1) > 0.02  # 0.032 by theory
    stamp = plain.psf.kernel_image(y=100.0, x=100.0)
    np.testing.assert_allclose(stamp, science.psf.kernel_image(y=100.0, x=100.0), atol=1e-12)


@pytest.mark.parametrize("phase", [(0.0, 0.0), (0.5, 0.5), (0.25, -0.4)])
def test_the_flux_of_a_transient_is_that_of_the_psf_of_the_difference(standard, phase):
    science, template, _, result, free = standard
    y, x = np.argwhere(free & np.roll(free, 9, 0) & np.roll(free, -9, 0))[4000] + np.array(phase)
    flux = 700.0
    changed = science.image + drawn(science.shape, [y], [x], [flux], SIGMA_SCIENCE)
    brighter = science.with_values(image=changed.astype(np.float32))

    again = subtract(brighter, template, FORWARD, kernel=result.kernel)
    change = again.difference.image.astype(float) - result.difference.image
    row, column = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
    measured = []
    for psf in (result.difference.psf, science.psf):
        star = psf.image(y=y, x=x)
        half = star.shape[0] // 2
        part = change[row - half : row + half + 1, column - half : column + half + 1]
        measured.append(np.sum(star * part) / np.sum(star**2))

    assert measured[0] == pytest.approx(flux, rel=3e-3)
    assert measured[1] > 1.08 * flux  # the PSF of the science image is not that of the difference


def test_the_variance_follows_a_step(rng):
    shape = (420, 460)
    science, template, (y, x, _) = pair(rng, shape=shape, count=40)
    variance = np.ones(shape, np.float32)
    variance[:, 230:] = 4.0
    image = science.image + np.sqrt(variance - 1.0) * rng.normal(size=shape)
    noisy = science.with_values(image=image.astype(np.float32), variance=variance)

    result = subtract(noisy, template, FORWARD)
    free = sky(shape, y, x)
    for side in (np.s_[:, 40:205], np.s_[:, 255:420]):
        found = result.difference.image[side][free[side]]
        told = np.median(result.difference.variance[side][free[side]])
        assert told == pytest.approx(np.var(found), rel=0.04)


@pytest.mark.parametrize(("source", "error"), [("difference", 0.03), ("images", 0.07)])
def test_variances_that_are_too_small_are_scaled(rng, source, error):
    science, template, (y, x, _) = pair(rng, shape=(480, 520), count=30)
    low = [
        each.with_values(variance=each.variance / np.float32(1.345)) for each in (science, template)
    ]

    result = subtract(*low, replace(FORWARD, variance_from=source))

    for name in ("science", "template"):
        assert result.metrics[f"{name}_factor"] == pytest.approx(1.345, rel=error)
    free = sky(science.shape, y, x)
    told = np.median(result.difference.variance[free])
    assert told == pytest.approx(np.var(result.difference.image[free]), rel=error)


def test_the_science_image_can_be_convolved_and_keeps_its_scale(rng):
    science, template, (y, x, flux) = pair(
        rng, sigmas=(SIGMA_TEMPLATE, SIGMA_SCIENCE), scale=1.3, count=50
    )
    result = subtract(science, template, replace(FORWARD, mode="convolve-science"))
    free = sky(science.shape, y, x)
    image = result.difference.image

    assert result.kernel.convolved == "SCIENCE"
    assert result.kernel.sum == pytest.approx(1 / 1.3, rel=0.01)
    assert np.var(image[free]) == pytest.approx(1.0 + 1.3**2, rel=0.03)
    assert abs(correlation(image.astype(float), free, 0, 1)) < 0.015
    bright = flux > 5000
    noise = np.sqrt(result.difference.variance)
    rows, columns = np.rint(y[bright]).astype(int), np.rint(x[bright]).astype(int)
    inside = (rows > 20) & (columns > 20)
    stamps = np.array(
        [
            (image / noise)[row - 5 : row + 6, column - 5 : column + 6]
            for row, column in zip(rows[inside], columns[inside], strict=True)
        ]
    )
    assert np.sqrt(np.mean(stamps**2)) < 1.3


def test_exchanging_the_images_turns_the_sign(rng):
    science, template, _ = pair(rng, count=50)
    config = DiffimConfig(mode="auto")
    there = subtract(science, template, config)
    back = subtract(template, science, config)
    scale = there.kernel.sum
    inner = np.s_[40:-40, 40:-40]

    assert (there.kernel.convolved, back.kernel.convolved) == ("TEMPLATE", "SCIENCE")
    left = back.difference.image * scale + there.difference.image
    assert np.std(left[inner]) < 0.03 * np.std(there.difference.image[inner])
    ratio = there.difference.variance / back.difference.variance
    assert np.median(ratio) == pytest.approx(scale**2, rel=0.02)


def flagged(exposure, planes):
    """An exposure with planes set in places."""
    mask = exposure.mask
    for name, where in planes.items():
        place = np.zeros(exposure.shape, bool)
        place[where] = True
        mask = mask.with_flagged(place, name)
    return exposure.with_values(mask=mask)


def test_masks_are_carried_as_far_as_the_kernel_reaches(rng):
    science, template, _ = pair(rng)
    science = flagged(science, {"BAD": np.s_[200, 100], "DETECTED": np.s_[50:60, 50:60]})
    hole = template.image.copy()
    hole[300:304, 300:304] = np.nan
    template = flagged(
        template.with_values(image=hole),
        {"SAT": np.s_[60, 380], "NO_DATA": np.s_[150:160, 300:310], "INJECTED": np.s_[250, 60]},
    )
    config = replace(FORWARD, mask_spread=0.0, white_mask_spread=1.0)

    result = subtract(science, template, config)
    mask = result.difference.mask
    half = result.kernel.basis.shape[1] // 2

    def extent(name):
        rows, columns = np.nonzero(mask.any_of([name]))
        return (rows.min(), rows.max(), columns.min(), columns.max())

    assert extent("SAT_TEMPLATE") == (60 - half, 60 + half, 380 - half, 380 + half)
    assert not mask.any_of(["SAT"]).any()
    assert extent("BAD") == (200, 200, 100, 100)
    assert extent("INJECTED_TEMPLATE") == (250, 250, 60, 60)
    no_data = mask.any_of(["NO_DATA"])
    assert no_data[150 - half : 160 + half, 300 - half : 310 + half].all()
    assert no_data[300 - half : 304 + half, 300 - half : 304 + half].all()
    assert np.count_nonzero(no_data) == (10 + 2 * half) ** 2 + (4 + 2 * half) ** 2
    assert not mask.any_of(["DETECTED"]).any()
    assert np.isfinite(result.difference.image).all()
    assert np.isfinite(result.matched.image).all()


def test_pixels_that_hardly_count_do_not_flag_the_difference(rng):
    science, template, _ = pair(rng)
    template = flagged(template, {"BAD": np.s_[200, 200]})

    found = subtract(science, template, FORWARD).difference.mask.any_of(["BAD"])

    assert 9 <= np.count_nonzero(found) <= 13**2
    assert found[200, 200]


def test_the_edge_is_flagged_where_the_template_ends(rng):
    science, template, _ = pair(rng)

    result = subtract(science, template, replace(FORWARD, mask_spread=0.0))
    edge = result.difference.mask.any_of(["EDGE"])
    half = result.kernel.basis.shape[1] // 2

    assert edge[:half].all()
    assert edge[:, -half:].all()
    assert not edge[half:-half, half:-half].any()


def test_a_larger_template_is_cut_to_the_science_image(rng):
    science, template, _ = pair(rng)
    part = np.s_[30:-26, 22:-28]
    inner = exposure(
        science.image[part],
        1.0,
        SIGMA_SCIENCE,
        name="science.fits",
        shift=(-30, -22),
        shape=SHAPE,
    )

    result = subtract(inner, template, FORWARD)

    assert result.difference.shape == inner.shape
    assert not result.difference.mask.any_of(["EDGE", "NO_DATA"]).any()
    assert result.kernel.sum == pytest.approx(SCALE, rel=0.01)


def test_a_template_off_by_parts_of_a_pixel_is_refused_or_resampled(rng):
    science, _, (y, x, flux) = pair(rng, count=50)
    shifted = drawn(SHAPE, y + 0.5, x - 0.25, flux, SIGMA_TEMPLATE) + rng.normal(size=SHAPE)
    moved = exposure(shifted, 1.0, SIGMA_TEMPLATE, name="template.fits", shift=(0.5, -0.25))

    with pytest.raises(IncompatibleError, match=r"up to 0\.559 pixels beside") as caught:
        subtract(science, moved, FORWARD)
    on_grid = aligned(moved, science)
    result = subtract(science, on_grid, FORWARD)
    free = sky(SHAPE, y, x)
    image = result.difference.image.astype(float)

    assert "skytool warp template.fits --like science.fits" in caught.value.hint
    assert on_grid.extensions[0].name == "NOISECORR"
    assert abs(correlation(image, free, 0, 1)) < 0.015
    told = np.median(result.difference.variance[free])
    assert told == pytest.approx(np.var(image[free]), rel=0.03)


def test_the_noise_of_a_resampled_template_is_whitened_by_its_correlation(rng):
    science, template, (y, x, _) = pair(rng, count=50, noise=0)
    taps = np.array([[0.1, 0.2, 0.1], [0.2, 0.7, 0.2], [0.1, 0.2, 0.1]])
    taps /= np.sqrt(np.sum(taps**2))
    noise = 3.0 * fftconvolve(rng.normal(size=SHAPE), taps, mode="same")
    record = fits.ImageHDU(fftconvolve(taps, taps[::-1, ::-1]), name="NOISECORR")
    free = sky(SHAPE, y, x)
    science = science.with_values(image=(science.image + rng.normal(size=SHAPE)).astype(np.float32))
    template = template.with_values(
        image=(template.image + noise).astype(np.float32),
        variance=np.full(SHAPE, np.float32(9.0)),
    )

    config = replace(FORWARD, measure_noise=False)
    recorded = template.with_values(extensions=(record,))
    knowing, unknowing, measuring = (
        subtract(science, image, settings).difference
        for image, settings in ((recorded, config), (template, config), (template, FORWARD))
    )

    assert abs(correlation(knowing.image.astype(float), free, 0, 1)) < 0.02
    assert abs(correlation(unknowing.image.astype(float), free, 0, 1)) > 0.05
    for lag in ((0, 1), (1, 0), (1, 1), (0, 2)):
        assert abs(correlation(measuring.image.astype(float), free, *lag)) < 0.03
    told = np.median(measuring.variance[free])
    assert told == pytest.approx(np.var(measuring.image[free]), rel=0.03)


def test_exposures_without_coordinates_are_taken_as_they_lie(rng):
    science, template, _ = pair(rng)

    with pytest.warns(SkytoolWarning, match="science.fits has no coordinates"):
        result = subtract(science.with_values(wcs=None), template, FORWARD)
    part = template.with_values(
        image=template.image[:-4],
        variance=template.variance[:-4],
        mask=Mask(template.mask.array[:-4], template.mask.bits),
        wcs=None,
    )
    with pytest.raises(IncompatibleError, match=r"440 x 400 pixels.*440 x 396"):
        subtract(science, part, FORWARD)

    assert result.kernel.sum == pytest.approx(SCALE, rel=0.01)


def test_a_template_elsewhere_is_nothing_to_do(rng):
    science, template, _ = pair(rng)
    far = template.with_values(wcs=wcs_of(SHAPE, (0, -900)))

    with pytest.raises(NothingToDoError, match=r"does not reach science\.fits"):
        subtract(science, far, FORWARD)


@pytest.mark.parametrize("kind", ["empty", "saturated"])
def test_images_without_usable_stars_fail_with_a_reason(rng, kind):
    science, template, _ = pair(rng)
    if kind == "empty":
        science = science.with_values(image=rng.normal(size=SHAPE).astype(np.float32))
    else:
        science = flagged(science, {"SAT": science.image > 15.0})

    with pytest.raises(AlgorithmError, match="are fit for the kernel, 3 are required; left out: "):
        subtract(science, template, FORWARD)


def test_a_constant_image_has_no_stars(rng):
    science, template, _ = pair(rng)
    flat = science.with_values(image=np.full(SHAPE, np.float32(7.0)))

    with pytest.raises(AlgorithmError, match=r"0 of \d sources are fit for the kernel"):
        subtract(flat, template, replace(FORWARD, scale_variance=False))


def test_an_exposure_without_any_variance_is_refused(rng):
    science, template, _ = pair(rng)
    blind = science.with_values(variance=np.full(SHAPE, np.float32(np.inf)))

    with pytest.raises(IncompatibleError, match=r"science\.fits has no variance") as caught:
        subtract(blind, template, FORWARD)

    assert "--gain" in caught.value.hint


def test_a_hole_in_the_science_image_stays_a_hole(rng):
    science, template, (y, x, _) = pair(rng)
    image = science.image.copy()
    image[180:220, 200:240] = np.nan

    result = subtract(science.with_values(image=image), template, FORWARD)
    hole = result.difference.mask.any_of(["NO_DATA"])

    assert hole[180:220, 200:240].all()
    assert np.count_nonzero(hole) < 46 * 46
    free = sky(SHAPE, y, x) & ~hole
    assert np.var(result.difference.image[free]) == pytest.approx(1.0 + SCALE**2, rel=0.03)


def test_the_psf_of_the_difference_follows_the_kernel(rng):
    basis = np.stack([gaussian(SIGMA_SCIENCE, 20), gaussian(2.0, 20) - gaussian(2.8, 20)])
    coefficients = np.zeros((2, 1, 2))
    coefficients[0, 0, 0], coefficients[1, 0, 1] = 1.0, 0.3
    science, template, _ = pair(rng)
    varying = BasisPsf(basis, coefficients, SHAPE)

    result = subtract(science.with_values(psf=varying), template, FORWARD)
    psf = result.difference.psf

    for x in (20.0, 420.0):
        star = ConstantPsf(varying.kernel_image(y=200.0, x=x))
        alone = subtract(science.with_values(psf=star), template, FORWARD, kernel=result.kernel)
        expected = alone.difference.psf.kernel_image(y=200.0, x=x)
        np.testing.assert_allclose(
            psf.kernel_image(y=200.0, x=x), expected, atol=2e-3 * expected.max()
        )
        assert psf.kernel_image(y=200.0, x=x).sum() == pytest.approx(1.0, abs=1e-12)
    assert psf.shape[0] > varying.shape[0]
