"""Point spread functions given by a formula."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from skytool.errors import InputError
from skytool.models.psf.base import Psf, psf_hdu

if TYPE_CHECKING:
    from astropy.io import fits
    from numpy.typing import NDArray

    from skytool.models.psf.base import Hdu

Function = Literal["GAUSSIAN", "MOFFAT", "DOUBLE_GAUSSIAN"]

_N_NODES = 9  # of the integral over a pixel; exact to 1e-10 for a Gaussian of 1 pixel FWHM
_KEYS = {
    "width": "PSFWIDTH",
    "beta": "PSFBETA",
    "axis_ratio": "PSFRATIO",
    "angle": "PSFANGLE",
    "wing_fwhm_factor": "PSFWINGW",
    "wing_amplitude": "PSFWINGA",
    "integrated": "PSFINTEG",
}


@dataclass(frozen=True)
class AnalyticPsf(Psf):
    """A Gaussian, a Moffat function, or a Gaussian with a Gaussian wing; the same everywhere.

    Parameters
    ----------
    function : {"GAUSSIAN", "MOFFAT", "DOUBLE_GAUSSIAN"}
        Profile.
    width : float
        Full width at half maximum, the geometric mean of both axes; of a double Gaussian, that of
        its core [pixel].
    size : int
        Side of the stamp, odd [pixel].
    beta : float
        Exponent of a Moffat function.
    axis_ratio : float
        Short over long axis, in (0, 1].
    angle : float
        Direction of the long axis, from the x axis towards the y axis [deg].
    wing_fwhm_factor, wing_amplitude : float
        Of a double Gaussian: width and height of the wing over those of the core.
    integrated : bool
        Whether the formula is integrated over each pixel, instead of taken at its centre.

    Raises
    ------
    InputError
        If a value is impossible.
    """

    function: Function
    width: float
    size: int
    beta: float = 3.0
    axis_ratio: float = 1.0
    angle: float = 0.0
    wing_fwhm_factor: float = 2.5
    wing_amplitude: float = 0.1
    integrated: bool = False

    def __post_init__(self) -> None:
        positive = {
            "width": self.width,
            "beta": self.beta - 1.0,
            "axis ratio": self.axis_ratio,
            "wing": min(self.wing_fwhm_factor, self.wing_amplitude),
        }
        for what, value in positive.items():
            if not (value > 0.0 and math.isfinite(value)):
                raise InputError(f"the {what} of a PSF is out of range: {self}.")
        if self.function not in {"GAUSSIAN", "MOFFAT", "DOUBLE_GAUSSIAN"}:
            raise InputError(f"{self.function} is no known PSF.")
        if self.axis_ratio > 1.0 or not math.isfinite(self.angle):
            raise InputError(f"the axes of a PSF are out of range: {self}.")
        if self.size < 3 or self.size % 2 == 0:
            raise InputError(f"the stamp of a PSF has an odd side of 3 or more, not {self.size}.")

    @classmethod
    def gaussian(cls, fwhm: float, *, size: int | None = None, **options: float | bool) -> Self:
        """Return a Gaussian; the default stamp holds all but 1e-6 of it."""
        return cls("GAUSSIAN", fwhm, size or _side(2.3 * fwhm), **options)  # type: ignore[arg-type]

    @classmethod
    def moffat(
        cls, fwhm: float, beta: float = 3.0, *, size: int | None = None, **options: float | bool
    ) -> Self:
        """Return a Moffat function; the default stamp reaches five times the FWHM."""
        return cls("MOFFAT", fwhm, size or _side(5.0 * fwhm), beta=beta, **options)  # type: ignore[arg-type]

    @classmethod
    def double_gaussian(
        cls,
        fwhm: float,
        *,
        wing_fwhm_factor: float = 2.5,
        wing_amplitude: float = 0.1,
        size: int | None = None,
        **options: float | bool,
    ) -> Self:
        """Return a Gaussian with a wing, on a stamp of three times its FWHM by default."""
        return cls(
            "DOUBLE_GAUSSIAN",
            fwhm,
            size or max(2 * (int(3.0 * fwhm) // 2) + 1, 5),
            wing_fwhm_factor=wing_fwhm_factor,
            wing_amplitude=wing_amplitude,
            **options,  # type: ignore[arg-type]
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(h, w)`` of the stamps, odd [pixel]."""
        return self.size, self.size

    def _profile(
        self, *, y: float, x: float, rows: NDArray[np.float64], columns: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        del y, x  # the same everywhere
        if not self.integrated:
            return self._height(rows[:, None], columns)
        nodes, weights = np.polynomial.legendre.leggauss(_N_NODES)
        total = np.zeros((rows.size, columns.size))
        for row_node, row_weight in zip(nodes / 2, weights / 2, strict=True):
            for column_node, column_weight in zip(nodes / 2, weights / 2, strict=True):
                height = self._height(rows[:, None] + row_node, columns + column_node)
                total += row_weight * column_weight * height
        return total

    def _height(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the height of the profile at offsets from the centre, one (or more) there."""
        t = math.radians(self.angle)
        along = x * math.cos(t) + y * math.sin(t)
        across = y * math.cos(t) - x * math.sin(t)
        squared = (along**2 * self.axis_ratio + across**2 / self.axis_ratio) * (4.0 / self.width**2)
        if self.function == "MOFFAT":
            return (1.0 + squared * (2.0 ** (1.0 / self.beta) - 1.0)) ** -self.beta
        core = np.exp(-math.log(2.0) * squared)
        if self.function == "GAUSSIAN":
            return core
        wing = np.exp(-math.log(2.0) * squared / self.wing_fwhm_factor**2)
        return core + self.wing_amplitude * wing

    def shifted(self, dy: float, dx: float) -> Self:
        """Return this PSF: it is the same everywhere."""
        del dy, dx
        return self

    def to_hdus(self, *, extname: str = "PSF", extver: int = 1) -> list[Hdu]:
        """Return one image: the stamp, with the formula in its cards."""
        cards = {key: getattr(self, attribute) for attribute, key in _KEYS.items()}
        stamp = self.kernel_image(y=0.0, x=0.0)
        return [
            psf_hdu(
                stamp, "ANALYTIC", extname=extname, extver=extver, PSFFUNC=self.function, **cards
            )
        ]

    @classmethod
    def from_header(cls, header: fits.Header, *, name: str) -> Self:
        """Return what the header of a stored stamp describes.

        Raises
        ------
        InputError
            If a card is missing or impossible.
        """
        try:
            values = {attribute: header[key] for attribute, key in _KEYS.items()}
            return cls(function=header["PSFFUNC"], size=header["NAXIS1"], **values)
        except (KeyError, TypeError) as error:
            raise InputError(f"{name}: the formula of the PSF is incomplete: {error}.") from error


def _side(reach: float) -> int:
    """Return the odd side of a stamp that reaches some pixels from its middle."""
    return 2 * max(math.ceil(reach), 2) + 1
