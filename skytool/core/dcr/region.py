"""The direct solution for a piece of sky: system, outliers, errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.dcr.basis import BandBasis, transfers
from skytool.core.dcr.errors import SAMPLES, noise_table, spread_levels
from skytool.core.dcr.lsq import DcrSystem
from skytool.core.dcr.prior import ColourPrior, FluxPrior, sharpeners
from skytool.core.dcr.region_records import RegionExposure, RegionSolution
from skytool.core.dcr.shift import padded_shape
from skytool.core.dcr.stamps import broadening, sharpest_stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Floats = NDArray[np.float64]

_TINY_PRECISION = 1e-4
"""Precision of flux without a PSF, relative to that of the data: it keeps the system regular."""


@dataclass(frozen=True, kw_only=True)
class LsqRule:
    """How the system is made and solved.

    Parameters
    ----------
    prior : ColourPrior
        Colours to expect.
    flux_prior : FluxPrior
        Flux to expect.
    accuracy : float
        Distance to the solution at which to stop [standard deviation a pixel].
    max_iterations : int
        Steps of the solver at most, each time.
    robust_sigma : float
        Deviation from which on the weight of a pixel falls, with its square [sigma]; 0 is never.
    robust_amplitude : float
        Part of its brightness by which a pixel may deviate beyond that.
    robust_rounds : int
        How often weights are made anew at most.
    psf_aware : bool
        Whether the sky is that of the sharpest PSF, and every exposure shows it with its own.
    """

    prior: ColourPrior = field(default_factory=ColourPrior)
    flux_prior: FluxPrior = field(default_factory=FluxPrior)
    accuracy: float = 0.02
    max_iterations: int = 200
    robust_sigma: float = 5.0
    robust_amplitude: float = 0.1
    robust_rounds: int = 3
    psf_aware: bool = False


_FIRST_ACCURACY = 3.0
"""Distance to a first solution at which to stop, relative to that of the last."""

_NOISE_ACCURACY = 0.02
"""Distance to the solution of noise at which to stop [standard deviation a pixel]."""

_SMEARED = 2.0  # pixel, by which brightness is smoothed that refraction has smeared

_FULL = 0.9  # of the weight of all exposures

_BRIGHT = 5.0  # sigma of the mean, of pixels that misfits are taken from


def solve_region(
    exposures: Sequence[RegionExposure],
    mean: Image,
    basis: BandBasis,
    rule: LsqRule,
    *,
    core: tuple[slice, slice],
    start: Image | None = None,
) -> RegionSolution:
    """Solve for a piece of sky.

    Parameters
    ----------
    exposures : sequence of RegionExposure
        The exposures, with at least one usable pixel among them.
    mean : ndarray of float32, shape (ny, nx)
        Their plain mean.
    basis : BandBasis
        Spectra.
    rule : LsqRule
        How.
    core : (slice, slice)
        Rows and columns that are wanted; what is around them helps to know them.
    start : ndarray of float32, shape (ny, nx), optional
        Finite image of the whole band to begin with, by default the mean. The nearer, the fewer
        steps; the solution is the same within the accuracy of the rule.
    """
    region = _Region(exposures, mean, basis, rule)
    shown, errors = region.solve(mean if start is None else start)
    return region.result(shown, errors, core)


class _Region:
    """A piece of sky while it is solved for."""

    def __init__(
        self,
        exposures: Sequence[RegionExposure],
        mean: Image,
        basis: BandBasis,
        rule: LsqRule,
    ) -> None:
        self.exposures, self.mean, self.basis, self.rule = exposures, mean, basis, rule
        self.plain = mean
        self.total = sum(entry.weight for entry in exposures)
        dy = np.array([entry.dy for entry in exposures])
        dx = np.array([entry.dx for entry in exposures])
        self.padded = padded_shape((mean.shape[0], mean.shape[1]), dy, dx)
        self.weights = [
            np.where(entry.usable, np.float32(entry.weight), np.float32(0.0)) for entry in exposures
        ]

    def solve(self, start: Image) -> tuple[list[Image], list[list[float]]]:
        """Solve, weigh down outliers, and solve again; return what exposures would show.

        What is expected of the sky follows from the mean of the exposures at first, and from the
        solution before each further one.
        """
        ny, nx = self.mean.shape
        images = [self._padded(entry.image) for entry in self.exposures]
        moves = self._transfers(self.padded)
        self._expect(self._padded(self.mean), smoothing=_SMEARED)
        system = self._system(images, moves)
        unknowns = system.start(self._padded(start))
        accuracy = _FIRST_ACCURACY * self.rule.accuracy
        errors: list[list[float]] = []
        while True:
            solution = system.solve(
                unknowns, accuracy=accuracy, max_iterations=self.rule.max_iterations
            )
            errors.append(solution.errors)
            shown = [image[:ny, :nx] for image in system.predicted(solution.unknowns)]
            changed = len(errors) <= self.rule.robust_rounds and self._reweigh(shown)
            if len(errors) > 1 and not changed:
                break
            before = self.brightness
            self._expect(solution.unknowns[0])
            unknowns = solution.unknowns
            unknowns[1:] *= np.minimum(before / self.brightness, _MOST_GAIN)
            system = self._system(images, moves)
            accuracy = self.rule.accuracy
        self.coefficients = system.coefficients(solution.unknowns)[:, :ny, :nx]
        self.noise = self._noise(system)
        return shown, errors

    def _noise(self, system: DcrSystem) -> Image:
        """Return the coefficients that follow from noise alone, always the same."""
        rng = np.random.default_rng(0)
        images = [
            self._padded(
                np.sqrt(entry.variance) * rng.standard_normal(entry.image.shape, np.float32)
            )
            for entry in self.exposures
        ]
        solution = system.solve(
            np.zeros((self.basis.n_terms, *self.padded), np.float32),
            accuracy=_NOISE_ACCURACY,
            max_iterations=self.rule.max_iterations,
            images=images,
        )
        ny, nx = self.mean.shape
        return system.coefficients(solution.unknowns)[:, :ny, :nx]

    def _expect(self, flux: Image, *, smoothing: float = 0.0) -> None:
        """Expect a sky that is as bright as one that is known."""
        noise = self.total**-0.5
        self.brightness = self.rule.prior.brightness(flux, noise, smoothing=smoothing)
        stamp = self._stamp()
        if stamp is None:
            self.spread = np.full_like(flux, (_TINY_PRECISION * self.total) ** -0.5)
            return
        _, quiet = sharpeners(stamp, self.padded)
        self.spread = self.rule.flux_prior.spread(flux, quiet, noise)

    def _system(self, images: Sequence[Image], moves: Sequence[NDArray[np.complex64]]) -> DcrSystem:
        """Return the system with the weights and the expectations in force."""
        return DcrSystem(
            images,
            [self._padded(weight) for weight in self.weights],
            moves,
            self._amplitudes(),
            self.brightness,
            self.rule.prior.filter(self.padded),
            self._sharpener(self.padded),
            self.spread,
        )

    def _reweigh(self, shown: Sequence[Image]) -> bool:
        """Make weights anew from residuals; return whether any is much different."""
        if not self.rule.robust_sigma:
            return False
        changed = False
        ny, nx = self.mean.shape
        slack = np.square(self.rule.robust_amplitude * self.brightness[:ny, :nx])
        for place, (entry, image) in enumerate(zip(self.exposures, shown, strict=True)):
            deviation = np.abs(entry.image - image) / np.sqrt(entry.variance + slack)
            factor = self.rule.robust_sigma / np.maximum(deviation, self.rule.robust_sigma)
            new = np.where(entry.usable, np.square(factor) * np.float32(entry.weight), 0.0)
            new = new.astype(np.float32)
            changed |= bool((np.abs(new - self.weights[place]) > _CHANGE * entry.weight).any())
            self.weights[place] = new
        if changed:
            self.mean = weighted_mean([entry.image for entry in self.exposures], self.weights)
        return changed

    def result(
        self, shown: Sequence[Image], errors: list[list[float]], core: tuple[slice, slice]
    ) -> RegionSolution:
        """Return everything about the wanted part of the solution."""
        weights = np.stack(self.weights)
        summed = weights.sum(axis=0)
        covered = summed > 0.0
        scale = sum(
            np.square(weight) * entry.variance
            for weight, entry in zip(weights, self.exposures, strict=True)
        )
        scale = np.divide(scale, summed, out=np.zeros_like(summed), where=covered)
        variances = self._variances(summed / np.float32(self.total), scale, covered)
        full = np.array([entry.weight for entry in self.exposures], np.float32)[:, None, None]
        usable = np.stack([entry.usable for entry in self.exposures])
        rejected = np.any(usable & (weights < 0.5 * full), axis=0)
        before, after, misfits = self._residuals(shown, core)
        subfilters = np.einsum(
            "al,lyx->ayx", self.basis.integrals.astype(np.float32), self.coefficients
        )
        planes = {
            "subfilters": subfilters,
            "count": usable.sum(axis=0).astype(np.int16),
            "rejected": rejected,
            "before": before,
            "after": after,
            **variances,
        }
        cut = {name: np.ascontiguousarray(plane[..., *core]) for name, plane in planes.items()}
        return RegionSolution(misfits=misfits, errors=errors, **cut)

    def _variances(
        self, coverage: Image, scale: Image, covered: NDArray[np.bool_]
    ) -> dict[str, Image]:
        """Return variances of subfilters and sum, and the slope with its error."""
        prior = self.rule.prior
        ny, nx = self.mean.shape
        brightness = self.brightness[:ny, :nx]
        levels, spreads = spread_levels(brightness, self.spread[:ny, :nx])
        table = noise_table(
            self._transfers(SAMPLES),
            [entry.weight for entry in self.exposures],
            self._amplitudes(),
            prior.filter(SAMPLES),
            self._sharpener(SAMPLES),
            levels,
            spreads,
        ).calibrated(self.noise, scale, brightness, coverage > _FULL)

        def noise(left: Floats, right: Floats) -> Image:
            values = scale * table.variance(left, right, brightness, coverage)
            return np.where(covered, values, np.inf).astype(np.float32)

        unit = np.eye(self.basis.n_terms)
        flux_variance = noise(unit[0], unit[0])
        subfilters = np.stack([noise(row, row) for row in self.basis.integrals])
        slope = np.full(self.mean.shape, np.nan, np.float32)
        error = slope.copy()
        if self.basis.n_terms > 1:
            flux, colour = self.coefficients[:2]
            certain = covered & (flux > _BRIGHT * np.sqrt(flux_variance))
            slope[certain] = colour[certain] / flux[certain]
            square = noise(unit[1], unit[1])[certain]
            square -= 2.0 * slope[certain] * noise(unit[0], unit[1])[certain]
            square += slope[certain] ** 2 * flux_variance[certain]
            error[certain] = np.sqrt(np.maximum(square, 0.0)) / flux[certain]
        return {
            "variance": flux_variance,
            "subfilter_variances": subfilters,
            "slope": slope,
            "slope_error": error,
        }

    def _residuals(
        self, shown: Sequence[Image], core: tuple[slice, slice]
    ) -> tuple[Image, Image, Floats]:
        """Return residuals from mean and solution over all exposures, and those of each."""
        squares = np.zeros((2, *self.mean.shape), np.float32)
        count = np.zeros(self.mean.shape, np.float32)
        bright = self.mean > _BRIGHT * self.total**-0.5
        misfits = np.zeros((len(self.exposures), 3))
        for place, (entry, image) in enumerate(zip(self.exposures, shown, strict=True)):
            inverse = np.where(entry.usable, 1.0 / entry.variance, 0.0).astype(np.float32)
            count += entry.usable
            for kind, model in enumerate((self.plain, image)):
                chi2 = np.square(entry.image - model) * inverse
                squares[kind] += chi2
                misfits[place, kind] = chi2[core][bright[core]].sum(dtype=np.float64)
            misfits[place, 2] = (bright & entry.usable)[core].sum()
        none = count == 0
        squares /= np.maximum(count, 1.0)
        squares[:, none] = np.nan
        before, after = np.sqrt(squares)
        return before, after, misfits

    def _amplitudes(self) -> list[float]:
        return self.rule.prior.amplitudes(self.basis.n_terms)

    def _padded(self, image: NDArray[np.generic]) -> Image:
        out = np.zeros(self.padded, np.float32)
        out[: image.shape[0], : image.shape[1]] = image
        return out

    def _transfers(self, shape: tuple[int, int]) -> list[NDArray[np.complex64]]:
        """Return what every exposure does to every coefficient."""
        found = [transfers(shape, self.basis, entry.dy, entry.dx) for entry in self.exposures]
        if not self.rule.psf_aware:
            return found
        stamps = [entry.psf for entry in self.exposures if entry.psf is not None]
        if len(stamps) < len(found):
            raise ValueError("every exposure needs a PSF")
        sharpest = sharpest_stamp(stamps)
        return [
            transfer * broadening(stamp, sharpest, shape)
            for transfer, stamp in zip(found, stamps, strict=True)
        ]

    def _stamp(self) -> NDArray[np.float64] | None:
        """Return the sharpest PSF; None unless all exposures have one."""
        stamps = [entry.psf for entry in self.exposures if entry.psf is not None]
        return sharpest_stamp(stamps) if len(stamps) == len(self.exposures) else None

    def _sharpener(self, shape: tuple[int, int]) -> Image:
        """Return the filter that takes the PSF off, as far as it is known."""
        stamp = self._stamp()
        if stamp is None:
            return np.ones((shape[0], shape[1] // 2 + 1), np.float32)
        return sharpeners(stamp, shape)[0]


_MOST_GAIN = 3.0  # of a colour field between two solutions, to begin with

_CHANGE = 0.1  # of a weight, that is worth another solution


def weighted_mean(images: Sequence[Image], weights: Sequence[Image]) -> Image:
    """Return the mean of images with a weight for each pixel; zero where none has any."""
    total = np.zeros(images[0].shape, np.float32)
    summed = np.zeros_like(total)
    for image, weight in zip(images, weights, strict=True):
        total += weight * image
        summed += weight
    return np.divide(total, summed, out=np.zeros_like(total), where=summed > 0.0)
