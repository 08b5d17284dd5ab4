"""Limits of what one step of an iterative solution may change in subfilter images.

Sullivan & Reiss, "DCR-matched template generation" (Rubin Observatory note DMTN-037), describe
the method: extended areas outside of limits are clipped, single noisy pixels are not.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from skytool.errors import SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Image = NDArray[np.floating]

_MAD_TO_SIGMA = 1.4826
_SHARPENING = 3.0
_NOISE_MARGIN = 3.0


def apply_thresholds(
    image: Image, high: Image | None = None, low: Image | None = None, *, width: int = 2
) -> None:
    """Bring extended areas of an image between limits, in place.

    Parameters
    ----------
    image : ndarray of float, shape (ny, nx)
        Pixels; NaN stays.
    high, low : ndarray of float, shape (ny, nx), optional
        Limits; the upper one first.
    width : int
        Radius of the smallest area that is changed, a diamond [pixel]; 0 changes single pixels,
        too. Nothing changes nearer than that to an edge.
    """
    if high is not None:
        beyond = _extended(image > high, width)
        image[beyond] = high[beyond]
    if low is not None:
        beyond = _extended(image < low, width)
        image[beyond] = low[beyond]


def _extended(flags: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Return the flags that belong to areas as large as a diamond."""
    if width <= 0:
        return flags
    from scipy import ndimage

    diamond = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), width)
    return np.asarray(ndimage.binary_opening(flags, structure=diamond))


def noise_cutoff(image: Image, usable: NDArray[np.bool_]) -> float:
    """Return the standard deviation of the pixels of an image that show no source.

    Parameters
    ----------
    image : ndarray of float, shape (ny, nx)
        Pixels.
    usable : ndarray of bool, shape (ny, nx)
        True where there is neither source nor defect.

    Returns
    -------
    float
        Without a usable pixel, that of all pixels by their median deviation.

    Warns
    -----
    SkytoolWarning
        If there is no usable pixel.
    """
    finite = np.isfinite(image)
    values = image[usable & finite].astype(np.float64)
    if values.size:
        return float(values.std())
    everything = image[finite].astype(np.float64)
    if not everything.size:
        return 0.0
    warnings.warn(
        "no pixel without source or defect is left: the noise is that of all pixels.",
        SkytoolWarning,
        stacklevel=2,
    )
    return float(_MAD_TO_SIGMA * np.median(np.abs(everything - np.median(everything))))


def limit_step(
    new: Image, old: Image, factor: float, *, width: int = 2, keep_negative: bool = False
) -> None:
    """Limit by how much an image differs from that of the step before, in place.

    Parameters
    ----------
    new, old : ndarray of float, shape (ny, nx)
        The images.
    factor : float
        The new values may be between the old ones divided by and multiplied with this.
    width : int
        As for `apply_thresholds`.
    keep_negative : bool
        Whether negative values may stay what they are; divided by the factor they are larger, so
        that without this every step lifts them.
    """
    low = old / factor
    if keep_negative:
        low = np.minimum(low, old * factor)
    apply_thresholds(new, np.abs(old) * factor, low, width=width)


def limit_colours(
    images: Sequence[Image], reference: Image, noise: float, factor: float, *, width: int = 2
) -> None:
    """Make every subfilter image a smooth multiple of a reference image, in place.

    Parameters
    ----------
    images : sequence of ndarray of float, shape (ny, nx)
        Subfilter images.
    reference : ndarray of float, shape (ny, nx)
        Their mean before the step. The images become zero where it is not positive.
    noise : float
        Noise of a subfilter image.
    factor : float
        Largest ratio of two subfilters.
    width : int
        Size of the smoothing, and of the smallest area that is changed [pixel].

    Raises
    ------
    ValueError
        If the width is not positive.
    """
    if width <= 0:
        raise ValueError(f"smoothing needs a positive width, not {width}")
    from scipy.ndimage import gaussian_filter

    bad = ~(reference > 0.0)
    if bad.all():
        return
    positive = np.where(bad, 0.0, reference).astype(reference.dtype)
    margin = _NOISE_MARGIN * noise / (2 * width)

    def smoothed(image: Image) -> Image:
        return np.asarray(gaussian_filter(image, width, mode="constant")) + margin

    smooth, limit = smoothed(positive), np.sqrt(factor)
    for image in images:
        apply_thresholds(image, smooth * limit, smooth / limit, width=width)
        ratio = smoothed(image) / smooth
        ratio += _SHARPENING * (ratio - gaussian_filter(ratio, width / 3.0))
        image[...] = ratio * positive


def average_steps(new: Sequence[Image], old: Sequence[Image], gain: float) -> None:
    """Replace new images by weighted means with the old ones, in place.

    Parameters
    ----------
    new, old : sequence of ndarray of float, shape (ny, nx)
        Images of this step and of the one before.
    gain : float
        Weight of the new images; the old ones have weight one.
    """
    for image, before in zip(new, old, strict=True):
        image[...] = (gain * image + before) / (1.0 + gain)
