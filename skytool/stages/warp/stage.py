"""One visit resampled to a grid."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.errors import NothingToDoError, SkytoolError
from skytool.models.exposure import Exposure
from skytool.models.keywords import common_cards
from skytool.models.mask import Mask
from skytool.models.photometry import PhotometricCalibration, calibration_from_header
from skytool.models.psf.statistics import PSF_CARDS
from skytool.models.sky.celestial import ARCSEC, pixel_scale
from skytool.stages.warp.mosaic import Mosaic
from skytool.stages.warp.prepare import prepare, unit_of_visit
from skytool.stages.warp.psf import PsfGatherer
from skytool.stages.warp.resampling import warp_detector
from skytool.stages.warp.rescale import rescaled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astropy.io import fits
    from numpy.typing import NDArray

    from skytool.core.noise.correlation import NoiseCorrelation
    from skytool.models.background.hdus import Background
    from skytool.models.psf.kinds import Psf
    from skytool.models.sky.geometry import TargetGrid
    from skytool.stages.warp.config import WarpConfig
    from skytool.stages.warp.matching import MatchedVisit, MatchReport
    from skytool.stages.warp.matching_config import MatchingConfig
    from skytool.stages.warp.mosaic import Allocate
    from skytool.stages.warp.prepare import FluxUnit

_PIXEL_AREAS = ("PIXAR_SR", "PIXAR_A2")
_MOST_NAMES = 3


class Detector(NamedTuple):
    """One detector of a visit, with the models to add and to subtract before it is resampled.

    Both models count as multiplied by ``flat_ratio``, if there is one.
    """

    exposure: Exposure
    background: Background | None = None
    sky: Background | None = None
    flat_ratio: Background | None = None


@dataclass(frozen=True)
class DetectorReport:
    """What became of a detector.

    Parameters
    ----------
    name : str
        Name of the exposure.
    good_pixels : int
        Pixels of the target to which it gives a value, also those that another detector gives.
    scale : float
        Factor from its unit to that of the warp.
    zero_point : float
        AB magnitude of one unit of the input; NaN if it is not calibrated.
    sky_added, sky_subtracted : float
        Median of the models added and subtracted [unit of the input].
    filled : float
        Share of its pixels that had no usable value.
    area : float
        Mean area of a target pixel [pixel of the detector].
    oversample : int
        Samples per target pixel and axis.
    wcs_step : float
        Spacing of the exact positions [pixel]; 0 if all are.
    wcs_error : float
        Largest error found of an interpolated position [pixel].
    """

    name: str
    good_pixels: int
    scale: float
    zero_point: float
    sky_added: float
    sky_subtracted: float
    filled: float
    area: float
    oversample: int
    wcs_step: float
    wcs_error: float


@dataclass(frozen=True, eq=False)
class WarpResult:
    """A visit on the target grid.

    Parameters
    ----------
    exposure : Exposure
        The warp, with the cards that all detectors have in common, and a PSF if all have one.
    n_image : ndarray of int16, shape (ny, nx)
        Detectors that have a value at each pixel.
    masked_fraction : ndarray of float32, shape (ny, nx), or None
        Part of each pixel that comes from unusable pixels.
    detectors : tuple of DetectorReport
        One for each detector, in order.
    matches : tuple of MatchReport or None
        Of a PSF-matched warp, how each detector was matched; None for one that was not.
    noise : ndarray of float32, shape (n, ny, nx), or None
        Realisations of the noise, as many as the settings ask for.
    correlation : NoiseCorrelation or None
        Correlation that resampling gives to the noise, the mean over the detectors.
    variance_scale : float or None
        Factor by which the variance was multiplied; None if it was left as it is.
    """

    exposure: Exposure
    n_image: NDArray[np.int16]
    masked_fraction: NDArray[np.float32] | None
    detectors: tuple[DetectorReport, ...]
    matches: tuple[MatchReport | None, ...] = ()
    noise: NDArray[np.float32] | None = None
    correlation: NoiseCorrelation | None = None
    variance_scale: float | None = None

    @property
    def good_pixels(self) -> int:
        """Sum over the detectors: a pixel that two of them see counts twice."""
        return sum(report.good_pixels for report in self.detectors)

    @property
    def used_detectors(self) -> int:
        """Detectors that give a value to any pixel."""
        return sum(report.good_pixels > 0 for report in self.detectors)

    @cached_property
    def covered_pixels(self) -> int:
        """Pixels with a value."""
        return int(np.count_nonzero(self.n_image))

    @cached_property
    def overlap_pixels(self) -> int:
        """Pixels of which more than one detector has a value."""
        return int(np.count_nonzero(self.n_image > 1))


class VisitWarps(NamedTuple):
    """The warps of a visit: as it is, and with its PSF matched to the model, if that was wanted.

    A match that failed on every detector leaves an error instead of a warp.
    """

    direct: WarpResult
    matched: WarpResult | SkytoolError | None = None


def warp_visit(detectors: Iterable[Detector], grid: TargetGrid, config: WarpConfig) -> WarpResult:
    """Resample the detectors of a visit to one grid and merge them; see `warp_and_match_visit`."""
    return warp_and_match_visit(detectors, grid, config).direct


def warp_and_match_visit(
    detectors: Iterable[Detector],
    grid: TargetGrid,
    config: WarpConfig,
    matching: MatchingConfig | None = None,
    allocate: Allocate = np.empty,
) -> VisitWarps:
    """Resample the detectors of a visit to one grid and merge them.

    Parameters
    ----------
    detectors : iterable of Detector
        In the order in which overlaps are resolved. Each is asked for when the one before is done,
        so that only one needs to be in memory.
    grid : TargetGrid
        The target.
    config : WarpConfig
        Settings.
    matching : MatchingConfig, optional
        Settings of the PSF-matched warp; None makes none.
    allocate : callable, optional
        Makes the planes of the warps from a shape and a type; by default in memory.

    Raises
    ------
    IncompatibleError
        If a detector has no WCS, units do not fit together, a mask plane is unknown, or a PSF to
        match is missing.
    NothingToDoError
        If no detector gives a value to any pixel, unless the settings ask for empty warps.
    """
    visit: _Visit | None = None
    reports = []
    for exposure, background, sky, flat_ratio in detectors:
        if visit is None:
            visit = _Visit.beginning(exposure, grid, config, matching, allocate)
        visit.planes = visit.planes.with_planes(exposure.mask.bits)
        visit.header = common_cards([visit.header, exposure.header])
        prepared = prepare(
            exposure,
            config,
            visit.unit,
            visit.planes,
            background=background,
            sky=sky,
            flat_ratio=flat_ratio,
        )
        calibration, name, psf = exposure.calibration, exposure.name, exposure.psf
        del exposure  # its pixels are not needed while those of the warp are made
        warped = warp_detector(prepared, grid, config, visit.planes, visit.mosaic)
        visit.psfs.add(psf, prepared, warped)
        if warped.correlation is not None and warped.good_pixels:
            visit.correlations.append((warped.correlation, warped.good_pixels))
        if visit.matched is not None:
            visit.matched.add(psf, prepared, visit.planes)
        reports.append(
            DetectorReport(
                name=name,
                good_pixels=warped.good_pixels,
                scale=prepared.scale,
                zero_point=calibration.zero_point if calibration else float("nan"),
                sky_added=prepared.sky_added,
                sky_subtracted=prepared.sky_subtracted,
                filled=prepared.filled,
                area=warped.area,
                oversample=warped.oversample,
                wcs_step=warped.wcs_step,
                wcs_error=warped.wcs_error,
            )
        )
        del prepared, warped  # before the next detector is read
    empty = not any(report.good_pixels for report in reports)
    if visit is None or (empty and not config.write_empty):
        raise _nothing(reports, grid)
    return visit.result(grid, tuple(reports))


@dataclass(eq=False)
class _Visit:
    """A warp while its detectors are added.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Cards that all detectors have in common.
    unit : FluxUnit
        Unit of the warp.
    planes : Mask
        A mask of one pixel with the planes of all detectors.
    mosaic : Mosaic
        The pixels.
    psfs : PsfGatherer
        PSFs of the detectors.
    matched : MatchedVisit or None
        The PSF-matched warp.
    scale_variance : bool
        Whether variances become those of the scatter of the sky.
    correlations : list of (NoiseCorrelation, float)
        Noise of the detectors, with their pixels.
    """

    header: fits.Header
    unit: FluxUnit
    planes: Mask
    mosaic: Mosaic
    psfs: PsfGatherer
    matched: MatchedVisit | None
    scale_variance: bool
    correlations: list[tuple[NoiseCorrelation, float]] = field(default_factory=list)

    @classmethod
    def beginning(
        cls,
        first: Exposure,
        grid: TargetGrid,
        config: WarpConfig,
        matching: MatchingConfig | None,
        allocate: Allocate,
    ) -> _Visit:
        """Return an empty warp in the unit of its first detector, or that of the settings."""
        planes = Mask.empty((1, 1))
        no_data = planes.bitmask(["NO_DATA"])
        mosaic = Mosaic.empty(
            grid.shape,
            no_data=no_data,
            with_fraction=config.masked_fraction,
            n_noise=config.noise,
            allocate=allocate,
        )
        unit = unit_of_visit(config, first)
        matched = None
        if matching is not None:
            from skytool.stages.warp.matching import MatchedVisit

            pixels = Mosaic.empty(
                grid.shape,
                no_data=no_data,
                with_fraction=False,
                n_noise=config.noise,
                allocate=allocate,
            )
            matched = MatchedVisit(grid, config, matching, pixels)
        psfs = PsfGatherer(config)
        return cls(first.header, unit, planes, mosaic, psfs, matched, config.scale_variance)

    def result(self, grid: TargetGrid, reports: tuple[DetectorReport, ...]) -> VisitWarps:
        """Return the warps."""
        exposure = self._exposure(grid, self.mosaic, self.psfs.result(grid.shape))
        direct = WarpResult(
            exposure,
            self.mosaic.n_image,
            self.mosaic.fraction,
            reports,
            noise=self.mosaic.noise,
            correlation=_mean(self.correlations),
        )
        if self.scale_variance:
            direct = rescaled(direct)
        if self.matched is None:
            return VisitWarps(direct)
        try:
            psf = self.matched.psf()
        except SkytoolError as error:
            return VisitWarps(direct, error)
        pixels, matches = self.matched.mosaic, tuple(self.matched.reports)
        counted = tuple(
            replace(report, good_pixels=0 if match is None else match.good_pixels)
            for report, match in zip(reports, matches, strict=True)
        )
        exposure = self._exposure(grid, pixels, psf)
        result = WarpResult(
            exposure,
            pixels.n_image,
            None,
            counted,
            matches,
            noise=pixels.noise,
            correlation=_mean(self.matched.correlations),
        )
        return VisitWarps(direct, rescaled(result) if self.scale_variance else result)

    def _exposure(self, grid: TargetGrid, pixels: Mosaic, psf: Psf | None) -> Exposure:
        header, calibration = self.header.copy(), None
        for key in PSF_CARDS:
            header.remove(key, ignore_missing=True)
        if self.unit.zero_point is not None:
            calibration = PhotometricCalibration.from_zero_point(self.unit.zero_point)
        if self.unit.per_area or any(key in header for key in _PIXEL_AREAS):
            header = _with_pixel_area(header, grid)
        if self.unit.per_area:
            calibration = calibration_from_header(header, unit=self.unit.name, name=grid.name)
        return Exposure(
            image=pixels.image,
            mask=Mask(pixels.mask, self.planes.bits),
            variance=pixels.variance,
            wcs=grid.wcs,
            unit=self.unit.name,
            calibration=calibration,
            psf=psf,
            header=header,
            origin=grid.origin,
            name=grid.name,
        )


def _nothing(reports: list[DetectorReport], grid: TargetGrid) -> NothingToDoError:
    """Return what to say of a warp without any value."""
    names = ", ".join(report.name for report in reports[:_MOST_NAMES]) or "no exposure"
    if len(reports) > _MOST_NAMES:
        names += f" and {len(reports) - _MOST_NAMES} more"
    if reports and all(report.filled == 1.0 for report in reports):
        have = "has" if len(reports) == 1 else "have"
        return NothingToDoError(f"{names} {have} no usable pixel.")
    give = "gives" if len(reports) <= 1 else "give"
    return NothingToDoError(f"{names} {give} no value to any pixel of {grid.name}.")


def _mean(parts: list[tuple[NoiseCorrelation, float]]) -> NoiseCorrelation | None:
    """Return the mean correlation; None if none could be measured."""
    from skytool.core.noise.correlation import mean_correlation

    return mean_correlation(parts) if parts else None


def _with_pixel_area(header: fits.Header, grid: TargetGrid) -> fits.Header:
    """Return a header with the area of a pixel of the grid in place of that of a detector."""
    y, x = ((size - 1) / 2 for size in grid.shape)
    area = (pixel_scale(grid.wcs, y=y, x=x, name=grid.name) * ARCSEC) ** 2
    header = header.copy()
    for key in _PIXEL_AREAS:
        header.remove(key, ignore_missing=True)
    header["PIXAR_SR"] = (area, "[sr] area of a pixel")
    return header
