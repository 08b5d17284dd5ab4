"""What can be set for a coadd."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from skytool.core.stacks.coadd import Clipping, Statistic

Units = Literal["auto", "njy", "zeropoint", "input"]
Weight = Literal["visit", "pixel", "equal"]

BAD_PLANES = ("NO_DATA", "BAD", "SAT", "CR", "INTRP", "STREAK")
"""Planes whose pixels are left out: no value, a wrong one, or one that was filled in."""


@dataclass(frozen=True, kw_only=True)
class CoaddConfig:
    """Settings of `~skytool.stages.coadd.coadd_warps`.

    Parameters
    ----------
    statistic : {"mean", "meanclip", "median"}
        Weighted mean, weighted mean without outliers, or median, which has no weights.
    clipping : Clipping
        What an outlier is.
    weight : {"visit", "pixel", "equal"}
        One weight for every input, the inverse of its clipped mean variance; the inverse variance
        of every pixel; or all the same. With weights by pixel, a star weighs less where it is
        bright, so that its flux and its image depend on its brightness.
    bad_planes : tuple of str
        Planes whose pixels are left out.
    propagate_planes : tuple of str
        Planes of pixels left out that the coadd has all the same, where these have a part of the
        weight of all.
    propagate_from : float
        That part.
    units : {"auto", "njy", "zeropoint", "input"}
        Flux units of the coadd: nanojansky, those of a zero point, or those of the first input;
        ``auto`` takes nanojansky if all inputs are calibrated.
    zeropoint : float or None
        AB magnitude of one unit, with ``units="zeropoint"``.
    strip_bytes : int
        Memory for the rows of all inputs that are worked on at once.
    """

    statistic: Statistic = "meanclip"
    clipping: Clipping = field(default_factory=Clipping)
    weight: Weight = "visit"
    bad_planes: tuple[str, ...] = BAD_PLANES
    propagate_planes: tuple[str, ...] = ("SAT",)
    propagate_from: float = 0.1
    units: Units = "auto"
    zeropoint: float | None = None
    strip_bytes: int = 64 << 20
