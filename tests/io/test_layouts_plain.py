import logging

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    InverseVariance,
    StdDevUncertainty,
    VarianceUncertainty,
)

from skytool.errors import IncompatibleError, InputError, SkytoolWarning
from skytool.io.sources import ReadOptions, find_sources, read_exposure
from tests.io.foreign import (
    ESTIMATED,
    RMS,
    SHAPE,
    SKY,
    assert_planes_agree,
    image_hdu,
    planes,
    planes_at,
    primary,
    wcs_header,
    write,
)


@pytest.mark.parametrize(
    ("kind", "power"),
    [(StdDevUncertainty, 0.5), (VarianceUncertainty, 1.0), (InverseVariance, -1.0)],
)
def test_files_of_ccddata_are_read(tmp_path, rng, kind, power):
    pixels = planes(rng)
    mask = np.zeros(SHAPE, bool)
    mask[4, 5] = True
    stored = CCDData(
        pixels.image, unit="electron", mask=mask, uncertainty=kind(pixels.variance**power)
    )
    path = tmp_path / "ccd.fits"
    stored.write(path)
    (source,) = find_sources(path)
    assert source.layout == "ccddata"
    exposure = source.read()
    assert_planes_agree(exposure)
    assert exposure.unit == "electron"
    assert np.array_equal(exposure.image, pixels.image)
    assert exposure.variance == pytest.approx(pixels.variance, rel=1e-5)
    assert planes_at(exposure, 4, 5) == {"BAD"}
    assert np.count_nonzero(exposure.mask.array) == 1


def test_the_psf_of_a_ccddata_file_is_attached(tmp_path, rng):
    pixels = planes(rng)
    stamp = np.zeros((9, 9))
    stamp[3:6, 3:6] = 1 / 9
    path = write(
        tmp_path / "ccd.fits",
        fits.PrimaryHDU(pixels.image, header=wcs_header()),
        image_hdu(np.sqrt(pixels.variance), "UNCERT"),
        image_hdu(stamp, "PSFIMAGE"),
    )
    exposure = read_exposure(path)
    assert exposure.psf.kernel_image(y=1.0, x=2.0).max() == pytest.approx(1 / 9)
    assert exposure.variance == pytest.approx(pixels.variance, rel=1e-5)


def test_an_unknown_kind_of_uncertainty_is_refused(tmp_path, rng):
    pixels = planes(rng)
    path = write(
        tmp_path / "ccd.fits",
        fits.PrimaryHDU(pixels.image),
        image_hdu(pixels.variance, "UNCERT", UTYPE="unknown"),
    )
    with pytest.raises(InputError, match="UTYPE = UNKNOWN"):
        find_sources(path)


def bare_file(path, image, **cards):
    header = wcs_header()
    header.update(cards)
    fits.PrimaryHDU(image, header=header).writeto(path)
    return str(path)


def counts(rng, *, sky, gain=1.6, read_noise=4.0):
    electrons = rng.poisson(sky * gain, SHAPE) + rng.normal(0.0, read_noise, SHAPE)
    return (electrons / gain).astype(np.float32)


def test_gain_and_read_noise_of_the_header_give_the_variance(tmp_path, rng, caplog):
    image = counts(rng, sky=200.0)
    image[30, 40] = 5200.0
    path = bare_file(tmp_path / "a.fits", image, GAIN=1.6, RDNOISE=4.0)
    with caplog.at_level(logging.INFO, "skytool"):
        exposure = read_exposure(path)
    sky = 200.0 / 1.6 + (4.0 / 1.6) ** 2
    assert np.median(exposure.variance) == pytest.approx(sky, rel=0.02)
    assert exposure.variance[30, 40] == pytest.approx(sky + 5000.0 / 1.6, rel=0.01)
    lines = [r for r in caplog.records if "variance" in r.getMessage()]
    assert [line.levelname for line in lines] == ["INFO"]
    assert "gain 1.6 and read noise 4 (GAIN and RDNOISE)" in lines[0].getMessage()


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (3, 5)])
def test_the_gain_that_is_given_counts_where_no_scatter_can_be_measured(tmp_path, shape):
    image = np.full(shape, 90.0, np.float32)
    image[0, 0] = 120.0
    path = bare_file(tmp_path / "a.fits", image)
    exposure = read_exposure(path, ReadOptions(gain="2", read_noise="4", sky="10"))
    level = np.median(image)
    expected = (level + 10.0) / 2.0 + 4.0 + np.maximum(image - level, 0.0) / 2.0
    np.testing.assert_allclose(exposure.variance, expected, rtol=1e-6)
    with pytest.raises(IncompatibleError, match="no variance anywhere"):
        read_exposure(path)


