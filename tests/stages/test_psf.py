import re

import numpy as np
import pytest

from skytool.errors import AlgorithmError, SkytoolWarning
from skytool.models.exposure import Exposure
from skytool.models.mask import Mask
from skytool.models.psf.kinds import AnalyticPsf, BasisPsf, GridPsf
from skytool.stages.psf import REASONS, PsfConfig, judge_psf, measure_psf
from tests.simulate import SimulatedPsf
from tests.stages.star_fields import SHAPE, compared, crowd, draw, field, positions, varying

CONFIG = PsfConfig()


def check(errors, *, size=0.01, ellipticity=0.005, residual=1e-3):
    assert errors["size"] < size
    assert errors["ellipticity"] < ellipticity
    assert errors["residual"] < residual


@pytest.mark.parametrize(
    ("fwhm", "beta"), [(1.8, 3.5), (2.6, 3.0), (3.4, 2.5), (4.6, np.inf)], ids=str
)
def test_a_varying_psf_comes_out_all_over_the_image(rng, fwhm, beta):
    truth = varying(fwhm, beta)
    measured = measure_psf(crowd(rng, truth), CONFIG)

    assert isinstance(measured.psf, BasisPsf)
    check(compared(measured.psf, truth))


def test_stars_that_are_nearly_all_in_one_pixel_have_a_psf(rng):
    truth = varying(1.3)
    measured = measure_psf(crowd(rng, truth), CONFIG)
    width, _ = measured.across(SHAPE)

    check(compared(measured.psf, truth), size=0.03, ellipticity=0.015)
    # 1.3 pixels, integrated over a pixel
    assert width.mean() == pytest.approx(1.55, abs=0.1)
    assert measured.quality.n_stars >= 10
    assert abs(measured.quality.size_offset) < 0.01


def test_without_noise_only_the_form_of_the_model_is_wrong(rng):
    truth = varying(3.2)
    measured = measure_psf(crowd(rng, truth, apart=30.0, noise=False), CONFIG)

    check(compared(measured.psf, truth), size=2e-3, ellipticity=1e-3, residual=5e-5)


def test_a_psf_that_is_no_moffat_function_comes_out(rng):
    halo, core = (varying(fwhm, 3.0) for fwhm in (6.0, 2.6))
    y, x = positions(rng, 110, apart=18.0)
    flux = np.exp(rng.uniform(*np.log((1e5, 1e6)), y.size))
    image = np.zeros(SHAPE)
    draw(image, core, y, x, 0.7 * flux)
    draw(image, halo, y + 0.3, x - 0.2, 0.3 * flux)
    variance = image + 60.0
    noisy = image + rng.normal(0, 1, SHAPE) * np.sqrt(variance)
    exposure = Exposure(
        noisy.astype(np.float32), Mask.empty(SHAPE), variance.astype(np.float32), name="field.fits"
    )
    measured = measure_psf(exposure, CONFIG)

    assert measured.quality.residual < 3e-4
    assert abs(measured.quality.size_offset) < 0.005


def test_faint_stars_give_what_their_noise_allows(rng):
    truth = varying(3.2)
    measured = measure_psf(crowd(rng, truth, flux=(3e3, 3e4)), CONFIG)

    check(compared(measured.psf, truth), size=0.05, ellipticity=0.05, residual=1e-3)


def test_neighbours_and_galaxies_do_not_widen_the_psf(rng):
    truth = varying(3.2)
    y, x = positions(rng, 90, apart=12.0)
    flux = np.exp(rng.uniform(*np.log((1e5, 1e6)), y.size))
    # a companion of a tenth beside every other star, and blends as wide as galaxies
    angle = rng.uniform(0, 2 * np.pi, 45)
    many_y = np.concatenate([y, y[::2] + 8.0 * np.sin(angle)])
    many_x = np.concatenate([x, x[::2] + 8.0 * np.cos(angle)])
    light = np.concatenate([flux, 0.1 * flux[::2]])
    galaxies = [
        (*rng.uniform(0, SHAPE), rng.uniform(1e5, 3e5), rng.uniform(4.2, 7.0)) for _ in range(40)
    ]
    exposure = field(rng, truth, many_y, many_x, light, galaxies=galaxies)
    measured = measure_psf(exposure, CONFIG)

    check(compared(measured.psf, truth), size=0.02)
    assert measured.left_out["size"] >= 20


@pytest.mark.parametrize("n", [3, 5, 8, 14])
def test_with_few_stars_the_psf_varies_less(rng, n):
    truth = varying(3.2, fwhm_slope=(0.0, 0.0), shear_slope=(0.0, 0.0))
    y, x = positions(rng, n, apart=60.0, margin=20.0)
    measured = measure_psf(field(rng, truth, y, x, 3e5), CONFIG)

    # polynomials of degree d have (d + 1) (d + 2) / 2 terms, with 2 d stars for each
    assert measured.order * (measured.order + 1) * (measured.order + 2) <= n
    assert measured.stars.reserved.sum() == 0
    check(compared(measured.psf, truth))


