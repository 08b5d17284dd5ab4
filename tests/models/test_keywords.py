import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import SkytoolWarning
from skytool.models.keywords import (
    COMMENTS,
    common_cards,
    is_wcs_keyword,
    merged_headers,
    observation_cards,
    set_card,
    valid_cards,
)


def stored(header):
    """Return a header as it comes back from a file."""
    return fits.Header.fromstring(header.tostring())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("GAIN", 1.25),
        ("GAIN", np.float32(1.25)),
        ("NAXIS9", np.int64(7)),
        ("FLAG", True),
        ("FLAG", np.bool_(False)),
        ("FILTER", "r"),
        ("OBJECT", "O'Neill's field"),
        ("OBJECT", ""),
        ("OBJECT", "x" * 300),
        ("BORE-AIRMASS", 1.125),
        ("BOX.MINX", -3),
        ("a b c", "text"),
        ("MP_DETECTED_NEGATIVE", 6),
        ("CRVAL1", 123.45678901234567),
    ],
)
def test_a_card_comes_back_with_its_value_and_comment(key, value):
    header = fits.Header()

    set_card(header, key, value, "[m] what")
    read = stored(header)

    assert read[key] == value
    assert type(read[key]) in {str, int, float, bool}
    if len(str(value)) < 60:
        assert read.comments[key] == "[m] what"


@pytest.mark.parametrize("key", COMMENTS)
def test_every_comment_fits_behind_its_value(key):
    header = fits.Header()

    set_card(header, key, -1.2345678901234567e-12 if "]" in COMMENTS[key] else "WORDS")

    assert stored(header).comments[key] == COMMENTS[key]
    assert len(header.cards[key].image) == 80


@pytest.mark.parametrize("value", [None, np.nan, np.inf, -np.inf, np.float32(np.nan)])
def test_what_a_card_cannot_hold_takes_it_away(value):
    header = fits.Header([("AIRMASS", 1.5), ("GAIN", 2.0)])

    set_card(header, "AIRMASS", value)

    assert list(header) == ["GAIN"]
    set_card(header, "AIRMASS", value)
    assert list(header) == ["GAIN"]


@pytest.mark.parametrize("value", [[1, 2], np.arange(3), 1j, object()])
def test_other_values_are_refused(value):
    with pytest.raises(ValueError, match="cannot hold"):
        set_card(fits.Header(), "KEY", value)


@pytest.mark.parametrize("key", ["", "A=B", " LEADING", "Ä"])
def test_impossible_keywords_are_refused(key):
    with pytest.raises(ValueError, match="keyword"):
        set_card(fits.Header(), key, 1)


def test_text_that_a_header_cannot_hold_is_replaced():
    header = fits.Header()

    set_card(header, "OBSERVER", "Ørsted\nH. C.\t ")

    assert stored(header)["OBSERVER"] == "?rsted?H. C.?"


def test_a_comment_that_does_not_fit_is_left_out():
    header = fits.Header()

    set_card(header, "OBJECT", "x" * 60, "a comment of some length")
    set_card(header, "HISTOGRAM-OF-A-LONG-NAME", "y" * 30, "a comment of some length")

    assert stored(header)["OBJECT"] == "x" * 60
    assert not stored(header).comments["OBJECT"]
    assert stored(header)["HISTOGRAM-OF-A-LONG-NAME"] == "y" * 30


def test_a_long_text_under_a_long_name_is_cut_with_a_warning():
    header = fits.Header()

    with pytest.warns(SkytoolWarning, match="A-NAME-OF-MANY-LETTERS is cut"):
        set_card(header, "A-NAME-OF-MANY-LETTERS", "it's" * 30)

    value = stored(header)["A-NAME-OF-MANY-LETTERS"]
    assert ("it's" * 30).startswith(value)
    assert len(value) > 30


def test_a_value_is_replaced_in_its_place():
    header = fits.Header([("GAIN", 1.0), ("FILTER", "r")])

    set_card(header, "GAIN", 2.5)
    set_card(header, "HIERARCHY-OF-NAMES", 1)
    set_card(header, "HIERARCHY-OF-NAMES", 2)

    assert list(header.items()) == [("GAIN", 2.5), ("FILTER", "r"), ("HIERARCHY-OF-NAMES", 2)]


