import numpy as np
import pytest

from skytool.core.convolve import convolve
from skytool.core.score_correction import score_correction
from skytool.core.spatial_kernel import SpatialKernel
from tests.core.points import add_stars, gaussian, lattice

SHAPE = (420, 540)
S, T = 2.4, 1.6  # PSF sizes of science image and template [pixel]


def pair(rng, v_s, v_t, *, flux=0.0, noise=1.0, science=S, template=T):
    """Return a preconvolved difference with the true kernel, the correction and transients."""
    noise_s, noise_t = (noise * rng.standard_normal(SHAPE) * np.sqrt(v) for v in (v_s, v_t))
    y, x = (np.round(at) for at in lattice(SHAPE, 60, rng))
    add_stars(noise_s, y=y, x=x, flux=np.full(y.size, flux), sigma=science)
    psf = gaussian(science, 20)
    # Gaussians: kernel = k * PSF * PSF / template, of variance 2 S^2 - T^2
    kernel = 1.2 * gaussian(np.sqrt(2 * science**2 - template**2), 20)
    star = SpatialKernel.constant(psf).flipped()
    left = convolve(noise_s.astype(np.float32), star)
    left -= convolve(noise_t.astype(np.float32), kernel)
    correction = score_correction(psf, kernel, science_variance=v_s, template_variance=v_t)
    return left, correction, y.astype(int), x.astype(int)


@pytest.mark.parametrize(
    ("v_s", "v_t", "sizes"),
    [(1.0, 1.0, (S, T)), (4.0, 0.2, (S, T)), (1.0, 9.0, (S, T)), (1.0, 1.0, (1.7, 2.2))],
)
def test_score_has_the_claimed_variance(rng, v_s, v_t, sizes):
    left, correction, *_ = pair(rng, v_s, v_t, science=sizes[0], template=sizes[1])
    plane = np.ones(SHAPE, np.float32)
    z = correction.score(left) / np.sqrt(correction.variance(v_s * plane, v_t * plane))
    inner = z[60:-60, 60:-60]

    n = inner.size / (4 * np.pi * max(sizes) ** 2)  # independent samples
    assert inner.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * n))


@pytest.mark.parametrize(("v_s", "v_t"), [(1.0, 1.0), (1.0, 9.0)])
def test_significance_and_flux_are_the_optimal_ones(rng, v_s, v_t):
    left, correction, y, x = pair(rng, v_s, v_t, flux=300.0, noise=0.0)
    plane = np.ones(SHAPE, np.float32)
    score = correction.score(left)[y, x]
    variance = correction.variance(v_s * plane, v_t * plane)[y, x]

    np.testing.assert_allclose(score / correction.flux_factor, 300.0, rtol=3e-3)
    # sum over frequencies of |P|^2 / (v_S + v_T |kernel / P|^2), for Gaussians
    f = np.fft.fftfreq(256)
    square = np.add.outer(f**2, f**2) * 4 * np.pi**2
    star = np.exp(-0.5 * S**2 * square)
    match = 1.2 * np.exp(-0.5 * (S**2 - T**2) * square)
    optimum = 300.0 * np.sqrt(np.mean(star**2 / (v_s + v_t * match**2)))
    np.testing.assert_allclose(score / np.sqrt(variance), optimum, rtol=3e-3)


def test_variance_by_pixel_agrees_with_the_scaled_one_where_it_is_flat(rng):
    _, correction, *_ = pair(rng, 2.0, 3.0)
    planes = [np.full(SHAPE, v, np.float32) for v in (2.0, 3.0)]
    exact = correction.variance(*planes)
    scaled = correction.variance(*planes, by_pixel=False)

    np.testing.assert_allclose(exact[80:-80, 80:-80], scaled[80:-80, 80:-80], rtol=1e-4)
    assert exact[0, 0] < scaled[0, 0]


def test_correction_keeps_the_sum(rng):
    _, correction, *_ = pair(rng, 1.0, 2.0)

    assert correction.kernel.sum() == pytest.approx(1.0, abs=1e-3)
