import numpy as np
import pytest

from skytool.core.difference.decorrelation import nodes
from skytool.core.difference.source_loops import draw_star
from skytool.core.difference.source_psf import SourcePsf, whole_image
from tests.core.points import gaussian, gaussian_psf

SHAPE = (180, 260)


def drawn(psf, y, x, *, at=(90.0, 120.0)):
    half_y, half_x = psf.half
    star = np.empty((3, 2 * half_y + 1, 2 * half_x + 1))
    factors = psf.factors(y=np.array([at[0]]), x=np.array([at[1]]))[0]
    draw_star(psf.spline, factors, y, x, star)
    return star


def test_constant_psf_needs_one_image():
    psf = gaussian_psf(SHAPE, 2.1)

    assert psf.kernel.is_constant
    np.testing.assert_allclose(psf.middle, gaussian(2.1), atol=1e-15)
    assert psf.sigma == pytest.approx(2.1, rel=1e-5)
    assert psf.area == pytest.approx(4 * np.pi * 2.1**2, rel=1e-6)


def test_varying_psf_is_followed_to_the_tolerance():
    def width(y, x):
        return 1.8 + 0.3 * x / SHAPE[1] + 0.1 * y / SHAPE[0]

    psf = gaussian_psf(SHAPE, width)

    assert not psf.kernel.is_constant
    for y, x in ((0.0, 0.0), (100.0, 30.0), (179.0, 259.0)):
        truth = gaussian(width(y, x))
        found = psf.kernel.at(y=y, x=x)
        assert found.sum() == pytest.approx(1.0, abs=1e-9)
        np.testing.assert_allclose(found, truth, rtol=0, atol=4e-3 * truth.max())


def test_trimming_keeps_the_significance():
    psf = gaussian_psf(SHAPE, 2.0)
    small = psf.trimmed(1e-4)

    assert small.half[0] < psf.half[0]
    kept = np.square(small.middle).sum() / np.square(psf.middle).sum()
    assert 1 - 1e-4 <= kept < 1.0
    assert small.trimmed(1e-4).half <= small.half


@pytest.mark.parametrize(("y", "x"), [(0.0, 0.0), (0.5, -0.5), (-0.3, 0.21), (-0.5, 0.499)])
def test_star_is_drawn_between_pixels_with_its_slopes(y, x):
    sigma = 2.0
    psf = gaussian_psf(SHAPE, sigma)
    star = drawn(psf, y, x)
    rows = np.arange(-psf.half[0], psf.half[0] + 1)
    columns = np.arange(-psf.half[1], psf.half[1] + 1)
    truth = np.exp(-0.5 * np.square((rows - y) / sigma))[:, None] * np.exp(
        -0.5 * np.square((columns - x) / sigma)
    )
    truth /= 2 * np.pi * sigma**2

    np.testing.assert_allclose(star[0], truth, atol=2e-4 * truth.max())
    slope_y = truth * (rows - y)[:, None] / sigma**2
    slope_x = truth * (columns - x) / sigma**2
    np.testing.assert_allclose(star[1], slope_y, atol=1e-3 * truth.max())
    np.testing.assert_allclose(star[2], slope_x, atol=1e-3 * truth.max())


def test_few_stamps_allow_a_low_order_only():
    stamps = np.array([gaussian(1.5 + 0.4 * k) for k in range(4)])

    psf = SourcePsf.fit(stamps, **nodes(1, whole_image(SHAPE)), shape=SHAPE)

    assert psf.kernel.is_constant


def test_positions_of_no_sources_have_no_factors():
    psf = gaussian_psf(SHAPE, lambda _, x: 1.8 + 0.5 * x / SHAPE[1])

    assert psf.factors(y=np.empty(0), x=np.empty(0)).shape == (0, len(psf.spline))
