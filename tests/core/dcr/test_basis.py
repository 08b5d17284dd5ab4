import numpy as np
import pytest

from skytool.core.dcr.basis import BandBasis, band_nodes, transfers
from skytool.core.dcr.predict import predict_spectral, predict_split


def test_polynomials_but_the_first_have_no_flux(rng):
    throughput = rng.uniform(0.2, 1.0, band_nodes(4).size)

    basis = BandBasis.polynomials(4, 3, throughput=throughput)

    np.testing.assert_allclose(basis.values.sum(axis=1), [1, 0, 0], atol=1e-15)
    np.testing.assert_allclose(basis.integrals.sum(axis=0), [1, 0, 0], atol=1e-15)
    np.testing.assert_allclose(
        basis.integrals[:, 0], throughput.reshape(4, -1).sum(axis=1) / throughput.sum()
    )


def test_slope_of_a_flat_band_is_shared_between_subfilters():
    basis = BandBasis.polynomials(3, 2)

    np.testing.assert_allclose(basis.integrals[:, 1], [-2 / 9, 0, 2 / 9], atol=1e-15)


def test_cardinal_functions_are_the_same_spectra():
    basis = BandBasis.polynomials(3, 3)
    fluxes = np.array([1.0, 3.0, 2.0])

    cardinal = basis.cardinal()

    coefficients = np.linalg.solve(basis.integrals, fluxes)
    np.testing.assert_allclose(fluxes @ cardinal.values, coefficients @ basis.values, atol=1e-14)


@pytest.mark.parametrize(("subfilters", "terms"), [(0, 1), (3, 4), (2, 0)])
def test_impossible_basis_is_refused(subfilters, terms):
    with pytest.raises(ValueError, match="do not fit"):
        BandBasis.polynomials(subfilters, terms)


def test_fewer_functions_than_subfilters_have_no_cardinals():
    with pytest.raises(ValueError, match="2 functions for 3"):
        BandBasis.polynomials(3, 2).cardinal()


def test_transfer_is_the_mean_phase(rng):
    basis = BandBasis.steps(2)
    dy, dx = rng.normal(size=(2, basis.values.shape[1]))

    found = transfers((5, 7), basis, dy, dx)

    ky, kx = np.fft.fftfreq(5)[3], np.fft.rfftfreq(7)[2]
    phases = np.exp(-2j * np.pi * (ky * dy + kx * dx))
    np.testing.assert_allclose(found[:, 3, 2], phases.reshape(2, -1).mean(axis=1), rtol=1e-5)


def test_prediction_keeps_flux_and_moves_the_centre(rng):
    y, x = np.mgrid[:45, :52]
    star = np.exp(-((y - 21) ** 2 + (x - 26) ** 2) / 8.0).astype("f4")
    images = [star, 2 * star]
    dy, dx = np.linspace(0.9, -0.6, 16), np.linspace(-0.5, 1.2, 16)

    shown = predict_spectral(images, dy, dx, smooth=False)

    weight = np.repeat([1, 2], 8)
    assert shown.sum() == pytest.approx(3 * star.sum(), rel=1e-6)
    moved = (shown * y).sum() / shown.sum(), (shown * x).sum() / shown.sum()
    expected = 21 + (dy * weight).sum() / 24, 26 + (dx * weight).sum() / 24
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_prediction_without_refraction_is_the_sum(rng):
    images = list(rng.normal(size=(3, 21, 34)).astype("f4"))
    nowhere = np.zeros(24)

    spectral = predict_spectral(images, nowhere, nowhere, smooth=True)
    split = predict_split(images, np.zeros((3, 2, 2)))

    np.testing.assert_allclose(spectral, sum(images), atol=1e-5)
    np.testing.assert_allclose(split, sum(images), atol=1e-5)
