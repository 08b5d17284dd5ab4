"""Point spread functions given by images: one, a grid of them, or a basis."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from skytool.core.background.chebyshev import axis_terms
from skytool.core.stamps import interpolated, shifted
from skytool.errors import IncompatibleError, InputError
from skytool.models.exposure import Origin
from skytool.models.keywords import set_card
from skytool.models.psf.base import Psf, psf_hdu, set_sampling
from skytool.models.tables import TableColumn, table_hdu

if TYPE_CHECKING:
    from astropy.io import fits
    from numpy.typing import NDArray
    from photutils.psf import GriddedPSFModel

    from skytool.models.psf.base import Hdu


def _lattice(
    stamp: NDArray[np.float64],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    oversampling: tuple[float, float] = (1, 1),
) -> NDArray[np.float64]:
    """Return a stamp on a lattice [pixel from its middle]; zero outside of it."""
    at_y, at_x = (
        offsets * samples + (n - 1) / 2
        for offsets, samples, n in zip((rows, columns), oversampling, stamp.shape, strict=True)
    )
    inside_y, inside_x = (
        (at >= -0.5) & (at <= n - 0.5) for at, n in zip((at_y, at_x), stamp.shape, strict=True)
    )
    result = np.zeros((rows.size, columns.size))
    if (at_y == np.floor(at_y)).all() and (at_x == np.floor(at_x)).all():
        # samples themselves: nothing to interpolate
        values = stamp[np.ix_(at_y[inside_y].astype(np.intp), at_x[inside_x].astype(np.intp))]
    else:
        values = interpolated(stamp, y=at_y[inside_y], x=at_x[inside_x])
    result[np.ix_(inside_y, inside_x)] = values
    return result


def _stamp_shape(images: NDArray[np.float64], oversampling: tuple[float, float]) -> tuple[int, int]:
    """Return the odd shape in pixels that samples of images cover."""
    h, w = (
        2 * int((n - 1) / 2 / samples) + 1
        for n, samples in zip(images.shape[1:], oversampling, strict=True)
    )
    return h, w


@dataclass(frozen=True, eq=False)
class ConstantPsf(Psf):
    """The same image everywhere.

    Parameters
    ----------
    stamp : ndarray of float64, shape (h, w)
        Image of a star at the middle pixel of odd sides, in any normalisation.

    Raises
    ------
    InputError
        If a side is even, a value not finite, or the sum not positive.
    """

    stamp: NDArray[np.float64]

    def __post_init__(self) -> None:
        stamp = _checked(self.stamp, 2)
        if any(n % 2 == 0 for n in stamp.shape):
            raise InputError(f"a PSF image has odd sides, not {stamp.shape[1]} x {stamp.shape[0]}.")
        object.__setattr__(self, "stamp", stamp)

    @classmethod
    def from_image(cls, image: NDArray[np.floating]) -> Self:
        """Return the PSF of an image that may have even sides.

        Parameters
        ----------
        image : ndarray of float, shape (h, w)
            A star. Along an even side of n pixels its middle is at n / 2 or at (n - 1) / 2
            [0-based], whichever is nearer to the middle of the light; in the second case it is
            moved by half a pixel.

        Raises
        ------
        InputError
            If a value is not finite, or the sum not positive.
        """
        stamp = _checked(image, 2)
        for axis in (0, 1):
            n = stamp.shape[axis]
            if n % 2:
                continue
            light = np.clip(stamp, 0.0, None).sum(axis=1 - axis)
            # the square gives the weight to the star, not to what surrounds it
            middle = float(np.sum(light**2 * np.arange(n)) / np.sum(light**2))
            stamp = np.pad(stamp, [(0, int(side == axis)) for side in (0, 1)])
            if abs(middle - (n - 1) / 2) < abs(middle - n / 2):
                move = [0.5 * (side == axis) for side in (0, 1)]
                stamp = shifted(stamp, dy=move[0], dx=move[1])
        return cls(stamp)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(h, w)`` of the stamps, odd [pixel]."""
        h, w = self.stamp.shape
        return h, w

    def _profile(
        self, *, y: float, x: float, rows: NDArray[np.float64], columns: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        del y, x  # the same everywhere
        return _lattice(self.stamp, rows, columns)

    def shifted(self, dy: float, dx: float) -> Self:
        """Return this PSF: it is the same everywhere."""
        del dy, dx
        return self

    def to_hdus(self, *, extname: str = "PSF", extver: int = 1) -> list[Hdu]:
        """Return one image with the sum one."""
        stamp = self.stamp / self.stamp.sum()
        return [psf_hdu(stamp, "CONSTANT", extname=extname, extver=extver)]


@dataclass(frozen=True, eq=False)
class GridPsf(Psf):
    """Images at points, with conventions of photutils' ``GriddedPSFModel``.

    Parameters
    ----------
    stamps : ndarray of float64, shape (n, h, w)
        Stars at the points, their centres in the middle of the array; each is normalised.
    y, x : ndarray of float64, shape (n,)
        Points [pixel]. Where they are a rectangular lattice, stars between them are interpolated
        linearly in y and in x between the four around; else the nearest is taken. Beyond the
        outermost points the star is that of the nearest place between them.
    oversampling : tuple of int
        Samples per pixel in y and x.

    Raises
    ------
    InputError
        If the shapes do not agree, two points are one, or a value is not finite.
    """

    stamps: NDArray[np.float64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    oversampling: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        stamps = _checked(self.stamps, 3)
        y, x = (np.asarray(values, dtype=np.float64) for values in (self.y, self.x))
        if not y.shape == x.shape == stamps.shape[:1] or not np.isfinite([y, x]).all():
            raise InputError(f"{len(stamps)} PSF images do not go with {y.size} positions.")
        if len(set(zip(y.tolist(), x.tolist(), strict=True))) != y.size:
            raise InputError("two PSF images have the same position.")
        if any(int(n) != n or n < 1 for n in self.oversampling):
            raise InputError(f"PSF images cannot have {self.oversampling} samples per pixel.")
        stamps = stamps / stamps.sum(axis=(1, 2), keepdims=True)
        for attribute, value in (("stamps", stamps), ("y", y), ("x", x)):
            object.__setattr__(self, attribute, value)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(h, w)`` of the stamps, odd [pixel]."""
        return _stamp_shape(self.stamps, self.oversampling)

    def _lattice_order(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return the rows and columns of the points if they are a rectangular lattice."""
        rows, columns = np.unique(self.y), np.unique(self.x)
        return (rows, columns) if rows.size * columns.size == self.y.size else None

    def _blend(self, y: float, x: float) -> NDArray[np.float64]:
        """Return the samples of the star at a position."""
        lattice = self._lattice_order()
        if lattice is None:
            nearest = np.argmin((self.y - y) ** 2 + (self.x - x) ** 2)
            return self.stamps[nearest]
        result = np.zeros(self.stamps.shape[1:])
        for row, row_weight in _neighbours(lattice[0], y):
            for column, column_weight in _neighbours(lattice[1], x):
                index = np.flatnonzero((self.y == row) & (self.x == column))[0]
                result += row_weight * column_weight * self.stamps[index]
        return result

    def _profile(
        self, *, y: float, x: float, rows: NDArray[np.float64], columns: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return _lattice(self._blend(y, x), rows, columns, self.oversampling)

    def shifted(self, dy: float, dx: float) -> Self:
        """Return the same stars for an array in which all positions are larger by ``(dy, dx)``."""
        return replace(self, y=self.y + dy, x=self.x + dx)

    def to_hdus(self, *, extname: str = "PSF", extver: int = 1) -> list[Hdu]:
        """Return the stack of images and the table of their positions."""
        images = psf_hdu(self.stamps, "GRID", extname=extname, extver=extver)
        set_sampling(images.header, self.oversampling)
        points = table_hdu(
            f"{extname}GRID",
            [
                TableColumn(name, values, "pixel", "0-based position of the star")
                for name, values in (("X", self.x), ("Y", self.y))
            ],
        )
        points.ver = extver
        return [images, points]

    @classmethod
    def from_photutils(cls, model: GriddedPSFModel) -> Self:
        """Return the PSF of a photutils model."""
        x, y = np.asarray(model.grid_xypos, dtype=np.float64).T
        oversampling = tuple(int(n) for n in model.oversampling)
        return cls(np.asarray(model.data, dtype=np.float64), y, x, oversampling)  # type: ignore[arg-type]

    def to_photutils(self) -> GriddedPSFModel:
        """Return the photutils model of this PSF, its images with the sum of the oversampling.

        Raises
        ------
        IncompatibleError
            If photutils has no such model: the points are no lattice of two or more rows and
            columns, nor one point.
        """
        from astropy.nddata import NDData
        from photutils.psf import GriddedPSFModel

        meta = {
            "grid_xypos": list(zip(self.x.tolist(), self.y.tolist(), strict=True)),
            "oversampling": self.oversampling,
        }
        samples = self.oversampling[0] * self.oversampling[1]
        try:
            return GriddedPSFModel(NDData(self.stamps * samples, meta=meta))
        except ValueError as error:
            raise IncompatibleError(
                f"photutils refuses this grid of PSF images: {error}"
            ) from error


def _neighbours(knots: NDArray[np.float64], at: float) -> list[tuple[float, float]]:
    """Return the knots around a coordinate and their weights in linear interpolation."""
    if knots.size == 1 or at <= knots[0]:
        return [(float(knots[0]), 1.0)]
    if at >= knots[-1]:
        return [(float(knots[-1]), 1.0)]
    index = int(np.searchsorted(knots, at, side="right")) - 1
    low, high = float(knots[index]), float(knots[index + 1])
    part = (at - low) / (high - low)
    return [(low, 1.0 - part), (high, part)]


@dataclass(frozen=True, eq=False)
class BasisPsf(Psf):
    """A sum of images with factors that vary as polynomials.

    Parameters
    ----------
    basis : ndarray of float64, shape (n, h, w)
        Images, odd sides, centred on the middle pixel.
    coefficients : ndarray of float64, shape (n, p, q)
        Element ``[i, p, q]`` multiplies ``basis[i] T_p(y') T_q(x')``, Chebyshev polynomials of the
        position scaled so that the edges of the area are at -1 and 1.
    area : tuple of int
        Shape ``(ny, nx)`` of the area described. Beyond its edges the star is that of the edge.
    start : Origin
        First pixel of the area.
    oversampling : tuple of float
        Samples of the images per pixel in y and x.

    Raises
    ------
    InputError
        If the shapes do not agree, a side is even, or a value is not finite.
    """

    basis: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    area: tuple[int, int]
    start: Origin = field(default=Origin(0, 0))
    oversampling: tuple[float, float] = (1, 1)

    def __post_init__(self) -> None:
        basis = np.asarray(self.basis, dtype=np.float64)
        coefficients = np.asarray(self.coefficients, dtype=np.float64)
        if basis.ndim != 3 or any(n % 2 == 0 for n in basis.shape[1:]):
            raise InputError(f"a PSF basis of shape {basis.shape} is no stack of odd-sided images.")
        if coefficients.ndim != 3 or len(coefficients) != len(basis):
            raise InputError(
                f"coefficients of shape {coefficients.shape} do not go with {len(basis)} images."
            )
        if not (np.isfinite(basis).all() and np.isfinite(coefficients).all()):
            raise InputError("a PSF basis or its coefficients are not finite.")
        if any(n < 1 for n in self.area):
            raise InputError(f"a PSF cannot describe an area of shape {self.area}.")
        if any(not 0.0 < n < np.inf for n in self.oversampling):
            raise InputError(f"PSF images cannot have {self.oversampling} samples per pixel.")
        object.__setattr__(self, "basis", basis)
        object.__setattr__(self, "coefficients", coefficients)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(h, w)`` of the stamps, odd [pixel]."""
        return _stamp_shape(self.basis, self.oversampling)

    def factors(self, *, y: float, x: float) -> NDArray[np.float64]:
        """Return the factors of the images at a position [pixel], shape ``(n,)``."""
        ny, nx = self.area
        inside_y = np.clip(y - self.start.y, -0.5, ny - 0.5)
        inside_x = np.clip(x - self.start.x, -0.5, nx - 0.5)
        _, n_p, n_q = self.coefficients.shape
        y_terms = axis_terms(n_p - 1, [inside_y], ny)[0]
        x_terms = axis_terms(n_q - 1, [inside_x], nx)[0]
        return np.asarray(self.coefficients @ x_terms @ y_terms, dtype=np.float64)

    def _profile(
        self, *, y: float, x: float, rows: NDArray[np.float64], columns: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        stamp = np.tensordot(self.factors(y=y, x=x), self.basis, axes=1)
        return _lattice(stamp, rows, columns, self.oversampling)

    def shifted(self, dy: float, dx: float) -> Self:
        """Return the same stars for an array in which all positions are larger by ``(dy, dx)``.

        Raises
        ------
        ValueError
            If the shift is not by whole pixels.
        """
        y, x = self.start.y + dy, self.start.x + dx
        if y != int(y) or x != int(x):
            msg = f"the area of a PSF starts at a whole pixel, not at ({y}, {x})"
            raise ValueError(msg)
        return replace(self, start=Origin(int(y), int(x)))

    def to_hdus(self, *, extname: str = "PSF", extver: int = 1) -> list[Hdu]:
        """Return the stack of images and the array of coefficients."""
        hdus: list[fits.ImageHDU] = []
        for data, ext in ((self.basis, extname), (self.coefficients, f"{extname}COEFF")):
            hdu = psf_hdu(data, "BASIS", extname=ext, extver=extver)
            hdus.append(hdu)
        set_sampling(hdus[0].header, self.oversampling)
        _add_domain(hdus[1].header, self.area, self.start)
        return list(hdus)


def _add_domain(header: fits.Header, area: tuple[int, int], start: Origin) -> None:
    """Add the cards of the area over which a polynomial is defined."""
    set_card(header, "SKYMODEL", "CHEBYSHEV2D")
    set_card(header, "DOMAINX", area[1])
    set_card(header, "DOMAINY", area[0])
    set_card(header, "DOMAINX0", start.x, "[pixel] first pixel of the model, 0-based")
    set_card(header, "DOMAINY0", start.y, "[pixel] first pixel of the model, 0-based")


def _checked(array: NDArray[np.floating], n_axes: int) -> NDArray[np.float64]:
    """Return images in float64 after a check that they are images of stars."""
    images = np.asarray(array, dtype=np.float64)
    if images.ndim != n_axes or images.size == 0:
        raise InputError(f"a PSF image has {n_axes} axes, not the shape {images.shape}.")
    if not np.isfinite(images).all():
        raise InputError("a PSF image has values that are not finite.")
    if not (images.sum(axis=(-2, -1)) > 0.0).all():
        raise InputError("a PSF image has a sum that is not positive.")
    return images
