"""Putting an exposure together from the planes that its source names."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.errors import SkytoolWarning
from skytool.io.dqmap import DqMap, any_flag_map
from skytool.io.filespec import FileSpec
from skytool.io.fits import data_sums, image_array, integer_array, opened, opened_parts
from skytool.io.skywcs import origin_of
from skytool.io.units import fits_unit
from skytool.io.variance import variance_of
from skytool.models.exposure import Exposure
from skytool.models.keywords import observation_cards
from skytool.models.mask import Mask
from skytool.models.pixels import agreeing_planes, flag_unexplained

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from astropy.io import fits
    from numpy.typing import NDArray

    from skytool.io.layouts.recipe import MaskPlan, PlaneRef
    from skytool.io.sources import ExposureSource
    from skytool.models.psf.kinds import Psf

_ASINH_SCALE = 1.0857362  # 2.5 log10(e), as Waters et al. 2020 (ApJS 251, 4) scale stacks


class _Files:
    """HDUs of the files of one exposure, each file opened once."""

    def __init__(self, stack: ExitStack, planes: Iterable[PlaneRef], *, verify: bool) -> None:
        self._hdus: dict[Path, dict[int, fits.ImageHDU]] = {}
        numbers: dict[Path, set[int]] = {}
        for plane in planes:
            numbers.setdefault(plane.path, set()).add(plane.number)
        for path, wanted in numbers.items():
            parts = opened_parts(FileSpec(path), wanted, verify=verify)
            self._hdus[path] = stack.enter_context(parts)

    def hdu(self, ref: PlaneRef) -> fits.ImageHDU:
        """Return the HDU of a plane."""
        return self._hdus[ref.path][ref.number]


class _Planes(NamedTuple):
    image: NDArray[np.float32]
    mask: Mask
    variance: NDArray[np.float32]


def assemble(source: ExposureSource, *, needs_variance: bool = True) -> Exposure:
    """Read the exposure of a source; see `~skytool.io.sources.ExposureSource.read`."""
    verify = source.options.verify
    with ExitStack() as stack:
        if not source.recipe.native:
            files = _Files(stack, source.recipe.planes, verify=verify)
            return _foreign(source, files, needs_variance=needs_variance)
        others = source.recipe.planes[1:]
        hdus = stack.enter_context(opened(FileSpec(source.path), verify=verify))
        return _native(source, hdus, _Files(stack, others, verify=verify))


def read_psf(source: ExposureSource) -> Psf | None:
    """Read the PSF of a source, without its pixels; None if it has none.

    Raises
    ------
    InputError
        If a file cannot be read, or the PSF is damaged.
    """
    verify, recipe = source.options.verify, source.recipe
    with ExitStack() as stack:
        psf = _psf(source, _Files(stack, recipe.psf, verify=verify))
        if psf is None and recipe.native:
            from skytool.models.psf.kinds import psf_from_hdus

            hdus = stack.enter_context(opened(FileSpec(source.path), verify=verify))
            if "PSF" in hdus:
                psf = psf_from_hdus(list(hdus), name=source.name)
    return psf


def datasums(planes: Iterable[PlaneRef], *, every: bool = False) -> list[str]:
    """Return the DATASUM of HDUs, from their bytes.

    Parameters
    ----------
    planes : iterable of PlaneRef
        The HDUs.
    every : bool
        All HDUs of the files that ``planes`` lie in, instead of those only.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    planes = list(planes)
    paths = dict.fromkeys(plane.path for plane in planes)
    if every:
        return [total for path in paths for total in data_sums(FileSpec(path))]
    sums: dict[tuple[Path, int], str] = {}
    for path in paths:
        numbers = sorted({plane.number for plane in planes if plane.path == path})
        found = data_sums(FileSpec(path), numbers)
        sums.update({(path, number): one for number, one in zip(numbers, found, strict=True)})
    return [sums[plane.path, plane.number] for plane in planes]


def _foreign(source: ExposureSource, files: _Files, *, needs_variance: bool) -> Exposure:
    from skytool.models.photometry import calibration_from_header

    recipe, header = source.recipe, source.header
    unit = fits_unit(header.get("BUNIT")) or recipe.unit
    planes = _planes(source, files, unit, needs_variance=needs_variance)
    return Exposure(
        image=planes.image,
        mask=planes.mask,
        variance=planes.variance,
        wcs=source.wcs(),
        unit=unit,
        calibration=calibration_from_header(
            header, unit=unit, name=source.name, flux_keyword=source.options.flux_keyword
        ),
        psf=_psf(source, files),
        header=observation_cards(header),
        origin=origin_of(header),
        name=source.name,
    )


