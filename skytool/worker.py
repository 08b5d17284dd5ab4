"""What a worker does around each task: folder, threads, log records, warnings, signals, errors.

A worker is a process of `skytool.parallel`, or a thread of a Dask worker.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from skytool.environment import BLAS_THREADS, settle_environment
from skytool.errors import SkytoolError, SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Order:
    """What a worker needs to know of the process that asks.

    Parameters
    ----------
    level : int
        Level of the log records that are wanted.
    strict : bool
        Whether a `SkytoolWarning` is an error.
    folder : str
        Working folder, which relative paths start from.
    """

    level: int
    strict: bool
    folder: str


@dataclass(frozen=True)
class Warned:
    """One Python warning."""

    text: str
    category: type[Warning]
    filename: str
    lineno: int


@dataclass(frozen=True)
class Report:
    """What a worker sends back."""

    value: Any
    error: Exception | None
    warned: list[Warned]
    records: list[logging.LogRecord]

    def hand_on(self) -> None:
        """Log and warn in this process what was logged and warned in the worker."""
        for record in self.records:
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)
        for each in self.warned:
            warnings.warn_explicit(each.text, each.category, each.filename, each.lineno)


class _Collector(logging.Handler):
    """Keeps the log records of the task that runs in this context."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record in a form that can be pickled."""
        kept = _records.get()
        if kept is None:
            return
        record.msg, record.args = record.getMessage(), None
        if record.exc_info:
            record.msg += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
            record.exc_info = None
        kept.append(record)


_records: ContextVar[list[logging.LogRecord] | None] = ContextVar("records", default=None)
_caught: ContextVar[tuple[list[Warned], bool] | None] = ContextVar("caught", default=None)
_nested: ContextVar[bool] = ContextVar("nested", default=False)
_collector = _Collector()


def in_worker() -> bool:
    """Return whether this is a worker already, which needs no workers of its own."""
    return _Process.is_worker or _nested.get()


class _Process:
    """What this process is: a worker for good or not, in the middle of a task or not."""

    is_worker = False
    is_busy = False


def become_worker() -> None:
    """Prepare a fresh process: one thread, clean exits, no longer life than its parent's."""
    for name in (*BLAS_THREADS, "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    _Process.is_worker = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _leave(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    if not _Process.is_busy:
        os._exit(128 + number)
    raise SystemExit(128 + number)  # through the task's `finally`; `work` ends the process


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def work(order: Order, function: Callable[[T], R], task: T) -> Report:
    """Run one task in a worker, which may be a thread of a Dask worker."""
    if not _Process.is_worker:
        settle_environment()
    _use_one_thread()
    _listen(order.level)
    records: list[logging.LogRecord] = []
    warned: list[Warned] = []
    value: R | None = None
    error: Exception | None = None
    tokens = _records.set(records), _caught.set((warned, order.strict)), _nested.set(True)
    _Process.is_busy = True
    try:
        with _in_folder(order.folder):
            value = function(task)
    except Exception as problem:  # noqa: BLE001  the report carries it
        error = _portable(problem)
    except SystemExit as leaving:
        if _Process.is_worker:
            os._exit(leaving.code if isinstance(leaving.code, int) else 1)
        raise
    finally:
        _Process.is_busy = False
        _records.reset(tokens[0])
        _caught.reset(tokens[1])
        _nested.reset(tokens[2])
    return Report(value, error, warned, records)


class _Folder:
    """The working folder of this process, which all threads share."""

    changed = threading.Condition()
    users = 0
    original = ""


@contextmanager
def _in_folder(folder: str) -> Iterator[None]:
    """Be in a folder; a thread that wants another one waits until this one is left."""
    with _Folder.changed:
        _Folder.changed.wait_for(lambda: _Folder.users == 0 or Path.cwd() == Path(folder))
        if _Folder.users == 0:
            _Folder.original = str(Path.cwd())
            os.chdir(folder)
        _Folder.users += 1
    try:
        yield
    finally:
        with _Folder.changed:
            _Folder.users -= 1
            if _Folder.users == 0:
                os.chdir(_Folder.original)
                _Folder.changed.notify_all()


def _use_one_thread() -> None:
    """Limit the libraries that are loaded; the environment holds for those that come later."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    if "numba" in sys.modules and not _Process.is_worker:
        sys.modules["numba"].set_num_threads(1)


def _listen(level: int) -> None:
    """Collect what our loggers and Python's warnings say, each for the task that caused it."""
    ours = logging.getLogger("skytool")
    if _collector not in ours.handlers:
        ours.addHandler(_collector)
    ours.setLevel(level)
    if warnings.showwarning is not _collect:
        warnings.showwarning = _collect
        warnings.simplefilter("always", SkytoolWarning)


def _collect(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Keep a warning for the task of this context; raise it if we are strict."""
    state = _caught.get()
    if state is None:
        _show_as_python_does(message, category, filename, lineno, file, line)
        return
    warned, strict = state
    if strict:
        raise SkytoolWarning(" ".join(str(message).split()))
    warned.append(Warned(str(message), category, filename, lineno))


_show_as_python_does = warnings.showwarning


def _portable(error: Exception) -> Exception:
    """Return an error that survives pickling, with its traceback as a note if it is a bug."""
    story = "".join(traceback.format_exception(error))
    if not isinstance(error, SkytoolError | SkytoolWarning | OSError):
        error.add_note(story)
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    except Exception:  # noqa: BLE001  whatever a foreign class does wrong
        return RuntimeError(story)
    return error
