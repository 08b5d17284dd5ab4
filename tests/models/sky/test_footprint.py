import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from skytool.errors import IncompatibleError
from skytool.models.sky.celestial import celestial_wcs
from skytool.models.sky.footprint import edge_pixels, footprint_edges, overlaps
from skytool.models.sky.geometry import TargetGrid
from tests.models.sky.test_celestial import SHAPE, SIP, header


def test_edges_run_once_around_the_outside():
    y, x = edge_pixels((3, 5), 1)
    assert list(zip(x, y, strict=True)) == [(-0.5, -0.5), (4.5, -0.5), (4.5, 2.5), (-0.5, 2.5)]
    y, x = edge_pixels((30, 50), 8)
    assert len(x) == 32
    on_edge = np.isin(x, [-0.5, 49.5]) | np.isin(y, [-0.5, 29.5])
    assert on_edge.all()
    assert len(set(zip(x, y, strict=True))) == 32


def test_the_outline_is_icrs():
    wcs = celestial_wcs(header(CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN"), name="a")
    ra, dec = footprint_edges(wcs, SHAPE, 2)
    y, x = edge_pixels(SHAPE, 2)
    expected = SkyCoord(*wcs.wcs_pix2world(x, y, 0), unit="deg", frame="galactic").icrs
    np.testing.assert_allclose(ra, expected.ra.deg, atol=1e-12)
    np.testing.assert_allclose(dec, expected.dec.deg, atol=1e-12)


@pytest.mark.parametrize(("ra", "dec"), [(150.0, 2.0), (0.0, -60.0), (10.0, 89.99), (0.0, -90.0)])
@pytest.mark.parametrize(("gap", "expected"), [(-3.0, True), (5.0, False)])
@pytest.mark.parametrize("corner", [False, True])
def test_a_touching_image_is_kept_and_one_five_pixels_away_is_not(ra, dec, gap, expected, corner):
    grid = TargetGrid.from_center(ra, dec, 0.3, (240, 310), rotation=20.0)
    # an image in the plane of the grid, beyond its upper right corner or right of it
    image = grid.window(y=240 + int(gap) if corner else 50, x=310 + int(gap), shape=(70, 90))
    other = TargetGrid(image.wcs, (70, 90))
    assert overlaps(other.wcs, other.shape, grid) is expected
    assert overlaps(grid.wcs, grid.shape, other) is expected


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_containment_either_way_counts(scale):
    small = TargetGrid.from_center(0.001, 30.0, 0.3, (60, 80))
    big = TargetGrid.from_center(359.99, 30.01, 0.3 * scale * 10, (500, 700))
    assert overlaps(small.wcs, small.shape, big)
    assert overlaps(big.wcs, big.shape, small)


def test_the_antipode_does_not_overlap():
    grid = TargetGrid.from_center(150.0, 30.0, 0.3, (240, 310))
    other = TargetGrid.from_center(330.0, -30.0, 0.3, (240, 310))
    assert not overlaps(other.wcs, other.shape, grid)


def test_the_bulge_of_a_distorted_edge_counts():
    # The lower edge bends down by 1e-4 * (150 px)^2 = 2.3 px in its middle.
    plain = TargetGrid(celestial_wcs(header(), name="a"), (200, 300))
    cards = {**SIP, "CRPIX1": 150.5, "CRPIX2": 0.5}
    zero = dict.fromkeys(("A_2_0", "A_0_3", "A_1_1", "B_0_2", "B_1_1"), 0.0)
    bent = celestial_wcs(header(**{**cards, **zero, "B_2_0": 1e-4}), name="b")
    straight = TargetGrid(celestial_wcs(header(CRPIX1=150.5, CRPIX2=0.5), name="c"), (200, 300))
    below = straight.window(y=-41, x=100, shape=(40, 90))  # ends a pixel below the corners' line
    assert not overlaps(straight.wcs, (200, 300), below)
    lifted = {**cards, **zero, "B_2_0": -1e-4}
    bulging = celestial_wcs(header(**lifted), name="d")
    reached = {sign: overlaps(w, (200, 300), below) for sign, w in ((1, bent), (-1, bulging))}
    # one sign lowers the ends of the edge, so that their chord lowers the hull; the other one
    # raises the ends, and the middle stays where it was
    assert reached == {1: False, -1: True}
    assert plain.shape == (200, 300)


def test_a_grid_of_the_whole_sky_holds_everything():
    sky = TargetGrid.from_center(10.0, 0.0, 3600.0, (180, 360), projection="AIT")
    small = TargetGrid.from_center(200.0, -70.0, 0.3, (60, 80))
    assert overlaps(small.wcs, small.shape, sky)


def test_an_image_without_positions_or_area_is_named():
    sky = celestial_wcs(
        header(CTYPE1="RA---SIN", CTYPE2="DEC--SIN", CD1_1=-1.5, CD2_2=1.5, CD1_2=0.0, CD2_1=0.0),
        name="a",
    )
    grid = TargetGrid.from_center(150.0, 30.0, 0.3, (24, 31))
    with pytest.raises(IncompatibleError, match=r"wide\.fits"):
        overlaps(sky, SHAPE, grid, name="wide.fits")