def _native(source: ExposureSource, hdus: fits.HDUList, files: _Files) -> Exposure:
    """Read a file of skytool, with what the user gave in place of its own."""
    from skytool.models.exposure_hdus import from_hdus

    exposure = from_hdus(hdus, name=source.name)
    recipe, options = source.recipe, source.options
    mask, variance = exposure.mask, exposure.variance
    if recipe.mask.plane is not None:
        mask = _mask(source, files, exposure.shape)
    mask = _with_saturation(mask, exposure.image, source)
    if options.flux_keyword is not None:
        from skytool.models.photometry import calibration_from_header

        calibration = calibration_from_header(
            source.header, unit=exposure.unit, name=source.name, flux_keyword=options.flux_keyword
        )
        exposure = exposure.with_values(calibration=calibration)
    if recipe.variance.planes or options.noise_from_sky or options.gain is not None:
        variance = _variance(source, files, exposure.image, mask, exposure.unit)
    if mask is not exposure.mask or variance is not exposure.variance:
        image, mask, variance = agreeing_planes(exposure.image, mask, variance, name=source.name)
        exposure = exposure.with_values(image=image, mask=mask, variance=variance)
    psf = _psf(source, files)
    return exposure if psf is None else exposure.with_values(psf=psf)


def _planes(source: ExposureSource, files: _Files, unit: str, *, needs_variance: bool) -> _Planes:
    """Read image, mask and variance and make them agree."""
    image = _scaled_plane(source.recipe.image, source, files)
    mask = flag_unexplained(image, _mask(source, files, source.shape))
    mask = _with_saturation(mask, image, source)
    variance = _variance(source, files, image, mask, unit)
    unknown = source.recipe.variance.kind == "estimate" and np.isinf(variance).all()
    if not unknown or needs_variance:
        return _Planes(*agreeing_planes(image, mask, variance, name=source.name))
    known = np.ones_like(variance)  # so that pixels keep their values
    image, mask, _ = agreeing_planes(image, mask, known, name=source.name)
    return _Planes(image, mask, variance)


def _scaled_plane(ref: PlaneRef, source: ExposureSource, files: _Files) -> NDArray[np.float32]:
    """Read an image, and undo its scaling by a hyperbolic sine if it has one."""
    hdu = files.hdu(ref)
    header = hdu.header
    pixels = image_array(hdu, name=ref.name)
    if not source.recipe.asinh or "BSOFTEN" not in header or "BOFFSET" not in header:
        return pixels
    scaled = 2.0 * np.sinh(pixels.astype(np.float64) / _ASINH_SCALE)
    return (header["BOFFSET"] + header["BSOFTEN"] * scaled).astype(np.float32)


def _variance(
    source: ExposureSource,
    files: _Files,
    image: NDArray[np.float32],
    mask: Mask,
    unit: str,
) -> NDArray[np.float32]:
    plan = source.recipe.variance
    return variance_of(
        plan,
        [_scaled_plane(ref, source, files) for ref in plan.planes],
        image,
        mask,
        header=source.header,
        unit=unit,
        options=source.options,
        name=source.name,
    )


def _mask(source: ExposureSource, files: _Files, shape: tuple[int, int]) -> Mask:
    """Read the mask, whatever its values mean; an empty one where there is none."""
    plan, options = source.recipe.mask, source.options
    if plan.plane is None:
        return Mask.empty(shape)
    hdu = files.hdu(plan.plane)
    header = hdu.header
    pixels = integer_array(hdu, name=plan.plane.name)
    dq_map = options.dq_map or plan.dq_map
    if dq_map:
        return DqMap.load(dq_map).mask(pixels, header, name=plan.plane.name, band=plan.band)
    if any(key.startswith(("MP_", "MSKN")) for key in header):
        named = Mask.from_array(pixels, header, name=plan.plane.name)
        return Mask(named.array, _renamed(named, plan))
    if not plan.boolean:
        warnings.warn(
            f"{plan.plane.name}: what its values mean is not known, all but 0 are taken for bad; "
            "--dq-map says it.",
            SkytoolWarning,
            stacklevel=2,
        )
    return any_flag_map().mask(pixels, header, name=plan.plane.name)


def _renamed(mask: Mask, plan: MaskPlan) -> dict[str, int]:
    """Return the bits of a mask under our names; a name that is taken stays foreign."""
    return {
        name if plan.renames.get(name, name) in mask.bits else plan.renames.get(name, name): bit
        for name, bit in mask.bits.items()
    }


def _with_saturation(mask: Mask, image: NDArray[np.float32], source: ExposureSource) -> Mask:
    """Flag pixels from the saturation level on that the user gave."""
    level = source.options.number("saturate", source.header)
    if level is None:
        return mask
    return mask.with_flagged(image >= level, "SAT")


def _psf(source: ExposureSource, files: _Files) -> Psf | None:
    """Return the PSF of the file, or of the user."""
    width = source.options.number("fwhm", source.header)
    if width is not None:
        from skytool.models.psf.kinds import AnalyticPsf

        return AnalyticPsf.gaussian(width)
    if not source.recipe.psf:
        return None
    from skytool.models.psf.kinds import psf_from_hdus

    hdus = [files.hdu(ref) for ref in source.recipe.psf]
    return psf_from_hdus(hdus, name=source.recipe.psf[0].name)
