import numpy as np
import pytest

from skytool.core.psf.adaptive_moments import adaptive_moments
from skytool.core.psf.peaks import Peaks, find_peaks
from skytool.core.psf.star_selection import Surroundings, saturation_level, stellar_size, thinned
from skytool.core.psf.star_stamps import cut_stamps, star_moments

SHAPE = (180, 230)


def gaussians(y, x, flux, sigma=1.6, shape=SHAPE):
    image = np.zeros(shape)
    rows, columns = np.indices(shape)
    for at_y, at_x, light in np.broadcast(y, x, flux):
        squared = (rows - at_y) ** 2 + (columns - at_x) ** 2
        image += light * np.exp(-0.5 * squared / sigma**2) / (2 * np.pi * sigma**2)
    return image


def test_peaks_are_found_where_stars_are(rng):
    y, x = np.array([20.3, 90.0, 150.7, 60.2]), np.array([30.6, 200.4, 77.0, 120.9])
    flux = np.array([400.0, 300.0, 200.0, 100.0])
    image = gaussians(y, x, flux) + rng.normal(size=SHAPE)
    found = find_peaks(image.astype(np.float32), np.zeros(SHAPE, np.bool_), sigma=1.6)

    assert len(found) == 4
    # the S/N of a matched filter is flux / (2 sqrt(pi) sigma)
    np.testing.assert_allclose(found.significance, flux / (2 * np.sqrt(np.pi) * 1.6), rtol=0.15)
    np.testing.assert_allclose(found.y, y, atol=0.25)
    np.testing.assert_allclose(found.x, x, atol=0.25)


def test_noise_alone_has_hardly_a_peak_above_five_sigma(rng):
    # smoothing correlates pixels: their noise is measured on what is smoothed
    noise = rng.normal(size=SHAPE)
    noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)).astype(np.float32)

    assert len(find_peaks(noise, np.zeros(SHAPE, np.bool_), sigma=1.6)) == 0


def test_bad_pixels_are_no_peaks(rng):
    image = rng.normal(size=SHAPE).astype(np.float32)
    bad = np.zeros(SHAPE, np.bool_)
    bad[40:44, 50:54] = True
    image[bad] = 0.0

    assert len(find_peaks(image, bad, sigma=1.6)) == 0
    assert len(find_peaks(image, np.ones(SHAPE, np.bool_), sigma=1.6)) == 0


def test_moments_of_many_stars_are_those_of_each(rng):
    y, x = rng.integers(30, 150, 12), rng.integers(30, 200, 12)
    image = rng.normal(0, 0.2, SHAPE)
    for at_y, at_x in zip(y, x, strict=True):
        image += gaussians([at_y + 0.2], [at_x - 0.3], 3000.0, rng.uniform(1.2, 2.4))
    stamps = cut_stamps(image, y, x, 12, fill=0.0)
    found = star_moments(stamps, 2.0)

    for number, stamp in enumerate(stamps):
        try:
            one = adaptive_moments(stamp)
        except ValueError:
            continue
        if not np.isfinite(found.yy[number]) or np.hypot(one.y - 12, one.x - 12) > 2:
            continue
        # the weight is cut off nearer to the centre
        assert found.yy[number] == pytest.approx(one.yy, rel=2e-3)
        assert found.xx[number] == pytest.approx(one.xx, rel=2e-3)
        assert found.y[number] == pytest.approx(one.y - 12, abs=2e-3)
    assert np.isfinite(found.yy).sum() >= 8


def test_a_stamp_without_a_star_has_no_moments():
    found = star_moments(np.stack([np.zeros((21, 21)), -np.ones((21, 21))]), 2.0)

    assert np.isnan(found.radius).all()
    assert np.isnan(found.flux).all()


def test_stamps_reach_over_the_border():
    plane = np.arange(12.0).reshape(3, 4)
    stamps = cut_stamps(plane, np.array([0, 2]), np.array([0, 3]), 1, fill=-1.0)

    np.testing.assert_array_equal(stamps[0], [[-1, -1, -1], [-1, 0, 1], [-1, 4, 5]])
    np.testing.assert_array_equal(stamps[1], [[6, 7, -1], [10, 11, -1], [-1, -1, -1]])


def test_the_size_of_stars_is_the_most_frequent_one(rng):
    stars = np.log(1.5) + rng.normal(0, 0.01, 40)
    galaxies = rng.uniform(np.log(1.7), np.log(6.0), 160)
    cosmic_rays = np.log(0.5) + rng.normal(0, 0.1, 20)
    sizes = np.concatenate([galaxies, stars, cosmic_rays])

    assert stellar_size(sizes, np.full(sizes.size, 0.02)) == pytest.approx(np.log(1.5), abs=0.02)


def test_light_of_neighbours_falls_off_with_their_distance():
    peaks = Peaks(
        np.array([50.0, 50.0, 80.0, 10.0]),
        np.array([50.0, 58.0, 50.0, 200.0]),
        np.array([100.0, 20.0, 500.0, 900.0]),
    )
    around = Surroundings(peaks, 3.0)

    others, distance = around.near(0, 31.0)
    assert sorted(others.tolist()) == [1, 2]
    assert sorted(distance.tolist()) == [8.0, 30.0]
    assert around.brightest(0, 10.0) == pytest.approx(0.2)
    assert around.brightest(0, 31.0) == pytest.approx(5.0)
    assert around.light(3) == 0.0
    halo = around.halo(np.array([0.0, 2.25, 8.0, 30.0]))
    assert halo[0] == 1.0
    assert halo[1] == pytest.approx(0.5)  # half of the width, which is half as wide again
    assert (np.diff(halo) < 0).all()
    assert around.light(0) == pytest.approx(0.2 * halo[2] + 5.0 * halo[3])


def test_a_pile_of_flat_peaks_is_saturation(rng):
    bright = 10 ** rng.uniform(3, 5.5, 200)
    clipped = np.minimum(bright, 6e4)
    plateau = np.where(bright > 9e4, clipped, 0.6 * clipped)

    level = saturation_level(clipped, plateau)
    assert 0.9 * 6e4 < level <= 6e4
    assert saturation_level(bright, 0.6 * bright) is None
    # equal stars are no saturated ones
    assert saturation_level(np.full(9, 6e4), np.full(9, 4e4)) is None
    assert saturation_level(np.empty(0), np.empty(0)) is None


def test_thinning_takes_the_brightest_of_every_part(rng):
    y, x = rng.uniform(0, 179, 300), rng.uniform(0, 229, 300)
    y[:200], x[:200] = y[:200] / 4, x[:200] / 4  # crowded in a corner
    snr = rng.uniform(20, 900, 300)
    kept = thinned(y, x, snr, shape=SHAPE, most=60)

    assert kept.sum() == 60
    # in the corner are two thirds of the stars and a sixteenth of the area
    assert np.count_nonzero(kept[:200]) < 30
    assert thinned(y, x, snr, shape=SHAPE, most=300).all()
