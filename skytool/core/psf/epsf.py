"""Images of point sources built by photutils from stamps of stars."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_ITERATIONS = 10
_FIT_SHAPE = 5  # [pixel] part of the stars that their places are fitted in


def build_epsf(
    stamps: Floats, weight: Floats, *, y: Floats, x: Floats, oversampling: int
) -> Floats:
    """Return the effective point spread function of stars.

    Parameters
    ----------
    stamps : ndarray of float64, shape (n, h, w)
        Stars, without sky and neighbours; odd sides.
    weight : ndarray of float64, shape (n, h, w)
        Inverse variance; zero where a pixel is not to be used.
    y, x : ndarray of float64, shape (n,)
        Places of the stars from the middle of their stamps [pixel].
    oversampling : int
        Samples per pixel along each axis.

    Returns
    -------
    ndarray of float64
        Samples about the middle one, of sum one.

    Raises
    ------
    ValueError
        If photutils cannot build it.

    Notes
    -----
    Anderson & King (2000, PASP 112, 1360).
    """
    from astropy.utils.exceptions import AstropyUserWarning
    from photutils.psf import EPSFBuilder, EPSFStar, EPSFStars

    _, h, w = stamps.shape
    stars = [
        EPSFStar(stamp, weights=np.sqrt(own), cutout_center=(w // 2 + dx, h // 2 + dy))
        for stamp, own, dy, dx in zip(stamps, weight, y, x, strict=True)
    ]
    builder = EPSFBuilder(
        oversampling=oversampling,
        maxiters=_ITERATIONS,
        fit_shape=min(_FIT_SHAPE, h, w),
        progress_bar=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        built, _ = builder(EPSFStars(stars))
    image = np.asarray(built.data, dtype=np.float64)
    total = image.sum()
    if not (np.isfinite(image).all() and total > 0.0):
        msg = f"photutils builds no PSF of {len(stars)} stars"
        raise ValueError(msg)
    return image / total
