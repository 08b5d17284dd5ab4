"""How the point spread function of a warp or coadd is stored.

``PSF``, ``PSFGRID``
    The stars on a lattice of points (PSFKIND GRID), for readers that want nothing better.
``PSFCCDS``
    A table with a row per input, of which ``PSFVER`` is the EXTVER of its own PSF:
``CCDPSF`` (with ``CCDPSFCOEFF``, ``CCDPSFGRID``)
    The PSF in the pixels of the input, of any kind.

The star at a position (y, x) of the image, 0-based, is made from the rows whose input sees it:

1. The window of the row starts at ``WINDOW`` = x0, y0 and has nx, ny pixels. If the position is in
   it, the input sees it at ``v = sum MAPY[p, q] T_p(y') T_q(x')`` and u from ``MAPX``, with
   ``y' = (2 (y - y0) - (ny - 1)) / ny`` and the Chebyshev polynomials T; both arrays are stored
   with n x n elements in a row, p slowly. The input sees it if v and u are within ``REGION`` =
   y_start, y_stop, x_start, x_stop.
2. Of the rows with one ``GROUP`` those of the highest ``RANK`` count. Several have the weight
   ``WEIGHT`` divided by their number if ``SHARES`` is true.
3. The star is drawn on the input at (v, u), resampled with ``KERNEL`` at the positions that the
   derivatives of the map give the pixels of the stamp (``NSAMPLE`` positions along each axis of a
   pixel are averaged), and normalised to a sum of one.
4. The weighted mean of the rows is normalised.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

import numpy as np

from skytool.core.resampling.kernels import KERNEL_NAMES
from skytool.core.resampling.polynomial_map import PolynomialMap
from skytool.core.resampling.warped_psf import AREA_KERNELS
from skytool.errors import InputError
from skytool.models.exposure import Origin
from skytool.models.keywords import set_card
from skytool.models.pixels import extension_name
from skytool.models.psf.base import PSF_FORMAT
from skytool.models.psf.coadd import CoaddPsf
from skytool.models.psf.input import PsfInput, Shift
from skytool.models.tables import TableColumn, table_columns, table_hdu
from skytool.models.versions import check_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from astropy.io import fits
    from numpy.typing import NDArray

    from skytool.models.psf.base import Hdu
    from skytool.models.psf.sampled import GridPsf

_REQUIRED = (
    *("ID", "PSFVER", "WEIGHT", "GROUP", "RANK", "SHARES", "KERNEL", "NSAMPLE", "SHIFT"),
    *("REGION", "WINDOW", "CENTER", "GOODPIX", "MAPERR", "MAPY", "MAPX"),
)
_ROLES = ("", "COEFF", "GRID")


def coadd_psf_to_hdus(psf: CoaddPsf, *, extname: str, extver: int) -> list[Hdu]:
    """Return the extensions of a PSF: the simple form, the table of inputs, their PSFs."""
    first = 1 + _VERSIONS * (extver - 1)
    table = _table(psf, f"{extname}CCDS", first)
    table.ver = extver
    grid = psf.with_grid().grid
    assert grid is not None  # noqa: S101  it was computed
    hdus = [*grid.to_hdus(extname=extname, extver=extver), table]
    for version, entry in enumerate(psf.inputs, first):
        hdus += entry.psf.to_hdus(extname=f"CCD{extname}", extver=version)
    return hdus


_VERSIONS = 10_000  # numbers of extensions for the inputs of each PSF of a file


def _table(psf: CoaddPsf, name: str, first: int) -> fits.BinTableHDU:
    """Return the table of inputs."""
    inputs = psf.inputs
    maps = [entry.pixel_map for entry in inputs]
    n = max(m.coefficients.shape[1] for m in maps)
    padded = np.zeros((len(maps), 2, n, n))
    for values, pixel_map in zip(padded, maps, strict=True):
        size = pixel_map.coefficients.shape[1]
        values[:, :size, :size] = pixel_map.coefficients
    windows = [(*m.start[::-1], *m.shape[::-1]) for m in maps]
    columns = [
        TableColumn("ID", [e.id for e in inputs], "", "as in CCDS"),
        TableColumn("PSFVER", np.arange(first, first + len(inputs)), "", "EXTVER of its PSF"),
        TableColumn("WEIGHT", [float(e.weight) for e in inputs], "", "weight of the input"),
        TableColumn("GROUP", [e.group for e in inputs], "", "alternatives have one number"),
        TableColumn("RANK", [e.rank for e in inputs], "", "the highest of a group counts"),
        TableColumn("SHARES", [e.shares for e in inputs], "", "equal ranks share a weight"),
        TableColumn("KERNEL", [e.kernel for e in inputs], "", "resampling kernel"),
        TableColumn("NSAMPLE", [e.oversample for e in inputs], "", "samples per pixel and axis"),
        TableColumn("SHIFT", [e.shift for e in inputs], "", "how the star is centred"),
        TableColumn(
            "REGION",
            [[float(limit) for limit in e.region] for e in inputs],
            "pixel",
            "y and x on the input, 0-based",
        ),
        TableColumn("WINDOW", windows, "pixel", "x0, y0 (0-based), nx, ny in the image"),
        TableColumn("CENTER", [e.center[::-1] for e in inputs], "pixel", "mean x, y, 0-based"),
        TableColumn("GOODPIX", [e.good_pixels for e in inputs], "pixel", "pixels with a value"),
        TableColumn("MAPERR", [float(m.max_error) for m in maps], "pixel", "error of the map"),
        TableColumn("MAPY", padded[:, 0].reshape(len(maps), -1), "pixel", "Chebyshev, row"),
        TableColumn("MAPX", padded[:, 1].reshape(len(maps), -1), "pixel", "Chebyshev, column"),
    ]
    hdu = table_hdu(name, columns)
    set_card(hdu.header, "PSFKIND", "COADD")
    set_card(hdu.header, "SKYMVER", PSF_FORMAT)
    set_card(hdu.header, "DOMAINX", psf.area[1])
    set_card(hdu.header, "DOMAINY", psf.area[0])
    set_card(hdu.header, "DOMAINX0", psf.start.x, "[pixel] first pixel of the model, 0-based")
    set_card(hdu.header, "DOMAINY0", psf.start.y, "[pixel] first pixel of the model, 0-based")
    return hdu


def coadd_psf_from_hdus(
    table: fits.BinTableHDU, hdus: Iterable[Hdu], *, name: str, extname: str, grid: GridPsf | None
) -> CoaddPsf:
    """Return the PSF that a table of inputs describes.

    Parameters
    ----------
    table : BinTableHDU
        The table.
    hdus : iterable of HDU
        Extensions of its file, among them the PSFs of the inputs.
    name : str
        What messages call the file.
    extname : str
        EXTNAME of the PSF, usually ``PSF``.
    grid : GridPsf or None
        Simple form of the PSF.

    Raises
    ------
    InputError
        If a part is missing or damaged, or was stored by a newer version of the program.
    """
    where = extension_name(name, table.name)
    check_version(table.header, newest=PSF_FORMAT, name=where)
    columns = table_columns(table, name=name, required=_REQUIRED)
    parts: dict[int, list[Hdu]] = {}
    wanted = {f"CCD{extname}{role}" for role in _ROLES}
    for hdu in hdus:
        if hdu.name in wanted:
            parts.setdefault(hdu.ver or 1, []).append(hdu)
    try:
        inputs = tuple(
            _input(columns, row, parts, name=name, extname=f"CCD{extname}")
            for row in range(len(columns["ID"]))
        )
        area, start = (
            (int(table.header[f"DOMAINY{end}"]), int(table.header[f"DOMAINX{end}"]))
            for end in ("", "0")
        )
        return CoaddPsf(inputs, area, Origin(*start), grid)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{where} is damaged: {error}.") from error


def _input(
    columns: Mapping[str, NDArray[np.generic]],
    row: int,
    parts: Mapping[int, list[Hdu]],
    *,
    name: str,
    extname: str,
) -> PsfInput:
    """Return one input of the table."""
    from skytool.models.psf.kinds import psf_from_hdus

    def whole(column: str) -> list[int]:
        return [int(value) for value in np.atleast_1d(columns[column][row])]

    def real(column: str) -> NDArray[np.float64]:
        values = np.atleast_1d(np.asarray(columns[column][row], dtype=np.float64))
        if not np.isfinite(values).all():
            raise ValueError(f"{column} of row {row + 1} is not finite")
        return values

    version = whole("PSFVER")[0]
    if version not in parts:
        raise InputError(f"{name} has no extension {extname},{version}, the PSF of an input.")
    x0, y0, nx, ny = whole("WINDOW")
    y_map, x_map = real("MAPY"), real("MAPX")
    n = math.isqrt(y_map.size)
    kernel, shift = str(columns["KERNEL"][row]), str(columns["SHIFT"][row])
    if (
        kernel not in (*KERNEL_NAMES, *AREA_KERNELS)
        or shift not in get_args(Shift)
        or min(nx, ny) < 1
    ):
        raise ValueError(f"row {row + 1} has {kernel}, {shift} and a window of {nx} x {ny}")
    y_start, y_stop, x_start, x_stop = real("REGION").tolist()
    x_center, y_center = real("CENTER").tolist()
    return PsfInput(
        psf=psf_from_hdus(parts[version], name=name, extname=extname, extver=version),
        pixel_map=PolynomialMap(
            (y0, x0),
            (ny, nx),
            np.stack([y_map.reshape(n, n), x_map.reshape(n, n)]),
            float(real("MAPERR")[0]),
        ),
        region=(y_start, y_stop, x_start, x_stop),
        weight=float(real("WEIGHT")[0]),
        id=whole("ID")[0],
        group=whole("GROUP")[0],
        rank=whole("RANK")[0],
        shares=bool(columns["SHARES"][row]),
        kernel=kernel,
        oversample=max(whole("NSAMPLE")[0], 1),
        shift=shift,  # type: ignore[arg-type]
        center=(y_center, x_center),
        good_pixels=whole("GOODPIX")[0],
    )
