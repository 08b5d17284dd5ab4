import warnings

import numpy as np
import pytest
from astropy import units
from astropy.io import fits

from skytool.core.background.chebyshev import ChebyshevModel
from skytool.errors import IncompatibleError, SkytoolWarning
from skytool.models.photometry import PhotometricCalibration, calibration_from_header

SHAPE = (40, 64)


def calibration(unit="adu", flux_keyword=None, comments=(), **cards):
    header = fits.Header()
    for key, value in cards.items():
        header[key] = value
    for key, comment in comments:
        header.comments[key] = comment
    return calibration_from_header(header, unit=unit, name="a.fits", flux_keyword=flux_keyword)


def zero_point(*args, **cards):
    return calibration(*args, **cards).zero_point


# --- the model


def test_one_nanojansky_is_31_4_magnitudes():
    assert PhotometricCalibration(1.0).zero_point == 31.4
    # the definition of AB, 48.6 mag for 1 erg / s / cm2 / Hz
    flux = (0.0 * units.ABmag).to_value(units.nJy)
    assert PhotometricCalibration.from_zero_point(0.0).scale == pytest.approx(flux, rel=1e-9)


def test_a_zero_point_survives():
    made = PhotometricCalibration.from_zero_point(27.123, error=0.01)
    assert made.zero_point == pytest.approx(27.123, abs=1e-13)
    # 0.01 mag is 0.921 per cent
    assert made.scale_error / made.scale == pytest.approx(0.00921034, rel=1e-6)
    assert made.flux_mag0 == pytest.approx(10 ** (0.4 * 27.123))


def test_factors_bring_units_to_a_zero_point_and_to_each_other():
    first, second = (PhotometricCalibration.from_zero_point(z) for z in (25.0, 27.5))
    # a count of 25 mag is ten counts of 27.5 mag
    assert first.factor_to(second) == pytest.approx(10.0)
    assert first.factor_to_zero_point(27.5) == pytest.approx(10.0)
    assert first.factor_to(second) == pytest.approx(second.flux_mag0 / first.flux_mag0)
    assert first.scaled(10.0).zero_point == pytest.approx(27.5)


def test_pixels_become_nanojansky_and_their_variance_its_square(rng):
    image = rng.normal(50.0, 20.0, SHAPE).astype(np.float32)
    variance = rng.uniform(1.0, 9.0, SHAPE).astype(np.float32)
    image[3, 5], variance[3, 5] = np.nan, np.inf
    image[4, 6] = 0.0
    made = PhotometricCalibration(3.0, 0.25)
    flux, flux_variance = made.apply(image, variance)
    np.testing.assert_array_equal(flux, 3 * image)
    np.testing.assert_array_equal(flux_variance, 9 * variance)
    _, with_error = made.apply(image, variance, include_calib_var=True)
    np.testing.assert_allclose(
        np.delete(with_error, 3 * 64 + 5),
        np.delete(9 * variance + (0.25 * image) ** 2, 3 * 64 + 5),
        rtol=1e-6,
    )
    assert with_error[4, 6] == 9 * variance[4, 6]
    assert with_error[3, 5] == np.inf  # no value stays no value
    assert flux.dtype == flux_variance.dtype == with_error.dtype == np.float32


def field():
    coefficients = np.array([[4.0, 0.4, 0.3], [0.2, 0.0, 0.1], [-0.5, 0.0, 0.0]])
    return ChebyshevModel(coefficients, SHAPE)


def test_a_field_varies_about_the_mean_scale():
    made = PhotometricCalibration(5.0, 0.1, field())
    image, variance = np.full(SHAPE, 10.0, np.float32), np.full(SHAPE, 4.0, np.float32)
    flux, flux_variance = made.apply(image, variance, include_calib_var=True)
    fine_y, fine_x = (np.linspace(-1, 1, 2 * n * 50 + 1)[1::2] for n in SHAPE)
    fine = np.polynomial.chebyshev.chebgrid2d(fine_y, fine_x, field().coefficients)
    centers = [np.linspace(-1, 1, 2 * n + 1)[1::2] for n in SHAPE]
    relative = np.polynomial.chebyshev.chebgrid2d(*centers, field().coefficients) / fine.mean()
    np.testing.assert_allclose(flux, 50.0 * relative, rtol=1e-5)
    np.testing.assert_allclose(flux_variance, (100.0 + 1.0) * relative**2, rtol=1e-5)
    # the scale is the mean one; over pixel centres it is the same to (1/64)^2 of the curvature
    assert flux.mean() == pytest.approx(50.0, rel=1e-3)