def test_gain_of_a_sky_subtracted_image_gives_only_the_noise_of_sources(tmp_path, rng):
    image = counts(rng, sky=200.0) - np.float32(200.0)
    image[30, 40] = 5000.0
    path = bare_file(tmp_path / "a.fits", image, GAIN=1.6, RDNOISE=4.0)
    with pytest.warns(SkytoolWarning, match=r"scatter of the sky.*not from gain 1\.6"):
        exposure = read_exposure(path)
    sky = 200.0 / 1.6 + (4.0 / 1.6) ** 2
    assert np.median(exposure.variance) == pytest.approx(sky, rel=0.1)
    assert exposure.variance[30, 40] == pytest.approx(sky + 5000.0 / 1.6, rel=0.02)


def test_the_level_of_a_subtracted_sky_can_be_given(tmp_path, rng):
    image = counts(rng, sky=200.0) - np.float32(200.0)
    path = bare_file(tmp_path / "a.fits", image, SKYVAL=200.0)
    options = ReadOptions(gain=1.6, read_noise="4", sky="!SKYVAL")
    variance = read_exposure(path, options).variance
    assert np.median(variance) == pytest.approx(200.0 / 1.6 + (4.0 / 1.6) ** 2, rel=0.03)


def test_electrons_need_no_gain(tmp_path, rng):
    image = counts(rng, sky=300.0, gain=1.0)
    path = bare_file(tmp_path / "a.fits", image, BUNIT="ELECTRONS", GAIN=7.0, RDNOISE=4.0)
    exposure = read_exposure(path)
    assert np.median(exposure.variance) == pytest.approx(300.0 + 16.0, rel=0.02)


def test_rates_are_totals_over_the_exposure_time(tmp_path, rng):
    image = counts(rng, sky=3000.0, gain=1.0, read_noise=4.0) / np.float32(100.0)
    cards = {"BUNIT": "electron/s", "EXPTIME": 100.0, "RDNOISE": 4.0}
    exposure = read_exposure(bare_file(tmp_path / "a.fits", image, **cards))
    assert np.median(exposure.variance) == pytest.approx((3000.0 + 16.0) / 1e4, rel=0.02)


def test_without_anything_the_scatter_of_the_sky_is_the_noise(tmp_path, rng):
    path = bare_file(tmp_path / "a.fits", planes(rng).image)
    with pytest.warns(SkytoolWarning, match="scatter of the sky"):
        exposure = read_exposure(path)
    assert exposure.variance == pytest.approx(RMS**2, rel=0.2)
    assert np.median(exposure.variance) == pytest.approx(RMS**2, rel=0.1)


def test_an_image_without_variance_is_refused_if_one_is_required(tmp_path, rng):
    path = bare_file(tmp_path / "a.fits", planes(rng).image, GAIN=1.6, RDNOISE=4.0)
    with pytest.raises(IncompatibleError, match=r"a\.fits brings no variance.*--weight") as info:
        read_exposure(path, ReadOptions(require_variance=True))
    assert info.value.exit_code == 4


def test_a_card_with_the_inverse_variance_is_taken(tmp_path, rng):
    pixels = planes(rng)
    image = pixels.image.copy()
    image[1, 2] = np.nan
    hdu = image_hdu(image, "image_sky", header=wcs_header(), compressed=True, INVAR=0.0004)
    path = write(tmp_path / "chip.fits", primary(), hdu)
    options = ReadOptions(require_variance=True)
    exposure = read_exposure(path, options)
    assert_planes_agree(exposure)
    assert exposure.variance[0, 0] == pytest.approx(2500.0)
    assert planes_at(exposure, 1, 2) == {"NO_DATA", "UNMASKEDNAN"}


