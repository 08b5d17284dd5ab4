import numpy as np
import pytest

from skytool.errors import AlgorithmError
from skytool.models.psf.kinds import AnalyticPsf, ConstantPsf, GridPsf
from skytool.models.psf.places import finely_sampled, middle_star, stars_across
from tests.io.ours import gaussians

SHAPE = (90, 60)


class HolePsf(ConstantPsf):
    """A PSF that has no star in the lower rows, nor in the middle."""

    def kernel_image(self, *, y, x, shape=None):
        if y < 30 or (40 < y < 50 and 20 < x < 40):
            raise AlgorithmError(f"no star at ({x}, {y}).")
        return super().kernel_image(y=y, x=x, shape=shape)


def test_stars_are_those_of_the_middles_of_thirds():
    psf = GridPsf(gaussians(1.5, 3.0), np.array([0.0, 89.0]), np.array([30.0, 30.0]))
    stars = stars_across(psf, SHAPE)

    assert [[(star.y, star.x) for star in row] for row in stars] == [
        [(y, x) for x in (9.5, 29.5, 49.5)] for y in (14.5, 44.5, 74.5)
    ]
    np.testing.assert_array_equal(stars[2][0].stamp, psf.kernel_image(y=74.5, x=9.5))


def test_where_there_is_no_star_there_is_none():
    stars = stars_across(HolePsf(gaussians(2.0)[0]), SHAPE)

    assert [[star is None for star in row] for row in stars] == [
        [True, True, True],
        [False, True, False],
        [False, False, False],
    ]


def test_the_middle_star_is_the_nearest_there_is():
    whole = middle_star(ConstantPsf(gaussians(2.0)[0]), SHAPE)
    star = middle_star(HolePsf(gaussians(2.0)[0]), SHAPE)

    assert (whole.y, whole.x) == (44.5, 29.5)
    assert star.y >= 30
    # the hole reaches 10 pixels, places are 7.5 and 5 pixels apart
    assert np.hypot(star.y - 44.5, star.x - 29.5) < 10 + 5


def test_no_star_anywhere_is_an_error():
    with pytest.raises(AlgorithmError, match="no star at any place"):
        middle_star(HolePsf(gaussians(2.0)[0]), (29, 40))


def test_samples_of_a_star_are_finer_than_pixels():
    fine = finely_sampled(AnalyticPsf.gaussian(3.0), y=40.0, x=20.0, samples=3)

    h, w = AnalyticPsf.gaussian(3.0).shape
    y, x = ((np.arange(3 * n) - 3 * n // 2) / 3 for n in (h, w))
    wanted = np.exp(-4 * np.log(2) / 3.0**2 * np.add.outer(y**2, x**2))
    # the sum of a stamp hardly depends on how the star lies in it
    np.testing.assert_allclose(fine / fine.max(), wanted, atol=1e-4)
