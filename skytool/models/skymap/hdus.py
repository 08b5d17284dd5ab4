"""Sky maps as a FITS table: a row for each tract, and cards from which everything follows.

The header of the extension TRACTS has the projection, the pixels and the patches that all tracts
share, and the parameters of the tiling; a row has the middle of a tract, its size, and the two
pairs of numbers, CRVAL and CRPIX, that complete its coordinates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.errors import InputError, SkytoolError
from skytool.models.keywords import set_card
from skytool.models.skymap.skymap import (
    DiscreteTiling,
    DodecaTiling,
    EquatTiling,
    HealpixTiling,
    PatchLayout,
    RingsTiling,
    SkyMap,
    TractLayout,
)
from skytool.models.tables import TableColumn, table_columns, table_hdu
from skytool.models.versions import check_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from astropy.io import fits
    from numpy.typing import NDArray

    from skytool.models.skymap.skymap import Tiling

TRACTS = "TRACTS"
"""EXTNAME of the table."""

VERSION = 1
"""Newest version of the layout that is written and read."""

_AGREEMENT = 1e-9  # [deg]; between columns and what follows from the cards
_PIXELS = ("CRPIX1", "CRPIX2")
_SIZES = ("NX", "NY", "NPATCHX", "NPATCHY")


def sky_map_hdus(sky_map: SkyMap) -> list[fits.BinTableHDU]:
    """Return a sky map as a table.

    Raises
    ------
    IncompatibleError
        If the projection cannot show a tract.
    """
    columns = tract_columns(sky_map)
    units = {"RA": "deg", "DEC": "deg", "CRVAL1": "deg", "CRVAL2": "deg", "RADIUS": "deg"}
    comments = {
        "RA": "middle, ICRS",
        "DEC": "middle, ICRS",
        "CRPIX1": "reference pixel, 1-based",
        "CRPIX2": "reference pixel, 1-based",
        "NX": "width in pixels",
        "NY": "height in pixels",
        "NPATCHX": "patches along x",
        "NPATCHY": "patches along y",
    }
    hdu = table_hdu(
        TRACTS,
        [
            TableColumn(name, values, units.get(name, ""), comments.get(name, ""))
            for name, values in columns.items()
        ],
    )
    for key, (value, comment) in _cards(sky_map).items():
        set_card(hdu.header, key, value, comment)
    return [hdu]


def tract_columns(sky_map: SkyMap) -> dict[str, NDArray[Any]]:
    """Return the rows of the table as columns, each of shape ``(n_tracts,)``."""
    tiling = sky_map.tiling
    _, examples, members = np.unique(tiling.size_classes, return_index=True, return_inverse=True)
    boxes = [sky_map.box(int(number)) for number in examples]
    starts = np.array([(box.x, box.y) for box in boxes])[members]
    sizes = np.array([box.shape[::-1] for box in boxes])[members]
    inner = sky_map.layout.patches.inner
    ra, dec = tiling.centers
    reference = tiling.references
    columns: dict[str, NDArray[Any]] = {
        "TRACT": np.arange(tiling.n_tracts),
        "RA": ra,
        "DEC": dec,
        "CRVAL1": reference[0],
        "CRVAL2": reference[1],
        "CRPIX1": 1.0 - starts[:, 0],
        "CRPIX2": 1.0 - starts[:, 1],
        "NX": sizes[:, 0],
        "NY": sizes[:, 1],
        "NPATCHX": sizes[:, 0] // inner[1],
        "NPATCHY": sizes[:, 1] // inner[0],
    }
    if isinstance(tiling, DiscreteTiling):
        columns["RADIUS"] = np.array(tiling.radius)
    return columns


def _cards(sky_map: SkyMap) -> dict[str, tuple[Any, str]]:
    """Return the cards of the table."""
    layout = sky_map.layout
    patches = layout.patches
    matrix = layout.wcs(0.0, 0.0, y=0.0, x=0.0).wcs.cd
    return {
        "SKYMVER": (VERSION, "version of the layout of this table"),
        "SKYMAP": (sky_map.tiling.kind, "kind of sky map"),
        **_tiling_cards(sky_map.tiling),
        "PIXSCALE": (layout.pixel_scale, "[arcsec] side of a pixel"),
        "PROJECT": (layout.projection, "projection of all tracts"),
        "ROTATION": (layout.rotation, "[deg] angle from the north to the y axis"),
        "OVERLAP": (layout.overlap, "[deg] how far tracts reach over each other"),
        "PATCHNX": (patches.inner[1], "[pixel] width of the inner part of a patch"),
        "PATCHNY": (patches.inner[0], "[pixel] height of the inner part of a patch"),
        "BORDERX": (patches.border[1], "[pixel] border of a patch to the left, right"),
        "BORDERY": (patches.border[0], "[pixel] border of a patch below and above"),
        "CLIPPED": (patches.clipped, "borders end where the tract ends"),
        "TRCTYPE1": (f"RA---{layout.projection}", "CTYPE1 of every tract"),
        "TRCTYPE2": (f"DEC--{layout.projection}", "CTYPE2 of every tract"),
        "TRCD1_1": (float(matrix[0, 0]), "[deg/pixel] CD1_1 of every tract"),
        "TRCD1_2": (float(matrix[0, 1]), "[deg/pixel] CD1_2 of every tract"),
        "TRCD2_1": (float(matrix[1, 0]), "[deg/pixel] CD2_1 of every tract"),
        "TRCD2_2": (float(matrix[1, 1]), "[deg/pixel] CD2_2 of every tract"),
        "RADESYS": ("ICRS", "celestial system"),
    }


def _tiling_cards(tiling: Tiling) -> dict[str, tuple[Any, str]]:
    if isinstance(tiling, RingsTiling):
        return {
            "NUMRINGS": (tiling.num_rings, "rings beside the polar caps"),
            "RASTART": (tiling.ra_start, "[deg] middle of the first tract of a ring"),
        }
    if isinstance(tiling, DodecaTiling):
        return {"ONPOLES": (tiling.with_tracts_on_poles, "a face, not a vertex, on each pole")}
    if isinstance(tiling, EquatTiling):
        return {
            "NUMTRACT": (tiling.num_tracts, "tracts of the band"),
            "DECMIN": (tiling.dec_range[0], "[deg] southern end of the band"),
            "DECMAX": (tiling.dec_range[1], "[deg] northern end of the band"),
        }
    if isinstance(tiling, HealpixTiling):
        return {
            "LOG2NSID": (tiling.log2_n_side, "HEALPix level"),
            "NEST": (tiling.nest, "tracts are numbered in the nested scheme"),
        }
    return {}


def sky_map_from_hdus(hdus: fits.HDUList, *, name: str) -> SkyMap:
    """Return the sky map of a file.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The open file.
    name : str
        What messages call it.

    Raises
    ------
    InputError
        If it holds no sky map, one of a newer layout, or one that contradicts itself.
    """
    if TRACTS not in hdus:
        raise InputError(
            f"{name} holds no sky map: it has no table {TRACTS}.",
            hint="'skytool skymap make' writes one.",
        )
    hdu = hdus[TRACTS]
    check_version(hdu.header, newest=VERSION, name=f"{name}[{TRACTS}]")
    required = ("TRACT", "RA", "DEC", "CRVAL1", "CRVAL2", *_PIXELS, *_SIZES)
    columns = table_columns(hdu, name=name, required=required)
    try:
        sky_map = SkyMap(_tiling(hdu.header, columns, name), _layout(hdu.header, name), name)
        n_rows = len(columns["TRACT"])
        if sky_map.n_tracts != n_rows:  # before memory is taken for what a card says
            raise InputError(f"it has {n_rows} rows for {sky_map.n_tracts} tracts.")
        expected = tract_columns(sky_map)
    except (SkytoolError, ValueError, OverflowError) as error:
        raise InputError(f"{name}: the sky map is damaged: {error}") from error
    for column, values in expected.items():
        found = columns.get(column)
        if found is None or found.shape != values.shape or not _agree(found, values):
            raise InputError(
                f"{name}: the sky map is damaged: its column {column} is not what its header says."
            )
    return sky_map


def _agree(found: NDArray[np.generic], values: NDArray[np.generic]) -> bool:
    return found.dtype.kind in "if" and bool(np.allclose(found, values, rtol=0.0, atol=_AGREEMENT))


def _tiling(header: fits.Header, columns: Mapping[str, NDArray[np.generic]], name: str) -> Tiling:
    kind = header.get("SKYMAP")
    makers: dict[object, Callable[[], Tiling]] = {
        "discrete": lambda: DiscreteTiling(
            *(tuple(map(float, columns.get(key, ()))) for key in ("RA", "DEC", "RADIUS"))
        ),
        "rings": lambda: RingsTiling(
            _value(header, "NUMRINGS", int, name), _value(header, "RASTART", float, name)
        ),
        "dodeca": lambda: DodecaTiling(_value(header, "ONPOLES", bool, name)),
        "equat": lambda: EquatTiling(
            _value(header, "NUMTRACT", int, name),
            (_value(header, "DECMIN", float, name), _value(header, "DECMAX", float, name)),
        ),
        "healpix": lambda: HealpixTiling(
            _value(header, "LOG2NSID", int, name), _value(header, "NEST", bool, name)
        ),
    }
    if kind not in makers:
        raise InputError(f"{name}: there is no kind {kind!r} of sky maps.")
    return makers[kind]()


def _layout(header: fits.Header, name: str) -> TractLayout:
    return TractLayout(
        pixel_scale=_value(header, "PIXSCALE", float, name),
        projection=_value(header, "PROJECT", str, name),
        rotation=_value(header, "ROTATION", float, name),
        overlap=_value(header, "OVERLAP", float, name),
        patches=PatchLayout(
            inner=(_value(header, "PATCHNY", int, name), _value(header, "PATCHNX", int, name)),
            border=(_value(header, "BORDERY", int, name), _value(header, "BORDERX", int, name)),
            clipped=_value(header, "CLIPPED", bool, name),
        ),
    )


def _value(header: fits.Header, key: str, kind: type, name: str) -> Any:
    """Return the value of a card after a look at its type."""
    value = header.get(key)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{name}: the card {key} is {value!r}.")
    return value