def test_the_order_is_as_high_as_the_stars_tell(rng):
    constant = varying(3.2, fwhm_slope=(0.0, 0.0), shear_slope=(0.0, 0.0))
    exposures = [crowd(rng, psf, 70) for psf in (constant, varying(3.2))]

    orders = [measure_psf(exposure, CONFIG).order for exposure in exposures]
    assert orders[1] >= 1
    fixed = measure_psf(exposures[1], PsfConfig(spatial_order=0))
    assert fixed.order == 0
    # 6 % along y and 5 % along x from the middle to the ends: a fifth in the second moments
    assert compared(fixed.psf, varying(3.2))["size"] > 0.1


def test_stars_that_are_saturated_or_cut_are_not_used(rng):
    truth = varying(3.2)
    y, x = positions(rng, 80, apart=20.0)
    flux = np.exp(rng.uniform(*np.log((1e5, 1e6)), y.size))
    flux[:25] = 8e6
    exposure = field(rng, truth, y, x, flux)
    level = 2e5
    high = exposure.image > level
    assert high.any()
    exposure = exposure.with_values(image=np.minimum(exposure.image, np.float32(level)))
    flagged = exposure.with_values(mask=exposure.mask.with_flagged(high, "SAT"))

    told, found = (measure_psf(each, CONFIG) for each in (flagged, exposure))
    assert told.left_out["saturated"] >= 20
    assert told.saturation is None
    assert found.saturation == pytest.approx(level, rel=0.05)
    for measured in (told, found):  # half of the stars are left
        check(compared(measured.psf, truth), size=0.015, ellipticity=0.008)


def test_bad_pixels_do_not_count(rng):
    truth = varying(3.2)
    exposure = crowd(rng, truth)
    hot = rng.random(SHAPE) < 0.002
    hot[:, 200:203] = True
    image = np.where(hot, np.float32(1e5), exposure.image)
    image[300:340, 400:500] = np.nan
    mask = exposure.mask.with_flagged(hot, "BAD").with_flagged(np.isnan(image), "NO_DATA")
    measured = measure_psf(exposure.with_values(image=image, mask=mask), CONFIG)

    check(compared(measured.psf, truth))
    assert measured.left_out["bad pixels"] >= 5


def test_a_sky_that_was_left_in_does_not_matter(rng):
    truth = varying(3.2)
    exposure = crowd(rng, truth)
    rows, columns = np.indices(SHAPE)
    sky = 900 + 0.2 * rows - 0.1 * columns
    with_sky = exposure.with_values(image=(exposure.image + sky).astype(np.float32))

    check(compared(measure_psf(with_sky, CONFIG).psf, truth))


def test_reserved_stars_judge_the_psf_without_having_made_it(rng):
    truth = varying(3.2)
    measured = measure_psf(crowd(rng, truth), CONFIG)
    stars, quality = measured.stars, measured.quality

    assert not (stars.used & stars.reserved).any()
    assert stars.reserved.sum() == pytest.approx(0.2 * len(stars), abs=1)
    assert quality.n_stars == stars.reserved.sum()
    assert quality.residual < 1e-4
    assert abs(quality.size_offset) < 0.002
    # stars of S/N 300 and more have sizes good to 0.4 %, and so have ellipticities
    assert quality.size_scatter < 0.006
    assert quality.ellipticity_scatter < 0.008
    none = measure_psf(crowd(rng, truth), PsfConfig(reserve_fraction=0.0))
    assert not none.stars.reserved.any()


def test_the_table_says_what_stars_are(rng):
    truth = varying(3.2)
    y, x = positions(rng, 60, apart=30.0)
    flux = np.exp(rng.uniform(*np.log((1e5, 1e6)), y.size))
    stars = measure_psf(field(rng, truth, y, x, flux), CONFIG).stars
    nearest = np.argmin(np.hypot(stars.y[:, None] - y, stars.x[:, None] - x), axis=1)

    # the error of a centroid is sigma over the S/N, a hundredth of a pixel here
    assert np.hypot(stars.y - y[nearest], stars.x - x[nearest]).max() < 0.03
    np.testing.assert_allclose(stars.flux, flux[nearest], rtol=0.03)
    pulls = (stars.flux - flux[nearest]) / stars.flux_error
    # light beyond the stamps is missing, half a per cent
    assert np.median(np.abs(pulls)) < 4
    np.testing.assert_allclose(stars.fwhm, stars.psf_fwhm, rtol=0.03)
    assert stars.chi2 == pytest.approx(1.0, abs=0.25)


