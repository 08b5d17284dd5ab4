"""Sky maps against what is published of them, and against the geometry of the sphere."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from skytool.core.sphere.directions import unit_vectors
from skytool.core.sphere.smallest_circle import smallest_circle
from skytool.errors import IncompatibleError
from skytool.models.sky.celestial import celestial_header
from skytool.models.sky.geometry import TargetGrid, overlaps
from skytool.models.skymap.skymap import (
    DiscreteTiling,
    DodecaTiling,
    EquatTiling,
    Patch,
    PatchLayout,
    RingsTiling,
    SkyMap,
    TractLayout,
    enclosing_tiling,
)

CELLS = PatchLayout.of_cells(cell_inner=(150, 150), cell_border=50, inner_cells=20, border_cells=1)
SMALL = PatchLayout(inner=(90, 120), border=(7, 11))
RINGS = SkyMap(RingsTiling(18), TractLayout(30.0, "TAN", 0.0, 2.0, SMALL))
DODECA = SkyMap(DodecaTiling(), TractLayout(60.0, "STG", 0.0, 3.5, SMALL))
EQUAT = SkyMap(EquatTiling(5, (-10.0, 4.0)), TractLayout(30.0, "CEA", 0.0, 1.0, SMALL))
ANYWHERE = st.tuples(
    st.floats(0.0, 360.0), st.floats(-1.0, 1.0).map(lambda z: float(np.degrees(np.arcsin(z))))
)


@pytest.mark.parametrize(("rings", "tracts"), [(3, 26), (18, 502), (120, 18938)])
def test_rings_have_as_many_tracts_as_is_published(rings, tracts):
    assert RingsTiling(rings).n_tracts == tracts
    assert [len(angle) for angle in RingsTiling(rings).centers] == [tracts, tracts]


@pytest.mark.parametrize(
    ("number", "ra", "dec"),
    [
        pytest.param(9813, 150.1163, 2.2058, id="COSMOS"),
        pytest.param(5063, 53.13, -28.10, id="Chandra Deep Field South"),
        pytest.param(2394, 59.10, -48.73, id="Euclid Deep Field South"),
        pytest.param(453, 6.02, -72.08, id="47 Tucanae"),
        pytest.param(4016, 40.00, -34.45, id="Fornax dwarf galaxy"),
    ],
)
def test_fields_are_in_the_tracts_where_surveys_have_them(number, ra, dec):
    """The sky maps of the HSC survey and of Rubin's first data preview have 120 rings."""
    assert RingsTiling(120).find(ra, dec) == [number]


def test_rings_go_from_south_to_north_and_every_one_around_the_sky():
    tiling = RingsTiling(4, ra_start=350.0)
    ra, dec = tiling.centers

    assert (ra[0], dec[0], ra[-1], dec[-1]) == (0.0, -90.0, 0.0, 90.0)
    np.testing.assert_allclose(np.unique(dec[1:-1]), [-54, -18, 18, 54], atol=1e-12)
    # ring 1 reaches to the equator: 360 / 36 is 10 tracts at least
    np.testing.assert_allclose(ra[dec == dec[1]][:2], [350, 350 + 360 / tiling.in_ring[0] - 360])
    np.testing.assert_array_equal(tiling.in_ring, tiling.in_ring[::-1])


def test_faces_of_the_dodecahedron_are_where_they_should_be():
    expected = [
        *((0, 52.6226), (120, 52.6226), (240, 52.6226), (60, 10.8123), (180, 10.8123)),
        *((300, 10.8123), (0, -10.8123), (120, -10.8123), (240, -10.8123), (60, -52.6226)),
        *((180, -52.6226), (300, -52.6226)),
    ]
    on_poles = [
        *((0, 90), (0, 26.5651), (72, 26.5651), (144, 26.5651), (216, 26.5651), (288, 26.5651)),
        *((36, -26.5651), (108, -26.5651), (180, -26.5651), (252, -26.5651), (324, -26.5651)),
        (0, -90),
    ]

    np.testing.assert_allclose(np.transpose(DodecaTiling().centers), expected, atol=1e-4)
    np.testing.assert_allclose(np.transpose(DodecaTiling(True).centers), on_poles, atol=1e-4)


