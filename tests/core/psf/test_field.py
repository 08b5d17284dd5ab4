import numpy as np
import pytest
from scipy.integrate import dblquad

from skytool.core.psf.adaptive_moments import adaptive_moments
from skytool.core.psf.field import PsfField, Rest
from skytool.core.psf.field_fit import FieldFit
from skytool.core.psf.moffat import moffat_images, moffat_scale, moment_matrix
from skytool.core.psf.rings import Rings

SHAPE = (300, 410)
MOMENTS = moment_matrix(np.array([2.0]), np.array([0.15]), np.array([-0.1]))


def fine(step=0.1, reach=12.0):
    return np.arange(-reach, reach + step / 2, step)


@pytest.mark.parametrize("beta", [1.8, 2.5, 4.0, 20.0])
def test_a_moffat_function_has_the_adaptive_moments_it_was_made_of(beta):
    at = fine()
    image = moffat_images(MOMENTS, beta, rows=at[None], columns=at[None])[0]
    found = adaptive_moments(image)

    # samples are a tenth of a pixel apart
    np.testing.assert_allclose(
        [found.yy / 100, found.xx / 100, found.xy / 100], MOMENTS[:, 0], rtol=1e-4
    )
    assert found.determinant_radius / 10 == pytest.approx(2.0, rel=1e-4)
    assert found.e1 == pytest.approx(0.15, abs=1e-4)
    assert found.e2 == pytest.approx(-0.1, abs=1e-4)


def test_a_moffat_function_has_the_flux_one():
    at = fine(0.2, 300.0)
    image = moffat_images(MOMENTS, 3.5, rows=at[None], columns=at[None])[0]

    assert image.sum() * 0.2**2 == pytest.approx(1.0, rel=1e-4)


def test_a_steep_moffat_function_is_a_gaussian():
    assert 1e5 * moffat_scale(1e5) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("beta", [1.0, 0.5, np.nan])
def test_an_exponent_without_a_finite_flux_is_refused(beta):
    with pytest.raises(ValueError, match="larger than 1"):
        moffat_scale(beta)


@pytest.mark.parametrize("radius", [0.7, 1.0, 2.0])
def test_stars_are_integrated_over_pixels(radius):
    psf = PsfField(FieldFit(np.array([[np.log(radius), 0.0, 0.0]]), 0, SHAPE), 3.0)
    middle = np.array([150.0]), np.array([205.0])
    pixels = np.array([-1.0, 0.0, 2.0])
    star = psf.images(y=middle[0], x=middle[1], rows=pixels, columns=pixels)[0]
    scale = moffat_scale(3.0)

    def light(x, y):
        return 2 * scale / np.pi / radius**2 * (1 + scale * (x * x + y * y) / radius**2) ** -3

    for row, y in enumerate(pixels):
        for column, x in enumerate(pixels):
            wanted, _ = dblquad(light, y - 0.5, y + 0.5, x - 0.5, x + 0.5)
            # what the quadrature of two or three points leaves
            assert star[row, column] == pytest.approx(wanted, abs=1e-3 * star.max())


def test_rings_are_functions_of_the_coordinates_in_which_stars_are_round():
    rings = Rings(3.0, edge=8.0, harmonics=2)
    at = fine(0.5, 10.0)
    u, v = np.meshgrid(at, at)
    images = rings.images(
        moment_matrix(np.array([2.0]), np.zeros(1), np.zeros(1)), rows=at[None], columns=at[None]
    )[0]

    assert len(images) == len(rings) == len(rings.functions)
    for (_, harmonic), image in zip(rings.functions, images, strict=True):
        # half a turn leaves even harmonics and changes the sign of odd ones
        np.testing.assert_allclose(image[::-1, ::-1], (-1.0) ** harmonic * image, atol=1e-12)
        if harmonic == 0:
            np.testing.assert_allclose(image.T, image, atol=1e-12)
    outside = np.hypot(u, v) > 2.0 * 8.0 + 1e-9
    assert np.abs(images[:, outside]).max(initial=0.0) < 1e-12


def test_a_rest_is_added_with_factors_that_vary():
    rings = Rings(3.0, edge=6.0)
    form = FieldFit(np.array([[np.log(1.6), 0.02, 0.01]]), 0, SHAPE)
    factors = np.zeros((3, len(rings)))
    factors[1, 2] = 0.1  # along x, as terms of degree one are in some order
    factors[2, 2] = 0.2
    plain, with_rest = PsfField(form, 3.0), PsfField(form, 3.0, Rest(rings, factors, 1))
    at = np.arange(-8.0, 9.0)
    y, x = np.array([-0.5, 149.5, 299.5]), np.array([204.5, 204.5, 204.5])
    change = with_rest.images(y=y, x=x, rows=at, columns=at) - plain.images(
        y=y, x=x, rows=at, columns=at
    )

    assert with_rest.order == 1
    np.testing.assert_allclose(change[1], 0.0, atol=1e-12)
    np.testing.assert_allclose(change[0], -change[2], atol=1e-12)
    assert np.abs(change[0]).max() > 1e-4
