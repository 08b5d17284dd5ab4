import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import InputError
from skytool.models.psf.stars import PSF_STARS, PsfStars

N = 7


def table(rng):
    flags = rng.random((2, N)) < 0.5
    return PsfStars(*rng.uniform(1, 2, (13, N)), *flags)


def stored(hdu, tmp_path):
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "stars.fits")
    return fits.open(tmp_path / "stars.fits")


def test_what_is_written_is_read(rng, tmp_path):
    stars = table(rng)
    with stored(stars.to_hdu(unit="nJy"), tmp_path) as hdus:
        read = PsfStars.from_hdu(hdus[PSF_STARS], name="stars.fits")
        columns = hdus[PSF_STARS].columns
        assert columns["FLUX"].unit == columns["FLUXERR"].unit == "nJy"
        assert columns["X"].unit == "pixel"
        np.testing.assert_allclose(hdus[PSF_STARS].data["SNR"], stars.snr)

    for name in ("y", "x", "flux", "psf_e2", "residual", "chi2", "used", "reserved"):
        np.testing.assert_array_equal(getattr(read, name), getattr(stars, name))
    assert read.used.dtype == np.bool_


def test_some_of_the_stars_are_a_table_as_well(rng):
    stars = table(rng)
    some = stars[stars.x > 1.5]

    assert len(some) == np.count_nonzero(stars.x > 1.5)
    np.testing.assert_array_equal(some.fwhm, stars.fwhm[stars.x > 1.5])


def test_a_table_without_stars_can_be_written():
    flags = np.zeros(0, np.bool_)
    hdu = PsfStars(*np.empty((13, 0)), flags, flags).to_hdu()

    assert len(PsfStars.from_hdu(hdu, name="stars.fits")) == 0


def test_a_table_that_lacks_a_column_is_refused(rng, tmp_path):
    hdu = table(rng).to_hdu()
    hdu.columns.change_name("RESIDUAL", "OTHER")

    with (
        stored(hdu, tmp_path) as hdus,
        pytest.raises(InputError, match=r"stars.fits.* no column RESIDUAL"),
    ):
        PsfStars.from_hdu(hdus[PSF_STARS], name="stars.fits")
