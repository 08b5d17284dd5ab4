"""The PSF-matched warp of a visit, made detector by detector."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.convolve import convolve_planes
from skytool.core.matching.psf_match import automatic_kernel_size, match_to_model
from skytool.core.matching.psf_match_config import match_cells
from skytool.core.resampling.pixel_map import Window
from skytool.errors import AlgorithmError, IncompatibleError, SkytoolWarning
from skytool.models.psf.input import PsfInput
from skytool.models.psf.sampled import ConstantPsf
from skytool.models.sky.footprint import edge_pixels
from skytool.models.sky.pixelmap import source_positions
from skytool.stages.warp.diagnostics import complaint
from skytool.stages.warp.mosaic import Mosaic, Strip
from skytool.stages.warp.noise import noise_correlation, noise_images
from skytool.stages.warp.resampling import detector_map, detector_oversample, detector_resampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.matching.psf_match import PsfMatch
    from skytool.core.matching.spatial_kernel import SpatialKernel
    from skytool.core.noise.correlation import NoiseCorrelation
    from skytool.core.resampling.pixel_map import PixelMap
    from skytool.models.mask import Mask
    from skytool.models.psf.kinds import Psf
    from skytool.models.sky.geometry import TargetGrid
    from skytool.stages.warp.config import WarpConfig
    from skytool.stages.warp.matching_config import MatchingConfig
    from skytool.stages.warp.prepare import Prepared

_EDGE_POINTS = 8  # of a side of a detector, which may be curved on the target


@dataclass(frozen=True)
class MatchReport:
    """How a detector was matched to the model PSF; widths are those of adaptive moments.

    Parameters
    ----------
    good_pixels : int
        Pixels of the target to which it gives a matched value.
    fwhm_in, fwhm_model, fwhm_out : float
        Width of the PSF in the middle of the cells' range, of the model, and of what was reached
        [pixel].
    noise_gain : float
        Largest ``sum K^2`` of the cells: the factor on the variance of white noise.
    residual : float
        Largest ``sum (K * P - M)^2 / sum M^2`` of the cells.
    n_cells : int
        Positions at which the PSF was evaluated.
    kernel_size : int
        Side of the kernel [pixel].
    """

    good_pixels: int
    fwhm_in: float
    fwhm_model: float
    fwhm_out: float
    noise_gain: float
    residual: float
    n_cells: int
    kernel_size: int


@dataclass(eq=False)
class MatchedVisit:
    """A PSF-matched warp while detectors are added.

    Parameters
    ----------
    grid : TargetGrid
        The target.
    config : WarpConfig
        Settings of the resampling.
    matching : MatchingConfig
        Settings of the match.
    mosaic : Mosaic
        The pixels.
    reports : list of MatchReport or None
        How each detector was matched.
    correlations : list of (NoiseCorrelation, float)
        Noise of the matched detectors, with their pixels.
    """

    grid: TargetGrid
    config: WarpConfig
    matching: MatchingConfig
    mosaic: Mosaic
    reports: list[MatchReport | None] = field(default_factory=list)
    correlations: list[tuple[NoiseCorrelation, float]] = field(default_factory=list)
    _target: NDArray[np.float64] | None = None
    _failures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def margin(self) -> int:
        """How far beyond the target detectors are resampled [pixel]."""
        if self.matching.margin is not None:
            return self.matching.margin
        given = self.matching.match.kernel_size
        return (given or automatic_kernel_size(self.matching.model)) // 2

    def add(self, psf: Psf | None, prepared: Prepared, planes: Mask) -> None:
        """Resample a detector, match it and merge it.

        A detector on which the match fails is left out, with a warning in the end.

        Raises
        ------
        IncompatibleError
            If the detector has no PSF.
        """
        if psf is None:
            raise IncompatibleError(
                f"{prepared.name} has no PSF to match.",
                hint="Measure one with skytool psf, or give --psf.",
            )
        try:
            self.reports.append(self._matched(psf, prepared, planes))
        except (AlgorithmError, ValueError) as error:
            self._failures.append((prepared.name, str(error).rstrip(".")))
            self.reports.append(None)

    def psf(self) -> ConstantPsf:
        """Return the PSF of the warp: the model as the kernels could reach it.

        Raises
        ------
        AlgorithmError
            If no detector was matched, or the kernel left none of its pixels.
        """
        if self._target is None:
            first = ": ".join(self._failures[0]) if self._failures else "there is none"
            raise AlgorithmError(
                f"no exposure of the visit could be matched to the model PSF: {first}."
            )
        if not self.mosaic.n_image.any():
            size = max(report.kernel_size for report in self.reports if report is not None)
            raise AlgorithmError(
                f"no pixel of the visit is matched: none is {size // 2} pixels from the edges, as "
                f"a kernel of {size} pixels needs it.",
                hint="Give a smaller --kernel-size or --model-fwhm.",
            )
        for name, reason in self._failures:
            message = f"{name} is not matched: {reason}."
            warnings.warn(message, SkytoolWarning, stacklevel=2)
        return ConstantPsf(self._target)

    def _matched(self, psf: Psf, prepared: Prepared, planes: Mask) -> MatchReport:
        margin = self.margin
        grown = self.grid.grown(margin)
        pixel_map = detector_map(prepared, grown, self.config)
        window = _outline_window(prepared, grown).intersection(pixel_map.window)
        oversample = detector_oversample(self.config, pixel_map)
        stamps, y, x, domain = self._stamps(psf, prepared, pixel_map, window, oversample)
        match = match_to_model(
            stamps, self.matching.model, y=y, x=x, domain=domain, config=self.matching.match
        )
        noise = noise_images(prepared, self.config)
        resampler = detector_resampler(prepared, pixel_map, self.config, planes, oversample, noise)
        warped = resampler.part(window)
        no_data = int(planes.bitmask(["NO_DATA"]))
        convolved = convolve_planes(
            warped.image,
            match.kernel,
            variance=warped.variance,
            mask=warped.mask,
            edge_bits=no_data,
            spread_fraction=self.matching.mask_fraction,
        )
        assert convolved.variance is not None  # noqa: S101  they were given
        assert convolved.mask is not None  # noqa: S101
        correlation = noise_correlation(
            prepared, pixel_map, self.config, planes, oversample, kernel=match.kernel
        )
        variance = convolved.variance
        if correlation is not None and self.matching.correlated_variance:
            variance *= np.float32(correlation.variance)
        good = np.isfinite(convolved.image) & np.isfinite(variance)
        strip = Strip(
            y=window.y_start,
            x=window.x_start,
            image=convolved.image,
            variance=variance,
            mask=convolved.mask & ~np.int32(no_data),
            good=good & ((convolved.mask & np.int32(no_data)) == 0),
            noise=_convolved_noise(warped.extras, match.kernel) if noise else None,
        )
        bad = planes.bitmask(self.config.bad_planes)
        inside = strip.clipped(margin, self.grid.shape)
        good_pixels = self.mosaic.add(inside, bad=bad, overlap=self.config.overlap)
        if correlation is not None and good_pixels:
            self.correlations.append((correlation, good_pixels))
        if self._target is None:
            self._target = match.target
        trouble = complaint(match, self.matching) if good_pixels else None
        if trouble is not None:
            warnings.warn(f"{prepared.name}: {trouble}", SkytoolWarning, stacklevel=3)
        return _report(match, good_pixels)

    def _stamps(
        self,
        psf: Psf,
        prepared: Prepared,
        pixel_map: PixelMap,
        window: Window,
        oversample: int,
    ) -> tuple[
        NDArray[np.float64],
        NDArray[np.float64],
        NDArray[np.float64],
        tuple[float, float, float, float],
    ]:
        """Evaluate the PSF as it is after resampling, in the cells of the detector's window."""
        ny, nx = prepared.image.shape
        entry = PsfInput.of_detector(
            psf,
            pixel_map.positions,
            pixel_map.window,
            (ny, nx),
            (-0.5, ny - 0.5, -0.5, nx - 0.5),
            kernel=self.config.kernel,
            oversample=oversample,
            shift=self.config.psf_shift,
        )
        if entry is None:
            raise AlgorithmError("it does not reach the target.")
        y, x, domain = match_cells(
            window.shape, cell_y=self.matching.cell_y, cell_x=self.matching.cell_x
        )
        rows, columns = y + window.y_start, x + window.x_start
        shapes = [entry.warped_shape(y=r, x=c) for r, c in zip(rows, columns, strict=True)]
        side = max(max(shape) for shape in shapes)
        offsets = np.arange(side, dtype=np.float64) - side // 2
        stamps = [
            entry.star(y=math.floor(r + 0.5), x=math.floor(c + 0.5), rows=offsets, columns=offsets)
            for r, c in zip(rows, columns, strict=True)
        ]
        return np.array(stamps), y, x, domain