NEVER_COPIED = [
    *("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS3", "EXTEND", "PCOUNT", "GCOUNT"),
    *("TFIELDS", "TTYPE1", "TFORM12", "TUNIT3", "TDIM2", "EXTNAME", "EXTVER", "INHERIT", "BUNIT"),
    *("BSCALE", "BZERO", "BLANK", "DATE", "CHECKSUM", "DATASUM", "NEXTEND"),
    *("ZIMAGE", "ZNAXIS1", "ZTILE2", "ZCMPTYPE", "ZQUANTIZ", "ZDITHER0", "ZVAL1", "ZBLANK"),
    *("ZHECKSUM", "FZALGOR", "WCSAXES", "CTYPE1", "CTYPE2A", "CRVAL1", "CRPIX2", "CDELT1"),
    *("CROTA2", "CUNIT1", "CD1_1", "PC2_1", "PV1_12", "PV2_3A", "PS1_0", "LONPOLE", "LATPOLE"),
    *("RADESYS", "RADECSYS", "EQUINOX", "A_ORDER", "A_2_0", "BP_1_1", "A_DMAX", "CPDIS1", "DP1"),
    *("D2IMDIS2", "D2IM1", "D2IMARR", "WAT1_001", "LTV1", "LTM1_1", "ATV1", "WCSNAMEA"),
    *("MP_BAD", "MSKN0001", "MSKM0012", "MSKD0003", "SKYFMT", "SKYTYPE", "SKYSTAGE", "CREATOR"),
    *("MAGZERO", "FLUXMAG0", "AR_HDU", "PSF_ID"),
]
COPIED = [
    *("TELESCOP", "INSTRUME", "DETECTOR", "FILTER", "OBJECT", "EXPTIME", "MJD-OBS", "DATE-OBS"),
    *("DATE-AVG", "TIMESYS", "AIRMASS", "RA", "DEC", "BORE-RA", "GAIN", "RDNOISE", "SATURATE"),
    *("PHOTFLAM", "ZD", "ZENITH", "PVAL", "CDBASE", "MSKFILE", "AIRTEMP", "CCDSEC", "SEEING"),
    *("ORIGIN", "NCOMBINE"),
]


def test_cards_of_structure_place_and_sums_are_not_copied():
    values = {"DATE-OBS": "2025-01-25", "DATE-AVG": "2025-01-25T08:48:51"}
    header = fits.Header([(key, values.get(key, 1)) for key in [*NEVER_COPIED, *COPIED]])

    assert list(observation_cards(header)) == COPIED


def test_record_valued_and_long_wcs_cards_are_not_copied():
    header = fits.Header()
    header["DP1"] = "EXTVER: 1"
    header["DP1"] = "NAXES: 2"
    header["HIERARCH MP_DETECTED_NEGATIVE"] = 6
    header["HIERARCH ESO TEL AIRM"] = 1.25

    assert list(observation_cards(header)) == ["ESO TEL AIRM"]


def test_of_cards_that_are_there_twice_the_first_is_copied():
    header = fits.Header()
    header.append(("FILTER", "r", "first"), end=True)
    header.append(("FILTER", "g", "second"), end=True)

    copied = observation_cards(header)

    assert copied.count("FILTER") == 1
    assert copied["FILTER"] == "r"


def test_comments_and_history_are_copied_once_without_boilerplate():
    header = fits.Header()
    header.add_comment("FITS (Flexible Image Transport System) format is defined in 'Astronomy")
    header.add_comment("and Astrophysics', volume 376, page 359; bibcode: 2001A&A...376..359H")
    header.add_comment("clouds in the west")
    header.add_history("flat field 7")
    header.add_blank("")
    header.add_comment("clouds in the west")
    header.add_history("flat field 7")
    header.add_history("bias 3")

    copied = observation_cards(header)

    assert list(copied["COMMENT"]) == ["clouds in the west"]
    assert list(copied["HISTORY"]) == ["flat field 7", "bias 3"]
    assert len(copied) == 3


def test_long_strings_are_copied_and_cards_without_value_become_words():
    header = fits.Header()
    header["FILES"] = ("x" * 200, "inputs")
    header["UNKNOWN"] = (None, "not measured")

    copied = stored(observation_cards(stored(header)))

    assert copied["FILES"] == "x" * 200
    assert "UNKNOWN = / not measured" in [*copied["COMMENT"]]
    assert "CONTINUE" not in list(copied)


