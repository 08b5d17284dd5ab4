"""Sky frames taken off the exposures of a visit, with one scale for all its detectors."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.skyframe.scale import ScaleSamples, ScaleSolution, solve_with_order
from skytool.errors import AlgorithmError, SkytoolWarning
from skytool.models.background.hdus import BackgroundLayer, BinnedBackground, ChebyshevBackground
from skytool.stages.skyframe.blocks import SkyBlocks, without_objects
from skytool.stages.skyframe.large_scale import FocalPlane, measured_cells, on_detector
from skytool.stages.skyframe.layers import STAGE
from skytool.stages.skyframe.samples import (
    BoxSamples,
    box_variance,
    measured_samples,
    model_blocks,
    scale_rule,
)
from skytool.stages.skyframe.smooth import SmoothTerms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from skytool.core.background.blocks import Blocks
    from skytool.core.background.chebyshev import ChebyshevModel
    from skytool.core.skyframe.focal_plane_grid import Affine
    from skytool.models.skyframe import SkyFrame
    from skytool.stages.skyframe.config import ApplyConfig

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ApplyInput:
    """A detector of a visit and its frame.

    Parameters
    ----------
    sky : SkyBlocks
        The exposure in blocks, divided into boxes (`~skytool.stages.skyframe.samples.sample_boxes`).
    frame : SkyFrame
        Its frame.
    file, datasum : str
        Where the frame comes from, for the record.
    in_build : bool
        Whether the exposure is one of those that the frame was made of: then its noise is in the
        frame as well.
    """

    sky: SkyBlocks
    frame: SkyFrame
    file: str = ""
    datasum: str = ""
    in_build: bool = False


@dataclass(frozen=True, eq=False)
class DetectorCorrection:
    """What is to be taken off a detector.

    Parameters
    ----------
    name, detector : str
        What it is.
    layers : tuple of BackgroundLayer
        In order.
    correlation_before, correlation_after : float
        Correlation of the averages over boxes with the pattern, without and with the correction;
        NaN where there is no pattern. The smooth background is taken off for both.
    rms_before, rms_after : float
        Standard deviation of these averages [unit of image]. Boxes that were rejected do not count.
    """

    name: str
    detector: str
    layers: tuple[BackgroundLayer, ...]
    correlation_before: float
    correlation_after: float
    rms_before: float
    rms_after: float


@dataclass(frozen=True, eq=False)
class VisitSolution:
    """The scale of a visit and what follows from it.

    Parameters
    ----------
    scale : float
        Scale of the sky frame [unit of image].
    scale_error : float
        Its standard error [unit of image].
    component_scales : tuple of float
        Scales of the further patterns [unit of image].
    n_samples, n_rejected : int
        Boxes that were used, and that were rejected.
    chi2 : float
        Mean square of their residuals in units of their errors.
    order : int
        Degree of the smooth background fitted with the scale; -1 if there was none.
    detectors : tuple of DetectorCorrection
        In the order of the inputs.
    """

    scale: float
    scale_error: float
    component_scales: tuple[float, ...]
    n_samples: int
    n_rejected: int
    chi2: float
    order: int
    detectors: tuple[DetectorCorrection, ...]


@dataclass(frozen=True, eq=False)
class _Working:
    """A detector while its visit is solved: ``removed`` is what is known of pattern and sky."""

    given: ApplyInput
    clean: Blocks
    models: list[BinnedBackground]
    sky: Floats
    removed: Floats
    before: BinnedBackground | None = None

    @property
    def detector(self) -> str:
        """Its detector."""
        return self.given.sky.detector


def solve_visit(
    inputs: Sequence[ApplyInput],
    config: ApplyConfig,
    *,
    places: Mapping[str, Affine] | None = None,
) -> VisitSolution:
    """Find the scale of sky frames in the detectors of one visit, and the backgrounds around it.

    Parameters
    ----------
    inputs : sequence of ApplyInput
        The detectors; the result does not depend on their order.
    config : ApplyConfig
        Settings.
    places : mapping of str to Affine, optional
        Where the detectors lie on the focal plane. Without it, several detectors get a constant
        each and no smooth background over all.

    Raises
    ------
    AlgorithmError
        If the samples do not give a scale, or a background has no data.
    """
    terms = _smooth_terms(inputs, places, config)
    working = [
        _started(each, config) for each in sorted(inputs, key=lambda each: each.sky.detector)
    ]
    if config.sky.same_pixels:  # a first fit, so that objects are not sought in the pattern
        working = _with_models(working, _solved(working, terms, config))
    if config.do_mask_objects:
        working = [_masked(each, config) for each in working]
    if config.bg_model1.model == "cells":
        working = _with_cells(working, terms.plane, config)
    fit = _solved(working, terms, config)
    if config.do_sky and not fit.solution.detected:
        warnings.warn(
            f"{working[0].given.sky.name}: the sky frame is not detected, its scale is "
            f"{fit.solution.scale[0]:.4g} +- {fit.solution.error:.2g}.",
            SkytoolWarning,
            stacklevel=2,
        )
    return _result(working, fit, config)


def _smooth_terms(
    inputs: Sequence[ApplyInput], places: Mapping[str, Affine] | None, config: ApplyConfig
) -> SmoothTerms:
    """Return the smooth terms that may be fitted.

    Raises
    ------
    AlgorithmError
        If cells over the focal plane are wanted and nothing tells how detectors lie.
    """
    shapes = {each.sky.detector: each.sky.shape for each in inputs}
    detectors = tuple(sorted(shapes))
    if len(shapes) == 1 or (places is not None and all(key in places for key in shapes)):
        return SmoothTerms.of(detectors, FocalPlane.of(shapes, places), config.sky)
    if config.bg_model1.model == "cells" or config.do_bg_model2:
        raise AlgorithmError(
            "nothing tells where the detectors lie on the focal plane.",
            hint="Give --focal-plane, or exposures with WCS or DETSEC.",
        )
    apart = replace(config.sky, background_order=0, pistons=True)
    return SmoothTerms.of(detectors, FocalPlane.apart(shapes), apart)


def _started(given: ApplyInput, config: ApplyConfig) -> _Working:
    blocks = given.sky.blocks
    models = given.frame.models(keep_averages=config.keep_averages)
    sky = np.stack([model_blocks(model, blocks) for model in models])
    if not config.do_sky:
        sky = np.zeros_like(sky)
    return _Working(given, blocks, models, sky, np.zeros(blocks.shape))


def _masked(each: _Working, config: ApplyConfig) -> _Working:
    """Return a detector without the objects found in it."""
    blocks = each.clean
    flat = without_objects(
        blocks.with_mean(blocks.mean - each.removed), config.objects, each.given.sky.variance
    )
    return replace(each, clean=replace(blocks, count=flat.count))


def _with_cells(working: list[_Working], plane: FocalPlane, config: ApplyConfig) -> list[_Working]:
    """Take backgrounds in cells of the focal plane off the detectors."""
    entries = [(w.given.sky.detector, w.clean, w.given.sky.kept_out) for w in working]
    grid = measured_cells(plane, entries, config.bg_model1)
    flat = []
    for each in working:
        model = on_detector(grid, plane, each.given.sky.detector, config.bg_model1)
        values = model_blocks(model, each.clean)
        clean = each.clean.with_mean(each.clean.mean - values)
        flat.append(replace(each, clean=clean, removed=each.removed - values, before=model))
    return flat


@dataclass(frozen=True, eq=False)
class _Fit:
    """Scales and smooth background of all detectors, and the samples of each.

    ``order`` is that of the background.
    """

    solution: ScaleSolution
    terms: SmoothTerms
    order: int
    boxes: Mapping[str, BoxSamples]

    def polynomial(self, detector: str) -> ChebyshevModel | None:
        """Return the smooth background of a detector, None if none was fitted."""
        if self.terms.highest < 0:
            return None
        return self.terms.polynomial(detector, self.solution.smooth, self.order)


def _solved(working: Sequence[_Working], terms: SmoothTerms, config: ApplyConfig) -> _Fit:
    """Measure samples of all detectors and solve for the scales."""
    boxes = {each.detector: _box_samples(each, config) for each in working}
    samples = _samples(boxes, terms)
    try:
        solution, order = solve_with_order(samples, terms.orders, scale_rule(config.sky))
    except AlgorithmError as error:
        names = ", ".join(each.given.sky.name for each in working[:3])
        more = " and others" if len(working) > 3 else ""
        raise AlgorithmError(f"{names}{more}: {error.message}", hint=error.hint) from error
    if not terms.chosen_by_samples:
        order = terms.highest
    return _Fit(solution, terms, order if terms.highest >= 0 else -1, boxes)


def _samples(boxes: Mapping[str, BoxSamples], terms: SmoothTerms) -> ScaleSamples:
    """Return the samples of all detectors in one row."""
    found = list(boxes.values())
    smooth = [terms.at(detector, y=box.y, x=box.x) for detector, box in boxes.items()]
    return ScaleSamples(
        image=np.concatenate([box.image for box in found]),
        sky=np.concatenate([box.sky for box in found]),
        error=np.concatenate([box.error for box in found]),
        sky_variance=np.concatenate([box.sky_variance for box in found]),
        smooth=np.concatenate(smooth),
    )


def _box_samples(each: _Working, config: ApplyConfig) -> BoxSamples:
    variance = box_variance(each.given.frame, each.clean.cells, keep_averages=config.keep_averages)
    if each.given.in_build:
        variance = np.zeros_like(variance)
    return measured_samples(each.clean, each.sky, each.removed, config.sky, variance)


def _with_models(working: Sequence[_Working], fit: _Fit) -> list[_Working]:
    """Return detectors with the model of a fit as what is known of them."""
    found = []
    for each in working:
        model = np.tensordot(fit.solution.scale, each.sky, 1)
        polynomial = fit.polynomial(each.detector)
        if polynomial is not None:
            grid = each.clean.grid
            model += polynomial.lattice(y=grid.y_centers, x=grid.x_centers)
        found.append(replace(each, removed=model))
    return found


def _result(working: Sequence[_Working], fit: _Fit, config: ApplyConfig) -> VisitSolution:
    """Return scales and layers."""
    solution = fit.solution
    layers = {each.detector: _layers(each, fit, config) for each in working}
    if config.do_bg_model2:
        known = _with_models(working, fit)
        entries = [
            (
                each.detector,
                each.clean.with_mean(each.clean.mean - each.removed),
                each.given.sky.kept_out,
            )
            for each in known
        ]
        grid = measured_cells(fit.terms.plane, entries, config.bg_model2)
        for each in working:
            model = on_detector(grid, fit.terms.plane, each.detector, config.bg_model2)
            layers[each.detector].append(BackgroundLayer(model, stage=STAGE))
    return VisitSolution(
        scale=float(solution.scale[0]),
        scale_error=solution.error,
        component_scales=tuple(solution.scale[1:].tolist()),
        n_samples=solution.n_used,
        n_rejected=solution.n_rejected,
        chi2=solution.chi2,
        order=fit.order,
        detectors=tuple(_corrections(working, fit, layers)),
    )


def _corrections(
    working: Sequence[_Working], fit: _Fit, layers: Mapping[str, Sequence[BackgroundLayer]]
) -> Iterator[DetectorCorrection]:
    """Compare the averages over boxes of every detector with its pattern, before and after."""
    solution, first = fit.solution, 0
    for each in working:
        box = fit.boxes[each.detector]
        used = solution.used[first : first + len(box.image)]
        after = solution.residual[first : first + len(box.image)]
        pattern = box.sky @ solution.scale
        yield DetectorCorrection(
            name=each.given.sky.name,
            detector=each.detector,
            layers=tuple(layers[each.detector]),
            correlation_before=_correlation((after + pattern)[used], box.sky[used, 0]),
            correlation_after=_correlation(after[used], box.sky[used, 0]),
            rms_before=_rms((after + pattern)[used]),
            rms_after=_rms(after[used]),
        )
        first += len(used)


def _layers(each: _Working, fit: _Fit, config: ApplyConfig) -> list[BackgroundLayer]:
    """Return what is taken off a detector: the first background, then patterns."""
    layers = []
    if not config.undo_bg_model1:
        if each.before is not None:
            layers.append(BackgroundLayer(each.before, stage=STAGE))
        polynomial = fit.polynomial(each.detector)
        if config.bg_model1.model == "polynomial" and polynomial is not None:
            layers.append(BackgroundLayer(ChebyshevBackground(polynomial), stage=STAGE))
    if not config.do_sky:
        return layers
    errors = np.sqrt(np.maximum(np.diag(fit.solution.covariance), 0.0))
    for number, model in enumerate(each.models):
        component = f"[SKYCOMP,{number}]" if number else ""
        layers.append(
            BackgroundLayer(
                model,
                scale=float(fit.solution.scale[number]),
                stage=STAGE,
                sky_file=f"{each.given.file or each.given.frame.name}{component}",
                sky_sum=each.given.datasum,
                scale_error=float(errors[number]),
            )
        )
    return layers


def _correlation(a: Floats, b: Floats) -> float:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def _rms(values: Floats) -> float:
    """Return the standard deviation; NaN of less than two values."""
    return float(np.std(values)) if len(values) > 1 else math.nan
