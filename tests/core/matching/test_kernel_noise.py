import numpy as np
import pytest
from scipy import signal

from skytool.core.matching.kernel_basis import alard_lupton_basis
from skytool.core.matching.kernel_equations import (
    Equations,
    SpatialModel,
    single_equations,
    solve,
    spatial_equations,
)
from skytool.core.matching.kernel_fit import KernelFitter
from skytool.core.matching.kernel_fit_config import FitConfig
from skytool.core.matching.kernel_noise import light_shares, noise_of_columns
from skytool.core.matching.kernel_stamps import KernelStamps, cut_kernel_stamps

SIZE, HALF = 13, 8
SHAPE = (420, 380)
DOMAIN = (-0.5, SHAPE[0] - 0.5, -0.5, SHAPE[1] - 0.5)


def gaussian(sigma, side=31):
    at = np.arange(side) - side // 2
    image = np.exp(-0.5 * np.add.outer(at**2, at**2) / sigma**2)
    return image / image.sum()


def noise_stamps(n, variance=2.5, seed=41):
    rng = np.random.default_rng(seed)
    a, b = 2 * HALF + SIZE, 2 * HALF + 1
    place = np.linspace(40.0, 330.0, n)
    return KernelStamps(
        place,
        place[::-1],
        rng.normal(0.0, np.sqrt(variance), (n, a, a)),
        np.full((n, a, a), variance),
        rng.normal(0.0, 1.0, (n, b, b)),
        np.ones((n, a, a)),
        np.ones((n, b, b), np.bool_),
    )


def star_stamps(flux, seed=42, noise=(1.0, 1.0)):
    rng = np.random.default_rng(seed)
    at = np.arange(24, min(SHAPE) - 24, 24)
    y, x = (axis.ravel().astype(float) for axis in np.meshgrid(at, at, indexing="ij"))
    points = np.zeros(SHAPE)
    points[y.astype(int), x.astype(int)] = flux(rng, y.size)
    sharp = signal.fftconvolve(points, gaussian(1.5), mode="same")
    wide = signal.fftconvolve(points, gaussian(2.0), mode="same")
    source = sharp + rng.normal(0.0, np.sqrt(noise[0]), SHAPE)
    target = wide + rng.normal(0.0, np.sqrt(noise[1]), SHAPE)
    return cut_kernel_stamps(
        source,
        target,
        source_variance=np.full(SHAPE, noise[0]),
        target_variance=np.full(SHAPE, noise[1]),
        bad=np.zeros(SHAPE, np.bool_),
        y=y,
        x=x,
        kernel_size=SIZE,
        half=HALF,
    )


def fitted(stamps, *, correct):
    config = FitConfig(kernel_order=0, correct_noise=correct)
    cells = np.zeros(len(stamps), np.intp)
    basis = alard_lupton_basis(SIZE, (0.7, 1.4, 2.8))
    return KernelFitter(stamps, basis, cells, DOMAIN, config).fit()


def star_left(fit):
    """Light that the kernel leaves of a star, over its light, both as roots of sums of squares."""
    star = gaussian(1.5)
    matched = signal.fftconvolve(star, fit.kernel.at(y=200.0, x=180.0), mode="same")
    return np.linalg.norm(matched - gaussian(2.0)) / np.linalg.norm(star)


def test_noise_of_columns_is_what_columns_of_noise_have_on_average():
    stamps = noise_stamps(600)
    basis = alard_lupton_basis(SIZE, (1.0, 2.0), (2, 1))
    weight = np.random.default_rng(43).uniform(0.5, 1.5, (600, stamps.side**2))
    weight[:, :40] = 0.0
    found = noise_of_columns(stamps, basis, weight, own_constants=False).mean(axis=0)
    products = single_equations(
        stamps.columns(basis), stamps.target.reshape(600, -1), weight
    ).matrix[:, :-1, :-1]
    scale = np.sqrt(np.diag(found))
    error = products.std(axis=0) / np.sqrt(600)

    deviation = (products.mean(axis=0) - found) / error
    assert np.abs(deviation).max() < 5.0
    assert deviation.std() < 1.4
    assert np.all(error < 0.1 * np.outer(scale, scale))


def test_noise_of_columns_counts_the_constants_that_are_eliminated():
    stamps = noise_stamps(400)
    basis = alard_lupton_basis(SIZE, (6.0, 2.0), (2, 1))
    weight = np.ones((400, stamps.side**2))
    model = SpatialModel(
        n_basis=len(basis), kernel_order=1, scale_order=0, background_order=-1, domain=DOMAIN
    )
    equations = spatial_equations(
        model, stamps, stamps.columns(basis), weight, own_constants=True, basis=basis
    )
    measured, expected = np.diag(equations.matrix), np.diag(equations.noise)
    plain = model.spread(
        noise_of_columns(stamps, basis, weight, own_constants=False), np.ones((400, 3))
    )

    # each has at least 400 independent values for every element of the kernel
    assert measured == pytest.approx(expected, rel=0.08)
    assert equations.noise[0, 0] < 0.75 * plain[0, 0]


