import numpy as np
import pytest

from skytool.core.matching.kernel_basis import (
    alard_lupton_basis,
    basis_shape,
    delta_basis,
    gaussian_polynomials,
    principal_basis,
    renormalized,
)


def gaussian(size, sigma):
    offsets = np.arange(size) - size // 2
    image = np.exp(-0.5 * (offsets[:, None] ** 2 + offsets**2) / sigma**2)
    return image / image.sum()


@pytest.mark.parametrize(
    ("sigmas", "widths", "size", "mode"),
    [
        ((1.6, 2.4), (0.894, 1.789, 3.578), 21, "convolution"),
        ((1.6, 3.394), (1.497, 2.993, 5.987), 35, "convolution"),
        ((2.4, 1.6), (0.894, 1.789, 3.578), 21, "deconvolution"),
        ((1.6, 1.7), (0.7, 1.4, 2.8), 21, "convolution"),
        ((1.7, 1.6), (0.4, 0.8, 1.6), 21, "deconvolution"),
        ((2.0, 2.0), (0.7, 1.5, 3.0), 21, "config"),
    ],
)
def test_widths_and_size_come_from_the_psf_sizes(sigmas, widths, size, mode):
    shape = basis_shape(*(2.354820045 * sigma for sigma in sigmas))

    np.testing.assert_allclose(shape.widths, widths, rtol=6e-4)
    assert (shape.size, shape.mode) == (size, mode)


def test_one_gaussian_has_the_width_of_the_matching_kernel():
    assert basis_shape(4.0, 5.0, n_gauss=1).widths == pytest.approx([3.0 / 2.354820045])


def test_unknown_psf_sizes_give_the_settings():
    shape = basis_shape(None, 4.0, default_widths=(1.0, 2.0), default_size=27)

    assert (shape.widths, shape.size, shape.mode) == ((1.0, 2.0), 27, "config")


def test_psf_sizes_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        basis_shape(0.0, 3.0)


def test_terms_are_gaussians_times_monomials_of_x_before_y():
    basis = gaussian_polynomials(11, (1.5, 3.0), (2, 1))
    v, u = np.mgrid[-1:1:11j, -1:1:11j]

    assert len(basis) == 6 + 3
    for term, monomial in zip(basis[:6], (1, u, v, u * u, u * v, v * v), strict=True):
        np.testing.assert_allclose(term, gaussian(11, 1.5) * monomial, atol=1e-16)
    np.testing.assert_allclose(basis[7], gaussian(11, 3.0) * u, atol=1e-16)


def test_only_the_first_kernel_has_a_sum_and_the_others_have_unit_norm():
    basis = alard_lupton_basis(21)

    assert len(basis) == 27
    np.testing.assert_allclose(basis.sum(axis=(1, 2)), [1.0] + 26 * [0.0], atol=1e-14)
    np.testing.assert_allclose((basis[1:] ** 2).sum(axis=(1, 2)), 1.0, rtol=1e-12)


def test_renormalising_keeps_the_span(rng):
    raw = gaussian_polynomials(15, (1.2, 2.5), (3, 2))
    kernel = np.tensordot(rng.normal(size=len(raw)), raw, axes=1).ravel()

    basis = renormalized(raw).reshape(len(raw), -1)
    fitted = basis.T @ np.linalg.lstsq(basis.T, kernel)[0]

    np.testing.assert_allclose(fitted, kernel, atol=1e-10 * np.abs(kernel).max())


def test_a_gaussian_kernel_between_the_widths_is_represented():
    basis = alard_lupton_basis(21).reshape(27, -1)
    kernel = gaussian(21, 1.8).ravel()

    fitted = basis.T @ np.linalg.lstsq(basis.T, kernel)[0]

    assert np.linalg.norm(fitted - kernel) < 0.01 * np.linalg.norm(kernel)


@pytest.mark.parametrize(
    ("size", "widths", "degrees", "words"),
    [
        (20, (1.0,), (2,), "odd"),
        (21, (1.0, 2.0), (2,), "2 widths"),
        (21, (0.0,), (2,), "positive"),
        (21, (1.0,), (-1,), ">= 0"),
    ],
)
def test_impossible_bases_are_refused(size, widths, degrees, words):
    with pytest.raises(ValueError, match=words):
        gaussian_polynomials(size, widths, degrees)


def test_a_basis_whose_first_kernel_has_no_sum_cannot_be_renormalised():
    with pytest.raises(ValueError, match="sum"):
        renormalized(gaussian_polynomials(9, (1.5,), (1,))[1:])


def test_delta_kernels_pick_single_pixels():
    basis = delta_basis(5)

    assert basis.shape == (25, 5, 5)
    assert basis[7, 1, 2] == 1
    assert basis.sum() == 25


def test_components_of_kernels_of_a_plane_span_that_plane(rng):
    ends = np.stack([gaussian(15, 1.5), gaussian(15, 2.5), gaussian(15, 1.0)])
    weights = rng.uniform(0.1, 1.0, size=(12, 3))
    kernels = np.tensordot(weights, ends, axes=1)

    basis = principal_basis(kernels, 5)
    flat = basis.reshape(len(basis), -1)
    fitted = np.linalg.lstsq(flat.T, ends.reshape(3, -1).T)[0].T @ flat

    assert len(basis) == 3
    np.testing.assert_allclose(fitted, ends.reshape(3, -1), atol=1e-12)
    np.testing.assert_allclose(basis.sum(axis=(1, 2)), [1.0, 0.0, 0.0], atol=1e-12)


def test_components_without_a_mean_start_with_the_strongest():
    kernels = np.stack([gaussian(9, 1.0), 3.0 * gaussian(9, 1.1)])

    basis = principal_basis(kernels, 1, subtract_mean=False)

    assert len(basis) == 1
    mean = 0.5 * (gaussian(9, 1.0) + gaussian(9, 1.1))
    np.testing.assert_allclose(basis[0], mean, atol=1e-3)


def test_components_of_kernels_without_a_sum_are_refused():
    with pytest.raises(ValueError, match="sum"):
        principal_basis(np.zeros((2, 5, 5)))
    with pytest.raises(ValueError, match="at least one"):
        principal_basis(np.ones((2, 5, 5)), 0)
