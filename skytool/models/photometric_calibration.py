"""What one unit of an image is in nanojansky."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from skytool.errors import IncompatibleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.background.chebyshev import ChebyshevModel

NANOJANSKY_ZERO_POINT = 31.4
"""AB magnitude of one nanojansky (Oke & Gunn 1983): 48.6 mag is 1 erg / s / cm2 / Hz = 1e32 nJy."""


@dataclass(frozen=True, eq=False)
class PhotometricCalibration:
    """The factor from the unit of an image to nanojansky.

    Parameters
    ----------
    scale : float
        Nanojansky per unit, the mean over the image where it varies [nJy / unit].
    scale_error : float
        Its standard error [nJy / unit].
    field : ChebyshevModel or None
        How it varies: a surface over the pixel edges of the image, whose mean over them is taken
        to be one, whatever it is. None if it does not vary.

    Raises
    ------
    IncompatibleError
        If the scale is not positive, or the error negative.
    """

    scale: float
    scale_error: float = 0.0
    field: ChebyshevModel | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0.0):
            raise IncompatibleError(f"a calibration of {self.scale:g} nJy per unit is impossible.")
        if not (math.isfinite(self.scale_error) and self.scale_error >= 0.0):
            raise IncompatibleError(f"a calibration error of {self.scale_error:g} is impossible.")
        if self.field is not None and not _mean(self.field) > 0.0:
            raise IncompatibleError("the mean of a calibration field is not positive.")

    @classmethod
    def from_zero_point(
        cls, zero_point: float, error: float = 0.0, field: ChebyshevModel | None = None
    ) -> Self:
        """Return the calibration of an image in which one unit has an AB magnitude.

        Parameters
        ----------
        zero_point : float
            AB magnitude of one unit [mag].
        error : float
            Its standard error [mag].
        field : ChebyshevModel or None
            How the scale varies over the image.

        Notes
        -----
        ``scale = 10^(0.4 (31.4 - zero_point))``.
        """
        scale = _scale(zero_point)
        return cls(scale, 0.4 * math.log(10.0) * scale * error, field)

    @property
    def zero_point(self) -> float:
        """AB magnitude of one unit [mag]."""
        return NANOJANSKY_ZERO_POINT - 2.5 * math.log10(self.scale)

    @property
    def flux_mag0(self) -> float:
        """Flux of AB magnitude zero [unit]."""
        return 10.0 ** (0.4 * self.zero_point)

    def factor_to_zero_point(self, zero_point: float) -> float:
        """Return the factor that makes one unit have an AB magnitude [mag]."""
        return self.scale / _scale(zero_point)

    def factor_to(self, other: PhotometricCalibration) -> float:
        """Return the factor that turns this image's units into those of another one."""
        return self.scale / other.scale

    def scaled(self, factor: float) -> Self:
        """Return the calibration of the same image with its pixels multiplied by a factor."""
        return type(self)(self.scale / factor, self.scale_error / factor, self.field)

    def relative_scale(
        self, shape: tuple[int, int], *, rows: slice | None = None
    ) -> NDArray[np.float32] | None:
        """Return the scale of every pixel over the mean one.

        Parameters
        ----------
        shape : tuple of int
            Shape ``(ny, nx)`` of the image.
        rows : slice, optional
            Rows wanted; all by default.

        Returns
        -------
        ndarray of float32, shape (ny, nx), or None
            None if the scale does not vary.

        Raises
        ------
        IncompatibleError
            If the scale is given for an image of another shape.
        """
        if self.field is None:
            return None
        if tuple(self.field.shape) != tuple(shape):
            raise IncompatibleError(
                f"a calibration field for {self.field.shape[1]} x {self.field.shape[0]} pixels does "
                f"not go with an image of {shape[1]} x {shape[0]}."
            )
        values = self.field.image(rows=rows, dtype=np.float64)
        return (values / _mean(self.field)).astype(np.float32)

    def apply(
        self,
        image: NDArray[np.float32],
        variance: NDArray[np.float32],
        include_calib_var: bool = False,  # noqa: FBT001, FBT002
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return an image and its variance in nanojansky.

        Parameters
        ----------
        image, variance : ndarray of float32, shape (ny, nx)
            Pixels and their variance [unit, unit squared]; neither is changed.
        include_calib_var : bool
            Whether the error of the scale is added to the variance.

        Returns
        -------
        image : ndarray of float32, shape (ny, nx)
            ``c I`` [nJy].
        variance : ndarray of float32, shape (ny, nx)
            ``c^2 V``, and ``(sigma_c I)^2`` with the error [nJy squared].

        Raises
        ------
        IncompatibleError
            If the scale varies and is given for an image of another shape.
        """
        relative = self.relative_scale((image.shape[0], image.shape[1]))
        scale = np.float32(self.scale) if relative is None else np.float32(self.scale) * relative
        calibrated = image * scale
        calibrated_variance = variance * np.square(scale)
        if include_calib_var and self.scale_error > 0.0:
            error = np.float32(self.scale_error)
            known = np.where(np.isfinite(image), image, np.float32(0.0))
            error_now = error if relative is None else error * relative
            calibrated_variance += np.square(error_now * known)
        return calibrated, calibrated_variance


def _mean(field: ChebyshevModel) -> float:
    """Return the mean of a surface over the pixel edges.

    The integral of T_n over -1 to 1 is ``2 / (1 - n^2)`` for even n and zero for odd n.
    """
    y_means, x_means = (
        np.array([0.0 if n % 2 else 1.0 / (1.0 - n * n) for n in range(size)])
        for size in field.coefficients.shape
    )
    return float(y_means @ field.coefficients @ x_means)


def _scale(zero_point: float) -> float:
    """Return nanojansky per unit for the AB magnitude of one unit."""
    return 10.0 ** (0.4 * (NANOJANSKY_ZERO_POINT - zero_point))
