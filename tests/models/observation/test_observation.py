import pytest
from astropy.io import fits

from skytool.errors import IncompatibleError
from skytool.models.observation.observation import (
    band_of,
    check_single_filter,
    observation_from_header,
    visit_key,
)


def header(**cards):
    result = fits.Header()
    for key, value in cards.items():
        result[key.replace("_", "-") if key.isupper() else key] = value
    return result


def key_of(**cards):
    return visit_key(header(**cards), name="raw7.fits[N4]")


DATES = {"DATE_OBS": "2017-03-16T06:18:30", "FILTER": "i"}


@pytest.mark.parametrize(
    ("cards", "visit"),
    [
        ({"VISIT": 7, "EXPNUM": 8}, "7"),
        ({"VISIT": "0042"}, "42"),
        ({"VISIT": 42.0}, "42"),
        ({"EXPNUM": 630780, "OBSID": "ct4m2017"}, "630780"),
        ({"EXPID": "e1"}, "e1"),
        ({"EXP_ID": "HSCE00091230", "FRAMEID": "HSCA09123104"}, "HSCE00091230"),
        ({"OBSID": " ct4m 2017 "}, "ct4m 2017"),
        ({"VISIT": "", "EXPNUM": "unknown", "OBSID": "b"}, "b"),
        ({"VISIT": True, "EXPNUM": 5}, "5"),
        ({"FRAMEID": "SUPA01234567"}, "SUPA0123456"),
        ({"FRAMEID": "HSCA09123104"}, "HSCA091230"),
        ({"FRAMEID": "F0007"}, "F0007"),
        (DATES, "2017-03-16T06:18:30-i"),
        ({"DATE_OBS": "2017-03-16"}, "raw7.fits"),
        ({}, "raw7.fits"),
        ({"TELESCOP": "HST", "VISIT": "02", "ROOTNAME": "j8xi0x"}, "j8xi0x"),
        ({"TELESCOP": "JWST", "VISIT": "001"}, "raw7.fits"),
    ],
)
def test_the_first_usual_keyword_names_the_visit(cards, visit):
    assert key_of(**cards) == visit


def test_detectors_of_one_exposure_share_their_visit_and_others_do_not():
    frames = [f"HSCA0912{n:04d}" for n in (3000, 3055, 3099, 3100, 3111)]
    assert len({key_of(FRAMEID=frame) for frame in frames}) == 1
    assert key_of(FRAMEID="HSCA09123200") != key_of(FRAMEID=frames[0])
    assert key_of(**DATES) != key_of(**{**DATES, "FILTER": "r"})


def test_chosen_keywords_name_the_visit_together():
    cards = header(NIGHT="20170316", RUN=12, FILTER="i")
    assert visit_key(cards, ["NIGHT", "RUN"]) == "20170316-12"


@pytest.mark.parametrize("cards", [{}, {"RUN": ""}, {"RUN": "N/A"}])
def test_a_chosen_keyword_that_is_missing_is_an_error(cards):
    with pytest.raises(IncompatibleError, match=r"a\.fits.*RUN"):
        visit_key(header(**cards), ["RUN"], name="a.fits")


@pytest.mark.parametrize(
    ("cards", "number", "name"),
    [
        ({"DETECTOR": 94}, 94, "94"),
        ({"DETECTOR": "S3-222_135959-11-1", "CCDNUM": 33, "DETPOS": "N2"}, 33, "N2"),
        ({"CCD": "CCD12"}, 12, "CCD12"),
        ({"CHIP": "chip_07"}, 7, "chip_07"),
        ({"EXTNAME": "im4"}, 4, "im4"),
        ({"EXTNAME": "N4"}, None, "N4"),
        ({"EXTNAME": "SCI", "EXTVER": 2}, 2, ""),
        ({"EXTNAME": "SCI", "EXTVER": 1, "CCDCHIP": 2}, 2, ""),
        ({"EXTNAME": "IMAGE", "EXTVER": 1}, None, ""),
        ({"HIERARCH ESO DET CHIP NO": 13}, 13, ""),
        ({"DETECTOR": -1}, None, "-1"),
        ({}, None, ""),
    ],
)
def test_a_detector_has_a_number_and_keeps_its_name(cards, number, name):
    observation = observation_from_header(header(**cards))
    assert (observation.detector, observation.detector_name) == (number, name)


