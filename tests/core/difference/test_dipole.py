import numpy as np
import pytest

from skytool.core.difference.detection import detect
from skytool.core.difference.dipole import DipoleRule, ImagePart, fit_dipole
from skytool.core.difference.score import matched_filter
from skytool.core.difference.source_measure import Pixels
from tests.core.points import add_stars, gaussian_psf, lattice

SHAPE = (340, 460)
SIGMA = 2.4
SHIFT = (0.8, 0.6)  # y, x


@pytest.fixture(scope="module")
def psf():
    return gaussian_psf(SHAPE, SIGMA).trimmed()


def shifted_pair(rng, ratio=1.0, low=3.3):
    """Return the difference and both images of stars that moved, and the truth."""
    y, x = lattice(SHAPE, 55, rng)
    flux = 10 ** rng.uniform(low, 4.3, y.size)
    science, template = rng.standard_normal((2, *SHAPE))
    add_stars(science, y=y, x=x, flux=flux, sigma=SIGMA)
    add_stars(template, y=y - SHIFT[0], x=x - SHIFT[1], flux=ratio * flux, sigma=SIGMA)
    nothing = np.zeros(SHAPE, np.bool_)
    pixels = [
        Pixels.usable(image, np.full(SHAPE, variance), nothing)
        for image, variance in ((science - template, 2.0), (science + 7, 1.0), (template + 7, 1.0))
    ]
    return pixels, y, x, flux


def parts_of(pixels, psf, n=3):
    signs = [(1.0, -1.0), (1.0, 0.0), (0.0, 1.0)]
    return [ImagePart(p, psf, sign) for p, sign in zip(pixels[:n], signs, strict=False)]


def fitted(parts, psf, rule):
    """Return the dipoles of all footprints with both signs."""
    pixels = parts[0].pixels
    snr = matched_filter(pixels.image, pixels.variance, ~pixels.good, psf).snr
    found = detect(snr, growth=6)
    dipoles = []
    for number in range(len(found)):
        peaks = np.flatnonzero(found.footprint == number)
        positive, negative = peaks[~found.negative[peaks]], peaks[found.negative[peaks]]
        if not (positive.size and negative.size):
            continue  # noise
        dipoles.append(
            fit_dipole(
                parts,
                found.labels,
                number + 1,
                box=tuple(found.box[number]),
                positive=(found.row[positive[0]], found.column[positive[0]]),
                negative=(found.row[negative[0]], found.column[negative[0]]),
                rule=rule,
            )
        )
    return dipoles


@pytest.mark.parametrize("equal", [True, False])
def test_moved_stars_are_dipoles_with_the_right_separation(rng, psf, equal):
    pixels, y, x, flux = shifted_pair(rng)
    found = fitted(parts_of(pixels, psf), psf, DipoleRule(equal_flux=equal))

    assert len(found) == y.size
    assert all(d.is_dipole and d.converged for d in found)
    np.testing.assert_allclose([d.separation for d in found], np.hypot(*SHIFT), atol=0.1)
    np.testing.assert_allclose([d.orientation for d in found], np.arctan2(*SHIFT), atol=0.1)
    for dipole in found:
        star = np.argmin(np.hypot(y - dipole.y_positive, x - dipole.x_positive))
        # positions of a star are known to sigma / (S/N), which is above 150
        assert np.hypot(y[star] - dipole.y_positive, x[star] - dipole.x_positive) < 5 * 2.4 / 150
        assert dipole.flux_positive == pytest.approx(flux[star], abs=5 * dipole.error_positive)
        assert (dipole.y, dipole.x) == pytest.approx(
            (y[star] - SHIFT[0] / 2, x[star] - SHIFT[1] / 2), abs=0.1
        )
    assert np.mean([d.chi2 for d in found]) == pytest.approx(1.0, abs=0.05)


def test_star_that_also_changed_is_no_dipole(rng, psf):
    pixels, *_ = shifted_pair(rng, ratio=0.4, low=4.0)
    parts = parts_of(pixels, psf)
    labels = np.zeros(SHAPE, np.int32)
    labels[40:75, 40:75] = 1
    top = np.unravel_index(np.argmax(np.where(labels, pixels[0].image, 0)), SHAPE)

    dipole = fit_dipole(
        parts,
        labels,
        1,
        box=(40, 74, 40, 74),
        positive=top,
        negative=(top[0] - 4, top[1] - 3),
        rule=DipoleRule(),
    )

    assert dipole.converged
    assert dipole.flux_negative == pytest.approx(0.4 * dipole.flux_positive, rel=0.1)
    assert not dipole.is_dipole


def test_difference_alone_gives_direction_and_product_of_flux_and_separation(rng, psf):
    pixels, y, x, flux = shifted_pair(rng)
    found = fitted(parts_of(pixels, psf, 1), psf, DipoleRule())

    np.testing.assert_allclose([d.orientation for d in found], np.arctan2(*SHIFT), atol=0.1)
    for dipole in found:
        star = np.argmin(np.hypot(y - SHIFT[0] / 2 - dipole.y, x - SHIFT[1] / 2 - dipole.x))
        assert dipole.flux_positive == dipole.flux_negative
        product = dipole.flux_positive * dipole.separation
        assert product == pytest.approx(flux[star] * np.hypot(*SHIFT), rel=0.12)


def test_nothing_is_fitted_without_pixels(psf):
    empty = Pixels.usable(np.zeros(SHAPE), np.ones(SHAPE), np.ones(SHAPE, np.bool_))
    labels = np.zeros(SHAPE, np.int32)
    labels[50:60, 70:80] = 1

    dipole = fit_dipole(
        [ImagePart(empty, psf, (1.0, -1.0))],
        labels,
        1,
        box=(50, 59, 70, 79),
        positive=(55.0, 75.0),
        negative=(52.0, 72.0),
        rule=DipoleRule(),
    )

    assert dipole is None


def test_dipole_at_the_corner_is_fitted(rng, psf):
    science, template = rng.standard_normal((2, *SHAPE))
    add_stars(science, y=[3.2], x=[457.0], flux=[2e4], sigma=SIGMA)
    add_stars(template, y=[2.4], x=[456.4], flux=[2e4], sigma=SIGMA)
    nothing = np.zeros(SHAPE, np.bool_)
    pixels = [
        Pixels.usable(image, np.full(SHAPE, variance), nothing)
        for image, variance in ((science - template, 2.0), (science, 1.0), (template, 1.0))
    ]
    (found,) = fitted(parts_of(pixels, psf), psf, DipoleRule())

    assert found.is_dipole
    assert found.separation == pytest.approx(1.0, abs=0.1)
