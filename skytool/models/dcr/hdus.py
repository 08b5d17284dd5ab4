"""DCR models as FITS extensions, and as one exposure for each subfilter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from astropy.io import fits

from skytool.core.refraction.atmosphere import VARIANTS, Variant
from skytool.errors import IncompatibleError, InputError
from skytool.models.dcr.bands import Band
from skytool.models.dcr.images import SPECTRA
from skytool.models.dcr.model import DcrModel
from skytool.models.exposure_hdus import from_hdus, squared_unit, to_hdus
from skytool.models.keywords import set_card
from skytool.models.pixels import image_array
from skytool.models.sky.celestial import celestial_header
from skytool.models.sky.geometry import origin_cards
from skytool.models.tables import TableColumn, table_columns, table_hdu
from skytool.models.versions import check_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure

    Hdu: TypeAlias = fits.ImageHDU | fits.BinTableHDU

DCR_FORMAT = 1
"""Version of the layout of DCR models."""

_CURVE = "DCRBAND"  # table of the throughput
KIND = "DCRCOADD"
"""SKYTYPE of a file with a DCR model."""


class _Wavelengths(NamedTuple):
    """What a model needs beside its planes."""

    effective: float
    width: float
    reference: float | None
    spectrum: str
    refraction: Variant
    filter: str


def model_cards(model: DcrModel) -> dict[str, Any]:
    """Return the cards of the primary of a file with a model."""
    return {
        "FILTER": model.filter or None,
        "DCRNUM": len(model),
        "DCRLAMBD": model.effective_wavelength,
        "DCRWIDTH": model.bandwidth,
        "DCRREF": model.reference_wavelength or model.effective_wavelength,
        "DCRSPEC": (model.spectrum, _COMMENTS["DCRSPEC"]),
        "REFRACT": (model.refraction, _COMMENTS["REFRACT"]),
    }


def model_hdus(model: DcrModel) -> list[Hdu]:
    """Return the extensions of a model: the whole band as an exposure, and the subfilters.

    Pixels without data have values in the subfilters, for what is around them.
    """
    place = fits.Header() if model.wcs is None else celestial_header(model.wcs)
    place.extend(origin_cards(model.origin))
    hdus = to_hdus(model.full_band())
    for number, image in enumerate(model, start=1):
        hdus.append(_plane(model, image, "DCR", number, model.unit, place))
    for number, variance in enumerate(model.subfilter_variances, start=1):
        unit = squared_unit(model.unit)
        hdus.append(_plane(model, variance, "DCRVAR", number, unit, place))
    return [*hdus, *_curve_hdus(model)]


def _curve_hdus(model: DcrModel) -> list[fits.BinTableHDU]:
    """Return the table of the throughput, if it is not the same everywhere."""
    if not model.curve:
        return []
    wavelengths, throughput = np.array(model.curve).T
    columns = [
        TableColumn("WAVELEN", wavelengths, "nm", "wavelength"),
        TableColumn("THROUGHPUT", throughput, comment="relative throughput of the band"),
    ]
    return [table_hdu(_CURVE, columns)]


def _curve(whole: Exposure, name: str) -> tuple[tuple[float, float], ...]:
    """Return the throughput that a file has; empty if it is the same everywhere."""
    for hdu in whole.extensions:
        if hdu.name == _CURVE:
            found = table_columns(hdu, name=name, required=("WAVELEN", "THROUGHPUT"))
            columns = (found["WAVELEN"].astype(float), found["THROUGHPUT"].astype(float))
            return tuple(zip(*(column.tolist() for column in columns), strict=True))
    return ()


def _plane(
    model: DcrModel,
    image: NDArray[np.float32],
    extname: str,
    number: int,
    unit: str,
    place: fits.Header,
) -> fits.ImageHDU:
    header = fits.Header()
    set_card(header, "BUNIT", unit or None)
    set_card(header, "SKYMVER", DCR_FORMAT)
    for key, value in _subfilter_cards(model, number - 1).items():
        set_card(header, key, value, _COMMENTS.get(key))
    header.extend(place)
    return fits.ImageHDU(image, header, name=extname, ver=number)


def _subfilter_cards(model: DcrModel, number: int) -> dict[str, Any]:
    """Return what is said of one subfilter."""
    cards: dict[str, Any] = {"SUBFILT": number, "NSUBFILT": len(model)}
    if model.effective_wavelength is not None and model.bandwidth is not None:
        low, high = model.band.subfilters(len(model)).limits[number]
        cards |= {
            "EFFWAVE": model.effective_wavelength,
            "BANDWID": model.bandwidth,
            "DCRWAVE1": float(low),
            "DCRWAVE2": float(high),
        }
    return cards


def model_from_hdus(hdus: fits.HDUList, *, name: str, allow_missing: bool = False) -> DcrModel:
    """Return the model of an open file that `model_hdus` and `model_cards` made.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The file.
    name : str
        What messages call it.
    allow_missing : bool
        Whether subfilters may be missing, which then have no flux.

    Raises
    ------
    InputError
        If the file holds no model, is newer, or lacks a subfilter.
    """
    whole = from_hdus(hdus, name=name)
    return model_from_exposure(whole, name=name, allow_missing=allow_missing)


def model_from_exposure(whole: Exposure, *, name: str, allow_missing: bool = False) -> DcrModel:
    """Return the model of an exposure that was read with all its extensions.

    Arguments and errors are those of `model_from_hdus`.
    """
    number = whole.header.get("DCRNUM")
    if not isinstance(number, int) or number < 1:
        raise InputError(f"{name} holds no DCR model: it has no DCRNUM.")
    return _model(
        whole,
        _numbered(whole, "DCR", name),
        _numbered(whole, "DCRVAR", name),
        number,
        _wavelengths(whole.header, name),
        name,
        allow_missing=allow_missing,
    )


def _numbered(whole: Exposure, extname: str, name: str) -> dict[int, NDArray[np.float32]]:
    """Return the planes of the subfilters of one kind, by number from 0."""
    found = {}
    for hdu in whole.extensions:
        if hdu.name != extname:
            continue
        called = f"{name}[{extname},{hdu.ver}]"
        check_version(hdu.header, newest=DCR_FORMAT, name=called)
        plane = image_array(hdu, name=called)
        if plane.shape != whole.shape:
            raise InputError(f"{called} has the shape {plane.shape}, IMAGE {whole.shape}.")
        found[int(hdu.ver) - 1] = plane
    return found


def model_from_exposures(
    exposures: Sequence[Exposure], *, name: str, allow_missing: bool = False
) -> DcrModel:
    """Return the model whose subfilters are one exposure each.

    Parameters
    ----------
    exposures : sequence of Exposure
        In any order; their headers have SUBFILT, NSUBFILT, EFFWAVE and BANDWID. Mask, variance,
        PSF and calibration are those of the bluest.
    name : str
        What messages call the model.
    allow_missing : bool
        Whether subfilters may be missing, which then have no flux.

    Raises
    ------
    InputError
        If a card or a subfilter is missing.
    IncompatibleError
        If grids, units or bands differ.
    """
    numbers = {}
    for exposure in exposures:
        number = exposure.header.get("SUBFILT")
        if not isinstance(number, int) or number in numbers:
            raise InputError(f"{exposure.name}: SUBFILT is {number!r}, not a number of its own.")
        numbers[number] = exposure
    first = numbers[min(numbers)]
    for other in exposures:
        alike = other.shape == first.shape and other.origin == first.origin
        if not alike or other.unit != first.unit:
            raise IncompatibleError(f"{first.name} and {other.name} differ in grid or unit.")
        for key in ("NSUBFILT", "EFFWAVE", "BANDWID"):
            if other.header.get(key) != first.header.get(key):
                raise IncompatibleError(f"{first.name} and {other.name} differ in {key}.")
    expected = first.header.get("NSUBFILT", len(exposures))
    count = first.variance * np.float32(expected)
    whole = first.with_values(variance=count)
    images = {number: np.nan_to_num(entry.image) for number, entry in numbers.items()}
    variances = {number: entry.variance for number, entry in numbers.items()}
    wavelengths = _wavelengths(first.header, first.name)
    return _model(
        whole, images, variances, expected, wavelengths, name, allow_missing=allow_missing
    )


def _wavelengths(header: Mapping[str, Any], name: str) -> _Wavelengths:
    """Return the wavelengths that a header has."""
    try:
        effective = float(header.get("DCRLAMBD", header.get("EFFWAVE")))
        width = float(header.get("DCRWIDTH", header.get("BANDWID")))
        Band(effective, width)
    except (TypeError, ValueError, IncompatibleError):
        raise InputError(f"{name} does not say which band it is of.") from None
    reference = header.get("DCRREF")
    spectrum = str(header.get("DCRSPEC", SPECTRA[0])).strip()
    if spectrum not in SPECTRA:
        raise InputError(f"{name}: DCRSPEC is {spectrum!r}, none of {', '.join(SPECTRA)}.")
    number = float(reference) if isinstance(reference, int | float) else None
    refraction = str(header.get("REFRACT", VARIANTS[0])).strip()
    if refraction not in VARIANTS:
        raise InputError(f"{name}: REFRACT is {refraction!r}, none of {', '.join(VARIANTS)}.")
    filter_name = str(header.get("FILTER", ""))
    return _Wavelengths(effective, width, number, spectrum, refraction, filter_name)


def _model(
    whole: Exposure,
    images: dict[int, NDArray[np.float32]],
    variances: dict[int, NDArray[np.float32]],
    expected: int,
    wavelengths: _Wavelengths,
    name: str,
    *,
    allow_missing: bool,
) -> DcrModel:
    """Return a model from its parts."""
    wanted = set(range(expected))
    if not set(images) <= wanted or not images or (set(images) < wanted and not allow_missing):
        raise InputError(
            f"{name}: {len(images)} subfilters were found and {expected} are expected.",
            hint="" if set(images) > wanted else "--allow-missing goes on with what is there.",
        )
    empty = np.zeros(whole.shape, np.float32)
    return DcrModel(
        model_images=[images.get(number, empty) for number in range(expected)],
        mask=whole.mask,
        variance=whole.variance / np.float32(expected),
        effective_wavelength=wavelengths.effective,
        bandwidth=wavelengths.width,
        curve=_curve(whole, name),
        reference_wavelength=wavelengths.reference,
        filter=wavelengths.filter,
        psf=whole.psf,
        wcs=whole.wcs,
        unit=whole.unit,
        calibration=whole.calibration,
        origin=whole.origin,
        spectrum=wavelengths.spectrum,
        refraction=wavelengths.refraction,
        name=name,
        subfilter_variances=(
            [variances[number] for number in range(expected)] if set(variances) == wanted else []
        ),
        header=whole.header,
    )


def subfilter_exposures(model: DcrModel) -> list[Exposure]:
    """Return one exposure for each subfilter, as `model_from_exposures` reads them."""
    exposures = []
    whole = model.full_band()
    for number, image in enumerate(model):
        header = whole.header.copy()
        for key in ("DCRNUM", "DCRLAMBD", "DCRWIDTH"):  # of the file of a whole model
            header.remove(key, ignore_missing=True)
        for key, value in _subfilter_cards(model, number).items():
            set_card(header, key, value, _COMMENTS.get(key))
        set_card(header, "DCRREF", model.reference_wavelength or model.effective_wavelength)
        set_card(header, "DCRSPEC", model.spectrum, _COMMENTS["DCRSPEC"])
        set_card(header, "REFRACT", model.refraction, _COMMENTS["REFRACT"])
        set_card(header, "FILTER", model.filter or None)
        own = model.subfilter_variances[number] if model.subfilter_variances else model.variance
        curve = tuple(_curve_hdus(model))
        exposures.append(
            whole.with_values(image=image, variance=own, header=header, extensions=curve)
        )
    return exposures


_COMMENTS = {
    "SUBFILT": "number of the subfilter, 0 is the bluest",
    "NSUBFILT": "number of subfilters",
    "EFFWAVE": "[nm] effective wavelength of the band",
    "BANDWID": "[nm] width of the band",
    "DCRSPEC": "spectra between the subfilters",
    "REFRACT": "formula of the refraction",
}
