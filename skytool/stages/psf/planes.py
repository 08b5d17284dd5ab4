"""The pixels of an exposure, made ready for stars to be measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from skytool.core.noise.estimate import sky_noise
from skytool.core.psf.star_selection import saturation_level
from skytool.core.psf.star_stamps import cut_stamps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytool.core.psf.peaks import Peaks
    from skytool.models.exposure import Exposure

    Flags = NDArray[np.bool_]

_PLATEAU = 4  # pixels of a star at the same value that tell that it is saturated
_LEAST_NOISE = 1e-6  # of the sky over the brightest pixel


@dataclass(frozen=True, eq=False)
class Planes:
    """Pixels of an exposure.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
        Without its sky; zero where there is no value.
    weight : ndarray of float32, shape (ny, nx)
        Inverse variance; zero where there is no value.
    scaled : ndarray of float32, shape (ny, nx)
        Image over the noise of its sky; zero where there is no value.
    bad, saturated : ndarray of bool, shape (ny, nx)
        Pixels not to use, and those of them that are saturated.
    """

    image: NDArray[np.float32]
    weight: NDArray[np.float32]
    scaled: NDArray[np.float32]
    bad: Flags
    saturated: Flags

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)``."""
        ny, nx = self.image.shape
        return ny, nx

    @classmethod
    def of(cls, exposure: Exposure, bad_planes: Sequence[str]) -> Self:
        """Return the pixels of an exposure, those of some planes being bad."""
        image, variance = exposure.image, exposure.variance
        bad = exposure.mask.any_of(bad_planes)
        bad |= ~np.isfinite(image) | ~np.isfinite(variance) | (variance <= 0.0)
        weight, clean, scaled = np.zeros((3, *image.shape), np.float32)
        np.divide(1.0, variance, out=weight, where=~bad)
        if not bad.all():
            sky = sky_noise(image, bad)
            np.subtract(image, sky.level_image(), out=clean, where=~bad, casting="unsafe")
            # an image without noise is divided by something, too
            least = _LEAST_NOISE * float(np.abs(clean).max()) or 1.0
            np.divide(clean, np.maximum(sky.rms_image(), least), out=scaled, casting="unsafe")
        return cls(clean, weight, scaled, bad, exposure.mask.any_of(["SAT"]))

    def without_pile(self, image: NDArray[np.float32], peaks: Peaks) -> tuple[Self, float | None]:
        """Return the pixels with those taken for saturated at whose value peaks pile up.

        Parameters
        ----------
        image : ndarray of float32, shape (ny, nx)
            With its sky.
        peaks : Peaks
            Sources.

        Returns
        -------
        planes : Planes
            The pixels.
        level : float or None
            The value; None if there is none.
        """
        row, column = (np.rint(at).astype(np.intp) for at in (peaks.y, peaks.x))
        around = cut_stamps(np.where(self.bad, -np.inf, image), row, column, 1, fill=-np.inf)
        # of a star that is not cut off, only the very highest pixels come near the highest
        plateau = np.sort(around.reshape(-1, 9), axis=1)[:, -_PLATEAU]
        level = saturation_level(around.max(axis=(1, 2)).astype(np.float64), plateau)
        if level is None:
            return self, None
        high = image >= level
        bad = self.bad | high
        image, weight, scaled = (
            np.where(bad, np.float32(0.0), plane)
            for plane in (self.image, self.weight, self.scaled)
        )
        return type(self)(image, weight, scaled, bad, self.saturated | high), level
