"""The PSF of a warp, gathered detector by detector."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.errors import SkytoolWarning

if TYPE_CHECKING:
    from skytool.models.psf.coadd import CoaddPsf
    from skytool.models.psf.input import PsfInput
    from skytool.models.psf.kinds import Psf
    from skytool.stages.warp.config import WarpConfig
    from skytool.stages.warp.prepare import Prepared
    from skytool.stages.warp.resampling import WarpedDetector

_SAMPLED = 16  # [pixel] between the variances that are looked at
_AREA_MARGINS = {"exact": 0.65, "adaptive": 1.5}  # half of the footprint, about [target pixel]


@dataclass(eq=False)
class PsfGatherer:
    """The PSFs of the detectors of a warp while they are added.

    Parameters
    ----------
    config : WarpConfig
        Settings of the warp.
    """

    config: WarpConfig
    _inputs: list[PsfInput] = field(default_factory=list)
    _variances: list[float] = field(default_factory=list)
    _missing: list[str] = field(default_factory=list)
    _count: int = 0

    def add(self, psf: Psf | None, prepared: Prepared, warped: WarpedDetector) -> None:
        """Take the PSF of a detector that was resampled.

        Its number is its place among the detectors.
        """
        number = self._count
        self._count += 1
        if not warped.good_pixels:
            return
        if psf is None:
            self._missing.append(prepared.name)
            return
        from skytool.models.psf.input import PsfInput

        shape = prepared.image.shape
        entry = PsfInput.of_detector(
            psf,
            warped.pixel_map.positions,
            warped.pixel_map.window,
            (shape[0], shape[1]),
            self._region(shape[0], shape[1], warped.area),
            id=number,
            kernel=self.config.kernel,
            oversample=warped.oversample,
            shift=self.config.psf_shift,
            shares=self.config.psf_overlap == "taken",
            good_pixels=warped.good_pixels,
        )
        if entry is not None:
            self._inputs.append(entry)
            self._variances.append(_typical_variance(prepared))

    def _region(self, ny: int, nx: int, area: float) -> tuple[float, float, float, float]:
        """Return the positions on a detector that count as seen by target pixels of an area."""
        if self.config.psf_overlap == "all":
            return -0.5, ny - 0.5, -0.5, nx - 0.5
        if self.config.takes_areas:
            margin = _AREA_MARGINS[self.config.kernel] * max(1.0, math.sqrt(area))
            return margin - 0.5, ny - 0.5 - margin, margin - 0.5, nx - 0.5 - margin
        from skytool.core.resampling.kernels import resampling_kernel

        margin = resampling_kernel(self.config.kernel).half_size
        return margin - 1.0, float(ny - margin), margin - 1.0, float(nx - margin)

    def result(self, shape: tuple[int, int]) -> CoaddPsf | None:
        """Return the PSF of the warp, of a shape ``(ny, nx)``; None if a detector has none."""
        if self._missing:
            if self._inputs:
                warnings.warn(
                    f"the warp gets no PSF: {', '.join(self._missing)} has none.",
                    SkytoolWarning,
                    stacklevel=2,
                )
            return None
        if not self._inputs:
            return None
        from skytool.models.psf.coadd import CoaddPsf

        inputs = (
            replace(entry, rank=rank)
            for entry, rank in zip(self._inputs, self._ranks(), strict=True)
        )
        return CoaddPsf(tuple(inputs), shape)

    def _ranks(self) -> list[int]:
        """Return which detector gives the star where several see it: that of the highest rank."""
        n, overlap = len(self._inputs), self.config.overlap
        if self.config.psf_overlap == "all" or overlap == "mean":
            return [0] * n
        if overlap == "best-variance":
            order = np.argsort(np.negative(self._variances), kind="stable")
            return [int(rank) for rank in np.argsort(order)]
        return list(range(n)) if overlap == "last" else list(range(n, 0, -1))


def _typical_variance(prepared: Prepared) -> float:
    """Return the median variance of a detector [unit of the warp squared]."""
    sample = prepared.variance[::_SAMPLED, ::_SAMPLED]
    known = sample[np.isfinite(sample)]
    return float(np.median(known)) if known.size else np.inf
