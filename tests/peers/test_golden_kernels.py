"""Spatially varying kernels from the coefficients of LSST golden data."""

import json

import numpy as np
import pytest

from skytool.core.matching.kernel_basis import alard_lupton_basis, basis_shape
from skytool.core.matching.spatial_kernel import SpatialKernel, from_triangular


@pytest.mark.parametrize("case", ["a_convTemplate", "cheb_order2_bg1", "g_varying_psf"])
def test_stored_coefficients_give_the_stored_kernels(shared, case):
    folder = shared / "golden" / "12-kernel-candidates"
    results = json.loads((folder / "params.json").read_text())["results"][case]
    with np.load(folder / f"{case}.npz") as stored:
        arrays = dict(stored)
    x0, y0, nx, ny = results["kernelBBox"]
    shape = basis_shape(results["templateFwhm"], results["scienceFwhm"])
    basis = alard_lupton_basis(shape.size, shape.widths)
    order = results["kernel_config"]["spatialKernelOrder"]

    kernel = SpatialKernel.from_basis(
        basis,
        from_triangular(arrays["kernel_params"], order),
        (y0 - 0.5, y0 + ny - 0.5, x0 - 0.5, x0 + nx - 0.5),
    )
    x, y = arrays["kernel_pos"].T
    found = kernel.at_many(y=y, x=x)

    np.testing.assert_allclose(basis, arrays["kernel_basis"], atol=1e-14)
    np.testing.assert_allclose(found, arrays["kernel_images"], rtol=0, atol=1e-10 * found.max())
    np.testing.assert_allclose(found.sum(axis=(1, 2)), arrays["kernel_sums"], rtol=1e-10)
    assert np.ptp(found, axis=0).max() > 1e-3 * found.max()
