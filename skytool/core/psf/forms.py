"""How wide and elongated the stars of an image are, and how that varies over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.psf.field_fit import best_order, fit_field, joined, try_orders
from skytool.core.psf.samples import slopes
from skytool.core.psf.stars import free_equations

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.psf.field import PsfField
    from skytool.core.psf.field_fit import FieldFit
    from skytool.core.psf.stars import StarFit

    Floats = NDArray[np.float64]

_MEDIAN_SQUARE = 0.4549364  # of a unit normal distribution
_LARGEST_SCATTER = 0.3
_BISECTIONS = 40
_FEWEST_BRIGHT = 10
_LARGEST_ERROR = 0.2
_ROUNDS = 4
_CAUCHY = 2.4  # [standard deviation] where half of the weight is left
_PARTS = (slice(0, 1), slice(1, 3))  # size and elongation, of which each has its order
_LEAST_LEFT = 0.01  # of the variance of a residual, where a star is nearly alone


@dataclass(frozen=True, eq=False)
class Forms:
    """Forms of stars.

    Parameters
    ----------
    values : ndarray of float64, shape (n, 3)
        Logarithm of the radius [pixel], and half of e1 and of e2.
    errors : ndarray of float64, shape (n,)
        Mean of their standard errors from the noise of the pixels.
    """

    values: Floats
    errors: Floats


def fitted_forms(fit: StarFit, field: PsfField, half: int, oversampling: int) -> Forms:
    """Return the forms that a model needs at every star to fit it best.

    Parameters
    ----------
    fit : StarFit
        Fit of the stars by the model.
    field : PsfField
        The model.
    half, oversampling : int
        Of its samples, see `~skytool.core.psf.samples.sampled`.
    """
    stars = fit.stars
    y, x = stars.positions
    rows, columns = stars.lattice(stars.y, stars.x)
    images = np.stack(
        [
            slope.images(y=y, x=x, rows=rows, columns=columns)
            for slope in slopes(field, half, oversampling)
        ],
        axis=1,
    )
    equations = free_equations(fit, images, slice(None))
    diagonal = np.einsum("naa->na", equations.matrix)
    diagonal += 1e-12 * np.max(diagonal, axis=1, keepdims=True) + np.finfo(np.float64).tiny
    covariance = np.linalg.inv(equations.matrix)
    change = np.matmul(covariance, equations.right[:, :, None])[:, :, 0]
    errors = np.sqrt(np.maximum(np.einsum("naa->na", covariance), 0.0))
    return Forms(field.form.at(y=y, x=x) + change, errors.mean(axis=1))


@dataclass(frozen=True, eq=False)
class FormFit:
    """A smooth field of forms.

    Parameters
    ----------
    field : FieldFit
        The polynomials.
    kept : ndarray of bool, shape (n,)
        Stars that agree with it.
    """

    field: FieldFit
    kept: NDArray[np.bool_]


def fit_forms(
    forms: Forms,
    start: FieldFit,
    *,
    y: Floats,
    x: Floats,
    order: int | None,
    max_order: int,
    clip: float,
    tolerance: float,
    first_scatter: float = 0.0,
    least_scatter: float = 1e-3,
) -> FormFit:
    """Fit polynomials to the forms of stars and leave out those that do not agree.

    Parameters
    ----------
    forms : Forms
        Forms; some may be those of galaxies, blends or defects, or not finite.
    start : FieldFit
        Forms expected.
    y, x : ndarray of float64, shape (n,)
        Positions [pixel].
    order : int or None
        Highest total degree; None lets the stars choose.
    max_order : int
        Highest that they may choose.
    clip : float
        Largest deviation that agrees [standard deviation].
    tolerance : float
        Largest error of the form anywhere in the image that lets an order be chosen.
    first_scatter : float
        Standard deviation of the forms of stars about those expected, among other sources; 0 if
        nearly all are stars, and what is expected may be wrong for all of them by as much.
    least_scatter : float
        Smallest that may be found.

    Notes
    -----
    Errors grow by a factor that makes the median deviation right, for neighbours disturb faint
    stars more than bright ones; and by a scatter that makes that of the quarter with the smallest
    errors right. Deviations count in units of the standard deviation of the residual, at a leverage
    h smaller than the error by sqrt(1 - h), and larger by sqrt(1 + h) for a star that is left out.
    Within the limit, stars have weights that fall
    off with their deviation like a Cauchy distribution.
    """
    usable: NDArray[np.bool_] = np.all(np.isfinite(forms.values), axis=1)
    certain = usable & (forms.errors < _LARGEST_ERROR)
    usable = certain if certain.any() else usable
    values = np.where(usable[:, None], forms.values, 0.0)
    errors = np.where(usable, forms.errors, 1.0)
    field = start
    kept, spread = usable, np.ones(len(values))
    for turn in range(_ROUNDS):
        residual = values - field.at(y=y, x=x)
        if turn or not first_scatter:
            if not turn:  # another model may make all stars wider, or less wide
                residual -= np.median(residual[usable], axis=0)
            total = _errors_that_fit(residual, errors, kept, least_scatter)
        else:
            total = np.hypot(errors, first_scatter)
        deviation = np.abs(residual).max(axis=1) / total
        limit = clip * np.sqrt(spread)
        deviates = np.where(usable, deviation / limit, np.inf)
        # of stars half agree, whatever the limit says; of sources they may be few
        least = float(np.quantile(deviates[usable], 0.0 if first_scatter else 0.5))
        kept = usable & (deviates <= max(1.0, least))
        weakened = total * np.sqrt(1.0 + (deviation / _CAUCHY) ** 2)
        some = {"y": y[kept], "x": x[kept], "shape": start.shape}
        field = joined(
            _best_fit(values[kept][:, part], weakened[kept], order, max_order, tolerance, **some)
            for part in _PARTS
        )
        leverage = field.leverage(weakened, kept, y=y, x=x)
        spread = np.where(kept, np.maximum(1.0 - leverage, _LEAST_LEFT), 1.0 + leverage)
    return FormFit(field, kept)


def _best_fit(
    values: Floats,
    errors: Floats,
    order: int | None,
    max_order: int,
    tolerance: float,
    **some: Any,
) -> FieldFit:
    """Return polynomials of the given order, or of the one that predicts stars best."""
    if order is None:
        trials = try_orders(values, errors, max_order=max_order, **some)
        order = best_order(trials, tolerance=tolerance)
    return fit_field(values, errors, order=order, **some)


def _errors_that_fit(
    residual: Floats, errors: Floats, kept: NDArray[np.bool_], least: float
) -> Floats:
    """Return errors that make the deviations from the field what they are."""
    own = errors[kept]
    count = min(max(_FEWEST_BRIGHT, own.size // 4), own.size)
    limit = np.partition(own, count - 1)[count - 1]
    bright = kept & (errors <= limit)
    scatter = max(_scatter(residual[bright], errors[bright, None]), least)
    ratio = np.median(residual[kept] ** 2 / (own[:, None] ** 2 + scatter**2)) / _MEDIAN_SQUARE
    return np.hypot(max(1.0, np.sqrt(ratio)) * errors, scatter)


def _scatter(residual: Floats, errors: Floats) -> float:
    """Return what has to be added to errors for the median of the squares to be right."""
    low, high = 0.0, _LARGEST_SCATTER
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if np.median(residual**2 / (errors**2 + middle**2)) > _MEDIAN_SQUARE:
            low = middle
        else:
            high = middle
    return low
