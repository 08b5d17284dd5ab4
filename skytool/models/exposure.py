"""The exposure: one detector or one warp, with everything that is known of its pixels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Self

from astropy.io import fits

if TYPE_CHECKING:
    import numpy as np
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from skytool.models.mask import Mask
    from skytool.models.photometry import PhotometricCalibration
    from skytool.models.psf.kinds import Psf


class Origin(NamedTuple):
    """Position of the first pixel in the parent frame (tract or detector) [pixel, 0-based]."""

    y: int
    x: int


@dataclass(frozen=True, eq=False)
class Exposure:
    """Image, mask and variance of one detector or one warp, with what is known of them.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
        Pixel values [``unit``]; NaN where there is none.
    mask : Mask
        Named planes, same shape.
    variance : ndarray of float32, shape (ny, nx)
        Variance of ``image`` [``unit`` squared]; +inf where there is no value.
    wcs : `~astropy.wcs.WCS` or None
        Celestial coordinates of array pixels (0-based, centres on integers).
    unit : str
        FITS unit string of ``image``; empty if unknown.
    calibration : PhotometricCalibration or None
        What one ``unit`` is in nanojansky.
    psf : Psf or None
        Point spread function in array pixels.
    header : `~astropy.io.fits.Header`
        Observation cards: nothing structural, no WCS, no checksum.
    origin : Origin
        Place of the first pixel in its parent frame; ``wcs`` and ``psf`` do not include it.
    name : str
        What messages call it, as ``raw7.fits[N4]``.
    extensions : tuple of HDU
        Further extensions of the file, kept by stages that keep the pixel grid.
    """

    image: NDArray[np.float32]
    mask: Mask
    variance: NDArray[np.float32]
    wcs: WCS | None = None
    unit: str = ""
    calibration: PhotometricCalibration | None = None
    psf: Psf | None = None
    header: fits.Header = field(default_factory=fits.Header)
    origin: Origin = field(default=Origin(0, 0))
    name: str = "exposure"
    extensions: tuple[fits.ImageHDU | fits.BinTableHDU, ...] = ()

    def __post_init__(self) -> None:
        if not self.image.shape == self.mask.array.shape == self.variance.shape:
            shapes = f"{self.image.shape}, {self.mask.array.shape}, {self.variance.shape}"
            msg = f"{self.name}: image, mask and variance differ in shape: {shapes}"
            raise ValueError(msg)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)``."""
        ny, nx = self.image.shape
        return ny, nx

    def with_values(self, **changes: object) -> Self:
        """Return a copy with some attributes replaced; planes that are not named are shared."""
        return replace(self, **changes)  # type: ignore[arg-type]
