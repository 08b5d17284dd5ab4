import numpy as np
import pytest
from scipy import ndimage

from skytool.core.stamps import half_maximum_fwhm, interpolated, shifted, spline_matrix

SHAPE = (35, 29)


def gaussian(fwhm, *, dy=0.0, dx=0.0, ratio=1.0, angle=0.0, shape=SHAPE):
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    y, x = y[:, None] - dy, x - dx
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    return np.exp(-4 * np.log(2) / fwhm**2 * (along**2 * ratio + across**2 / ratio))


def test_interpolation_is_that_of_the_spline_of_degree_five(rng):
    stamp = np.pad(rng.normal(size=(9, 7)), 12)  # zeros around: no border rule enters
    expected = ndimage.shift(stamp, (0.3, -0.45), order=5, mode="constant")
    np.testing.assert_allclose(shifted(stamp, dy=0.3, dx=-0.45), expected, rtol=0, atol=1e-4)
    inner = (slice(10, -10), slice(10, -10))
    got = shifted(stamp, dy=0.3, dx=-0.45)[inner]
    np.testing.assert_allclose(got, expected[inner], rtol=0, atol=1e-6)


def test_samples_are_reproduced_exactly():
    np.testing.assert_allclose(spline_matrix(12, np.arange(12)), np.eye(12), atol=1e-14)


def test_polynomials_up_to_degree_five_are_reproduced_away_from_the_ends():
    knots = np.arange(60.0)
    at = np.linspace(25.0, 35.0, 33)
    for degree in range(6):
        samples = ((knots - 30) / 30) ** degree
        got = spline_matrix(60, at) @ samples
        # the zeros beyond the ends act over 25 samples with 0.43 each
        np.testing.assert_allclose(got, ((at - 30) / 30) ** degree, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("fwhm", "error"), [(2.5, 3e-3), (3.0, 1.1e-3), (4.0, 2e-4), (6.0, 2e-5)])
@pytest.mark.parametrize("move", [(0.5, 0.5), (0.3, -0.2), (0.0, -0.5)])
def test_a_shifted_star_is_the_star_drawn_at_its_new_place(fwhm, error, move):
    dy, dx = move
    got = shifted(gaussian(fwhm), dy=dy, dx=dx)
    np.testing.assert_allclose(got, gaussian(fwhm, dy=dy, dx=dx), rtol=0, atol=error)


def test_no_shift_is_no_change(rng):
    stamp = rng.normal(size=SHAPE)
    assert shifted(stamp, dy=0.0, dx=0.0) is stamp


def test_beyond_the_stamp_there_is_nothing():
    far = interpolated(np.ones((5, 7)), y=[-9.0, 20.0], x=[3.0])
    np.testing.assert_array_equal(far, 0.0)


@pytest.mark.parametrize(
    ("fwhm", "error"), [(2.0, 2e-3), (2.5, 1e-3), (3.0, 1e-3), (4.0, 1e-4), (8.0, 1e-4)]
)
def test_the_width_of_a_centred_gaussian_is_right(fwhm, error):
    # the error is that of the interpolation between samples
    assert half_maximum_fwhm(gaussian(fwhm)) == pytest.approx(fwhm, rel=error)


def test_the_width_of_an_ellipse_is_the_geometric_mean_of_its_axes():
    star = gaussian(6.0, ratio=0.7, angle=0.5, dy=0.2, dx=-0.4)
    assert half_maximum_fwhm(star) == pytest.approx(6.0, rel=1e-3)


def test_the_width_does_not_depend_on_the_normalisation():
    assert half_maximum_fwhm(1e-3 * gaussian(4.0)) == pytest.approx(
        half_maximum_fwhm(gaussian(4.0))
    )


def test_the_width_of_a_ring_is_that_of_its_outer_edge():
    y, x = np.indices(SHAPE) - np.array(SHAPE).reshape(2, 1, 1) // 2
    ring = np.exp(-0.5 * ((np.hypot(y, x) - 8.0) / 1.5) ** 2)
    # the area in polar coordinates about the peak, which is on the ring, is that of the disk
    outer = 8.0 + 1.5 * np.sqrt(2 * np.log(2))
    assert half_maximum_fwhm(ring) == pytest.approx(2 * outer, rel=0.02)


@pytest.mark.parametrize("stamp", [-gaussian(3.0), np.zeros(SHAPE), gaussian(60.0)])
def test_what_has_no_half_maximum_is_an_error(stamp):
    with pytest.raises(ValueError, match=r"no positive peak|ends within"):
        half_maximum_fwhm(stamp)
