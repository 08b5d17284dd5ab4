"""LSST's lists of backgrounds: image, mask and variance of the cells of every layer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.curves import InterpolationStyle
from skytool.core.background.interpolation import InterpolationRule
from skytool.errors import IncompatibleError
from skytool.io.fits import write_foreign
from skytool.models.background.hdus import (
    Approximation,
    Background,
    BackgroundLayer,
    BinnedBackground,
    ChebyshevBackground,
    ConstantBackground,
    background_from_hdus,
    background_to_hdus,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from skytool.models.background.hdus import BackgroundModel
    from skytool.models.exposure import Exposure

_OURS = ("EXTNAME", "EXTVER", "SKYMODEL", "SKYMVER", "BKGOP", "BKGSTAGE", "SKYSCALE", "SKYSCERR")
_TOLERANCE = 1e-6  # of a polynomial written as cells [fraction of its largest value]


def write(
    exposure: Exposure,
    output: Path,
    *,
    bad_planes: Sequence[str],
    notes: fits.Header,
    overwrite: bool,
) -> None:
    """Write the background that was taken off an exposure, layer by layer.

    The sum of the layers is what has to be added to have the pixels back. Polynomials become
    cells through which LSST lays the same polynomial.

    Raises
    ------
    IncompatibleError
        If the exposure has no background, or one that LSST cannot evaluate.
    """
    del bad_planes  # no pixels of the image are written
    stored = [hdu for hdu in exposure.extensions if hdu.name.startswith("BKG")]
    if not any(hdu.name == "BKG" for hdu in stored):
        raise IncompatibleError(f"{exposure.name} has no extension BKG, no background to write.")
    background = background_from_hdus(stored, name=exposure.name)
    layers = tuple(_as_cells(layer, exposure) for layer in background.layers)
    hdus = background_to_hdus(Background(layers, background.unit), origin=exposure.origin)
    for hdu in hdus:
        for key in _OURS:
            hdu.header.remove(key, ignore_missing=True)
    header = hdus[0].header
    header.extend(notes)
    hdus = [fits.PrimaryHDU(hdus[0].data, header), *hdus[1:]]
    write_foreign({output: hdus}, overwrite=overwrite)


def _as_cells(layer: BackgroundLayer, exposure: Exposure) -> BackgroundLayer:
    """Return a layer of cells that was subtracted as it is, without factor."""
    model = _binned(layer.model, exposure)
    factor = -layer.factor
    variance = None if model.variance is None else np.float32(factor**2) * model.variance
    scaled = replace(model, cells=np.float32(factor) * model.cells, variance=variance)
    return BackgroundLayer(scaled)


def _binned(model: BackgroundModel, exposure: Exposure) -> BinnedBackground:
    """Return a background as cells."""
    shape = exposure.shape
    if isinstance(model, ConstantBackground):
        grid = CellGrid.from_counts(shape, (1, 1))
        rule = InterpolationRule(InterpolationStyle.CONSTANT)
        return BinnedBackground(np.array([[model.value]], np.float32), grid, rule)
    if isinstance(model, ChebyshevBackground):
        order = model.model.order
        grid = CellGrid.from_counts(shape, (order + 1, order + 1))
        y, x = np.meshgrid(grid.y_centers, grid.x_centers, indexing="ij")
        cells = model.model.evaluate(y=y, x=x).astype(np.float32)
        binned = BinnedBackground(cells, grid, approximation=Approximation(order, weighted=False))
        _check_equal(model, binned, exposure)
        return binned
    if isinstance(model, BinnedBackground) and model.rule.style is not InterpolationStyle.NEAREST:
        return model
    kind = type(model).__name__.removesuffix("Background").lower()
    raise IncompatibleError(
        f"{exposure.name}: LSST cannot evaluate its background of the kind {kind}."
    )


def _check_equal(model: ChebyshevBackground, binned: BinnedBackground, exposure: Exposure) -> None:
    """Refuse a polynomial that is not the same through cells: one with limits."""
    before, after = (m.evaluate(exposure.shape) for m in (model, binned))
    if not np.allclose(after, before, rtol=0.0, atol=_TOLERANCE * float(np.abs(before).max())):
        raise IncompatibleError(
            f"{exposure.name}: LSST cannot evaluate its background, a polynomial with limits."
        )
