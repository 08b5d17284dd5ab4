import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from skytool.errors import InputError
from skytool.models.sky.focal_plane import (
    affine_from_section,
    affine_from_table,
    affines_from_wcs,
    arrange,
)

SHAPE = (120, 80)


def wcs_of(center, rotation=0.0, scale=0.25):
    """Coordinates whose reference point, the optical axis, is pixel `center` (x, y)."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 40.0]
    wcs.wcs.crpix = np.add(center, 1.0)
    c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    wcs.wcs.cd = scale / 3600 * np.array([[-c, s], [s, c]])
    wcs.wcs.set()
    return wcs


def test_a_table_gives_places_and_angles():
    places = affine_from_table("# camera\n3 10 -20 90 1\nS29, 0, 0, 0, -0.5\n\n", name="t")

    assert list(places) == ["3", "S29"]
    y, x = places["3"](y=np.array([4.0]), x=np.array([7.0]))
    np.testing.assert_allclose([y[0], x[0]], [-20 + 7, 10 - 4], atol=1e-12)
    y, x = places["S29"](y=np.array([4.0]), x=np.array([6.0]))
    np.testing.assert_allclose([y[0], x[0]], [2, -3], atol=1e-12)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2 3\n", "line 1: not a detector"),
        ("1 0 0 0 1\n1 5 5 0 1\n", "line 2: detector 1 is there twice"),
        ("1 0 0 0 0\n", "is no place"),
        ("1 0 nan 0 1\n", "is no place"),
        ("1 a b c d\n", "not a detector"),
    ],
)
def test_a_damaged_table_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        affine_from_table(text, name="t")


def test_a_section_gives_the_place_and_the_binning():
    header = fits.Header([("DETSEC", "[161:1,241:480]")])

    affine = affine_from_section(fits.Header([("DETSEC", "[160:1,241:480]")]), SHAPE)

    y, x = affine(y=np.array([0.0]), x=np.array([0.0]))
    np.testing.assert_allclose([y[0], x[0]], [240.5, 158.5])
    assert affine.matrix[0, 0] == -2
    assert affine_from_section(header, (120, 90)) is None
    assert affine_from_section(fits.Header(), SHAPE) is None


def test_detectors_lie_where_their_coordinates_say():
    detectors = {"1": (wcs_of((90.0, 60.0)), SHAPE), "2": (wcs_of((-10.0, 60.0)), SHAPE)}

    places = affines_from_wcs(detectors, "1")

    np.testing.assert_allclose(places["1"].matrix, np.eye(2), atol=1e-9)
    y, x = places["2"](y=np.array([5.0]), x=np.array([0.0]))
    np.testing.assert_allclose([y[0], x[0]], [5.0, 100.0], atol=1e-3)


def test_places_do_not_depend_on_the_rotation_of_the_camera():
    def visit(rotation):
        return {
            "1": (wcs_of((90.0, 60.0), rotation), fits.Header(), SHAPE),
            "2": (wcs_of((-10.0, 60.0), rotation), fits.Header(), SHAPE),
        }

    upright, turned = arrange([visit(0.0)]), arrange([visit(137.0)])

    for key in "12":
        np.testing.assert_allclose(upright[key].matrix, turned[key].matrix, atol=1e-6)
        np.testing.assert_allclose(upright[key].shift, turned[key].shift, atol=1e-3)


def test_sections_come_before_coordinates_and_both_may_be_missing():
    plain = fits.Header()
    section = [fits.Header([("DETSEC", f"[{1 + 80 * i}:{80 * (i + 1)},1:120]")]) for i in (0, 1)]

    known = arrange([{"a": (None, section[0], SHAPE), "b": (None, section[1], SHAPE)}])

    np.testing.assert_allclose(known["b"].shift, [80, 0])
    assert arrange([{"a": (None, plain, SHAPE), "b": (None, plain, SHAPE)}]) is None
    np.testing.assert_allclose(arrange([{"a": (None, plain, SHAPE)}])["a"].matrix, np.eye(2))


def test_a_detector_may_be_missing_in_a_visit():
    first = {"1": (wcs_of((90.0, 60.0)), fits.Header(), SHAPE)}
    second = first | {"2": (wcs_of((-10.0, 60.0)), fits.Header(), SHAPE)}

    assert set(arrange([first, second])) == {"1", "2"}
