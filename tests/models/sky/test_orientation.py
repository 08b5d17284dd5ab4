import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord

from skytool.errors import IncompatibleError
from skytool.models.sky.celestial import celestial_wcs
from skytool.models.sky.orientation import position_text, sky_orientation
from tests.io.foreign import wcs_header


def turned(angle, *, mirrored=False, scale=0.3, kind=("RA---TAN", "DEC--TAN")):
    """A WCS whose y axis has a position angle [deg]."""
    header = wcs_header(dec=-41.0)
    a, s = np.radians(angle), scale / 3600
    header["CTYPE1"], header["CTYPE2"] = kind
    flip = -1 if mirrored else 1
    header["CD1_1"], header["CD1_2"] = -flip * s * np.cos(a), s * np.sin(a)
    header["CD2_1"], header["CD2_2"] = flip * s * np.sin(a), s * np.cos(a)
    return celestial_wcs(header, name="made")


def apart(a, b):
    return abs((a - b + 180.0) % 360.0 - 180.0)


@pytest.mark.parametrize("angle", [0.0, 37.5, 180.0, 271.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_angle_scale_and_handedness_are_those_of_the_matrix(angle, mirrored):
    here = sky_orientation(turned(angle, mirrored=mirrored), y=51.0, x=32.0)

    assert apart(here.position_angle, angle) < 1e-6
    assert here.pixel_scale == pytest.approx(0.3, rel=1e-8)
    assert (here.y_scale, here.x_scale) == pytest.approx((0.3, 0.3), rel=1e-8)
    assert here.is_mirrored == mirrored
    assert (here.ra, here.dec) == pytest.approx((150.1, -41.0), abs=1e-9)


@pytest.mark.parametrize("kind", [("RA---TAN", "DEC--TAN"), ("GLON-TAN", "GLAT-TAN")])
def test_steps_along_the_arrows_go_north_and_east_in_icrs(kind):
    wcs = turned(64.0, kind=kind)
    here = sky_orientation(wcs, y=20.0, x=70.0)
    start = SkyCoord(here.ra * units.deg, here.dec * units.deg)

    for (dy, dx), expected in ((here.north(), 0.0), (here.east(), 90.0)):
        assert np.hypot(dy, dx) == pytest.approx(1.0)
        lon, lat = wcs.all_pix2world(70.0 + 2 * dx, 20.0 + 2 * dy, 0)
        system = "icrs" if kind[0].startswith("RA") else "galactic"
        end = SkyCoord(lon * units.deg, lat * units.deg, frame=system).icrs
        assert apart(start.position_angle(end).deg, expected) < 1e-3


def test_pixels_without_a_place_on_the_sky_are_refused():
    header = wcs_header(scale=3000.0)
    header["CTYPE1"], header["CTYPE2"] = "RA---SIN", "DEC--SIN"
    wcs = celestial_wcs(header, name="made")

    with pytest.raises(IncompatibleError, match=r"far.fits: .* \(x, y\) = \(32, 400\)"):
        sky_orientation(wcs, y=400.0, x=32.0, name="far.fits")


@pytest.mark.parametrize(
    ("ra", "dec", "text"),
    [
        (150.1, -30.2, "10:00:24.0 -30:12:00"),
        (0.0, -0.25 / 3600, "00:00:00.0 +00:00:00"),
        (0.0, -0.75 / 3600, "00:00:00.0 -00:00:01"),
        (359.9999, 89.9999, "00:00:00.0 +90:00:00"),
        (15 * (1 + 59.96 / 3600), 12.999999, "01:01:00.0 +13:00:00"),
    ],
)
def test_positions_are_rounded_as_a_whole(ra, dec, text):
    assert position_text(ra, dec) == text
