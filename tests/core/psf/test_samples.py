import numpy as np
import pytest

from skytool.core.psf.field import PsfField
from skytool.core.psf.field_fit import FieldFit
from skytool.core.psf.samples import sampled, slopes

SHAPE = (300, 410)
HALF = 12


def field(order=2, beta=3.0, radius=1.6):
    """Return a PSF whose size and elongation vary over an image."""
    coefficients = np.zeros((6, 3))
    coefficients[0] = np.log(radius), 0.02, -0.03
    coefficients[1:3] = [[0.04, 0.01, 0.0], [-0.05, 0.0, 0.02]]
    coefficients[3:] = 0.005
    return PsfField(FieldFit(coefficients[: (order + 1) * (order + 2) // 2], order, SHAPE), beta)


def lattice(y, x):
    """Return rows and columns of a stamp about stars at fractions of a pixel."""
    pixels = np.arange(-HALF, HALF + 1)
    return pixels - y[:, None], pixels - x[:, None]


@pytest.mark.parametrize(
    ("oversampling", "radius", "error"), [(1, 1.6, 2e-3), (2, 1.6, 5e-4), (2, 0.9, 1e-3)]
)
def test_stars_of_samples_are_those_of_the_field(rng, oversampling, radius, error):
    psf = field(radius=radius)
    samples = sampled(psf, HALF, oversampling)
    y, x = rng.uniform(0, 299, 5), rng.uniform(0, 409, 5)
    dy, dx = rng.uniform(-0.5, 0.5, (2, 5))
    rows, columns = lattice(dy, dx)
    drawn = samples.images(y=y, x=x, rows=rows, columns=columns)

    for number in range(5):
        one = slice(number, number + 1)
        true = psf.images(y=y[one], x=x[one], rows=rows[number], columns=columns[number])[0]
        # the light that the stamp cuts off is the only difference in scale
        true /= true.sum() / drawn[number].sum()
        assert np.abs(drawn[number] - true).max() < error * true.max()


def test_samples_have_the_sum_one(rng):
    samples = sampled(field(), HALF, 2)
    y, x = rng.uniform(0, 299, 4), rng.uniform(0, 409, 4)
    stars = np.tensordot(samples.factors(y=y, x=x), samples.basis, axes=1)

    np.testing.assert_allclose(stars.sum(axis=(1, 2)) / 4, 1.0, rtol=1e-4)


def test_a_field_that_does_not_vary_is_one_image():
    samples = sampled(field(order=0), HALF, 1)

    assert samples.basis.shape == (1, 2 * HALF + 1, 2 * HALF + 1)
    assert samples.coefficients.shape == (1, 1, 1)


def test_derivatives_are_those_by_the_place_of_the_star(rng):
    samples = sampled(field(), HALF, 2)
    y, x = np.array([40.0, 250.0]), np.array([300.0, 12.0])
    dy, dx = rng.uniform(-0.5, 0.5, (2, 2))

    def image(up, right):
        rows, columns = lattice(dy + up, dx + right)
        return samples.images(y=y, x=x, rows=rows, columns=columns)

    rows, columns = lattice(dy, dx)
    star, along_y, along_x = samples.drawn(y=y, x=x, rows=rows, columns=columns)
    step = 1e-4

    np.testing.assert_array_equal(star, image(0, 0))
    np.testing.assert_allclose(along_y, (image(step, 0) - image(-step, 0)) / (2 * step), atol=1e-7)
    np.testing.assert_allclose(along_x, (image(0, step) - image(0, -step)) / (2 * step), atol=1e-7)


def test_slopes_are_what_a_change_of_the_form_does():
    psf = field()
    y, x = np.array([211.0]), np.array([33.0])
    rows, columns = lattice(np.array([0.2]), np.array([-0.3]))
    step = 1e-3

    for quantity, slope in enumerate(slopes(psf, HALF, 2)):
        parts = [
            psf.with_form_moved(quantity, sign * step).images(
                y=y, x=x, rows=rows[0], columns=columns[0]
            )
            for sign in (1, -1)
        ]
        wanted = (parts[0] - parts[1]) / (2 * step)
        found = slope.images(y=y, x=x, rows=rows, columns=columns)
        assert np.abs(found - wanted).max() < 1e-3 * np.abs(wanted).max()
