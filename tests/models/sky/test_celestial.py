import numpy as np
import pytest
from astropy import units
from astropy.coordinates import FK4, FK5, ICRS, Galactic, SkyCoord
from astropy.io import fits
from astropy.wcs.utils import proj_plane_pixel_area

from skytool.core.sphere import directions as spherical
from skytool.errors import IncompatibleError, SkytoolWarning
from skytool.models.sky.celestial import (
    celestial_header,
    celestial_wcs,
    directions,
    frame_change,
    lon_lat,
    pixel_scale,
    text_exact,
)
from skytool.models.sky.pixelmap import source_positions

SHAPE = (90, 130)

SIP = {
    "CTYPE1": "RA---TAN-SIP",
    "CTYPE2": "DEC--TAN-SIP",
    "A_ORDER": 3,
    "B_ORDER": 2,
    "A_2_0": 1.3e-5,
    "A_0_3": -2.1e-8,
    "A_1_1": 0.7e-5,
    "B_0_2": -1.9e-5,
    "B_1_1": 4.4e-6,
}
TPV = {
    "CTYPE1": "RA---TPV",
    "CTYPE2": "DEC--TPV",
    "PV1_0": 2e-4,
    "PV1_1": 1.01,
    "PV1_2": 2e-4,
    "PV1_4": 8e-3,
    "PV1_7": -3e-3,
    "PV2_0": 1e-4,
    "PV2_1": 1.006,
    "PV2_2": 3e-4,
    "PV2_6": 6e-4,
    "PV2_9": -7e-4,
}
ZPN = {
    "CTYPE1": "RA---ZPN",
    "CTYPE2": "DEC--ZPN",
    "PV2_1": 1.0,
    "PV2_3": 42.0,
    "PV2_5": -1e4,
}


def header(**cards):
    result = fits.Header()
    result["NAXIS"], result["NAXIS1"], result["NAXIS2"] = 2, SHAPE[1], SHAPE[0]
    result["CTYPE1"], result["CTYPE2"] = "RA---TAN", "DEC--TAN"
    result["CRPIX1"], result["CRPIX2"] = 70.25, 31.0 / 3
    result["CRVAL1"], result["CRVAL2"] = 359.999, -33.1
    result["CD1_1"], result["CD1_2"] = -5.1e-5, 1.1e-5
    result["CD2_1"], result["CD2_2"] = 1.2e-5, 5.3e-5 / 3
    for key, value in cards.items():
        result[key] = value
    return result


@pytest.mark.parametrize(
    "cards", [{}, SIP, TPV, ZPN, {"RADESYS": "FK5", "EQUINOX": 2000.0}, {"LONPOLE": 175.0}]
)
def test_a_wcs_survives_its_header_to_the_last_bit(cards):
    wcs = celestial_wcs(header(**cards), name="a")
    # the first time through, numbers of more than 20 characters are rounded
    once = celestial_wcs(text_exact(celestial_header(wcs)), name="b")
    twice = celestial_wcs(text_exact(celestial_header(once)), name="c")
    y, x = np.meshgrid([-3.0, 40.2, 88.0], [-7.5, 66.6, 129.0])
    first, second = (np.array(lon_lat(w, y=y, x=x)) for w in (once, twice))
    np.testing.assert_array_equal(first, second)
    exact = np.array(lon_lat(wcs, y=y, x=x))
    # 1e-13 of the 130 pixels of 0.2 arcsec, and the rounding of 360 degrees
    np.testing.assert_allclose(first, exact, rtol=0.0, atol=3e-13)


def test_pc_and_cdelt_and_crota_become_the_same_cd():
    crota = header()
    for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        del crota[key]
    pc = crota.copy()
    angle = np.radians(20.0)
    for key, value in (("CDELT1", -2e-4), ("CDELT2", 3e-4)):
        crota[key] = pc[key] = value
    crota["CROTA2"] = 20.0
    pc["PC1_1"], pc["PC1_2"] = np.cos(angle), -np.sin(angle) * 3e-4 / -2e-4
    pc["PC2_1"], pc["PC2_2"] = np.sin(angle) * -2e-4 / 3e-4, np.cos(angle)
    cards = [celestial_header(celestial_wcs(h, name="a")) for h in (crota, pc)]
    for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        assert cards[0][key] == pytest.approx(cards[1][key], rel=1e-12)


def test_the_header_of_a_cube_keeps_its_celestial_axes():
    cube = header(
        NAXIS=3, NAXIS3=4, CTYPE3="WAVE", CRVAL3=5e-7, CRPIX3=1.0, CDELT3=1e-9, CUNIT3="m", CD3_3=1
    )
    wcs = celestial_wcs(cube, name="cube")
    assert wcs.naxis == 2
    assert celestial_header(wcs)["CRVAL1"] == 359.999


def test_a_distortion_by_tables_is_announced_when_written():
    wcs = celestial_wcs(header(), name="a")
    from astropy.wcs import DistortionLookupTable

    wcs.cpdis1 = DistortionLookupTable(np.ones((3, 4), np.float32), (1, 1), (1, 1), (40, 40))
    with pytest.warns(SkytoolWarning, match="tables"):
        celestial_header(wcs)


