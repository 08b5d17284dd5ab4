"""What the HDUs of a file are, from their headers alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from skytool.errors import InputError
from skytool.io.fits import opened

if TYPE_CHECKING:
    from pathlib import Path

    from astropy.io import fits

    from skytool.io.filespec import Extension, FileSpec

Shape = tuple[int, int]

AUXILIARY = frozenset(
    [
        "MASK",
        "MSK",
        "DQ",
        "BPM",
        "FLAGS",
        "OBJMASK",
        "ERR",
        "ERROR",
        "UNCERT",
        "SIGMA",
        "RMS",
        "VAR",
        "VARIANCE",
        "VAR_POISSON",
        "VAR_RNOISE",
        "VAR_FLAT",
        "WHT",
        "WGT",
        "WEIGHT",
        "IVAR",
        "INVVAR",
        "CON",
        "CTX",
        "EXPMAP",
        "AREA",
        "PSF",
        "PSFIMAGE",
        "NIMAGE",
        "COVERAGE",
        "SAMP",
        "TIME",
        "D2IMARR",
        "WCSDVARR",
        "WCSCORR",
        "MASKBITS",
    ]
)
"""Names of extensions that are never the image itself."""


@dataclass(frozen=True, eq=False)
class HduInfo:
    """One HDU.

    Parameters
    ----------
    index : int
        Number in the file, 0 for the primary.
    name : str
        EXTNAME in upper case; empty if there is none.
    version : int
        EXTVER.
    is_image : bool
        False for a table.
    axes : tuple of int
        Lengths of the axes, the fastest last; empty if there are no data.
    header : `~astropy.io.fits.Header`
        Its cards.
    """

    index: int
    name: str
    version: int
    is_image: bool
    axes: tuple[int, ...]
    header: fits.Header

    @property
    def role(self) -> str:
        """EXTNAME, or EXTTYPE where there is no name, in upper case."""
        return self.name or str(self.header.get("EXTTYPE", "")).strip().upper()

    @property
    def plane_shape(self) -> Shape | None:
        """Shape ``(ny, nx)`` of an image without axes of length 1; None if it is none."""
        if not self.is_image or len(self.axes) < 2:
            return None
        axes = list(self.axes)
        while len(axes) > 2 and 1 in axes:
            axes.remove(1)
        return (axes[0], axes[1]) if len(axes) == 2 else None

    @property
    def label(self) -> str:
        """What brackets behind the file name hold: name, name and version, or number."""
        if not self.name:
            return str(self.index)
        return self.name if self.version == 1 else f"{self.name},{self.version}"

    @property
    def size_text(self) -> str:
        """Size of the image as messages have it, width first: ``200 x 100``."""
        return " x ".join(str(length) for length in reversed(self.axes)) or "no"

    def describe(self) -> str:
        """Return one phrase: number, name and content."""
        what = "no data"
        if not self.is_image:
            what = "table"
        elif self.axes:
            what = f"{len(self.axes)}-d image of {self.size_text} pixels"
        return f"{self.index} {self.label if self.name else '(no name)'}: {what}"


@dataclass(frozen=True, eq=False)
class Contents:
    """All HDUs of a file.

    Parameters
    ----------
    spec : FileSpec
        The file, with the extension that the user named.
    hdus : tuple of HduInfo
        In the order of the file.
    """

    spec: FileSpec
    hdus: tuple[HduInfo, ...]

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self.spec.path

    @property
    def file_name(self) -> str:
        """Name of the file without its folder."""
        return self.spec.file_name

    @property
    def primary(self) -> fits.Header:
        """Header of the primary HDU."""
        return self.hdus[0].header

    @property
    def planes(self) -> list[HduInfo]:
        """Two-dimensional images."""
        return [hdu for hdu in self.hdus if hdu.plane_shape is not None]

    @property
    def candidates(self) -> list[HduInfo]:
        """Two-dimensional images whose names do not say that they are something else."""
        return [hdu for hdu in self.planes if hdu.name not in AUXILIARY]

    def is_wanted(self, hdu: HduInfo) -> bool:
        """Return False for an HDU other than the one that the user named."""
        return self.spec.extension is None or _goes_by(hdu, self.spec.extension)

    def named(self, *roles: str, version: int | None = None) -> HduInfo | None:
        """Return the first HDU with one of the names, in the order of the names."""
        for role in roles:
            for hdu in self.hdus:
                if hdu.role == role and version in {None, hdu.version}:
                    return hdu
        return None

    def all_named(self, role: str) -> list[HduInfo]:
        """Return every HDU with a name."""
        return [hdu for hdu in self.hdus if hdu.role == role]

    def chosen(self, extension: Extension) -> HduInfo:
        """Return the HDU that a user names.

        Raises
        ------
        InputError
            If there is none.
        """
        for hdu in self.hdus:
            if _goes_by(hdu, extension):
                return hdu
        raise InputError(
            f"{self.spec.with_extension(extension).name}: there is no such extension.",
            hint=f"The file holds {self.describe()}.",
        )

    def describe(self) -> str:
        """Return what every HDU is."""
        return "; ".join(hdu.describe() for hdu in self.hdus)


def _goes_by(hdu: HduInfo, extension: Extension) -> bool:
    """Return True if a user's words mean an HDU."""
    match extension:
        case int():
            return hdu.index == extension
        case str():
            name = extension.upper()
            return hdu.name == name or (name == "PRIMARY" and hdu.index == 0)
        case name, version:
            return hdu.name == name.upper() and hdu.version == version


def shape_of(hdu: HduInfo) -> Shape:
    """Return the shape ``(ny, nx)`` of an HDU that is known to be a plane."""
    shape = hdu.plane_shape
    if shape is None:
        msg = f"extension {hdu.label} is no plane"
        raise ValueError(msg)
    return shape


def read_contents(spec: FileSpec, *, verify: bool = False) -> Contents:
    """Read the headers of a file; if ``verify``, compare its checksums.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    with opened(spec, verify=verify) as hdus:
        infos = tuple(
            HduInfo(
                index,
                str(hdu.name or "").strip().upper() if "EXTNAME" in hdu.header else "",
                int(hdu.ver or 1),
                bool(hdu.is_image),
                tuple(int(length) for length in hdu.shape) if hdu.is_image else (),
                hdu.header.copy(),
            )
            for index, hdu in enumerate(hdus)
        )
    return Contents(spec, infos)