def test_rows_of_a_field_are_those_of_the_whole():
    made = PhotometricCalibration(5.0, 0.1, field())
    rows = slice(7, 19)
    whole = made.relative_scale(SHAPE)
    np.testing.assert_array_equal(made.relative_scale(SHAPE, rows=rows), whole[rows])
    with pytest.raises(IncompatibleError, match="40"):
        made.relative_scale((64, 40))


@pytest.mark.parametrize("values", [(0.0,), (-1.0,), (np.nan,), (1.0, -0.1), (1.0, np.inf)])
def test_impossible_calibrations_are_refused(values):
    with pytest.raises(IncompatibleError):
        PhotometricCalibration(*values)
    with pytest.raises(IncompatibleError):
        PhotometricCalibration(1.0, 0.0, ChebyshevModel(np.array([[-1.0]]), SHAPE))


# --- headers


def test_a_header_that_says_nothing_gives_nothing():
    assert calibration(EXPTIME=30.0) is None


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("nJy", 31.4),
        ("uJy", 23.9),
        ("mJy", 16.4),
        ("Jy", 8.9),
        ("nanomaggies", 22.5),
        ("nmgy", 22.5),
        ("nJy/pixel", 31.4),
    ],
)
def test_flux_units_calibrate_themselves(unit, expected):
    assert zero_point(unit) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("unit", ["adu", "electron/s", "", "Jy/beam", "K", "nJy2"])
def test_other_units_do_not(unit):
    assert calibration(unit) is None


@pytest.mark.parametrize("unit", ["MJy/sr", "MJy sr-1"])
@pytest.mark.parametrize(
    "cards",
    [
        {"PIXAR_SR": 2.25e-14},
        {"PIXAR_A2": 2.25e-14 * (180 * 3600 / np.pi) ** 2},
        {"CDELT1": -np.degrees(1.5e-7), "CDELT2": np.degrees(1.5e-7)},
        {
            "CDELT1": -1.5e-7,
            "CDELT2": np.degrees(1.5e-7) * 3600,
            "CUNIT1": "rad",
            "CUNIT2": "arcsec",
        },
        {
            "CD1_1": -np.degrees(0.9e-7),
            "CD1_2": np.degrees(1.2e-7),
            "CD2_1": np.degrees(1.2e-7),
            "CD2_2": np.degrees(0.9e-7),
        },
    ],
)
def test_surface_brightness_becomes_flux_per_pixel(unit, cards):
    made = calibration(unit, **cards)
    exact = (1.0 * units.MJy / units.sr * 2.25e-14 * units.sr).to_value(units.nJy)
    assert made.scale == pytest.approx(exact, rel=1e-12)


def test_surface_brightness_without_an_area_is_no_calibration():
    with pytest.warns(SkytoolWarning, match="PIXAR_SR"):
        assert calibration("MJy/sr") is None
    with pytest.warns(SkytoolWarning, match="CUNIT2 = 'm' is no unit of an angle"):
        assert calibration("MJy/sr", CDELT1=1e-5, CDELT2=1e-5, CUNIT2="m") is None


@pytest.mark.parametrize("key", ["MAGZP", "PHOTZP", "ZPAVE", "MAG_ZP", "PHOTZPT", "ZP"])
@pytest.mark.parametrize("unit", ["adu", "adu/s"])
def test_most_zero_points_are_magnitudes_of_one_unit(key, unit):
    assert zero_point(unit, EXPTIME=100.0, **{key: 26.5}) == pytest.approx(26.5)


