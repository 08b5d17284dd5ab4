from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable

from skytool.errors import IncompatibleError, InputError
from skytool.models.exposure import Origin
from skytool.models.sky.celestial import celestial_header, celestial_wcs, lon_lat, pixel_scale
from skytool.models.sky.footprint import edge_pixels
from skytool.models.sky.geometry import (
    PROJECTIONS,
    TargetGrid,
    origin_cards,
    origin_from_header,
    source_positions,
)
from tests.models.sky.test_celestial import SHAPE, SIP, header


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize(("ra", "dec"), [(150.1, 2.2), (0.0, -70.0), (359.9, 0.0), (33.0, 89.0)])
@pytest.mark.parametrize("rotation", [0.0, 25.0])
def test_a_grid_about_a_position_has_its_scale_and_orientation_there(projection, ra, dec, rotation):
    grid = TargetGrid.from_center(ra, dec, 0.4, (301, 401), projection, rotation)
    lon, lat = lon_lat(grid.wcs, y=150.0, x=200.0)
    assert float(lat) == pytest.approx(dec, abs=1e-10)
    assert (float(lon) - ra + 180.0) % 360.0 == pytest.approx(180.0, abs=1e-8)
    assert pixel_scale(grid.wcs) == pytest.approx(0.4, rel=1e-8)
    center = SkyCoord(ra, dec, unit="deg")
    up = SkyCoord(*lon_lat(grid.wcs, y=151.0, x=200.0), unit="deg")
    right = SkyCoord(*lon_lat(grid.wcs, y=150.0, x=201.0), unit="deg")
    # rotation turns y away from the north through the east, x stays 90 degrees to the west of it
    angles = [center.position_angle(p).wrap_at("180d").deg for p in (up, right)]
    assert (angles[0] - rotation + 180.0) % 360.0 == pytest.approx(180.0, abs=1e-3)
    assert (angles[1] - rotation + 90.0 + 180.0) % 360.0 == pytest.approx(180.0, abs=1e-3)


def test_the_matrix_is_that_of_the_definition():
    grid = TargetGrid.from_center(150.1, 2.2, 3.6, (30, 41), rotation=30.0)
    s, c = 0.5e-3, np.sqrt(3) / 2 * 1e-3
    np.testing.assert_allclose(grid.wcs.wcs.cd, [[-c, s], [s, c]], rtol=1e-13)
    assert grid.wcs.wcs.crpix.tolist() == [21.0, 15.5]


@pytest.mark.parametrize(
    "options",
    [
        {"ra": np.nan},
        {"dec": 90.5},
        {"pixel_scale": 0.0},
        {"pixel_scale": -1.0},
        {"pixel_scale": np.inf},
        {"shape": (0, 5)},
        {"shape": (5, 2**31)},
        {"shape": (2**20, 2**20)},
        {"projection": "COE"},
        {"rotation": np.inf},
    ],
)
def test_impossible_grids_are_refused(options):
    given = {"ra": 10.0, "dec": 20.0, "pixel_scale": 0.2, "shape": (30, 40), **options}
    with pytest.raises(IncompatibleError):
        TargetGrid.from_center(**given)


def grid_cards(**cards):
    return header(LTV1=-7, LTV2=-1234, **cards)


@pytest.mark.parametrize("cards", [{}, SIP])
def test_a_header_gives_shape_wcs_and_origin(cards):
    grid = TargetGrid.from_header(grid_cards(**cards), name="ref.fits")
    assert grid.shape == SHAPE
    assert grid.origin == Origin(y=1234, x=7)
    assert grid.name == "ref.fits"
    expected = lon_lat(WCS(header(**cards)), y=50.0, x=60.0)
    np.testing.assert_allclose(lon_lat(grid.wcs, y=50.0, x=60.0), expected, rtol=0, atol=3e-13)


def test_the_header_of_a_compressed_image_gives_the_size_of_the_image():
    raw = header(NAXIS1=8, NAXIS2=90, ZNAXIS1=SHAPE[1], ZNAXIS2=SHAPE[0])
    assert TargetGrid.from_header(raw, name="a").shape == SHAPE


@pytest.mark.parametrize(
    "cards",
    [
        {"NAXIS1": 0},
        {"NAXIS2": 2**31},
        {"NAXIS2": 2.5},
        {"CTYPE1": "X", "CTYPE2": "Y"},
        {"CRVAL1": "NaN"},
        {"CD1_1": 0.0, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.0},
    ],
)
def test_a_header_without_a_usable_grid_is_refused_by_name(cards):
    with pytest.raises(IncompatibleError, match=r"ref\.fits"):
        TargetGrid.from_header(header(**cards), name="ref.fits")