@ESTIMATED
@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.uint8, np.float64])
def test_integers_and_doubles_are_read_to_the_same_numbers(tmp_path, rng, dtype):
    values = np.clip(rng.normal(SKY, RMS, SHAPE).round(), 0, 250).astype(dtype)
    exposure = read_exposure(bare_file(tmp_path / "a.fits", values))
    assert np.array_equal(exposure.image, values.astype(np.float32))
    assert exposure.image.dtype == np.float32
    assert exposure.image.dtype.isnative


@ESTIMATED
def test_blank_and_scaled_pixels_are_understood(tmp_path, rng):
    stored = rng.integers(-50, 50, SHAPE).astype(np.int16)
    stored[3, 3] = -32768
    hdu = fits.PrimaryHDU(stored, header=wcs_header())
    hdu.header["BLANK"] = -32768
    path = tmp_path / "scaled.fits"
    hdu.writeto(path)
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header["BSCALE"], hdus[0].header["BZERO"] = 0.5, 1000.0
    exposure = read_exposure(path)
    assert exposure.image[5, 6] == 1000.0 + 0.5 * stored[5, 6]
    assert planes_at(exposure, 3, 3) == {"NO_DATA", "UNMASKEDNAN"}


@ESTIMATED
def test_several_images_are_several_exposures(tmp_path, rng):
    hdus = [image_hdu(planes(rng).image, name, header=wcs_header()) for name in "RGB"]
    path = write(tmp_path / "colour.fits", primary(AIRMASS=1.7), *hdus)
    sources = find_sources(path)
    assert [source.layout for source in sources] == ["images"] * 3
    assert [source.name for source in sources] == [f"colour.fits[{name}]" for name in "RGB"]
    assert sources[2].header["AIRMASS"] == 1.7
    assert np.array_equal(sources[1].read().image, hdus[1].data)


@ESTIMATED
def test_images_without_names_are_told_apart_by_number(tmp_path, rng):
    hdus = [image_hdu(planes(rng).image) for _ in range(2)]
    path = write(tmp_path / "raw.fits", primary(), *hdus)
    assert [source.name for source in find_sources(path)] == ["raw.fits[1]", "raw.fits[2]"]
    assert np.array_equal(read_exposure(f"{path}[2]").image, hdus[1].data)


@ESTIMATED
def test_a_cube_of_one_plane_is_an_image(tmp_path, rng):
    pixels = planes(rng)
    path = bare_file(tmp_path / "cube.fits", pixels.image[None])
    exposure = read_exposure(path)
    assert exposure.shape == SHAPE
    assert np.array_equal(exposure.image, pixels.image)


@pytest.mark.parametrize(
    ("shape", "text"), [((3, 20, 30), "3-d image of 30 x 20 x 3"), ((40,), "1-d image of 40")]
)
def test_what_is_no_image_is_refused_by_what_it_is(tmp_path, shape, text):
    path = bare_file(tmp_path / "a.fits", np.zeros(shape, np.float32))
    with pytest.raises(InputError, match=rf"a\.fits has no layout .* {text} pixels.*Known are"):
        find_sources(path)


def test_an_image_without_pixels_is_refused(tmp_path):
    path = bare_file(tmp_path / "a.fits", np.zeros((0, 7), np.float32))
    with pytest.raises(InputError, match=r"a\.fits has an image of 7 x 0 pixels"):
        find_sources(path)


def test_planes_that_make_no_layout_are_listed(tmp_path, rng):
    pixels = planes(rng)
    path = write(
        tmp_path / "odd.fits",
        primary(),
        image_hdu(pixels.image, "DATA"),
        image_hdu(pixels.variance, "SIGMA"),
    )
    with pytest.raises(InputError, match=r"1 DATA: 2-d image of 70 x 90 pixels; 2 SIGMA") as info:
        find_sources(path)
    assert "odd.fits[EXT]" in info.value.hint
    named = read_exposure(f"{path}[DATA]", ReadOptions(error="[SIGMA]"))
    assert named.variance == pytest.approx(pixels.variance**2, rel=1e-6)
