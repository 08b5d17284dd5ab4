import numpy as np
import pytest
from scipy import fft, ndimage

from skytool.core.dcr.shift import (
    MARGIN,
    padded_shape,
    shifted,
    shifted_adjoint,
    shifted_split,
    spline_coefficients,
    transfer,
)

SHAPE = (41, 52)
KINDS = [0, 1, 2, 3, 4, 5, None]
PARTS = [(0.3, -0.7), (-1.47, 2.31), (0.0, 0.5)]


def star(fwhm=4.0, shape=SHAPE, y=20.0, x=26.0):
    """Gaussian star of peak one."""
    rows, columns = np.indices(shape)
    width = fwhm / np.sqrt(8 * np.log(2))
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 2 / width**2)


@pytest.mark.parametrize("order", KINDS)
@pytest.mark.parametrize(("dy", "dx"), [(3, -5), (0, 0), (-1, 0), (0, 7)])
def test_whole_pixels_are_moved_exactly_and_zeros_come_in(order, dy, dx, rng):
    image = rng.normal(size=SHAPE)
    moved = np.zeros_like(image)
    y, x = slice(max(dy, 0), SHAPE[0] + min(dy, 0)), slice(max(dx, 0), SHAPE[1] + min(dx, 0))
    moved[y, x] = np.roll(image, (dy, dx), axis=(0, 1))[y, x]

    assert np.abs(shifted(image, dy, dx, order=order) - moved).max() < 1e-12


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(("dy", "dx"), [*PARTS, (30.0, 2.5), (-60.0, 1.0)])
def test_spline_is_that_of_scipy(order, dy, dx, rng):
    image = rng.normal(size=SHAPE)
    expected = ndimage.shift(image, (dy, dx), order=order, mode="constant")

    assert np.abs(shifted(image, dy, dx, order=order) - expected).max() < 1e-11


@pytest.mark.parametrize(
    ("order", "tolerance"),
    [(3, 6e-3), (5, 6e-4), (None, 1e-6)],
    ids=["cubic", "quintic", "spectral"],
)
def test_star_comes_back(order, tolerance):
    # what a Gaussian of FWHM 4 has beyond the Nyquist frequency leaves the image as ripples: 7e-7
    there = shifted(star(), 0.47, -0.31, order=order)
    back = shifted(there, -0.47, 0.31, order=order)

    assert np.abs(back - star()).max() < tolerance
    assert np.unravel_index(there.argmax(), SHAPE) == (20, 26)


def test_spectral_shift_and_the_one_back_cancel_in_the_padded_image(rng):
    shape = padded_shape(SHAPE, 0.47, 0.31)
    image = rng.normal(size=shape)
    there = fft.irfft2(fft.rfft2(image) * transfer(shape, 0.47, -0.31), s=shape)
    back = fft.irfft2(fft.rfft2(there) * transfer(shape, -0.47, 0.31), s=shape)

    assert np.abs(back - image).max() < 1e-12


def test_linear_interpolation_blurs_a_star():
    back = shifted(shifted(star(), 0.47, -0.31, order=1), -0.47, 0.31, order=1)

    assert 1 - back[20, 26] == pytest.approx(0.14, abs=0.01)


def test_spectral_shift_of_a_star_is_the_star_elsewhere():
    # a Gaussian of FWHM 4 has 3e-7 of its transform beyond the Nyquist frequency
    moved = shifted(star(), 1.47, -2.31, order=None)

    assert np.abs(moved - star(y=21.47, x=23.69)).max() < 1e-6


@pytest.mark.parametrize("order", KINDS)
@pytest.mark.parametrize(("dy", "dx"), [*PARTS, (30.0, 2.5), (-3.0, 4.0)])
def test_adjoint_gives_the_same_product(order, dy, dx, rng):
    a, b = rng.normal(size=(2, *SHAPE))

    forward = np.vdot(a, shifted(b, dy, dx, order=order))
    backward = np.vdot(shifted_adjoint(a, dy, dx, order=order), b)

    assert forward == pytest.approx(backward, abs=1e-12 * a.size)


