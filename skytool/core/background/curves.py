"""Curves through values at knots, as polynomials of degree 3 between breaks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

    Floats = NDArray[np.float64]


class Name(StrEnum):
    """A choice that may be spelt in upper or lower case."""

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return next((member for member in cls if member.value == str(value).lower()), None)


class InterpolationStyle(Name):
    """How values are joined.

    CONSTANT is a staircase: steps half-way between the knots, each as high as the mean of the two
    knots around the step before it. NEAREST takes the value of the nearest knot. NATURAL_SPLINE
    and CUBIC_SPLINE are the same.
    """

    CONSTANT = "constant"
    LINEAR = "linear"
    NATURAL_SPLINE = "natural_spline"
    CUBIC_SPLINE = "cubic_spline"
    AKIMA_SPLINE = "akima_spline"
    NEAREST = "nearest"

    @property
    def min_points(self) -> int:
        """Smallest number of knots."""
        return _MIN_POINTS[self]


_MIN_POINTS = {
    InterpolationStyle.CONSTANT: 1,
    InterpolationStyle.NEAREST: 1,
    InterpolationStyle.LINEAR: 2,
    InterpolationStyle.NATURAL_SPLINE: 3,
    InterpolationStyle.CUBIC_SPLINE: 3,
    InterpolationStyle.AKIMA_SPLINE: 5,
}


class Extrapolation(Name):
    """How a curve continues beyond its end knots: terms of the Taylor series that are kept."""

    QUADRATIC = "quadratic"
    LINEAR = "linear"
    CONSTANT = "constant"


@dataclass(frozen=True, eq=False)
class Pieces:
    """Curves of polynomials of degree 3 between breaks.

    Piece i holds for points from break i - 1 to below break i, in powers of the distance from
    its origin. `coefficients` has shape ``(n_breaks + 1, n_curves, 4)``; `ends` are the outer
    knots.
    """

    breaks: Floats
    origins: Floats
    coefficients: Floats
    ends: tuple[float, float]

    def evaluate(self, points: Floats, reach: float, dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """Return all curves at increasing points, shape ``(n_curves, n_points)``."""
        at = np.clip(points, self.ends[0] - reach, self.ends[1] + reach)
        limits = [0, *np.searchsorted(at, self.breaks, side="left").tolist(), len(at)]
        curves = np.empty((self.coefficients.shape[1], len(at)), dtype)
        for i, (origin, coefficients) in enumerate(
            zip(self.origins, self.coefficients, strict=True)
        ):
            inside = slice(limits[i], limits[i + 1])
            if limits[i + 1] > limits[i]:
                curves[:, inside] = coefficients @ np.vander(at[inside] - origin, 4, True).T
        return curves


def curve_pieces(
    style: InterpolationStyle, knots: Floats, values: Floats, extrapolation: Extrapolation
) -> Pieces:
    """Return the curves of a style through each row of `values`, shape ``(n_curves, n_knots)``."""
    return _MAKERS[style](knots, values, extrapolation)


def _steps(breaks: Floats, values: Floats, knots: Floats) -> Pieces:
    """Return a staircase of values of shape ``(n_curves, n_breaks + 1)``."""
    coefficients = np.zeros((values.shape[1], len(values), 4))
    coefficients[:, :, 0] = values.T
    return Pieces(breaks, np.zeros(len(coefficients)), coefficients, (knots[0], knots[-1]))


def _nearest(knots: Floats, values: Floats, _: Extrapolation) -> Pieces:
    """Return the value of the nearest knot."""
    return _steps((knots[:-1] + knots[1:]) / 2, values, knots)


def _constant(knots: Floats, values: Floats, _: Extrapolation) -> Pieces:
    """Return a staircase with steps between the knots and half an interval beyond the last."""
    if len(knots) == 1:
        return _steps(knots[:0], values, knots)
    middles = (knots[:-1] + knots[1:]) / 2
    breaks = np.append(middles, knots[-1] + (knots[-1] - knots[-2]) / 2)
    means = (values[:, :-1] + values[:, 1:]) / 2
    return _steps(breaks, np.hstack([values[:, :1], means, values[:, -1:]]), knots)


def _spline(
    derivatives: Callable[[Floats, Floats], tuple[Floats, Floats, Floats]],
) -> Callable[[Floats, Floats, Extrapolation], Pieces]:
    """Return a maker of pieces from a function that gives the three higher coefficients."""

    def pieces(knots: Floats, values: Floats, extrapolation: Extrapolation) -> Pieces:
        h = np.diff(knots)
        b, c, d = derivatives(h, np.diff(values, axis=1) / h)
        inner = np.stack([values[:, :-1], b, c, d], axis=2)
        left, right = inner[:, 0].copy(), inner[:, -1].copy()
        right[:, 0] = values[:, -1]
        right[:, 1] += h[-1] * (2 * c[:, -1] + 3 * d[:, -1] * h[-1])
        right[:, 2] += 3 * d[:, -1] * h[-1]
        n_terms = {Extrapolation.QUADRATIC: 3, Extrapolation.LINEAR: 2, Extrapolation.CONSTANT: 1}
        for end in (left, right):
            end[:, n_terms[extrapolation] :] = 0
        coefficients = np.concatenate([left[:, None], inner, right[:, None]], axis=1)
        return Pieces(
            knots,
            np.concatenate([knots[:1], knots]),
            np.ascontiguousarray(coefficients.swapaxes(0, 1)),
            (knots[0], knots[-1]),
        )

    return pieces


def _linear(_: Floats, slopes: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the coefficients of straight lines."""
    return slopes, np.zeros_like(slopes), np.zeros_like(slopes)


