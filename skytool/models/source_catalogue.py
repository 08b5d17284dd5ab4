"""The catalogue of the sources of a difference: a FITS table, ECSV, and DS9 regions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.errors import InputError
from skytool.models.keywords import set_card
from skytool.models.mask import declared_bits
from skytool.models.tables import TableColumn, escaped, table_columns, table_hdu
from skytool.models.versions import check_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astropy.io import fits
    from numpy.typing import NDArray

    Values = NDArray[np.generic]

EXTNAME = "SOURCES"
FORMAT = 1
_IMAGE_UNIT = "unit of the image"
_DATATYPES = {"b": "bool", "i": "int64", "u": "int64", "f": "float64"}


class ColumnMeaning(NamedTuple):
    """Unit of a column and what it holds."""

    unit: str
    comment: str


COLUMNS: Mapping[str, ColumnMeaning] = {
    "ID": ColumnMeaning("", "number of the source"),
    "X": ColumnMeaning("pixel", "column, 0-based, fit of the PSF"),
    "Y": ColumnMeaning("pixel", "row, 0-based, fit of the PSF"),
    "XERR": ColumnMeaning("pixel", "standard deviation of X"),
    "YERR": ColumnMeaning("pixel", "standard deviation of Y"),
    "RA": ColumnMeaning("deg", "right ascension, ICRS"),
    "DEC": ColumnMeaning("deg", "declination, ICRS"),
    "SNR": ColumnMeaning("", "height of the highest peak of the score, absolute"),
    "PEAKX": ColumnMeaning("pixel", "column of that peak, 0-based"),
    "PEAKY": ColumnMeaning("pixel", "row of that peak, 0-based"),
    "NEGATIVE": ColumnMeaning("", "all of the footprint is negative"),
    "POSPART": ColumnMeaning("", "a part of the footprint is positive"),
    "NEGPART": ColumnMeaning("", "a part of the footprint is negative"),
    "NPEAKS": ColumnMeaning("", "peaks in the footprint"),
    "PARENT": ColumnMeaning("", "ID of the first source of the same footprint, 0 if alone"),
    "NPIX": ColumnMeaning("pixel", "pixels of the grown footprint"),
    "SKY": ColumnMeaning("", "empty place, measured for comparison"),
    "FLUX": ColumnMeaning(_IMAGE_UNIT, "flux by the PSF"),
    "FLUXERR": ColumnMeaning(_IMAGE_UNIT, "standard deviation of FLUX"),
    "PSFAREA": ColumnMeaning("pixel", "effective area of the PSF"),
    "CHI2": ColumnMeaning("", "squared misfit of the PSF over the variance"),
    "NDATA": ColumnMeaning("pixel", "pixels of the fit of the PSF"),
    "FLUXNJY": ColumnMeaning("nJy", "FLUX in nanojansky"),
    "ERRNJY": ColumnMeaning("nJy", "standard deviation of FLUXNJY"),
    "MAG": ColumnMeaning("mag", "AB magnitude of the absolute value of FLUX"),
    "MAGERR": ColumnMeaning("mag", "standard deviation of MAG"),
    "APFLUX": ColumnMeaning(_IMAGE_UNIT, "sum within a circle"),
    "APERR": ColumnMeaning(_IMAGE_UNIT, "standard deviation of APFLUX"),
    "IXX": ColumnMeaning("pixel**2", "adaptive second moment along x"),
    "IYY": ColumnMeaning("pixel**2", "adaptive second moment along y"),
    "IXY": ColumnMeaning("pixel**2", "adaptive mixed second moment"),
    "SCIFLUX": ColumnMeaning(_IMAGE_UNIT, "flux by the PSF at X, Y of the science image"),
    "SCIERR": ColumnMeaning(_IMAGE_UNIT, "standard deviation of SCIFLUX"),
    "TPLFLUX": ColumnMeaning(_IMAGE_UNIT, "flux by the PSF at X, Y of the matched template"),
    "TPLERR": ColumnMeaning(_IMAGE_UNIT, "standard deviation of TPLFLUX"),
    "DIPOLE": ColumnMeaning("", "the source is a dipole"),
    "DIPX": ColumnMeaning("pixel", "mean column of the lobes, 0-based"),
    "DIPY": ColumnMeaning("pixel", "mean row of the lobes, 0-based"),
    "DIPXPOS": ColumnMeaning("pixel", "column of the positive lobe, 0-based"),
    "DIPYPOS": ColumnMeaning("pixel", "row of the positive lobe, 0-based"),
    "DIPXNEG": ColumnMeaning("pixel", "column of the negative lobe, 0-based"),
    "DIPYNEG": ColumnMeaning("pixel", "row of the negative lobe, 0-based"),
    "DIPFPOS": ColumnMeaning(_IMAGE_UNIT, "flux at the positive lobe"),
    "DIPFNEG": ColumnMeaning(_IMAGE_UNIT, "flux at the negative lobe"),
    "DIPEPOS": ColumnMeaning(_IMAGE_UNIT, "standard deviation of DIPFPOS"),
    "DIPENEG": ColumnMeaning(_IMAGE_UNIT, "standard deviation of DIPFNEG"),
    "DIPSEP": ColumnMeaning("pixel", "distance of the lobes"),
    "DIPANGLE": ColumnMeaning("rad", "from the negative lobe to the positive, x to y"),
    "DIPSNR": ColumnMeaning("", "signal-to-noise ratio of both lobes"),
    "DIPCHI2": ColumnMeaning("", "squared misfit per degree of freedom"),
    "BADFLUX": ColumnMeaning("", "too few pixels for FLUX"),
    "BADPOS": ColumnMeaning("", "no position found: X, Y are those of the peak"),
    "BADAP": ColumnMeaning("", "pixels of the circle are missing"),
    "BADSCI": ColumnMeaning("", "too few pixels for SCIFLUX"),
    "BADTPL": ColumnMeaning("", "too few pixels for TPLFLUX"),
    "EDGE": ColumnMeaning("", "the PSF reaches beyond the image"),
    "OFFIMAGE": ColumnMeaning("", "X, Y are beyond the image"),
    "FLAGS": ColumnMeaning("", "mask planes of any pixel of the footprint"),
    "CENTANY": ColumnMeaning("", "mask planes of any of 3 x 3 pixels at X, Y"),
    "CENTALL": ColumnMeaning("", "mask planes of all of 3 x 3 pixels at X, Y"),
}
"""Columns a catalogue may have, in the order of the table."""


@dataclass(frozen=True, eq=False)
class SourceCatalogue:
    """Sources, one a row.

    Parameters
    ----------
    columns : mapping of str to ndarray, shape (n,)
        Values by name, of those in `COLUMNS`.
    unit : str
        Unit of the image and of fluxes; may be empty.
    planes : mapping of str to int
        Bits of the mask planes in FLAGS, CENTANY and CENTALL.
    """

    columns: Mapping[str, Values]
    unit: str = ""
    planes: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns["ID"])

    def __getitem__(self, which: NDArray[np.bool_] | NDArray[np.intp] | slice) -> SourceCatalogue:
        return SourceCatalogue(
            {name: values[which] for name, values in self.columns.items()}, self.unit, self.planes
        )

    def of_sky(self, *, sky: bool) -> SourceCatalogue:
        """Return the empty places, or all but them."""
        return self[np.asarray(self.columns["SKY"]).astype(np.bool_) == sky]

    def _table(self) -> list[TableColumn]:
        return [
            TableColumn(
                name,
                self.columns[name],
                self.unit if meaning.unit == _IMAGE_UNIT else meaning.unit,
                meaning.comment,
            )
            for name, meaning in COLUMNS.items()
            if name in self.columns
        ]

    def to_hdu(self) -> fits.BinTableHDU:
        """Return the table, called SOURCES, which `from_hdu` reads."""
        hdu = table_hdu(EXTNAME, self._table())
        set_card(hdu.header, "SKYMVER", FORMAT)
        for name, bit in sorted(self.planes.items(), key=lambda item: item[1]):
            set_card(hdu.header, f"MP_{name}", bit)
        return hdu

    @classmethod
    def from_hdu(cls, hdu: fits.BinTableHDU, *, name: str) -> SourceCatalogue:
        """Read what `to_hdu` wrote.

        Raises
        ------
        InputError
            If it is no such table, or damaged.
        """
        check_version(hdu.header, newest=FORMAT, name=f"{name}[{hdu.name}]")
        found = table_columns(hdu, name=name, required=("ID", "X", "Y"))
        unknown = [column for column in found if column not in COLUMNS]
        if unknown:
            raise InputError(f"{name}: the table {hdu.name} has the unknown column {unknown[0]}.")
        bits = {plane: bit for plane, bit in declared_bits(hdu.header).items() if type(bit) is int}
        units = {column.name.upper(): column.unit or "" for column in hdu.columns}
        return cls(found, units.get("FLUX", ""), bits)

    def to_ecsv(self) -> bytes:
        """Return the catalogue as a text table with units, of the format ECSV 1.0."""
        table = self._table()
        lines = ["# %ECSV 1.0", "# ---", "# delimiter: ','", "# datatype:"]
        for column in table:
            kind = _DATATYPES[np.asarray(column.values).dtype.kind]
            unit = f"unit: {column.unit}, " if column.unit else ""
            text = escaped(column.comment).replace("'", "''")
            lines.append(
                f"# - {{name: {column.name}, {unit}datatype: {kind}, description: '{text}'}}"
            )
        if self.planes:
            bits = sorted(self.planes.items(), key=lambda item: item[1])
            lines.append("# meta: !!omap")
            lines += [f"# - {{MP_{name}: {bit}}}" for name, bit in bits]
        lines += ["# schema: astropy-2.0", ",".join(column.name for column in table)]
        values = [_texts(np.asarray(column.values)) for column in table]
        lines += [",".join(row) for row in zip(*values, strict=True)]
        return ("\n".join(lines) + "\n").encode("ascii")

    def to_regions(self, *, radius: float, pixel_scale: float | None = None) -> bytes:
        """Return circles for DS9, on the sky if positions there are known, else in pixels.

        Parameters
        ----------
        radius : float
            Radius of the circles [pixel].
        pixel_scale : float, optional
            Side of a pixel; circles are on the sky only if it is known [arcsec].

        Notes
        -----
        Green is positive, magenta negative, cyan a dipole, blue an empty place; yellow marks a
        source without a flux. DS9 counts pixels from 1.
        """
        ra, dec = (np.asarray(self.columns.get(name, np.nan), np.float64) for name in ("RA", "DEC"))
        on_sky = pixel_scale is not None and bool(np.isfinite(ra).all() and np.isfinite(dec).all())
        lines = ["# Region file format: DS9 version 4.1", "icrs" if on_sky else "image"]
        size = f'{radius * (pixel_scale or 1.0):.3f}"' if on_sky else f"{radius:.3f}"
        x, y = (np.asarray(self.columns[name], np.float64) + 1.0 for name in ("X", "Y"))
        across, along = (ra, dec) if on_sky else (x, y)
        lines += [
            f"circle({across[k]:.7f},{along[k]:.7f},{size}) "
            f"# color={self._colour(k)} text={{{self.columns['ID'][k]}}}"
            for k in range(len(self))
        ]
        return ("\n".join(lines) + "\n").encode("ascii")

    def _colour(self, row: int) -> str:
        for name, colour in (
            *(("SKY", "blue"), ("BADFLUX", "yellow")),
            *(("DIPOLE", "cyan"), ("NEGATIVE", "magenta")),
        ):
            if name in self.columns and self.columns[name][row]:
                return colour
        return "green"


def _texts(values: Values) -> list[str]:
    """Return the values of a column as text; nothing is lost of a number."""
    if values.dtype.kind == "b":
        return ["True" if value else "False" for value in values]
    if values.dtype.kind == "f":
        return [repr(float(value)) for value in values]
    return [str(value) for value in values]
