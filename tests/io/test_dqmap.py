import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import InputError
from skytool.io.dqmap import DqMap, any_flag_map, dq_map_text, shipped_dq_maps
from skytool.models.mask import PLANES

EMPTY = fits.Header()


def planes_of(mask, y, x):
    return {name for name, bit in mask.bits.items() if mask.array[y, x] & (1 << bit)}


def write_map(tmp_path, text):
    path = tmp_path / "map.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", shipped_dq_maps())
def test_every_shipped_map_is_well_formed_and_names_usual_planes(name):
    dq_map = DqMap.load(name)
    assert set(dq_map.planes) <= set(PLANES)
    assert dq_map.planes


@pytest.mark.parametrize("name", shipped_dq_maps())
def test_zero_is_a_good_pixel_in_every_shipped_map(name):
    mask = DqMap.load(name).mask(np.zeros((3, 4), np.int16), EMPTY, name="dq", band="g")
    assert not mask.array.any()


@pytest.mark.parametrize(
    ("name", "value", "planes"),
    [
        ("decam-codes", 1, {"BAD"}),
        ("decam-codes", 2, {"NO_DATA"}),
        ("decam-codes", 3, {"SAT"}),
        ("decam-codes", 4, {"SAT"}),
        ("decam-codes", 5, {"CR"}),
        ("decam-codes", 6, {"BAD"}),
        ("decam-codes", 7, {"CLIPPED"}),
        ("decam-codes", 8, {"STREAK"}),
        ("decam-bits", 1 + 16 + 4, {"BAD", "CR", "INTRP"}),
        ("decam-bits", 64, {"SAT"}),
        (
            "des",
            2 + 32 + 256 + 512 + 1024 + 2048,
            {"SAT", "SUSPECT", "CROSSTALK", "EDGE", "STREAK"},
        ),
        ("hst", 16 + 4096 + 2048, {"BAD", "CR", "SAT"}),
        ("hst-wfc3-ir", 2048 + 8192, set()),
        ("jwst", 1 << 31, {"NO_DATA"}),
        ("jwst", 1 + 2 + 4 + 16, {"BAD", "SAT", "CR"}),
        ("jwst", 4, set()),
        (
            "panstarrs",
            0x8 + 0x20 + 0x100 + 0x200 + 0x800,
            {"NO_DATA", "SAT", "CR", "SPIKE", "STREAK"},
        ),
        ("banzai", 4 + 2, {"BAD", "SAT"}),
        ("dragons", 16 + 64, {"NO_DATA", "VIGNETTED"}),
        ("ztf", 1 + 2 + 256 + 2048, {"STREAK", "SAT"}),
    ],
)
def test_foreign_values_become_the_planes_they_mean(name, value, planes):
    array = np.zeros((4, 5), np.uint32)
    array[1, 3] = value
    mask = DqMap.load(name).mask(array, EMPTY, name="dq")
    assert planes_of(mask, 1, 3) == planes
    assert np.count_nonzero(mask.array) == bool(planes)


def test_codes_are_not_taken_for_bits():
    array = np.array([[5, 3]], np.int32)  # as bits: 1 + 4 and 1 + 2
    mask = DqMap.load("decam-codes").mask(array, EMPTY, name="ood")
    assert planes_of(mask, 0, 0) == {"CR"}
    assert planes_of(mask, 0, 1) == {"SAT"}


@pytest.mark.parametrize(("name", "value"), [("decam-codes", 9), ("decam-bits", 8), ("banzai", 16)])
def test_a_value_in_no_list_is_refused_with_its_share(name, value):
    array = np.zeros((10, 20), np.int32)
    array[3, :5] = value
    with pytest.raises(InputError, match=rf"x\.fits\[DQ\]: 2\.50% .* {value}, .*{name}") as info:
        DqMap.load(name).mask(array, EMPTY, name="x.fits[DQ]")
    assert info.value.facts["share"] == 0.025


