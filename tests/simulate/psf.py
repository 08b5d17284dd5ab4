"""Point spread functions with every photon inside a finite radius."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_QUADRATURE = 4  # points per pixel and axis: 1e-7 of the peak at a FWHM of 2.5 pixels


@dataclass(frozen=True)
class Profile:
    """Light of a point source at one place of the detector, normalised to 1.

    A Moffat function, or a Gaussian where ``beta`` is infinite, that a smooth taper brings to zero
    between three quarters of ``radius`` and ``radius``.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum of the round profile [pixel].
    beta : float
        Moffat exponent.
    g1, g2 : float
        Reduced shear that stretches along x and along the diagonal.
    radius : float
        Where the round profile ends [pixel].
    """

    fwhm: float
    beta: float = 3.0
    g1: float = 0.0
    g2: float = 0.0
    radius: float = 14.0

    def _round(self, r2: NDArray[np.float64]) -> NDArray[np.float64]:
        if np.isinf(self.beta):
            core = np.exp(-4 * np.log(2) / self.fwhm**2 * r2)
        else:
            core = (1 + r2 * (4 * (2 ** (1 / self.beta) - 1) / self.fwhm**2)) ** -self.beta
        outer = np.clip(4 * np.sqrt(r2) / self.radius - 3, 0.0, 1.0)
        return core * (1 - outer * outer * (3 - 2 * outer))

    @cached_property
    def _norm(self) -> float:
        points, weights = np.polynomial.legendre.leggauss(48)
        edges = np.array([0.0, 0.25, 0.5, 0.75, 1.0]) * self.radius
        half = np.diff(edges)[:, None] / 2
        r = edges[:-1, None] + half * (1 + points)
        return float(1 / (2 * np.pi * np.sum(half * weights * r * self._round(r * r))))

    @property
    def reach(self) -> int:
        """Pixels from the centre that light can reach."""
        g = np.hypot(self.g1, self.g2)
        return int(np.ceil(self.radius * np.sqrt((1 + g) / (1 - g)) + 0.5))

    def density(self, dy: NDArray[np.float64], dx: NDArray[np.float64]) -> NDArray[np.float64]:
        """Light per square pixel at an offset from the centre; broadcasts."""
        scale = 1 / (1 - self.g1**2 - self.g2**2)
        u = (1 - self.g1) * dx - self.g2 * dy
        v = (1 + self.g1) * dy - self.g2 * dx
        return self._norm * self._round(scale * (u * u + v * v))

    def integrated(
        self, y: NDArray[np.float64], x: NDArray[np.float64], weights: NDArray[np.float64], box: Box
    ) -> NDArray[np.float64]:
        """Light in each pixel of a box for points at ``y, x`` of the given weights."""
        nodes, node_weights = _quadrature()
        rows = (box.y0 + np.arange(box.ny))[:, None] + nodes / 2
        columns = (box.x0 + np.arange(box.nx))[:, None] + nodes / 2
        dy = rows.ravel()[None, :, None] - y[:, None, None]
        dx = columns.ravel()[None, None, :] - x[:, None, None]
        fine = np.einsum("n,nyx->yx", weights, self.density(dy, dx))
        fine = fine.reshape(box.ny, N_QUADRATURE, box.nx, N_QUADRATURE)
        return np.einsum("yaxb,a,b->yx", fine, node_weights / 2, node_weights / 2)


@dataclass(frozen=True)
class Box:
    """Rectangle of pixels: first row and column, and how many there are."""

    y0: int
    x0: int
    ny: int
    nx: int


@dataclass(frozen=True)
class SimulatedPsf:
    """Point spread function that varies linearly over a detector.

    Parameters
    ----------
    fwhm, beta, g1, g2, radius : float
        Profile at the middle of the detector; see `Profile`.
    fwhm_slope : tuple of float
        Relative change of the width from the middle to the end, along y and x.
    shear_slope : tuple of float
        Change of g1 along y and of g2 along x, from the middle to the end.
    shape : tuple of int
        Shape ``(ny, nx)`` of the detector the slopes refer to.
    """

    fwhm: float
    beta: float = 3.0
    g1: float = 0.0
    g2: float = 0.0
    radius: float = 14.0
    fwhm_slope: tuple[float, float] = (0.0, 0.0)
    shear_slope: tuple[float, float] = (0.0, 0.0)
    shape: tuple[int, int] = (1, 1)

    @property
    def is_constant(self) -> bool:
        return not any((*self.fwhm_slope, *self.shear_slope))

    def at(self, *, y: float, x: float) -> Profile:
        if self.is_constant:
            return self._middle
        v, u = ((2 * p + 1) / n - 1 for p, n in zip((y, x), self.shape, strict=True))
        return Profile(
            self.fwhm * (1 + self.fwhm_slope[0] * v + self.fwhm_slope[1] * u),
            self.beta,
            self.g1 + self.shear_slope[0] * v,
            self.g2 + self.shear_slope[1] * u,
            self.radius,
        )

    @cached_property
    def _middle(self) -> Profile:
        return Profile(self.fwhm, self.beta, self.g1, self.g2, self.radius)

    def image(self, *, y: float, x: float) -> tuple[NDArray[np.float64], Box]:
        """Light of a star of flux 1 in the pixels around it, and which pixels these are."""
        profile = self.at(y=y, x=x)
        box = box_around(y, x, profile.reach)
        return profile.integrated(np.array([y]), np.array([x]), np.ones(1), box), box

    def kernel_image(self, *, y: float, x: float, reach: int | None = None) -> NDArray[np.float64]:
        """Image of odd shape, sum 1, centred on its middle pixel, as at ``y, x``."""
        profile = self.at(y=y, x=x)
        reach = profile.reach if reach is None else reach
        box = Box(-reach, -reach, 2 * reach + 1, 2 * reach + 1)
        image = profile.integrated(np.zeros(1), np.zeros(1), np.ones(1), box)
        return image / image.sum()


@cache
def _quadrature() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.polynomial.legendre.leggauss(N_QUADRATURE)


def box_around(y: float, x: float, reach: int) -> Box:
    return Box(round(y) - reach, round(x) - reach, 2 * reach + 1, 2 * reach + 1)