def test_a_given_psf_is_judged(rng):
    truth = SimulatedPsf(3.2, np.inf, radius=12.0)
    exposure = crowd(rng, truth, n=16, apart=40.0)
    right, wrong = (
        judge_psf(exposure, AnalyticPsf.gaussian(fwhm, integrated=True), CONFIG)
        for fwhm in (3.2, 3.5)
    )

    assert right.stars.reserved.all()
    assert abs(right.quality.size_offset) < 0.003
    assert right.quality.residual < 1e-3
    assert wrong.quality.size_offset == pytest.approx(3.2 / 3.5 - 1, abs=0.01)
    assert wrong.quality.residual > 3e-3


def test_a_given_psf_need_not_have_stars_to_be_judged_by(rng):
    empty = field(rng, varying(3.2), [], [], [])
    measured = judge_psf(empty, AnalyticPsf.gaussian(3.0), CONFIG)

    assert len(measured.stars) == 0
    assert measured.quality.n_stars == 0
    assert np.isnan(measured.quality.residual)


def test_stars_are_measured_where_the_exposure_is_small(rng):
    shape = (61, 83)
    truth = SimulatedPsf(3.0, 3.0, radius=9.0, shape=shape)
    y, x = (np.array(values) for values in ((15.3, 44.8, 20.1), (18.2, 30.7, 62.4)))
    measured = measure_psf(field(rng, truth, y, x, 3e5, shape=shape), CONFIG)

    check(compared(measured.psf, truth, shape))


def test_settings_are_obeyed(rng):
    exposure = crowd(rng, varying(3.2), n=60)
    measured = measure_psf(
        exposure, PsfConfig(size=21, oversampling=2, max_stars=30, reserve_fraction=0.5)
    )

    assert measured.psf.shape == (21, 21)
    assert measured.psf.oversampling == (2, 2)
    assert len(measured.stars) == 30
    assert measured.stars.reserved.sum() == 15
    assert set(measured.left_out) <= set(REASONS)
    assert measured.left_out["surplus"] > 0


@pytest.mark.parametrize(
    "values",
    [
        {"min_snr": 50.0, "max_snr": 20.0},
        {"min_stars": 10, "max_stars": 5},
        {"size": 20},
        {"reserve_fraction": 0.6},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(values):
    with pytest.raises(ValueError, match=re.escape(f"{next(iter(values.values())):g}")):
        PsfConfig(**values)


@pytest.mark.slow
def test_images_on_a_grid_are_built_by_photutils(rng):
    truth = varying(3.4, fwhm_slope=(0.0, 0.0), shear_slope=(0.0, 0.0))
    exposure = crowd(rng, truth, n=36, flux=(3e5, 2e6))
    measured = measure_psf(exposure, PsfConfig(method="grid", grid=(1, 2)))

    assert isinstance(measured.psf, GridPsf)
    np.testing.assert_allclose(measured.psf.x, [154.5, 464.5])
    np.testing.assert_allclose(measured.psf.y, [279.5, 279.5])
    check(compared(measured.psf, truth, n=2))
    few = PsfConfig(method="grid", max_stars=4)
    with pytest.raises(AlgorithmError, match=r"photutils needs 5.* --method basis"):
        measure_psf(exposure, few)


def test_no_star_is_a_failure_that_says_what_to_do(rng):
    with pytest.raises(AlgorithmError, match=r"field.fits: no star .* Give .*--psf-from"):
        measure_psf(field(rng, varying(3.2), [], [], []), CONFIG)


def test_too_few_stars_are_a_failure_that_says_why(rng):
    y, x = positions(rng, 9, apart=60.0, margin=20.0)
    exposure = field(rng, varying(3.2), y, x, [3e5, 3e5] + [3e2] * 7)

    with pytest.raises(AlgorithmError, match=r"2 of \d sources .* 3 are needed \(\d faint"):
        measure_psf(exposure, CONFIG)
    measured = measure_psf(exposure, PsfConfig(min_stars=2))
    assert measured.stars.used.sum() == 2


def test_an_exposure_without_values_is_a_failure():
    nothing = Exposure(
        np.full(SHAPE, np.nan, np.float32),
        Mask.empty(SHAPE).with_flagged(np.ones(SHAPE, np.bool_), "NO_DATA"),
        np.full(SHAPE, np.inf, np.float32),
    )

    with pytest.raises(AlgorithmError, match="0 sources"):
        measure_psf(nothing, CONFIG)


def test_stars_of_which_few_agree_are_a_warning(rng):
    y, x = positions(rng, 4, apart=90.0, margin=30.0)
    widths = (2.6, 2.6, 2.6, 2.66)
    galaxies = [(*place, 3e5, width) for *place, width in zip(y, x, widths, strict=True)]
    exposure = field(rng, varying(3.0), [], [], [], galaxies=galaxies)

    with pytest.warns(SkytoolWarning, match=r"field.fits: only \d of \d stars agree"):
        measure_psf(exposure, PsfConfig(min_stars=4))