@pytest.mark.parametrize("on_poles", [False, True])
def test_corners_of_a_face_are_common_to_three_faces(on_poles):
    tiling = DodecaTiling(on_poles)
    corners = np.concatenate([tiling.vertices(number) for number in range(12)])
    angles = np.sort(np.arccos(corners @ tiling.vectors.T), axis=1)

    # the corners of a regular dodecahedron are 37.3774 degrees from the faces that they touch
    np.testing.assert_allclose(np.degrees(angles[:, :3]), 37.37736814, atol=1e-7)
    assert (angles[:, 3] > np.radians(79)).all()
    assert len(np.unique(corners.round(9) + 0.0, axis=0)) == 20


@pytest.mark.parametrize(
    "sky_map",
    [RINGS, DODECA, SkyMap(DodecaTiling(True), DODECA.layout)],
    ids=["rings", "dodeca", "dodeca with poles"],
)
@settings(max_examples=40)
@given(position=ANYWHERE)
def test_the_tract_of_any_position_holds_it(sky_map, position):
    number = int(sky_map.tiling.find(*position)[0])
    patch = sky_map.tract(number).patch_at(*position)

    assert patch is not None
    own = sky_map.tracts_holding(*position)[0]
    assert own.number == number
    grid = patch.grid()
    x, y = grid.wcs.world_to_pixel(SkyCoord(*position, unit="deg"))
    height, width = patch.tract.patches.inner
    assert 0 <= x + grid.origin.x + 0.5 - patch.x * width < width
    assert 0 <= y + grid.origin.y + 0.5 - patch.y * height < height


@given(position=st.tuples(st.floats(0.0, 360.0), st.floats(-10.0, 4.0)))
def test_the_tract_of_any_position_in_a_band_holds_it(position):
    assert EQUAT.tract(int(EQUAT.tiling.find(*position)[0])).patch_at(*position) is not None


@given(position=ANYWHERE)
def test_the_tract_of_a_position_is_that_of_the_nearest_centre(position):
    vector = unit_vectors(*position)
    tiling = DiscreteTiling(tuple(np.arange(9) * 41.0), tuple(np.linspace(-80, 90, 9)), (1.0,) * 9)
    for each in (tiling, DodecaTiling()):
        nearest = unit_vectors(*each.centers) @ vector
        assert nearest[each.find(*position)[0]] >= nearest.max() - 1e-12


@given(position=ANYWHERE)
def test_a_position_is_in_the_ring_and_the_slice_of_its_tract(position):
    tiling = RINGS.tiling
    ra, dec = (angle[tiling.find(*position)[0]] for angle in tiling.centers)

    assert abs(position[1] - dec) <= 180 / 19 / 2 + 1e-9
    if abs(dec) < 90:
        n = (tiling.centers[1] == dec).sum()
        assert abs((position[0] - ra + 180) % 360 - 180) <= 180 / n + 1e-9


def test_a_tract_holds_positions_on_both_sides_of_right_ascension_zero():
    sky_map = SkyMap(DiscreteTiling((0.1,), (-30.0,), (0.5,)), TractLayout(1.0, "TAN", 0.0, 0.0))
    west, east = (sky_map.tracts_holding(ra, -30.0) for ra in (359.8, 0.4))
    (tract,) = west

    assert east[0].number == tract.number == 0
    assert tract.pixels(359.8, -30.0)[1] > tract.pixels(0.4, -30.0)[1]
    assert sky_map.tracts_holding(180.0, 30.0) == []
    assert sky_map.tracts_holding(358.9, -30.0) == []


@pytest.mark.parametrize("pole", [-90.0, 90.0])
def test_a_tract_at_a_pole_holds_every_right_ascension(pole):
    tract = RINGS.tracts_holding(0.0, pole)[0]
    ra = np.arange(0.0, 360.0, 30.0)
    y, x = tract.pixels(ra, np.full(12, 0.99 * pole))
    radius = np.hypot(y - tract.pixels(0.0, pole)[0], x - tract.pixels(0.0, pole)[1])

    assert tract.number == (0 if pole < 0 else 501)
    np.testing.assert_allclose(radius, np.tan(np.radians(0.9)) * 180 / np.pi * 120, rtol=1e-9)


def test_a_tract_is_a_square_of_whole_patches_about_its_centre():
    """A degree in the tangent plane is tan(1 deg) 180 / pi = 1.0001016 degrees: 3600.37 pixels."""
    sky_map = SkyMap(
        DiscreteTiling((40.0,), (-35.0,), (0.75,)),
        TractLayout(1.0, "TAN", 0.0, 0.25, PatchLayout((1000, 700), (30, 50))),
    )
    tract = sky_map.tract(0)

    # pixels -3600 to 3600 hold it: 7201, in patches of 1000 and of 700
    assert tract.shape == (8000, 7700)
    assert tract.n_patches == (8, 11)
    np.testing.assert_array_equal(tract.wcs.wcs.crpix, [3600 + 249 + 1, 3600 + 399 + 1])
    np.testing.assert_allclose(tract.wcs.wcs_pix2world(3849, 3999, 0), [40.0, -35.0], atol=1e-12)


