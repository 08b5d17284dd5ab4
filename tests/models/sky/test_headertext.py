import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import InputError
from skytool.models.sky.headertext import parse_header_text

MONTAGE = """\
SIMPLE  = T
BITPIX  = -64
NAXIS   = 2
NAXIS1  = 300
NAXIS2 = 400
CTYPE1  = 'RA---TAN'
CTYPE2  = 'DEC--TAN'
CRVAL1  =   210.25
CDELT1  =  -2.8E-04
CDELT2  =   2.8D-04   / a comment with ' in it
EQUINOX =  2000
END
NAXIS1  = 999
"""


def test_lines_up_to_end_are_read():
    header = parse_header_text(MONTAGE, name="a.hdr")
    assert header["NAXIS1"] == 300
    assert header["NAXIS2"] == 400
    assert header["CTYPE1"] == "RA---TAN"
    assert header["CDELT2"] == 2.8e-4
    assert header["SIMPLE"] is True


def test_end_may_be_missing():
    assert parse_header_text(MONTAGE.split("END", maxsplit=1)[0], name="a.head")["EQUINOX"] == 2000


def test_history_comments_and_valueless_cards_are_left_out():
    text = (
        "HISTORY   Astrometric solution = good\nCOMMENT   (c) someone\n# note\n\n"
        "OBSERVER=   / nobody\nHIERARCH ESO DET = 3\nCRPIX1  = 5 / x\n"
    )
    assert list(parse_header_text(text, name="a.head").items()) == [("CRPIX1", 5)]


def test_a_dump_without_line_breaks_is_read():
    header = fits.Header()
    header["CRVAL1"], header["OBJECT"] = 12.5, "it's / a field"
    read = parse_header_text(header.tostring(padding=False), name="a.head")
    assert (read["CRVAL1"], read["OBJECT"]) == (12.5, "it's / a field")


def test_the_last_of_two_values_counts():
    assert parse_header_text("A = 1\nA = 2\n", name="a")["A"] == 2


def test_numbers_keep_all_digits():
    value = float(np.nextafter(150.1, 151.0))
    assert parse_header_text(f"CRVAL1 = {value!r}\n", name="a")["CRVAL1"] == value


@pytest.mark.parametrize(
    "text", ["", "END\n", "just words\n", "A = 'open\n", "A = 1.2.3\n", "CRVAL1 = NaN\n"]
)
def test_what_is_no_header_is_refused_with_the_file_named(text):
    with pytest.raises(InputError, match=r"bad\.hdr"):
        parse_header_text(text, name="bad.hdr")