def test_a_header_without_size_is_refused():
    bare = header()
    del bare["NAXIS1"]
    with pytest.raises(IncompatibleError, match="NAXIS1"):
        TargetGrid.from_header(bare, name="scamp.head")


def test_text_headers_are_read():
    text = header(CRVAL1=10.5).tostring(sep="\n") + "\nEND\n"
    grid = TargetGrid.from_text(text, name="a.head")
    assert grid.shape == SHAPE
    assert grid.wcs.wcs.crval[0] == 10.5
    with pytest.raises(InputError, match=r"a\.txt"):
        TargetGrid.from_text("no header", name="a.txt")


def copied(grid):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(TargetGrid.grown, grid, 0).result()


def test_cards_and_pickles_give_the_same_grid_to_the_last_bit():
    grid = TargetGrid.from_center(150.123456789012, 2.2, 0.2, (31, 42), rotation=12.3)
    grid = grid.window(y=-100, x=2000, shape=(51, 62))
    cards = fits.Header.fromstring(grid.header_cards().tostring())
    cards["NAXIS1"], cards["NAXIS2"] = 62, 51
    for other in (TargetGrid.from_header(cards, name="again"), copied(grid)):
        assert other.shape == grid.shape
        assert other.origin == grid.origin == Origin(y=-100, x=2000)
        np.testing.assert_array_equal(
            lon_lat(other.wcs, y=[3.0, 50.0], x=[1.0, 60.0]),
            lon_lat(grid.wcs, y=[3.0, 50.0], x=[1.0, 60.0]),
        )


def test_the_alternate_wcs_gives_parent_pixels_without_a_warning():
    grid = TargetGrid.from_center(150.0, 2.2, 0.2, (31, 42)).window(y=5, x=8, shape=(20, 21))
    alternate = WCS(grid.header_cards(), key="A")
    assert [float(value) for value in alternate.wcs_pix2world(3.0, 4.0, 0)] == [11.0, 9.0]


@pytest.mark.parametrize("cards", [{}, SIP])
def test_a_window_is_the_same_sky(cards):
    grid = TargetGrid.from_header(grid_cards(**cards), name="a")
    part = grid.window(y=11, x=-23, shape=(40, 50))
    assert part.shape == (40, 50)
    assert part.origin == Origin(y=1245, x=-16)
    np.testing.assert_allclose(
        lon_lat(part.wcs, y=7.0, x=31.0), lon_lat(grid.wcs, y=18.0, x=8.0), rtol=0, atol=1e-13
    )
    assert source_positions(part.wcs, grid.wcs)(31.0, 7.0) == (8.0, 18.0)


def test_a_grown_grid_shrinks_back():
    grid = TargetGrid.from_header(grid_cards(), name="a")
    back = grid.grown(20).grown(-20)
    assert grid.grown(20).shape == (130, 170)
    assert (back.shape, back.origin) == (grid.shape, grid.origin)
    before, after = celestial_header(grid.wcs), celestial_header(back.wcs)
    for key, value in before.items():
        # 20 added and taken away rounds the last digit of the reference pixel
        assert after[key] == (value if key[:5] != "CRPIX" else pytest.approx(value, rel=1e-14))


@pytest.mark.parametrize("origin", [Origin(0, 0), Origin(-3, 70000), Origin(12345, -8)])
def test_an_origin_survives_its_cards(origin):
    cards = fits.Header.fromstring(origin_cards(origin).tostring())
    assert origin_from_header(cards) == origin
    for axis in (1, 2):
        del cards[f"CTYPE{axis}A"]
    assert origin_from_header(cards) == origin  # from LTV alone


@pytest.mark.parametrize(
    "cards", [{"LTV1": 0.5, "LTV2": 7.25}, {"LTV1": 3, "LTM1_1": 0.5}, {"LTV1": "x"}, {}]
)
def test_a_parent_frame_of_other_pixels_gives_no_origin(cards):
    assert origin_from_header(fits.Header(cards)) == Origin(0, 0)