def test_coordinates_of_tracts_are_turned_and_have_east_to_the_left():
    layout = TractLayout(3.6, "TAN", 30.0, 0.0)
    tract = SkyMap(DiscreteTiling((10.0,), (0.0,), (0.5,)), layout).tract(0)
    x, y = (int(v) - 1 for v in tract.wcs.wcs.crpix)
    ra, dec = tract.wcs.wcs_pix2world([x, x + 10], [y + 10, y], 0)

    # ten pixels are 0.01 degrees; the y axis points 30 degrees from the north to the east
    np.testing.assert_allclose(ra - 10.0, [0.01 * 0.5, -0.01 * 0.75**0.5], atol=1e-9)
    np.testing.assert_allclose(dec, [0.01 * 0.75**0.5, 0.01 * 0.5], atol=1e-9)


def test_patches_overlap_by_their_borders_and_end_with_the_tract():
    tract = RINGS.tract(77)
    ny, nx = tract.n_patches
    first, middle, last = (
        tract.patch(y=0, x=0),
        tract.patch(y=1, x=2),
        tract.patch(y=ny - 1, x=nx - 1),
    )

    assert first.outer_box == (0, 0, (97, 131))
    assert middle.outer_box == (83, 229, (104, 142))
    assert last.outer_box == (90 * (ny - 1) - 7, 120 * (nx - 1) - 11, (97, 131))
    assert middle.inner_box == (90, 240, (90, 120))
    assert (middle.number, middle.label) == (nx + 2, "2,1")
    assert (tract.patch_number(nx + 2).y, tract.patch_number(nx + 2).x) == (1, 2)


def test_patches_of_cells_keep_their_borders_at_the_edge_of_the_tract():
    sky_map = SkyMap(RingsTiling(120), TractLayout(0.2, "TAN", 0.0, 1 / 60, CELLS))
    box = sky_map.tract(5063).patch(y=0, x=0).outer_box

    # the patches of Rubin's first data preview have 3400 x 3400 pixels
    assert box == (-200, -200, (3400, 3400))
    assert sky_map.tract(5063).n_patches == (10, 10)


def test_inner_boxes_tile_the_tract():
    tract = RINGS.tract(3)
    count = np.zeros(tract.shape, int)
    for y, x in np.ndindex(tract.n_patches):
        box = Patch(tract, y, x).inner_box
        count[box.y : box.y + box.shape[0], box.x : box.x + box.shape[1]] += 1

    assert (count == 1).all()


def test_all_patches_of_a_tract_share_its_coordinates():
    tract = RINGS.tract(100)
    sky = WCS(celestial_header(tract.wcs)).wcs_pix2world(301.25, 205.5, 0)
    for y, x in ((0, 0), (1, 2), (2, 2)):
        grid = tract.patch(y=y, x=x).grid()
        place = 301.25 - grid.origin.x, 205.5 - grid.origin.y
        np.testing.assert_allclose(grid.wcs.wcs_pix2world(*place, 0), sky, rtol=0, atol=1e-11)
        cards = grid.header_cards()
        assert (cards["LTV1"], cards["LTV2"]) == (-grid.origin.x, -grid.origin.y)
        assert grid.shape == tract.patch(y=y, x=x).outer_box.shape


def test_a_border_around_a_patch_keeps_its_place_in_the_tract():
    patch = RINGS.tract(100).patch(y=1, x=2)
    grid, grown = patch.grid(), patch.grid().grown(13)

    assert grown.origin == (grid.origin.y - 13, grid.origin.x - 13)
    sky = grid.wcs.wcs_pix2world(5, 6, 0)
    np.testing.assert_allclose(grown.wcs.wcs_pix2world(18, 19, 0), sky, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ((0, 5), "no patch 5,0. It has patches 0,0 to 4,5."),
        ((6, 0), "no patch 0,6"),
        ((-1, 0), "no patch 0,-1"),
    ],
)
def test_a_patch_out_of_range_is_refused_with_the_range(patch, message):
    layout = TractLayout(30.0, "TAN", 0.0, 0.0, PatchLayout((100, 120), (5, 5)))
    tract = SkyMap(DiscreteTiling((9.0,), (9.0,), (2.49,)), layout).tract(0)

    assert tract.n_patches == (6, 5)
    with pytest.raises(IncompatibleError, match=message):
        tract.patch(y=patch[0], x=patch[1])


