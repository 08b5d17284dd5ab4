import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skytool.errors import IncompatibleError, InputError
from skytool.models.mask import N_BITS, PLANES, Mask, parse_planes

SHAPE = (4, 7)


def mask_of(**planes):
    """Return a mask with one pixel (0, bit) set for each plane, at the bit given."""
    array = np.zeros((1, N_BITS), np.int32)
    for bit in planes.values():
        array[0, bit] = 1 << bit
    return Mask(array, planes)


def header_of(mask):
    header = fits.Header()
    for key, value, comment in mask.cards():
        header[key] = (value, comment)
    return fits.Header.fromstring(header.tostring())


def pixels(mask, plane):
    return np.argwhere(mask.any_of([plane])).tolist()


def test_a_new_mask_has_the_usual_planes_and_no_flags():
    mask = Mask.empty(SHAPE)

    assert mask.shape == SHAPE
    assert mask.array.dtype == np.int32
    assert {name: mask.bits[name] for name in ("BAD", "SAT", "NO_DATA")} == {
        "BAD": 0,
        "SAT": 1,
        "NO_DATA": 8,
    }
    assert not mask.any_of(PLANES).any()


def test_planes_are_found_by_the_bits_of_the_mask():
    mask = mask_of(SAT=5, BAD=2, ODD=30)

    assert pixels(mask, "SAT") == [[0, 5]]
    assert pixels(mask, "ODD") == [[0, 30]]
    assert mask.any_of(["SAT", "BAD"]).sum() == 2
    assert mask.bitmask(["SAT", "BAD", "ODD"]) == (1 << 5) + (1 << 2) + (1 << 30)


def test_a_usual_plane_that_a_mask_lacks_is_empty():
    assert not mask_of(SAT=5).any_of(["CR"]).any()


def test_a_plane_nobody_knows_is_an_error_with_a_guess():
    with pytest.raises(
        IncompatibleError, match=r"unknown mask plane 'SATT'\. Did you mean SAT\?.*NO_DATA"
    ):
        Mask.empty(SHAPE).any_of(["SATT"])


def test_flags_are_added_to_a_copy():
    mask = Mask.empty(SHAPE)
    where = np.zeros(SHAPE, bool)
    where[2, 5] = True

    flagged = mask.with_flagged(where, "SAT", "FOREIGN")

    assert pixels(flagged, "SAT") == pixels(flagged, "FOREIGN") == [[2, 5]]
    assert not mask.array.any()
    assert "FOREIGN" not in mask.bits


def test_other_planes_get_the_lowest_bit_that_no_usual_plane_has():
    mask = Mask(np.zeros(SHAPE, np.int32), {"SAT": 1}).with_planes(["ONE", "TWO", "CR"])

    assert mask.bits == {"SAT": 1, "ONE": 22, "TWO": 23, "CR": PLANES["CR"].bit}


def test_a_usual_plane_whose_bit_is_taken_gets_a_free_one():
    mask = Mask(np.zeros(SHAPE, np.int32), {"ODD": PLANES["CR"].bit}).with_planes(["CR"])

    assert mask.bits["CR"] == 22


def test_a_mask_has_no_more_planes_than_bits():
    mask = Mask.empty(SHAPE).with_planes([f"P{index}" for index in range(N_BITS - len(PLANES))])

    assert sorted(mask.bits.values()) == list(range(N_BITS))
    with pytest.raises(InputError, match="no bit is free for mask plane LAST"):
        mask.with_planes(["LAST"])


def test_planes_keep_their_pixels_under_other_numbers():
    mask = mask_of(SAT=5, BAD=2, ODD=30, CR=0)

    renumbered = mask.renumbered({"SAT": 2, "BAD": 5, "ODD": 0, "CR": 29, "NEW": 7})

    for plane in ("SAT", "BAD", "ODD", "CR"):
        assert pixels(renumbered, plane) == pixels(mask, plane)
    assert not renumbered.any_of(["NEW"]).any()
    assert (renumbered.array >= 0).all()


@given(st.permutations(range(N_BITS)), st.permutations(range(N_BITS)), st.integers(1, N_BITS))
def test_any_renumbering_keeps_all_planes(before, after, count):
    names = [f"P{index}" for index in range(count)]
    mask = mask_of(**dict(zip(names, before, strict=False)))

    renumbered = mask.renumbered(dict(zip(names, after, strict=False)))

    for name in names:
        assert pixels(renumbered, name) == pixels(mask, name)
    assert_array_equal(renumbered.renumbered(mask.bits).array, mask.array)


