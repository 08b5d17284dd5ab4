"""Run tasks in this process, in worker processes, or on a Dask cluster, with equal results.

A task is a picklable value, the function that runs it one that a fresh process can import. Tasks
take paths and settings, write their own outputs and return small reports. Results come in the
order of the tasks whatever finishes first. Log records and warnings of a worker are handed on
when its task ends; an error keeps its class.
"""

from __future__ import annotations

import gc
import importlib
import logging
import multiprocessing
import os
import signal
import warnings
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TextIO, TypeVar

from skytool.errors import AlgorithmError, InputError, SkytoolWarning
from skytool.worker import Order, Report, Warned, become_worker, in_worker, work

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")

_CGROUP = Path("/sys/fs/cgroup/cpu.max")
_PATIENCE = 5.0  # seconds that a worker has to clean up after SIGTERM
_SCHEDULER_PATIENCE = 10.0  # seconds that a scheduler has to answer


@dataclass(frozen=True)
class TaskOutcome(Generic[R]):
    """What became of one task.

    Parameters
    ----------
    index : int
        Place of the task among the tasks.
    value : object
        What the function returned; None if it failed.
    error : Exception, optional
        Why it failed.
    warnings : tuple of str
        What it warned of.
    """

    index: int
    value: R | None = None
    error: Exception | None = None
    warnings: tuple[str, ...] = ()

    @property
    def result(self) -> R:
        """What the function returned; raises the error of a task that failed."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # R may itself be optional


def usable_cores() -> int:
    """Return how many cores this process may use, by its affinity and its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with suppress(OSError, ValueError):
        quota, period = _CGROUP.read_text().split()
        if quota != "max":
            cores = min(cores or 1, max(1, int(quota) // int(period)))
    return cores or 1


def run_tasks(
    function: Callable[[T], R],
    tasks: Iterable[T],
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    keep_going: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Generator[TaskOutcome[R], None, None]:
    """Run a function on every task and yield the outcomes in the order of the tasks.

    Close the iterator (`contextlib.closing`) if it may be left early: that ends the workers.

    Parameters
    ----------
    function : callable
        Module-level function of one task.
    tasks : iterable
        Picklable tasks. With one job each is taken when the one before is done.
    jobs : int
        Worker processes; 0 is one for every usable core, 1 is this process. Inside a worker
        everything runs in that worker.
    scheduler : str, optional
        Address of a Dask scheduler; then ``jobs`` does not count.
    keep_going : bool
        Yield failures and go on; otherwise the first failure, in task order, is the last outcome.
    progress : callable, optional
        Called with the index of every task that has ended, in the order of ending.

    Yields
    ------
    TaskOutcome
        Its ``result`` raises the error of a task that failed.

    Raises
    ------
    InputError
        If the scheduler cannot be reached or the package for it is not installed.
    """
    if jobs < 0:
        raise ValueError(f"jobs must be 0 or more, got {jobs}")
    if in_worker() or (scheduler is None and jobs == 1):
        yield from _run_here(function, tasks, keep_going=keep_going, progress=progress)
        return
    tasks = list(tasks)
    if scheduler is None and len(tasks) < 2:
        yield from _run_here(function, tasks, keep_going=keep_going, progress=progress)
        return
    pool: _Processes | _Cluster
    if scheduler is None:
        pool = _Processes(min(jobs or usable_cores(), len(tasks)))
    else:
        pool = _Cluster(scheduler, len(tasks))
    with pool:
        yield from _run_there(pool, function, tasks, keep_going=keep_going, progress=progress)


def _run_here(
    function: Callable[[T], R],
    tasks: Iterable[T],
    *,
    keep_going: bool,
    progress: Callable[[int], None] | None,
) -> Iterator[TaskOutcome[R]]:
    """Run tasks one after the other in this process."""
    for index, task in enumerate(tasks):
        outcome: TaskOutcome[R]
        caught: list[Warned] = []
        with _warnings_also_to(caught):
            try:
                value = function(task)
            except Exception as error:  # noqa: BLE001  the outcome carries it
                outcome = TaskOutcome(index, error=error, warnings=_texts(caught))
            else:
                outcome = TaskOutcome(index, value, warnings=_texts(caught))
        if progress is not None:
            progress(index)
        yield outcome
        if outcome.error is not None and not keep_going:
            return
        gc.collect(1)  # open FITS files are cycles that keep their planes into the next task


def _run_there(
    pool: _Processes | _Cluster,
    function: Callable[[T], R],
    tasks: Sequence[T],
    *,
    keep_going: bool,
    progress: Callable[[int], None] | None,
) -> Iterator[TaskOutcome[R]]:
    """Give every free lane of the pool a task, and put the outcomes in order."""
    order = Order(
        level=logging.getLogger("skytool").getEffectiveLevel(),
        strict=_warnings_are_errors(),
        folder=str(Path.cwd()),
    )
    waiting = deque(range(len(tasks)))
    running: dict[Future[Report], tuple[int, int]] = {}
    ended: dict[int, Report] = {}
    for due in range(len(tasks)):
        while due not in ended:
            while waiting and pool.free:
                lane, index = pool.free.popleft(), waiting.popleft()
                running[pool.submit(lane, work, order, function, tasks[index])] = index, lane
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                index, lane = running.pop(future)
                pool.free.append(lane)
                ended[index] = _report(pool, future, lane, _name_of(tasks, index))
                if progress is not None:
                    progress(index)
            if not keep_going and any(report.error for report in ended.values()):
                waiting.clear()
                first = min(index for index, report in ended.items() if report.error)
                for future, (index, _) in list(running.items()):
                    if index > first and future.cancel():
                        del running[future]
        report = ended.pop(due)
        report.hand_on()
        yield TaskOutcome(due, report.value, report.error, _texts(report.warned))
        if report.error is not None and not keep_going:
            return


def _report(pool: _Processes | _Cluster, future: Future[Report], lane: int, name: str) -> Report:
    """Return what a worker reports; that it died is an error of the task it had."""
    error = future.exception()
    if error is None:
        return future.result()
    if pool.lost(error, lane):
        error = AlgorithmError(
            f"{name}: the worker process died while working on it.",
            hint="It may have been killed for want of memory: give fewer --jobs.",
        )
    if not isinstance(error, Exception):
        raise error
    return Report(None, error, [], [])


def _name_of(tasks: Sequence[Any], index: int) -> str:
    """Return what messages call a task: its ``name``, or the task if it is text or a path."""
    task = tasks[index]
    if isinstance(task, str | os.PathLike):
        return os.fspath(task)
    return str(getattr(task, "name", f"task {index + 1} of {len(tasks)}"))


class _Processes:
    """Worker processes, each an executor of its own, so that a death tells which task it was."""

    def __init__(self, count: int) -> None:
        self._before = set(multiprocessing.active_children())
        self._context = multiprocessing.get_context("spawn")
        self._lanes = [self._start() for _ in range(count)]
        self.free = deque(range(count))

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=self._context, initializer=become_worker)

    def submit(self, lane: int, *call: Any) -> Future[Report]:
        """Run a call in one worker."""
        with _interrupts_blocked():  # a process that is started here never gets one
            return self._lanes[lane].submit(*call)

    def lost(self, error: BaseException, lane: int) -> bool:
        """Return whether the error means that the worker died, and replace it if so."""
        if not isinstance(error, BrokenProcessPool):
            return False
        self._lanes[lane].shutdown(wait=False)
        self._lanes[lane] = self._start()
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the workers: after their tasks, or at once if an exception is the reason."""
        if kind is not None:
            children = set(multiprocessing.active_children()) - self._before
            for child in children:
                child.terminate()
            for child in children:
                child.join(_PATIENCE)
                if child.exitcode is None:
                    child.kill()
        for lane in self._lanes:
            lane.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Put off Ctrl-C; a process that is started meanwhile inherits this for good."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Cluster:
    """A Dask cluster that shares the file system."""

    def __init__(self, address: str, count: int) -> None:
        try:
            distributed: Any = importlib.import_module("distributed")
        except ImportError:
            raise InputError(
                f"the scheduler {address} needs the package distributed.",
                hint="Install skytool with the extra 'cluster'.",
            ) from None
        try:
            self._client = distributed.Client(
                address, timeout=_SCHEDULER_PATIENCE, set_as_default=False
            )
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(
                f"no Dask scheduler answers at {address}: {error}.",
                hint="Start one with `dask scheduler` and give its address.",
            ) from None
        self._executor: Executor = self._client.get_executor(pure=False, retries=0)
        self._killed = distributed.KilledWorker
        self.free = deque(range(count))

    def submit(self, _lane: int, *call: Any) -> Future[Report]:
        """Run a call on some worker; the cluster decides which."""
        return self._executor.submit(*call)

    def lost(self, error: BaseException, _lane: int) -> bool:
        """Return whether the error means that the workers that tried the task died."""
        return isinstance(error, self._killed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Take back what has not begun, and say goodbye."""
        self._executor.shutdown(wait=kind is None)
        self._client.close()


@contextmanager
def _warnings_also_to(warned: list[Warned]) -> Iterator[None]:
    """Keep warnings as well as showing them."""
    show = warnings.showwarning

    def keep(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        warned.append(Warned(str(message), category, filename, lineno))
        show(message, category, filename, lineno, file, line)

    warnings.showwarning = keep
    try:
        yield
    finally:
        warnings.showwarning = show


def _warnings_are_errors() -> bool:
    """Return whether a `SkytoolWarning` would be raised here."""
    for action, message, category, module, _ in warnings.filters:
        if message is None and module is None and issubclass(SkytoolWarning, category):
            return action == "error"
    return False


def _texts(warned: Sequence[Warned]) -> tuple[str, ...]:
    """Return the texts, each once."""
    return tuple(dict.fromkeys(each.text for each in warned))
