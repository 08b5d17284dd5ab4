import numpy as np
import pytest

from skytool.core.convolve import convolve
from skytool.core.matching.model_psf import ModelPsf
from skytool.core.matching.psf_match import match_to_model
from skytool.core.matching.psf_match_config import PsfMatchConfig, match_cells
from skytool.core.matching.psf_match_solvers import resized_stamps
from skytool.core.psf.adaptive_moments import adaptive_moments

FINE = 5
BASES = pytest.mark.parametrize("basis", ["wiener", "al"])


def star(fwhm, ellipticity=0.0, *, angle=0.6, beta=np.inf, size=41, dy=0.0, dx=0.0):
    """Moffat or Gaussian point source integrated over pixels, unit sum on its stamp."""
    fine = (np.arange(size * FINE) - (size * FINE - 1) / 2) / FINE
    y, x = fine[:, None] - dy, fine - dx
    axis = np.sqrt((1 - ellipticity) / (1 + ellipticity))
    u = (np.cos(angle) * x + np.sin(angle) * y) * np.sqrt(axis)
    v = (np.cos(angle) * y - np.sin(angle) * x) / np.sqrt(axis)
    r2 = (u**2 + v**2) * 4 / fwhm**2
    light = 0.5**r2 if np.isinf(beta) else (1 + r2 * (2 ** (1 / beta) - 1)) ** -beta
    light = light.reshape(size, FINE, size, FINE).sum(axis=(1, 3))
    return light / light.sum()


def matched(psf, fwhm, **settings):
    y, x, domain = match_cells((300, 400))
    psfs = np.broadcast_to(psf, (len(y), *psf.shape))
    config = PsfMatchConfig(**settings)
    return match_to_model(psfs, ModelPsf(fwhm=fwhm), y=y, x=x, domain=domain, config=config)


@BASES
@pytest.mark.parametrize(
    ("psf", "model_fwhm", "largest_gain"),
    [
        (star(3.0, 0.1), 7.7, 0.02),
        (star(5.0, 0.1), 7.7, 0.02),
        (star(6.5, 0.1), 7.7, 0.02),
        (star(3.0, 0.1), 4.5, 0.02),
        (star(4.0, 0.15, beta=3.0), 7.7, 0.02),
        (star(5.0, 0.1, beta=2.5), 11.0, 0.02),
        (star(2.0, 0.05, beta=3.5), 3.0, 0.08),
        (star(4.0, 0.1, beta=3.0), 4.2, 0.15),
    ],
)
def test_the_model_is_reached_at_little_cost_in_noise(basis, psf, model_fwhm, largest_gain):
    match = matched(psf, model_fwhm, basis=basis)
    reached = convolve(np.pad(psf, 40), match.kernel, dtype=np.float64)
    wanted = ModelPsf(fwhm=model_fwhm).adaptive_fwhm()
    moments = adaptive_moments(reached)

    assert moments.fwhm == pytest.approx(wanted, rel=0.01)
    assert moments.ellipticity < 0.003
    assert reached.sum() == pytest.approx(1.0, abs=1e-9)
    assert match.cells.noise_gain.max() <= largest_gain
    assert match.cells.residual.max() < 3e-4
    assert match.ridge == 1e-4


@BASES
@pytest.mark.parametrize("beta", [np.inf, 3.0])
@pytest.mark.parametrize("wider", [1.05, 1.2, 1.5, 2.0])
@pytest.mark.parametrize("fwhm", [2.0, 3.5, 6.5])
def test_no_model_costs_more_noise_than_a_gaussian_that_widens_as_much(basis, fwhm, wider, beta):
    psf = star(fwhm, 0.1, beta=beta)
    width = adaptive_moments(psf).fwhm
    model = ModelPsf(fwhm=fwhm).with_adaptive_fwhm(wider * width)

    match = matched(psf, model.fwhm, basis=basis)

    reached = adaptive_moments(convolve(np.pad(psf, 60), match.kernel, dtype=np.float64))
    assert reached.fwhm == pytest.approx(model.adaptive_fwhm(), rel=0.01)
    # sum K^2 of a Gaussian of variance s^2 is 1 / (4 pi s^2); that of a single pixel is 1
    variance = (model.adaptive_fwhm() ** 2 - width**2) / (8 * np.log(2))
    bound = min(1.0, 1 / (4 * np.pi * variance))
    assert match.cells.noise_gain.max() <= 1.1 * bound
    assert match.cells.noise_gain.max() <= 1.0
    if bound < 0.018:
        assert match.cells.noise_gain.max() <= 0.02


@BASES
def test_different_psfs_come_to_the_same_one(basis):
    reached = [
        resized_stamps(matched(psf, 7.7, basis=basis).matched, 61)
        for psf in (star(2.0), star(3.0, 0.1, beta=3.0), star(5.0, 0.1), star(6.0, 0.1, beta=3.0))
    ]
    peak = reached[0].max()

    for other in reached[1:]:
        np.testing.assert_allclose(other, reached[0], atol=0.006 * peak)