@pytest.mark.parametrize(
    ("ra", "dec", "slack"),
    [
        (150.0, 2.0, 1.0),
        (0.0003, -45.0, 1.0),
        (12.0, -90.0, 1.0),
        (77.0, 89.9, 1.0),
        # 12 pixels from the pole the best orientation is not looked for
        (77.0, 89.999, 20.0),
    ],
)
def test_the_enclosing_grid_is_the_smallest_that_holds_all(ra, dec, slack):
    base = TargetGrid.from_center(ra, dec, 0.3, (400, 500), rotation=33.0)
    parts = [base, base.window(y=500, x=-300, shape=(100, 130))]
    grid = TargetGrid.enclosing([(p.wcs, p.shape) for p in parts])
    assert pixel_scale(grid.wcs) == pytest.approx(0.3, rel=1e-6)  # of parts off the middle
    edges = [(p, *edge_pixels(p.shape, 500)) for p in parts]
    u, v = np.concatenate([source_positions(p.wcs, grid.wcs)(x, y) for p, y, x in edges], axis=1)
    for values, size in ((u, grid.shape[1]), (v, grid.shape[0])):
        assert values.min() > -0.51
        assert values.max() < size - 0.49
        # the part of a pixel that makes it whole, half of it on either side
        assert values.min() < -0.5 + slack / 2 + 0.01
        assert values.max() > size - 0.5 - slack / 2 - 0.01


def test_the_enclosing_grid_of_one_plain_image_has_its_shape():
    image = TargetGrid.from_center(10.0, 20.0, 0.3, (400, 500))
    grid = TargetGrid.enclosing([(image.wcs, image.shape)])
    assert grid.shape == image.shape
    np.testing.assert_allclose(
        source_positions(grid.wcs, image.wcs)(7.0, 9.0), (7.0, 9.0), atol=1e-6
    )


def test_the_scale_of_an_enclosing_grid_is_the_median_or_as_given():
    images = [TargetGrid.from_center(10.0, 20.0, s, (40, 50)) for s in (0.2, 0.3, 0.9)]
    pairs = [(i.wcs, i.shape) for i in images]
    assert pixel_scale(TargetGrid.enclosing(pairs).wcs) == pytest.approx(0.3, rel=1e-9)
    coarse = TargetGrid.enclosing(pairs, pixel_scale=2.0)
    assert pixel_scale(coarse.wcs) == pytest.approx(2.0, rel=1e-9)
    assert coarse.shape == (18, 23)  # 40 * 0.9 / 2 and 50 * 0.9 / 2, whole


@pytest.mark.parametrize("other", [(190.0, -20.0), (100.0, 20.0)])
def test_images_all_over_the_sky_have_no_enclosing_plane(other):
    images = [TargetGrid.from_center(*p, 0.2, (40, 50)) for p in ((10.0, 20.0), other)]
    far = [*images, TargetGrid.from_center(10.0, -80.0, 0.2, (40, 50))]
    with pytest.raises(IncompatibleError, match="too much of the sky"):
        TargetGrid.enclosing([(i.wcs, i.shape) for i in far])


def test_nothing_cannot_be_enclosed():
    with pytest.raises(IncompatibleError, match="no image"):
        TargetGrid.enclosing([])


def test_a_grid_needs_a_celestial_wcs():
    with pytest.raises(IncompatibleError, match="celestial"):
        TargetGrid(WCS(naxis=2), (4, 5))
    assert celestial_wcs(header(), name="a").has_celestial


def test_a_distortion_by_tables_stays_with_its_grid():
    wcs = celestial_wcs(header(), name="a")
    table = np.linspace(0.0, 3.0, 12, dtype=np.float32).reshape(3, 4)
    wcs.cpdis1 = DistortionLookupTable(table, (1, 1), (1, 1), (40, 40))
    wcs.cpdis2 = DistortionLookupTable(-table, (1, 1), (1, 1), (40, 40))
    grid = TargetGrid(wcs, SHAPE)
    assert float(lon_lat(wcs, y=50.0, x=60.0)[0]) != pytest.approx(
        float(lon_lat(celestial_wcs(header(), name="b"), y=50.0, x=60.0)[0]), abs=1e-6
    )
    for other, offset in ((copied(grid), 0), (grid.window(y=10, x=20, shape=(60, 70)), 1)):
        at = {"y": 50.0 - 10 * offset, "x": 60.0 - 20 * offset}
        # pickled, the numbers of such a WCS go through a header of 14 digits
        np.testing.assert_allclose(
            lon_lat(other.wcs, **at), lon_lat(wcs, y=50.0, x=60.0), rtol=0, atol=1e-10
        )
