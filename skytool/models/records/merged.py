"""The records of several warps in one file, each visit and detector under a number of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from skytool.models.records.warp import CcdRecord, VisitRecord

CCDS_PER_VISIT = 1000
"""Numbers of detectors that a visit has room for."""


@dataclass(frozen=True)
class WarpRecords:
    """The records of one warp.

    Parameters
    ----------
    visits : tuple of VisitRecord
        Its visits, one unless it is a coadd itself.
    ccds : tuple of CcdRecord
        Its detectors.
    numbers : dict of int to int
        New number of each detector by its old one, where `numbered_apart` made these records.
    """

    visits: tuple[VisitRecord, ...]
    ccds: tuple[CcdRecord, ...]
    numbers: dict[int, int]

    def weighted(self, weight: float) -> WarpRecords:
        """Return the records with a weight for the warp; those of several visits share it."""
        total = sum(visit.weight for visit in self.visits) or 1.0
        share = {visit.id: weight * visit.weight / total for visit in self.visits}
        return WarpRecords(
            tuple(replace(visit, weight=share[visit.id]) for visit in self.visits),
            tuple(replace(ccd, weight=share.get(ccd.visit, weight)) for ccd in self.ccds),
            self.numbers,
        )


def numbered_apart(warps: Iterable[WarpRecords]) -> list[WarpRecords]:
    """Return the records of warps with no visit and no detector under the number of another one.

    A visit keeps its number unless an earlier warp has another visit of that number, as visits
    without one do, which are counted in every run anew; it then gets the next free number.
    Two warps may show different detectors of one visit.
    """
    names: dict[int, str] = {}
    taken: set[int] = set()
    return [_numbered(warp, names, taken) for warp in warps]


def _numbered(warp: WarpRecords, names: dict[int, str], taken: set[int]) -> WarpRecords:
    """Return the records of one warp, and remember its numbers."""
    moved: dict[int, int] = {}
    for visit in warp.visits:
        number = visit.id
        while names.get(number, visit.name) != visit.name:
            number += 1
        names[number] = visit.name
        moved[visit.id] = number
    ccds, numbers = [], {}
    for ccd in warp.ccds:
        visit_number = moved.get(ccd.visit, ccd.visit)
        number = ccd.id + CCDS_PER_VISIT * (visit_number - ccd.visit)
        while number in taken:
            number += 1
        taken.add(number)
        numbers[ccd.id] = number
        ccds.append(replace(ccd, id=number, visit=visit_number))
    visits = tuple(replace(visit, id=moved[visit.id]) for visit in warp.visits)
    return WarpRecords(visits, tuple(ccds), numbers)
