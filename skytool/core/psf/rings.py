"""Rings and angular harmonics: what is added to a Moffat function to make it any profile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.psf.moffat import moffat_scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_STRETCH = 2.5  # [standard deviation] radius beyond which rings grow wider
_DECLINE = 0.5  # power of the profile with which the scale of the rings falls off
_HARMONIC_REACH = 6.0  # [standard deviation] beyond which rings are round


@dataclass(frozen=True)
class Rings:
    """Functions that are a ring in the radius and a harmonic in the angle.

    Radius and angle are those after the second moments of the star have been made round and one.

    Parameters
    ----------
    beta : float
        Exponent of the Moffat function to which they are added; it sets their scale.
    edge : float
        Radius of the outermost ring [standard deviation].
    step : float
        Largest distance of two rings in the stretched radius.
    harmonics : int
        Highest harmonic.

    Notes
    -----
    A ring is a cubic B-spline in ``s = asinh(rho / 2.5)`` of the radius rho, the mirror image at
    the centre added, times ``Re`` or ``Im`` of ``((u + i v) / sqrt(1 + rho^2))^m`` for harmonics m
    up to the highest. Functions of the radius alone reach to the edge, the others to six standard
    deviations. All are of the order of the square root of the Moffat function times its square
    root in the centre: the prior knowledge that a profile may differ from the function by more,
    relative to it, where it is faint.
    """

    beta: float
    edge: float
    step: float = 0.3
    harmonics: int = 4

    @cached_property
    def n_rings(self) -> int:
        """Number of rings, the one in the centre included."""
        return max(int(math.asinh(self.edge / _STRETCH) / self.step), 3)

    @cached_property
    def spacing(self) -> float:
        """Distance of two rings in the stretched radius."""
        return math.asinh(self.edge / _STRETCH) / (self.n_rings + 1)

    @cached_property
    def functions(self) -> tuple[tuple[int, int], ...]:
        """Ring and harmonic of every function; negative harmonics are the imaginary parts."""
        radius = _STRETCH * np.sinh(np.arange(self.n_rings) * self.spacing)
        return tuple(
            (ring, harmonic)
            for harmonic in range(-self.harmonics, self.harmonics + 1)
            for ring in range(self.n_rings)
            if harmonic == 0 or (ring > 0 and radius[ring] <= _HARMONIC_REACH)
        )

    def __len__(self) -> int:
        return len(self.functions)

    @cached_property
    def _scale(self) -> Floats:
        scale = moffat_scale(self.beta)
        rings = np.array([ring for ring, _ in self.functions])
        radius = _STRETCH * np.sinh(rings * self.spacing)
        centre = (self.beta - 1.0) * scale / np.pi
        return centre * (1.0 + scale * radius**2) ** (-self.beta * _DECLINE)

    def images(self, moments: Floats, *, rows: Floats, columns: Floats) -> Floats:
        """Return the functions for stars of different moments.

        Parameters
        ----------
        moments : ndarray of float64, shape (3, n)
            Adaptive moments ``yy, xx, xy`` [pixel squared].
        rows, columns : ndarray of float64, shape (n, h) and (n, w)
            Where values are wanted, from the centre of each star [pixel].

        Returns
        -------
        ndarray of float64, shape (n, n_functions, h, w)
            Values [per pixel].
        """
        rings, angular, area = self._parts(moments, rows, columns)
        result = np.empty((len(area), len(self), *rings[0].shape[1:]))
        for number, (ring, harmonic) in enumerate(self.functions):
            np.multiply(rings[ring], angular[harmonic], out=result[:, number])
        result *= self._scale[:, None, None] / area[:, None]
        return result

    def sums(self, factors: Floats, moments: Floats, *, rows: Floats, columns: Floats) -> Floats:
        """Return sums of the functions, shape ``(n, h, w)``, for factors ``(n, n_functions)``."""
        n, h, w = len(rows), rows.shape[1], columns.shape[1]
        result = np.zeros((n, h, w))
        scaled = factors * self._scale
        numbers, harmonics = np.array(self.functions).T
        for place in range(n):  # one by one, for the cache
            one = slice(place, place + 1)
            rings, angular, area = self._parts(moments[:, one], rows[one], columns[one])
            stack = np.concatenate(rings).reshape(self.n_rings, h * w)
            for harmonic, turned in angular.items():
                mine = harmonics == harmonic
                profile = scaled[place, mine] @ stack[numbers[mine]]
                result[place] += turned[0] * profile.reshape(h, w)
            result[place] /= area[0]
        return result

    def _parts(
        self, moments: Floats, rows: Floats, columns: Floats
    ) -> tuple[list[Floats], dict[int, Floats], Floats]:
        """Return rings, harmonics by number, and the areas of the units of the coordinates."""
        v, u, area = _rounded(moments, rows, columns)
        squared = v * v + u * u
        radius = np.arcsinh(np.sqrt(squared) / _STRETCH) / self.spacing
        rings = [_spline(radius - ring) for ring in range(self.n_rings)]
        rings[1] += _spline(radius + 1.0)  # reaches over the centre
        turn = (u + 1j * v) / np.sqrt(1.0 + squared)
        power = turn
        angular = {0: np.ones_like(radius)}
        for harmonic in range(1, self.harmonics + 1):
            angular[harmonic], angular[-harmonic] = power.real, power.imag
            power = power * turn
        return rings, angular, area


def _rounded(moments: Floats, rows: Floats, columns: Floats) -> tuple[Floats, Floats, Floats]:
    """Return coordinates in which stars are round with unit moments, and the area of the unit."""
    yy, xx, xy = (moment[:, None, None] for moment in moments)
    dy, dx = rows[:, :, None], columns[:, None]
    # the symmetric square root of a matrix M is (M + sqrt(det M)) / sqrt(trace M + 2 sqrt(det M))
    area = np.sqrt(yy * xx - xy * xy)
    norm = np.sqrt(yy + xx + 2.0 * area) * area
    v = ((xx + area) * dy - xy * dx) / norm
    u = ((yy + area) * dx - xy * dy) / norm
    return v, u, area


def _spline(t: Floats) -> Floats:
    """Return the central B-spline of degree 3."""
    t = np.abs(t)
    outer, inner = (np.maximum(reach - t, 0.0) for reach in (2.0, 1.0))
    # products: powers take ten times as long
    return (outer * outer * outer - 4.0 * inner * inner * inner) / 6.0
