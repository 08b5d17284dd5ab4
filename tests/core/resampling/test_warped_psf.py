import numpy as np
import pytest

from skytool.core.psf.adaptive_moments import adaptive_moments
from skytool.core.resampling.kernels import KERNEL_NAMES, lanczos
from skytool.core.resampling.warped_psf import AREA_KERNELS, check_matrix, warped_shape, warped_star

SIGMA = 1.8


def star(shape, *, y, x, sigma=SIGMA):
    down, right = np.indices(shape)
    stamp = np.exp(-((down - y) ** 2 + (right - x) ** 2) / (2 * sigma**2))
    return stamp / stamp.sum()


def turned(degrees, scale=1.0):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return scale * np.array([[c, -s], [s, c]])


def lattice(shape):
    return tuple(np.arange(n) - n // 2 + 0.0 for n in shape)


def test_a_map_that_is_the_identity_copies_the_stamp():
    stamp = star((25, 31), y=12.3, x=14.6)
    rows, columns = lattice((25, 31))

    for kernel in KERNEL_NAMES:
        made = warped_star(stamp, np.eye(2), y=12, x=15, rows=rows, columns=columns, kernel=kernel)
        # the filter of a spline undoes itself to rounding, and to what lies beyond the stamp
        np.testing.assert_allclose(made, stamp, rtol=0, atol=1e-9)


def test_lanczos_is_the_normalised_sum_over_its_taps():
    stamp = star((21, 27), y=10.2, x=13.4)
    matrix = turned(17, 1.1)
    rows, columns = lattice((15, 17))

    made = warped_star(stamp, matrix, y=10.2, x=13.4, rows=rows, columns=columns)

    padded = np.pad(stamp, 12)
    taps = np.arange(-2, 4)
    expected = np.zeros((15, 17))
    for j, row in enumerate(rows):
        for i, column in enumerate(columns):
            v, u = np.array([22.2, 25.4]) + matrix @ (row, column)
            along_y = lanczos(taps - (v - np.floor(v)), 3)
            along_x = lanczos(taps - (u - np.floor(u)), 3)
            pixels = padded[np.ix_(int(np.floor(v)) + taps, int(np.floor(u)) + taps)]
            expected[j, i] = along_y @ pixels @ along_x / (along_y.sum() * along_x.sum())
    # the table of weights is linear between its phases
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-7 * stamp.max())


@pytest.mark.parametrize("kernel", [*KERNEL_NAMES, *AREA_KERNELS])
def test_a_star_keeps_its_centre_and_width(kernel):
    matrix = turned(31, 0.9)
    stamp = star((35, 35), y=17.3, x=16.8)
    rows, columns = lattice((41, 43))

    made = warped_star(stamp, matrix, y=17.3, x=16.8, rows=rows, columns=columns, kernel=kernel)

    found = adaptive_moments(made)
    sharp = {"lanczos3", "lanczos4", "lanczos5", "spline3"}
    # others average over pixels of at most 1.3, of which the variance is a twelfth, or more
    widest = SIGMA**2 + {"adaptive": 0.6, "nearest": 0.25}.get(kernel, 0.22)
    assert abs(found.y - 20) < (0.003 if kernel in sharp else 0.15)
    assert abs(found.x - 21) < (0.003 if kernel in sharp else 0.15)
    if kernel in sharp:
        assert found.yy * 0.81 == pytest.approx(SIGMA**2, rel=0.01)
    assert SIGMA**2 * 0.99 < 0.81 * found.yy < widest


def test_samples_within_a_pixel_are_averaged():
    stamp = star((61, 61), y=30.1, x=29.7, sigma=5.0)
    matrix = turned(8, 3.0)
    rows, columns = lattice((13, 13))
    shared = {"y": 30.1, "x": 29.7, "kernel": "spline3"}

    averaged = warped_star(stamp, matrix, rows=rows, columns=columns, oversample=3, **shared)

    parts = [
        warped_star(stamp, matrix, rows=rows + dy, columns=columns + dx, **shared)
        for dy in (-1 / 3, 0, 1 / 3)
        for dx in (-1 / 3, 0, 1 / 3)
    ]
    np.testing.assert_allclose(averaged, np.mean(parts, axis=0), rtol=0, atol=1e-15)


def test_beyond_the_stamp_there_is_nothing():
    rows, columns = np.arange(40.0, 45.0), np.arange(-3.0, 4.0)

    made = warped_star(
        star((21, 21), y=10, x=10), np.eye(2), y=10, x=10, rows=rows, columns=columns
    )

    assert not made.any()


@pytest.mark.parametrize(
    ("matrix", "shape"),
    [
        (np.eye(2), (21, 27)),
        (np.array([[0.0, 1.0], [-1.0, 0.0]]), (27, 21)),
        (turned(5), (23, 29)),  # 21 cos 5 + 27 sin 5 = 23.3, 21 sin 5 + 27 cos 5 = 28.7
        (turned(0, 2.0), (11, 13)),
        (turned(0, 50.0), (1, 1)),
    ],
)
def test_the_stamp_is_the_box_about_the_turned_one(matrix, shape):
    assert warped_shape((21, 27), matrix) == shape


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (turned(0, 201.0), "unexpectedly large transform"),
        (np.array([[1.0, 2.0], [2.0, 4.0]]), "singular"),
        (np.full((2, 2), np.nan), "no value"),
    ],
)
def test_an_impossible_map_is_refused(matrix, words):
    with pytest.raises(ValueError, match=words):
        check_matrix(matrix)
    with pytest.raises(ValueError, match=words):
        warped_shape((21, 21), matrix)


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match="lanczos7"):
        warped_star(
            star((9, 9), y=4, x=4),
            np.eye(2),
            y=4,
            x=4,
            rows=np.zeros(1),
            columns=np.zeros(1),
            kernel="lanczos7",
        )