@pytest.mark.parametrize(
    ("text", "band"),
    [
        ("z DECam SDSS c0004 9260.0 1520.0", "z"),
        ("Y DECam c0005 10095.0 1130.0", "y"),
        ("VR DECam c0007 6300.0 2600.0", "VR"),
        ("SDSS i", "i"),
        ("sdss_g", "g"),
        ("HSC-I", "i"),
        ("HSC-R2", "r"),
        ("r_57", "r"),
        ("gp", "g"),
        ("g'", "g"),
        ("zs", "z"),
        ("i.MP9702", "i"),
        ("Bessell V", "V"),
        ("Bessel-R", "R"),
        ("Johnson B", "B"),
        ("I", "I"),
        ("R", "R"),
        ("Ks", "Ks"),
        ("k", "k"),
        ("H", "H"),
        ("F606W", "F606W"),
        ("W-J-V", "V"),
        ("W-S-I+", "i"),
        ("W-C-RC", "R"),
        ("i", "i"),
        ("H-alpha 6563", "H-alpha"),
        ("IRCUT", "IRCUT"),
        ("", ""),
    ],
)
def test_filters_have_short_names(text, band):
    assert band_of(text) == band


def test_the_band_of_the_header_goes_first():
    assert observation_from_header(header(FILTER="HSC-I", BAND="i2")).band == "i2"
    assert observation_from_header(header(FILTER="HSC-I")).band == "i"


@pytest.mark.parametrize(
    ("cards", "name"),
    [
        ({"FILTER": " z   DECam "}, "z DECam"),
        ({"FILTER1": "CLEAR1L", "FILTER2": "F606W"}, "F606W"),
        ({"FILTER1": "F606W", "FILTER2": "POL0V"}, "F606W+POL0V"),
        ({"FILTER1": "CLEAR1L", "FILTER2": "CLEAR2L"}, "CLEAR1L"),
        ({"FILTER01": "W-S-I+"}, "W-S-I+"),
        ({"BAND": "r"}, "r"),
        ({"FILTER": 4}, "4"),
        ({}, ""),
    ],
)
def test_filters_are_found_in_their_wheels(cards, name):
    assert observation_from_header(header(**cards)).filter == name


def test_numbers_of_the_observation_are_read():
    got = observation_from_header(
        header(
            TELESCOP="Blanco",
            INSTRUME="DECam",
            OBJECT="M 83",
            EXPTIME=107.0,
            AIRMASS="1.8",
            MJD_OBS=57828.25,
            VISIT="007",
            FILTER="z",
        )
    )
    assert (got.visit, got.visit_number) == ("7", 7)
    assert (got.telescope, got.instrument, got.target) == ("Blanco", "DECam", "M 83")
    assert (got.exposure_time, got.airmass) == (107.0, 1.8)
    assert got.mjd_start == 57828.25
    assert got.mjd_mid == pytest.approx(57828.25 + 53.5 / 86400, abs=1e-10)
    assert got.header["OBJECT"] == "M 83"


@pytest.mark.parametrize("cards", [{"EXPTIME": -1.0, "AIRMASS": 0.0}, {"EXPTIME": "x"}, {}])
def test_impossible_numbers_are_none(cards):
    got = observation_from_header(header(**cards))
    assert (got.exposure_time, got.airmass, got.mjd_mid, got.visit_number) == (None,) * 4


def observed(**cards):
    return observation_from_header(header(**cards))


def test_exposures_of_one_filter_agree_and_one_without_fits():
    pairs = [("a", observed()), ("b", observed(FILTER="i")), ("c", observed(FILTER="i"))]
    assert check_single_filter(pairs) == "i"
    assert check_single_filter([("a", observed())]) == ""


def test_mixed_filters_are_refused_with_both_files():
    with pytest.raises(IncompatibleError, match=r"b\.fits has 'i', c\.fits has 'r'"):
        check_single_filter([("b.fits", observed(FILTER="i")), ("c.fits", observed(FILTER="r"))])


def test_headers_of_real_cameras_are_understood(shared):
    data = shared / "data"
    with fits.open(
        next((data / "decam-stamps").glob("*ooi_z*170316*N2*"), None)
        or next((data / "decam-stamps").glob("c4d_170316*ooi_z*"))
    ) as hdus:
        decam = observation_from_header(hdus[1].header + hdus[0].header)
    assert (decam.visit, decam.detector, decam.band) == ("630780", 33, "z")
    assert decam.mjd_mid == pytest.approx((57828.26285591 + 57828.264094336) / 2, abs=1e-8)
    with fits.open(data / "infrared-chip" / "visit_1.fits") as hdus:
        vista = observation_from_header(hdus[1].header)
    assert (vista.detector, vista.band, vista.exposure_time) == (13, "H", 10.0)
