import numpy as np
import pytest
from astropy.io import fits

from skytool.models.psf.kinds import AnalyticPsf, GridPsf
from skytool.models.psf.statistics import PsfStatistics

SHAPE = (300, 420)


def gaussian(sigma, stretch=1.0, size=31):
    """Return a Gaussian, wide enough for its samples to be its integrals over pixels."""
    y, x = np.mgrid[:size, :size] - size // 2
    star = np.exp(-((y / sigma) ** 2 + (x / (sigma * stretch)) ** 2) / 2)
    return star / star.sum()


def test_a_constant_psf_has_a_width_and_no_ranges():
    psf = AnalyticPsf.gaussian(3.5, size=31)
    found = PsfStatistics.of_psf(psf, SHAPE, pixel_scale=lambda: 0.2)

    assert found.fwhm == pytest.approx(0.7, rel=0.02)
    assert found.ellipticity == pytest.approx(0.0, abs=1e-6)
    assert found.trace_radius_delta == pytest.approx(0.0, abs=1e-9)
    assert found.ap_flux_delta == pytest.approx(0.0, abs=1e-9)


def test_the_ranges_of_a_psf_are_those_over_the_image():
    narrow, wide = 2.0, 3.0
    psf = GridPsf(
        np.array([gaussian(narrow), gaussian(wide), gaussian(narrow), gaussian(wide)]),
        y=np.array([0.0, 0.0, 299.0, 299.0]),
        x=np.array([41.5, 377.5, 41.5, 377.5]),
    )
    found = PsfStatistics.of_psf(psf, SHAPE, pixel_scale=lambda: 1.0)

    # the middles of the first and the last of five columns are at 41.5 and 377.5
    assert found.trace_radius_delta == pytest.approx(wide - narrow, rel=1e-3)
    radius = 3 * found.fwhm / 2.3548
    light = [1 - np.exp(-(radius**2) / (2 * sigma**2)) for sigma in (narrow, wide)]
    # light is taken to be even within a pixel, which adds 1/12 to 9 square pixels
    assert found.ap_flux_delta == pytest.approx(light[0] - light[1], rel=0.03)
    assert np.isnan(found.ap_corr_sigma_scaled_delta)


def test_cards_tell_of_a_measured_psf():
    cards = {"PSFFWHM": 2.3548, "PSFSSIZE": 0.02, "PSFSELL": 0.01, "PSFELL": 0.07, "PSFNSTAR": 31}
    found = PsfStatistics.from_header(fits.Header({**cards, "SEEING": "unknown"}))

    assert found.size_scatter == pytest.approx(0.02, rel=1e-4)
    assert found.scaled_size_scatter == pytest.approx(0.02, rel=1e-4)
    assert (found.ellip_residual, found.star_e, found.n_psf_star) == (0.01, 0.07, 31)
    assert np.isnan(found.fwhm)
