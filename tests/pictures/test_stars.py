import io

import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import IncompatibleError, InputError
from skytool.models.exposure import Exposure
from skytool.models.mask import Mask
from skytool.models.psf.stars import PsfStars
from skytool.pictures.panel import View, panel_of
from skytool.pictures.picture import draw_picture

pytest.importorskip("matplotlib", reason="pictures are drawn with matplotlib")
pillow = pytest.importorskip("PIL.Image", reason="pictures are looked at with Pillow")

SHAPE = (40, 50)


def exposure(stars=None):
    return Exposure(
        np.zeros(SHAPE, np.float32),
        Mask.empty(SHAPE),
        np.ones(SHAPE, np.float32),
        name="raw.fits",
        extensions=() if stars is None else (stars.to_hdu(),),
    )


def stars(rng, n=30):
    """Return stars a tenth wider than their PSF, of which the first five are reserved."""
    values = rng.uniform(1, 2, (13, n))
    values[4] = 1.1 * values[7]
    values[2], values[3] = 100.0 * np.arange(1, n + 1), 10.0
    reserved, used = np.arange(n) < 5, np.arange(n) >= 8
    values[4, -1] = np.nan
    return PsfStars(*values, used, reserved)


def test_points_are_stars_of_three_kinds(rng):
    panel = panel_of(exposure(stars(rng)), View(extension="psfstars"))

    names = [points.name for points in panel.points]
    assert names == ["not alike: 3", "used: 21", "reserved: 5"]
    for points in panel.points:
        np.testing.assert_allclose(points.y, 10.0)
    np.testing.assert_allclose(panel.points[2].x, np.log10(10.0 * np.arange(1, 6)))


def test_points_become_a_picture(rng):
    picture = draw_picture([panel_of(exposure(stars(rng)), View(extension="PSFSTARS"))])

    pixels = np.array(pillow.open(io.BytesIO(picture.content)).convert("RGB")).astype(int)
    orange = (pixels[..., 0] > pixels[..., 2] + 100) & (pixels[..., 0] > 180)
    assert orange.sum() > 50


def test_a_table_without_stars_has_no_points():
    flags = np.zeros(0, np.bool_)
    empty = PsfStars(*np.empty((13, 0)), flags, flags)

    with pytest.raises(IncompatibleError, match=r"raw.fits has no star"):
        panel_of(exposure(empty), View(extension="PSFSTARS"))


def test_exposures_without_a_table_have_no_points():
    with pytest.raises(IncompatibleError, match=r"has no table PSFSTARS.*skytool psf"):
        panel_of(exposure(), View(extension="PSFSTARS"))


def test_a_damaged_table_is_refused(rng):
    table = stars(rng).to_hdu()
    table.columns.change_name("FWHM", "WIDTH")
    broken = exposure().with_values(extensions=(fits.BinTableHDU(table.data, name="PSFSTARS"),))

    with pytest.raises(InputError, match=r"raw.fits.*FWHM"):
        panel_of(broken, View(extension="PSFSTARS"))