@pytest.mark.parametrize("order", KINDS)
def test_shift_is_linear(order, rng):
    a, b = rng.normal(size=(2, *SHAPE))
    sum_of_moved = 2 * shifted(a, 0.3, 0.6, order=order) + shifted(b, 0.3, 0.6, order=order)

    assert np.allclose(shifted(2 * a + b, 0.3, 0.6, order=order), sum_of_moved, atol=1e-12)


@pytest.mark.parametrize("order", KINDS)
def test_single_precision_stays_single(order, rng):
    image = rng.normal(size=SHAPE)
    moved = shifted(image.astype(np.float32), 0.3, -0.6, order=order)

    assert moved.dtype == np.float32
    assert np.abs(moved - shifted(image, 0.3, -0.6, order=order)).max() < 1e-5
    assert shifted_adjoint(moved, 0.3, -0.6, order=order).dtype == np.float32


@pytest.mark.parametrize("order", [3, None])
def test_flux_of_a_star_away_from_the_edges_is_kept(order):
    # the Gaussian is cut off where it is 4e-9 of its peak
    assert shifted(star(), 0.37, 1.21, order=order).sum() == pytest.approx(star().sum(), rel=1e-7)


@pytest.mark.parametrize("order", [1, 3, None])
def test_split_shift_is_the_mean_of_two(order):
    dy, dx = (0.10, 0.34), (-0.52, 0.05)
    mean = sum(shifted(star(), y, x, order=order) for y, x in zip(dy, dx, strict=True)) / 2

    assert np.allclose(shifted_split(star(), dy, dx, order=order), mean, atol=1e-14)


def test_split_shift_below_the_threshold_is_one_by_the_means_of_each_axis():
    dy, dx = (0.10, 0.14), (0.02, 0.05)
    one = shifted(star(), 0.12, 0.035)

    assert np.allclose(shifted_split(star(), dy, dx, threshold=0.1), one, atol=1e-14)
    assert not np.allclose(shifted_split(star(), dy, dx, threshold=0.03), one, atol=1e-5)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 5])
def test_coefficients_can_be_made_once(order):
    coefficients = spline_coefficients(star(), order)
    once = shifted(coefficients, 0.3, 0.4, order=order, prefilter=False)

    assert np.array_equal(once, shifted(star(), 0.3, 0.4, order=order))


@pytest.mark.parametrize("shape", [(1, 7), (9, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize("order", [1, 3, None])
def test_tiny_images_are_moved(shape, order, rng):
    image = rng.normal(size=shape)
    other = rng.normal(size=shape)
    moved = shifted(image, 0.4, -0.6, order=order)

    assert moved.shape == shape
    assert np.vdot(other, moved) == pytest.approx(
        np.vdot(shifted_adjoint(other, 0.4, -0.6, order=order), image), abs=1e-12
    )


def test_padded_shape_holds_all_shifts_and_is_odd():
    shape = padded_shape((100, 90), [-3.2, 1.0], [0.0, 12.5])

    assert shape[0] >= 100 + 4 + MARGIN
    assert shape[1] >= 90 + 13 + MARGIN
    assert all(length % 2 for length in shape)
    assert all(length < 1.15 * n for length, n in zip(shape, (112, 111), strict=True))


def test_transfer_is_the_mean_of_shifts(rng):
    dy, dx, weights = [0.3, -1.2, 0.8], [2.0, 0.1, -0.4], [0.5, 0.2, 0.3]
    shape = padded_shape(SHAPE, dy, dx)
    image = star()
    product = fft.rfft2(image, s=shape) * transfer(shape, dy, dx, weights)
    mean = fft.irfft2(product, s=shape)[: SHAPE[0], : SHAPE[1]]
    moved = [shifted(image, y, x, order=None) for y, x in zip(dy, dx, strict=True)]

    assert np.allclose(mean, np.tensordot(weights, moved, axes=1), atol=1e-12)
    assert np.allclose(transfer(shape, 0.0, 0.0), 1.0, atol=1e-15)
    # equal weights add up to one: the flux is kept
    assert transfer(shape, dy, dx)[0, 0] == pytest.approx(1.0, abs=1e-15)
