"""What every stage command does around its stage: check, plan, reuse, run, report."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click

from skytool.cli.config import PRESETS, config_files
from skytool.cli.inputs import list_files
from skytool.cli.report import Reporter
from skytool.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from skytool.cli.options import RunOptions
    from skytool.errors import SkytoolError
    from skytool.parallel import TaskOutcome

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Product:
    """One output that a task has written, returned by the task's function.

    Parameters
    ----------
    path : str
        The output.
    metrics : mapping
        Its numbers: int, float, str, bool, None, or lists and mappings of these.
    """

    path: str
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Unit(Generic[T]):
    """One unit of work: what is read, what is written, and the task that does it.

    Parameters
    ----------
    name : str
        What messages call it, usually its input.
    inputs : tuple of str
        Files it reads, as ``FILE`` or ``FILE[EXT]``.
    outputs : tuple of Path
        Files it writes, each of them in the end.
    task : object
        Picklable argument of the function.
    plan : mapping
        What ``--dry-run --json`` says of each output.
    error : SkytoolError, optional
        Why the unit is known to fail, found out while the work was planned under
        ``--keep-going``; its task is not run.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[Path, ...]
    task: T
    plan: Mapping[str, Any] = field(default_factory=dict)
    error: SkytoolError | None = None


def run_units(
    function: Callable[[T], Sequence[Product]],
    units: Sequence[Unit[T]],
    *,
    stage: str,
    columns: Sequence[str],
    run: RunOptions,
    shared: Iterable[str | os.PathLike[str]] = (),
    is_current: Callable[[Unit[T]], bool] | None = None,
    prepare: Callable[[Sequence[Unit[T]]], Sequence[Unit[T]]] | None = None,
) -> None:
    """Run a function on the task of every unit and report what it made.

    All outputs are checked before anything is computed. Outputs in use again get the present
    time, so that make is content with them.

    Parameters
    ----------
    function : callable
        Module-level function of one task; writes the outputs of the unit and returns them.
    units : sequence of Unit
        The work, in the order of the inputs.
    stage : str
        Name of the command.
    columns : sequence of str
        Metrics in the rows on stdout.
    run : RunOptions
        How to run.
    shared : iterable of path-like
        Further files that every unit reads.
    is_current : callable, optional
        Whether all outputs of a unit, which exist, were made from its inputs with the settings
        in force; asked with ``--reuse``.
    prepare : callable, optional
        What has to be known of all inputs before any unit can be run: returns the units with
        complete tasks, or with an error. Called once, after all checks, if a unit is to be run.

    Raises
    ------
    click.UsageError
        If standard input or output is used in a way that cannot work.
    OutputError
        If an output may not be written.
    click.exceptions.Exit
        With the status of the failures under ``--keep-going``.
    """
    common = [os.fspath(path) for path in shared]
    _check(units, run, common)
    with Reporter(stage, columns, run=run, total=len(units)) as report:
        if run.dry_run:
            _plan(units, common, report)
            return
        _run(function, units, run, report, is_current, prepare)
        if run.depfile is not None:
            _write_depfile(run.depfile, units, [*common, *settings_files()], run)


def _run(
    function: Callable[[T], Sequence[Product]],
    units: Sequence[Unit[T]],
    run: RunOptions,
    report: Reporter,
    is_current: Callable[[Unit[T]], bool] | None,
    prepare: Callable[[Sequence[Unit[T]]], Sequence[Unit[T]]] | None,
) -> None:
    """Reuse what may be reused, run the rest, and report in the order of the units."""
    from skytool.parallel import run_tasks

    todo = [
        place
        for place, unit in enumerate(units)
        if unit.error is None and not _is_reusable(unit, run, is_current)
    ]
    if prepare is not None and todo:
        units = prepare(units)
        todo = [place for place in todo if units[place].error is None]
    outcomes = run_tasks(
        _call,
        [_Call(units[place].name, function, units[place].task) for place in todo],
        jobs=1 if _has_stream(units) else run.jobs,
        scheduler=run.scheduler,
        keep_going=run.keep_going,
        progress=lambda index: report.advance(units[todo[index]].name),
    )
    ran = set(todo)
    with closing(outcomes):  # the workers end with the block, however it is left
        for place, unit in enumerate(units):
            if place in ran:
                outcome = next(outcomes)
                if outcome.error is None:
                    _report_products(unit, outcome, report)
                else:
                    _fail(place, unit, outcome.error, report, outcome.warnings)
            else:
                report.advance(unit.name)
                if unit.error is None:
                    _reuse(unit, report)
                else:
                    _fail(place, unit, unit.error, report)