def test_numbers_out_of_range_are_refused_with_the_range():
    with pytest.raises(IncompatibleError, match=r"no tract 502. It has tracts 0 to 501\."):
        RINGS.tract(502)
    ny, nx = RINGS.tract(0).n_patches
    with pytest.raises(IncompatibleError, match=f"It has patches 0 to {ny * nx - 1}"):
        RINGS.tract(0).patch_number(ny * nx)


@pytest.mark.parametrize("sky_map", [RINGS, DODECA, EQUAT], ids=["rings", "dodeca", "equat"])
@settings(max_examples=25)
@given(position=ANYWHERE, turn=st.floats(0.0, 90.0), data=st.data())
def test_an_image_reaches_the_patches_that_hold_its_pixels(sky_map, position, turn, data):
    image = TargetGrid.from_center(*position, 40.0, (130, 70), rotation=turn)
    found = {
        (patch.tract.number, patch.y, patch.x)
        for patch in sky_map.overlapping(image.wcs, image.shape)
    }
    x, y = data.draw(st.integers(0, 69)), data.draw(st.integers(0, 129))
    ra, dec = (float(v) for v in image.wcs.wcs_pix2world(x, y, 0))
    for tract in sky_map.tracts_holding(ra, dec):
        patch = tract.patch_at(ra, dec)
        assert (tract.number, patch.y, patch.x) in found


@pytest.mark.parametrize("position", [(0.0, 0.3), (200.0, 89.8), (123.0, -47.0), (359.9, -71.0)])
def test_an_image_reaches_what_the_selection_of_a_warp_takes_and_nothing_else(position):
    image = TargetGrid.from_center(*position, 40.0, (130, 70), rotation=20.0)
    sky_map = SkyMap(RingsTiling(18), TractLayout(100.0, "TAN", 0.0, 2.0, SMALL))
    patches = sky_map.overlapping(image.wcs, image.shape)
    found = {(patch.tract.number, patch.y, patch.x) for patch in patches}
    tracts = SkyCoord(*sky_map.tiling.centers, unit="deg")
    expected = set()
    for number in np.flatnonzero(tracts.separation(SkyCoord(*position, unit="deg")).deg < 14):
        tract = sky_map.tract(int(number))
        for y, x in np.ndindex(tract.n_patches):
            if overlaps(image.wcs, image.shape, Patch(tract, y, x).grid()):
                expected.add((number, y, x))

    assert found == expected
    assert found


def test_an_image_around_a_pole_reaches_the_tracts_of_a_band_near_it():
    band = SkyMap(EquatTiling(3, (70.0, 87.0)), TractLayout(120.0, "CEA", 0.0, 0.0, SMALL))
    image = TargetGrid.from_center(40.0, 90.0, 200.0, (101, 97))
    patches = list(band.overlapping(image.wcs, image.shape))

    assert {patch.tract.number for patch in patches} == {0, 1, 2}
    for ra in (5.0, 125.0, 245.0):
        own = band.tracts_holding(ra, 88.0 - 1.5)[0].patch_at(ra, 86.5)
        assert (own.tract.number, own.label) in {(p.tract.number, p.label) for p in patches}


def test_half_of_the_sky_cannot_be_looked_up():
    image = TargetGrid.from_center(0.0, 0.0, 3600.0, (180, 360), "CAR")
    with pytest.raises(IncompatibleError, match="half of the sky"):
        list(RINGS.overlapping(image.wcs, image.shape, name="all.fits"))


def test_one_tract_around_images_holds_their_corners_and_no_smaller_one_does():
    grids = [
        TargetGrid.from_center(ra, dec, 3.0, (300, 170), rotation=30.0)
        for ra, dec in ((359.7, 60.0), (0.6, 60.3), (0.1, 59.8))
    ]
    tiling = enclosing_tiling([(grid.wcs, grid.shape) for grid in grids])
    with_border = enclosing_tiling([(grid.wcs, grid.shape) for grid in grids], border=0.1)
    tract = SkyMap(tiling, TractLayout(1.0, "TAN", 0.0, 0.0, SMALL)).tract(0)
    corners = [
        grid.wcs.wcs_pix2world(x, y, 0)
        for grid in grids
        for y in (-0.5, 299.5)
        for x in (-0.5, 169.5)
    ]
    center = SkyCoord(*(angle[0] for angle in tiling.centers), unit="deg")
    away = center.separation(SkyCoord(corners, unit="deg")).deg

    assert all(tract.patch_at(*map(float, corner)) is not None for corner in corners)
    assert away.max() == pytest.approx(tiling.radius[0], abs=1e-9)
    assert (away > tiling.radius[0] - 1e-9).sum() >= 2
    assert with_border.radius[0] == pytest.approx(tiling.radius[0] + 0.1, abs=1e-12)