def test_a_solution_is_not_made_small_by_noise_of_the_columns():
    rng = np.random.default_rng(44)
    truth = np.array([2.0, -1.0, 0.5])
    columns = rng.normal(size=(200_000, 3)) @ np.diag([3.0, 2.0, 1.0])
    data = columns @ truth + rng.normal(size=200_000)
    noisy = columns + rng.normal(size=columns.shape)
    noise = 200_000.0 * np.eye(3)
    plain = Equations(noisy.T @ noisy, noisy.T @ data, np.asarray(data @ data))
    aware = Equations(plain.matrix, plain.vector, plain.power, noise)

    assert solve(plain).values == pytest.approx(truth * [0.9, 0.8, 0.5], rel=0.05)
    # 1 / (1 + 0.3^2 / p^2) of the power p = 9, 4, 1
    assert solve(aware).values == pytest.approx(truth * [0.999, 0.994, 0.917], rel=0.03)


def test_directions_of_nothing_but_noise_are_not_blown_up():
    noise = np.diag([1.0, 1.0])
    equations = Equations(np.diag([101.0, 1.0]), np.array([100.0, 0.1]), np.asarray(120.0), noise)

    values = solve(equations).values
    assert values[0] == pytest.approx(1.0, abs=1e-4)
    assert values[1] == pytest.approx(0.1)


def test_noise_that_the_columns_do_not_have_is_not_taken_off():
    matrix = np.diag([101.0, 50.0, 1e-3])
    vector = np.array([101.0, 25.0, 1e-3])
    equations = Equations(matrix, vector, np.asarray(150.0), np.eye(3))

    assert solve(equations).values == pytest.approx([1.0, 0.5, 1.0], rel=1e-4)


def test_equations_with_noise_add_up_and_come_apart():
    rng = np.random.default_rng(45)
    first, second = (
        Equations(
            rng.normal(size=(4, 4)), rng.normal(size=4), np.asarray(k), rng.normal(size=(4, 4))
        )
        for k in (3.0, 5.0)
    )
    again = first + second - second
    few = np.array([0, 2])

    assert again.noise == pytest.approx(first.noise)
    assert again.matrix == pytest.approx(first.matrix)
    assert np.array_equal(first.of(few).noise, first.noise[np.ix_(few, few)])
    values = rng.normal(size=4)
    assert first.chi2_of_signal(values) == pytest.approx(
        first.chi2(values) - values @ first.noise @ values
    )


def test_a_kernel_of_faint_stars_leaves_less_of_bright_ones():
    left = []
    for correct in (False, True):
        stamps = star_stamps(lambda _, n: np.full(n, 150.0), noise=(3.0, 1.0))
        left.append(star_left(fitted(stamps, correct=correct)))

    assert left[0] > 0.02
    assert left[1] < 0.6 * left[0]


def test_faint_stars_do_not_spoil_the_kernel_of_bright_ones():
    def flux(rng, n):
        return np.where(np.arange(n) % 12 == 0, 5e3, 60.0)

    stamps = star_stamps(flux)
    plain, aware = (star_left(fitted(stamps, correct=correct)) for correct in (False, True))

    assert aware < plain


def test_the_light_of_stamps_does_not_prefer_one_sign_of_the_difference():
    stamps = star_stamps(lambda _, n: np.full(n, 60.0), noise=(1.0, 4.0))
    fitter = KernelFitter(
        stamps,
        alard_lupton_basis(SIZE, (0.7, 1.4, 2.8)),
        np.zeros(len(stamps), np.intp),
        DOMAIN,
        FitConfig(kernel_order=0),
    )
    star = gaussian(2.0)[7:24, 7:24]
    kernel = gaussian(np.sqrt(2.0**2 - 1.5**2), SIZE)
    matched = np.stack([signal.fftconvolve(each, kernel, mode="valid") for each in stamps.source])
    difference = np.tensordot(stamps.target - matched, star, axes=2)
    share = fitter.share - fitter.share.mean()
    correlation = np.corrcoef(share, difference)[0, 1]

    assert np.all((fitter.share > 0.0) & (fitter.share < 0.5))
    assert abs(correlation) < 4.0 / np.sqrt(len(stamps))


def test_bright_stars_count_in_full_and_faint_ones_hardly():
    stamps = star_stamps(lambda _, n: np.where(np.arange(n) % 2 == 0, 1e5, 10.0))
    weight = np.full((len(stamps), stamps.side**2), 0.5)
    kernel = gaussian(np.sqrt(2.0**2 - 1.5**2), SIZE)
    share = light_shares(stamps, stamps.target.reshape(len(stamps), -1), weight, kernel=kernel)

    assert share[::2].min() > 0.99
    assert share[1::2].max() < 0.05
