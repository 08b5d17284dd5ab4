import numpy as np
import pytest

from skytool.core.matching.kernel_regularization import (
    central_penalty,
    forward_penalty,
    minimum_risk_strength,
    relative_strength,
)


def cost(penalty, kernel):
    return kernel.ravel() @ penalty[: kernel.size, : kernel.size] @ kernel.ravel()


@pytest.mark.parametrize("stencil", [5, 9])
def test_the_central_penalty_is_the_sum_of_squared_laplacians_and_border_values(rng, stencil):
    kernel = rng.normal(size=(7, 7))
    weights = {
        5: np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]),
        9: np.array([[1, 4, 1], [4, -20, 4], [1, 4, 1]]) / 6,
    }[stencil]
    windows = np.lib.stride_tricks.sliding_window_view(kernel, (3, 3))
    inner = (windows * weights).sum(axis=(2, 3))
    border = np.ones((7, 7), bool)
    border[1:-1, 1:-1] = False

    penalty = central_penalty(7, stencil=stencil, border_penalty=2.0)

    expected = np.sum(inner**2) + 4.0 * np.sum(kernel[border] ** 2)
    assert cost(penalty, kernel) == pytest.approx(expected, rel=1e-12)


def test_forward_differences_of_both_axes_are_added_before_squaring(rng):
    kernel = rng.normal(size=(5, 5))
    operator = 0.0
    for k, back in ((kernel, lambda a: a), (kernel.T, np.transpose)):
        first = np.zeros((5, 5))
        first[:, :-1] = np.diff(k, axis=1)
        first[:, -1] = 3.0 * k[:, -1]
        operator = operator + back(first)

    penalty = forward_penalty(5, orders=(1,), with_background=False)

    assert cost(penalty, kernel) == pytest.approx(np.sum(operator**2), rel=1e-12)


def test_the_order_of_forward_differences_falls_towards_the_far_edge():
    line = np.array([0.3, -1.0, 2.0, 0.7])
    rows = [
        -line[0] + 3 * line[1] - 3 * line[2] + line[3],
        -line[1] + 2 * line[2] - line[3],
        -line[2] + line[3],
        3.0 * line[3],
    ]
    kernel = np.zeros((4, 4))
    kernel[3] = line
    down = np.stack([line, -3 * line, 2 * line, 3 * line])  # the same orders along y, at each row
    down[0], down[1] = 1 * line, -line
    down[2] = line

    penalty = forward_penalty(4, orders=(3,))

    total = down.copy()
    total[3] = 3.0 * line + rows
    assert cost(penalty, kernel) == pytest.approx(np.sum(total**2), rel=1e-12)


def test_penalties_are_positive_and_leave_the_background_free():
    for penalty in (central_penalty(5), forward_penalty(5)):
        assert penalty.shape == (26, 26)
        np.testing.assert_array_equal(penalty, penalty.T)
        assert np.linalg.eigvalsh(penalty[:-1, :-1]).min() > 0
        assert not penalty[-1].any()


def test_unknown_stencils_and_orders_are_refused():
    with pytest.raises(ValueError, match="5 or 9"):
        central_penalty(5, stencil=7)
    with pytest.raises(ValueError, match="1 to 3"):
        forward_penalty(5, orders=(4,))


def test_the_relative_strength_balances_the_traces(rng):
    data = rng.normal(size=(60, 26))
    matrix = data.T @ data

    strength = relative_strength(matrix, central_penalty(5), 1e-3)

    assert strength * np.trace(central_penalty(5)) == pytest.approx(1e-3 * np.trace(matrix))


def test_the_strength_of_least_risk_is_near_the_one_of_least_error(rng):
    offsets = np.arange(9) - 4
    truth = np.exp(-0.5 * (offsets[:, None] ** 2 + offsets**2) / 4.0).ravel()
    strengths = 10.0 ** np.arange(-2, 4.1, 0.25)
    penalty = central_penalty(9, with_background=False, border_penalty=0.3)
    ratios = []
    for _ in range(20):
        design = rng.normal(size=(200, 81))
        data = design @ truth + rng.normal(size=200)
        matrix, vector = design.T @ design, design.T @ data
        solutions = [np.linalg.solve(matrix + s * penalty, vector) for s in strengths]
        errors = [np.sum((solution - truth) ** 2) for solution in solutions]
        chosen = minimum_risk_strength(matrix, vector, penalty, strengths)
        ratios.append(errors[list(strengths).index(chosen)] / min(errors))

    assert np.mean(ratios) < 1.5
    assert errors[0] > 2 * min(errors)


def test_a_strength_must_be_on_offer():
    with pytest.raises(ValueError, match="no strength"):
        minimum_risk_strength(np.eye(2), np.ones(2), np.eye(2), [])
