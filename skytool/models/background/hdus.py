"""Backgrounds as FITS extensions: layers of ours, lists of LSST, plain images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
from astropy.io import fits

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.chebyshev import ChebyshevModel
from skytool.core.background.curves import Extrapolation, InterpolationStyle
from skytool.core.background.interpolation import InterpolationRule, UndersampleStyle
from skytool.errors import AlgorithmError, IncompatibleError, InputError
from skytool.models.background.layers import (
    Approximation,
    Background,
    BackgroundLayer,
    BackgroundModel,
    BinnedBackground,
    ChebyshevBackground,
    ConstantBackground,
    ImageBackground,
)
from skytool.models.exposure import Origin
from skytool.models.keywords import set_card
from skytool.models.pixels import extension_name
from skytool.models.versions import check_version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Hdu: TypeAlias = fits.ImageHDU | fits.PrimaryHDU | fits.BinTableHDU

__all__ = [
    "Approximation",
    "Background",
    "BackgroundLayer",
    "BackgroundModel",
    "BinnedBackground",
    "ChebyshevBackground",
    "ConstantBackground",
    "ImageBackground",
    "background_from_hdus",
    "background_to_hdus",
]

BACKGROUND_FORMAT = 1
"""Version of the layout in which layers are stored."""

_ZERO = Origin(0, 0)
_T = TypeVar("_T", bound=np.generic)

_STYLES = {
    0: InterpolationStyle.CONSTANT,
    1: InterpolationStyle.LINEAR,
    2: InterpolationStyle.NATURAL_SPLINE,
    3: InterpolationStyle.CUBIC_SPLINE,
    5: InterpolationStyle.AKIMA_SPLINE,
    100: InterpolationStyle.NEAREST,  # unknown to LSST
}
_UNDERSAMPLE = {
    0: UndersampleStyle.THROW_EXCEPTION,
    1: UndersampleStyle.REDUCE_INTERP_ORDER,
    2: UndersampleStyle.INCREASE_NXNYSAMPLE,
}
_NO_APPROXIMATION, _CHEBYSHEV = -1, 0
_LIMITS = {"YLIMIT": "y_range", "XLIMIT": "x_range", "VLIMIT": "value_range"}
_COMMENTS = {
    "BKGEXTRA": "continuation beyond the outer cells",
    "BKGREACH": "[pixel] beyond which the value stays",
    "YEDGES": "first pixel of each row of cells, and end",
    "XEDGES": "first pixel of each column of cells, and end",
    "YLIMIT": "[pixel] y beyond which the value stays",
    "XLIMIT": "[pixel] x beyond which the value stays",
    "VLIMIT": "[BUNIT] values are limited to this",
}


def background_to_hdus(
    background: Background, *, origin: Origin = _ZERO, extver: int = 1
) -> list[fits.ImageHDU]:
    """Return the extensions of a background: BKG, and of cells BKGMASK and BKGVAR, for each layer.

    Parameters
    ----------
    background : Background
        The layers; their order is that of EXTVER.
    origin : Origin
        Place of the first pixel of the image in its parent frame.
    extver : int
        EXTVER of the first layer.
    """
    hdus: list[fits.ImageHDU] = []
    unit = background.unit
    units = {"BKG": unit, "BKGMASK": "", "BKGVAR": f"{unit}2" if unit else ""}
    for version, layer in enumerate(background.layers, start=extver):
        for name, plane in _planes(layer.model).items():
            hdu = fits.ImageHDU(plane, name=name, ver=version)
            set_card(hdu.header, "BUNIT", units[name] or None)
            set_card(hdu.header, "SKYMVER", BACKGROUND_FORMAT)
            if name == "BKG":
                _add_layer_cards(hdu.header, layer)
            if isinstance(layer.model, BinnedBackground):
                _add_cell_cards(hdu.header, layer.model, origin)
            hdus.append(hdu)
    return hdus


def _planes(model: BackgroundModel) -> dict[str, NDArray[np.generic]]:
    """Return the arrays in which a model is stored, by the names of their extensions."""
    if isinstance(model, ConstantBackground):
        return {"BKG": np.array([[model.value]], np.float64)}
    if isinstance(model, ChebyshevBackground):
        return {"BKG": np.asarray(model.model.coefficients, np.float64)}
    if isinstance(model, ImageBackground):
        return {"BKG": np.asarray(model.image, np.float32)}
    if isinstance(model, BinnedBackground):
        mask = np.zeros(model.cells.shape) if model.mask is None else model.mask
        variance = np.zeros(model.cells.shape) if model.variance is None else model.variance
        return {
            "BKG": np.asarray(model.cells, np.float32),
            "BKGMASK": np.asarray(mask, np.int32),
            "BKGVAR": np.asarray(variance, np.float32),
        }
    msg = f"a background of type {type(model).__name__} cannot be stored"
    raise TypeError(msg)


def _add_layer_cards(header: fits.Header, layer: BackgroundLayer) -> None:
    """Add what was done with a model, and of a polynomial its domain."""
    kinds = {
        ConstantBackground: "CONSTANT",
        ChebyshevBackground: "CHEBYSHEV2D",
        ImageBackground: "IMAGE",
        BinnedBackground: "SKYFRAME" if layer.sky_file else "BINNED",
    }
    set_card(header, "SKYMODEL", kinds[type(layer.model)])
    set_card(header, "BKGOP", layer.operation)
    set_card(header, "BKGSTAGE", layer.stage or None)
    set_card(header, "SKYSCALE", layer.scale)
    set_card(header, "SKYSCERR", layer.scale_error)
    set_card(header, "SKYFILE", layer.sky_file or None)
    set_card(header, "SKYSUM", layer.sky_sum or None)
    if isinstance(layer.model, ChebyshevBackground):
        model = layer.model.model
        set_card(header, "DOMAINX", model.shape[1])
        set_card(header, "DOMAINY", model.shape[0])
        for key, attribute in _LIMITS.items():
            for number, limit in enumerate(getattr(model, attribute), start=1):
                set_card(header, f"{key}{number}", limit, _COMMENTS[key])


def _add_cell_cards(header: fits.Header, model: BinnedBackground, origin: Origin) -> None:
    """Add the cards of LSST's lists of backgrounds, and what they cannot say."""
    ny, nx = model.grid.image_shape
    styles = {style: number for number, style in _STYLES.items()}
    undersample = {style: number for number, style in _UNDERSAMPLE.items()}
    approximation = model.approximation
    order = 0 if approximation is None else approximation.order
    cards = {
        "BKGD_X0": origin.x,
        "BKGD_Y0": origin.y,
        "BKGD_WIDTH": nx,
        "BKGD_HEIGHT": ny,
        "INTERPSTYLE": styles[model.rule.style],
        "UNDERSAMPLESTYLE": undersample[model.rule.undersample],
        "APPROXSTYLE": _NO_APPROXIMATION if approximation is None else _CHEBYSHEV,
        "APPROXORDERX": order,
        "APPROXORDERY": order,
        "APPROXWEIGHTING": approximation is not None and approximation.weighted,
        "BKGEXTRA": model.rule.extrapolation.value,
        "BKGREACH": model.rule.reach,
    }
    equal = CellGrid.from_counts(model.grid.image_shape, model.grid.shape)
    for key, edges, plain in (
        ("YEDGES", model.grid.y_edges, equal.y_edges),
        ("XEDGES", model.grid.x_edges, equal.x_edges),
    ):
        if not np.array_equal(edges, plain):
            cards[key] = ",".join(map(str, edges.tolist()))
    for key, value in cards.items():
        set_card(header, key, value, _COMMENTS.get(key, ""))


