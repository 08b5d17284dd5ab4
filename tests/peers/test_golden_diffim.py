"""Matching kernels and differences against LSST golden data.

LSST's kernels are correlation kernels: they are ours turned by half a turn.
"""

import csv
import gzip
import json

import click
import numpy as np
import pytest
from astropy.io import fits

from skytool.cli.diffim.command import diffim
from skytool.cli.diffim.options import stage_config
from skytool.cli.main import cli
from skytool.core.matching.kernel_equations import single_equations
from skytool.core.matching.kernel_singles import solve_singles
from skytool.core.matching.kernel_stamps import cut_kernel_stamps
from skytool.models.exposure import Exposure
from skytool.models.mask import Mask
from skytool.models.psf.kinds import ConstantPsf
from skytool.stages.diffim import SourceList, subtract
from skytool.stages.diffim.inputs import prepare
from skytool.stages.diffim.preconvolution import correlated, preconvolved_score
from tests.stages.pairs import wcs_of

IQR_RATIO = (0.741301 / 0.74) ** 2  # LSST rounds the factor from quartiles to a standard deviation


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "golden"


def preset(**changes):
    """The settings of the shipped preset of LSST's values."""
    parent = click.Context(cli, info_name="skytool")
    args = ["science", "template", "-o", "out", "--config", "lsst", *changes.get("args", ())]
    with diffim.make_context("diffim", args, parent=parent) as ctx:
        return stage_config(ctx.params)


def loaded(path, shift=(0, 0), shape=None):
    """An exposure of the golden set, and the place of its first pixel."""
    with fits.open(path) as hdus:
        header = hdus["SCI"].header
        mask = Mask.from_array(
            hdus["MASK"].data.astype(np.int32), hdus["MASK"].header, name=path.name
        )
        psf = hdus["PSF"].data.astype(np.float64)
        exposure = Exposure(
            hdus["SCI"].data.astype(np.float32),
            mask,
            hdus["VAR"].data.astype(np.float32),
            wcs=wcs_of(shape or mask.shape, shift),
            psf=ConstantPsf(psf / psf.sum()),
            name=path.name,
        )
        return exposure, (header["Y0"], header["X0"])