@BASES
def test_a_psf_that_varies_is_matched_everywhere(basis):
    y, x, domain = match_cells((700, 900))

    def psf_at(row, column, size=31):
        fwhm = 4.0 * (1 + 0.1 * (row - 350) / 350 + 0.05 * ((column - 450) / 450) ** 2)
        return star(fwhm, 0.05 + 0.05 * column / 900, beta=3.0, size=size)

    psfs = np.stack([psf_at(row, column) for row, column in zip(y, x, strict=True)])
    match = match_to_model(
        psfs, ModelPsf(fwhm=7.7), y=y, x=x, domain=domain, config=PsfMatchConfig(basis=basis)
    )
    assert match.spatial_order == 2
    for row, column in ((20, 30), (350, 450), (680, 40), (111, 880)):
        kernel = match.kernel.at(y=row, x=column)
        reached = convolve(np.pad(psf_at(row, column), 40), kernel, dtype=np.float64)
        moments = adaptive_moments(reached)
        assert kernel.sum() == pytest.approx(1.0, abs=1e-12)
        assert moments.fwhm == pytest.approx(match.target_fwhm, rel=3e-3)
        assert moments.ellipticity < 2e-3
    inside = (y > 0) & (y < 700) & (x > 0) & (x < 900)
    assert match.cells.residual[inside].max() < 1e-4
    assert match.cells.noise_gain.max() < 0.012


@BASES
def test_stars_in_an_image_get_the_width_of_the_model_and_keep_their_flux(basis, rng):
    image = np.zeros((260, 310))
    y, x, domain = match_cells(image.shape)
    truth = []
    for row, column in ((60, 80), (130, 200), (200, 110)):
        dy, dx = rng.uniform(-0.5, 0.5, 2)
        flux = rng.uniform(1e3, 1e4)
        image[row - 20 : row + 21, column - 20 : column + 21] += flux * star(
            3.4, 0.1, beta=3.0, dy=dy, dx=dx
        )
        truth.append((row, column, dy, dx, flux))
    psfs = np.broadcast_to(star(3.4, 0.1, beta=3.0), (len(y), 41, 41))

    match = match_to_model(
        psfs, ModelPsf(fwhm=7.7), y=y, x=x, domain=domain, config=PsfMatchConfig(basis=basis)
    )
    out = convolve(image, match.kernel)

    for row, column, dy, dx, flux in truth:
        box = out[row - 45 : row + 46, column - 45 : column + 46].astype(np.float64)
        moments = adaptive_moments(box)
        assert box.sum() == pytest.approx(flux, rel=3e-4)
        assert moments.fwhm == pytest.approx(ModelPsf(fwhm=7.7).adaptive_fwhm(), rel=2e-3)
        assert (moments.y - 45, moments.x - 45) == pytest.approx((dy, dx), abs=2e-3)


@BASES
def test_a_psf_that_is_not_symmetric_becomes_the_model(basis):
    psf = star(3.0) + 0.3 * star(3.5, dy=1.5, dx=-2.0)

    match = matched(psf, 7.7, basis=basis)
    reached = resized_stamps(match.matched, 61)

    target = resized_stamps(match.target, 61)
    np.testing.assert_allclose(reached, target, atol=6e-3 * target.max())


@BASES
@pytest.mark.parametrize(("fwhm", "model_fwhm"), [(6.0, 4.0), (5.0, 2.5)])
def test_deconvolution_is_limited_in_noise_and_shows(basis, fwhm, model_fwhm):
    match = matched(star(fwhm, 0.1, beta=3.0), model_fwhm, basis=basis)

    assert match.cells.noise_gain.max() <= 1.0
    assert match.cells.fwhm_in.min() > match.target_fwhm
    assert match.cells.negative.max() < -0.1
    freed = matched(star(fwhm, 0.1, beta=3.0), model_fwhm, basis=basis, max_noise_gain=None)
    assert freed.ridge == 1e-4
    assert (freed.cells.noise_gain.max() > 1.0) == (match.ridge > 1e-4)


def test_a_small_kernel_shows_in_its_ring_and_the_residual():
    good = matched(star(3.0), 7.7)
    small = matched(star(3.0), 7.7, kernel_size=9)

    assert good.cells.ring_fraction.max() < 0.01
    assert small.cells.ring_fraction.min() > 0.03
    assert small.cells.residual.min() > 1e-2


@pytest.mark.parametrize("kernel_size", [21, 25, 31, 35])
def test_kernels_of_a_given_size_reach_the_width_too(kernel_size):
    match = matched(star(3.0, 0.1), 7.7, kernel_size=kernel_size)

    assert match.kernel.images.shape[-1] == kernel_size
    assert match.cells.fwhm_out[0] == pytest.approx(ModelPsf(fwhm=7.7).adaptive_fwhm(), rel=0.01)


def test_a_constant_psf_gives_a_constant_kernel():
    match = matched(star(3.0, 0.1), 7.7)

    assert match.kernel.is_constant
    assert match.spatial_order == 0
    assert len(match.cells.y) == 1


