"""World coordinate systems of simulated detectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, Sip

if TYPE_CHECKING:
    from numpy.typing import NDArray


def tan_wcs(
    *,
    ra: float,
    dec: float,
    pixel_scale: float,
    reference: tuple[float, float],
    rotation: float = 0.0,
    flip: bool = False,
    sip: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> WCS:
    """Make a gnomonic projection, with distortion polynomials if they are given.

    Parameters
    ----------
    ra, dec : float
        Sky at the reference pixel [deg].
    pixel_scale : float
        Size of a pixel [arcsec].
    reference : tuple of float
        Reference pixel ``(y, x)``, 0-based.
    rotation : float
        Angle from the y axis to north, anticlockwise on the pixels [deg].
    flip : bool
        Whether east is to the right where north is up.
    sip : tuple of ndarray
        Coefficients A and B, ``[p, q]`` of u^p v^q.
    """
    wcs = WCS(naxis=2)
    kind = "-SIP" if sip is not None else ""
    wcs.wcs.ctype = [f"RA---TAN{kind}", f"DEC--TAN{kind}"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [reference[1] + 1, reference[0] + 1]
    wcs.wcs.radesys = "ICRS"
    c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    east = 1.0 if flip else -1.0
    wcs.wcs.cd = np.round(np.array([[east * c, east * s], [-s, c]]) * pixel_scale / 3600, 14) + 0.0
    if sip is not None:
        wcs.sip = Sip(sip[0], sip[1], None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


def wcs_cards(wcs: WCS) -> fits.Header:
    """Write down a coordinate system of `tan_wcs` as cards, the same for every version of wcslib."""
    header = fits.Header()
    header["WCSAXES"] = 2
    for axis in (1, 2):
        header[f"CTYPE{axis}"] = wcs.wcs.ctype[axis - 1]
        header[f"CUNIT{axis}"] = "deg"
        header[f"CRVAL{axis}"] = float(wcs.wcs.crval[axis - 1])
        header[f"CRPIX{axis}"] = float(wcs.wcs.crpix[axis - 1])
    for i in (1, 2):
        for j in (1, 2):
            header[f"CD{i}_{j}"] = float(wcs.wcs.cd[i - 1, j - 1])
    header["RADESYS"] = "ICRS"
    if wcs.sip is not None:
        for name, coefficients in (("A", wcs.sip.a), ("B", wcs.sip.b)):
            header[f"{name}_ORDER"] = coefficients.shape[0] - 1
            for p, q in np.argwhere(coefficients):
                header[f"{name}_{p}_{q}"] = float(coefficients[p, q])
    return header


def pixel_positions(
    wcs: WCS, shape: tuple[int, int], ra: NDArray, dec: NDArray, margin: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Positions ``y, x`` of sky positions, and whether each is within a margin of the image.

    Those that are not keep their positions without distortion: its inverse need not exist there.
    """
    x, y = wcs.wcs_world2pix(ra, dec, 0)
    near = _inside(y, x, shape, 2 * margin + 20)
    if wcs.sip is not None and near.any():
        x[near], y[near] = wcs.all_world2pix(ra[near], dec[near], 0, tolerance=1e-7)
    return y, x, _inside(y, x, shape, margin)


def jacobian(wcs: WCS, *, y: float, x: float) -> NDArray[np.float64]:
    """Derivatives of (east, north) [arcsec] by (y, x) [pixel], shape ``(2, 2)``."""
    steps = np.array([[0.0, 0.0], [0.5, 0.0], [-0.5, 0.0], [0.0, 0.5], [0.0, -0.5]])
    ra, dec = wcs.all_pix2world(x + steps[:, 1], y + steps[:, 0], 0)
    turn = (ra - ra[0] + 180) % 360 - 180
    east, north = turn * np.cos(np.radians(dec[0])) * 3600, (dec - dec[0]) * 3600
    return np.array(
        [[east[1] - east[2], east[3] - east[4]], [north[1] - north[2], north[3] - north[4]]]
    )


def _inside(y: NDArray, x: NDArray, shape: tuple[int, int], margin: float) -> NDArray[np.bool_]:
    return (y > -margin) & (y < shape[0] - 1 + margin) & (x > -margin) & (x < shape[1] - 1 + margin)
