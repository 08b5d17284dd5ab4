"""Elliptical Moffat functions described by their adaptive moments, at many places at once."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_N_NODES = 80
_REACH = 40.0  # of the radial integrals: squared radius over the second moment


@lru_cache(maxsize=64)
def moffat_scale(beta: float) -> float:
    r"""Return how a Moffat function with given adaptive moments scales with the radius.

    Parameters
    ----------
    beta : float
        Exponent, larger than one.

    Returns
    -------
    float
        The factor k of the function :math:`(1 + k\, u^T M^{-1} u)^{-\beta}` whose adaptive
        moments are M, in the limit of fine pixels.

    Raises
    ------
    ValueError
        If the exponent is one or less, or the function is too flat to have such moments.

    Notes
    -----
    Adaptive moments are those at which the moments under the weight :math:`\exp(-t/2)`,
    :math:`t = u^T M^{-1} u`, are one half of M: the mean of t under weight and function is one.
    For a Gaussian, an infinite exponent, :math:`k \beta` is one half.
    """
    if not beta > 1.0:
        msg = f"the exponent of a Moffat function is larger than 1, not {beta}"
        raise ValueError(msg)
    points, weights = np.polynomial.legendre.leggauss(_N_NODES)
    t = 0.5 * _REACH * (points + 1.0)
    low, high = 0.1 / beta, 20.0 / beta

    def mean(scale: float) -> float:
        height = weights * np.exp(-0.5 * t - beta * np.log1p(scale * t))
        return float(height @ t / height.sum())

    if not mean(low) > 1.0 > mean(high):
        msg = f"a Moffat function of exponent {beta} has no adaptive moments"
        raise ValueError(msg)
    while high / low > 1.0 + 1e-12:
        middle = math.sqrt(low * high)
        if mean(middle) > 1.0:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def moment_matrix(radius: Floats, e1: Floats, e2: Floats) -> Floats:
    """Return second moments ``yy, xx, xy``, shape ``(3, n)``, of given radius and elongation.

    Parameters
    ----------
    radius : ndarray of float64, shape (n,)
        Fourth root of the determinant [pixel].
    e1, e2 : ndarray of float64, shape (n,)
        Elongation along x and along the diagonal, as those of
        `~skytool.core.psf.adaptive_moments.AdaptiveMoments`; smaller than one together.
    """
    half = radius**2 / np.sqrt(1.0 - e1**2 - e2**2)
    return np.stack([half * (1.0 - e1), half * (1.0 + e1), half * e2])


def moffat_images(moments: Floats, beta: float, *, rows: Floats, columns: Floats) -> Floats:
    """Return Moffat functions.

    Parameters
    ----------
    moments : ndarray of float64, shape (3, n)
        Adaptive moments ``yy, xx, xy`` [pixel squared].
    beta : float
        Exponent.
    rows, columns : ndarray of float64, shape (n, h) and (n, w)
        Where values are wanted, from the centre of each [pixel].

    Returns
    -------
    ndarray of float64, shape (n, h, w)
        Light per pixel of a source of flux one.
    """
    yy, xx, xy = (moment[:, None, None] for moment in moments)
    determinant = yy * xx - xy * xy
    scale = moffat_scale(beta)
    dy, dx = rows[:, :, None], columns[:, None]
    squared = (xx * dy * dy + yy * dx * dx - 2.0 * xy * dy * dx) / determinant
    height = (beta - 1.0) * scale / (np.pi * np.sqrt(determinant))
    return np.asarray(height * (1.0 + scale * squared) ** -beta)
