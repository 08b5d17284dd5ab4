"""Lists of sources that other programs made: positions, brightness, flags."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.errors import InputError, SkytoolWarning
from skytool.io.filespec import FileSpec
from skytool.io.fits import opened, selected
from skytool.models.tables import table_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Columns = dict[str, NDArray[Any]]

# pairs of columns, y before x; those of programs that count pixels from 1 are marked
_ZERO_BASED = (
    *(("Y", "X"), ("YCENTROID", "XCENTROID"), ("Y_CENTROID", "X_CENTROID"), ("YPIX", "XPIX")),
    *(("SLOT_CENTROID_Y", "SLOT_CENTROID_X"), ("BASE_SDSSCENTROID_Y", "BASE_SDSSCENTROID_X")),
)
_ONE_BASED = (
    *(("YPSF_IMAGE", "XPSF_IMAGE"), ("YWIN_IMAGE", "XWIN_IMAGE"), ("Y_IMAGE", "X_IMAGE")),
)
_SKY = (
    *(
        ("DEC", "RA"),
        ("DEC_ICRS", "RA_ICRS"),
        ("DEJ2000", "RAJ2000"),
        ("DELTA_J2000", "ALPHA_J2000"),
    ),
    *(("DELTAWIN_J2000", "ALPHAWIN_J2000"), ("DELTAPSF_J2000", "ALPHAPSF_J2000")),
)
_RATIOS = ("SNR", "S/N", "SN", "SNR_WIN", "SIGNAL_TO_NOISE")
_FLUXES = (
    *(("FLUX", "FLUX_ERR"), ("FLUX", "FLUXERR"), ("INSTFLUX", "INSTFLUXERR")),
    *(("FLUX_PSF", "FLUXERR_PSF"), ("PSF_FLUX", "PSF_FLUX_ERR"), ("FLUX_FIT", "FLUX_ERR")),
    *(("SLOT_PSFFLUX_INSTFLUX", "SLOT_PSFFLUX_INSTFLUXERR"), ("FLUX_AUTO", "FLUXERR_AUTO")),
    ("FLUX_APER", "FLUXERR_APER"),
)
_FLAG_NUMBERS = ("FLAGS", "FLAGS_WIN", "IMAFLAGS_ISO")
_FLAG_WORDS = ("EDGE", "SATURATED", "BAD", "INTERPOLATED", "PSFFLUX_FLAG", "CENTROID_FLAG")
_LDAC_HEADER = "LDAC_IMHEAD"  # table of SExtractor's FITS_LDAC with a header instead of sources
_BLENDED = 3  # SExtractor's bits of neighbours and blends, which do no harm to a kernel


@dataclass(frozen=True, eq=False)
class ListedSources:
    """Sources of a list; arrays of shape ``(n,)``.

    Parameters
    ----------
    y, x : ndarray of float64 or None
        Positions [pixel, 0-based]; None if the list has places on the sky.
    dec, ra : ndarray of float64 or None
        Places on the sky [deg].
    snr : ndarray of float64
        Ratios of signal to noise; NaN if the list does not have them.
    flagged : ndarray of bool
        Whether the list calls a source unfit.
    name : str
        What messages call the list.
    """

    y: Floats | None
    x: Floats | None
    dec: Floats | None
    ra: Floats | None
    snr: Floats
    flagged: NDArray[np.bool_]
    name: str


def read_sources(
    file: str, *, first_pixel: int | None = None, bad_flags: Sequence[str] = ()
) -> ListedSources:
    """Read a list of sources: a FITS table, or text that astropy can read.

    Parameters
    ----------
    file : str
        ``FILE`` or ``FILE[EXT]``.
    first_pixel : int, optional
        Number of the first pixel in positions; by default 1 for the columns of SExtractor, else 0.
    bad_flags : sequence of str
        Columns that mark a source as unfit where they are not zero, beside those that do by their
        names.

    Warns
    -----
    SkytoolWarning
        If there is no column of such a name.

    Raises
    ------
    InputError
        If the file cannot be read, has no source, or no column with positions.
    """
    columns = {name.upper(): values for name, values in _columns(file).items()}
    length = len(next(iter(columns.values()), ()))
    if not length:
        raise InputError(f"{file} lists no source.")
    y = x = dec = ra = None
    for first, pairs in ((0, _ZERO_BASED), (1, _ONE_BASED)):
        for names in pairs:
            if y is None and all(name in columns for name in names):
                start = first if first_pixel is None else first_pixel
                y, x = (_numbers(columns, name, file) - start for name in names)
    if y is None:
        for names in _SKY:
            if dec is None and all(name in columns for name in names):
                dec, ra = (_numbers(columns, name, file) for name in names)
    if y is None and dec is None:
        raise InputError(
            f"{file} has no columns with positions.",
            hint=f"It has {', '.join(columns)}; X and Y, X_IMAGE and Y_IMAGE, or RA and DEC are read.",
        )
    flagged = _flags(columns, length) | _flagged_by(columns, length, bad_flags, file)
    return ListedSources(y, x, dec, ra, _ratios(columns, length, file), flagged, file)


def list_digest(file: str) -> str:
    """Return a text that changes when the bytes of a list change.

    Raises
    ------
    InputError
        If it does not exist.
    """
    return hashlib.sha256(_existing(file).path.read_bytes()).hexdigest()


def _existing(file: str) -> FileSpec:
    spec = FileSpec.parse(file)
    if not spec.path.is_file():
        raise InputError(f"{file} does not exist.")
    return spec


def _columns(file: str) -> Columns:
    """Return all columns of a table."""
    spec = _existing(file)
    with spec.path.open("rb") as stream:
        is_text = stream.read(6) != b"SIMPLE"
    if is_text:
        return _text_columns(spec)
    with opened(spec) as hdus:
        if spec.extension is not None:
            tables = [selected(hdus, spec)]
        else:
            tables = [hdu for hdu in hdus[1:] if not hdu.is_image and hdu.name != _LDAC_HEADER]
        for hdu in tables:
            found: Columns = table_columns(hdu, name=file)
            if found:
                return found
    raise InputError(f"{file} holds no table.")


def _text_columns(spec: FileSpec) -> Columns:
    """Return the columns of a table in text."""
    from astropy.io import ascii as text_tables

    try:
        table = text_tables.read(spec.path.read_text(encoding="utf-8"))
    except Exception as error:
        raise InputError(f"{spec.path} is no table that can be read.") from error
    return {name: np.asarray(table[name]) for name in table.colnames}


def _numbers(columns: Columns, name: str, file: str) -> Floats:
    try:
        values = np.asarray(columns[name], np.float64)
    except ValueError as error:
        raise InputError(f"{file}: the column {name} does not hold numbers.") from error
    return values if values.ndim == 1 else values.reshape(len(values), -1)[:, 0]


def _ratios(columns: Columns, length: int, file: str) -> Floats:
    """Return ratios of signal to noise, NaN where nothing tells them."""
    for name in _RATIOS:
        if name in columns:
            return _numbers(columns, name, file)
    for flux, error in _FLUXES:
        if flux in columns and error in columns:
            noise = _numbers(columns, error, file)
            signal = _numbers(columns, flux, file)
            return np.divide(signal, noise, out=np.full(length, np.nan), where=noise > 0)
    return np.full(length, np.nan)


def _flagged_by(
    columns: Columns, length: int, names: Sequence[str], file: str
) -> NDArray[np.bool_]:
    """Return which sources have something but zero in some columns."""
    flagged = np.zeros(length, np.bool_)
    for name in names:
        if name.upper() in columns:
            flagged |= _numbers(columns, name.upper(), file) != 0.0
        else:
            warnings.warn(f"{file} has no column {name}.", SkytoolWarning, stacklevel=3)
    return flagged


def _flags(columns: Columns, length: int) -> NDArray[np.bool_]:
    """Return which sources the list calls unfit."""
    flagged = np.zeros(length, np.bool_)
    for name, values in columns.items():
        if name in _FLAG_NUMBERS and values.dtype.kind in "iu" and values.ndim == 1:
            flagged |= (values & ~_BLENDED) != 0
        elif values.dtype.kind == "b" and values.ndim == 1 and any(w in name for w in _FLAG_WORDS):
            flagged |= values
    return flagged
