import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from skytool.errors import InputError
from skytool.io.calibrations import read_wcs_cards
from skytool.io.tables import read_columns


@pytest.fixture
def table():
    return Table(
        {
            "visit": MaskedColumn([3, 5, 7], mask=[False, False, True]),
            "zp": [25.0, np.nan, 26.5],
            "name": ["a", "bc", "d"],
        }
    )


@pytest.mark.parametrize("kind", ["ecsv", "csv"])
def test_tables_as_text_are_those_that_were_written(tmp_path, table, kind):
    path = tmp_path / f"t.{kind}"
    table.write(path, format=f"ascii.{kind}")
    columns = read_columns(str(path))

    np.testing.assert_array_equal(columns["visit"], [3, 5, np.nan])
    np.testing.assert_array_equal(columns["zp"], [25.0, np.nan, 26.5])
    assert columns["name"].tolist() == ["a", "bc", "d"]


def test_the_first_table_of_a_file_is_taken_or_the_one_that_is_named(tmp_path):
    hdus = [
        fits.BinTableHDU.from_columns([fits.Column("A", "J", array=[n])], name=name)
        for n, name in ((4, "ONE"), (9, "TWO"))
    ]
    image = fits.ImageHDU(np.zeros((3, 4)), name="IMAGE")
    path = tmp_path / "t.fits"
    fits.HDUList([fits.PrimaryHDU(), image, *hdus]).writeto(path)

    assert read_columns(str(path))["A"].tolist() == [4]
    assert read_columns(f"{path}[TWO]")["A"].tolist() == [9]
    with pytest.raises(InputError, match="holds no table"):
        read_columns(f"{path}[IMAGE]")


def test_what_is_no_table_is_refused(tmp_path):
    fits.PrimaryHDU(np.zeros((3, 4))).writeto(tmp_path / "image.fits")
    (tmp_path / "empty.csv").write_text("\n")
    (tmp_path / "ragged.csv").write_text("a,b\n1,2,3\n")
    for name, words in (
        ("image.fits", "holds no table"),
        ("empty.csv", "empty.csv"),
        ("ragged.csv", "neither FITS nor a table"),
        ("none.fits", "does not exist"),
    ):
        with pytest.raises(InputError, match=words):
            read_columns(str(tmp_path / name))


def test_each_extension_has_its_own_header_in_a_text(tmp_path):
    path = tmp_path / "v.head"
    path.write_text("".join(f"CTYPE1 = 'RA---TAN'\nCRVAL1 = {10.5 * n}\nEND\n" for n in (1, 2, 3)))
    for number in (1, 2, 3):
        header = fits.Header.fromstring(read_wcs_cards(str(path), number=number))
        assert header["CRVAL1"] == 10.5 * number
    with pytest.raises(InputError, match="holds 3 headers, none of extension 4"):
        read_wcs_cards(str(path), number=4)
    assert read_wcs_cards(str(tmp_path / "none.head"), number=1) is None
