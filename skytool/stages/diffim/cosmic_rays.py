"""Cosmic rays of the science image, found where the template has taken the stars away."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.difference.cosmic_rays import find_cosmic_rays
from skytool.errors import AlgorithmError
from skytool.stages.diffim.differencing import inner_part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.stages.diffim.config import DiffimConfig
    from skytool.stages.diffim.differencing import Subtracted
    from skytool.stages.diffim.inputs import Pair


def without_cosmic_rays(
    found: Subtracted, pair: Pair, star: NDArray[np.float64], config: DiffimConfig
) -> tuple[Subtracted, int]:
    """Return a difference with its cosmic rays flagged CR, before its noise is made white.

    Parameters
    ----------
    found : Subtracted
        The difference.
    pair : Pair
        The images.
    star : ndarray of float64, shape (h, w)
        PSF of the science image.
    config : DiffimConfig
        Settings.

    Returns
    -------
    found : Subtracted
        With the plane CR, whose pixels whitening does not spread.
    count : int
        Number of cosmic rays; 0 where the science image was convolved, which hides them.

    Raises
    ------
    AlgorithmError
        If there are more pixels than can be believed.
    """
    if not config.cosmic_rays or found.kernel.convolved == "SCIENCE":
        return found, 0
    y, x = found.kernel.middle
    template = found.source.inner(found.margin).variance
    squares = float(np.square(found.kernel.kernel.at(y=y, x=x)).sum())
    variance = template * np.float32(squares)
    variance += found.target.variance
    image = found.image
    if not config.subtract_background:
        image = np.asarray(image - found.kernel.surface.image(), np.float32)
    bad = pair.science_bad | pair.template_bad[inner_part(found.margin)]
    try:
        rays, count = find_cosmic_rays(image, variance, bad, star, config.cosmic_ray)
    except ValueError as error:
        raise AlgorithmError(
            f"the difference has {error}.",
            hint="Check the PSF of the science image, or give --no-do-cosmic-rays.",
        ) from error
    if not count:
        return found, 0
    mask = found.mask.copy()
    np.bitwise_or(mask, pair.bitmask("CR"), out=mask, where=rays)
    return replace(found, mask=mask), count
