"""The subfilters of a DCR model as one image in colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.errors import IncompatibleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure


def subfilter_channels(exposure: Exposure) -> NDArray[np.float32]:
    """Return red, green and blue of an exposure with the subfilters of a DCR model.

    Parameters
    ----------
    exposure : Exposure
        Its extensions DCR are the subfilters, the bluest first.

    Returns
    -------
    ndarray of float32, shape (3, ny, nx)
        Flux density; that of a flat spectrum is the same in all, and that of the whole band. Of
        more than three subfilters, neighbours are mixed; NaN where the exposure has no value.

    Raises
    ------
    IncompatibleError
        If it has no subfilters of its shape.
    """
    parts = sorted((hdu for hdu in exposure.extensions if hdu.name == "DCR"), key=lambda h: h.ver)
    images = [np.asarray(hdu.data, dtype=np.float32) for hdu in parts]
    if not images or any(image.shape != exposure.shape for image in images):
        raise IncompatibleError(
            f"{exposure.name} has no subfilters.", hint="skytool dcr-assemble makes them."
        )
    places = np.linspace(len(images) - 1.0, 0.0, 3)  # of red, green and blue
    channels = []
    for place in places:
        low = int(place)
        high = min(low + 1, len(images) - 1)
        share = np.float32(place - low)
        mixed = (1 - share) * images[low] + share * images[high]
        channels.append(np.where(np.isfinite(exposure.image), mixed * len(images), np.nan))
    return np.stack(channels).astype(np.float32)
