import numpy as np
import pytest

from skytool.core.difference.cosmic_rays import CosmicRayRule, find_cosmic_rays
from tests.core.points import add_stars, gaussian, lattice

SHAPE = (260, 330)
VARIANCE = np.full(SHAPE, 4.0, np.float32)


def nothing():
    return np.zeros(SHAPE, np.bool_)


def noise(rng):
    return (2.0 * rng.normal(size=SHAPE)).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.65, 1.2, 2.4])
def test_no_star_of_any_brightness_or_phase_is_a_cosmic_ray(rng, sigma):
    y, x = lattice(SHAPE, 30, rng)
    image = add_stars(noise(rng), y=y, x=x, flux=10 ** rng.uniform(2, 6, y.size), sigma=sigma)

    found, count = find_cosmic_rays(
        image.astype(np.float32), VARIANCE, nothing(), gaussian(sigma), CosmicRayRule()
    )

    assert count == 0
    assert not found.any()


@pytest.mark.parametrize("step", [(0, 1), (1, 0), (1, 1), (1, -1)])
def test_tracks_are_found_from_end_to_end(rng, step):
    image, truth = noise(rng), nothing()
    for row in range(30, 230, 40):
        for column in range(30, 300, 45):
            for k in range(9):
                truth[row + k * step[0], column + k * step[1]] = True
    image[truth] += 40.0  # 20 sigma

    found, count = find_cosmic_rays(image, VARIANCE, nothing(), gaussian(1.5), CosmicRayRule())

    assert count == 30
    assert found[truth].all()
    # of 660 pixels beside them one is 3 sigma high by chance
    assert np.count_nonzero(found & ~truth) <= 5


def test_a_ray_on_a_star_is_found(rng):
    image = add_stars(noise(rng), y=[130.3], x=[160.2], flux=[3000.0], sigma=2.0)
    image[131, 162] += 1500.0

    found, count = find_cosmic_rays(
        image.astype(np.float32), VARIANCE, nothing(), gaussian(2.0), CosmicRayRule()
    )

    assert count == 1
    assert np.argwhere(found).tolist() == [[131, 162]]


def test_low_dim_and_masked_pixels_are_left(rng):
    image = 0.1 * noise(rng)
    image[50, 60], image[90, 100], image[120, 140] = 60.0, 80.0, 300.0
    bad = nothing()
    bad[90, 100] = True

    def places(**settings):
        rule = CosmicRayRule(**settings)
        found, _ = find_cosmic_rays(image, VARIANCE, bad, gaussian(1.5), rule)
        return np.argwhere(found).tolist()

    assert places() == [[50, 60], [120, 140]]
    assert places(threshold=31.0) == [[120, 140]]
    assert places(min_counts=100.0) == [[120, 140]]


def test_more_pixels_than_are_believed_are_an_error(rng):
    image = noise(rng)
    image[::4, ::4] += 100.0

    with pytest.raises(ValueError, match="more than 1000 pixels"):
        find_cosmic_rays(image, VARIANCE, nothing(), gaussian(1.5), CosmicRayRule(max_pixels=1000))


def test_pixels_at_the_corners_are_judged_by_what_there_is(rng):
    image = noise(rng)
    image[0, 0], image[0, 100], image[259, 329] = 90.0, 90.0, 90.0

    found, _ = find_cosmic_rays(image, VARIANCE, nothing(), gaussian(1.5), CosmicRayRule())

    # a corner has no pair of opposite neighbours
    assert np.argwhere(found).tolist() == [[0, 100]]
