import numpy as np
import pytest
from scipy.ndimage import shift as moved
from scipy.signal import fftconvolve

from skytool.core.difference.score import matched_filter
from skytool.core.difference.source_psf import SourcePsf
from skytool.core.matching.spatial_kernel import SpatialKernel
from skytool.models.psf.kinds import ConstantPsf
from skytool.stages.diffim import DiffimConfig, subtract
from skytool.stages.diffim.preconvolution import preconvolved_score
from tests.stages.pairs import (
    SCALE,
    SIGMA_SCIENCE,
    SIGMA_TEMPLATE,
    drawn,
    exposure,
    gaussian,
    pair,
    places,
    sky,
)

SHAPE = (480, 520)
CONFIG = DiffimConfig(mode="convolve-template")


def optimum(sigmas, scale, side=256):
    """Squared signal-to-noise ratio of the best filter for a star of unit flux in unit noise."""
    transforms = []
    for sigma in sigmas:
        image = np.zeros((side, side))
        image[:49, :49] = gaussian(sigma, 24)
        transforms.append(np.abs(np.fft.fft2(image)) ** 2)
    science, template = transforms
    return np.mean(science * template / (template + scale**2 * science))


@pytest.mark.parametrize(
    "sigmas", [(SIGMA_SCIENCE, SIGMA_TEMPLATE), (SIGMA_TEMPLATE, SIGMA_SCIENCE)]
)
def test_the_score_has_unit_variance_and_the_significance_of_the_optimum(sigmas):
    rng = np.random.default_rng(11)
    science, template, (y, x, _) = pair(rng, shape=SHAPE, count=60, sigmas=sigmas)
    free = sky(SHAPE, y, x)
    spots = np.argwhere(free)[::97]
    rows, columns = spots[(spots % 3 == 0).all(axis=1)][::12].T
    flux = 12.0 / np.sqrt(optimum(sigmas, SCALE))
    lights = drawn(SHAPE, rows, columns, np.full(rows.size, flux), sigmas[0])

    plain = preconvolved_score(science, template, CONFIG)
    signal = plain.score.image / np.sqrt(plain.score.variance)
    brighter = science.with_values(image=(science.image + lights).astype(np.float32))
    found = preconvolved_score(brighter, template, CONFIG)
    change = found.score.image - plain.score.image

    # the sky holds some 800 independent values: the standard error is 2.5 %
    assert np.std(signal[free]) == pytest.approx(1.0, abs=0.08)
    assert plain.kernel.sum == pytest.approx(SCALE, rel=0.005)
    assert plain.kernel.preconvolved
    heights = change[rows, columns] / np.sqrt(plain.score.variance[rows, columns])
    assert np.median(heights) == pytest.approx(12.0, rel=0.03)
    fluxes = change[rows, columns] / plain.flux_factor
    assert np.median(fluxes) == pytest.approx(flux, rel=0.01)


def test_the_score_is_that_of_the_white_difference(rng):
    science, template, (y, x, _) = pair(rng, shape=SHAPE, count=60)
    free = sky(SHAPE, y, x)

    score = preconvolved_score(science, template, CONFIG).score
    difference = subtract(science, template, CONFIG).difference
    other = matched_filter(
        difference.image,
        difference.variance,
        np.zeros(SHAPE, bool),
        SourcePsf(SpatialKernel.constant(difference.psf.kernel_image(y=240.0, x=260.0))),
    )

    left = score.image / np.sqrt(score.variance) - other.snr
    assert np.std(left[free]) < 0.12


def test_an_asymmetric_psf_leaves_peaks_where_sources_are(rng):
    half = 24
    comatic = gaussian(2.0, half) + 0.5 * gaussian(2.0, half, y=1.5, x=2.0)
    centre = np.array(
        [np.sum(axis * comatic) for axis in np.mgrid[-half : half + 1, -half : half + 1]]
    )
    star = moved(comatic / comatic.sum(), -centre / comatic.sum(), order=3)
    y, x = np.rint(places(rng, SHAPE, 60, apart=10))
    flux = 10 ** rng.uniform(3.3, 4.3, 60)
    points = np.zeros(SHAPE)
    points[y.astype(int), x.astype(int)] = flux
    free = sky(SHAPE, y, x, away=30)
    row, column = np.argwhere(free)[9000]
    new = np.zeros(SHAPE)
    new[row, column] = 800.0
    noise = rng.normal(size=(2, *SHAPE))
    science = fftconvolve(points + new, star, mode="same") + noise[0]
    template = fftconvolve(points, gaussian(SIGMA_TEMPLATE, half), mode="same") + noise[1]

    score = preconvolved_score(
        exposure(science, 1.0, ConstantPsf(star), name="science.fits"),
        exposure(template, 1.0, SIGMA_TEMPLATE, name="template.fits"),
        CONFIG,
    ).score
    part = score.image[row - 4 : row + 5, column - 4 : column + 5]

    assert np.unravel_index(np.argmax(part), part.shape) == (4, 4)