def test_the_order_falls_where_cells_are_few():
    y, x, domain = (
        np.array([10.0, 30.0, 60.0]),
        np.array([5.0, 70.0, 20.0]),
        (-0.5, 79.5, -0.5, 99.5),
    )
    psfs = np.stack([star(fwhm) for fwhm in (3.0, 3.3, 3.1)])

    match = match_to_model(
        psfs, ModelPsf(fwhm=6.0), y=y, x=x, domain=domain, config=PsfMatchConfig()
    )

    assert match.spatial_order == 1
    assert match.cells.residual.max() < 1e-4


def test_the_wiener_kernel_of_one_psf_is_the_filter():
    psf = star(3.0, 0.1, size=31)
    match = matched(psf, 5.0, kernel_size=41, ridge=1e-3)
    side = 200
    wide_psf, wide_target = (
        np.fft.ifftshift(np.pad(resized_stamps(a, 99), (50, 51))) for a in (psf, match.target)
    )

    p, m = np.fft.fft2(wide_psf), np.fft.fft2(wide_target)
    kernel = np.fft.fftshift(np.fft.ifft2(p.conj() * m / (np.abs(p) ** 2 + 1e-3)).real)
    kernel = kernel[side // 2 - 20 : side // 2 + 21, side // 2 - 20 : side // 2 + 21]

    np.testing.assert_allclose(
        match.kernel.at(y=0, x=0), kernel / kernel.sum(), atol=1e-7 * kernel.max()
    )


def test_the_gaussian_basis_solves_its_least_squares_problem():
    psf = star(3.0, 0.1, size=21)
    match = matched(psf, 5.0, basis="al", kernel_size=15, sigmas=(1.0, 2.5), degrees=(2, 1))
    target = resized_stamps(match.target, 35)

    def light(kernel):
        return convolve(resized_stamps(psf, 35), kernel, dtype=np.float64).ravel()

    design = np.stack([light(kernel) for kernel in match.basis], axis=1)
    pixels = match.basis.reshape(len(match.basis), -1).T
    rows = np.concatenate([design, 1e-2 * pixels])
    data = np.concatenate([target.ravel(), np.zeros(len(pixels))])
    solution = np.linalg.lstsq(rows, data)[0]

    np.testing.assert_allclose(
        match.coefficients[:, 0, 0], solution / solution[0], atol=1e-9 * np.abs(solution).max()
    )


def test_valid_pixels_alone_can_be_fitted():
    psf = star(3.0, 0.1, size=25)
    match = matched(
        psf, 5.0, basis="al", kernel_size=15, sigmas=(1.0, 2.5), degrees=(2, 1),
        region="valid", ridge=0.0, taper=None, normalization="first",
    )  # fmt: skip
    inner = slice(7, -7)

    design = np.stack(
        [convolve(psf, kernel, dtype=np.float64)[inner, inner].ravel() for kernel in match.basis],
        axis=1,
    )
    solution = np.linalg.lstsq(design, match.target[inner, inner].ravel())[0]
    solution[0] = 1.0

    assert match.psf_size == 25
    np.testing.assert_allclose(match.coefficients[:, 0, 0], solution, atol=2e-5)


def test_both_ways_to_fit_a_varying_psf_agree(rng):
    y, x, domain = match_cells((300, 400))
    psfs = np.stack([star(3.0 + 0.002 * a + 0.001 * b, size=35) for a, b in zip(y, x, strict=True)])
    together = match_to_model(
        psfs, ModelPsf(fwhm=4.5), y=y, x=x, domain=domain,
        config=PsfMatchConfig(
            basis="al", kernel_size=25, sigmas=(1.0, 2.5), degrees=(2, 2), auto_pad_to=2.4
        ),
    )  # fmt: skip
    direct = match_to_model(
        psfs, ModelPsf(fwhm=4.5), y=y, x=x, domain=domain,
        config=PsfMatchConfig(
            basis="al", kernel_size=25, sigmas=(1.0, 2.5), degrees=(2, 2), auto_pad_to=2.4,
            region="valid",
        ),
    )  # fmt: skip

    # the stamps are padded so far that nearly all light is in the valid pixels of both
    for position in ({"y": 10.0, "x": 20.0}, {"y": 200.0, "x": 350.0}):
        a, b = together.kernel.at(**position), direct.kernel.at(**position)
        np.testing.assert_allclose(a, b, atol=0.02 * a.max())


@pytest.mark.parametrize(
    ("psfs", "words"),
    [
        (np.ones((3, 5)), "shape"),
        (np.ones((2, 4, 5)), "odd"),
        (np.zeros((2, 5, 5)), "no light"),
        (np.full((2, 5, 5), np.nan), "finite"),
    ],
)
def test_psfs_without_sense_are_refused(psfs, words):
    y = x = np.arange(len(psfs), dtype=float)
    with pytest.raises(ValueError, match=words):
        match_to_model(
            psfs, ModelPsf(), y=y, x=x, domain=(-0.5, 9.5, -0.5, 9.5), config=PsfMatchConfig()
        )
