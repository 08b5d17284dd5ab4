"""Score of a preconvolved difference against LSST golden data."""

import numpy as np
import pytest
from astropy.io import fits

from skytool.core.convolve import convolve, convolve_planes
from skytool.core.difference.decorrelation import InputNoise, whitening
from skytool.core.matching.spatial_kernel import SpatialKernel
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
    arrays["psf"] /= arrays["psf"].sum()
    template = arrays["template_var_after"][BORDER:-BORDER, BORDER:-BORDER]
    arrays["variances"] = [arrays["science_var_after"], template]
    return arrays


@pytest.fixture(scope="module")
def made(golden):
    noises = [InputNoise(variance=sample_statistics(v).clip_mean) for v in golden["variances"]]
    # the stored kernel is one of correlation, at the middle of the image
    kernel = SpatialKernel.constant(golden["kernel_images"][0][::-1, ::-1])
    return whitening(kernel, *noises, psf=golden["psf"])


def test_preconvolved_image_is_that_of_lsst(golden):
    star = SpatialKernel.constant(golden["psf"]).flipped()
    found = convolve_planes(golden["science"], star, nonfinite="fill").image

    # the PSF is symmetric, so that the direction makes no difference
    expected = golden["matchedScience_img"]
    assert np.abs(found - expected)[INNER].max() < 1e-4 * np.abs(expected[INNER]).max()


def test_score_of_the_stored_difference_is_that_of_lsst(golden, made):
    difference = golden["matchedScience_img"] - golden["matchedTemplate_img"]
    found = convolve(difference.astype(np.float32), made.kernel)[INNER]
    expected = golden["diff_img"][INNER]

    assert np.std(found - expected) < 1e-3 * np.std(expected)


def test_variance_of_the_score_is_that_of_lsst(golden, made):
    y, x = (size / 2 for size in golden["science"].shape)
    squares = made.plain_squares, made.matched_squares
    found = sum(
        plane * square.sum_at(y=y, x=x)
        for plane, square in zip(golden["variances"], squares, strict=True)
    )

    np.testing.assert_allclose(found[INNER], golden["diff_var"][INNER], rtol=1e-3)
