"""Whether a file is as it should be: checksums, and parts that agree with each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.errors import SkytoolError
from skytool.io.filespec import FileSpec
from skytool.io.fits import checksum_problems, list_extensions, opened
from skytool.io.sources import find_sources
from skytool.models.background.hdus import background_from_hdus
from skytool.models.exposure_hdus import PLANE_NAMES, check_format, squared_unit
from skytool.models.keywords import is_wcs_keyword
from skytool.models.mask import Mask, declared_bits
from skytool.models.pixels import image_array, integer_array
from skytool.models.psf.kinds import psf_from_hdus
from skytool.models.psf.places import middle_star
from skytool.models.records.provenance import CONFIG, INPUTS, read_config, read_inputs
from skytool.models.records.warp import read_ccd_records, read_visit_records
from skytool.models.sky.celestial import celestial_wcs
from skytool.models.tables import table_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from astropy.io import fits
    from numpy.typing import NDArray

    from skytool.io.options import ReadOptions

_BITPIX = {"IMAGE": -32, "MASK": 32, "VARIANCE": -32}
_SUM_TOLERANCE = 1e-6
_FLUX_TOLERANCE = 1e-6  # relative


def file_problems(argument: str, options: ReadOptions) -> list[str]:
    """Return what is wrong with a file.

    Of any file the checksums, of a file of ours everything that its layout promises, of another
    whether its exposures can be read.

    Parameters
    ----------
    argument : str
        ``FILE`` or ``FILE[EXT]``.
    options : ReadOptions
        How to read it.

    Returns
    -------
    list of str
        A sentence for each problem, empty if all is well.
    """
    try:
        spec = FileSpec(FileSpec.parse(argument).path)
        with opened(spec) as hdus:
            is_ours = "SKYFMT" in hdus[0].header
        problems = checksum_problems(spec)
        if is_ours:
            problems += _missing_sums(spec)
            with opened(spec) as hdus:
                problems += _problems_of_ours(hdus, spec.file_name)
        elif not problems:
            for source in find_sources(argument, options):
                problems += _tried(source.read)
    except SkytoolError as error:
        return [str(error)]
    return problems


def _tried(function: Callable[[], object]) -> list[str]:
    """Return the failure of a function as the only problem, or none."""
    try:
        function()
    except SkytoolError as error:
        return [str(error)]
    return []


def _missing_sums(spec: FileSpec) -> list[str]:
    """Return the extensions without checksums."""
    return [
        f"extension {extent.index} ({extent.name or extent.kind}) has no {key}."
        for extent in list_extensions(spec)
        for key in ("CHECKSUM", "DATASUM")
        if key not in extent.cards
    ]


def _problems_of_ours(hdus: fits.HDUList, name: str) -> list[str]:
    """Return what is wrong with a file of skytool."""
    problems = _tried(lambda: check_format(hdus[0].header, name=name))
    if problems:
        return problems
    problems += _primary_problems(hdus[0])
    present = [plane for plane in PLANE_NAMES if plane in hdus]
    shape = None
    if present:
        shape = tuple(hdus[present[0]].shape)
        problems += _plane_problems(hdus, name)
    for hdu in hdus[1:]:
        if not hdu.is_image:
            problems += _table_problems(hdu, name)
    problems += _psf_problems(hdus, name)
    layers = [hdu for hdu in hdus if hdu.name.startswith("BKG")]
    if any(hdu.name == "BKG" for hdu in layers):
        problems += _tried(lambda: _evaluate_background(layers, shape, name))
    return problems


def _primary_problems(primary: fits.PrimaryHDU) -> list[str]:
    problems = []
    header = primary.header
    if primary.shape:
        problems.append("the primary holds pixels.")
    zero_point, flux = header.get("MAGZERO"), header.get("FLUXMAG0")
    if isinstance(zero_point, (int, float)) and isinstance(flux, (int, float)):
        expected = 10.0 ** (0.4 * zero_point)
        if not math.isclose(flux, expected, rel_tol=_FLUX_TOLERANCE):
            problems.append(
                f"FLUXMAG0 = {flux:g} contradicts MAGZERO = {zero_point:g}, which gives {expected:g}."
            )
    return problems


def _plane_problems(hdus: fits.HDUList, name: str) -> list[str]:
    """Return what is wrong with image, mask and variance."""
    missing = [plane for plane in PLANE_NAMES if plane not in hdus]
    if missing:
        return [f"there is no extension {plane}." for plane in missing]
    problems: list[str] = []
    for place, plane in enumerate(PLANE_NAMES, 1):
        problems += _cards_of_plane(hdus[plane].header, plane, hdus.index_of(plane), place)
    shapes = {plane: tuple(hdus[plane].shape) for plane in PLANE_NAMES}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(
            f"{plane} {' x '.join(map(str, reversed(shape)))}" for plane, shape in shapes.items()
        )
        return [*problems, f"the planes differ in shape: {listed}."]
    problems += _unit_problems(hdus)
    problems += _coordinate_problems(hdus, name)
    problems += _name_problems(hdus["MASK"].header)
    try:
        image = image_array(hdus["IMAGE"], name="IMAGE")
        flags = integer_array(hdus["MASK"], name="MASK")
        variance = image_array(hdus["VARIANCE"], name="VARIANCE")
        mask = Mask.from_array(flags, hdus["MASK"].header, name="MASK")
    except SkytoolError as error:
        return [*problems, str(error)]
    return [
        *problems,
        *_name_problems(hdus["MASK"].header),
        *_pixel_problems(image, mask, variance),
    ]


def _cards_of_plane(header: fits.Header, plane: str, index: int, place: int) -> Iterator[str]:
    if index != place:
        yield f"{plane} is extension {index}, not {place}."
    if header.get("BITPIX") != _BITPIX[plane]:
        yield f"{plane} has BITPIX = {header.get('BITPIX')}, not {_BITPIX[plane]}."
    if header.get("EXTTYPE") != plane:
        yield f"{plane} has EXTTYPE = {header.get('EXTTYPE')!r}."


def _unit_problems(hdus: fits.HDUList) -> list[str]:
    unit, squared = (str(hdus[p].header.get("BUNIT", "")).strip() for p in ("IMAGE", "VARIANCE"))
    if squared == squared_unit(unit):
        return []
    return [f"the unit of VARIANCE is {squared!r}, that of IMAGE {unit!r}."]


def _coordinate_problems(hdus: fits.HDUList, name: str) -> list[str]:
    """Return where the planes differ in their coordinates, or these are not usable."""
    cards = [
        {card.keyword: card.value for card in hdus[plane].header.cards if _places(card.keyword)}
        for plane in PLANE_NAMES
    ]
    problems = []
    for plane, other in zip(PLANE_NAMES[1:], cards[1:], strict=True):
        differing = sorted(
            key for key in {*cards[0], *other} if cards[0].get(key) != other.get(key)
        )
        if differing:
            problems.append(
                f"the coordinates of {plane} differ from those of IMAGE: {', '.join(differing)}."
            )
    header = hdus["IMAGE"].header
    if "CTYPE1" in header:
        problems += _tried(lambda: celestial_wcs(header, name=f"{name}[IMAGE]", hdus=hdus))
    for axis in (1, 2):
        shift, start = header.get(f"LTV{axis}"), header.get(f"CRVAL{axis}A")
        if shift is None or start is None:
            problems.append(f"IMAGE has no LTV{axis} or no CRVAL{axis}A.")
        elif shift != -start:
            problems.append(f"LTV{axis} = {shift:g} contradicts CRVAL{axis}A = {start:g}.")
    return problems


def _places(key: str) -> bool:
    return bool(key) and is_wcs_keyword(key)


def _name_problems(header: fits.Header) -> Iterator[str]:
    """Yield planes that share a bit, or have another value in the second set of cards."""
    bits = declared_bits(header)
    seen: dict[object, str] = {}
    for plane, bit in bits.items():
        if bit in seen:
            yield f"the mask planes {seen[bit]} and {plane} have the same bit {bit}."
        seen[bit] = plane
    for key in header:
        if key.startswith("MSKN"):
            plane, value = str(header[key]), header.get(f"MSKM{key[4:]}")
            stated = bits.get(plane)
            if not isinstance(stated, int) or value != 1 << stated:
                yield f"{key} names the plane {plane} of value {value}, MP_{plane} is {stated}."


def _pixel_problems(
    image: NDArray[np.float32], mask: Mask, variance: NDArray[np.float32]
) -> Iterator[str]:
    """Yield in which pixels the planes contradict each other."""
    nothing = mask.any_of(["NO_DATA"])
    missing = np.isnan(image)
    without = np.isposinf(variance)
    for where, what in (
        (np.isinf(image), "an infinite value"),
        (missing & ~nothing, "NaN without NO_DATA"),
        (nothing & ~missing, "NO_DATA and a value"),
        (without & ~nothing, "an infinite variance without NO_DATA"),
        (nothing & ~without, "NO_DATA and a variance that is not infinite"),
        (np.isnan(variance) & ~nothing, "a variance that is NaN"),
        ((variance <= 0) & ~nothing, "a variance that is not positive"),
    ):
        count = int(np.count_nonzero(where))
        if count:
            y, x = np.argwhere(where)[0]
            pixels = "pixel has" if count == 1 else "pixels have"
            yield f"{count} {pixels} {what}, the first is (x, y) = ({x}, {y})."


def _table_problems(hdu: fits.BinTableHDU, name: str) -> list[str]:
    """Return whether a table cannot be read."""
    readers: dict[str, Callable[[], Any]] = {
        INPUTS: lambda: read_inputs(hdu, name=name),
        CONFIG: lambda: read_config(hdu, name=name),
        "VISITS": lambda: read_visit_records(hdu),
        "CCDS": lambda: read_ccd_records(hdu),
    }
    problems = _tried(lambda: table_columns(hdu, name=name))
    if problems or hdu.name not in readers:
        return problems
    try:
        return _tried(readers[hdu.name])
    except (KeyError, ValueError, TypeError) as error:
        return [f"the table {hdu.name} is damaged: {error}."]


def _psf_problems(hdus: fits.HDUList, name: str) -> list[str]:
    """Return what is wrong with the PSF: its parts, its sum."""
    if "PSF" not in hdus:
        return []
    ny, nx = hdus["IMAGE"].shape if "IMAGE" in hdus else (1, 1)
    problems = _tried(lambda: middle_star(psf_from_hdus(hdus, name=name), (ny, nx)))
    if problems or hdus["PSF"].header.get("PSFKIND") == "BASIS":
        return problems
    stamps = np.atleast_3d(np.asarray(hdus["PSF"].data, dtype=np.float64).T).T
    sums = stamps.sum(axis=(-2, -1))
    worst = float(sums[np.argmax(np.abs(sums - 1.0))])
    if abs(worst - 1.0) > _SUM_TOLERANCE:
        problems.append(f"the PSF has the sum {worst:.8g}, not 1.")
    return problems


def _evaluate_background(layers: list[Any], shape: tuple[int, ...] | None, name: str) -> None:
    """Read the background and evaluate it over the image, if there is one."""
    background = background_from_hdus(layers, name=name)
    if shape is not None:
        background.evaluate((shape[0], shape[1]))
