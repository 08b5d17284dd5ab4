"""Point spread functions: constant, on a grid, of a basis, analytic; and how they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.errors import InputError
from skytool.models.exposure import Origin
from skytool.models.pixels import extension_name
from skytool.models.psf.analytic import AnalyticPsf
from skytool.models.psf.base import PSF_FORMAT, Psf
from skytool.models.psf.psfex import is_psfex, psf_from_psfex
from skytool.models.psf.sampled import BasisPsf, ConstantPsf, GridPsf
from skytool.models.tables import table_columns
from skytool.models.versions import check_version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astropy.io import fits
    from numpy.typing import NDArray

    from skytool.models.psf.base import Hdu

__all__ = ["AnalyticPsf", "BasisPsf", "ConstantPsf", "GridPsf", "Psf", "psf_from_hdus"]


def psf_from_hdus(
    hdus: Iterable[Hdu | fits.PrimaryHDU], *, name: str, extname: str = "PSF", extver: int = 1
) -> Psf:
    """Return the point spread function stored in a file.

    Parameters
    ----------
    hdus : iterable of HDU
        Extensions of an open file. The PSF is the one called ``extname`` (of version ``extver``);
        if none has this name, the first that holds an image. Its coefficients (``PSFCOEFF``) or
        positions (``PSFGRID``, also ``PSFPOS``: columns X and Y, 0-based) are looked for beside it.
        A table ``PSFCCDS`` makes it that of a warp or coadd, see `skytool.models.psf.coadd_hdus`.
        An image without PSFKIND is a star in its middle, a stack of them needs positions. A table
        of PSFEx is read if there is no extension of the name.
    name : str
        What messages call the file.
    extname, extver : str, int
        Name and version of the extension.

    Raises
    ------
    InputError
        If there is no PSF, its kind is unknown, a part is missing or damaged, or it was stored by
        a newer version of the program.
    """
    found = list(hdus)
    table = _named(found, f"{extname}CCDS", extver)
    if table is not None:
        return _coadd(found, table, name=name, extname=extname, extver=extver)
    psfex = next((h for h in found if is_psfex(h)), None)
    if psfex is not None and _named(found, extname, extver) is None:
        return psf_from_psfex(psfex, name=name)
    hdu = _named(found, extname, extver) or next((h for h in found if _is_image(h)), None)
    if hdu is None or not _is_image(hdu):
        raise InputError(f"{name} holds no PSF.")
    where = extension_name(name, hdu.name or 0)
    kind = hdu.header.get("PSFKIND")
    if kind is not None:
        check_version(hdu.header, newest=PSF_FORMAT, name=where)
    if kind == "ANALYTIC":
        return AnalyticPsf.from_header(hdu.header, name=where)
    data = _array(hdu, where)
    beside = {
        role: _named(found, f"{extname}{role}", extver) or _named(found, f"PSF{role}", 1)
        for role in ("COEFF", "GRID", "POS")
    }
    try:
        if kind == "BASIS":
            return _basis(data, hdu.header, beside["COEFF"], where)
        if kind == "GRID" or (kind is None and data.ndim == 3):
            return _grid(data, hdu.header, beside["GRID"] or beside["POS"], where)
        if kind is None:
            _check_star(data)
        if kind in {None, "CONSTANT"}:
            return ConstantPsf.from_image(data)
    except InputError as error:
        raise InputError(f"{where}: {error.message}", hint=error.hint) from error
    raise InputError(f"{where}: PSFKIND {kind!r} is not known.")


def _coadd(found: list[Hdu], table: Hdu, *, name: str, extname: str, extver: int) -> Psf:
    """Return the PSF of a warp or coadd."""
    from skytool.models.psf.coadd_hdus import coadd_psf_from_hdus

    simple = [hdu for hdu in found if hdu.name in {extname, f"{extname}GRID"}]
    grid = None
    if _named(simple, extname, extver) is not None:
        psf = psf_from_hdus(simple, name=name, extname=extname, extver=extver)
        grid = psf if isinstance(psf, GridPsf) else None
    return coadd_psf_from_hdus(table, found, name=name, extname=extname, grid=grid)


def _basis(
    data: NDArray[np.float64], images: fits.Header, coefficients: Hdu | None, where: str
) -> BasisPsf:
    if coefficients is None or not _is_image(coefficients):
        raise InputError("the coefficients of the basis are missing.")
    header = coefficients.header
    check_version(header, newest=PSF_FORMAT, name=f"{where}, its coefficients")
    try:
        area = (int(header["DOMAINY"]), int(header["DOMAINX"]))
        start = Origin(int(header.get("DOMAINY0", 0)), int(header.get("DOMAINX0", 0)))
        samples = float(images.get("PSFSAMPY", 1)), float(images.get("PSFSAMPX", 1))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the domain of the coefficients is missing: {error}.") from error
    return BasisPsf(data, _array(coefficients, where), area, start, samples)


def _grid(
    data: NDArray[np.float64], header: fits.Header, points: Hdu | None, where: str
) -> GridPsf:
    if points is None:
        raise InputError(
            "a stack of PSF images needs their positions.",
            hint="Add a table PSFGRID with the columns X and Y.",
        )
    columns = table_columns(points, name=where, required=("X", "Y"))
    y, x = (np.asarray(columns[key], dtype=np.float64) for key in ("Y", "X"))
    samples = header.get("PSFSAMPY", 1), header.get("PSFSAMPX", 1)
    return GridPsf(data, y, x, samples)


def _check_star(image: NDArray[np.float64]) -> None:
    """Refuse an image that nothing but its place calls a PSF, and that shows no star.

    Raises
    ------
    InputError
        If most of its light is a background that goes on to the edges, or it is brightest outside
        of the middle half.
    """
    finite = np.where(np.isfinite(image), image, 0.0)
    if finite.ndim != 2 or min(finite.shape) < 5 or not finite.sum() > 0.0:
        return  # which is refused for itself
    edge = np.concatenate([finite[0], finite[-1], finite[1:-1, 0], finite[1:-1, -1]])
    brightest = np.unravel_index(np.argmax(finite), finite.shape)
    off = max(abs(at - (n - 1) / 2) / n for at, n in zip(brightest, finite.shape, strict=True))
    if np.mean(edge) * finite.size > 0.5 * finite.sum() or off > 0.25:
        raise InputError(
            "this is no image of a star in its middle, without background.",
            hint="Give the image of a PSF, or measure one: skytool psf.",
        )


def _named(hdus: list[Hdu], extname: str, extver: int) -> Hdu | None:
    """Return the extension of a name and version."""
    return next((h for h in hdus if h.name == extname and (h.ver or 1) == extver), None)


def _is_image(hdu: Hdu) -> bool:
    return bool(getattr(hdu, "is_image", False)) and bool(hdu.shape)


def _array(hdu: Hdu, where: str) -> NDArray[np.float64]:
    """Return the pixels of an extension."""
    try:
        return np.array(hdu.data, dtype=np.float64)
    except (ValueError, TypeError, OSError) as error:
        raise InputError(f"{where}: the PSF is damaged: {error}.") from error
