"""A varying point spread function fitted to stars."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.psf.field import PsfField
from skytool.core.psf.forms import fit_forms, fitted_forms
from skytool.core.psf.neighbours import with_found_neighbours
from skytool.core.psf.rest import RestSize, best_size, rest_equations, solve_rest
from skytool.core.psf.rings import Rings
from skytool.core.psf.samples import sampled
from skytool.core.psf.stars import fit_stars

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.psf.field_fit import FieldFit
    from skytool.core.psf.forms import FormFit
    from skytool.core.psf.rest import RestEquations
    from skytool.core.psf.samples import PsfSamples
    from skytool.core.psf.stars import Neighbours, StarFit, Stars

    Floats = NDArray[np.float64]

MOST_NEIGHBOURS = 12
"""Largest number of sources in the stamp of a star that are fitted with it."""

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
_FLATTEST, _STEEPEST = 1.4, 50.0  # exponents
_BETA_STEPS = 9
_N_BRIGHT = 60  # stars that decide on the exponent
_FORM_ROUNDS = 2
_REST_ROUNDS = 2
_CONSTANT_SIZES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_VARYING_SIZES = (0.001, 0.003, 0.01, 0.03)
_MOST_REST_ORDER = 2
_BRIGHT_PART = 0.25
_SMALL_MISFIT = 2e-4  # that nobody minds
_LARGE_MISFIT = 5e-3  # that of no Moffat function, whatever its exponent


@dataclass(frozen=True, kw_only=True)
class PsfFitRule:
    """How a point spread function is fitted.

    Parameters
    ----------
    order : int or None
        Highest total degree of its variation over the image; None lets the stars choose.
    max_order : int
        Highest that they may choose.
    accuracy : float
        Error of the model relative to itself that is added to the noise of the pixels.
    clip : float
        Largest deviation of the form of a star from the field [standard deviation].
    misfit_clip : float
        Largest misfit of a star, over that of bright ones [its standard deviation from noise, plus
        what is typical of bright stars].
    tolerance : float
        Largest error of the form anywhere in the image that lets an order be chosen.
    """

    order: int | None = None
    max_order: int = 3
    accuracy: float = 0.005
    clip: float = 3.0
    misfit_clip: float = 5.0
    tolerance: float = 0.05


@dataclass(frozen=True, eq=False)
class PsfFit:
    """A point spread function with the stars it was fitted to.

    Parameters
    ----------
    field : PsfField
        The function.
    samples : PsfSamples
        The same as images times polynomials.
    fit : StarFit
        All stars, also those that were left out.
    kept : ndarray of bool, shape (n,)
        Stars that it was fitted to.
    """

    field: PsfField
    samples: PsfSamples
    fit: StarFit
    kept: NDArray[np.bool_]


def fit_psf(stars: Stars, start: FieldFit, rule: PsfFitRule, *, oversampling: int) -> PsfFit:
    """Fit a point spread function to stars.

    Parameters
    ----------
    stars : Stars
        Candidates, few of them blended or no stars.
    start : FieldFit
        Their forms, roughly.
    rule : PsfFitRule
        How.
    oversampling : int
        Samples per pixel along each axis.

    Notes
    -----
    A star is a Moffat function whose adaptive moments are polynomials of the position, plus rings
    and harmonics in the coordinates in which it is round. Forms of single stars are fitted first,
    then their field, and the exponent that all have in common; then the rings. How much of them
    there is, and how high the order of the field, is what predicts stars best that were not
    used.
    """
    half = stars.stamps.shape[1] // 2
    make = _Maker(rule, half, oversampling, stars.neighbours)
    field, kept = PsfField(start, 3.0), np.ones(len(stars), np.bool_)
    for _ in range(_FORM_ROUNDS):
        field = make.with_exponent(field, stars.of(kept))
        fit = make.searched(make.star_fit(stars, field), field)
        stars = fit.stars
        formed = make.form_field(fit, field)
        field, kept = replace(field, form=formed.field), formed.kept
    for _ in range(_REST_ROUNDS):
        fit = make.star_fit(stars, field)
        kept = formed.kept & make.agreeing(fit, formed.kept)
        rings = field.rest.rings if field.rest else make.rings(fit, kept, field)
        equations = rest_equations(fit.of(kept), field, rings, make.rest_order(field))
        size = make.best_rest(equations)
        if size is None:
            break
        field = replace(field, rest=solve_rest(equations, size))
        fit = make.searched(make.star_fit(fit.stars, field), field)
        formed = make.form_field(fit, field)
        field, stars = replace(field, form=formed.field), fit.stars
    fit = make.star_fit(stars, field)
    kept = formed.kept & make.agreeing(fit, formed.kept)
    return PsfFit(field, sampled(field, half, oversampling), fit, kept)


@dataclass(frozen=True)
class _Maker:
    """What all steps have in common."""

    rule: PsfFitRule
    half: int
    oversampling: int
    known: Neighbours

    def form_field(self, fit: StarFit, field: PsfField) -> FormFit:
        """Return the field of the forms that the stars ask for."""
        y, x = fit.stars.positions
        rule = self.rule
        return fit_forms(
            fitted_forms(fit, field, self.half, self.oversampling),
            field.form,
            y=y,
            x=x,
            order=rule.order,
            max_order=rule.max_order,
            clip=rule.clip,
            tolerance=rule.tolerance,
        )

    def star_fit(self, stars: Stars, field: PsfField, iterations: int = 2) -> StarFit:
        """Return the fit of stars by a field."""
        samples = sampled(field, self.half, self.oversampling)
        return fit_stars(stars, samples, accuracy=self.rule.accuracy, iterations=iterations)

    def searched(self, fit: StarFit, field: PsfField) -> StarFit:
        """Return the fit with neighbours that its residuals show."""
        found = with_found_neighbours(fit, self.known, sigma=field.radius, most=MOST_NEIGHBOURS)
        return self.star_fit(replace(fit.stars, neighbours=found), field, iterations=1)

    def agreeing(self, fit: StarFit, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell which stars are fitted about as well as the brightest of those that are kept."""
        misfit, noise = fit.misfit
        typical = self.typical_misfit(fit, kept)
        return misfit <= typical + self.rule.misfit_clip * (noise + typical + _SMALL_MISFIT)

    @staticmethod
    def typical_misfit(fit: StarFit, kept: NDArray[np.bool_]) -> float:
        """Return the median misfit of the brightest quarter of the stars that are kept."""
        misfit, noise = fit.misfit
        bright = kept & (noise <= np.quantile(noise[kept], _BRIGHT_PART))
        return max(float(np.median(misfit[bright])), 0.0)

    def rings(self, fit: StarFit, kept: NDArray[np.bool_], field: PsfField) -> Rings:
        """Return the functions for the rest: many where a Moffat function fits badly."""
        edge = self.half / field.radius
        if self.typical_misfit(fit, kept) > _LARGE_MISFIT:
            return Rings(field.beta, edge, step=0.2, harmonics=8)
        return Rings(field.beta, edge)

    @staticmethod
    def rest_order(field: PsfField) -> int:
        """Return the highest order that the rest may have."""
        return max(min(field.form.order, _MOST_REST_ORDER), field.rest.order if field.rest else 0)

    def with_exponent(self, field: PsfField, stars: Stars) -> PsfField:
        """Return a field with the exponent that fits the brightest stars best."""
        light = np.sum(stars.stamps * np.sqrt(stars.weight), axis=(1, 2))
        bright = np.zeros(len(stars), np.bool_)
        bright[np.argsort(-light, kind="stable")[:_N_BRIGHT]] = True
        some = stars.of(bright)

        def misfit(inverse: float) -> float:
            chi2 = self.star_fit(some, replace(field, beta=1.0 / inverse), iterations=1).chi2
            return float(np.minimum(chi2, 4.0 * np.median(chi2)).sum())

        low, high = 1.0 / _STEEPEST, 1.0 / _FLATTEST
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        at_left, at_right = misfit(left), misfit(right)
        for _ in range(_BETA_STEPS):
            if at_left < at_right:
                high, right, at_right = right, left, at_left
                left = high - _GOLDEN * (high - low)
                at_left = misfit(left)
            else:
                low, left, at_left = left, right, at_right
                right = low + _GOLDEN * (high - low)
                at_right = misfit(right)
        return replace(field, beta=2.0 / (low + high))

    def best_rest(self, equations: RestEquations) -> RestSize | None:
        """Return the size with which the rest predicts stars best, one number after the other."""
        best = best_size(equations, [RestSize(size, 1.0, 0) for size in _CONSTANT_SIZES])
        if best is None:
            return None
        choices = [best]
        for order in range(1, equations.order + 1):
            choices += [RestSize(best.constant, size, order) for size in _VARYING_SIZES]
        return best_size(equations, choices)