@pytest.mark.parametrize("dtype", [">i2", "<i4", ">u4", np.int64, np.float32])
def test_every_kind_of_whole_number_is_read_alike(dtype):
    array = np.array([[0, 2], [4, 6]]).astype(dtype)
    mask = DqMap.load("banzai").mask(array, EMPTY, name="bpm")
    assert planes_of(mask, 1, 1) == {"BAD", "SAT"}


def test_the_sign_bit_of_a_signed_plane_is_a_flag():
    array = np.array([[-(2**31), 0, 1]], np.int32)
    mask = DqMap.load("jwst").mask(array, EMPTY, name="dq")
    assert planes_of(mask, 0, 0) == {"NO_DATA"}
    assert (mask.array >= 0).all()


def test_fractions_are_no_flags():
    with pytest.raises(InputError, match="not whole numbers"):
        DqMap.load("hst").mask(np.array([[0.5, 1.0]]), EMPTY, name="dq")


def test_a_map_of_the_user_is_read_and_may_add_planes(tmp_path):
    path = write_map(tmp_path, 'kind = "bits"\nBAD = [1]\nGHOST = [8]\nignore = [2]\n')
    mask = DqMap.load(path).mask(np.array([[8, 2, 1]], np.uint8), EMPTY, name="m")
    assert planes_of(mask, 0, 0) == {"GHOST"}
    assert planes_of(mask, 0, 1) == set()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("BAD = [1]", "kind is None"),
        ('kind = "bits"\nBAD = 1', "no list"),
        ('kind = "bits"\nBAD = [5]', "5 is no bit"),
        ('kind = "bits"\nBAD = [true]', "no list"),
        ('kind = "codes"\nBAD = [0]', "0 is no code"),
        ('kind = "bits"\nBAD = [4]\nSAT = [4]', "value 4 is in two lists"),
        ('kind = "bits"\nsat = [4]', "Did you mean SAT"),
        ('kind = "bits\n', "no valid TOML"),
    ],
)
def test_a_malformed_map_is_refused_by_what_is_wrong(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        DqMap.load(write_map(tmp_path, text))


def test_a_map_that_does_not_exist_lists_the_shipped_ones():
    with pytest.raises(InputError, match=r"no data-quality map decam: .*decam-codes"):
        DqMap.load("decam")


def test_the_text_of_a_shipped_map_can_be_printed_and_read_back(tmp_path):
    path = write_map(tmp_path, dq_map_text("hst"))
    assert DqMap.load(path).planes == DqMap.load("hst").planes


def test_names_in_the_header_win_over_the_usual_bits_of_the_legacy_surveys():
    header = fits.Header()
    header["MBIT_0"] = "NPRIMARY"
    header["MBIT_1"] = "SATUR_R"
    header["MBIT_5"] = ("ALLMASK_R", "all of them")
    header["MBIT_7"] = "SATUR_G"
    array = np.array([[1, 2, 32, 128]], np.int16)
    mask = DqMap.load("legacy").mask(array, header, name="maskbits", band="r")
    assert [planes_of(mask, 0, x) for x in range(4)] == [set(), {"SAT"}, {"BAD"}, set()]


def test_the_bits_of_another_band_are_ignored_where_the_header_is_silent():
    array = np.array([[4, 8, 32, 64, 2]], np.int16)
    mask = DqMap.load("legacy").mask(array, EMPTY, name="maskbits", band="g")
    expected = [{"SAT"}, set(), {"BAD"}, set(), {"SUSPECT"}]
    assert [planes_of(mask, 0, x) for x in range(5)] == expected


def test_an_unknown_name_of_the_legacy_surveys_is_refused():
    with pytest.raises(InputError, match="bit 1048576"):
        DqMap.load("legacy").mask(np.array([[1 << 20]]), EMPTY, name="maskbits", band="g")


def test_without_a_map_every_flag_means_bad():
    mask = any_flag_map().mask(np.array([[0, 3, 1 << 31]], np.uint32), EMPTY, name="dq")
    assert [planes_of(mask, 0, x) for x in range(3)] == [set(), {"BAD"}, {"BAD"}]