@pytest.mark.parametrize(
    "cards",
    [
        {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"},
        {"CTYPE2": "DEC--STG"},
        {"CD1_1": 0.0, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.0},
        {"CD1_1": 1e-4, "CD1_2": 2e-4, "CD2_1": 2e-4, "CD2_2": 4e-4},
        {"CTYPE1": "RA---XXX", "CTYPE2": "DEC--XXX"},
        {"CRPIX1": "7.5"},
        {"CRVAL2": "NaN"},
        {"CD1_1": 1e300},
    ],
)
def test_unusable_coordinates_are_refused_with_the_image_named(cards):
    with pytest.raises(IncompatibleError, match=r"bad\.fits"):
        celestial_wcs(header(**cards), name="bad.fits")


@pytest.mark.parametrize(
    ("cards", "frame"),
    [
        ({"RADESYS": "FK5", "EQUINOX": 2000.0}, FK5(equinox="J2000")),
        ({"EQUINOX": 2000.0}, FK5(equinox="J2000")),
        ({"RADESYS": "FK5", "EQUINOX": 1975.0}, FK5(equinox="J1975")),
        ({"EQUINOX": 1950.0}, FK4(equinox="B1950")),
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, Galactic()),
        ({"RADESYS": "ICRS", "EQUINOX": 2000.0}, ICRS()),
        ({}, ICRS()),
    ],
)
def test_directions_are_icrs_whatever_the_system(cards, frame):
    wcs = celestial_wcs(header(**cards), name="a")
    y, x = np.array([0.0, 50.0, 80.0]), np.array([3.0, 100.0, -9.0])
    own = SkyCoord(*lon_lat(wcs, y=y, x=x), unit=units.deg, frame=frame)
    expected = spherical.unit_vectors(own.icrs.ra.deg, own.icrs.dec.deg)
    np.testing.assert_allclose(directions(wcs, y=y, x=x), expected, rtol=0.0, atol=1e-14)


def test_equal_systems_need_no_conversion():
    plain = celestial_wcs(header(), name="a")
    named = celestial_wcs(header(RADESYS="ICRS"), name="b")
    fk5 = celestial_wcs(header(EQUINOX=2000.0), name="c")
    assert frame_change(plain) is None
    assert frame_change(plain, named) is None
    assert frame_change(plain, fk5) is not None


def test_an_unknown_system_is_refused():
    wcs = celestial_wcs(header(RADESYS="GAPPT"), name="a")
    with pytest.raises(IncompatibleError, match="GAPPT"):
        directions(wcs, y=[1.0], x=[2.0])


def test_the_scale_includes_the_distortion_of_the_place():
    plain = celestial_wcs(header(CRVAL1=10.0), name="a")
    expected = np.sqrt(proj_plane_pixel_area(plain)) * 3600.0
    assert pixel_scale(plain, y=31.0 / 3 - 1, x=69.25) == pytest.approx(expected, rel=1e-9)
    bent = celestial_wcs(header(**SIP), name="b")
    # d(x + A(x))/dx at the reference pixel is 1, away from it 1 + 2 A_2_0 dx + ...
    u, v = 50.0, -20.0
    a, b = SIP, SIP
    jacobian = np.linalg.det(
        [
            [1 + 2 * a["A_2_0"] * u + a["A_1_1"] * v, 3 * a["A_0_3"] * v**2 + a["A_1_1"] * u],
            [b["B_1_1"] * v, 1 + 2 * b["B_0_2"] * v + b["B_1_1"] * u],
        ]
    )
    # 1e-6: curvature of the tangent plane 30 arcsec from its point of contact
    got = pixel_scale(bent, y=31.0 / 3 - 1 + v, x=69.25 + u)
    assert got == pytest.approx(expected * np.sqrt(jacobian), rel=1e-6)


def test_the_scale_is_by_default_that_in_the_middle_of_the_image():
    bent = celestial_wcs(header(**SIP), name="b")
    assert pixel_scale(bent) == pixel_scale(bent, y=(SHAPE[0] - 1) / 2, x=(SHAPE[1] - 1) / 2)
    bent.pixel_shape = None
    assert pixel_scale(bent) == pixel_scale(bent, y=31.0 / 3 - 1, x=69.25)


def test_latitude_may_come_first():
    swapped = header(CTYPE1="DEC--TAN", CTYPE2="RA---TAN", CRVAL1=-33.1, CRVAL2=359.999)
    wcs = celestial_wcs(swapped, name="a")
    lon, lat = lon_lat(wcs, y=31.0 / 3 - 1, x=69.25)
    assert (float(lon), float(lat)) == pytest.approx((359.999, -33.1))
    _, lat = lon_lat(wcs, y=31.0 / 3 - 1, x=169.25)
    assert float(lat) == pytest.approx(-33.1 - 100 * 5.1e-5, abs=1e-7)  # x is the latitude
    again = celestial_wcs(text_exact(celestial_header(wcs)), name="b")
    at = {"y": [1.0, 80.0], "x": [5.0, 100.0]}
    np.testing.assert_allclose(lon_lat(again, **at), lon_lat(wcs, **at), rtol=0, atol=3e-13)
    u, v = source_positions(celestial_wcs(header(), name="c"), wcs)(at["x"], at["y"])
    expected = lon_lat(celestial_wcs(header(), name="c"), **at)
    np.testing.assert_allclose(lon_lat(wcs, y=v, x=u), expected, rtol=0, atol=3e-13)
