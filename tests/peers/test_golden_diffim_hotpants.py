"""Kernels of real images against LSST golden data: single stamps, and fits over the image."""

import json

import numpy as np
import pytest
from astropy.io import fits

from skytool.core.background.chebyshev import ChebyshevModel
from skytool.core.convolve import convolve
from skytool.core.matching.kernel_equations import (
    SpatialModel,
    single_equations,
    solve,
    spatial_equations,
)
from skytool.core.matching.kernel_singles import solve_singles
from skytool.core.matching.kernel_stamps import cut_kernel_stamps
from skytool.core.matching.spatial_kernel import SpatialKernel

RUNS = ("hp_1gauss_deg3", "hp_1gauss_deg3_k1b1", "hp_1gauss_deg3_k2b2")
RUNS += ("al_default_k1b1", "al_default_k2b1_cheb")


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "golden" / "06-diffim"
    planes = []
    for kind in ("template", "science"):
        with fits.open(folder / f"hotpants_{kind}.fits.gz") as hdus:
            planes.append([np.array(hdus[name].data, np.float64) for name in ("SCI", "VAR")])
    with np.load(folder / "hotpants.npz") as stored:
        arrays = dict(stored)
    return json.loads((folder / "params.json").read_text())["results"]["hotpants"], arrays, planes


@pytest.mark.parametrize("weights", [0, 1])
@pytest.mark.parametrize("run", RUNS)
def test_solutions_of_real_images_are_those_of_lsst(golden, run, weights):
    results, arrays, ((template, template_variance), (science, science_variance)) = golden
    name = f"{run}_cvw{weights}"
    settings = results["runs"][name]
    x, y = np.array(results["centers"], float).T
    # LSST's kernels are of correlation
    basis = arrays[f"{name}_basis"][:, ::-1, ::-1]
    stamps = cut_kernel_stamps(
        template,
        science,
        source_variance=template_variance,
        target_variance=science_variance,
        bad=np.zeros(science.shape, bool),
        y=y,
        x=x,
        kernel_size=settings["kernelSize"],
        half=(results["stamp"] - settings["kernelSize"] + 1) // 2,
    )
    variance = stamps.target_variance + stamps.source_variance
    if weights:
        variance = np.broadcast_to(np.median(variance, (1, 2), keepdims=True), variance.shape)
    weight = 1.0 / variance[:, stamps.inner, stamps.inner].reshape(len(x), -1)
    columns = stamps.columns(basis)
    domain = (-0.5, science.shape[0] - 0.5, -0.5, science.shape[1] - 0.5)
    model = SpatialModel(
        n_basis=len(basis),
        kernel_order=settings["kernelOrder"],
        scale_order=0,
        background_order=settings["bgOrder"],
        domain=domain,
    )

    equations = single_equations(columns, stamps.target.reshape(len(x), -1), weight)
    singles = solve_singles(equations, basis.sum(axis=(1, 2))).values
    spatial = solve(spatial_equations(model, stamps, columns, weight, exact=False))
    coefficients, background = model.parts(spatial.values)
    kernel = SpatialKernel.from_basis(basis, coefficients, domain)
    left = science - convolve(template, kernel, dtype=np.float64)
    left -= ChebyshevModel(background, science.shape).image()

    expected = arrays[f"{name}_single"]
    found, truth = (np.tensordot(each[:, :-1], basis, axes=1) for each in (singles, expected))
    assert np.abs(found - truth).max() < 1e-7 * truth.max()
    np.testing.assert_allclose(singles[:, -1], expected[:, -1], atol=1e-6)
    truth = arrays[f"{name}_kernel_100_100"][::-1, ::-1]
    assert np.abs(kernel.at(y=100.0, x=100.0) - truth).max() < 1e-6 * truth.max()
    inner = np.s_[20:-20, 20:-20]  # LSST interpolates a kernel of order 2 within 10 pixels
    noise = np.sqrt(arrays[f"{name}_diff_var"])
    error = np.abs(left - arrays[f"{name}_diff"])[inner] / noise[inner]
    assert error.max() < (1e-2 if settings["kernelOrder"] == 2 else 1e-4)
