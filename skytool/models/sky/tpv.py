"""Distortions of pixels (SIP) as distortions of the tangent plane (TPV)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.models.keywords import set_card
from skytool.models.sky.celestial import celestial_header

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.wcs import WCS
    from numpy.typing import NDArray

_MAX_ORDER = 7


def tpv_header(wcs: WCS) -> fits.Header | None:
    """Return the cards of a WCS whose SIP distortion is written as TPV.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        A tangent projection with SIP polynomials.

    Returns
    -------
    `~astropy.io.fits.Header` or None
        None if the projection is another, has no SIP polynomials, or they are of an order above 7,
        the highest that TPV has.

    Notes
    -----
    SIP adds polynomials ``f(u, v)`` and ``g(u, v)`` to the pixel offsets before the linear matrix
    (Shupe et al. 2005), TPV has polynomials ``xi(x, y)`` and ``eta(x, y)`` of the offsets behind it
    (Calabretta et al. 2004). With ``(x, y) = CD (u, v)``::

        (xi, eta) = (x, y) + CD(f, g)(CD ^ -1(x, y))

    is a polynomial of the same order: the two describe the same positions, exactly.
    """
    sip = wcs.sip
    names = [str(kind)[5:] for kind in wcs.wcs.ctype]
    if sip is None or any(not name.startswith("TAN") for name in names):
        return None
    order = max(sip.a_order, sip.b_order)
    if order > _MAX_ORDER:
        return None
    matrix = np.asarray(wcs.pixel_scale_matrix, dtype=np.float64)
    inverse = np.linalg.inv(matrix).astype(np.float64)
    f, g = (_in_plane(_padded(table, order), inverse) for table in (sip.a, sip.b))
    header = celestial_header(wcs)
    for key in [key for key in header if key[:2] in {"A_", "B_", "AP", "BP"}]:
        header.remove(key)
    for axis in (1, 2):
        header[f"CTYPE{axis}"] = header[f"CTYPE{axis}"][:5] + "TPV"
        moved = matrix[axis - 1, 0] * f + matrix[axis - 1, 1] * g
        _add_terms(header, axis, moved)
    return header


def _padded(table: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Return coefficients ``[p, q]`` of ``u^p v^q`` in a table for an order."""
    missing = order + 1 - len(table)
    return np.pad(np.asarray(table, dtype=np.float64), [(0, missing)] * 2)


def _in_plane(
    coefficients: NDArray[np.float64], inverse: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the coefficients of a polynomial in x and y, of which u and v are linear functions."""
    n = len(coefficients)
    result = np.zeros((n, n))
    (u_x, u_y), (v_x, v_y) = inverse
    u_powers, v_powers = _powers(u_x, u_y, n), _powers(v_x, v_y, n)
    for p, q in np.argwhere(coefficients):
        if p + q < n:
            result += coefficients[p, q] * _product(u_powers[p], v_powers[q])
    return result


def _powers(a: float, b: float, n: int) -> list[NDArray[np.float64]]:
    """Return the coefficients ``[i, j]`` of ``(a x + b y)^k`` for k below n."""
    linear = np.zeros((n, n))
    linear[1:2, 0], linear[0, 1:2] = a, b
    one = np.zeros((n, n))
    one[0, 0] = 1.0
    powers = [one]
    for _ in range(n - 1):
        powers.append(_product(powers[-1], linear))
    return powers


def _product(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the product of two polynomials, without terms above the order of the tables."""
    n = len(a)
    result = np.zeros((n, n))
    for i, j in np.argwhere(a):
        result[i:, j:] += a[i, j] * b[: n - i, : n - j]
    return result


def _add_terms(header: fits.Header, axis: int, moved: NDArray[np.float64]) -> None:
    """Add the PV cards of one axis: its own coordinate, plus a polynomial ``[i, j]`` of x and y."""
    polynomial = moved if axis == 1 else moved.T  # the second axis counts powers of y first
    polynomial = polynomial.copy()
    polynomial[1, 0] += 1.0
    number = 0
    for degree in range(len(polynomial)):
        for j in range(degree + 1):
            value = float(polynomial[degree - j, j]) + 0.0  # no minus zero
            # linear terms are written in any case: without them some readers assume others
            if value or degree == 1:
                set_card(header, f"PV{axis}_{number}", value, "term of the distortion")
            number += 1
        number += degree % 2  # the odd powers of the radius, PVi_3, 11, 23, 39: none
