import pytest
from astropy.io import fits

from skytool.models.observation.header_values import (
    comment_of,
    first_number,
    is_sexagesimal,
    number_of,
)


def header(value, comment=""):
    found = fits.Header()
    found["KEY"] = (value, comment)
    return found


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (12, 12.0),
        (-0.5, -0.5),
        ("3.25", 3.25),
        ("10:30:00", 10.5),
        ("-00:30:00", -0.5),
        ("+05 15", 5.25),
        ("10h30m36s", 10.51),
        (" 10:30:36.0 ", 10.51),
        (-5208470.95, -5208470.95),
    ],
)
def test_numbers_are_read_from_any_form(value, number):
    assert number_of(header(value), "KEY") == pytest.approx(number, abs=1e-12)


@pytest.mark.parametrize(
    "value",
    [True, "", "N/A", "nan", "inf", "10:60:00", "10:30:60", -9999, -9999.9, "-99999", None],
    ids=str,
)
def test_what_is_no_number_is_none(value):
    assert number_of(header(value), "KEY") is None
    assert number_of(fits.Header(), "KEY") is None


def test_only_texts_with_minutes_are_sexagesimal():
    assert is_sexagesimal(header("10:30"), "KEY")
    assert not is_sexagesimal(header("10.5"), "KEY")
    assert not is_sexagesimal(header(10.5), "KEY")


def test_first_number_within_the_limits_counts():
    cards = fits.Header({"A": 200.0, "B": 40.0, "C": 50.0, "D": "none"})

    assert first_number(cards, ("A", "B"), 0.0, 90.0) == (40.0, "B")
    assert first_number(cards, (("B", "C"), "B")) == (45.0, "B and C")
    # both of a pair must be there and possible
    assert first_number(cards, (("A", "B"), ("C", "D"), "C"), 0.0, 90.0) == (50.0, "C")
    assert first_number(cards, ("D", "E")) is None


def test_comment_is_small():
    assert comment_of(header(1.0, "[Deg] angle"), "KEY") == "[deg] angle"
    assert comment_of(fits.Header(), "KEY") == ""
