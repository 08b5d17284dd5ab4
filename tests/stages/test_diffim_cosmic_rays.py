from dataclasses import replace

import numpy as np
import pytest

from skytool.core.difference.cosmic_rays import CosmicRayRule
from skytool.errors import AlgorithmError
from skytool.stages.diffim import DiffimConfig, subtract
from skytool.stages.diffim.sources import find_sources
from skytool.stages.diffim.sources_config import SourcesConfig
from tests.stages.pairs import SIGMA_SCIENCE, drawn, pair

CONFIG = DiffimConfig(mode="convolve-template")


@pytest.fixture
def struck(rng):
    """A pair with a transient, tracks in the science image, and their pixels."""
    science, template, _ = pair(rng, count=30)
    tracks = np.zeros(science.shape)
    for row in range(40, 360, 50):
        for column in range(45, 400, 60):
            height = 10 ** rng.uniform(1.5, 3.5)
            for k in range(rng.integers(1, 8)):
                tracks[row + k, column + 2 * k // 3] = height
    star = drawn(science.shape, [213.3], [135.6], [800.0], SIGMA_SCIENCE)
    image = (science.image + tracks + star).astype(np.float32)
    return science.with_values(image=image), template, tracks > 0


def found_in(difference):
    report = find_sources(difference, SourcesConfig(dipoles=False, forced=False))
    return report.catalogue.columns


def test_cosmic_rays_are_flagged_and_leave_no_sources(struck):
    science, template, tracks = struck

    cleaned, kept = (
        subtract(science, template, replace(CONFIG, cosmic_rays=wanted)) for wanted in (True, False)
    )
    sources = found_in(cleaned.difference)

    assert cleaned.difference.mask.any_of(["CR"])[tracks].mean() > 0.98
    assert cleaned.metrics["cosmic_ray_count"] == pytest.approx(42, abs=2)
    assert kept.metrics["cosmic_ray_count"] == 0
    assert not kept.difference.mask.any_of(["CR"]).any()
    assert len(sources["X"]) == 1
    assert np.hypot(sources["X"] - 135.6, sources["Y"] - 213.3) < 0.5
    assert len(found_in(kept.difference)["X"]) > 20


def test_an_image_without_cosmic_rays_has_none(rng):
    science, template, _ = pair(rng, count=50)

    result = subtract(science, template, CONFIG)

    assert result.metrics["cosmic_ray_count"] == 0


def test_a_science_image_that_is_convolved_is_not_searched(struck):
    science, template, _ = struck

    result = subtract(science, template, replace(CONFIG, mode="convolve-science"))

    assert result.metrics["cosmic_ray_count"] == 0


def test_more_cosmic_rays_than_are_believed_are_an_error(struck):
    science, template, _ = struck
    config = replace(CONFIG, cosmic_ray=CosmicRayRule(max_pixels=20))

    with pytest.raises(AlgorithmError, match="more than 20 pixels of cosmic rays") as caught:
        subtract(science, template, config)

    assert "--no-do-cosmic-rays" in caught.value.hint
