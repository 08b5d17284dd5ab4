"""Sky maps in files: the same back, readable by others, and refused when damaged."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from skytool.errors import InputError
from skytool.io.skymaps import read_sky_map, write_sky_map
from skytool.models.sky.celestial import celestial_header
from skytool.models.skymap.skymap import (
    DiscreteTiling,
    DodecaTiling,
    EquatTiling,
    HealpixTiling,
    PatchLayout,
    RingsTiling,
    SkyMap,
    TractLayout,
)

LEGACY = PatchLayout(inner=(900, 1100), border=(30, 50))
CELLS = PatchLayout.of_cells(cell_inner=(70, 90), cell_border=9, inner_cells=5, border_cells=2)
MAPS = {
    "discrete": SkyMap(
        DiscreteTiling((150.1, 1 / 3, -0.2), (2.2, -1 / 7, 80.0), (0.5, 1 / 9, 0.5)),
        TractLayout(1 / 3, "TAN", 1e-5 / 7, 1 / 60, LEGACY),
    ),
    "rings": SkyMap(RingsTiling(7, 1 / 3), TractLayout(2.0, "ZEA", -31.7, 0.5, CELLS)),
    "dodeca": SkyMap(DodecaTiling(with_tracts_on_poles=True), TractLayout(20.0, patches=LEGACY)),
    "equat": SkyMap(EquatTiling(3, (-1 / 3, 2.1)), TractLayout(5.0, "CEA", 0.0, 0.1, LEGACY)),
    "healpix": SkyMap(HealpixTiling(1, nest=True), TractLayout(9.0, "STG", 45.0, 1.0, CELLS)),
}


@pytest.fixture(params=MAPS)
def stored(request, tmp_path):
    """A sky map, and the file it was written to."""
    sky_map, path = MAPS[request.param], tmp_path / "map.fits"
    write_sky_map(path, sky_map, history="made by a test")
    return sky_map, path


def test_a_sky_map_comes_back_to_the_last_bit(stored):
    sky_map, path = stored
    back = read_sky_map(str(path))

    assert back.layout == sky_map.layout
    assert back.name == "map.fits"
    assert back.n_tracts == sky_map.n_tracts
    np.testing.assert_array_equal(back.tiling.centers, sky_map.tiling.centers)
    for number in {0, sky_map.n_tracts // 2, sky_map.n_tracts - 1}:
        ours, theirs = sky_map.tract(number), back.tract(number)
        assert (theirs.shape, theirs.patches) == (ours.shape, ours.patches)
        assert celestial_header(theirs.wcs) == celestial_header(ours.wcs)
        wanted, found = (each.patch(y=1, x=0).grid() for each in (ours, theirs))
        assert found.header_cards() == wanted.header_cards()


def test_the_same_sky_map_makes_the_same_file(stored, tmp_path):
    sky_map, path = stored
    write_sky_map(tmp_path / "again.fits", sky_map, history="made by a test")

    assert (tmp_path / "again.fits").read_bytes() == path.read_bytes()


def test_the_table_alone_gives_the_coordinates_of_a_tract(stored):
    sky_map, path = stored
    with fits.open(path) as hdus:
        assert hdus[0].header["SKYTYPE"] == "SKYMAP"
        cards, rows = hdus["TRACTS"].header, hdus["TRACTS"].data
        assert cards["SKYMVER"] == 1
        assert rows["TRACT"].tolist() == list(range(sky_map.n_tracts))
        row = rows[-1]
        header = fits.Header({key: cards[f"TR{key}"] for key in ("CTYPE1", "CTYPE2", "CD1_1")})
        header.update({key: cards[f"TR{key}"] for key in ("CD1_2", "CD2_1", "CD2_2")})
        header.update({key: float(row[key]) for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")})
        sizes = {key: int(row[key]) for key in ("NX", "NY", "NPATCHX", "NPATCHY")}
    tract = sky_map.tract(sky_map.n_tracts - 1)
    x, y = np.array([3.0, 700.0]), np.array([90.0, -20.0])

    theirs = WCS(header).wcs_pix2world(x, y, 0)
    np.testing.assert_allclose(theirs, tract.wcs.wcs_pix2world(x, y, 0), rtol=0, atol=1e-10)
    assert (sizes["NY"], sizes["NX"]) == tract.shape
    assert (sizes["NPATCHY"], sizes["NPATCHX"]) == tract.n_patches


def change(path, card=None, value=None, *, column=None, row=0, remove=None):
    with fits.open(path, mode="update") as hdus:
        hdu = hdus["TRACTS"]
        if card is not None:
            hdu.header[card] = value
        if remove is not None:
            del hdu.header[remove]
        if column is not None:
            hdu.data[column][row] = value


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"card": "SKYMVER", "value": 2}, "newer skytool"),
        ({"remove": "SKYMVER"}, "SKYMVER is None"),
        ({"card": "SKYMAP", "value": "circles"}, "no kind 'circles'"),
        ({"card": "PIXSCALE", "value": "small"}, "card PIXSCALE is 'small'"),
        ({"card": "PIXSCALE", "value": 0.0}, "damaged: a pixel scale of 0"),
        ({"card": "PIXSCALE", "value": 3.0}, "column CRPIX1 is not what"),
        ({"card": "PROJECT", "value": "XXX"}, "damaged: no projection 'XXX'"),
        ({"card": "PATCHNX", "value": 0}, "damaged: a patch of 0 x"),
        ({"card": "PATCHNX", "value": True}, "card PATCHNX is True"),
        ({"card": "CLIPPED", "value": 1}, "card CLIPPED is 1"),
        ({"remove": "NUMRINGS"}, "card NUMRINGS is None"),
        ({"card": "NUMRINGS", "value": 6}, "damaged: it has 96 rows for 76 tracts"),
        ({"column": "DEC", "row": 5, "value": 0.5}, "column DEC is not what"),
        ({"column": "NY", "row": 3, "value": 350}, "column NY is not what"),
    ],
)
def test_a_damaged_sky_map_is_refused(tmp_path, damage, message):
    path = tmp_path / "map.fits"
    write_sky_map(path, MAPS["rings"], history="made by a test")
    change(path, **damage)

    with pytest.raises(InputError, match=message) as caught:
        read_sky_map(str(path))
    assert "map.fits" in str(caught.value)


def test_a_file_without_a_sky_map_is_refused(tmp_path):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((3, 4))).writeto(path)

    with pytest.raises(InputError, match=r"image.fits holds no sky map.*skymap make"):
        read_sky_map(str(path))


def test_a_table_without_a_column_is_refused(tmp_path):
    path = tmp_path / "map.fits"
    write_sky_map(path, MAPS["equat"], history="made by a test")
    with fits.open(path, mode="update") as hdus:
        hdus["TRACTS"].columns.del_col("CRVAL2")

    with pytest.raises(InputError, match="no column CRVAL2"):
        read_sky_map(str(path))
