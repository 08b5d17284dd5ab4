"""Sky maps of HEALPix pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skytool.core.sphere.directions import unit_vectors
from skytool.errors import IncompatibleError
from skytool.models.skymap.skymap import HealpixTiling, PatchLayout, SkyMap, TractLayout

ANYWHERE = st.tuples(
    st.floats(0.0, 360.0), st.floats(-1.0, 1.0).map(lambda z: float(np.degrees(np.arcsin(z))))
)
LAYOUT = TractLayout(20.0, "STG", 45.0, 1.0, PatchLayout((130, 90), (10, 20)))
MAPS = {
    (level, nest): SkyMap(HealpixTiling(level, nest), LAYOUT)
    for level, nest in ((0, False), (1, True), (3, False))
}


def test_base_pixels_are_where_they_are_defined():
    """Gorski et al. (2005): four about each pole at a sine of 2/3, four on the equator."""
    ra, dec = HealpixTiling().centers

    np.testing.assert_allclose(ra, [45, 135, 225, 315, 0, 90, 180, 270, 45, 135, 225, 315])
    high = np.degrees(np.arcsin(2 / 3))
    np.testing.assert_allclose(dec, np.repeat([high, 0, -high], 4), atol=1e-12)


def test_nested_pixels_lie_in_their_base_pixels():
    ra, dec = HealpixTiling(3, nest=True).centers

    np.testing.assert_array_equal(HealpixTiling(0).find(ra, dec), np.arange(12 * 64) // 64)


@pytest.mark.parametrize("key", MAPS)
def test_the_centre_of_a_tract_is_in_it(key):
    tiling = MAPS[key].tiling

    np.testing.assert_array_equal(tiling.find(*tiling.centers), np.arange(tiling.n_tracts))


@pytest.mark.parametrize("key", MAPS)
@settings(max_examples=40)
@given(position=ANYWHERE)
def test_the_tract_of_any_position_holds_it(key, position):
    sky_map = MAPS[key]
    number = int(sky_map.tiling.find(*position)[0])

    assert sky_map.tract(number).patch_at(*position) is not None
    assert sky_map.tracts_holding(*position)[0].number == number


@pytest.mark.parametrize("key", MAPS)
def test_tracts_of_a_size_are_measured_once_and_rightly(key):
    sky_map = MAPS[key]
    for number in range(0, sky_map.n_tracts, 7):
        assert sky_map.box(number) == LAYOUT.box(*sky_map.tiling.frame(number, LAYOUT.overlap))
    assert len(np.unique(sky_map.tiling.size_classes)) < sky_map.n_tracts / 3


def test_sides_of_a_turned_tract_run_along_those_of_its_pixel():
    """At the equator a small pixel is a square on its tip, which 45 degrees make upright."""
    layout = TractLayout(10.0, "STG", 45.0, 0.0, PatchLayout((10, 10), (0, 0)))
    sky_map = SkyMap(HealpixTiling(4), layout)
    number = int(sky_map.tiling.find(90.0 + 90.0 / 32, 0.0)[0])
    side = np.degrees(np.sqrt(4 * np.pi / sky_map.n_tracts)) * 360
    upright = SkyMap(sky_map.tiling, TractLayout(10.0, "STG", 0.0, 0.0, layout.patches))

    # a pixel of equal area, a tenth wider than high
    ny, nx = sky_map.tract(number).shape
    assert abs(unit_vectors(*(a[number] for a in sky_map.tiling.centers))[2]) < 0.05
    assert side * 0.98 < ny < side * 1.12
    assert side * 0.98 < nx < side * 1.12
    assert min(upright.tract(number).shape) > 1.25 * side


@pytest.mark.parametrize("level", [-1, 7])
def test_impossible_levels_are_refused(level):
    with pytest.raises(IncompatibleError, match="0 to 6"):
        HealpixTiling(level)