def _outline_window(prepared: Prepared, grid: TargetGrid) -> Window:
    """Return the box of target pixels around the outline of a detector."""
    y, x = edge_pixels(prepared.image.shape, _EDGE_POINTS)
    u, v = source_positions(prepared.wcs, grid.wcs, source_shape=grid.shape)(x, y)
    starts = [math.floor(np.nanmin(along) + 0.5) for along in (v, u)]
    stops = [math.ceil(np.nanmax(along) - 0.5) + 1 for along in (v, u)]
    return Window(starts[0], stops[0], starts[1], stops[1])


def _convolved_noise(images: NDArray[np.float32], kernel: SpatialKernel) -> NDArray[np.float32]:
    """Return realisations of noise after the match."""
    return np.array([convolve_planes(image, kernel).image for image in images])


def _report(match: PsfMatch, good_pixels: int) -> MatchReport:
    cells = match.cells
    return MatchReport(
        good_pixels=good_pixels,
        fwhm_in=float(np.nanmedian(cells.fwhm_in)),
        fwhm_model=match.target_fwhm,
        fwhm_out=float(np.nanmedian(cells.fwhm_out)),
        noise_gain=float(cells.noise_gain.max()),
        residual=float(cells.residual.max()),
        n_cells=cells.y.size,
        kernel_size=match.kernel.images.shape[-1],
    )
