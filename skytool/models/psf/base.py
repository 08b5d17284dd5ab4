"""What every point spread function can do."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np
from astropy.io import fits

from skytool.core.stamps import half_maximum_fwhm
from skytool.errors import AlgorithmError
from skytool.models.keywords import set_card

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hdu: TypeAlias = fits.ImageHDU | fits.BinTableHDU

PSF_FORMAT = 1
"""Version of the layout in which point spread functions are stored."""


class Psf(ABC):
    """A point spread function that may vary over an image.

    A position is that of a star in the image [pixel, 0-based, centres on integers]. All images of
    the star are normalised to a sum of one on their stamp.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Shape ``(h, w)`` of the stamps, odd [pixel]."""

    @abstractmethod
    def _profile(
        self, *, y: float, x: float, rows: NDArray[np.float64], columns: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the star at a position, in any normalisation, on a lattice about its centre.

        Parameters
        ----------
        y, x : float
            Position of the star [pixel].
        rows, columns : ndarray of float64, shape (h,) and (w,)
            Where values are wanted [pixel from the centre of the star].

        Returns
        -------
        ndarray of float64, shape (h, w)
        """

    @abstractmethod
    def shifted(self, dy: float, dx: float) -> Self:
        """Return the same stars for an array in which all positions are larger by ``(dy, dx)``.

        Of a cut-out that starts at pixel ``(y0, x0)`` the PSF is ``psf.shifted(-y0, -x0)``.
        """

    @abstractmethod
    def to_hdus(self, *, extname: str = "PSF", extver: int = 1) -> list[Hdu]:
        """Return the extensions that `~skytool.models.psf.kinds.psf_from_hdus` reads."""

    def everywhere(self) -> Psf:
        """Return a PSF that has a star at every position: this one, unless it ends somewhere."""
        return self

    def kernel_image(
        self, *, y: float, x: float, shape: tuple[int, int] | None = None
    ) -> NDArray[np.float64]:
        """Return the star at a position, centred on the middle pixel of its stamp.

        Parameters
        ----------
        y, x : float
            Position [pixel]. Outside of the area that the model describes, the star is that of the
            nearest place in it.
        shape : tuple of int, optional
            Odd shape of the stamp; by default `shape`.

        Returns
        -------
        ndarray of float64, shape (h, w)
            Sum one.

        Raises
        ------
        ValueError
            If the shape is not odd.
        AlgorithmError
            If the stamp has no positive sum.
        """
        h, w = self.shape if shape is None else shape
        return self.star(y=y, x=x, shape=(h, w))

    def image(self, *, y: float, x: float) -> NDArray[np.float64]:
        """Return the star as it falls on the pixels of the image.

        Parameters
        ----------
        y, x : float
            Position [pixel].

        Returns
        -------
        ndarray of float64, shape (h, w)
            Sum one. The middle pixel of the stamp is the pixel of the image that holds the
            position, ``(floor(y + 0.5), floor(x + 0.5))``.

        Raises
        ------
        AlgorithmError
            If the stamp has no positive sum.
        """
        return self.star(
            y=y, x=x, shape=self.shape, dy=y - math.floor(y + 0.5), dx=x - math.floor(x + 0.5)
        )

    def star(
        self, *, y: float, x: float, shape: tuple[int, int], dy: float = 0.0, dx: float = 0.0
    ) -> NDArray[np.float64]:
        """Return the star at a position, its centre anywhere on the stamp.

        Parameters
        ----------
        y, x : float
            Position [pixel].
        shape : tuple of int
            Odd shape ``(h, w)`` of the stamp.
        dy, dx : float
            Where the centre lies from the middle pixel [pixel].

        Returns
        -------
        ndarray of float64, shape (h, w)
            Sum one.

        Raises
        ------
        ValueError
            If the shape is not odd.
        AlgorithmError
            If the stamp has no positive sum.
        """
        if any(n < 1 or n % 2 == 0 for n in shape):
            msg = f"a stamp has odd sides, not {shape}"
            raise ValueError(msg)
        rows, columns = (np.arange(n, dtype=np.float64) - n // 2 for n in shape)
        stamp = self._profile(y=y, x=x, rows=rows - dy, columns=columns - dx)
        total = float(stamp.sum())
        if not (math.isfinite(total) and total > 0.0):
            raise AlgorithmError(f"the PSF at (x, y) = ({x:g}, {y:g}) has the sum {total:g}.")
        return stamp / total

    def fwhm(self, *, y: float, x: float) -> float:
        """Return the full width at half maximum of the star at a position [pixel].

        It is the diameter of the circle with the area inside the half-maximum contour, measured on
        `kernel_image`. Widths from moments differ: `adaptive_fwhm`.

        Raises
        ------
        AlgorithmError
            If the stamp has no peak or ends above half of it.
        """
        try:
            return half_maximum_fwhm(self.kernel_image(y=y, x=x))
        except ValueError as error:
            raise AlgorithmError(f"the PSF at (x, y) = ({x:g}, {y:g}): {error}.") from error

    def adaptive_fwhm(self, *, y: float, x: float) -> float:
        """Return the width at half maximum of the Gaussian that fits the star [pixel].

        It is ``2.3548 sqrt((yy + xx) / 2)`` of the adaptive second moments of `kernel_image`: for
        a Gaussian the same as `fwhm`, for a star with wings larger.

        Raises
        ------
        AlgorithmError
            If the moments do not converge.
        """
        from skytool.core.psf.adaptive_moments import adaptive_moments

        try:
            return adaptive_moments(self.kernel_image(y=y, x=x)).fwhm
        except ValueError as error:
            raise AlgorithmError(f"the PSF at (x, y) = ({x:g}, {y:g}): {error}.") from error


def psf_hdu(
    data: NDArray[np.float64], kind: str, *, extname: str, extver: int, **cards: object
) -> fits.ImageHDU:
    """Return the image extension of a stored PSF, with its kind, version and further cards."""
    hdu = fits.ImageHDU(np.asarray(data, dtype=np.float64), name=extname, ver=extver)
    set_card(hdu.header, "PSFKIND", kind)
    set_card(hdu.header, "SKYMVER", PSF_FORMAT)
    for key, value in cards.items():
        set_card(hdu.header, key, value, _COMMENTS.get(key))
    return hdu


def set_sampling(header: fits.Header, oversampling: tuple[float, float]) -> None:
    """Set the cards of the samples per pixel of an image, along y and x."""
    for key, samples in zip(("PSFSAMPY", "PSFSAMPX"), oversampling, strict=True):
        set_card(header, key, samples, _COMMENTS[key])


_COMMENTS = {
    "PSFSAMPY": "samples per pixel along y",
    "PSFSAMPX": "samples per pixel along x",
    "PSFFUNC": "function",
    "PSFWIDTH": "[pixel] FWHM; of the core, if there is a wing",
    "PSFBETA": "exponent of the Moffat function",
    "PSFRATIO": "short over long axis",
    "PSFANGLE": "[deg] long axis from x towards y",
    "PSFWINGW": "FWHM of the wing over that of the core",
    "PSFWINGA": "height of the wing over that of the core",
    "PSFINTEG": "integrated over pixels, not sampled",
}
