"""The exposures of a build, by visit and detector; checked, and read again only if they must be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skytool.errors import IncompatibleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from skytool.stages.skyframe.blocks import SkyBlocks

_BUDGET = 1 << 30  # bytes of blocks that are kept


@dataclass(frozen=True)
class BuildInput:
    """One detector of one exposure, which can be asked for as often as needed.

    Parameters
    ----------
    name : str
        What messages call it.
    visit : str
        Exposures with the same visit share one level.
    detector : str
        Exposures of the same detector share one frame.
    load : callable
        Returns the `~skytool.stages.skyframe.blocks.SkyBlocks`.
    """

    name: str
    visit: str
    detector: str
    load: Callable[[], SkyBlocks]


@dataclass(eq=False)
class Night:
    """Exposures by visit and detector.

    Parameters
    ----------
    inputs : dict of (str, str) to BuildInput
        By visit and detector.
    """

    inputs: dict[tuple[str, str], BuildInput]
    _kept: dict[tuple[str, str], SkyBlocks] = field(default_factory=dict)
    _first: dict[str, SkyBlocks] = field(default_factory=dict)
    _filter: tuple[str, str] | None = None

    @classmethod
    def of(cls, inputs: Iterable[BuildInput]) -> Night:
        """Sort exposures.

        Raises
        ------
        IncompatibleError
            If a detector is there twice in one visit.
        """
        found: dict[tuple[str, str], BuildInput] = {}
        for each in inputs:
            key = each.visit, each.detector
            if key in found:
                raise IncompatibleError(
                    f"{found[key].name} and {each.name} are both detector {each.detector or '?'} "
                    f"of visit {each.visit}.",
                    hint="Change --group-by.",
                )
            found[key] = each
        return cls(found)

    @property
    def visits(self) -> list[str]:
        """Visits, in the order in which they first appear."""
        return list(dict.fromkeys(visit for visit, _ in self.inputs))

    @property
    def detectors(self) -> list[str]:
        """Detectors, sorted."""
        return sorted({detector for _, detector in self.inputs}, key=detector_order)

    @property
    def filter_name(self) -> str:
        """Filter of all exposures; empty if unknown."""
        return self._filter[1] if self._filter else ""

    def names(self, visit: str) -> Sequence[str]:
        """Return what messages call the exposures of a visit."""
        return [each.name for (its, _), each in self.inputs.items() if its == visit]

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self.inputs

    def __getitem__(self, key: tuple[str, str]) -> SkyBlocks:
        """Return the blocks of a visit and detector.

        Raises
        ------
        IncompatibleError
            If shape, place or filter are not those of the exposures read before.
        """
        if key in self._kept:
            return self._kept[key]
        blocks = self.inputs[key].load()
        self._check(key[1], blocks)
        if sum(each.memory for each in self._kept.values()) + blocks.memory <= _BUDGET:
            self._kept[key] = blocks
        return blocks

    def shape(self, detector: str) -> tuple[int, int]:
        """Return the shape of a detector of which an exposure was read."""
        return self._first[detector].shape

    def first(self, detector: str) -> SkyBlocks:
        """Return the first exposure of a detector that was read."""
        return self._first[detector]

    def _check(self, detector: str, blocks: SkyBlocks) -> None:
        first = self._first.setdefault(detector, blocks)
        if (first.shape, first.origin) != (blocks.shape, blocks.origin):
            raise IncompatibleError(
                f"{blocks.name} has {blocks.shape[1]} x {blocks.shape[0]} pixels from x "
                f"{blocks.origin.x}, y {blocks.origin.y} on, {first.name} {first.shape[1]} x "
                f"{first.shape[0]} from x {first.origin.x}, y {first.origin.y} on.",
                hint="All exposures of a detector must be of one read-out.",
            )
        if not blocks.filter_name:
            return
        if self._filter is None:
            self._filter = blocks.name, blocks.filter_name
        elif self._filter[1] != blocks.filter_name:
            raise IncompatibleError(
                f"the filters differ: {self._filter[0]} has {self._filter[1]!r}, {blocks.name} has "
                f"{blocks.filter_name!r}.",
                hint="Give exposures of one filter.",
            )


def detector_order(detector: str) -> tuple[int, int, str]:
    """Return a key that sorts detectors by number, then those with names."""
    return (0, int(detector), "") if detector.isdecimal() else (1, 0, detector)