def background_from_hdus(hdus: Iterable[Hdu], *, name: str) -> Background:
    """Return the background stored in a file.

    Parameters
    ----------
    hdus : iterable of HDU
        Extensions of an open file. The first of these that is there is read: layers in extensions
        BKG; a list of backgrounds as LSST writes it, three HDUs a layer; a plain image, namely the
        extension IMAGE or SCI or the only one, in the units of its BUNIT.
    name : str
        What messages call the file.

    Returns
    -------
    Background
        Lists and images count as subtracted.

    Raises
    ------
    InputError
        If there is no background, a part of it is missing or damaged, or it was stored by a newer
        version of the program.
    IncompatibleError
        If the layers have different units.
    """
    found = list(hdus)
    ours = [hdu for hdu in found if hdu.name == "BKG"]
    if ours:
        ours.sort(key=lambda hdu: hdu.ver or 1)
        read = [(_layer(hdu, found, name), _unit(hdu)) for hdu in ours]
    else:
        listed = [h for h in found if _is_image(h) and "INTERPSTYLE" in h.header]
        if len(listed) % 3:
            raise InputError(
                f"{name}: a list of backgrounds has three images a layer, not {len(listed)} in all."
            )
        triples = zip(listed[::3], listed[1::3], listed[2::3], strict=True)
        read = [(BackgroundLayer(_cells(*t, where=name)), _unit(t[0])) for t in triples]
    if not read:
        image = _only_image(found, name)
        pixels = _array(image, np.float32, name)
        read = [(BackgroundLayer(ImageBackground(pixels)), _unit(image))]
    units = {unit for _, unit in read if unit}
    if len(units) > 1:
        raise IncompatibleError(
            f"{name}: the layers of its background differ in unit: {', '.join(sorted(units))}."
        )
    return Background(tuple(layer for layer, _ in read), units.pop() if units else "")


