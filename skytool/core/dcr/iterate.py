"""Subfilter images by steps with a gain, after Sullivan & Reiss (DMTN-037).

In each step every exposure is compared with what the subfilter images say it shows. The residuals
are moved back by the refraction of each subfilter and averaged; the images plus these are limited,
and mixed with those before.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.dcr.gain import convergence_metric, next_gain
from skytool.core.dcr.limits import average_steps, limit_colours, limit_step, noise_cutoff
from skytool.core.dcr.predict import predict_split
from skytool.core.dcr.shift import shifted
from skytool.errors import SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Flags = NDArray[np.bool_]
    Floats = NDArray[np.float64]

_FREQUENCY_BUFFER = 5
_NOISE_MARGIN = 3.0


@dataclass(frozen=True, kw_only=True)
class IterativeRule:
    """How steps are made; names are those of the LSST pipelines.

    Parameters
    ----------
    max_num_iter, min_num_iter : int or None
        Most and fewest steps; three times the number of subfilters and that number by default.
    convergence_threshold : float
        Relative change of the convergence below which it ends.
    use_convergence : bool
        Whether it ends before the most steps at all.
    base_gain : float or None
        Smallest gain; 1 / (number of subfilters - 1) by default.
    use_progressive_gain : bool
        Whether the gain may grow.
    do_airmass_weight : bool
        Whether residuals count by airmass.
    model_weights_width : float
        Width of the smoothing of the area of sources, outside of which subfilters stay alike
        [pixel].
    use_model_weights : bool
        Whether they do.
    split_subfilters : bool
        Whether a subfilter is the mean of two shifts.
    split_threshold : float
        Difference of the shifts from which on it is [pixel].
    regularize_model_iterations, regularize_model_frequency : float
        Largest ratio of an image to that before, and of subfilters; 0 is any.
    regularization_width : int
        Radius of the smallest area that is limited [pixel].
    image_interp_order : int
        Degree of the splines that shift images.
    accelerate_model : float
        Factor on the differences between subfilters.
    keep_best : bool
        Whether a diverged solution goes back to the best one.
    keep_negative : bool
        Whether negative values are limited by their own size.
    min_coverage : float
        Exposures that a pixel needs more than to be changed.
    """

    max_num_iter: int | None = None
    min_num_iter: int | None = None
    convergence_threshold: float = 0.001
    use_convergence: bool = True
    base_gain: float | None = None
    use_progressive_gain: bool = True
    do_airmass_weight: bool = False
    model_weights_width: float = 3.0
    use_model_weights: bool = True
    split_subfilters: bool = True
    split_threshold: float = 0.0
    regularize_model_iterations: float = 2.0
    regularize_model_frequency: float = 4.0
    regularization_width: int = 2
    image_interp_order: int = 3
    accelerate_model: float = 3.0
    keep_best: bool = True
    keep_negative: bool = True
    min_coverage: float = 1.0


@dataclass(frozen=True, eq=False, kw_only=True)
class SteppedExposure:
    """What an exposure shows of a piece of sky.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
        Pixels; zero where not usable.
    usable : ndarray of bool, shape (ny, nx)
        Which pixels count.
    sources : ndarray of bool, shape (ny, nx)
        Pixels of sources, which convergence is measured on.
    pairs : ndarray of float64, shape (n_subfilters, 2, 2)
        Shifts ``(dy, dx)`` of the two halves of every subfilter, which templates are made with
        [pixel].
    means : ndarray of float64, shape (n_subfilters, 2)
        Shifts of every subfilter as a whole, by which residuals are moved back [pixel].
    weight : float
        What its residuals count.
    """

    image: Image
    usable: Flags
    sources: Flags
    pairs: Floats
    means: Floats
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class SteppedSolution:
    """Result of `solve_by_steps`.

    Parameters
    ----------
    images : list of ndarray of float32, shape (ny, nx)
        Subfilters.
    metrics : list of float
        Convergence before the first step and after each.
    gains : list of float
        Gain of each step.
    counts : list of ndarray of float32, shape (ny, nx)
        Exposures at each pixel of each subfilter; zero where it was not changed.
    """

    images: list[Image]
    metrics: list[float]
    gains: list[float]
    counts: list[Image]


def model_weights(sources: Flags, width: float) -> Image:
    """Return how free the subfilters of each pixel are: 1 on sources, 0 far from them.

    Raises
    ------
    ValueError
        If the width is negative.
    """
    if width < 0:
        raise ValueError(f"weights cannot be smoothed by {width:g} pixels")
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(sources.astype(np.float32), width)
    largest = float(smooth.max())
    return np.asarray(smooth / np.float32(largest) if largest > 0.0 else smooth)


def solve_by_steps(
    exposures: Sequence[SteppedExposure],
    template: Image,
    quiet: Flags,
    freedom: Image,
    n_subfilters: int,
    rule: IterativeRule,
) -> SteppedSolution:
    """Solve for a piece of sky.

    Parameters
    ----------
    exposures : sequence of SteppedExposure
        The exposures.
    template : ndarray of float32, shape (ny, nx)
        The whole band to begin with.
    quiet : ndarray of bool, shape (ny, nx)
        Pixels of it without source and defect, for the noise.
    freedom : ndarray of float32, shape (ny, nx)
        `model_weights`.
    n_subfilters : int
        Number of subfilters.
    rule : IterativeRule
        How.

    Warns
    -----
    SkytoolWarning
        If it does not converge, or exposures have no pixel of a source.
    """
    return _Steps(exposures, template, quiet, freedom, n_subfilters, rule).run()


class _Steps:
    """A piece of sky while it is solved for."""

    def __init__(
        self,
        exposures: Sequence[SteppedExposure],
        template: Image,
        quiet: Flags,
        freedom: Image,
        n_subfilters: int,
        rule: IterativeRule,
    ) -> None:
        self.exposures, self.quiet, self.freedom, self.rule = exposures, quiet, freedom, rule
        self.part = template / np.float32(n_subfilters)
        self.images = [self.part.copy() for _ in range(n_subfilters)]
        largest = max(float(np.abs(entry.means).max()) for entry in exposures)
        self.buffer = math.ceil(largest) + 1
        self.counts, self.shares = self._coverage()

    def run(self) -> SteppedSolution:
        """Make steps until they change nothing."""
        rule, n = self.rule, len(self.images)
        most = 3 * n if rule.max_num_iter is None else rule.max_num_iter
        fewest = n if rule.min_num_iter is None else rule.min_num_iter
        base = rule.base_gain or 1.0 / max(n - 1, 1)
        metrics: list[float] = [self.metric()]
        gains: list[float] = []
        best = metrics[0], self.images
        change, number = math.inf, 0
        while change > rule.convergence_threshold or number <= fewest:
            gain = next_gain(metrics, gains, base_gain=base, progressive=rule.use_progressive_gain)
            self.images = self._step(gain)
            gains.append(gain)
            metrics.append(self.metric())
            if metrics[-1] < best[0] or number < fewest:
                best = metrics[-1], self.images
            if rule.use_convergence:
                if not metrics[-1]:
                    _warn("no exposure has a usable pixel of a source")
                    break
                change = (metrics[-2] - metrics[-1]) / metrics[-1]
                if change < 0.0 and number > fewest:
                    _warn(f"the solution diverged in step {number + 1}")
                    break
            if number > most:
                if rule.use_convergence:
                    _warn(f"the solution has not converged in {number + 1} steps")
                break
            number += 1
        if rule.keep_best:
            self.images = best[1]
        return SteppedSolution(self._amplified(self.images), metrics, gains, self.counts)

    def metric(self) -> float:
        """Return the mean convergence of all exposures."""
        reference = np.abs(self._mean(self.images))
        # the second subfilter where there is one, as it is the least extreme of three
        noise = self._noise(self.images[min(1, len(self.images) - 1)], self.buffer)
        significance = reference + _NOISE_MARGIN * noise
        if not significance.any():
            significance = np.ones_like(significance)
        found = []
        for entry in self.exposures:
            chosen = entry.usable & entry.sources
            template = self._template(entry)
            found.append(
                convergence_metric(entry.image[chosen], template[chosen], significance[chosen])
            )
        return float(np.mean(found))

    def _noise(self, image: Image, buffer: int) -> float:
        """Return the noise of a subfilter image away from sources and edges."""
        inside = np.zeros_like(self.quiet)
        ny, nx = inside.shape
        inside[buffer : ny - buffer, buffer : nx - buffer] = True
        return noise_cutoff(image, self.quiet & inside)

    def _coverage(self) -> tuple[list[Image], list[Image]]:
        """Return how many exposures each pixel of each subfilter has, and the inverse."""
        counts, shares = [], []
        for number in range(len(self.images)):
            total = np.zeros(self.part.shape, np.float32)
            for entry in self.exposures:
                usable = entry.usable.astype(np.float32) * np.float32(entry.weight)
                total += self._moved_back(usable, entry, number)
            counts.append(total)
        covered = np.all([count > self.rule.min_coverage for count in counts], axis=0)
        for count in counts:
            share = np.divide(1.0, count, out=np.zeros_like(count), where=covered)
            shares.append(share)
            count[~covered] = 0.0
        return counts, shares

    def _moved_back(self, image: Image, entry: SteppedExposure, number: int) -> Image:
        dy, dx = entry.means[number]
        return np.asarray(
            shifted(image, -float(dy), -float(dx), order=self.rule.image_interp_order)
        )

    def _amplified(self, images: Sequence[Image]) -> list[Image]:
        """Return images with their differences enlarged."""
        factor = np.float32(self.rule.accelerate_model)
        if factor == 1.0:
            return list(images)
        mean = self._mean(images)
        return [(image - mean) * factor + mean for image in images]

    @staticmethod
    def _mean(images: Sequence[Image]) -> Image:
        return np.asarray(np.mean(np.stack(images), axis=0, dtype=np.float64), dtype=np.float32)

    def _template(self, entry: SteppedExposure) -> Image:
        threshold = self.rule.split_threshold if self.rule.split_subfilters else math.inf
        return predict_split(
            self._amplified(self.images),
            entry.pairs,
            order=self.rule.image_interp_order,
            threshold=threshold,
        )

    def _step(self, gain: float) -> list[Image]:
        """Return the images after a step."""
        rule = self.rule
        gathered = [np.zeros_like(self.part) for _ in self.images]
        for entry in self.exposures:
            residual = np.where(entry.usable, entry.image - self._template(entry), 0.0)
            residual = residual.astype(np.float32) * np.float32(entry.weight)
            for number in range(len(gathered)):
                gathered[number] += self._moved_back(residual, entry, number)
        new = []
        for image, share, total in zip(self.images, self.shares, gathered, strict=True):
            moved = image + share * total
            if rule.regularize_model_iterations > 0:
                limit_step(
                    moved,
                    image,
                    rule.regularize_model_iterations,
                    width=rule.regularization_width,
                    keep_negative=rule.keep_negative,
                )
            new.append(moved)
        if rule.regularize_model_frequency > 0:
            limit_colours(
                new,
                self._mean(self.images),
                self._noise(new[0], _FREQUENCY_BUFFER),
                rule.regularize_model_frequency,
                width=rule.regularization_width,
            )
        average_steps(new, self.images, gain)
        if rule.use_model_weights:
            new = [image * self.freedom + self.part * (1 - self.freedom) for image in new]
        return new


def _warn(reason: str) -> None:
    warnings.warn(f"{reason}.", SkytoolWarning, stacklevel=2)
