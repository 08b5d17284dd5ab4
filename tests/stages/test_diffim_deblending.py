import numpy as np
import pytest

from skytool.core.difference.dipole import DipoleRule
from skytool.stages.diffim.sources import find_sources
from skytool.stages.diffim.sources_config import SourcesConfig
from tests.core.points import add_stars
from tests.stages.test_diffim_sources import ERROR, SIGMA, exposure, noise

APART = 11.0  # 2.3 times the width of a star


@pytest.fixture
def neighbours(rng):
    """An image with two sources that touch, once of one sign and once of both, and one alone."""
    y = np.array([100.2, 106.8, 200.4, 207.0, 300.0])
    x = np.array([100.3, 109.1, 250.7, 259.5, 400.0])
    flux = ERROR * np.array([40.0, 25.0, 40.0, -25.0, 30.0])
    return add_stars(noise(rng), y=y, x=x, flux=flux, sigma=SIGMA), y, x, flux


def test_sources_that_touch_are_listed_each_by_itself(neighbours):
    image, y, x, flux = neighbours
    found = find_sources(exposure(image), SourcesConfig()).catalogue.columns
    distance = np.hypot(found["Y"][:, None] - y, found["X"][:, None] - x)
    row = distance.argmin(axis=0)

    assert len(found["ID"]) == 5
    assert sorted(row) == list(range(5))
    assert distance.min(axis=0).max() < 0.5
    assert np.abs((found["FLUX"][row] - flux) / found["FLUXERR"][row]).max() < 4.5
    np.testing.assert_array_equal(found["NEGATIVE"][row], flux < 0)
    assert not found["DIPOLE"].any()
    assert found["NPEAKS"][row].tolist() == [2, 2, 2, 2, 1]
    parents = found["PARENT"][row]
    assert parents[0] == parents[1] == min(found["ID"][row[:2]])
    assert parents[2] == parents[3] == min(found["ID"][row[2:4]])
    assert parents[4] == 0


def test_without_deblending_a_footprint_is_one_source(neighbours):
    image, *_ = neighbours
    report = find_sources(exposure(image), SourcesConfig(deblend=False))

    assert len(report.catalogue) == 3
    assert not np.any(report.catalogue.columns["PARENT"])


def test_lobes_farther_apart_than_the_rule_says_are_two_sources(neighbours):
    image, y, x, _ = neighbours
    config = SourcesConfig(dipole=DipoleRule(max_separation=np.inf))
    found = find_sources(exposure(image), config).catalogue.columns

    assert len(found["ID"]) == 4
    (dipole,) = np.flatnonzero(found["DIPOLE"])
    assert np.hypot(found["X"][dipole] - x[2:4].mean(), found["Y"][dipole] - y[2:4].mean()) < 2.0
    assert found["DIPSEP"][dipole] == pytest.approx(APART, abs=1.0)


def test_noise_makes_no_blends_of_bright_sources(rng):
    y, x = (at.ravel() for at in np.mgrid[40:400:60.0, 40:540:60.0])
    image = add_stars(noise(rng), y=y, x=x, flux=np.full(y.size, 3000 * ERROR), sigma=SIGMA)

    report = find_sources(exposure(image), SourcesConfig())

    assert len(report.catalogue) == y.size


def test_extended_light_is_not_broken_into_points(rng):
    image = add_stars(noise(rng), y=[200.0], x=[280.0], flux=[400 * ERROR], sigma=14.0)
    made = exposure(image)
    settings = {"subtract_background": False, "scale_score": False}

    whole = find_sources(made, SourcesConfig(**settings)).catalogue
    broken = find_sources(made, SourcesConfig(prominence=0.0, **settings)).catalogue

    assert len(whole) == 1
    assert whole.columns["NPEAKS"][0] > 3
    assert len(broken) > 2
