from dataclasses import replace

import numpy as np
import pytest

from skytool.errors import AlgorithmError
from skytool.models.exposure import Exposure
from skytool.models.mask import Mask
from skytool.stages.diffim import subtract
from skytool.stages.diffim.config import DiffimConfig
from skytool.stages.diffim.variance_scale import difference_factor, scaled_variance
from tests.stages.pairs import drawn, pair

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


@pytest.mark.parametrize("source", ["difference", "images"])
def test_scatter_beyond_belief_is_an_error_with_the_factor_and_the_remedy(rng, source):
    config = replace(DiffimConfig(), variance_from=source)
    absurd = exposure(rng, scatter=2.0 * np.sqrt(13.0))

    with pytest.raises(AlgorithmError, match=r"the scatter of a\.fits .* at most 10 is") as found:
        scaled_variance(absurd, config)

    assert found.value.facts["factor"] == pytest.approx(13.0, rel=0.06)
    assert "--max-variance-factor" in found.value.hint


def test_a_factor_that_is_allowed_is_taken(rng):
    config = replace(DiffimConfig(), max_variance_factor=20.0)

    _, factor = scaled_variance(exposure(rng, scatter=2.0 * np.sqrt(13.0)), config)

    assert factor == pytest.approx(13.0, rel=0.06)


def test_crowded_images_are_left_to_the_difference(rng):
    empty = exposure(rng, scatter=2.0)
    y, x = (rng.uniform(0, size - 1, 900) for size in SHAPE)
    stars = drawn(SHAPE, y, x, 10 ** rng.uniform(2.8, 4.2, 900), 1.7)
    crowded = empty.with_values(image=(empty.image + stars).astype(np.float32))
    images = replace(DiffimConfig(), variance_from="images")

    variance, factor = scaled_variance(crowded, DiffimConfig())

    assert factor == 1.0
    np.testing.assert_array_equal(variance, crowded.variance)
    with pytest.raises(AlgorithmError):
        scaled_variance(crowded, images)


@pytest.mark.parametrize("wrong", [(13, 1), (1, 13), (13, 13)])
def test_an_absurd_variance_of_either_image_stops_a_difference(rng, wrong):
    images = pair(rng, shape=(260, 300), count=30, fluxes=(3.3, 4.3))[:2]
    science, template = (
        each.with_values(variance=each.variance / np.float32(factor))
        for each, factor in zip(images, wrong, strict=True)
    )
    name = science.name if wrong[0] > 1 else template.name

    with pytest.raises(AlgorithmError, match=rf"the scatter of {name} is 1[23]") as found:
        subtract(science, template, DiffimConfig())

    # 8e4 pixels, of which second differences are as good as a sixth
    assert found.value.facts["factor"] == pytest.approx(13.0, rel=0.06)


def test_a_difference_that_scatters_beyond_belief_is_an_error(rng):
    image = rng.normal(0.0, 4.0, SHAPE).astype(np.float32)
    flat, good = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.bool_)

    with pytest.raises(AlgorithmError, match=r"scatter of the difference is 1[56]"):
        difference_factor(image, flat, good, DiffimConfig())

    unscaled = replace(DiffimConfig(), scale_variance=False)
    assert difference_factor(image, flat, good, unscaled) == 1.0
