"""The plan of ``skytool match-bg``: which exposure is the reference, and what each task needs."""

from __future__ import annotations

import logging
import warnings
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from skytool.cli.match_bg.tasks import (
    MatchTask,
    PairTask,
    Visit,
    measure_figures,
    measure_pairs,
    pair_blocks,
)
from skytool.cli.stage_files import Unit
from skytool.errors import IncompatibleError, SkytoolError, SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from skytool.cli.config import Setting
    from skytool.cli.options import RunOptions
    from skytool.models.records.provenance import SettingRecord
    from skytool.stages.match_bg.selection import ReferenceChoice

_log = logging.getLogger(__name__)

STAGE = "match-bg"
_BLOCK = 2  # exposures in memory whose differences to a further one are taken


@dataclass
class Plan:
    """What is to be done with all exposures.

    Parameters
    ----------
    visits : list of Visit
        The exposures among the inputs.
    reference : Visit or None
        What they are matched to, if it is known.
    settings : dict
        The settings of the command.
    records : tuple of SettingRecord
        All settings, for the record.
    offsets : dict of int to float
        Offsets that the user gave, by number of the exposure.
    run : RunOptions
        How to run.
    """

    visits: list[Visit]
    reference: Visit | None
    settings: dict[str, Any]
    records: tuple[SettingRecord, ...]
    offsets: dict[int, float]
    run: RunOptions
    _digests: dict[str, str] = field(default_factory=dict)
    _seen: list[NDArray[np.bool_]] = field(default_factory=list)

    @property
    def numbers(self) -> dict[str, int]:
        """Number of each exposure by its name, which is its own."""
        return {visit.name: number for number, visit in enumerate(self.visits)}

    @classmethod
    def of(
        cls,
        visits: list[Visit],
        reference: Visit | None,
        settings: dict[str, Any],
        recorded: Sequence[Setting],
        *,
        run: RunOptions,
    ) -> Plan:
        """Return the plan, as far as headers tell.

        Raises
        ------
        InputError
            If a file of offsets cannot be read, or no input is of the visit named.
        IncompatibleError
            If an offset is for no input, or for the reference.
        """
        from skytool.models.records.provenance import SettingRecord

        records = tuple(SettingRecord(STAGE, *setting) for setting in recorded)
        offsets = _offsets(visits, settings["offsets"])
        reference = reference or _named(visits, settings)
        if reference is None and len(visits) == 1:
            reference = visits[0]
        if reference is not None and any(visits[k] is reference for k in offsets):
            raise IncompatibleError(
                f"{reference.name} is the reference and has an offset in {settings['offsets']}."
            )
        return cls(visits, reference, settings, records, offsets, run)

    def units(self) -> list[Unit[MatchTask]]:
        """Return the work, an exposure a unit, with tasks that are not complete yet."""
        also = [] if self.reference is None else [self.reference]
        return [
            Unit(
                name=visit.name,
                inputs=tuple(_files([visit, *also])),
                outputs=tuple(_paths(visit)),
                task=MatchTask(visit=visit),
                plan={
                    "shape": list(visit.frame_shape),
                    "reference": self.reference.name if self.reference else None,
                    "cell": visit.config.cell_size(visit.frame_shape),
                },
            )
            for visit in self.visits
        ]

    def is_current(self, unit: Unit[Any]) -> bool:
        """Tell whether the products of a unit were made from the inputs and settings in force."""
        from skytool.io.fits import opened

        if not isinstance(unit.task, MatchTask):
            return False
        expected = self._fingerprint(unit.task.visit)
        for path in unit.outputs:
            with opened(path, verify=True) as hdus:
                if hdus[0].header.get("SKYPRINT") != expected:
                    return False
        return True

    def completed(self, units: Sequence[Unit[Any]]) -> list[Unit[Any]]:
        """Choose the reference or solve for all exposures, and complete the tasks.

        Exposures whose pixels cannot be read become failures.
        """
        from skytool.cli.match_bg.global_tasks import global_tasks

        if self.settings["mode"] == "global":
            return global_tasks(self, units)
        broken: dict[str, SkytoolError] = {}
        choice = None
        if self.reference is None:
            choice, broken = self.choose()
            if not broken and self._is_mosaic(choice):
                _log.info("--mode global: the inputs are parts of a mosaic")
                return global_tasks(self, units, choice=choice)
            self.reference = self.visits[choice.index]
        reference = self.reference
        records = self.reference_records(reference)
        out = []
        for unit in units:
            if not isinstance(unit.task, MatchTask) or unit.error is not None:
                out.append(unit)
                continue
            visit = unit.task.visit
            if visit.name in broken:
                out.append(replace(unit, error=broken[visit.name]))
                continue
            task = self.task(
                visit, reference, records, facts=self.costs(choice, self.numbers[visit.name])
            )
            out.append(replace(unit, task=task))
        return out

    def task(
        self,
        visit: Visit,
        reference: Visit | None,
        records: Sequence[Any],
        **values: Any,
    ) -> MatchTask:
        """Return the complete task of an exposure."""
        number = self.numbers[visit.name]
        values.setdefault("is_reference", reference is not None and visit.name == reference.name)
        values.setdefault("mode", "reference")
        return MatchTask(
            visit=visit,
            reference=reference,
            given=self.offsets.get(number),
            fit_scale=self.settings["scale"] == "fit",
            reference_records=tuple(records),
            settings=self.records,
            fingerprint=self._fingerprint(visit),
            overwrite=self.run.may_replace,
            compress=self.run.compress,
            **values,
        )

    def choose(self) -> tuple[ReferenceChoice, dict[str, SkytoolError]]:
        """Measure all exposures and choose the reference; also return which cannot be read.

        Raises
        ------
        AlgorithmError
            If no exposure has a good pixel.
        SkytoolError
            What reading raises, unless the run goes on.
        """
        from skytool.core.background.reference_cost import NO_FIGURES
        from skytool.parallel import run_tasks
        from skytool.stages.match_bg import best_reference

        figures, broken = [], {}
        outcomes = run_tasks(
            measure_figures,
            self.visits,
            jobs=self.run.jobs,
            scheduler=self.run.scheduler,
            keep_going=self.run.keep_going,
        )
        with closing(outcomes):
            for visit, outcome in zip(self.visits, outcomes, strict=False):
                if outcome.error is None:
                    figures.append(outcome.result.sky)
                    self._seen.append(outcome.result.seen)
                elif self.run.keep_going and isinstance(outcome.error, SkytoolError):
                    figures.append(NO_FIGURES)
                    broken[visit.name] = outcome.error
                else:
                    raise outcome.error
        for number in self.offsets:  # what gets an offset cannot stay as it is
            figures[number] = NO_FIGURES
        choice = best_reference(figures, self.visits[0].config)
        _log.info("reference: %s", self.visits[choice.index].name)
        return choice, broken

    def _is_mosaic(self, choice: ReferenceChoice) -> bool:
        """Tell whether the mode is left open, and all overlaps are needed."""
        from skytool.stages.match_bg import is_mosaic

        is_open = (
            self.settings["mode"] == "auto"
            and self.settings["use_polynomial"]
            and self.settings["smoothing"] == "0"
            and self.settings["scale"] != "fit"
            and not self.settings["tract_grid"]
        )
        return is_open and is_mosaic(self._seen, choice.index)

    def costs(self, choice: ReferenceChoice | None, number: int) -> dict[str, Any]:
        """Return the cost of an exposure as a reference, for the report."""
        if choice is None:
            return {}
        terms = {f"cost_{name}": float(term[number]) for name, term in choice.terms.items()}
        return {"cost": float(choice.cost[number]), **terms}

    def pairs(self) -> list[Any]:
        """Measure the differences of all pairs."""
        from skytool.parallel import run_tasks

        visits = tuple(self.visits)
        size = _BLOCK if all(len(visit.members) == 1 for visit in visits) else 1
        tasks = [PairTask(block, visits) for block in pair_blocks(len(visits), size)]
        outcomes = run_tasks(measure_pairs, tasks, jobs=self.run.jobs, scheduler=self.run.scheduler)
        with closing(outcomes):
            return [pair for outcome in outcomes for pair in outcome.result]

    def match_scales(self, choice: ReferenceChoice | None) -> None:
        """Bring all fluxes to those of the reference, or of the first exposure."""
        chosen = self.visits[0 if choice is None else choice.index]
        base = (self.reference or chosen).scale
        self.visits = [replace(visit, scale=visit.scale / base) for visit in self.visits]

    def reference_records(self, reference: Visit) -> list[Any]:
        """Return the rows of the table of inputs for the reference."""
        from skytool.cli.match_bg.product import matched_record

        return [matched_record(member.source, role="reference") for member in reference.members]

    def _fingerprint(self, visit: Visit) -> str:
        """Return what changes whenever the product of an exposure may change."""
        from skytool.models.records.provenance import fingerprint

        named = self.settings["reference"] or self.settings["ref_warp_visit"]
        involved = list(self.visits)  # all of them decide on the reference, or on the solution
        if named and self.settings["mode"] != "global" and self.reference is not None:
            involved = [visit, self.reference]
        sums = [self._digest(member.source) for one in involved for member in one.members]
        sums.append(repr(sorted(self.offsets.items())))
        return fingerprint(sums, self.records)

    def _digest(self, source: Any) -> str:
        key = str(source.spec)
        if key not in self._digests:
            self._digests[key] = source.digest()
        return self._digests[key]


