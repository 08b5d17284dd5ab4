"""Score of a preconvolved difference against LSST golden data."""

import numpy as np
import pytest
from astropy.io import fits

from skytool.core.convolve import convolve_planes
from skytool.core.score_correction import score_correction
from skytool.core.spatial_kernel import SpatialKernel
from skytool.core.statistics import sample_statistics

CASE = "p_preconvolve"
BORDER = 20  # of the template around the science image [pixel]
INNER = np.s_[60:-60, 60:-60]


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "golden" / "06-diffim"
    with np.load(folder / f"{CASE}.npz") as stored:
        arrays = dict(stored)
    with fits.open(folder / "in06_science.fits.gz") as hdus:
        arrays["science"] = np.array(hdus["SCI"].data, np.float32)
        arrays["psf"] = np.array(hdus["PSF"].data, np.float64)
    return arrays


def correction_of(golden):
    science, template = golden["science_var_after"], golden["template_var_after"]
    template = template[BORDER:-BORDER, BORDER:-BORDER]
    # the stored kernel is one of correlation, at the middle of the image
    kernel = golden["kernel_images"][0][::-1, ::-1]
    correction = score_correction(
        golden["psf"] / golden["psf"].sum(),
        kernel,
        science_variance=sample_statistics(science).clip_mean,
        template_variance=sample_statistics(template).clip_mean,
    )
    return correction, science.astype(np.float32), template.astype(np.float32)


def test_preconvolved_image_is_that_of_lsst(golden):
    psf = golden["psf"] / golden["psf"].sum()
    star = SpatialKernel.constant(psf).flipped()
    found = convolve_planes(golden["science"], star, nonfinite="fill").image

    # the PSF is symmetric, so that the direction makes no difference
    expected = golden["matchedScience_img"]
    assert np.abs(found - expected)[INNER].max() < 1e-4 * np.abs(expected[INNER]).max()


def test_score_of_the_stored_difference_is_that_of_lsst(golden):
    correction, *_ = correction_of(golden)
    difference = golden["matchedScience_img"] - golden["matchedTemplate_img"]
    found = correction.score(difference.astype(np.float32))[INNER]
    expected = golden["diff_img"][INNER]

    assert np.std(found - expected) < 1e-3 * np.std(expected)


def test_variance_of_the_score_is_that_of_lsst(golden):
    correction, science, template = correction_of(golden)
    found = correction.variance(science, template, by_pixel=False)

    np.testing.assert_allclose(found[INNER], golden["diff_var"][INNER], rtol=1e-3)