def _natural(h: Floats, slopes: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the coefficients of cubic splines without curvature at the ends."""
    n = len(h) + 1
    c = np.zeros((len(slopes), n))
    diagonal = 2 * (h[:-1] + h[1:])
    right = 3 * np.diff(slopes, axis=1)
    for i in range(1, n - 2):  # elimination in a tridiagonal system
        factor = h[i] / diagonal[i - 1]
        diagonal[i] -= factor * h[i]
        right[:, i] -= factor * right[:, i - 1]
    for i in range(n - 2, 0, -1):
        c[:, i] = (right[:, i - 1] - h[i] * c[:, i + 1]) / diagonal[i - 1]
    b = slopes - h * (c[:, 1:] + 2 * c[:, :-1]) / 3
    return b, c[:, :-1], np.diff(c, axis=1) / (3 * h)


def _akima(h: Floats, slopes: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the coefficients of Akima's curves (Akima 1970, J. ACM 17, 589)."""
    before = 2 * slopes[:, :1] - slopes[:, 1:2]
    after = 2 * slopes[:, -1:] - slopes[:, -2:-1]
    ends = (2 * before - slopes[:, :1], before, after, 2 * after - slopes[:, -1:])
    m = np.hstack([ends[0], ends[1], slopes, ends[2], ends[3]])
    change = np.abs(np.diff(m, axis=1))  # at knot i: changes i and i + 2 around it
    total = change[:, :-2] + change[:, 2:]
    flat = total == 0
    # Without any change of slope around a knot the chord is followed from there to the next
    # knot, as the GNU Scientific Library has it: a corner between two straight runs stays sharp.
    share = np.divide(change[:, :-2], total, out=np.zeros_like(total), where=~flat)
    knot_slope = (1 - share) * m[:, 1:-2] + share * m[:, 2:-1]
    b = np.where(flat[:, :-1], slopes, knot_slope[:, :-1])
    end = np.where(flat[:, 1:], slopes, knot_slope[:, 1:])
    end = np.where(flat[:, :-1], slopes, end)
    return b, (3 * slopes - 2 * b - end) / h, (b + end - 2 * slopes) / h**2


_MAKERS: dict[InterpolationStyle, Callable[[Floats, Floats, Extrapolation], Pieces]] = {
    InterpolationStyle.CONSTANT: _constant,
    InterpolationStyle.NEAREST: _nearest,
    InterpolationStyle.LINEAR: _spline(_linear),
    InterpolationStyle.NATURAL_SPLINE: _spline(_natural),
    InterpolationStyle.CUBIC_SPLINE: _spline(_natural),
    InterpolationStyle.AKIMA_SPLINE: _spline(_akima),
}
