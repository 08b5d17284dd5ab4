"""What can be set for the measurement of a point spread function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Method = Literal["basis", "grid"]

BAD_PLANES = ("BAD", "SAT", "INTRP", "CR", "EDGE", "NO_DATA", "STREAK", "SPIKE", "UNMASKEDNAN")
"""Planes of pixels that are not used unless the settings say otherwise."""


@dataclass(frozen=True, kw_only=True)
class PsfConfig:
    """Settings of `~skytool.stages.psf.measure_psf`; values out of range are a `ValueError`.

    Parameters
    ----------
    method : {"basis", "grid"}
        Images times polynomials, or images of their own at the points of a grid, made by photutils.
    spatial_order : int or None
        Highest total degree of the variation over the image; None lets the stars choose.
    max_spatial_order : int
        Highest that they may choose.
    size : int or None
        Side of the images of the PSF [pixel], odd; None takes one from the width.
    oversampling : int or None
        Samples per pixel along each axis; None takes more than one where stars are undersampled.
    grid : (int, int) or None
        Number of points ``(y, x)`` with ``method="grid"``; None takes as many as there are stars
        for.
    bad_planes : tuple of str
        Planes of pixels that are not used.
    min_snr, max_snr : float
        Range of the ratio of signal to noise of stars.
    max_neighbor : float
        Brightest neighbour in the stamp of a star over the star itself.
    min_stars, max_stars : int
        Fewest stars that a measurement needs, and most that it uses.
    reserve_fraction : float
        Part of the stars that the model is not fitted to, but judged by.
    accuracy : float
        Error of the model relative to itself that is added to the noise of the pixels.
    """

    method: Method = "basis"
    spatial_order: int | None = None
    max_spatial_order: int = 2
    size: int | None = None
    oversampling: int | None = None
    grid: tuple[int, int] | None = None
    bad_planes: tuple[str, ...] = BAD_PLANES
    min_snr: float = 20.0
    max_snr: float = float("inf")
    max_neighbor: float = 1.0
    min_stars: int = 3
    max_stars: int = 300
    reserve_fraction: float = 0.2
    accuracy: float = 0.005

    def __post_init__(self) -> None:
        if not 0.0 < self.min_snr < self.max_snr:
            raise ValueError(f"the range of S/N, {self.min_snr:g} to {self.max_snr:g}, is empty")
        if not 1 <= self.min_stars <= self.max_stars:
            raise ValueError(f"{self.min_stars} to {self.max_stars} stars is no range")
        if self.size is not None and (self.size < 5 or self.size % 2 == 0):
            raise ValueError(f"the side of a PSF is odd and at least 5, not {self.size}")
        if not 0.0 <= self.reserve_fraction <= 0.5:
            raise ValueError(f"{self.reserve_fraction:g} of the stars is not at most half of them")
