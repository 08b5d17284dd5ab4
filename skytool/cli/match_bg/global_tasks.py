"""The tasks of ``skytool match-bg --mode global``: all pairs measured, one solution for all."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from skytool.cli.match_bg.tasks import MatchTask, measure_figures
from skytool.errors import AlgorithmError, IncompatibleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skytool.cli.match_bg.plan import Plan
    from skytool.cli.match_bg.tasks import Visit
    from skytool.cli.stage_files import Unit
    from skytool.core.background.chebyshev import ChebyshevModel
    from skytool.core.background.overlap_solve import OverlapSolution, PairCells
    from skytool.core.background.reference_cost import ReferenceChoice
    from skytool.stages.match_bg import BackgroundFit

_log = logging.getLogger(__name__)


def global_tasks(
    plan: Plan, units: Sequence[Unit[Any]], *, choice: ReferenceChoice | None = None
) -> list[Unit[Any]]:
    """Solve for all exposures and return the units with complete tasks.

    With `choice` the exposures need not be measured anew to choose a reference.

    Raises
    ------
    IncompatibleError
        If the reference is no input.
    AlgorithmError
        If no two exposures overlap, or the overlaps do not determine the corrections.
    SkytoolError
        What reading raises.
    """
    from skytool.stages.match_bg import partner_of, solve

    visits, config = plan.visits, plan.visits[0].config
    reference = plan.reference
    if reference is not None and reference not in visits:
        raise IncompatibleError(
            f"{reference.name} is no input, which --mode global needs.",
            hint="Give it as an input too.",
        )
    if len(visits) == 1:
        return [_alone(plan, unit) for unit in units]
    if choice is None and reference is None and config.gauge == "reference":
        choice, _ = plan.choose()
    plan.match_scales(choice)
    visits = plan.visits
    pairs = plan.pairs()
    number = None if reference is None else plan.numbers[reference.name]
    solution = solve(
        pairs, len(visits), config, choice=choice, reference=number, fixed=plan.offsets
    )
    visits, pairs, solution, fits = _on_own_scales(plan, pairs, solution)
    _describe(pairs, solution)
    empty = _without_pixels(plan, pairs)
    out = []
    for unit in units:
        if not isinstance(unit.task, MatchTask):
            out.append(unit)
            continue
        i = plan.numbers[unit.task.visit.name]
        if i in empty:
            out.append(replace(unit, error=empty[i]))
            continue
        anchor = solution.anchors[int(solution.components[i])]
        partner = partner_of(i, pairs, anchor)
        facts = {
            "group": int(solution.components[i]),
            "anchor": visits[anchor].name if anchor >= 0 else None,
            "pairs": sum(i in (pair.first, pair.second) for pair in pairs),
            "orders_compared": solution.scores.tolist(),
            **plan.costs(choice, i),
        }
        values = {
            "is_reference": i == anchor or partner is None,
            "fit": fits[i],
            "facts": facts,
            "mode": "global",
        }
        if partner is None:
            task = plan.task(visits[i], None, [], **values)
        else:
            other = visits[partner]
            records = plan.reference_records(other)
            values["correction"] = _surface(fits[partner], other.frame_shape)
            task = plan.task(visits[i], other, records, reference_scale=other.scale, **values)
        out.append(replace(unit, task=task))
    return out


def _on_own_scales(
    plan: Plan, pairs: Sequence[PairCells], solution: OverlapSolution
) -> tuple[list[Visit], list[PairCells], OverlapSolution, list[BackgroundFit]]:
    """Return exposures, pairs and corrections on the fluxes of their groups, and the models.

    What a group leaves as it is keeps its fluxes, and the others take them on.
    """
    from skytool.core.background.overlap_solve import on_own_scales
    from skytool.stages.match_bg import fit_of

    anchors = [solution.anchors[int(group)] for group in solution.components]
    scales = [plan.visits[anchor].scale if anchor >= 0 else 1.0 for anchor in anchors]
    visits = [
        replace(visit, scale=visit.scale / scale)
        for visit, scale in zip(plan.visits, scales, strict=True)
    ]
    pairs, solution = on_own_scales(pairs, solution, scales)
    shape, config = visits[0].frame_shape, visits[0].config
    fixed = {i: value / scales[i] for i, value in plan.offsets.items()}
    fits = [fit_of(i, solution, pairs, shape, config, fixed=fixed) for i in range(len(visits))]
    return visits, pairs, solution, fits


def _describe(pairs: Sequence[PairCells], solution: OverlapSolution) -> None:
    """Say how the solution went."""
    _log.info(
        "%d pairs in %d groups, order %d, reduced chi2 %.4g",
        len(pairs),
        len(solution.anchors),
        solution.order,
        solution.chi2 / max(solution.dof, 1),
    )


def _without_pixels(plan: Plan, pairs: Sequence[PairCells]) -> dict[int, AlgorithmError]:
    """Return the exposures without a good pixel, which fail; warn of others in no pair."""
    from skytool.cli.match_bg.plan import warn_alone

    linked = {i for pair in pairs for i in (pair.first, pair.second)}
    alone = {i: visit for i, visit in enumerate(plan.visits) if i not in linked}
    empty = {
        i: AlgorithmError(
            f"{visit.name} has no good pixel.",
            hint="Look at --bad-mask-planes and --mask-sources.",
        )
        for i, visit in alone.items()
        if not measure_figures(visit).sky.coverage
    }
    warn_alone([visit.name for i, visit in alone.items() if i not in empty])
    return empty


def _alone(plan: Plan, unit: Unit[Any]) -> Unit[Any]:
    """Return the unit of an exposure that is the only one."""
    visit: Visit = unit.task.visit
    return replace(unit, task=plan.task(visit, None, [], is_reference=True, mode="global"))


def _surface(fit: BackgroundFit, shape: tuple[int, int]) -> ChebyshevModel | None:
    """Return what an exposure gets, as a surface over the frame; None if it is nothing."""
    import numpy as np

    from skytool.core.background.chebyshev import ChebyshevModel
    from skytool.stages.match_bg.models import ConstantModel, PolynomialModel

    if isinstance(fit.model, PolynomialModel):
        return fit.model.surface
    if isinstance(fit.model, ConstantModel) and fit.model.value:
        return ChebyshevModel(np.array([[fit.model.value]]), shape)
    return None
