"""The record of what was taken off an exposure, and how to put it back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.errors import IncompatibleError, NothingToDoError
from skytool.models.background.hdus import (
    Background,
    BackgroundLayer,
    ImageBackground,
    background_from_hdus,
    background_to_hdus,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure

STAGE = "skyframe apply"
"""Name under which layers of background are stored."""

_STORED_PLANES = frozenset({"BKG", "BKGMASK", "BKGVAR"})
_STRIP = 256  # rows [pixel]


def changed_image(
    image: NDArray[np.float32], layers: Iterable[BackgroundLayer]
) -> NDArray[np.float32]:
    """Return an image after some layers.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
        Pixels [unit].
    layers : iterable of BackgroundLayer
        What is added or subtracted.

    Notes
    -----
    All layers are added up in double precision before they are rounded, so that taking the same
    layers back gives the same pixels but for the rounding of the result.
    """
    ny, nx = image.shape
    every = list(layers)
    out = np.empty_like(image)
    for start in range(0, ny, _STRIP):
        rows = slice(start, min(start + _STRIP, ny))
        total = image[rows].astype(np.float64)
        for layer in every:
            total += layer.factor * layer.model.evaluate((ny, nx), rows=rows).astype(np.float64)
        out[rows] = total
    return out


def inverse_layers(layers: Iterable[BackgroundLayer], stage: str = STAGE) -> list[BackgroundLayer]:
    """Return layers that undo some layers, the last of them first."""
    opposite = {"ADD": "SUBTRACT", "SUBTRACT": "ADD"}
    return [
        replace(layer, operation=opposite[layer.operation], stage=stage)  # type: ignore[arg-type]
        for layer in reversed(list(layers))
    ]


def stored_background(exposure: Exposure) -> Background | None:
    """Return the layers of background that an exposure carries, None if it carries none.

    Raises
    ------
    InputError
        If they are damaged.
    """
    layers = [hdu for hdu in exposure.extensions if hdu.name in _STORED_PLANES]
    return background_from_hdus(layers, name=exposure.name) if layers else None


def restoring_layers(exposure: Exposure) -> list[BackgroundLayer]:
    """Return the layers that put all stored backgrounds of an exposure back.

    Raises
    ------
    IncompatibleError
        If their unit is not that of the image.
    InputError
        If they are damaged.
    """
    stored = stored_background(exposure)
    if stored is None:
        return []
    if stored.unit and exposure.unit and stored.unit != exposure.unit:
        raise IncompatibleError(
            f"{exposure.name} is in {exposure.unit!r} and its stored background in {stored.unit!r}."
        )
    return inverse_layers(stored.layers)


def with_layers(exposure: Exposure, layers: Sequence[BackgroundLayer]) -> Exposure:
    """Return an exposure after some layers, which it carries in its list of backgrounds.

    Parameters
    ----------
    exposure : Exposure
        The pixels; mask and variance stay what they are.
    layers : sequence of BackgroundLayer
        What is added or subtracted, in order.
    """
    stored = stored_background(exposure) or Background(unit=exposure.unit)
    record = replace(stored, layers=(*stored.layers, *layers))
    return _with_record(exposure, changed_image(exposure.image, layers), record)


def without_layers(exposure: Exposure, stage: str = STAGE) -> Exposure:
    """Return an exposure as it was before the last layers, all of one stage.

    Parameters
    ----------
    exposure : Exposure
        An exposure that carries its list of backgrounds.
    stage : str
        The stage.

    Raises
    ------
    NothingToDoError
        If the last layer is not of this stage.
    InputError
        If the list is damaged.
    """
    stored = stored_background(exposure) or Background()
    kept = len(stored.layers)
    while kept and stored.layers[kept - 1].stage == stage:
        kept -= 1
    undone = stored.layers[kept:]
    if not undone:
        last = f"the last is by {stored.layers[-1].stage!r}" if stored.layers else "it has none"
        raise NothingToDoError(
            f"{exposure.name} carries no layer of background by `{stage}` to put back: {last}."
        )
    image = changed_image(exposure.image, inverse_layers(undone))
    return _with_record(exposure, image, replace(stored, layers=stored.layers[:kept]))


def divided_layers(
    layers: Iterable[BackgroundLayer], factor: NDArray[np.float32]
) -> BackgroundLayer:
    """Return one layer that does to an image what some layers do to the image times a factor.

    Parameters
    ----------
    layers : iterable of BackgroundLayer
        Layers for the image times the factor.
    factor : ndarray of float32, shape (ny, nx)
        The factor, nowhere zero.
    """
    total = changed_image(np.zeros_like(factor), layers)
    return BackgroundLayer(ImageBackground((total / factor).astype(np.float32)), "ADD", stage=STAGE)


def _with_record(exposure: Exposure, image: NDArray[np.float32], record: Background) -> Exposure:
    """Return an exposure with another image and list of backgrounds."""
    others = tuple(hdu for hdu in exposure.extensions if hdu.name not in _STORED_PLANES)
    layers = background_to_hdus(record, origin=exposure.origin) if record.layers else []
    return exposure.with_values(image=image, extensions=(*others, *layers))