def test_magzero_is_the_magnitude_of_one_count_in_all():
    assert zero_point(MAGZERO=30.0, EXPTIME=100.0) == pytest.approx(30.0)
    with pytest.warns(SkytoolWarning, match="MAGZERO=unit"):
        assert zero_point("adu/s", MAGZERO=30.0, EXPTIME=100.0) == pytest.approx(25.0)


def test_magzpt_is_the_magnitude_of_one_count_per_second():
    assert zero_point(MAGZPT=25.0, EXPTIME=100.0) == pytest.approx(30.0)
    assert zero_point("electron/s", MAGZPT=25.0) == pytest.approx(25.0)
    assert zero_point("electron s-1", MAGZPT=25.0) == pytest.approx(25.0)


@pytest.mark.parametrize("comment", ["[mag] per second", "zero point for 1 count/s", "1 sec"])
def test_a_comment_that_speaks_of_seconds_decides(comment):
    made = zero_point(PHOTZP=25.0, EXPTIME=100.0, comments=[("PHOTZP", comment)])
    assert made == pytest.approx(30.0)


def test_both_zero_points_of_one_camera_agree_without_a_warning():
    # 31.227 in all and 26.029 per second for 120 s
    assert zero_point(MAGZERO=31.227, MAGZPT=26.029, EXPTIME=120.0) == pytest.approx(31.227)


def test_contradicting_zero_points_are_announced_and_the_first_is_used():
    with pytest.warns(SkytoolWarning, match=r"a\.fits.*MAGZERO 30\.000, MAGZP 27\.000"):
        assert zero_point(MAGZP=27.0, MAGZERO=30.0) == pytest.approx(30.0)
    with pytest.warns(SkytoolWarning, match="unit nJy"):
        assert zero_point("nJy", MAGZERO=27.0) == pytest.approx(31.4)


def test_fluxmag0_is_the_flux_of_magnitude_zero():
    made = calibration(FLUXMAG0=10 ** (0.4 * 27.0), **{"HIERARCH FLUXMAG0ERR": 1e8})
    assert made.zero_point == pytest.approx(27.0)
    assert made.scale_error / made.scale == pytest.approx(1e8 / 10 ** (0.4 * 27.0))


def test_the_error_of_a_zero_point_is_read():
    made = calibration(MAGZP=26.0, MAGZPUNC=0.02)
    assert made.scale_error / made.scale == pytest.approx(0.02 * 0.4 * np.log(10))


@pytest.mark.parametrize(("unit", "seconds"), [("electron/s", 1.0), ("electron", 500.0)])
def test_photflam_and_pivot_give_the_flux_per_frequency(unit, seconds):
    made = calibration(unit, PHOTFLAM=7.9e-20, PHOTPLAM=5920.0, EXPTIME=500.0)
    per_wavelength = 7.9e-20 * units.erg / units.s / units.cm**2 / units.AA
    exact = per_wavelength.to_value(units.nJy, units.spectral_density(5920.0 * units.AA))
    assert made.scale == pytest.approx(exact / seconds, rel=1e-9)


def test_photmjsr_gives_the_surface_brightness_of_a_count_per_second():
    made = calibration("adu/s", PHOTMJSR=0.7, PIXAR_SR=2e-14)
    assert made.scale == pytest.approx(0.7 * 1e15 * 2e-14)


def test_surface_brightness_is_not_calibrated_twice():
    made = calibration("MJy/sr", PHOTMJSR=0.7, PIXAR_SR=2e-14, PHOTFLAM=1e-19, PHOTPLAM=5e3)
    assert made.scale == pytest.approx(1e15 * 2e-14)


def test_a_relative_scale_is_used_when_there_is_nothing_else():
    with pytest.warns(SkytoolWarning, match="relative"):
        first, second = (calibration(FLXSCALE=f) for f in (1.0, 6.5))
    assert second.factor_to(first) == pytest.approx(6.5)
    absolute = calibration(FLXSCALE=10.0, MAGZEROP=25.0)
    assert absolute.zero_point == pytest.approx(22.5)