def _layer(hdu: Hdu, hdus: list[Hdu], name: str) -> BackgroundLayer:
    """Return the layer that an extension BKG holds."""
    header = hdu.header
    version = hdu.ver or 1
    where = extension_name(name, f"BKG,{version}")
    check_version(header, newest=BACKGROUND_FORMAT, name=where)
    kind = header.get("SKYMODEL")
    try:
        if kind in {"BINNED", "SKYFRAME"}:
            beside = [_named(hdus, plane, version) for plane in ("BKGMASK", "BKGVAR")]
            model: BackgroundModel = _cells(hdu, *beside, where=where)
        elif kind == "CHEBYSHEV2D":
            model = _polynomial(hdu, where)
        elif kind == "CONSTANT":
            model = ConstantBackground(float(_array(hdu, np.float64, where)[0, 0]))
        elif kind == "IMAGE":
            model = ImageBackground(_array(hdu, np.float32, where))
        else:
            raise InputError(f"{where}: SKYMODEL {kind!r} is not known.")
        error = header.get("SKYSCERR")
        return BackgroundLayer(
            model,
            operation=str(header["BKGOP"]).strip(),  # type: ignore[arg-type]
            scale=float(header.get("SKYSCALE", 1.0)),
            stage=str(header.get("BKGSTAGE", "")).strip(),
            sky_file=str(header.get("SKYFILE", "")).strip(),
            sky_sum=str(header.get("SKYSUM", "")).strip(),
            scale_error=None if error is None else float(error),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: the background is damaged: {error}.") from error


def _polynomial(hdu: Hdu, where: str) -> ChebyshevBackground:
    """Return the polynomial that an extension holds."""
    header = hdu.header
    ranges = {}
    for key, attribute in _LIMITS.items():
        low, high = header.get(f"{key}1", -math.inf), header.get(f"{key}2", math.inf)
        ranges[attribute] = (float(low), float(high))
    shape = (int(header["DOMAINY"]), int(header["DOMAINX"]))
    return ChebyshevBackground(ChebyshevModel(_array(hdu, np.float64, where), shape, **ranges))


def _cells(cells: Hdu, mask: Hdu | None, variance: Hdu | None, *, where: str) -> BinnedBackground:
    """Return the cells that extensions hold."""
    header = cells.header
    values = _array(cells, np.float32, where)
    try:
        shape = (int(header["BKGD_HEIGHT"]), int(header["BKGD_WIDTH"]))
        rule = InterpolationRule(
            _STYLES[int(header["INTERPSTYLE"])],
            _UNDERSAMPLE[int(header["UNDERSAMPLESTYLE"])],
            Extrapolation(str(header.get("BKGEXTRA", "quadratic")).strip()),
            float(header.get("BKGREACH", math.inf)),
        )
        n_y, n_x = values.shape
        grid = CellGrid.from_counts(shape, (n_y, n_x))
        grid = CellGrid(
            _edges(header, "YEDGES", grid.y_edges), _edges(header, "XEDGES", grid.x_edges)
        )
        approximation = None
        if int(header.get("APPROXSTYLE", _NO_APPROXIMATION)) == _CHEBYSHEV:
            order = max(int(header["APPROXORDERX"]), int(header["APPROXORDERY"]))
            approximation = Approximation(order, bool(header.get("APPROXWEIGHTING", False)))
        return BinnedBackground(
            values,
            grid,
            rule,
            None if mask is None else _array(mask, np.int32, where),
            None if variance is None else _array(variance, np.float32, where),
            approximation,
        )
    except (KeyError, TypeError, ValueError, AlgorithmError) as error:
        raise InputError(f"{where}: the cards of its cells are wrong: {error}.") from error


def _edges(header: fits.Header, key: str, equal: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the edges of cells that a card lists, or those of equal cells."""
    if key not in header:
        return equal
    edges = np.array([int(part) for part in str(header[key]).split(",")], np.int64)
    if (
        len(edges) != len(equal)
        or edges[0] != 0
        or edges[-1] != equal[-1]
        or (np.diff(edges) < 1).any()
    ):
        msg = f"{key} is no list of {len(equal)} increasing edges"
        raise ValueError(msg)
    return edges


def _only_image(hdus: list[Hdu], name: str) -> Hdu:
    """Return the image of a file that is a background as it stands."""
    images = [hdu for hdu in hdus if _is_image(hdu) and len(hdu.shape) == 2]
    for wanted in ("IMAGE", "SCI"):
        for hdu in images:
            if hdu.name == wanted:
                return hdu
    if len(images) != 1:
        raise InputError(
            f"{name} holds no background: no BKG extension, and {len(images)} images.",
            hint="Name the image as FILE[EXT].",
        )
    return images[0]


def _named(hdus: list[Hdu], extname: str, version: int) -> Hdu | None:
    return next((h for h in hdus if h.name == extname and (h.ver or 1) == version), None)


def _is_image(hdu: Hdu) -> bool:
    return bool(getattr(hdu, "is_image", False)) and bool(hdu.shape)


def _unit(hdu: Hdu) -> str:
    return str(hdu.header.get("BUNIT", "")).strip()


def _array(hdu: Hdu, dtype: type[_T], where: str) -> NDArray[_T]:
    """Return the pixels of an extension in two axes and native byte order."""
    try:
        array = np.array(hdu.data, dtype=dtype)
    except (ValueError, TypeError, OSError) as error:
        raise InputError(f"{where}: the background is damaged: {error}.") from error
    if array.ndim != 2:
        raise InputError(f"{where}: a background has two axes, not the shape {array.shape}.")
    return array