@given(
    st.lists(st.tuples(st.floats(0.0, 360.0), st.floats(-1.0, 1.0)), min_size=1, max_size=20),
    ANYWHERE,
)
def test_the_smallest_circle_cannot_be_moved_to_a_smaller_one(offsets, position):
    """Its centre is within the hull of those farthest: every way leads away from one of them."""
    around = TargetGrid.from_center(*position, 3600.0, (21, 15))
    x, y = (
        7 + np.array([np.cos(np.radians(a)) for a, _ in offsets]) * 7,
        [10 + 9 * b for _, b in offsets],
    )
    vectors = unit_vectors(*around.wcs.wcs_pix2world(x, y, 0))
    center, radius = smallest_circle(vectors)
    angles = np.arccos(np.clip(vectors @ center, -1, 1))

    assert angles.max() <= radius + 1e-7
    for turn in np.arange(8) * np.pi / 4:
        east = np.cross(center, [0.3, 0.5, 0.8])
        east /= np.linalg.norm(east)
        step = np.cos(turn) * east + np.sin(turn) * np.cross(center, east)
        moved = np.cos(1e-4) * center + np.sin(1e-4) * step
        assert 2 * np.arcsin(np.linalg.norm(vectors - moved, axis=1).max() / 2) > radius - 1e-12


def test_directions_all_around_have_no_smallest_circle():
    with pytest.raises(ValueError, match="half of the sphere"):
        smallest_circle(np.concatenate([np.eye(3), -np.eye(3)]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DiscreteTiling((1.0,), (1.0, 2.0), (1.0,)), "1, 2 and 1"),
        (lambda: DiscreteTiling((), (), ()), "at least one tract"),
        (lambda: DiscreteTiling((1.0,), (91.0,), (1.0,)), r"\(1, 91\) is no centre"),
        (lambda: DiscreteTiling((np.nan,), (1.0,), (1.0,)), "no centre"),
        (lambda: DiscreteTiling((1.0,), (1.0,), (0.0,)), "radius of 0 degrees"),
        (lambda: DiscreteTiling((1.0,), (1.0,), (np.nan,)), "radius of nan"),
        (lambda: RingsTiling(0), "0 rings"),
        (lambda: RingsTiling(5, np.inf), "inf is no right ascension"),
        (lambda: EquatTiling(1), "1 tracts"),
        (lambda: EquatTiling(4, (2.0, 1.0)), "declinations 2 to 1"),
        (lambda: TractLayout(0.0), "pixel scale of 0"),
        (lambda: TractLayout(projection="XYZ"), "no projection 'XYZ'. Known: TAN"),
        (lambda: TractLayout(rotation=np.nan), "rotation"),
        (lambda: TractLayout(overlap=-1.0), "overlap by -1"),
        (lambda: PatchLayout(inner=(0, 5)), "5 x 0 pixels"),
        (lambda: PatchLayout(border=(0, -5)), "border of -5"),
        (
            lambda: PatchLayout.of_cells(
                cell_inner=(9, 9), cell_border=-1, inner_cells=2, border_cells=1
            ),
            "cells need",
        ),
        (lambda: SkyMap(RingsTiling(1), TractLayout(9.0, "TAN", 0.0, 46.0)).tract(0), "TAN cannot"),
        (lambda: SkyMap(RingsTiling(1), TractLayout(1e-9, "ZEA")).tract(0), "cannot show"),
        (lambda: enclosing_tiling([]), "no image"),
    ],
)
def test_impossible_sky_maps_are_refused(make, message):
    with pytest.raises(IncompatibleError, match=message):
        make()


def test_a_tract_of_most_of_a_hemisphere_can_be_shown():
    """Caps of 45 degrees and an overlap of 45: to the equator, in a stereographic projection."""
    tract = SkyMap(RingsTiling(1), TractLayout(900.0, "STG", 0.0, 45.0, SMALL)).tract(0)
    half = 2.0 * np.tan(np.radians(45.0)) * 180 / np.pi / 0.25

    assert 2 * half <= tract.shape[0] < 2 * half + 92
    assert tract.patch_at(77.0, -0.5) is not None
