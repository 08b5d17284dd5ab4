"""Dipoles: a star that is at two places in the two images of a difference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.core.difference.source_psf import star_in_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytool.core.difference.source_measure import Pixels
    from skytool.core.difference.source_psf import SourcePsf

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

_ITERATIONS = 100
_TOLERANCE = 1e-7  # relative decrease of the sum of squares
_SIDE_WEIGHT = 0.5  # of the residuals of the two images beside those of their difference
_MOST_DAMPING = 1e8
_MARGIN = 3  # [pixel] around the footprint, where the background is fitted


@dataclass(frozen=True)
class DipoleRule:
    """How dipoles are fitted and told from other sources.

    Parameters
    ----------
    equal_flux : bool
        Both lobes have the same flux. Where only the difference is known they always have.
    max_shift : float
        How far a lobe may be from its peak [standard deviation of the PSF].
    min_snr : float
        Least signal-to-noise ratio of both lobes together.
    min_lobe_snr : float
        Least one of either lobe.
    max_flux_ratio : float
        Largest part of the sum of the fluxes that one lobe may have.
    max_separation : float
        Largest distance of the lobes; beyond it they are two sources [standard deviation of the
        PSF].
    """

    equal_flux: bool = False
    max_shift: float = 5.0
    min_snr: float = 5.0 * math.sqrt(2.0)
    min_lobe_snr: float = 1.0
    max_flux_ratio: float = 0.65
    max_separation: float = 5.0


class ImagePart(NamedTuple):
    """An image that a dipole is fitted to.

    Parameters
    ----------
    pixels : Pixels
        The image.
    psf : SourcePsf
        Its point spread function.
    signs : (float, float)
        Signs with which the star at the positive and at the negative lobe appear in it: 1 and -1
        in the difference, 1 and 0 in the science image, 0 and 1 in the template.
    """

    pixels: Pixels
    psf: SourcePsf
    signs: tuple[float, float]


@dataclass(frozen=True)
class Dipole:
    """A fitted dipole.

    Parameters
    ----------
    y_positive, x_positive, y_negative, x_negative : float
        Places of the lobes [pixel].
    flux_positive, flux_negative : float
        Fluxes of the star at these places [unit of the image].
    error_positive, error_negative : float
        Their standard deviations, by the fit.
    snr : float
        Ratio of the fluxes to the noise of the box around the footprint, added in quadrature.
    chi2 : float
        Squared misfit of the difference per degree of freedom.
    converged : bool
        Whether the fit ended.
    is_dipole : bool
        Whether it is one, by the rule.
    """

    y_positive: float
    x_positive: float
    y_negative: float
    x_negative: float
    flux_positive: float
    flux_negative: float
    error_positive: float
    error_negative: float
    snr: float
    chi2: float
    converged: bool
    is_dipole: bool

    @property
    def y(self) -> float:
        """Mean of the places [pixel]."""
        return 0.5 * (self.y_positive + self.y_negative)

    @property
    def x(self) -> float:
        """Mean of the places [pixel]."""
        return 0.5 * (self.x_positive + self.x_negative)

    @property
    def separation(self) -> float:
        """Distance of the lobes [pixel]."""
        return math.hypot(self.y_positive - self.y_negative, self.x_positive - self.x_negative)

    @property
    def orientation(self) -> float:
        """Direction from the negative to the positive lobe [rad], from x towards y."""
        return math.atan2(self.y_positive - self.y_negative, self.x_positive - self.x_negative)


def fit_dipole(
    parts: Sequence[ImagePart],
    labels: NDArray[np.int32],
    number: int,
    *,
    box: tuple[int, int, int, int],
    positive: tuple[float, float],
    negative: tuple[float, float],
    rule: DipoleRule,
) -> Dipole | None:
    """Fit two lobes to a difference, and to the images that it is made of.

    Parameters
    ----------
    parts : sequence of ImagePart
        The difference, and if they are known the science image and the matched template.
    labels : ndarray of int32, shape (ny, nx)
        Numbers of footprints, 0 beside them.
    number : int
        That of the source.
    box : (int, int, int, int)
        First and last row, first and last column of its footprint.
    positive, negative : (float, float)
        Highest peak of either sign, ``(y, x)`` [pixel].
    rule : DipoleRule
        How.

    Returns
    -------
    Dipole or None
        None if there are too few good pixels.

    Notes
    -----
    Least squares by Levenberg and Marquardt, every pixel in units of its noise; the residuals of the
    two images count half. They tell the flux from the separation, of which a narrow dipole in the
    difference only shows the product. Planes are first fitted to the images beside the sources and
    subtracted.
    """
    fit = _Fit(parts, labels, number, box, positive, negative, rule)
    if fit.n_good[0] <= fit.n_parameters:
        return None
    values, converged = fit.solve()
    return fit.result(values, converged)


class _Fit:
    """Stamps and model of one dipole; parameters are y+, x+, y-, x-, and one flux or two."""

    def __init__(
        self,
        parts: Sequence[ImagePart],
        labels: NDArray[np.int32],
        number: int,
        box: tuple[int, int, int, int],
        positive: tuple[float, float],
        negative: tuple[float, float],
        rule: DipoleRule,
    ) -> None:
        self.rule = rule
        self.equal = rule.equal_flux or len(parts) == 1
        self.n_parameters = 5 if self.equal else 6
        self.psfs = [part.psf for part in parts]
        self.signs = [part.signs for part in parts]
        self.start = np.array([*positive, *negative])
        rows, columns = (
            slice(max(low - half - _MARGIN, 0), high + 1 + half + _MARGIN)
            for low, high, half in zip(box[::2], box[1::2], parts[0].psf.half, strict=True)
        )
        ny, nx = labels.shape
        self.window = slice(*rows.indices(ny)[:2]), slice(*columns.indices(nx)[:2])
        mine, sky = labels[self.window] == number, labels[self.window] == 0
        inside = slice(box[0], box[1] + 1), slice(box[2], box[3] + 1)
        self.data, self.scale = [], []
        for index, part in enumerate(parts):
            image, variance = part.pixels.image[self.window], part.pixels.variance[self.window]
            good = part.pixels.good[self.window] & (mine | sky)
            weight = np.zeros(image.shape)
            weight[good] = 1.0 / np.sqrt(variance[good])
            level = _plane(image, weight, good & sky)
            self.data.append(np.where(good, image - level, 0.0))
            self.scale.append(weight * (1.0 if index == 0 else _SIDE_WEIGHT))
        noise = parts[0].pixels.variance[inside]
        known = parts[0].pixels.good[inside]
        self.noise = math.sqrt(float(noise[known].sum(dtype=np.float64)))
        self.n_good = [int(np.count_nonzero(scale)) for scale in self.scale]

    def _star(self, psf: SourcePsf, y: float, x: float) -> Floats:
        """Return a star and its derivatives in the window, shape ``(3, h, w)``."""
        return star_in_window(psf, self.window, y=y, x=x)

    def _model(self, values: Floats) -> tuple[Floats, Floats]:
        """Return residuals, shape ``(n,)``, and derivatives of the model, shape ``(n, m)``."""
        fluxes = values[4:] if not self.equal else np.repeat(values[4:], 2)
        residuals, slopes = [], []
        for psf, signs, data, scale in zip(
            self.psfs, self.signs, self.data, self.scale, strict=True
        ):
            jacobian = np.zeros((self.n_parameters, data.size))
            model = np.zeros(data.shape)
            for lobe in (0, 1):
                if not signs[lobe]:
                    continue
                star = signs[lobe] * self._star(psf, *values[2 * lobe : 2 * lobe + 2])
                model += fluxes[lobe] * star[0]
                jacobian[2 * lobe] = (fluxes[lobe] * star[1] * scale).ravel()
                jacobian[2 * lobe + 1] = (fluxes[lobe] * star[2] * scale).ravel()
                jacobian[4 if self.equal else 4 + lobe] += (star[0] * scale).ravel()
            residuals.append(((data - model) * scale).ravel())
            slopes.append(jacobian.T)
        return np.concatenate(residuals), np.concatenate(slopes)

    def solve(self) -> tuple[Floats, bool]:
        """Return the parameters of least squares, and whether the iteration ended."""
        values = np.concatenate([self._between(0.25), self._first_fluxes()])
        reach = self.rule.max_shift * self.psfs[0].sigma
        residuals, slopes = self._model(values)
        cost, damping = float(residuals @ residuals), 1e-3
        for _ in range(_ITERATIONS):
            normal, right = slopes.T @ slopes, slopes.T @ residuals
            diagonal = np.maximum(np.diagonal(normal), 1e-12 * max(float(normal.max()), 1e-300))
            step = np.linalg.solve(normal + damping * np.diag(diagonal), right)
            trial = values + step
            trial[:4] = np.clip(trial[:4], self.start - reach, self.start + reach)
            trial[4:] = np.maximum(trial[4:], 0.0)
            trial_residuals, trial_slopes = self._model(trial)
            trial_cost = float(trial_residuals @ trial_residuals)
            if trial_cost <= cost:
                settled = cost - trial_cost <= _TOLERANCE * cost
                values, residuals, slopes, cost = trial, trial_residuals, trial_slopes, trial_cost
                damping = max(damping / 10.0, 1e-12)
                if settled:
                    return values, True
            elif damping > _MOST_DAMPING:
                return values, True
            else:
                damping *= 10.0
        return values, False

    def _between(self, part: float) -> Floats:
        """Return the peaks moved towards each other by a part of their distance."""
        positive, negative = self.start[:2], self.start[2:]
        return np.concatenate(
            [positive + part * (negative - positive), negative + part * (positive - negative)]
        )

    def _first_fluxes(self) -> Floats:
        """Return first fluxes: those of the images, or what explains the lobes half way apart."""
        if len(self.data) == 1:
            near = self._between(0.25)
            lobes = [self._star(self.psfs[0], *at)[0] for at in (near[:2], near[2:])]
            stars, images = [lobes[0] - lobes[1]], [0]
        else:
            stars = [self._star(self.psfs[k], *self._between(0.5)[:2])[0] for k in (1, 2)]
            images = [1, 2]
        fluxes = []
        for star, k in zip(stars, images, strict=True):
            weight = np.square(self.scale[k])
            power = float((star * star * weight).sum())
            fluxes.append(float((star * self.data[k] * weight).sum()) / power if power else 0.0)
        wanted = fluxes if not self.equal else [float(np.mean(fluxes))]
        return np.maximum(np.array(wanted), self.noise / 10.0)

    def result(self, values: Floats, converged: bool) -> Dipole:  # noqa: FBT001
        """Return the dipole, classified."""
        residuals, slopes = self._model(values)
        n = self.data[0].size
        covariance = np.linalg.pinv(slopes.T @ slopes, hermitian=True)
        errors = np.sqrt(np.maximum(np.diagonal(covariance)[4:], 0.0))
        fluxes = values[4:]
        if self.equal:
            fluxes, errors = np.repeat(fluxes, 2), np.repeat(errors, 2)
        ratios = fluxes / self.noise if self.noise > 0.0 else np.zeros(2)
        snr, total = float(np.hypot(*ratios)), float(fluxes.sum())
        rule = self.rule
        strong = snr > rule.min_snr and float(ratios.min()) >= rule.min_lobe_snr
        apart = math.hypot(*(values[:2] - values[2:4]))
        near = apart <= rule.max_separation * self.psfs[0].sigma
        even = float(fluxes.max()) < rule.max_flux_ratio * total
        is_dipole = converged and strong and even and near
        freedom = max(self.n_good[0] - self.n_parameters, 1)
        chi2 = float(residuals[:n] @ residuals[:n]) / freedom
        return Dipole(
            y_positive=float(values[0]),
            x_positive=float(values[1]),
            y_negative=float(values[2]),
            x_negative=float(values[3]),
            flux_positive=float(fluxes[0]),
            flux_negative=float(fluxes[1]),
            error_positive=float(errors[0]),
            error_negative=float(errors[1]),
            snr=snr,
            chi2=chi2,
            converged=converged,
            is_dipole=is_dipole,
        )


def _plane(image: NDArray[np.floating], weight: Floats, sky: Flags) -> Floats:
    """Return the plane through pixels of the sky; zero if there are too few."""
    y, x = (np.asarray(axis, np.float64) for axis in np.indices(image.shape))
    design = np.stack([np.ones(int(sky.sum())), y[sky], x[sky]], axis=1)
    if len(design) < 2 * design.shape[1]:
        return np.zeros(image.shape)
    scale = weight[sky]
    solved, *_ = np.linalg.lstsq(design * scale[:, None], image[sky] * scale, rcond=None)
    return np.asarray(solved[0] + solved[1] * y + solved[2] * x, np.float64)
