import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import IncompatibleError
from skytool.io.skywcs import in_array_pixels, needs_tables, origin_of, read_wcs, with_valid_cards
from tests.io.foreign import wcs_header


def header(**cards):
    result = wcs_header()
    for key, value in cards.items():
        result[key] = value
    return result


def test_coordinates_are_those_of_array_pixels():
    wcs = read_wcs(header(), name="a.fits")
    # reference pixel (33, 52) in 1-based numbers
    assert wcs.all_pix2world(32.0, 51.0, 0) == pytest.approx([150.1, 2.3], abs=1e-12)


@pytest.mark.parametrize("kinds", [(), ("LINEAR", "LINEAR"), ("WAVE", "AWAV")])
def test_an_image_without_celestial_axes_has_no_coordinates(kinds):
    cards = fits.Header()
    for axis, kind in enumerate(kinds, 1):
        cards[f"CTYPE{axis}"] = kind
    assert read_wcs(cards, name="a.fits") is None


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"CRVAL1": "NaN"}, r"CRVAL1 = NaN is no number"),
        ({"CRPIX2": True}, r"CRPIX2 = True is no number"),
        ({"CD1_1": 0.0, "CD2_2": 0.0}, r"singular: CD1_1 = 0, CD1_2 = 0"),
        ({"CD1_1": 1e-4, "CD1_2": 1e-4, "CD2_1": 1e-4, "CD2_2": 1e-4}, "singular: CD1_1 = 0.0001"),
        ({"CTYPE2": "RA---TAN"}, "unusable WCS"),
        ({"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, "unusable WCS"),
    ],
)
def test_coordinates_that_cannot_be_are_refused_by_value(cards, message):
    with pytest.raises(IncompatibleError, match=rf"a\.fits.*{message}") as info:
        read_wcs(header(**cards), name="a.fits")
    assert info.value.exit_code == 4


def test_a_scale_of_zero_is_refused_by_value():
    cards = header(CDELT1=0.0, CDELT2=1e-4)
    for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        del cards[key]
    with pytest.raises(IncompatibleError, match="pixel scale CDELT1 is zero"):
        read_wcs(cards, name="a.fits")


@pytest.mark.parametrize("text", ["NaN", "inf", "1.5.2"])
def test_cards_that_are_no_fits_numbers_are_refused(text):
    raw = header().tostring().replace("CRVAL1  =                150.1", f"CRVAL1  = {text:>20}")
    assert text in raw
    with pytest.raises(IncompatibleError, match=rf"CRVAL1 = {text} is no number"):
        read_wcs(with_valid_cards(fits.Header.fromstring(raw)), name="a.fits")


LINEAR = {"CTYPE1A": "LINEAR", "CTYPE2A": "LINEAR", "CRVAL1A": 7.0, "CRVAL2A": 9.0}


@pytest.mark.parametrize(
    ("cards", "origin"),
    [
        ({}, (0, 0)),
        ({"LTV1": -12, "LTV2": 5}, (-5, 12)),
        ({"LTV1": -12.0, "LTV2": 5.0, "LTM1_1": 1.0, "LTM2_2": 1.0}, (-5, 12)),
        ({"LTV1": -12, "LTV2": 5, "LTM1_1": 0.5, "LTM2_2": 0.5}, (0, 0)),
        ({"LTV1": -12.5, "LTV2": 5.0}, (0, 0)),
        ({"LTV1": "x", "LTV2": 5.0}, (0, 0)),
        ({"LTV1": -12}, (0, 12)),
        ({**LINEAR, "CRPIX1A": 1.0, "CRPIX2A": 1.0}, (9, 7)),
        (LINEAR, (10, 8)),  # without CRPIX, pixel 0 of FITS, which is ahead of the first
        ({**LINEAR, "CRPIX1A": 1.0, "CRPIX2A": 1.0, "LTV1": 0, "LTV2": 0}, (9, 7)),
        ({"CTYPE1A": "LINEAR", "CTYPE2A": "RA---TAN", "CRVAL1A": 7.0, "CRVAL2A": 9.0}, (0, 0)),
        ({"X0": 31, "Y0": 41}, (41, 31)),
    ],
)
def test_the_origin_is_found_in_every_convention(cards, origin):
    assert origin_of(header(**cards)) == origin


def test_moving_to_array_pixels_keeps_the_sky():
    before = header(X0=20, Y0=30)
    moved = in_array_pixels(before, origin_of(before))
    parent = read_wcs(before, name="a").all_pix2world(25.0, 37.0, 0)
    assert np.array_equal(read_wcs(moved, name="a").all_pix2world(5.0, 7.0, 0), parent)
    assert before["CRPIX1"] == 33.0


@pytest.mark.parametrize(
    ("cards", "needed"),
    [({}, False), ({"CPDIS1": "Lookup"}, True), ({"CTYPE1": "RA---TAB"}, True)],
)
def test_tables_are_asked_for_only_where_coordinates_need_them(cards, needed):
    assert needs_tables(header(**cards)) is needed
