import numpy as np
import pytest

from skytool.core.dcr.gain import convergence_metric, next_gain


def test_first_steps_have_the_base_gain():
    assert next_gain([0.1], [], base_gain=0.5) == 0.5
    assert next_gain([0.1, 0.07], [0.5], base_gain=0.5) == 0.5


def test_gain_grows_with_good_predictions():
    # final metrics 0.01 and 0.025, median 0.0175: predicted 0.0525, found 0.055
    gain = next_gain([0.10, 0.07, 0.055], [0.5, 0.5], base_gain=0.5)

    assert gain == pytest.approx((1 - 0.0025 / 0.035 + 0.5) / 2)


def test_gain_does_not_grow_unless_asked():
    assert next_gain([0.10, 0.07, 0.055], [0.5, 0.5], base_gain=0.5, progressive=False) == 0.5


def test_gain_survives_metrics_that_stand_still():
    assert next_gain([0.1, 0.1, 0.1], [0.5, 0.5], base_gain=0.5) == 0.75


def test_metric_is_relative():
    image, template = np.array([2.0, 4.0]), np.array([1.0, 4.0])

    assert convergence_metric(image, template, np.ones(2)) == pytest.approx(1 / 5.5)
    assert convergence_metric(np.zeros(0), np.zeros(0), np.zeros(0)) == 0.0
