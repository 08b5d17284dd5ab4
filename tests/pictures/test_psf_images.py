import numpy as np
import pytest

from skytool.errors import IncompatibleError
from skytool.models.exposure import Exposure
from skytool.models.mask import Mask
from skytool.models.psf.kinds import AnalyticPsf, GridPsf
from skytool.models.psf.stars import PsfStars
from skytool.pictures.panel import View, panel_of

SHAPE = (90, 130)


def exposure(psf, image=None, stars=None):
    return Exposure(
        np.zeros(SHAPE, np.float32) if image is None else image.astype(np.float32),
        Mask.empty(SHAPE),
        np.ones(SHAPE, np.float32),
        psf=psf,
        name="raw.fits",
        extensions=() if stars is None else (stars.to_hdu(),),
    )


def table(y, x, flux, reserved):
    others = np.ones((11, y.size))
    others[1] = 0.01  # errors of fluxes
    return PsfStars(y, x, flux, *others[1:], ~reserved, reserved)


def star_field(rng, drawn):
    """Return an image of stars, and the table of them; every third is reserved."""
    image = np.zeros(SHAPE)
    y, x = (axis.ravel() + 0.0 for axis in np.mgrid[12:80:22, 14:120:25])
    y, x = y + rng.uniform(-0.5, 0.5, y.size), x + rng.uniform(-0.5, 0.5, x.size)
    flux = rng.uniform(100.0, 200.0, y.size)
    for row, column, light in zip(y, x, flux, strict=True):
        star = drawn.image(y=row, x=column)
        top, left = (
            int(np.floor(at + 0.5)) - n // 2
            for at, n in zip((row, column), star.shape, strict=True)
        )
        image[top : top + star.shape[0], left : left + star.shape[1]] += light * star
    return image, table(y, x, flux, np.arange(y.size) % 3 == 0)


def test_widths_are_mapped_all_over_the_image():
    stamps = [AnalyticPsf.gaussian(fwhm, size=31).kernel_image(y=0, x=0) for fwhm in (3.0, 5.0)]
    psf = GridPsf(np.array(stamps), y=np.array([45.0, 45.0]), x=np.array([0.0, 129.0]))
    panel = panel_of(exposure(psf), View(extension="PSFFWHM"))

    assert panel.unit == "pixel"
    assert panel.mask is None
    along = panel.image.mean(axis=0)
    assert along[0] == pytest.approx(3.0, abs=0.15)
    assert along[-1] == pytest.approx(5.0, abs=0.15)
    assert (np.diff(along) > 0).all()
    np.testing.assert_allclose(panel.image, np.broadcast_to(along, panel.image.shape), rtol=1e-5)


def test_the_right_psf_leaves_nothing_of_stars(rng):
    psf = AnalyticPsf.gaussian(3.0, size=21)
    image, stars = star_field(rng, psf)
    panel = panel_of(exposure(psf, image, stars), View(extension="PSFRESID"))

    assert panel.image.shape == (21, 42)
    assert np.abs(panel.image).max() < 1e-5


def test_a_psf_too_wide_leaves_a_peak_within_a_ring(rng):
    image, stars = star_field(rng, AnalyticPsf.gaussian(2.8, size=21))
    psf = AnalyticPsf.gaussian(3.2, size=21)
    left = panel_of(exposure(psf, image, stars), View(extension="psfresid")).image

    for half in (left[:, :21], left[:, 21:]):
        assert half[10, 10] == pytest.approx((3.2 / 2.8) ** 2 - 1, abs=0.1)
        assert half.min() < -0.02


def test_stars_of_one_kind_are_shown_alone_and_the_edge_is_no_star(rng):
    psf = AnalyticPsf.gaussian(3.0, size=21)
    stars = table(np.array([1.0]), np.array([128.0]), np.array([100.0]), np.array([False]))
    left = panel_of(exposure(psf, stars=stars), View(extension="PSFRESID")).image

    assert left.shape == (21, 21)
    assert np.isnan(left[:9]).all()
    assert np.isnan(left[:, 13:]).all()
    assert left[10, 10] == pytest.approx(-1.0, abs=1e-6)


@pytest.mark.parametrize("name", ["PSFFWHM", "PSFRESID"])
def test_an_exposure_without_psf_is_refused(name):
    with pytest.raises(IncompatibleError, match=r"raw.fits has no PSF"):
        panel_of(exposure(None), View(extension=name))


def test_residuals_need_the_table_of_stars():
    with pytest.raises(IncompatibleError, match="has no table PSFSTARS"):
        panel_of(exposure(AnalyticPsf.gaussian(3.0, size=21)), View(extension="PSFRESID"))
