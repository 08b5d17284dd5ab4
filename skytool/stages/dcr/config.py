"""What can be set for the assembly of a DCR model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from skytool.core.dcr.iterate import IterativeRule
from skytool.core.dcr.region import LsqRule

Solver = Literal["lsq", "iterative"]

BAD_PLANES = ("NO_DATA", "BAD", "SAT", "CR", "INTRP", "STREAK")
"""Planes whose pixels are left out: no value, a wrong one, or one that was filled in."""


@dataclass(frozen=True, kw_only=True)
class DcrConfig:
    """Settings of the assembly.

    Parameters
    ----------
    solver : {"lsq", "iterative"}
        Direct least squares, or steps with a gain.
    num_subfilters : int or None
        Equal parts of the band; None for as many as smear less than half a pixel each.
    bad_planes : tuple of str
        Planes of pixels that do not count.
    lsq : LsqRule
        How the direct solution is found.
    iterative : IterativeRule
        How steps are made.
    iterative_planes : tuple of str
        Planes of sources, on which the steps are judged and subfilters may differ.
    subregion_size : (int, int)
        Largest shape ``(ny, nx)`` that is solved for at once [pixel].
    border : int
        Pixels around it that help, beyond the largest shift.
    """

    solver: Solver = "lsq"
    num_subfilters: int | None = 3
    bad_planes: tuple[str, ...] = BAD_PLANES
    lsq: LsqRule = field(default_factory=LsqRule)
    iterative: IterativeRule = field(default_factory=IterativeRule)
    iterative_planes: tuple[str, ...] = ("DETECTED",)
    subregion_size: tuple[int, int] = (1000, 1000)
    border: int = 40
