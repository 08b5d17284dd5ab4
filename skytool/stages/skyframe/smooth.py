"""The smooth background that is fitted together with the scale of a sky frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.chebyshev import ChebyshevModel, point_basis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.stages.skyframe.config import SkyMeasurementConfig
    from skytool.stages.skyframe.large_scale import FocalPlane

    Floats = NDArray[np.float64]

MAX_ORDER = 3
"""Highest order that is tried where the samples choose."""


@dataclass(frozen=True, eq=False)
class SmoothTerms:
    """Constants of detectors and terms over the focal plane.

    Parameters
    ----------
    detectors : tuple of str
        The detectors.
    plane : FocalPlane
        Where they lie.
    highest : int
        Highest total degree; -1 for no terms at all.
    pistons : bool
        A constant for every detector, instead of one for all.
    chosen_by_samples : bool
        Terms above the constants are used only as far as the samples call for them.
    """

    detectors: tuple[str, ...]
    plane: FocalPlane
    highest: int
    pistons: bool
    chosen_by_samples: bool

    @classmethod
    def of(
        cls, detectors: tuple[str, ...], plane: FocalPlane, config: SkyMeasurementConfig
    ) -> SmoothTerms:
        """Return the terms that settings ask for."""
        order = config.background_order
        highest = MAX_ORDER if order < 0 else order
        if config.fit == "scale":
            highest = -1
        return cls(detectors, plane, highest, config.pistons, order < 0)

    @property
    def orders(self) -> NDArray[np.int64]:
        """Order of each term, 0 for those that are used in any case."""
        if self.highest < 0:
            return np.empty(0, np.int64)
        constants = [0] * (len(self.detectors) if self.pistons else 1)
        others = [order for order in range(1, self.highest + 1) for _ in range(order + 1)]
        orders = np.array(constants + others, np.int64)
        return orders if self.chosen_by_samples else np.zeros_like(orders)

    def at(self, detector: str, *, y: Floats, x: Floats) -> Floats:
        """Return the terms at pixels of a detector, shape ``(n, k)``."""
        if self.highest < 0:
            return np.empty((len(y), 0))
        constants = np.zeros((len(y), len(self.detectors) if self.pistons else 1))
        constants[:, self.detectors.index(detector) if self.pistons else 0] = 1.0
        return np.hstack([constants, self.plane.terms(detector, self.highest, y=y, x=x)])

    def polynomial(self, detector: str, factors: Floats, order: int) -> ChebyshevModel:
        """Return the background over the pixels of a detector.

        The map to the focal plane is linear, so that it is a polynomial of the same degree in
        pixels: its values at as many places as it has degrees tell it exactly.

        Parameters
        ----------
        detector : str
            The detector.
        factors : ndarray of float64, shape (k,)
            Of the terms [unit of image].
        order : int
            Degree above which all factors are zero.
        """
        ny, nx = shape = self.plane.shapes[detector]
        y, x = (
            axis.ravel()
            for axis in np.meshgrid(
                np.linspace(0, ny - 1, order + 1), np.linspace(0, nx - 1, order + 1), indexing="ij"
            )
        )
        values = self.at(detector, y=y, x=x) @ factors
        basis = point_basis(order, shape, y=y, x=x)
        return ChebyshevModel.from_terms(np.linalg.lstsq(basis, values, rcond=None)[0], shape)
