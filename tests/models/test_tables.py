import io
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_array_equal

from skytool.errors import InputError
from skytool.models.tables import TableColumn, escaped, table_columns, table_hdu


def reread(hdu):
    whole = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(whole)
    whole.seek(0)
    return fits.open(whole, memmap=False)[1]


@pytest.mark.parametrize(
    "values",
    [
        ["one", "three", ""],
        [True, False, True],
        [1, -(2**40), 3],
        [1.5, np.nan, -np.inf],
        np.array([1, 2, 3], dtype="f4"),
        np.array([1, 2, 3], dtype="i4"),
        np.array([1, 2, 255], dtype="u1"),
        np.arange(12.0).reshape(3, 4) / 7,
        np.arange(6).reshape(3, 2),
    ],
)
def test_columns_come_back(values):
    hdu = table_hdu("RECORDS", [TableColumn("A", values, "pixel", "0-based")])
    read = reread(hdu)

    (column,) = table_columns(read, name="a.fits").values()

    assert_array_equal(column, np.asarray(values))
    assert column.dtype.kind == np.asarray(values).dtype.kind
    assert column.dtype.isnative
    assert read.name == "RECORDS"
    assert read.header["TUNIT1"] == "pixel"
    assert read.header["TCOMM1"] == "0-based"


def test_an_empty_table_comes_back():
    columns = [TableColumn("NAME", np.array([], dtype=str)), TableColumn("X", np.array([]))]

    read = table_columns(reread(table_hdu("EMPTY", columns)), name="a.fits")

    assert [len(values) for values in read.values()] == [0, 0]


def test_texts_are_ascii_without_control_characters():
    assert escaped("plain text") == "plain text"
    assert escaped("Ørsted\n") == r"\u00d8rsted\u000a"
    assert escaped("\U0001f52d") == r"\U0001f52d"
    read = table_columns(reread(table_hdu("T", [TableColumn("A", ["é", "b"])])), name="a.fits")
    assert list(read["A"]) == [r"\u00e9", "b"]


@pytest.mark.parametrize(
    "values", [[object()], [1j], np.zeros((2, 2, 2)), np.array(["2020-01-01"], "M8[D]")]
)
def test_other_values_are_refused(values):
    with pytest.raises(ValueError, match="column A cannot hold"):
        table_hdu("T", [TableColumn("A", values)])


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="differ in length"):
        table_hdu("T", [TableColumn("A", [1, 2]), TableColumn("B", [1])])


def test_missing_columns_are_named():
    hdu = reread(table_hdu("T", [TableColumn("a", [1]), TableColumn("B", [1])]))

    with pytest.raises(InputError, match=r"x\.fits: the table T has no column C, D\. It has A, B"):
        table_columns(hdu, name="x.fits", required=["A", "C", "D"])


def test_an_image_is_no_table():
    with pytest.raises(InputError, match="SCI holds no table"):
        table_columns(reread(fits.ImageHDU(np.zeros((2, 3)), name="SCI")), name="x.fits")


def test_tables_do_not_import_a_table_library():
    script = (
        "import sys\n"
        "from skytool.models.tables import TableColumn, table_columns, table_hdu\n"
        "hdu = table_hdu('T', [TableColumn('A', ['x', 'y'], 'm'), TableColumn('B', [1, 2])])\n"
        "assert list(table_columns(hdu, name='x')['B']) == [1, 2]\n"
        "assert not {'astropy.table', 'astropy.time'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
