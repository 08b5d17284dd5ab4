import numpy as np
import pytest
from astropy.wcs.utils import pixel_to_pixel

from skytool.models.sky.celestial import celestial_wcs, lon_lat
from skytool.models.sky.geometry import TargetGrid
from skytool.models.sky.pixelmap import source_positions
from tests.models.sky.test_celestial import SHAPE, SIP, TPV, ZPN, header


def wcs_of(**cards):
    return celestial_wcs(header(**cards), name="source")


def grid_near(ra=359.9995, dec=-33.0995, shape=(70, 110), **options):
    return TargetGrid.from_center(ra, dec, 0.2, shape, **options)


@pytest.mark.parametrize("cards", [{}, SIP, TPV, ZPN, {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"}])
@pytest.mark.parametrize("projection", ["TAN", "ZEA", "CEA"])
def test_a_target_pixel_and_its_source_pixel_have_one_sky_position(cards, projection):
    source = wcs_of(**cards)
    grid = grid_near(projection=projection, rotation=12.0)
    x, y = np.meshgrid(np.arange(-1.0, 110.0, 9.0), np.arange(-1.0, 70.0, 7.0))
    u, v = source_positions(grid.wcs, source)(x, y)
    assert u.shape == x.shape
    lon, lat = lon_lat(source, y=v, x=u)
    expected_lon, expected_lat = lon_lat(grid.wcs, y=y, x=x)
    # 1e-9 pixel of 0.2 arcsec is 6e-14 degrees: what is left is the rounding of the longitude,
    # and, of a radial polynomial, wcslib's own inversion, good to 1e-7 pixel
    atol = 5e-12 if cards is ZPN else 3e-13
    np.testing.assert_allclose(lat, expected_lat, rtol=0.0, atol=atol)
    np.testing.assert_allclose((lon - expected_lon + 180) % 360, 180.0, rtol=0.0, atol=atol)


@pytest.mark.parametrize(
    "cards",
    [
        {"EQUINOX": 2000.0},
        {"RADESYS": "FK5", "EQUINOX": 1975.0},
        {"EQUINOX": 1950.0},
        {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "CRVAL1": 4.2, "CRVAL2": -77.0},
    ],
)
def test_celestial_systems_are_converted(cards):
    source = wcs_of(**cards)
    middle = source.pixel_to_world(60.0, 40.0).icrs
    grid = grid_near(middle.ra.deg, middle.dec.deg)
    x, y = np.meshgrid([0.0, 55.0, 109.0], [0.0, 30.0, 69.0])
    got = source_positions(grid.wcs, source)(x, y)
    # astropy's own path, through its coordinate objects, is precise to 1e-9 degree or better
    np.testing.assert_allclose(got, pixel_to_pixel(grid.wcs, source, x, y), rtol=0.0, atol=1e-6)
    shifted = np.hypot(*(np.array(got) - source_positions(grid.wcs, wcs_of())(x, y)))
    assert shifted.min() > 0.02  # the conversion is not nothing


@pytest.mark.parametrize("cards", [{}, SIP, TPV, ZPN, {"EQUINOX": 2000.0}])
def test_a_whole_pixel_shift_is_exact(cards):
    source = wcs_of(**cards)
    moved = dict(cards, CRPIX1=70.25 + 1200.0, CRPIX2=31.0 / 3 - 377.0)
    x, y = np.meshgrid(np.arange(20.0), np.arange(13.0))
    u, v = source_positions(wcs_of(**moved), source)(x, y)
    np.testing.assert_array_equal(u, x - 1200.0)
    np.testing.assert_array_equal(v, y + 377.0)


def test_one_grid_mapped_to_itself_is_exact_after_a_file():
    grid = grid_near(rotation=12.3)
    again = TargetGrid.from_text(
        "NAXIS1 = 110\nNAXIS2 = 70\n" + grid.header_cards().tostring(sep="\n"), name="again"
    )
    assert source_positions(again.wcs, grid.wcs)(4, 5) == (4.0, 5.0)


def test_scale_and_rotation_in_one_projection_are_as_exact_as_the_long_way():
    grid, other = grid_near(rotation=12.0), grid_near(shape=(60, 80), rotation=-31.0)
    source = celestial_wcs(
        header(CRVAL1=grid.wcs.wcs.crval[0], CRVAL2=grid.wcs.wcs.crval[1]), name="s"
    )
    x, y = np.meshgrid(np.arange(0.0, 110.0, 9.0), np.arange(0.0, 70.0, 7.0))
    for wcs in (source, other.wcs):
        expected = wcs.wcs_world2pix(*grid.wcs.wcs_pix2world(x, y, 0), 0)
        got = source_positions(grid.wcs, wcs)(x, y)
        # 1e-15 of 360 degrees in pixels of 0.2 arcsec, a few times
        np.testing.assert_allclose(got, expected, rtol=0.0, atol=5e-8)


def test_two_distortions_of_one_projection_are_not_taken_for_an_affine_map():
    source, other = wcs_of(**SIP), wcs_of(**dict(SIP, A_2_0=2.6e-5))
    u, v = source_positions(other, source)(120.0, 80.0)
    lon, lat = lon_lat(other, y=80.0, x=120.0)
    np.testing.assert_allclose(lon_lat(source, y=v, x=u), (lon, lat), rtol=0.0, atol=1e-12)
    assert u != 120.0


def test_shapes_broadcast_and_integers_do():
    u, v = source_positions(grid_near().wcs, wcs_of())(np.arange(5), np.arange(3)[:, None])
    assert u.shape == v.shape == (3, 5)
    assert u.dtype == v.dtype == np.float64


@pytest.mark.parametrize("cards", [{}, SIP, TPV, ZPN])
@pytest.mark.parametrize("known_shape", [True, False])
def test_the_opposite_side_of_the_sky_is_nowhere(cards, known_shape):
    source = wcs_of(**cards)
    # with its bounds unchecked the library mirrors the opposite hemisphere into the image
    source.wcs.bounds_check(False, False)
    if not known_shape:
        source.pixel_shape = None
    grid = grid_near(ra=179.999, dec=33.1)
    u, v = source_positions(grid.wcs, source)(np.arange(0.0, 110.0, 10.0), 35.0)
    assert np.isnan(u).all()
    assert np.isnan(v).all()


def test_a_radial_polynomial_that_folds_back_gives_no_false_position():
    source = wcs_of(**ZPN)
    source.wcs.bounds_check(False, False)
    # r = z + 42 z^3 - 1e4 z^5 is zero again at z = 0.1086 rad
    z = np.roots([-1e4, 0.0, 42.0, 0.0, 1.0])
    angle = np.degrees(float(z[np.isreal(z) & (z.real > 0)].real[0]))
    grid = grid_near(dec=-33.1 + angle)
    u, _ = source_positions(grid.wcs, source)(np.arange(0.0, 110.0, 10.0), 35.0)
    assert np.isnan(u).all()


def test_only_pixels_without_a_solution_are_lost():
    # one pixel per pixel of slope is reached 400 pixels from the reference pixel
    cards = dict(SIP, A_2_0=-1.25e-3, A_1_1=0.0, A_0_3=0.0)
    source = wcs_of(**cards)
    grid = TargetGrid(wcs_of(), (90, 1500))
    x, y = np.meshgrid(np.arange(-400.0, 1000.0, 50.0), [10.0, 60.0])
    u, v = source_positions(grid.wcs, source, source_shape=SHAPE)(x, y)
    # the parabola du - 1.25e-3 du^2 has no point above 200 pixels
    lost = x - 69.25 > 200.0
    assert np.isnan(u[lost]).all()
    assert np.isfinite(u[~lost & (x > -100)]).all()
    assert (np.isnan(u) == np.isnan(v)).all()


def test_a_grid_pixel_off_the_sky_has_no_position():
    grid = TargetGrid.from_center(10.0, 20.0, 3600.0, (200, 400), projection="AIT")
    u, v = source_positions(grid.wcs, wcs_of())(np.array([0.0]), np.array([0.0]))
    assert np.isnan([u[0], v[0]]).all()
