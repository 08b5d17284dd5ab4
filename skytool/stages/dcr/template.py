"""Templates from DCR models for an exposure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.windows import Window
from skytool.errors import IncompatibleError, NothingToDoError
from skytool.models.dcr.planes import matched_exposure
from skytool.models.mask import Mask
from skytool.models.sky.footprint import footprint_edges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skytool.models.dcr.model import DcrModel
    from skytool.models.exposure import Exposure
    from skytool.models.observation.pointing import Pointing
    from skytool.models.sky.geometry import TargetGrid

_BLOCK = 1000  # pixels over which refraction is taken as the same
_TOLERANCE = 1e-4  # pixel, of grids that are one
_EDGE_POINTS = 16


@dataclass(frozen=True, kw_only=True)
class TemplateConfig:
    """Settings of templates.

    Parameters
    ----------
    order : int or None or "auto"
        Degree of the splines that shift subfilters; None for the prediction with the spectrum of
        the model; auto for that if it is a polynomial, and for cubic splines otherwise.
    kernel : str
        Kernel that resamples to the grid of the exposure, where it is another.
    border : int
        Pixels around the exposure that are made as well, for that kernel.
    """

    order: int | str | None = "auto"
    kernel: str = "lanczos3"
    border: int = 20

    def order_for(self, model: DcrModel) -> int | None:
        """Return the degree for a model."""
        if isinstance(self.order, str):
            return None if model.spectrum == "polynomial" else 3
        return self.order


def template_for(
    models: Sequence[DcrModel], pointing: Pointing, grid: TargetGrid, config: TemplateConfig
) -> Exposure:
    """Return what an exposure would show of the sky of models.

    Parameters
    ----------
    models : sequence of DcrModel
        Models of one band, in one unit.
    pointing : Pointing
        Where the zenith was in the exposure.
    grid : TargetGrid
        Its pixels.
    config : TemplateConfig
        Settings.

    Raises
    ------
    IncompatibleError
        If models differ in band or unit, or have no WCS.
    NothingToDoError
        If no model reaches the exposure.
    """
    check_models(models)
    parts = []
    for model in models:
        box = reached(model, grid, config.border)
        if box is not None:
            parts.append((model, box))
    if not parts:
        names = ", ".join(model.name for model in models)
        raise NothingToDoError(f"no model reaches {grid.name}: {names}.")
    exposures = [_matched(model, pointing, box, config) for model, box in parts]
    offsets = [_offset(exposure, grid) for exposure in exposures]
    if all(offset is not None for offset in offsets):
        return _placed(exposures, [offset for offset in offsets if offset is not None], grid)
    from skytool.stages.warp import Detector, WarpConfig, warp_visit

    warp = WarpConfig(kernel=config.kernel, overlap="mean", fill_planes=("NO_DATA",))
    return warp_visit((Detector(exposure) for exposure in exposures), grid, warp).exposure


def check_models(models: Sequence[DcrModel]) -> None:
    """Refuse models that do not go together.

    Raises
    ------
    IncompatibleError
        If bands or units differ, or a model has no WCS.
    """
    first = models[0]
    for model in models:
        if model.wcs is None:
            raise IncompatibleError(f"{model.name} has no celestial WCS.")
        if model.band.limits != first.band.limits:
            raise IncompatibleError(
                f"the bands differ: {first.name} is from {first.band.limits[0]:g} to "
                f"{first.band.limits[1]:g} nm, {model.name} from {model.band.limits[0]:g} to "
                f"{model.band.limits[1]:g} nm.",
                hint="Give models of one band.",
            )
        alike = model.unit == first.unit
        if not alike or (model.calibration is None) != (first.calibration is None):
            raise IncompatibleError(
                f"{first.name} is in {first.unit or 'no unit'}, {model.name} in "
                f"{model.unit or 'no unit'}.",
                hint="Give models in one unit.",
            )


def reached(model: DcrModel, grid: TargetGrid, border: int) -> Window | None:
    """Return the pixels of a model that an exposure sees, in the parent frame; None without.

    Parameters
    ----------
    model : DcrModel
        The model.
    grid : TargetGrid
        The pixels of the exposure.
    border : int
        More pixels on all sides.
    """
    if model.wcs is None:
        raise IncompatibleError(f"{model.name} has no celestial WCS.")
    ra, dec = footprint_edges(grid.wcs, grid.shape, _EDGE_POINTS, name=grid.name)
    with np.errstate(invalid="ignore"):
        x, y = model.wcs.all_world2pix(ra, dec, 0, quiet=True)
    seen = np.isfinite(x) & np.isfinite(y)
    if not seen.any():
        return None
    y0, x0 = (int(np.floor(axis[seen].min())) - border for axis in (y, x))
    y1, x1 = (int(np.ceil(axis[seen].max())) + border + 1 for axis in (y, x))
    return model.bbox.common(
        Window(y=y0 + model.origin.y, x=x0 + model.origin.x, shape=(y1 - y0, x1 - x0))
    )


def _matched(model: DcrModel, pointing: Pointing, box: Window, config: TemplateConfig) -> Exposure:
    """Return a part of the sky, with the refraction in the middle of each block of it."""
    order = config.order_for(model)
    rows, columns = (-(-length // _BLOCK) for length in box.shape)
    if rows == columns == 1:
        return matched_exposure(model, model.shifts_for(pointing, bbox=box), box, order=order)
    whole = matched_exposure(model, model.shifts_for(pointing, bbox=box), box, order=order)
    for y in range(rows):
        for x in range(columns):
            y0, y1 = (box.shape[0] * n // rows for n in (y, y + 1))
            x0, x1 = (box.shape[1] * n // columns for n in (x, x + 1))
            block = Window(y=box.y + y0, x=box.x + x0, shape=(y1 - y0, x1 - x0))
            part = matched_exposure(
                model, model.shifts_for(pointing, bbox=block), block, order=order
            )
            place = block.within(box)
            whole.image[place] = part.image
            whole.variance[place] = part.variance
            whole.mask.array[place] = part.mask.array
    return whole


def _offset(exposure: Exposure, grid: TargetGrid) -> tuple[int, int] | None:
    """Return the pixel of the grid at which an exposure begins, None if grids are not one."""
    if exposure.wcs is None:
        return None
    ny, nx = exposure.shape
    x = np.array([0.0, nx - 1.0, 0.0, nx - 1.0, (nx - 1) / 2.0])
    y = np.array([0.0, 0.0, ny - 1.0, ny - 1.0, (ny - 1) / 2.0])
    sky = exposure.wcs.all_pix2world(x, y, 0)
    with np.errstate(invalid="ignore"):
        moved = np.array(grid.wcs.all_world2pix(*sky, 0, quiet=True)) - np.array([x, y])
    whole = np.rint(moved[:, :1])
    if not np.isfinite(moved).all() or np.abs(moved - whole).max() > _TOLERANCE:
        return None
    return int(whole[1, 0]), int(whole[0, 0])


def _placed(
    exposures: Sequence[Exposure], offsets: Sequence[tuple[int, int]], grid: TargetGrid
) -> Exposure:
    """Return exposures on parts of one grid together; the first that has a value gives it."""
    planes = Mask.empty((1, 1), ["NO_DATA"])
    for exposure in exposures:
        planes = planes.with_planes(exposure.mask.bits)
    no_data = planes.bitmask(["NO_DATA"])
    image = np.full(grid.shape, np.nan, np.float32)
    variance = np.full(grid.shape, np.inf, np.float32)
    bits = np.full(grid.shape, no_data, np.int32)
    area = Window.whole(grid.shape)
    for exposure, (y, x) in zip(exposures, offsets, strict=True):
        own = Window(y=y, x=x, shape=exposure.shape)
        common = own.common(area)
        if common is None:
            continue
        to, source = (common.rows, common.columns), common.within(own)
        masks = exposure.mask.renumbered(planes.bits).array[source]
        empty = ((bits[to] & no_data) != 0) & ((masks & no_data) == 0)
        image[to][empty] = exposure.image[source][empty]
        variance[to][empty] = exposure.variance[source][empty]
        bits[to][empty] = masks[empty]
    if not np.isfinite(image).any():
        raise NothingToDoError(f"no model gives a value to any pixel of {grid.name}.")
    first, (y, x) = exposures[0], offsets[0]
    return first.with_values(
        image=image,
        mask=Mask(bits, planes.bits),
        variance=variance,
        wcs=grid.wcs,
        psf=None if first.psf is None else first.psf.shifted(y, x),
        origin=grid.origin,
    )
