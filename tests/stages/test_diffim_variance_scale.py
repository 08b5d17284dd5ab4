from dataclasses import replace

import numpy as np
import pytest

from skytool.errors import AlgorithmError
from skytool.models.exposure import Exposure
from skytool.models.mask import Mask
from skytool.stages.diffim.config import DiffimConfig
from skytool.stages.diffim.variance_scale import scaled_variance

SHAPE = (230, 170)


def exposure(rng, *, scatter, variance=4.0):
    return Exposure(
        image=rng.normal(100.0, scatter, SHAPE).astype(np.float32),
        mask=Mask.empty(SHAPE),
        variance=np.full(SHAPE, variance, np.float32),
        name="a.fits",
    )


@pytest.mark.parametrize("source", ["difference", "images"])
def test_variance_is_scaled_to_the_scatter(rng, source):
    config = replace(DiffimConfig(), variance_from=source)

    variance, factor = scaled_variance(exposure(rng, scatter=3.0), config)

    # of 4e4 pixels; quartiles tell a standard deviation 1.65 times less well than all of them
    error = 2 * 1.65 * np.sqrt(1 / (2 * np.prod(SHAPE)))
    assert factor == pytest.approx(9 / 4, rel=5 * error)
    np.testing.assert_allclose(variance, 4.0 * factor, rtol=1e-6)


def test_scatter_beyond_belief_is_an_error_if_images_tell_the_noise(rng):
    config = replace(DiffimConfig(), variance_from="images", max_variance_factor=10.0)

    with pytest.raises(AlgorithmError, match=r"the scatter of a\.fits .* at most 10 is believed"):
        scaled_variance(exposure(rng, scatter=8.0), config)


def test_scatter_beyond_belief_is_left_to_the_difference(rng):
    crowded = exposure(rng, scatter=8.0)

    variance, factor = scaled_variance(crowded, DiffimConfig())

    assert factor == 1.0
    np.testing.assert_array_equal(variance, crowded.variance)
