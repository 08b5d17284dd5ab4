import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skytool.core.sphere import directions as spherical


def cap(lon, lat, radius, n=24):
    """Points on a small circle [deg]."""
    center = spherical.unit_vectors(lon, lat)
    east, north = spherical.tangent_axes(center)
    angle = np.arange(n) / n * 2 * np.pi
    r = np.radians(radius)
    ring = np.cos(angle)[:, None] * east + np.sin(angle)[:, None] * north
    return np.cos(r) * center + np.sin(r) * ring


@given(st.floats(0.0, 359.999), st.floats(-89.999, 89.999))
def test_a_direction_survives_the_way_through_a_unit_vector(lon, lat):
    back_lon, back_lat = spherical.longitude_latitude(spherical.unit_vectors(lon, lat))
    assert abs((back_lon - lon + 180.0) % 360.0 - 180.0) * np.cos(np.radians(lat)) < 1e-13
    assert back_lat == pytest.approx(lat, abs=1e-9)


def test_a_longitude_just_west_of_zero_stays_below_360():
    lon, _ = spherical.longitude_latitude(np.array([[1.0, -1e-320, 0.0], [1.0, -1e-3, 0.0]]))
    assert (lon >= 0.0).all()
    assert (lon < 360.0).all()
    assert lon[1] > 359.9


def test_separation_is_precise_for_tiny_and_for_opposite_directions():
    a = spherical.unit_vectors(10.0, 20.0)
    b = spherical.unit_vectors(10.0, 20.0 + 1e-9)
    assert spherical.separation(a, b) == pytest.approx(np.radians(1e-9), rel=1e-6)
    assert spherical.separation(a, -a) == pytest.approx(np.pi)


@given(st.floats(0, 360), st.floats(-90, 90), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_projection_and_its_inverse_agree(lon, lat, east, north):
    center = spherical.unit_vectors(lon, lat)
    vector = spherical.deproject(east, north, center)
    got = spherical.project(vector[None], center)
    np.testing.assert_allclose(np.ravel(got), [east, north], atol=1e-14)


def test_north_and_east_are_those_of_the_sky():
    center = spherical.unit_vectors(150.0, 30.0)
    north = spherical.project(spherical.unit_vectors([150.0], [30.1]), center)
    east = spherical.project(spherical.unit_vectors([150.1], [30.0]), center)
    np.testing.assert_allclose(north, [[0.0], [np.tan(np.radians(0.1))]], atol=1e-15)
    assert east[0][0] > 0.0


def test_the_opposite_hemisphere_does_not_project():
    center = spherical.unit_vectors(150.0, 30.0)
    east, north = spherical.project(np.array([-center, center]), center)
    assert np.isnan(east).tolist() == [True, False]
    assert np.isnan(north).tolist() == [True, False]


def test_a_hull_drops_inner_points_and_keeps_corners():
    square = spherical.unit_vectors([9.0, 11.0, 11.0, 9.0], [-1.0, -1.0, 1.0, 1.0])
    inner = spherical.unit_vectors([10.0, 9.5], [0.0, 0.5])
    hull = spherical.convex_hull(np.concatenate([inner, square]))
    assert sorted(map(tuple, hull)) == sorted(map(tuple, square))


def test_a_hull_of_more_than_a_hemisphere_is_none():
    ring, inside = cap(0.0, 0.0, 95.0), spherical.unit_vectors([0.0], [0.0])
    assert spherical.convex_hull(np.concatenate([ring, inside])) is None


def test_a_hull_without_area_is_an_error():
    with pytest.raises(ValueError, match="no area"):
        spherical.convex_hull(spherical.unit_vectors([1.0, 1.0, 1.0], [2.0, 2.0, 2.0]))


@pytest.mark.parametrize("lat", [0.0, 60.0, 89.0, 90.0])
@pytest.mark.parametrize(("gap", "expected"), [(-0.02, True), (0.02, False)])
def test_caps_intersect_exactly_when_their_radii_bridge_the_distance(lat, gap, expected):
    # Polygons of 24 corners at the same bearing: the facing corners are on the line of centres.
    a = spherical.unit_vectors(359.99, lat)
    east, _ = spherical.tangent_axes(a)
    distance = np.radians(1.0 + 0.5 + gap)
    b = np.cos(distance) * a + np.sin(distance) * east
    first = cap(359.99, lat, 1.0)
    # the second polygon has a corner on the way back to the first
    back = a - (a @ b) * b
    back /= np.linalg.norm(back)
    side = np.cross(b, back)
    angle = np.arange(24)[:, None] / 24 * 2 * np.pi
    r = np.radians(0.5)
    second = np.cos(r) * b + np.sin(r) * (np.cos(angle) * back + np.sin(angle) * side)
    hulls = [spherical.convex_hull(points) for points in (first, second)]
    assert spherical.hulls_intersect(*hulls) is expected
    assert spherical.hulls_intersect(*hulls[::-1]) is expected


def test_a_region_inside_another_one_intersects_it():
    big, small = (spherical.convex_hull(cap(200.0, -40.0, r)) for r in (20.0, 0.01))
    assert spherical.hulls_intersect(big, small)
    assert spherical.hulls_intersect(small, big)


def test_opposite_regions_do_not_intersect():
    a = spherical.convex_hull(cap(10.0, 20.0, 5.0))
    b = spherical.convex_hull(cap(190.0, -20.0, 5.0))
    assert not spherical.hulls_intersect(a, b)
