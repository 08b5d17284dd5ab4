import numpy as np
import pytest
from astropy.wcs import WCS

from skytool.models.sky.celestial import celestial_wcs
from skytool.models.sky.tpv import tpv_header
from tests.io.foreign import wcs_header

SHAPE = (150, 90)


def sip_wcs(order, rng, *, rotation=0.6, size=3.0):
    """A WCS whose distortion moves the edges of an image by about so many pixels."""
    header = wcs_header()
    scale, c, s = 0.25 / 3600, np.cos(rotation), np.sin(rotation)
    header["CD1_1"], header["CD1_2"] = -scale * c, scale * s
    header["CD2_1"], header["CD2_2"] = scale * s, 1.1 * scale * c
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    for letter in "AB":
        header[f"{letter}_ORDER"] = order
        for p in range(order + 1):
            for q in range(order + 1 - p):
                if p + q >= 2:
                    header[f"{letter}_{p}_{q}"] = rng.normal(0, size / 3) / 100.0 ** (p + q)
    return celestial_wcs(header, name="made")


@pytest.mark.parametrize("order", [2, 3, 4, 5, 6, 7])
def test_tpv_has_the_positions_of_sip(rng, order):
    wcs = sip_wcs(order, rng)
    y, x = np.meshgrid(np.linspace(-5, SHAPE[0], 9), np.linspace(-5, SHAPE[1], 7), indexing="ij")
    ra, dec = wcs.all_pix2world(x, y, 0)

    header = tpv_header(wcs)
    same_ra, same_dec = WCS(header).all_pix2world(x, y, 0)

    linear_ra, _ = wcs.wcs_pix2world(x, y, 0)
    assert np.abs(linear_ra - ra).max() * 3600 > 0.05, "there is a distortion to speak of"
    # rounding of right ascensions near 150 degrees, twice
    np.testing.assert_allclose(same_ra, ra, rtol=0, atol=1e-12)
    np.testing.assert_allclose(same_dec, dec, rtol=0, atol=1e-12)
    assert not any(key.startswith(("A_", "B_", "AP_", "BP_")) for key in header)
    assert header["CTYPE1"] == "RA---TPV"


def test_no_tpv_of_other_distortions(rng):
    plain = celestial_wcs(wcs_header(), name="made")
    other = wcs_header()
    other["CTYPE1"], other["CTYPE2"] = "RA---SIN-SIP", "DEC--SIN-SIP"
    other.update({"A_ORDER": 2, "A_2_0": 1e-5, "B_ORDER": 2, "B_0_2": 1e-5})

    assert tpv_header(plain) is None
    assert tpv_header(celestial_wcs(other, name="made")) is None
    assert tpv_header(sip_wcs(8, rng)) is None
