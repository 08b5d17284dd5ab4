import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from skytool.errors import InputError
from skytool.models.source_catalogue import COLUMNS, SourceCatalogue
from skytool.models.tables import TableColumn, table_hdu


def catalogue(n=3):
    columns = {
        "ID": np.arange(1, n + 1),
        "X": np.linspace(10.25, 90.5, n),
        "Y": np.linspace(20.125, 30.0, n),
        "RA": np.linspace(150.1, 150.2, n),
        "DEC": np.linspace(-2.2, -2.1, n),
        "SNR": np.linspace(5.0, 9.0, n),
        "NEGATIVE": np.arange(n) == 1,
        "SKY": np.arange(n) == 2,
        "FLUX": np.linspace(-1.0 / 3.0, 2e5, n),
        "FLUXERR": np.full(n, 0.1),
        "MAG": np.full(n, np.nan),
        "DIPOLE": np.zeros(n, np.bool_),
        "BADFLUX": np.zeros(n, np.bool_),
        "FLAGS": np.full(n, 33, np.int32),
    }
    return SourceCatalogue(columns, "adu", {"BAD": 0, "DETECTED_NEGATIVE": 6, "DETECTED": 5})


def assert_equal(one, other):
    assert list(one.columns) == list(other.columns)
    for name, values in one.columns.items():
        np.testing.assert_array_equal(values, other.columns[name])
    assert one.unit == other.unit
    assert dict(one.planes) == dict(other.planes)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_table_comes_back(n):
    made = catalogue(n)
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), made.to_hdu()]).writeto(stream)
    stream.seek(0)
    with fits.open(stream) as hdus:
        hdu = hdus["SOURCES"]
        found = SourceCatalogue.from_hdu(hdu, name="x.fits")
        assert hdu.columns["FLUX"].unit == "adu"
        assert hdu.columns["RA"].unit == "deg"
        assert "0-based" in hdu.header["TCOMM2"]

    assert len(found) == n
    assert_equal(found, made)


@pytest.mark.parametrize("n", [0, 3])
def test_text_table_is_read_by_astropy_without_loss(n):
    made = catalogue(n)
    table = Table.read(io.BytesIO(made.to_ecsv()), format="ascii.ecsv")

    assert table.colnames == [name for name in COLUMNS if name in made.columns]
    for name in table.colnames:
        np.testing.assert_array_equal(np.asarray(table[name]), made.columns[name])
    assert str(table["FLUX"].unit) == "adu"
    assert table.meta["MP_DETECTED"] == 5
    assert table["X"].description == COLUMNS["X"].comment


def test_regions_are_on_the_sky_or_count_from_one():
    made = catalogue()
    sky = made.to_regions(radius=8.0, pixel_scale=0.25).decode().splitlines()
    pixels = made.to_regions(radius=8.0).decode().splitlines()

    assert sky[1] == "icrs"
    assert sky[2] == 'circle(150.1000000,-2.2000000,2.000") # color=green text={1}'
    assert pixels[1] == "image"
    assert pixels[2] == "circle(11.2500000,21.1250000,8.000) # color=green text={1}"
    assert "color=magenta" in pixels[3]
    assert "color=blue" in pixels[4]
    assert len(catalogue(0).to_regions(radius=8.0).decode().splitlines()) == 2


def test_empty_places_can_be_told_apart():
    made = catalogue()

    assert made.of_sky(sky=True).columns["ID"].tolist() == [3]
    assert made.of_sky(sky=False).columns["ID"].tolist() == [1, 2]


def test_other_tables_are_refused():
    hdu = table_hdu("SOURCES", [TableColumn("ID", [1]), TableColumn("X", [1.0])])
    hdu.header["SKYMVER"] = 1
    with pytest.raises(InputError, match="no column Y"):
        SourceCatalogue.from_hdu(hdu, name="x.fits")
    made = catalogue().to_hdu()
    made.header["SKYMVER"] = 9
    with pytest.raises(InputError, match="9"):
        SourceCatalogue.from_hdu(made, name="x.fits")
