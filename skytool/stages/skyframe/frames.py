"""Frames from combined superpixels: what is missing filled, planes and cards added."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.curves import Extrapolation, InterpolationStyle
from skytool.core.background.interpolation import InterpolationRule, fill_missing
from skytool.errors import AlgorithmError
from skytool.models.mask import Mask
from skytool.models.skyframe import SkyFrame

if TYPE_CHECKING:
    from astropy.io import fits
    from numpy.typing import NDArray

    from skytool.core.background.blocks import Blocks
    from skytool.core.skyframe.combine import Combined
    from skytool.models.exposure import Origin
    from skytool.stages.skyframe.config import BuildConfig

    Floats = NDArray[np.float64]

_BETWEEN = InterpolationRule(InterpolationStyle.LINEAR, extrapolation=Extrapolation.CONSTANT)


def filled_superpixels(values: Floats, fill: str, name: str) -> Floats:
    """Return superpixels with a value everywhere.

    Parameters
    ----------
    values : ndarray of float64, shape (n_y, n_x)
        NaN where there is no value.
    fill : {"interpolate", "median"}
        Straight lines between the neighbours, constant at the edges; or the median of all.
    name : str
        What messages call the frame.

    Raises
    ------
    AlgorithmError
        If there is no value at all.
    """
    missing = ~np.isfinite(values)
    if missing.all():
        raise AlgorithmError(
            f"{name}: no superpixel has a value.",
            hint="Give more exposures, mask less, or lower --min-exposures.",
        )
    if not missing.any():
        return values
    if fill == "median":
        return np.where(missing, np.median(values[~missing]), values)
    return fill_missing(values, _BETWEEN)


def finished_frame(
    pattern: Combined,
    blocks: Blocks,
    config: BuildConfig,
    *,
    origin: Origin,
    components: Floats,
    header: fits.Header,
    name: str,
) -> SkyFrame:
    """Return the sky frame of a detector.

    Parameters
    ----------
    pattern : Combined
        Superpixels in one row.
    blocks : Blocks
        Blocks of any exposure of the detector.
    config : BuildConfig
        Settings.
    origin : Origin
        Place of their first pixel in the parent frame.
    components : ndarray of float64, shape (n, n_y * n_x)
        Further patterns.
    header : `~astropy.io.fits.Header`
        Cards of the frame.
    name : str
        What messages call it.

    Raises
    ------
    AlgorithmError
        If no superpixel has enough exposures.
    """
    cells = blocks.cells
    enough = pattern.kept >= max(config.min_exposures, 1)
    values = np.where(enough, pattern.value, np.nan).reshape(cells.shape)
    missing = ~np.isfinite(values)
    planes = [
        filled_superpixels(np.where(missing, np.nan, plane), config.fill, name).astype(np.float32)
        for plane in (values, *(each.reshape(cells.shape) for each in components))
    ]
    variance = np.where(missing.ravel(), np.nan, pattern.variance).reshape(cells.shape)
    chi2 = pattern.chi2.reshape(cells.shape).astype(np.float32)
    return SkyFrame(
        image=planes[0],
        variance=variance.astype(np.float32),
        mask=Mask.empty(cells.shape).with_flagged(missing, "NO_DATA"),
        shape=cells.image_shape,
        origin=origin,
        algorithm=InterpolationStyle(config.background.algorithm),
        components=np.array(planes[1:], np.float32).reshape(-1, *cells.shape),
        n_image=pattern.kept.reshape(cells.shape).astype(np.int16),
        chi2=chi2 if np.isfinite(chi2).any() else None,
        header=header,
        name=name,
    )
