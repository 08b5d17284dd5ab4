"""Levels, smooth backgrounds and the pattern, fitted to the superpixels of many exposures."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.skyframe.checks import ExposureChecks, check_exposures
from skytool.core.skyframe.components import principal_components
from skytool.core.skyframe.model import (
    SkyCells,
    SkySolution,
    SolveRule,
    combined_pattern,
    solve_sky,
)
from skytool.core.statistics import Clip, Statistic
from skytool.errors import AlgorithmError, SkytoolWarning
from skytool.stages.skyframe.large_scale import FocalPlane, measured_cells, on_detector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from skytool.core.background.blocks import Blocks
    from skytool.core.skyframe.combine import Combined
    from skytool.core.skyframe.focal_plane_grid import Affine
    from skytool.stages.skyframe.config import BuildConfig
    from skytool.stages.skyframe.measure import Pixels
    from skytool.stages.skyframe.night import Night

    Floats = NDArray[np.float64]

_ROUNDS = 3
_LOST_IN_NOISE = 0.05  # of the noise of a pixel: a sky that low was subtracted


@dataclass(frozen=True, eq=False)
class SkyFit:
    """A fit to the exposures that are used.

    Parameters
    ----------
    visits : list of str
        The visits, in the order of the rows of all arrays.
    cells : dict of str to SkyCells
        Superpixels of every detector, less the further patterns.
    components : dict of str to ndarray of float64, shape (n, n_cells)
        Further patterns of every detector.
    strengths : ndarray of float64, shape (m, n)
        Of the further patterns in every visit, in units of its level.
    solution : SkySolution
        The fit; patterns in the order of ``cells``.
    checks : ExposureChecks
        How well the visits agree.
    rejected : dict of str to str
        Visits that are not used, and why.
    """

    visits: list[str]
    cells: dict[str, SkyCells]
    components: dict[str, Floats]
    strengths: Floats
    solution: SkySolution
    checks: ExposureChecks
    rejected: dict[str, str]

    def pattern(self, detector: str) -> Combined:
        """Return the pattern of a detector."""
        return self.solution.pattern[list(self.cells).index(detector)]

    def level(self, visit: str) -> float:
        """Return the level of a visit that is used [unit of image]."""
        return float(self.solution.level[self.visits.index(visit)])


def fit_sky(
    night: Night,
    pixels: Pixels,
    config: BuildConfig,
    places: Mapping[str, Affine] | None,
    left_out: Mapping[str, str],
) -> SkyFit:
    """Fit all exposures, and again without those that do not show the pattern of the others.

    Parameters
    ----------
    night : Night
        The exposures.
    pixels : dict
        Their superpixels.
    config : BuildConfig
        Settings.
    places : mapping of str to Affine, or None
        Where detectors lie on the focal plane.
    left_out : mapping of str to str
        Visits that are known to be of no use, and why.

    Raises
    ------
    AlgorithmError
        If too few exposures are usable.
    IncompatibleError
        If nothing tells where a detector lies.
    """
    shapes = {detector: night.shape(detector) for detector in night.detectors}
    smooth = config.large_scale.model == "cells" or _order(config) > 0
    plane = FocalPlane.of(shapes, places) if smooth else FocalPlane.apart(shapes)
    rejected = dict(left_out)
    visits = _usable_visits(night, pixels, config, rejected)
    while True:
        fit = _fitted(night, pixels, config, plane, visits, rejected)
        worst = _worst(fit.checks, config.max_deviation)
        if worst is None or len(visits) <= config.min_exposures:
            return fit
        slope = fit.checks.slope[worst]
        _reject(rejected, visits[worst], f"shows {slope:.2f} times the pattern of the others")
        visits = [visit for visit in visits if visit not in rejected]


def _order(config: BuildConfig) -> int:
    """Return the order of the smooth terms."""
    return config.large_scale.order if config.large_scale.model == "polynomial" else 0


def _reject(rejected: dict[str, str], visit: str, reason: str) -> None:
    warnings.warn(f"visit {visit} is left out: it {reason}.", SkytoolWarning, stacklevel=3)
    rejected[visit] = reason


def _worst(checks: ExposureChecks, limit: float) -> int | None:
    """Return the exposure that deviates most from the others; None if none does."""
    out = checks.outliers(limit) if limit > 0 else np.zeros(0, np.bool_)
    if not out.any():
        return None
    deviation = np.abs(checks.slope - 1) / np.maximum(checks.slope_error, 1e-12)
    return int(np.argmax(np.where(out, deviation, -1)))


def _usable_visits(
    night: Night, pixels: Pixels, config: BuildConfig, rejected: dict[str, str]
) -> list[str]:
    """Return the visits whose sky has a level."""
    usable = []
    for visit in night.visits:
        if visit in rejected:
            continue
        found = [each for (its, _), each in pixels.items() if its == visit]
        values = np.concatenate([each.value.ravel() for each in found])
        values = values[np.isfinite(values)]
        if not values.size:
            _reject(rejected, visit, "has no superpixel with data")
            continue
        level = float(np.median(values))
        noise = [each.noise for each in found if math.isfinite(each.noise)]
        if level > _LOST_IN_NOISE * float(np.median(noise or [0.0])):
            usable.append(visit)
        else:
            _reject(rejected, visit, f"has a sky level of {level:.4g}")
    _check_number(usable, config.min_exposures, rejected)
    return usable


def _check_number(usable: list[str], needed: int, rejected: Mapping[str, str]) -> None:
    if len(usable) >= max(needed, 1):
        return
    reasons = "; ".join(f"{visit} {reason}" for visit, reason in rejected.items())
    hint = "Give more, or lower --min-exposures."
    if any("sky level" in reason for reason in rejected.values()):
        hint = "The sky must be in the exposures, or stored with them as a background."
    raise AlgorithmError(
        f"a sky frame needs {max(needed, 1)} exposures and there {'is' if len(usable) == 1 else 'are'} "
        f"{len(usable)}{': ' + reasons if reasons else ''}.",
        hint=hint,
    )


def _fitted(
    night: Night,
    pixels: Pixels,
    config: BuildConfig,
    plane: FocalPlane,
    visits: list[str],
    rejected: dict[str, str],
) -> SkyFit:
    """Fit the model to some visits."""
    cells = {
        detector: _sky_cells(night, pixels, detector, visits, plane, _order(config))
        for detector in night.detectors
    }
    levels = None
    if config.large_scale.model == "cells":
        levels = _take_off_cells(night, pixels, config, plane, visits, cells)
    found, solution = list(cells.values()), _solution(list(cells.values()), levels, config, visits)
    parts = [np.empty((0, each.values.shape[1])) for each in found]
    strengths = np.empty((len(visits), 0))
    number = _number_of_components(config, visits)
    for _ in range(_ROUNDS if number else 0):
        # What varies is no outlier: it is taken off before exposures are combined again.
        parts, strengths = principal_components(list(cells.values()), solution, number)
        scaled = solution.level[:, None] * strengths
        found = [
            replace(each, values=each.values - scaled @ part)
            for each, part in zip(cells.values(), parts, strict=True)
        ]
        solution = _solution(found, levels, config, visits)
    return SkyFit(
        visits=visits,
        cells=dict(zip(cells, found, strict=True)),
        components=dict(zip(cells, parts, strict=True)),
        strengths=strengths,
        solution=solution,
        checks=check_exposures(found, solution),
        rejected=rejected,
    )


def _number_of_components(config: BuildConfig, visits: list[str]) -> int:
    """Return the number of patterns beside the first."""
    number = config.components - 1
    if number and number > len(visits) - 2:
        raise AlgorithmError(
            f"{len(visits)} exposures do not tell {number + 1} patterns.",
            hint="Give more exposures or fewer --components.",
        )
    return number


def _solution(
    cells: list[SkyCells], levels: Floats | None, config: BuildConfig, visits: list[str]
) -> SkySolution:
    """Fit pattern, levels and smooth terms, or the pattern alone where levels are known."""
    combine = config.combine
    rule = SolveRule(
        statistic=Statistic(combine.statistic),
        clip=Clip(combine.clip, combine.n_iter),
        by=combine.by,
        keep_common=config.keep_common,
    )
    if levels is not None:
        return combined_pattern(cells, levels, np.zeros((len(visits), 0)), rule)
    try:
        return solve_sky(cells, rule)
    except AlgorithmError as error:
        if "exposure" not in error.facts:
            raise
        visit = visits[int(error.facts["exposure"])]
        raise AlgorithmError(f"visit {visit}: {error.message}", hint=error.hint) from error


def _sky_cells(
    night: Night,
    pixels: Pixels,
    detector: str,
    visits: list[str],
    plane: FocalPlane,
    order: int,
) -> SkyCells:
    """Return the superpixels of a detector in some visits, a row for each."""
    cells = night.first(detector).blocks.cells
    blank = np.full(cells.areas.size, np.nan)
    found = [pixels.get((visit, detector)) for visit in visits]
    return SkyCells(
        values=np.array([blank if each is None else each.value.ravel() for each in found]),
        errors=np.array([blank if each is None else each.error.ravel() for each in found]),
        terms=plane.cell_terms(detector, order, cells),
        areas=cells.areas.ravel().astype(np.float64),
    )


def _take_off_cells(
    night: Night,
    pixels: Pixels,
    config: BuildConfig,
    plane: FocalPlane,
    visits: list[str],
    cells: Mapping[str, SkyCells],
) -> Floats:
    """Flatten superpixels by backgrounds in cells of the focal plane; return the levels."""
    levels = []
    for row, visit in enumerate(visits):
        seen = [detector for detector in cells if (visit, detector) in pixels]
        clean = _clean_blocks(night, pixels, visit, seen)
        grid = measured_cells(plane, clean, config.large_scale)
        level = grid.level()
        if not level > 0:
            raise AlgorithmError(f"visit {visit} has a sky level of {level:.4g}.")
        levels.append(level)
        for detector in seen:
            model = on_detector(grid, plane, detector, config.large_scale)
            smooth = model.evaluate(plane.shapes[detector]).astype(np.float64)
            means = _pixel_means(smooth, night.first(detector).blocks)
            cells[detector].values[row] += level - means.ravel()
    return np.array(levels)


def _clean_blocks(
    night: Night, pixels: Pixels, visit: str, detectors: Iterable[str]
) -> Iterable[tuple[str, Blocks, NDArray[np.bool_] | None]]:
    for detector in detectors:
        clean = pixels[visit, detector].blocks
        if clean is not None:
            yield detector, clean, night[visit, detector].kept_out


def _pixel_means(image: Floats, blocks: Blocks) -> Floats:
    """Average an image over the pixels of every cell, shape ``(n_y, n_x)``."""
    cells = blocks.cells
    rows = np.add.reduceat(image, cells.y_edges[:-1], axis=0)
    return np.asarray(np.add.reduceat(rows, cells.x_edges[:-1], axis=1) / cells.areas)