def test_invalid_cards_are_left_out_with_a_warning():
    text = [
        "GAIN    =              1.2.5.3".ljust(80),
        "FILTER  = 'r       '".ljust(80),
        "bad key = 3".ljust(80),
        "NAN     =                  NaN".ljust(80),
        "END".ljust(80),
    ]
    header = fits.Header.fromstring("".join(text))

    with pytest.warns(SkytoolWarning) as seen:
        copied = observation_cards(header)

    assert "the invalid header card GAIN is not copied." in [str(each.message) for each in seen]
    assert "FILTER" in copied
    assert "GAIN" not in copied
    assert stored(copied)["FILTER"] == "r"


def test_cards_that_can_be_written_are_kept_as_they_are():
    header = fits.Header()
    header["FILES"] = ("x" * 200, "inputs")
    header["HIERARCH a long name"] = 3
    header["DP1"] = "EXTVER: 1"
    header.add_history("one")
    header.add_blank("")
    bad = fits.Card.fromstring("GAIN    =              1.2.5.3".ljust(80))
    odd = fits.Card.fromstring("NAME    = 'tab\there'".ljust(80))

    with pytest.warns(SkytoolWarning) as seen:
        valid = valid_cards(fits.Header([*header.cards, bad, odd]))

    assert valid.tostring() == header.tostring()
    assert [str(each.message) for each in seen] == [
        f"the invalid header card {key} is left out." for key in ("GAIN", "NAME")
    ]


def test_an_extension_hides_cards_of_the_primary():
    primary = fits.Header([("SIMPLE", True), ("FILTER", "r"), ("GAIN", 1.0)])
    primary.add_history("one")
    extension = fits.Header([("XTENSION", "IMAGE"), ("GAIN", 2.0)])
    extension.add_history("two")

    merged = merged_headers(primary, extension)

    assert merged["FILTER"] == "r"
    assert merged["GAIN"] == 2.0
    assert list(merged["HISTORY"]) == ["two", "one"]
    assert "SIMPLE" not in merged
    assert "FILTER" not in extension


def test_common_cards_are_those_that_all_inputs_have():
    first = fits.Header([("FILTER", "r"), ("VISIT", 1), ("GAIN", 1.5), ("OBJECT", "x")])
    first.add_history("one")
    second = fits.Header([("OBJECT", "x"), ("FILTER", "r"), ("VISIT", 2)])
    second.add_history("one")

    common = common_cards(iter([first, second]))

    assert list(common.items()) == [("FILTER", "r"), ("OBJECT", "x")]
    assert len(first) == 5


@pytest.mark.parametrize(
    "key", ["CRVAL1", "CD2_1", "PV1_39", "A_0_2", "LTV1", "RADESYS", "CTYPE1A"]
)
def test_wcs_keywords_are_known(key):
    assert is_wcs_keyword(key)


@pytest.mark.parametrize("key", ["RA", "DATE-OBS", "EXPTIME", "PVAL", "NAXIS1", "MAGZERO"])
def test_other_keywords_are_no_wcs(key):
    assert not is_wcs_keyword(key)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("DATE-OBS", "2013-07-07T18:22:22.25", "2013-07-07T18:22:22.25"),
        ("DATE-OBS", "31/12/98", "31/12/98"),
        ("DATE_SOS", "990502", None),
        ("DATE-END", "2013-07-07T18:22:22Z", None),
        ("DATEX", 3, None),
        ("OBJECT", 1234, "1234"),
        ("MJD-OBS", "60000.5", 60000.5),
        ("MJD-OBS", "unknown", None),
        ("HIERARCH DATE LONG", "990502", "990502"),
    ],
)
def test_values_that_the_standard_does_not_allow_are_mended_or_become_words(key, value, expected):
    copied = observation_cards(fits.Header([(key, value, "why")]))

    key = key.removeprefix("HIERARCH ")
    if expected is None:
        assert key not in copied
        assert [*copied["COMMENT"]] == [f"{key} = {value} / why"]
    else:
        assert copied[key] == expected
