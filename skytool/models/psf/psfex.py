"""Point spread functions as PSFEx stores them: images times polynomials of the position."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from skytool.errors import InputError
from skytool.models.exposure import Origin
from skytool.models.psf.sampled import BasisPsf
from skytool.models.tables import table_columns

if TYPE_CHECKING:
    from astropy.io import fits
    from numpy.typing import NDArray

    from skytool.models.psf.base import Hdu

    Floats = NDArray[np.float64]

_MASK = "PSF_MASK"
_BEYOND = 0.1  # of the range of the stars, on every side: how far its polynomials are followed


def is_psfex(hdu: Hdu | fits.PrimaryHDU) -> bool:
    """Return whether an extension is a table of PSFEx."""
    return not getattr(hdu, "is_image", True) and "PSF_SAMP" in hdu.header


def psf_from_psfex(hdu: fits.BinTableHDU, *, name: str) -> BasisPsf:
    """Return the PSF in a table of PSFEx.

    Parameters
    ----------
    hdu : BinTableHDU
        Table ``PSF_DATA``.
    name : str
        What messages call the file.

    Raises
    ------
    InputError
        If the table is damaged, or the PSF depends on something else than the position.

    Notes
    -----
    Bertin (2011, ASP Conf. 442, 435): the value at a position is the sum of images times
    ``u^i v^j``, ``i + j`` up to the degree, the power of u running first; u and v are the 1-based
    pixel coordinates less POLZERO over POLSCAL, plus and minus one half at the outermost stars. A
    little beyond these the star is that of the nearest place.
    """
    header = hdu.header
    try:
        sampling = float(header["PSF_SAMP"])
        shape = tuple(int(header[f"PSFAXIS{axis}"]) for axis in (3, 2, 1))
        degree = _degree(header, name)
        x_axis, y_axis = (_Axis.of(header, number) if degree else _ALL for number in (1, 2))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{name}: a card of the PSF of PSFEx is wrong: {error}.") from error
    values = np.asarray(table_columns(hdu, name=name, required=(_MASK,))[_MASK], dtype=np.float64)
    powers = [(i, j) for j in range(degree + 1) for i in range(degree + 1 - j)]
    if shape[0] != len(powers) or values.size != math.prod(shape) or not sampling > 0.0:
        raise InputError(
            f"{name}: the PSF of PSFEx has {values.size} values and the sampling {sampling:g}, "
            f"which does not go with images of shape {shape} and the degree {degree}."
        )
    along_y, along_x = y_axis.powers(degree), x_axis.powers(degree)
    return BasisPsf(
        values.reshape(shape),
        np.stack([np.outer(along_y[j], along_x[i]) for i, j in powers]),
        (y_axis.size, x_axis.size),
        Origin(y_axis.start, x_axis.start),
        (1.0 / sampling, 1.0 / sampling),
    )


def _degree(header: fits.Header, name: str) -> int:
    """Return the degree of the polynomials; zero if the star is the same everywhere.

    Raises
    ------
    InputError
        If they are not polynomials of x and y.
    """
    n_axes = int(header["POLNAXIS"])
    if not n_axes:
        return 0
    named = [str(header[f"POLNAME{number}"]).strip() for number in range(1, n_axes + 1)]
    if int(header["POLNGRP"]) != 1 or [text[:1] for text in named] != ["X", "Y"]:
        raise InputError(
            f"{name}: the PSF of PSFEx depends on {', '.join(named)} in {header['POLNGRP']} "
            "groups, not on the position alone.",
            hint="Run PSFEx with PSFVAR_KEYS X_IMAGE,Y_IMAGE and PSFVAR_GROUPS 1,1.",
        )
    return int(header["POLDEG1"])


class _Axis(NamedTuple):
    """A coordinate: the pixels that are described, and how PSFEx counts it."""

    start: int
    size: int
    zero: float
    scale: float

    @classmethod
    def of(cls, header: fits.Header, number: int) -> Self:
        """Return what the cards of a coordinate say."""
        zero, scale = float(header[f"POLZERO{number}"]), float(header[f"POLSCAL{number}"])
        if not (math.isfinite(zero) and 0.0 < scale < math.inf):
            msg = f"POLZERO{number} = {zero}, POLSCAL{number} = {scale}"
            raise ValueError(msg)
        reach = (0.5 + _BEYOND) * scale
        start = math.floor(zero - 1.0 - reach)
        return cls(start, math.ceil(zero - 1.0 + reach) - start + 1, zero, scale)

    def powers(self, degree: int) -> Floats:
        """Return the powers of the coordinate as Chebyshev series over the pixels."""
        middle = self.start + (self.size - 1) / 2
        line = np.polynomial.Polynomial(
            [(middle + 1.0 - self.zero) / self.scale, self.size / 2 / self.scale]
        )
        series = np.zeros((degree + 1, degree + 1))
        for power in range(degree + 1):
            found = np.polynomial.chebyshev.poly2cheb((line**power).coef)
            series[power, : found.size] = found
        return series


_ALL = _Axis(0, 1, 0.0, 1.0)
