"""The parts of an exposure as numbers: pixels, planes, coordinates, PSF, backgrounds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.noise.estimate import sky_noise
from skytool.errors import SkytoolError
from skytool.models.background.hdus import background_from_hdus
from skytool.models.mask import PLANES
from skytool.models.psf.places import middle_star, stars_across
from skytool.models.sky.celestial import frame_of, has_tables
from skytool.models.sky.orientation import position_text, sky_orientation

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure
    from skytool.models.mask import Mask
    from skytool.models.photometry import PhotometricCalibration

_NOT_SKY = ("BAD", "SAT", "CR", "EDGE", "NO_DATA", "DETECTED", "DETECTED_NEGATIVE", "STREAK")


def describe_image(exposure: Exposure) -> dict[str, Any]:
    """Return level, noise and range of the pixels [unit of the image]."""
    values = exposure.image[np.isfinite(exposure.image)]
    described: dict[str, Any] = {"coverage": values.size / exposure.image.size}
    if values.size:
        noise = sky_noise(exposure.image, exposure.mask.any_of(_NOT_SKY))
        described |= {
            "median": float(np.median(values)),
            "min": float(values.min()),
            "max": float(values.max()),
            "sky": noise.typical_level,
            "sky_rms": noise.typical_rms,
        }
    return described


def describe_variance(exposure: Exposure) -> dict[str, Any]:
    """Return range of the variance, and the noise of the sky over what it says."""
    values = exposure.variance[np.isfinite(exposure.variance)]
    if not values.size:
        return {}
    bad = exposure.mask.any_of(_NOT_SKY)
    # with the sky level in it, a change of the variance from pixel to pixel would pass for noise
    above = exposure.image - sky_noise(exposure.image, bad).level_image()
    pull = np.where(np.isfinite(above), above / np.sqrt(exposure.variance), np.nan)
    noise = sky_noise(pull, bad)
    return {
        "median": float(np.median(values)),
        "min": float(values.min()),
        "max": float(values.max()),
        "sky_rms_over_predicted": noise.typical_rms,
    }


def describe_planes(mask: Mask) -> list[dict[str, Any]]:
    """Return bit, meaning and number of pixels of every plane, in the order of the bits."""
    return [
        {
            "name": name,
            "bit": bit,
            "pixels": (count := int(np.count_nonzero(mask.any_of([name])))),
            "share": count / mask.array.size,
            "meaning": PLANES[name].meaning if name in PLANES else "",
        }
        for name, bit in sorted(mask.bits.items(), key=lambda item: item[1])
    ]


def describe_calibration(calibration: PhotometricCalibration | None) -> dict[str, Any] | None:
    """Return what one unit of the image is."""
    if calibration is None:
        return None
    return {
        "nJy_per_unit": calibration.scale,
        "relative_error": calibration.scale_error / calibration.scale,
        "zero_point": calibration.zero_point,
        "varies": calibration.field is not None,
    }


def describe_wcs(wcs: WCS, shape: tuple[int, int], *, name: str) -> dict[str, Any]:
    """Return where an image is on the sky, its scale, orientation and distortion."""
    ny, nx = shape
    y, x = (ny - 1) / 2, (nx - 1) / 2
    frame = frame_of(wcs)
    system = frame.system or frame.longitude
    described: dict[str, Any] = {
        "projection": str(wcs.wcs.ctype[wcs.wcs.lng])[5:8],
        "frame": system if system == "ICRS" or math.isnan(frame.equinox) else _equinox(frame),
        "distortion": _distortion(wcs, shape),
    }
    try:
        here = sky_orientation(wcs, y=y, x=x, name=name)
    except SkytoolError as error:  # the middle is not on the sky: the rest is still of interest
        return {**described, "problem": str(error)}
    corners = []
    for at_y, at_x in ((0, 0), (0, nx - 1), (ny - 1, nx - 1), (ny - 1, 0)):
        try:
            corner = sky_orientation(wcs, y=at_y, x=at_x, name=name)
        except SkytoolError:
            continue
        corners.append((corner.ra, corner.dec, corner.pixel_scale))
    return {
        **described,
        "ra": here.ra,
        "dec": here.dec,
        "position": position_text(here.ra, here.dec),
        "pixel_scale": here.pixel_scale,
        "pixel_scale_range": _range([here.pixel_scale, *(scale for *_, scale in corners)]),
        "pixel_sides": [here.y_scale, here.x_scale],
        "position_angle": here.position_angle,
        "mirrored": here.is_mirrored,
        "size": [ny * here.y_scale, nx * here.x_scale],
        "corners": [[ra, dec] for ra, dec, _ in corners],
    }


def _equinox(frame: Any) -> str:
    return f"{frame.system} {frame.equinox:g}" if frame.system else str(frame.longitude)


def _range(values: list[float]) -> list[float]:
    return [min(values), max(values)]


def _distortion(wcs: WCS, shape: tuple[int, int]) -> dict[str, Any] | None:
    """Return the kind of distortion, and by how much it moves a pixel at most."""
    kinds = []
    if wcs.sip is not None:
        kinds.append(f"SIP of order {max(wcs.sip.a_order, wcs.sip.b_order)}")
    if has_tables(wcs):
        kinds.append("tables")
    terms = [number for axis, number, value in wcs.wcs.get_pv() if value and number > 3]
    if str(wcs.wcs.ctype[wcs.wcs.lng]).endswith("TPV") or (terms and not kinds):
        kinds.append("PV terms")
    if not kinds:
        return None
    described: dict[str, Any] = {"kind": " and ".join(kinds)}
    if wcs.sip is not None or has_tables(wcs):
        described["largest"] = _largest_shift(wcs, shape)
    return described


def _largest_shift(wcs: WCS, shape: tuple[int, int]) -> float:
    """Return by how much a distortion moves the edges and the middle of an image [pixel]."""
    ny, nx = shape
    y, x = (
        grid.ravel()
        for grid in np.meshgrid(np.linspace(0, ny - 1, 9), np.linspace(0, nx - 1, 9), indexing="ij")
    )
    moved_x, moved_y = wcs.pix2foc(x, y, 0)
    shift = np.hypot(moved_x - x, moved_y - y)
    return float(np.max(shift))


def describe_psf(exposure: Exposure) -> dict[str, Any]:
    """Return the kind and the widths of a PSF [pixel]."""
    psf = exposure.psf
    if psf is None:
        return {}
    described: dict[str, Any] = {"kind": type(psf).__name__, "shape": list(psf.shape)}
    for attribute in ("stamps", "inputs"):
        if hasattr(psf, attribute):
            described[attribute] = len(getattr(psf, attribute))
    try:
        middle = middle_star(psf, exposure.shape)
        stars = [middle, *(star for row in stars_across(psf, exposure.shape) for star in row)]
        widths = [psf.fwhm(y=star.y, x=star.x) for star in stars if star is not None]
        described["fwhm"] = widths[0]
        described["fwhm_range"] = _range(widths)
        described["adaptive_fwhm"] = psf.adaptive_fwhm(y=middle.y, x=middle.x)
    except SkytoolError as error:
        described["problem"] = str(error)
    return described


def describe_backgrounds(exposure: Exposure) -> list[dict[str, Any]]:
    """Return the layers of background that were applied, first applied first."""
    layers = [hdu for hdu in exposure.extensions if hdu.name.startswith("BKG")]
    if not any(hdu.name == "BKG" for hdu in layers):
        return []
    background = background_from_hdus(layers, name=exposure.name)
    described = []
    for layer in background.layers:
        surface: NDArray[np.float32] = layer.model.evaluate(exposure.shape)
        described.append(
            {
                "model": type(layer.model).__name__.removesuffix("Background"),
                "operation": layer.operation,
                "scale": layer.scale,
                "stage": layer.stage,
                "sky_file": layer.sky_file,
                "median": float(np.median(surface)),
                "range": [float(surface.min()), float(surface.max())],
            }
        )
    return described