def _report_products(
    unit: Unit[T], outcome: TaskOutcome[Sequence[Product]], report: Reporter
) -> None:
    for product in outcome.result:
        report.row(product.path, product.metrics, inputs=unit.inputs, warnings=outcome.warnings)


def _fail(
    place: int, unit: Unit[T], error: Exception, report: Reporter, warnings: Sequence[str] = ()
) -> None:
    """Report a failure, and end the run unless it keeps going."""
    report.failure(unit.name, error, index=place, warnings=warnings)
    if not report.run.keep_going:
        raise error


def settings_files() -> list[str]:
    """Return the files that the command line itself was read from: lists and settings."""
    ctx = click.get_current_context(silent=True)
    if ctx is None:
        return []
    files = [*list_files(ctx), *config_files(ctx)]
    return [str(path) for path in files if path.parent != PRESETS]


@dataclass(frozen=True)
class _Call:
    """A task with its name, for the message if its worker dies."""

    name: str
    function: Callable[[Any], Sequence[Product]]
    task: Any


def _call(call: _Call) -> Sequence[Product]:
    return call.function(call.task)


def _check(units: Sequence[Unit[T]], run: RunOptions, shared: Sequence[str]) -> None:
    """Refuse outputs that may not be written, before any computing."""
    from skytool.io.fits import check_outputs

    ctx = click.get_current_context(silent=True)
    outputs = [path for unit in units for path in unit.outputs]
    to_stdout = any(str(path) == "-" for path in outputs)
    if to_stdout and (run.json or run.depfile is not None):
        option = "--json" if run.json else "--depfile"
        raise click.UsageError(f"{option} cannot go with a product on standard output.", ctx)
    if to_stdout and sys.stdout.isatty() and not run.dry_run:
        raise click.UsageError("standard output is a terminal; give --output FILE.", ctx)
    if run.scheduler is not None and (to_stdout or _has_stream(units)):
        raise click.UsageError("--scheduler needs files, not standard input or pipes.", ctx)
    side = [path for path in (run.report, run.depfile) if path is not None]
    inputs = [text for unit in units for text in unit.inputs]
    check_outputs([*outputs, *side], [*inputs, *shared], overwrite=run.may_replace)


def _has_stream(units: Sequence[Unit[T]]) -> bool:
    """Return whether an input can be read by this process only."""
    from skytool.io.filespec import FileSpec

    paths = {FileSpec.parse(text).path for unit in units for text in unit.inputs}
    return any(str(path) == "-" or (path.exists() and not path.is_file()) for path in paths)


def _plan(units: Sequence[Unit[T]], shared: Sequence[str], report: Reporter) -> None:
    for place, unit in enumerate(units):
        if unit.error is not None:
            _fail(place, unit, unit.error, report)
        for path in unit.outputs:
            report.row(path, unit.plan, status="planned", inputs=[*unit.inputs, *shared])


def _is_reusable(
    unit: Unit[T], run: RunOptions, is_current: Callable[[Unit[T]], bool] | None
) -> bool:
    if run.reuse is None or not unit.outputs or not all(path.is_file() for path in unit.outputs):
        return False
    if run.reuse == "exists":
        return True
    try:
        return is_current is not None and is_current(unit)
    except InputError:  # not one of our files, or damaged: it is made again
        return False


def _reuse(unit: Unit[T], report: Reporter) -> None:
    for path in unit.outputs:
        os.utime(path)
        report.row(path, status="reused", inputs=unit.inputs)


def _write_depfile(
    path: Path, units: Sequence[Unit[T]], shared: Sequence[str], run: RunOptions
) -> None:
    """Write what depends on what in the language of make, with a rule for each input."""
    from skytool.io.filespec import FileSpec
    from skytool.io.writing import write_bytes

    rules, every = [], {}
    for unit in units:
        specs = [FileSpec.parse(text) for text in (*unit.inputs, *shared)]
        read = dict.fromkeys(str(spec.path) for spec in specs if not spec.is_standard_stream)
        every.update(read)
        if not unit.outputs:
            continue
        targets = " ".join(_escaped(str(output)) for output in unit.outputs)
        rules.append(f"{targets}: {' '.join(map(_escaped, read))}\n")
    rules += [f"\n{_escaped(name)}:\n" for name in every]
    text = "".join(rules).encode(errors="surrogateescape")
    write_bytes(path, text, overwrite=run.may_replace)


def _escaped(name: str) -> str:
    """Return a file name as make reads it."""
    for char in " #\t":
        name = name.replace(char, f"\\{char}")
    return name.replace("$", "$$")
