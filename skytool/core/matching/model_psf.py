"""The PSF that PSF-matched images are brought to: a Gaussian with a Gaussian wing."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.matching.kernel_basis import SIGMA_TO_FWHM
from skytool.core.psf.adaptive_moments import adaptive_moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOMENT_REACH = 3.0  # half side of the stamp for adaptive moments over the FWHM


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPsf:
    """A round double Gaussian, ``exp(-r^2 / 2 s^2) + b exp(-r^2 / 2 (w s)^2)``.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum of the core [pixel]; ``s = fwhm / 2.3548``.
    add_wing : bool
        Whether there is a second Gaussian.
    wing_fwhm_factor : float
        Width w of the wing over that of the core.
    wing_amplitude : float
        Height b of the wing over that of the core.
    size : int, optional
        Side of the stamp [pixel]; from the width if not given.
    size_factor : float
        Side of the stamp over the FWHM.
    min_size, max_size : int
        Bounds of the side where it comes from the width [pixel]; no upper one if None.

    Raises
    ------
    ValueError
        If a value is not positive, the sizes are out of order, or the side is even.

    Notes
    -----
    The wing makes the whole wider than its core: with the defaults the half maximum is 1.056
    and the width from adaptive moments 1.131 times the FWHM of the core.
    """

    fwhm: float = 3.0
    add_wing: bool = True
    wing_fwhm_factor: float = 2.5
    wing_amplitude: float = 0.1
    size: int | None = None
    size_factor: float = 3.0
    min_size: int | None = 5
    max_size: int | None = None

    def __post_init__(self) -> None:
        values = {"fwhm": self.fwhm, "size_factor": self.size_factor}
        if self.add_wing:
            values["wing_fwhm_factor"] = self.wing_fwhm_factor
            values["wing_amplitude"] = self.wing_amplitude
        for name in ("size", "min_size", "max_size"):
            if getattr(self, name) is not None:
                values[name] = getattr(self, name)
        for name, value in values.items():
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} of the model PSF must be positive, got {value}")
        if None not in (self.min_size, self.max_size) and self.min_size > self.max_size:  # type: ignore[operator]
            raise ValueError(
                f"min_size {self.min_size} of the model PSF is larger than max_size {self.max_size}"
            )
        if self.size is not None and self.size % 2 == 0:
            raise ValueError(f"size of the model PSF must be odd, got {self.size}")

    @property
    def sigma(self) -> float:
        """Standard deviation of the core [pixel]."""
        return float(self.fwhm / SIGMA_TO_FWHM)

    @property
    def stamp_size(self) -> int:
        """Side of the stamp [pixel], odd."""
        if self.size is not None:
            return self.size
        side = 2 * (int(self.size_factor * self.fwhm) // 2) + 1
        if self.max_size is not None:
            side = min(side, self.max_size)
        return max(side, self.min_size or 1)

    def profile(self, radius: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the height at distances from the centre [pixel], 1 (or 1 + b) in the centre."""
        squared = (radius / self.sigma) ** 2
        height = np.exp(-0.5 * squared)
        if self.add_wing:
            height += self.wing_amplitude * np.exp(-0.5 * squared / self.wing_fwhm_factor**2)
        return height

    def image(
        self, size: int | None = None, *, taper: tuple[float, float] | None = None
    ) -> NDArray[np.float64]:
        """Return the model on a stamp, sampled at pixel centres.

        Parameters
        ----------
        size : int, optional
            Side of the stamp [pixel], odd; `stamp_size` if not given.
        taper : tuple of float, optional
            Distances from the centre between which the model is brought to zero smoothly, by a
            squared cosine [pixel].

        Returns
        -------
        ndarray of float64, shape (size, size)
            Unit sum.

        Raises
        ------
        ValueError
            If the side is even.
        """
        side = self.stamp_size if size is None else size
        if side < 1 or side % 2 == 0:
            raise ValueError(f"the side of a PSF stamp must be odd, got {side}")
        offsets = np.arange(side, dtype=np.float64) - side // 2
        radius = np.hypot(offsets[:, None], offsets)
        height = self.profile(radius)
        if taper is not None:
            phase = np.clip((radius - taper[0]) / (taper[1] - taper[0]), 0.0, 1.0)
            height *= 0.5 + 0.5 * np.cos(np.pi * phase)
        return height / height.sum()

    def enclosed(self, half_size: int) -> float:
        """Return the part of the light in a box that reaches `half_size` pixels from the middle."""
        edge = (half_size + 0.5) / (math.sqrt(2.0) * self.sigma)
        core = math.erf(edge) ** 2
        if not self.add_wing:
            return core
        weight = self.wing_amplitude * self.wing_fwhm_factor**2
        return (core + weight * math.erf(edge / self.wing_fwhm_factor) ** 2) / (1.0 + weight)

    def half_size_enclosing(self, part: float) -> int:
        """Return the smallest half side of a box that holds a part of the light [pixel]."""
        half = 1
        while self.enclosed(half) < part:
            half += 1
        return half

    def adaptive_fwhm(self) -> float:
        """Return the width of the model from adaptive moments [pixel]."""
        half = max(math.ceil(_MOMENT_REACH * self.fwhm), 4)
        return adaptive_moments(self.image(2 * half + 1)).fwhm

    def with_adaptive_fwhm(self, fwhm: float) -> ModelPsf:
        """Return the model with a core such that the width from adaptive moments is as given.

        The narrowest model that PSFs can be matched to without deconvolution is the one with
        the width of the widest of them.
        """
        ratio = self.adaptive_fwhm() / self.fwhm
        for _ in range(3):  # the ratio depends on the width only through the pixels
            model = replace(self, fwhm=fwhm / ratio, size=None)
            ratio = model.adaptive_fwhm() / model.fwhm
        return replace(self, fwhm=fwhm / ratio)
