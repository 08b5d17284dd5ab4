import numpy as np
import pytest

from skytool.core.psf.adaptive_moments import AdaptiveMoments, adaptive_moments


def gaussian(shape, *, y, x, yy, xx, xy):
    inverse = np.linalg.inv([[yy, xy], [xy, xx]])
    dy, dx = np.indices(shape)[0] - y, np.indices(shape)[1] - x
    exponent = inverse[0, 0] * dy**2 + inverse[1, 1] * dx**2 + 2 * inverse[0, 1] * dy * dx
    return np.exp(-0.5 * exponent)


def test_the_moments_of_a_gaussian_are_its_own():
    truth = AdaptiveMoments(y=20.3, x=24.8, yy=5.0, xx=3.5, xy=-1.2)
    image = gaussian((43, 51), y=20.3, x=24.8, yy=5.0, xx=3.5, xy=-1.2)

    found = adaptive_moments(image)

    for name in ("y", "x", "yy", "xx", "xy", "fwhm", "ellipticity", "determinant_radius"):
        assert getattr(found, name) == pytest.approx(getattr(truth, name), abs=2e-6), name


def test_shape_words_have_their_meaning():
    round_one = AdaptiveMoments(y=0, x=0, yy=4.0, xx=4.0, xy=0.0)
    along_x = AdaptiveMoments(y=0, x=0, yy=1.0, xx=3.0, xy=0.0)

    assert round_one.fwhm == pytest.approx(4.70964, rel=1e-5)
    assert round_one.determinant_radius == pytest.approx(2.0)
    assert (along_x.e1, along_x.e2) == (0.5, 0.0)


def test_amplitude_and_start_do_not_matter():
    image = gaussian((41, 45), y=18.0, x=23.0, yy=9.0, xx=12.0, xy=2.0)
    near = AdaptiveMoments(y=18.2, x=22.9, yy=8.0, xx=11.0, xy=1.5)

    first, second = adaptive_moments(image), adaptive_moments(7e4 * image, start=near)

    assert first.yy == pytest.approx(second.yy, rel=1e-6)
    assert first.x == pytest.approx(second.x, abs=1e-6)


def test_a_moffat_profile_reads_wider_than_its_half_maximum():
    dy, dx = np.indices((61, 61)) - 30
    alpha = 2.0 / np.sqrt(2 ** (1 / 3) - 1)
    image = (1 + (dy**2 + dx**2) / alpha**2) ** -3.0

    assert adaptive_moments(image).fwhm == pytest.approx(1.130 * 4.0, rel=2e-3)


@pytest.mark.parametrize("image", [np.zeros((9, 11)), -np.ones((9, 11))])
def test_an_image_without_a_compact_profile_is_refused(image):
    with pytest.raises(ValueError, match="no compact profile"):
        adaptive_moments(image)
