"""Templates from a DCR model, with mask and variance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.models.dcr.model import shift_pairs
from skytool.models.exposure import Exposure, Origin
from skytool.models.mask import Mask

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytool.core.windows import Window
    from skytool.models.dcr.model import DcrModel
    from skytool.models.dcr.refraction_shifts import SubfilterShifts


def matched_exposure(
    model: DcrModel, shifts: SubfilterShifts | ArrayLike, box: Window, *, order: int | None
) -> Exposure:
    """Return the sky as an exposure shows it, with mask and variance.

    Parameters
    ----------
    model : DcrModel
        The model, which is not changed.
    shifts : SubfilterShifts or array_like of float, shape (n_subfilters, 2, 2)
        Where the exposure shows the subfilters.
    box : Window
        Pixels of the model, in the parent frame.
    order : int or None
        As for `~skytool.models.dcr.model.DcrModel.build_matched_template`.
    """
    image = model.build_matched_template(bbox=box, order=order, shifts=shifts)
    mask, variance = moved_planes(model, shift_pairs(shifts), box)
    local = box.moved(y=model.origin.y, x=model.origin.x)
    wcs = model.wcs
    if wcs is not None and (local.y or local.x):
        wcs = wcs.deepcopy()
        wcs.wcs.crpix = wcs.wcs.crpix - (local.x, local.y)
    return Exposure(
        image=image,
        mask=mask,
        variance=variance,
        wcs=wcs,
        unit=model.unit,
        calibration=model.calibration,
        psf=None if model.psf is None else model.psf.shifted(-local.y, -local.x),
        header=model.header,
        origin=Origin(box.y, box.x),
        name=model.name,
    )


def moved_planes(
    model: DcrModel, shifts: NDArray[np.float64], box: Window
) -> tuple[Mask, NDArray[np.float32]]:
    """Return mask and variance of a template.

    Parameters
    ----------
    model : DcrModel
        The model, whose planes are not changed.
    shifts : ndarray of float64, shape (n_subfilters, 2, 2)
        ``(dy, dx)`` of both halves of every subfilter [pixel].
    box : Window
        Pixels of the template, in the parent frame.

    Returns
    -------
    mask : Mask
        Planes that any subfilter brings to a pixel, by shifts in whole pixels.
    variance : ndarray of float32, shape (ny, nx)
        That of the whole band: the sum of those of all subfilters, each at its place, taken as
        independent and alike. They are neither, in a way that cancels.
    """
    means = shifts.mean(axis=1)
    bits = np.zeros(box.shape, np.int32)
    variance = np.zeros(box.shape, np.float32)
    steps = np.rint(means).astype(int)
    for dy, dx in steps:
        rows = _clipped(box.y - model.origin.y - dy, box.shape[0], model.shape[0])
        columns = _clipped(box.x - model.origin.x - dx, box.shape[1], model.shape[1])
        place = np.ix_(rows, columns)
        bits |= model.mask.array[place]
        variance += model.variance[place]
    return Mask(bits, model.mask.bits), variance


def _clipped(first: int, count: int, length: int) -> NDArray[np.int64]:
    """Return positions from ``first`` on, of which those beyond an edge repeat the edge."""
    return np.clip(np.arange(first, first + count), 0, length - 1)
