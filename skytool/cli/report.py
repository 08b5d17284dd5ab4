"""Results: rows or JSON Lines on stdout, the same lines in a file, progress on stderr."""

from __future__ import annotations

import json
import logging
import math
import sys
from typing import TYPE_CHECKING, Any, Self

import click

from skytool.cli import logs
from skytool.errors import (
    AlgorithmError,
    InputError,
    NothingToDoError,
    SkytoolError,
    SkytoolWarning,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from skytool.cli.options import RunOptions

SCHEMA = 1
"""Version of the keys of a JSON line."""

_log = logging.getLogger("skytool")


class Reporter:
    """Collects what a command made and what failed, and says so.

    Use it as a context manager: leaving the block writes the report file, lists the failures
    again and exits with the status that they ask for.

    Parameters
    ----------
    stage : str
        Name of the command.
    columns : sequence of str
        Metrics that the rows on stdout show after the path.
    run : RunOptions
        How the command runs.
    total : int
        How many units of work there are; a progress bar needs more than one.
    at_once : bool
        Whether a failure is said when it happens, besides in the end.
    """

    def __init__(
        self,
        stage: str,
        columns: Sequence[str],
        *,
        run: RunOptions,
        total: int = 0,
        at_once: bool = True,
    ) -> None:
        self.stage = stage
        self.columns = tuple(columns)
        self.run = run
        self.total = total
        self.at_once = at_once
        self._lines: list[str] = []
        self._failures: list[tuple[int, str, BaseException]] = []
        self._headed = False
        self._done = 0
        self._bar: Any = None

    def __enter__(self) -> Self:
        self._start_bar()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop_bar()
        if error is None:
            self.finish()
        elif isinstance(error, Exception) and not isinstance(error, click.ClickException):
            self._write_report()

    def row(
        self,
        path: object,
        metrics: Mapping[str, Any] | None = None,
        *,
        status: str = "done",
        inputs: Sequence[str] = (),
        warnings: Sequence[str] = (),
        text: str | None = None,
    ) -> None:
        """Report one output.

        A planned one has its inputs in the row instead of numbers, one in use again the word
        ``reused``; one that went to standard output has no row.

        Parameters
        ----------
        path : path-like
            The output.
        metrics : mapping
            Its numbers; those among the columns are in the row.
        status : str
            ``done``, ``reused`` or ``planned``.
        inputs : sequence of str
            What it is made from.
        warnings : sequence of str
            What was warned of while it was made. What was shown since the line before, on
            standard error, is added.
        text : str, optional
            What is printed instead of the row.
        """
        values = {key: _plain(value) for key, value in (metrics or {}).items()}
        entry: dict[str, Any] = {"path": str(path), "status": status, "metrics": values}
        self._line({**entry, "inputs": [*inputs], "warnings": _all_warnings(warnings)})
        if text is not None and not self.run.json:
            click.echo(text)
            return
        if self.run.json or str(path) == "-":
            return
        if status == "planned":
            click.echo("\t".join([str(path), *inputs]))
            return
        if status == "reused":
            click.echo(f"{path}\treused")
            return
        if not self._headed:
            self._headed = True
            if logs.is_verbose():
                click.echo("\t".join(["path", *self.columns]))
        cells = [_cell(values.get(column)) for column in self.columns]
        click.echo("\t".join([str(path), *cells]))

    def failure(
        self,
        name: str,
        error: BaseException,
        *,
        index: int | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        """Report a unit of work that failed; the exit status follows from it.

        Parameters
        ----------
        name : str
            What it was made from.
        error : Exception
            Why it failed.
        index : int
            Its place among the inputs; by default after those that failed before.
        warnings : sequence of str
            As for `row`.
        """
        place = len(self._failures) if index is None else index
        self._failures.append((place, name, error))
        self._line(
            {
                "path": name,
                "status": "failed",
                "error": _message(error),
                "exit_code": _exit_code(error),
                "facts": {key: _plain(value) for key, value in _facts(error).items()},
                "warnings": _all_warnings(warnings),
            }
        )
        if not (self.run.keep_going and self.at_once):  # it is raised, or listed in the end
            return
        known = _exit_code(error) != 1 and not logs.show_tracebacks()
        _log.error("%s", _named(name, error), exc_info=None if known else error)

    def advance(self, name: str) -> None:
        """Count one unit of work as finished, on the bar or as a log line."""
        self._done += 1
        if self._bar is not None:
            self._bar.update(1)
        elif self.total > 1:
            _log.info("%d of %d: %s", self._done, self.total, name)

    def finish(self) -> None:
        """Write the report file and list the failures; exit if there are any.

        Raises
        ------
        click.exceptions.Exit
            With the status of the first failure in input order; 6 only if all failures are 6.
        """
        self._stop_bar()
        self._write_report()
        if not self._failures:
            return
        failures = sorted(self._failures, key=lambda failed: failed[0])
        of = f" of {self.total}" if self.total else ""
        logs.failure(f"{len(failures)}{of} failed:")
        for _, name, error in failures:
            logs.failure(_named(name, error))
        codes = [_exit_code(error) for *_, error in failures]
        empty = NothingToDoError.exit_code
        status = next((code for code in codes if code != empty), empty)
        if status == empty and self.run.allow_empty:
            return
        raise click.exceptions.Exit(status)

    def _line(self, entry: dict[str, Any]) -> None:
        line = json.dumps(
            {"schema": SCHEMA, "stage": self.stage, **entry}, allow_nan=False, ensure_ascii=False
        )
        self._lines.append(line)
        if self.run.json:
            click.echo(line)

    def _write_report(self) -> None:
        if self.run.report is None or self.run.dry_run:
            return
        from skytool.io.writing import write_bytes

        text = "".join(f"{line}\n" for line in self._lines)
        write_bytes(self.run.report, text.encode(), overwrite=self.run.may_replace)

    def _start_bar(self) -> None:
        wanted = self.run.progress
        if wanted is False or self.total < 2 or self.run.dry_run or logs.is_quiet():
            return
        if not sys.stderr.isatty():
            return
        self._bar = click.progressbar(
            length=self.total, label=self.stage, file=sys.stderr, show_pos=True
        )
        self._bar.__enter__()
        logs.make_way_for_bar(shown=True)

    def _stop_bar(self) -> None:
        if self._bar is not None:
            logs.make_way_for_bar(shown=False)
            self._bar.__exit__(None, None, None)
            self._bar = None


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SkytoolError):
        return error.exit_code
    if isinstance(error, SkytoolWarning | MemoryError):
        return AlgorithmError.exit_code
    return InputError.exit_code if isinstance(error, OSError) else 1


def _message(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _named(name: str, error: BaseException) -> str:
    """Return the message, with the name in front if it does not say it."""
    message = _message(error)
    return message if name.rpartition("/")[2] in message else f"{name}: {message}"


def _facts(error: BaseException) -> Mapping[str, Any]:
    return error.facts if isinstance(error, SkytoolError) else {}


def _all_warnings(given: Sequence[str]) -> list[str]:
    """Return what was shown since this was asked last and what is given, each text once."""
    return list(dict.fromkeys([*logs.take_warnings(), *map(logs.one_line, given)]))


def _plain(value: Any) -> Any:
    """Return what JSON can hold: numbers that are not finite become None."""
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _cell(value: Any) -> str:
    """Return one cell of a row."""
    if value is None:
        return "nan"
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
