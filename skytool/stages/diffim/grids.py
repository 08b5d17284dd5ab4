"""Whether science image and template are on one grid of pixels."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from skytool.core.sphere import directions as spherical
from skytool.errors import IncompatibleError, NothingToDoError, SkytoolWarning
from skytool.models.observation.observation import check_single_filter, observation_from_header
from skytool.models.sky.celestial import frame_change, lon_lat

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure

_TOLERANCE = 0.01  # [pixel]
_BORDER = 20  # [pixel] of a resampled template around the science image


def grid_shift(science: Exposure, template: Exposure) -> tuple[int, int]:
    """Return the pixel ``(y, x)`` of the template that is the first one of the science image.

    Raises
    ------
    IncompatibleError
        If the pixels of the two are not the same places on the sky, or nothing tells.
    NothingToDoError
        If the template does not reach the science image.
    """
    if science.wcs is None or template.wcs is None:
        if science.shape != template.shape:
            raise IncompatibleError(
                f"{science.name} has {science.shape[1]} x {science.shape[0]} pixels, "
                f"{template.name} {template.shape[1]} x {template.shape[0]}, and without "
                "coordinates nothing tells how they lie."
            )
        which = science.name if science.wcs is None else template.name
        warnings.warn(
            f"{which} has no coordinates; the pixels of {science.name} and {template.name} are "
            "taken for the same places.",
            SkytoolWarning,
            stacklevel=2,
        )
        return 0, 0
    offsets = _offsets(science, template)
    shift = np.rint(np.median(offsets, axis=1))
    largest = float(np.max(np.hypot(*(offsets - shift[:, None]))))
    if not largest <= _TOLERANCE:
        raise IncompatibleError(
            f"{template.name} is not on the grid of {science.name}: the middles of its pixels are "
            f"up to {largest:.3g} pixels beside them.",
            hint=f"Run skytool warp {template.name} --like {science.name} -o TEMPLATE, "
            "or give --align.",
            offset=largest,
        )
    y, x = int(shift[0]), int(shift[1])
    ny, nx = science.shape
    if y >= template.shape[0] or x >= template.shape[1] or y + ny <= 0 or x + nx <= 0:
        raise NothingToDoError(f"{template.name} does not reach {science.name}.")
    return y, x


def _offsets(science: Exposure, template: Exposure) -> NDArray[np.float64]:
    """Return ``(y, x)`` of the template less that of the science image, at corners and middle."""
    assert science.wcs is not None  # noqa: S101  asked before
    assert template.wcs is not None  # noqa: S101
    ny, nx = science.shape
    y = np.array([0.0, 0.0, ny - 1.0, ny - 1.0, (ny - 1) / 2])
    x = np.array([0.0, nx - 1.0, 0.0, nx - 1.0, (nx - 1) / 2])
    longitude, latitude = lon_lat(science.wcs, y=y, x=x)
    change = frame_change(science.wcs, template.wcs)
    if change is not None:
        vectors = change(spherical.unit_vectors(longitude, latitude))
        longitude, latitude = spherical.longitude_latitude(vectors)
    found_y, found_x = pixel_positions(template.wcs, longitude=longitude, latitude=latitude)
    return np.stack([found_y - y, found_x - x])


def pixel_positions(
    wcs: WCS, *, longitude: NDArray[np.float64], latitude: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the pixels ``y, x`` of places on the sky, in the system of the WCS [deg]."""
    world = np.empty((2, longitude.size))
    world[wcs.wcs.lng], world[wcs.wcs.lat] = longitude, latitude
    x, y = wcs.all_world2pix(*world, 0, quiet=True)
    return y, x


def check_pair(science: Exposure, template: Exposure, *, on_one_grid: bool = True) -> None:
    """Refuse what `~skytool.stages.diffim.subtract` would refuse later, when a PSF was measured.

    Parameters
    ----------
    science, template : Exposure
        The exposures, with or without PSFs.
    on_one_grid : bool
        Whether their pixels have to be the same places on the sky.

    Raises
    ------
    IncompatibleError
        If they are of two filters, or not on one grid.
    NothingToDoError
        If the template does not reach the science image.
    """
    check_bands(science, template)
    if on_one_grid and science.wcs is not None and template.wcs is not None:
        grid_shift(science, template)


def aligned(template: Exposure, science: Exposure) -> Exposure:
    """Return a template on the grid of the science image: itself, or resampled.

    Parameters
    ----------
    template, science : Exposure
        Exposures with coordinates.

    Returns
    -------
    Exposure
        A resampled one reaches beyond the science image by half the largest kernel, and carries the
        correlation that resampling gives to noise.

    Raises
    ------
    IncompatibleError
        If an exposure has no coordinates.
    NothingToDoError
        If they do not overlap.
    """
    try:
        grid_shift(science, template)
    except IncompatibleError as error:
        if "offset" not in error.facts:
            raise
    else:
        return template
    from skytool.models.sky.geometry import TargetGrid
    from skytool.stages.warp import Detector, WarpConfig, warp_visit

    assert science.wcs is not None  # noqa: S101  their offset is known
    grid = TargetGrid(science.wcs, science.shape, science.origin, science.name).grown(_BORDER)
    warp = warp_visit([Detector(template)], grid, WarpConfig(units="input"))
    extensions: tuple[fits.ImageHDU, ...] = ()
    if warp.correlation is not None:
        extensions = (fits.ImageHDU(warp.correlation.correlation, name="NOISECORR"),)
    return warp.exposure.with_values(
        header=template.header, name=template.name, extensions=extensions
    )


def check_bands(science: Exposure, template: Exposure) -> None:
    """Refuse exposures of two filters.

    Raises
    ------
    IncompatibleError
        If both have a filter, and not the same.
    """
    check_single_filter(
        (each.name, observation_from_header(each.header)) for each in (science, template)
    )