def _files(visits: Sequence[Visit]) -> list[str]:
    files = [
        str(path) for visit in visits for member in visit.members for path in member.source.files
    ]
    return list(dict.fromkeys(files))


def _paths(visit: Visit) -> list[Any]:
    from pathlib import Path

    return [Path(member.output) for member in visit.members]


def _named(visits: Sequence[Visit], settings: dict[str, Any]) -> Visit | None:
    """Return the exposure that a setting names as the reference, among the inputs."""
    from skytool.cli.match_bg.units import find_visit

    if settings["ref_warp_visit"] is not None:
        return find_visit(visits, settings["ref_warp_visit"])
    return None


def _offsets(visits: Sequence[Visit], file: str | None) -> dict[int, float]:
    """Return the offsets of a file by the number of the exposure."""
    if file is None:
        return {}
    from skytool.io.offsets import offset_of, read_offsets, unknown_names

    given = read_offsets(file)
    names = [member.source.path.name for visit in visits for member in visit.members]
    unknown = unknown_names(given, names)
    if unknown:
        raise IncompatibleError(f"{file} has an offset for {unknown[0]}, which is no input.")
    found = {}
    for number, visit in enumerate(visits):
        for member in visit.members:
            value = offset_of(member.source.path.name, given)
            if value is not None:
                found[number] = value
    return found


def warn_alone(names: Sequence[str]) -> None:
    """Warn of exposures that overlap no other one."""
    if names:
        warnings.warn(
            f"nothing overlaps {', '.join(names)}: left as it is.", SkytoolWarning, stacklevel=2
        )
