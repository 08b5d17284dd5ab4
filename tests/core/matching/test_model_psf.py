import numpy as np
import pytest

from skytool.core.matching.model_psf import ModelPsf
from skytool.core.psf.adaptive_moments import adaptive_moments


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"fwhm": 7.7}, 23),
        ({"fwhm": 11.0}, 33),
        ({"fwhm": 3.0}, 9),
        ({"fwhm": 1.0}, 5),
        ({"fwhm": 11.0, "max_size": 21}, 21),
        ({"fwhm": 7.7, "size_factor": 4.0}, 31),
        ({"fwhm": 7.7, "size": 41}, 41),
        ({"fwhm": 1.0, "min_size": None}, 3),
    ],
)
def test_the_stamp_grows_with_the_width(settings, size):
    model = ModelPsf(**settings)

    assert model.stamp_size == size
    assert model.image().shape == (size, size)


def test_the_profile_is_a_gaussian_with_a_wing():
    model = ModelPsf(fwhm=4.7, wing_fwhm_factor=3.0, wing_amplitude=0.2)
    radius = np.array([0.0, 2.35, 7.05])

    core, wing = 0.5 ** (radius / 2.35) ** 2, 0.5 ** (radius / 7.05) ** 2
    np.testing.assert_allclose(model.profile(radius), core + 0.2 * wing, rtol=1e-12)
    np.testing.assert_allclose(ModelPsf(fwhm=4.7, add_wing=False).profile(radius), core, rtol=1e-12)


def test_the_image_has_unit_sum_and_the_middle_pixel_in_its_centre():
    image = ModelPsf(fwhm=5.2).image(17)

    assert image.sum() == pytest.approx(1.0, rel=1e-12)
    assert np.unravel_index(image.argmax(), image.shape) == (8, 8)
    np.testing.assert_array_equal(image, image[::-1, ::-1].T)


def test_a_taper_ends_the_model_where_it_says():
    model = ModelPsf(fwhm=6.0)
    radius = np.hypot(*(np.indices((41, 41)) - 20))

    plain, tapered = model.image(41), model.image(41, taper=(10.0, 15.0))

    assert not tapered[radius >= 15.0].any()
    ratio = tapered / plain
    np.testing.assert_allclose(ratio[radius <= 10.0], ratio[20, 20], rtol=1e-12)
    assert np.all(np.diff(ratio[20, 20:36]) <= 1e-12)


@pytest.mark.parametrize("add_wing", [True, False])
@pytest.mark.parametrize("half_size", [3, 7, 12])
def test_the_light_in_a_box_is_the_integral_over_it(add_wing, half_size):
    model = ModelPsf(fwhm=5.0, add_wing=add_wing)
    fine = (np.arange(1600) + 0.5) / 20 - 40
    light = model.profile(np.hypot(fine[:, None], fine))
    inside = np.abs(fine) < half_size + 0.5

    part = light[np.ix_(inside, inside)].sum() / light.sum()
    assert model.enclosed(half_size) == pytest.approx(part, abs=1e-4)


def test_the_box_that_holds_a_part_of_the_light_is_the_smallest():
    model = ModelPsf(fwhm=7.7)

    half = model.half_size_enclosing(0.97)

    assert model.enclosed(half - 1) < 0.97 <= model.enclosed(half)


def test_the_wing_widens_the_half_maximum_and_the_adaptive_width():
    model = ModelPsf(fwhm=7.7)
    radius = np.linspace(0, 10, 100001)
    half_maximum = 2 * radius[np.argmin(model.profile(radius) > 0.55)]

    assert half_maximum / 7.7 == pytest.approx(1.056, abs=5e-4)
    assert model.adaptive_fwhm() / 7.7 == pytest.approx(1.131, abs=4e-3)
    assert ModelPsf(fwhm=7.7, add_wing=False).adaptive_fwhm() == pytest.approx(7.7, rel=1e-6)


def test_a_model_with_a_wanted_adaptive_width_is_found():
    model = ModelPsf(fwhm=5.0, wing_amplitude=0.05).with_adaptive_fwhm(4.3)

    assert model.adaptive_fwhm() == pytest.approx(4.3, rel=1e-6)
    assert model.wing_amplitude == 0.05
    assert adaptive_moments(model.image(31)).fwhm == pytest.approx(4.3, rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fwhm": 0.0}, "fwhm"),
        ({"fwhm": np.inf}, "fwhm"),
        ({"wing_amplitude": -0.1}, "wing_amplitude"),
        ({"size": 20}, "odd"),
        ({"min_size": 9, "max_size": 7}, "larger"),
    ],
)
def test_impossible_models_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        ModelPsf(**settings)


def test_a_model_without_wing_does_not_mind_its_amplitude():
    assert ModelPsf(add_wing=False, wing_amplitude=0.0).enclosed(30) == pytest.approx(1.0)


def test_stamps_have_a_middle_pixel():
    with pytest.raises(ValueError, match="odd"):
        ModelPsf().image(12)
