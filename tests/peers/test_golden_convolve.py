"""Convolution against LSST golden data: LSST's kernels correlate, so they are flipped here."""

import json

import numpy as np
import pytest
from astropy.io import fits

from skytool.core.convolve import convolve_planes
from skytool.core.matching.kernel_basis import alard_lupton_basis, basis_shape
from skytool.core.matching.spatial_kernel import SpatialKernel, from_triangular, power_to_chebyshev

EDGE, NO_DATA = 16, 256
EDGES = {0: {"edge": "empty", "edge_bits": NO_DATA}, 1: {"edge": "copy", "edge_bits": EDGE}}
# sums of some hundred products in single precision, theirs and ours
ROUNDING = 3e-6


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "golden" / "10-primitives"
    with np.load(folder / "output.npz") as stored:
        arrays = dict(stored)
    return folder, arrays, json.loads((folder / "params.json").read_text())["results"]


@pytest.fixture(scope="module")
def exposure(golden):
    with fits.open(golden[0] / "convolve_input.fits.gz") as hdus:
        image, variance = (hdus[name].data.astype(np.float32) for name in ("SCI", "VAR"))
        return image, variance, hdus["MASK"].data.astype(np.int32)


def assert_same_planes(out, arrays, name):
    image, variance, mask = (arrays[f"{name}_{plane}"] for plane in ("img", "var", "msk"))
    finite = np.isfinite(image)
    np.testing.assert_array_equal(np.isfinite(out.image), finite)
    np.testing.assert_allclose(
        out.image[finite], image[finite], rtol=0, atol=ROUNDING * np.abs(image[finite]).max()
    )
    valued = np.isfinite(variance)
    # a value in the image that is missing leaves their variance as it is; ours has none there
    np.testing.assert_array_equal(np.isfinite(out.variance), valued & finite)
    np.testing.assert_allclose(out.variance[finite], variance[finite], rtol=ROUNDING)
    np.testing.assert_array_equal(out.mask, mask)


@pytest.mark.parametrize("copied", [0, 1])
@pytest.mark.parametrize("normalized", [0, 1])
def test_a_constant_kernel_gives_the_same_planes(golden, exposure, normalized, copied):
    _, arrays, _ = golden
    image, variance, mask = exposure
    kernel = arrays["conv_kernel"][::-1, ::-1]
    if normalized:
        kernel = kernel / kernel.sum()

    out = convolve_planes(image, kernel, variance=variance, mask=mask, **EDGES[copied])

    assert_same_planes(out, arrays, f"conv_fixed_norm{normalized}_copyedge{copied}")


@pytest.mark.parametrize("distance", [0, 10])
@pytest.mark.parametrize("normalized", [0, 1])
def test_a_kernel_that_varies_gives_the_same_planes(golden, exposure, normalized, distance):
    _, arrays, results = golden
    image, variance, mask = exposure
    factors = np.array(results["conv_spatial_parameters"]["params"])
    domain = (-0.5, image.shape[0] - 0.5, -0.5, image.shape[1] - 0.5)
    coefficients = power_to_chebyshev(from_triangular(factors, 1), domain)
    kernel = SpatialKernel.from_basis(arrays["conv_basis"], coefficients, domain).flipped()

    out = convolve_planes(image, kernel, variance=variance, mask=mask, **EDGES[1])

    # its sum is one everywhere, and linear interpolation of a linear function is exact
    assert_same_planes(out, arrays, f"conv_spatial_norm{normalized}_interp{distance}")


def test_the_bases_are_the_same(golden):
    _, arrays, results = golden
    for name, case in results["basis"].items():
        settings = case["kw"]
        known = settings.get("scaleByFwhm", True)
        shape = basis_shape(
            case["target"] if known else None,
            case["reference"] if known else None,
            n_gauss=settings.get("alardNGauss", 3),
        )
        metadata = case["metadata"]
        np.testing.assert_allclose(shape.widths, metadata["ALBasisSigGauss"], rtol=1e-12)
        assert (shape.size, shape.mode) == (case["size"], metadata["ALBasisMode"][0]), name

        basis = alard_lupton_basis(shape.size, shape.widths, metadata["ALBasisDegGauss"])

        np.testing.assert_allclose(basis, arrays[f"basis_{name}"], atol=1e-14, err_msg=name)