def test_a_relative_scale_beside_a_zero_point_is_announced():
    with pytest.warns(SkytoolWarning, match="FLXSCALE = 6.5"):
        assert zero_point(MAGZERO=30.0, FLXSCALE=6.5) == pytest.approx(30.0)
    assert zero_point(MAGZERO=30.0, FLXSCALE=1.0) == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("cards", "what"),
    [
        ({"MAGZERO": "unknown"}, "MAGZERO"),
        ({"MAGZERO": -999.0}, "impossible magnitude"),
        ({"MAGZERO": True}, "MAGZERO"),
        ({"MAGZPT": 25.0}, "EXPTIME"),
        ({"MAGZPT": 25.0, "EXPTIME": 0.0}, "EXPTIME"),
        ({"FLUXMAG0": 0.0}, "FLUXMAG0"),
        ({"FLXSCALE": -1.0}, "FLXSCALE"),
        ({"PHOTFLAM": 1e-19, "PHOTPLAM": 0.0, "EXPTIME": 9.0}, "PHOTPLAM"),
    ],
)
def test_impossible_cards_are_announced_and_not_used(cards, what):
    with pytest.warns(SkytoolWarning, match=rf"a\.fits.*{what}"):
        assert calibration(**cards) is None


def test_an_impossible_card_does_not_hide_a_good_one():
    with pytest.warns(SkytoolWarning, match="MAGZERO"):
        assert zero_point(MAGZERO=-999.0, MAGZP=26.0) == pytest.approx(26.0)


def test_numbers_in_quotes_are_numbers():
    assert zero_point(MAGZP="26.0") == pytest.approx(26.0)


def test_files_of_skytool_ignore_what_the_camera_said():
    cards = {"SKYFMT": 1, "MAGZPT": 24.8, "EXPTIME": 107.0, "FLXSCALE": 3.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert zero_point("nJy", MAGZERO=31.4, **cards) == pytest.approx(31.4)
        assert zero_point("adu/s", MAGZERO=27.0, **cards) == pytest.approx(27.0)
        assert calibration("adu", **cards) is None


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        ("MAGZP", 26.0),
        ("magzpt", 31.0),
        ("MAGZPT=unit", 26.0),
        ("MAGZPT=total", 26.0),
        ("MAGZP=rate", 31.0),
        ("FLXSCALE", -2.5 * np.log10(4.0)),
        ("MYSCALE", -2.5 * np.log10(8.0)),
        ("MYZERO", 24.5),
        ("MYZERO = rate", 29.5),
        ("FLUXMAG0", 25.0),
        ("MYFLUX=flux0", 27.5),
        ("MYNJY=njy", 31.4 - 5.0),
    ],
)
def test_the_user_may_choose_a_keyword_and_its_meaning(keyword, expected):
    got = zero_point(
        flux_keyword=keyword,
        MAGZERO=30.0,
        MAGZP=26.0,
        MAGZPT=26.0,
        FLXSCALE=4.0,
        MYSCALE=8.0,
        MYZERO=24.5,
        FLUXMAG0=1e10,
        MYFLUX=1e11,
        MYNJY=100.0,
        EXPTIME=100.0,
    )
    assert got == pytest.approx(expected)


@pytest.mark.parametrize(
    ("keyword", "what"),
    [
        ("NOKEY", "NOKEY"),
        ("MAGZP=flux", "cannot mean"),
        ("OBJECT=unit", "OBJECT"),
        ("MAGZPT", "EXPTIME"),
    ],
)
def test_a_chosen_keyword_that_cannot_be_used_is_an_error(keyword, what):
    with pytest.raises(IncompatibleError, match=what):
        zero_point(flux_keyword=keyword, MAGZP=26.0, OBJECT="M 31", MAGZPT=25.0)


def test_the_calibration_of_a_real_camera_is_read_without_a_warning(shared):
    path = next((shared / "data" / "decam-stamps").glob("*ooi_z*.fits"))
    with fits.open(path) as hdus:
        header = hdus[0].header + hdus[1].header
        wanted = hdus[0].header["MAGZERO"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = calibration_from_header(header, unit="", name=path.name)
    assert made.zero_point == pytest.approx(wanted, abs=1e-9)
