import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import InputError
from skytool.models.psf.kinds import psf_from_hdus
from tests.models.psfex import psfex_table
from tests.stages.star_fields import compared, crowd, varying

ZERO, SCALE = (310.4, 205.7), (580.0, 390.0)


def stars(rng, degree, shape=(15, 13)):
    """Return images that are a star and small changes of it."""
    y, x = (np.arange(n) - n // 2 for n in shape)
    star = np.exp(-0.5 * np.add.outer(y**2, x**2) / 1.6**2)
    n = (degree + 1) * (degree + 2) // 2
    changes = 0.1 * rng.normal(size=(n, *shape)) * star
    changes[0] += star
    return changes.astype(np.float32).astype(np.float64)


def read(*hdus):
    return psf_from_hdus([fits.PrimaryHDU(), *hdus], name="star.psf")


@pytest.mark.parametrize("degree", [0, 1, 2, 4])
def test_a_psf_is_the_sum_of_images_times_powers_of_the_position(rng, degree):
    images = stars(rng, degree)
    psf = read(psfex_table(images, degree=degree, zero=ZERO, scale=SCALE))

    for x, y in ((20.0, 11.0), (310.4, 205.7), (599.0, 399.0)):
        # PSFEx counts pixels from 1
        u, v = (x + 1 - ZERO[0]) / SCALE[0], (y + 1 - ZERO[1]) / SCALE[1]
        powers = [u**i * v**j for j in range(degree + 1) for i in range(degree + 1 - j)]
        star = np.tensordot(powers, images, axes=1)
        np.testing.assert_allclose(psf.kernel_image(y=y, x=x), star / star.sum(), atol=1e-12)


def test_samples_finer_or_coarser_than_pixels_are_interpolated(rng):
    images = stars(rng, 0, (31, 31))
    images[0] = np.exp(-0.5 * np.add.outer(*[(np.arange(31) - 15.0) ** 2] * 2) / 4.0**2)
    psf = read(psfex_table(images, degree=0, sampling=0.5))

    y = np.arange(15) - 7.0
    star = np.exp(-0.5 * np.add.outer(y**2, y**2) / 2.0**2)
    assert psf.shape == (15, 15)
    np.testing.assert_allclose(psf.kernel_image(y=3, x=3), star / star.sum(), atol=1e-6)


def test_far_from_the_stars_the_psf_is_that_of_the_nearest_place(rng):
    psf = read(psfex_table(stars(rng, 2), degree=2, zero=ZERO, scale=SCALE))

    far = psf.kernel_image(y=205.0, x=3000.0)
    np.testing.assert_allclose(far, psf.kernel_image(y=205.0, x=4000.0))
    # a tenth of the range of the stars beyond the outermost
    edge = ZERO[0] - 1 + 0.6 * SCALE[0]
    assert np.abs(far - psf.kernel_image(y=205.0, x=edge)).max() < 1e-3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"POLNAME2": "MAG_AUTO"}, "depends on X_IMAGE, MAG_AUTO"),
        ({"POLNGRP": 2}, "in 2 groups"),
        ({"PSFAXIS3": 3}, "does not go with"),
        ({"PSF_SAMP": 0.0}, "the sampling 0"),
        ({"PSF_SAMP": "fine"}, "is wrong"),
        ({"POLSCAL1": 0.0}, "POLSCAL1 = 0"),
    ],
    ids=str,
)
def test_damaged_and_other_tables_are_refused(rng, changes, words):
    table = psfex_table(stars(rng, 2), degree=2, zero=ZERO, scale=SCALE, **changes)

    with pytest.raises(InputError, match=rf"star.psf.*{words}"):
        read(table)


def test_an_image_called_psf_comes_before_a_table(rng):
    image = fits.ImageHDU(stars(rng, 0)[0], name="PSF")
    psf = read(psfex_table(stars(rng, 2), degree=2, zero=ZERO, scale=SCALE), image)

    np.testing.assert_allclose(
        psf.kernel_image(y=3, x=3), image.data / image.data.sum(), atol=1e-12
    )


@pytest.mark.slow
def test_a_psf_of_psfex_itself_is_that_of_the_stars(rng, tmp_path, monkeypatch):
    programs = [shutil.which(name) for name in ("source-extractor", "psfex")]
    if None in programs:
        pytest.skip("source-extractor and PSFEx are not installed")
    monkeypatch.chdir(tmp_path)
    truth = varying(3.2)
    exposure = crowd(rng, truth, 200, flux=(3e5, 2e6))
    fits.PrimaryHDU(exposure.image).writeto("stars.fits")
    columns = "X_IMAGE Y_IMAGE FLUX_APER(1) FLUXERR_APER(1) FLUX_RADIUS SNR_WIN ELONGATION FLAGS"
    (tmp_path / "columns").write_text("\n".join([*columns.split(), "VIGNET(31,31)"]))
    settings = {
        programs[0]: "stars.fits -c /dev/null -CATALOG_TYPE FITS_LDAC -CATALOG_NAME stars.cat "
        "-PARAMETERS_NAME columns -FILTER N -PHOT_APERTURES 12 -SATUR_LEVEL 1e7",
        programs[1]: "stars.cat -c /dev/null -PSFVAR_DEGREES 2 -PSF_SIZE 31,31 -WRITE_XML N "
        "-CHECKPLOT_TYPE NONE -CHECKIMAGE_TYPE NONE",
    }
    for program, options in settings.items():
        subprocess.run([program, *options.split()], check=True, capture_output=True)
    with fits.open("stars.psf") as hdus:
        psf = psf_from_hdus(list(hdus), name="stars.psf")

    errors = compared(psf, truth)
    # what PSFEx is wrong by itself
    assert errors["size"] < 0.03
    assert errors["ellipticity"] < 0.02
    assert errors["residual"] < 1e-3