def test_a_plane_without_flags_may_go_and_one_with_flags_may_not():
    mask = Mask(np.full(SHAPE, 1 << 4, np.int32), {"EDGE": 4, "CR": 3})

    assert mask.renumbered({"EDGE": 6}).bits == {"EDGE": 6}
    with pytest.raises(ValueError, match="EDGE is set"):
        mask.renumbered({"CR": 3})


def test_masks_are_joined_by_name():
    first, second = mask_of(SAT=1, ODD=3), mask_of(SAT=7, CR=3, STRANGE=1)
    bits = first.merged_bits(second)

    joined = Mask(first.renumbered(bits).array | second.renumbered(bits).array, bits)

    assert len(set(bits.values())) == 4
    assert pixels(joined, "SAT") == [[0, 1], [0, 7]]
    assert pixels(joined, "ODD") == [[0, 3]]
    assert pixels(joined, "CR") == [[0, 3]]
    assert pixels(joined, "STRANGE") == [[0, 1]]


def test_cards_bring_the_planes_back():
    mask = mask_of(SAT=5, DETECTED_NEGATIVE=2, ODD=30)

    read = Mask.from_array(mask.array, header_of(mask), name="a.fits")

    assert dict(read.bits) == dict(mask.bits)
    assert_array_equal(read.array, mask.array)


def test_the_other_cards_do_where_there_are_no_first_ones():
    mask = mask_of(SAT=5, DETECTED_NEGATIVE=2)
    header = header_of(mask)
    for key in [key for key in header if key.startswith("MP_")]:
        del header[key]

    assert dict(Mask.from_array(mask.array, header, name="a.fits").bits) == dict(mask.bits)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", ">i4"])
def test_flags_of_every_integer_type_become_int32(dtype):
    array = np.array([[0, 1, 4, 5]], dtype)

    mask = Mask.from_array(array, fits.Header([("MP_BAD", 0), ("MP_CR", 2)]), name="a.fits")

    assert mask.array.dtype == np.dtype("=i4")
    assert_array_equal(mask.array, array)


@pytest.mark.parametrize("value", [2, 3, -1, -(2**31)])
def test_a_bit_that_no_card_names_is_an_error(value):
    array = np.zeros(SHAPE, np.int32)
    array[1, 3] = value

    with pytest.raises(InputError, match=r"a\.fits\[MASK\]: pixels have the mask value"):
        Mask.from_array(array, fits.Header([("MP_BAD", 0)]), name="a.fits[MASK]")


def test_the_sign_bit_of_unsigned_flags_is_an_error():
    array = np.full(SHAPE, 1 << 31, np.uint32)

    with pytest.raises(InputError, match="2147483648"):
        Mask.from_array(array, fits.Header([("MP_BAD", 0)]), name="a.fits")


@pytest.mark.parametrize(
    "cards",
    [
        [("MP_BAD", 31)],
        [("MP_BAD", -1)],
        [("MP_BAD", "x")],
        [("MP_BAD", True)],
        [("MP_BAD", 1.5)],
        [("MSKN0000", "BAD"), ("MSKM0000", 3)],
        [("MSKN0000", "BAD"), ("MSKM0000", 0)],
        [("MSKN0000", "BAD")],
    ],
)
def test_impossible_bits_are_errors(cards):
    with pytest.raises(InputError, match="mask plane BAD has the impossible bit"):
        Mask.from_array(np.zeros(SHAPE, np.int32), fits.Header(cards), name="a.fits")


@pytest.mark.parametrize("plane", ["A B", "A=B", "SA\x07", "", "A" * 61])
def test_a_name_that_no_keyword_can_have_is_an_error(plane):
    header = {"MSKN0000": plane, "MSKM0000": 1}

    with pytest.raises(InputError, match="a mask plane has the impossible name"):
        Mask.from_array(np.zeros(SHAPE, np.int32), header, name="a.fits")


def test_lists_of_planes_are_parsed():
    assert parse_planes(" bad,SAT , ,cr") == ("BAD", "SAT", "CR")
    assert parse_planes("odd", known=["ODD"]) == ("ODD",)
    assert parse_planes("") == ()


@pytest.mark.parametrize("text", ["7", "BAD,1+4", "NODATA"])
def test_numbers_and_unknown_names_are_no_planes(text):
    with pytest.raises(IncompatibleError, match="unknown mask plane"):
        parse_planes(text)