def sources_of(path, positions, origin):
    """The sources that LSST used, with the ratio of signal to noise of its catalogue."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    x, y, flux, error = (
        np.array([float(row[key]) for row in rows]) for key in ("x", "y", "instFlux", "instFluxErr")
    )
    near = [int(np.argmin(np.hypot(x - a, y - b))) for a, b in positions]
    return SourceList(
        positions[:, 1] - origin[0],
        positions[:, 0] - origin[1],
        (flux / error)[near],
        np.zeros(len(near), bool),
        path.name,
    )


def stored_pair(folder, case):
    """Results and arrays of a case, its images and sources, and where the images lie."""
    place = folder / "06-diffim"
    results = json.loads((place / "params.json").read_text())["results"][case]
    with np.load(place / f"{case}.npz") as stored:
        arrays = dict(stored)
    names = [place / f"{results['input']}_{kind}.fits.gz" for kind in ("science", "template")]
    with gzip.open(names[1]) as file, fits.open(file) as hdus:
        first = hdus["SCI"].header["Y0"], hdus["SCI"].header["X0"]
    science, origin = loaded(names[0])
    shift = (origin[0] - first[0], origin[1] - first[1])
    template, _ = loaded(names[1], shift, science.shape)
    listed = place / f"{results['input']}_sources.csv"
    sources = sources_of(listed, arrays["kernelSources_xy"], origin)
    return results, arrays, science, template, sources, (origin, shift)


@pytest.mark.parametrize("case", ["a_convTemplate", "g_varying_psf"])
def test_kernels_of_single_stars_are_those_of_lsst(folder, case):
    place = folder / "12-kernel-candidates"
    results = json.loads((place / "params.json").read_text())["results"][case]
    with np.load(place / f"{case}.npz") as stored:
        arrays = dict(stored)
    science, origin = loaded(place / f"{case}_science.fits.gz")
    template, _ = loaded(place / f"{case}_template.fits.gz")
    known = [each for each in results["candidates"] if each.get("index") is not None]
    x, y = (np.array([each["stamp"][axis] + 21.0 for each in known]) for axis in (0, 1))
    stamps = cut_kernel_stamps(
        template.image,
        science.image,
        source_variance=template.variance,
        target_variance=science.variance,
        bad=np.zeros(science.shape, bool),
        y=y - origin[0],
        x=x - origin[1],
        kernel_size=21,
        half=11,
    )
    basis = arrays["kernel_basis"][:, ::-1, ::-1]

    equations = single_equations(
        stamps.columns(basis), stamps.target.reshape(len(x), -1), np.ones((len(x), 23 * 23))
    )
    found = solve_singles(equations, basis.sum(axis=(1, 2)))
    kernels = np.tensordot(found.values[:, :-1], basis, axes=1)
    truth = arrays["single_solutions"][[each["index"] for each in known]]
    expected = np.tensordot(truth, basis, axes=1)
    backgrounds = [each["background"] for each in known]

    peak = expected.max(axis=(1, 2), keepdims=True)
    assert np.max(np.abs(kernels - expected) / peak) < 1e-5
    np.testing.assert_allclose(found.sums, [each["ksum"] for each in known], rtol=1e-5)
    np.testing.assert_allclose(found.values[:, -1], backgrounds, atol=1e-4)


@pytest.mark.parametrize("case", ["a_convTemplate", "e_background", "g_varying_psf", "h_masks"])
def test_differences_with_the_preset_are_those_of_lsst(folder, case):
    results, arrays, science, template, sources, (origin, _) = stored_pair(folder, case)
    more = ["--do-subtract-background"] if results["updates"].get("doSubtractBackground") else []

    config = preset(
        args=["--detection-threshold-max", "1e9", "--detection-threshold", "1e-3", *more]
    )
    result = subtract(science, template, config, sources=sources)

    x, y = arrays["kernel_pos"].T
    kernels = result.kernel.kernel.at_many(y=y - origin[0], x=x - origin[1])[:, ::-1, ::-1]
    peak = arrays["kernel_images"].max()
    assert np.max(np.abs(kernels - arrays["kernel_images"])) < 1e-4 * peak
    np.testing.assert_allclose(kernels.sum(axis=(1, 2)), arrays["kernel_sums"], rtol=1e-5)
    sigma = np.sqrt(arrays["diff_var"])
    inner = np.s_[25:-25, 25:-25]
    matched = (result.matched.image - arrays["matchedTemplate_img"]) / sigma
    assert np.nanmax(np.abs(matched[inner])) < 1e-3
    for name, factor in (("science", "Science"), ("template", "Template")):
        expected = results["metadata"][f"scale{factor}VarianceFactor"] * IQR_RATIO
        assert result.metrics[f"{name}_factor"] == pytest.approx(expected, rel=1e-3)
    # LSST whitens with the kernel in the middle of the image, we with that of every place
    clean = (arrays["diff_msk"] == 0)[inner]
    left = ((result.difference.image - arrays["diff_img"]) / sigma)[inner][clean]
    quartiles = np.percentile(left, [25, 75])  # what fills masked pixels differs around them
    assert quartiles[1] - quartiles[0] < 0.02
    ratio = (result.difference.variance / arrays["diff_var"])[inner][clean]
    np.testing.assert_allclose(ratio, IQR_RATIO, rtol=3e-3)


def test_a_difference_with_the_science_image_convolved_is_that_of_lsst(folder):
    _, arrays, science, template, sources, (origin, _) = stored_pair(folder, "c_convScience")
    wide = "--detection-threshold-max", "1e9", "--detection-threshold", "1e-3"

    result = subtract(
        science, template, preset(args=[*wide, "--mode", "convolve-science"]), sources=sources
    )

    x, y = arrays["kernel_pos"].T
    kernels = result.kernel.kernel.at_many(y=y - origin[0], x=x - origin[1])[:, ::-1, ::-1]
    assert np.max(np.abs(kernels - arrays["kernel_images"])) < 1e-5 * arrays["kernel_images"].max()
    sigma, inner = np.sqrt(arrays["diff_var"]), np.s_[45:-45, 45:-45]
    clean = (arrays["diff_msk"] == 0)[inner]
    # LSST stores the convolved image divided by the sum of the kernel
    matched = result.matched.image / result.kernel.sum - arrays["matchedScience_img"]
    assert np.max(np.abs(matched / sigma)[inner][clean]) < 1e-3
    # and does not divide the template: 0.1 per cent of it is in its difference
    left = (result.difference.image - arrays["diff_img"]) / sigma
    assert np.std(left[inner][clean]) < 0.02
    ratio = (result.difference.variance / arrays["diff_var"])[inner][clean]
    assert np.median(ratio) == pytest.approx(IQR_RATIO, rel=3e-3)


@pytest.mark.parametrize("case", ["p_preconvolve", "p3_preconvolve_masks"])
def test_preconvolved_scores_with_the_preset_are_near_those_of_lsst(folder, case):
    _, arrays, science, template, sources, (_, shift) = stored_pair(folder, case)
    config = preset(args=["--detection-threshold-max", "1e9", "--detection-threshold", "1e-3"])
    inner = np.s_[50:-50, 50:-50]

    found = preconvolved_score(science, template, config, sources=sources)
    psf = science.psf.kernel_image(y=180.0, x=180.0)
    first = correlated(prepare(science, template, shift, 13, config), psf, config).science

    np.testing.assert_allclose(found.kernel.basis, arrays["kernel_basis"], atol=2e-5)
    # masked pixels are filled from around them, by LSST with the median of the image
    clean = (arrays["diff_msk"] == 0)[inner]
    left = (first.image - arrays["matchedScience_img"])[inner][clean]
    assert np.abs(left).max() < 5e-3
    ratio = (first.variance / arrays["matchedScience_var"])[inner][clean]
    np.testing.assert_allclose(ratio, IQR_RATIO, rtol=1e-3)
    # some stars that are left out differ, and with them what noise does to the kernel
    left = (found.score.image - arrays["diff_img"])[inner] / np.sqrt(arrays["diff_var"][inner])
    assert np.std(left[clean]) < 0.1
    ratio = (found.score.variance / arrays["diff_var"])[inner][clean]
    assert np.median(ratio) == pytest.approx(IQR_RATIO, rel=3e-3)
