import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from skytool import parallel
from skytool.errors import AlgorithmError, IncompatibleError, InputError, SkytoolWarning
from skytool.parallel import run_tasks, usable_cores
from tests import tasks

ROOT = Path(__file__).parents[1]

everywhere = pytest.mark.parametrize("jobs", [1, 2])


def results(function, values, **kwargs):
    return [outcome.result for outcome in run_tasks(function, values, **kwargs)]


@everywhere
def test_results_come_in_the_order_of_the_tasks(jobs):
    assert results(tasks.slow_first, range(4), jobs=jobs) == [0, 1, 2, 3]


def test_progress_is_told_as_tasks_end():
    ended = []
    results(tasks.slow_first, range(3), jobs=2, progress=ended.append)

    assert sorted(ended) == [0, 1, 2]
    assert ended[-1] == 0


def test_one_job_takes_a_task_when_the_one_before_is_done():
    taken = []

    def source():
        for number in range(3):
            taken.append(number)
            yield number

    outcomes = run_tasks(tasks.square, source())

    assert next(outcomes).result == 0
    assert taken == [0]


def test_two_jobs_are_two_other_processes():
    pids = {pid for pid, _ in results(tasks.slow_who, range(4), jobs=2)}

    assert len(pids) == 2
    assert os.getpid() not in pids
    assert {pid for pid, _ in results(tasks.who, range(4), jobs=1)} == {os.getpid()}


def test_a_single_task_needs_no_worker():
    assert results(tasks.who, [5], jobs=2) == [(os.getpid(), 5)]
    assert results(tasks.who, [], jobs=2) == []


def test_no_more_workers_than_tasks_and_cores(monkeypatch):
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(parallel, "usable_cores", lambda: 2)
    pids = {pid for pid, _ in results(tasks.slow_who, range(3), jobs=0)}

    assert len(pids) == 2


@pytest.mark.parametrize(
    ("text", "cores"), [("150000 100000", 1), ("200000 100000", 2), ("50000 100000", 1)]
)
def test_a_control_group_limits_the_cores(tmp_path, monkeypatch, text, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(parallel, "_CGROUP", tmp_path / "cpu.max")

    assert usable_cores() == 8
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert usable_cores() == 8
    (tmp_path / "cpu.max").write_text(f"{text}\n")
    assert usable_cores() == cores


def test_a_negative_number_of_jobs_is_a_mistake():
    with pytest.raises(ValueError, match="jobs"):
        results(tasks.square, [1], jobs=-1)


@everywhere
def test_errors_keep_class_hint_and_facts(jobs):
    outcomes = list(run_tasks(tasks.fail_at_two, range(4), jobs=jobs, keep_going=True))

    assert [outcome.index for outcome in outcomes] == [0, 1, 2, 3]
    assert [outcome.value for outcome in outcomes] == [0, 1, None, 3]
    with pytest.raises(IncompatibleError, match=r"2 does not fit\. Take 3\.") as raised:
        _ = outcomes[2].result
    assert raised.value.facts == {"number": 2.0}
    assert raised.value.exit_code == 4


@everywhere
def test_the_first_failure_in_task_order_is_the_last_outcome(jobs):
    outcomes = list(run_tasks(tasks.fail_at_two, range(6), jobs=jobs))
    assert [outcome.error is None for outcome in outcomes] == [True, True, False]

    outcomes = list(run_tasks(tasks.fail_late_first, range(6), jobs=jobs))
    assert [str(outcome.error) for outcome in outcomes] == ["late 0"]


def test_nothing_begins_after_a_failure(tmp_path):
    work = [str(tmp_path / str(number)) for number in range(20)]
    outcomes = list(run_tasks(tasks.touch_and_fail, work, jobs=2))

    assert len(outcomes) == 1
    assert len(list(tmp_path.iterdir())) <= 2


def test_a_bug_in_a_worker_brings_its_traceback():
    (outcome,) = run_tasks(tasks.bug, range(2), jobs=2)

    assert isinstance(outcome.error, ZeroDivisionError)
    assert 'raise ZeroDivisionError(f"bug at {number}")' in outcome.error.__notes__[0]


def test_an_error_that_cannot_travel_is_told_as_text():
    (outcome,) = run_tasks(tasks.fail_unpicklable, range(2), jobs=2)

    assert isinstance(outcome.error, RuntimeError)
    assert "UnpicklableError: 0 two" in str(outcome.error)


def test_a_function_no_worker_can_import_is_an_error_and_no_hang():
    (outcome,) = run_tasks(lambda number: number, range(2), jobs=2)

    assert outcome.error is not None


@everywhere
def test_logs_and_warnings_of_tasks_arrive_in_order(jobs, caplog):
    with caplog.at_level(logging.INFO, "skytool"), pytest.warns(SkytoolWarning) as warned:
        outcomes = list(run_tasks(tasks.talk, range(3), jobs=jobs))

    assert caplog.messages == ["working on 0", "working on 1", "working on 2"]
    assert {record.name for record in caplog.records} == {"skytool.tasks"}
    assert [str(each.message) for each in warned] == ["0 is odd", "1 is odd", "2 is odd"]
    assert [outcome.warnings for outcome in outcomes] == [
        ("0 is odd",),
        ("1 is odd",),
        ("2 is odd",),
    ]


def test_the_level_of_logging_is_that_of_the_parent(caplog):
    with caplog.at_level(logging.DEBUG, "skytool"), pytest.warns(SkytoolWarning):
        list(run_tasks(tasks.talk, range(2), jobs=2))

    assert "detail of 1" in caplog.messages


@everywhere
def test_warnings_that_are_errors_here_are_errors_there(jobs):
    with warnings.catch_warnings():
        warnings.simplefilter("error", SkytoolWarning)
        (outcome,) = run_tasks(tasks.talk, range(2), jobs=jobs)

    assert isinstance(outcome.error, SkytoolWarning)
    assert str(outcome.error) == "0 is odd"


def test_workers_have_one_thread_each():
    for pid, counts in results(tasks.threads, range(2), jobs=2):
        assert pid != os.getpid()
        assert counts
        assert set(counts) == {1}


def test_a_worker_uses_no_workers_of_its_own():
    for pid, inner in results(tasks.nested, range(2), jobs=2):
        assert {each for each, _ in inner} == {pid}


@everywhere
def test_relative_paths_start_from_the_folder_of_the_parent(jobs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert results(tasks.folder, range(2), jobs=jobs) == [str(tmp_path)] * 2


def test_a_worker_that_dies_is_an_error_of_its_task():
    work = [tasks.Named(f"exposure {number}", number) for number in range(5)]
    outcomes = list(run_tasks(tasks.die_at_one, work, jobs=2, keep_going=True))

    assert [outcome.value for outcome in outcomes] == [0, None, 2, 3, 4]
    assert isinstance(outcomes[1].error, AlgorithmError)
    assert "exposure 1: the worker process died" in str(outcomes[1].error)
    assert "--jobs" in outcomes[1].error.hint
    (first, second) = run_tasks(tasks.die_at_one, work, jobs=2)
    assert first.error is None
    assert isinstance(second.error, AlgorithmError)


def test_a_task_that_asks_to_exit_is_an_error_too():
    (outcome,) = run_tasks(tasks.leave, ["a.fits", "b.fits"], jobs=2)

    assert "a.fits: the worker process died" in str(outcome.error)


def test_leaving_early_ends_the_workers_and_their_part_files(tmp_path):
    before = set(multiprocessing.active_children())
    work = [str(tmp_path)] * 2
    started = time.monotonic()
    with closing(run_tasks(tasks.sleep_unless_first, [("", 0), *enumerate(work, 1)], jobs=3)) as it:
        assert next(it).result == 0
        while len(list(tmp_path.iterdir())) < 2:
            assert time.monotonic() - started < 30
            time.sleep(0.02)

    assert list(tmp_path.iterdir()) == []
    assert set(multiprocessing.active_children()) == before
    assert time.monotonic() - started < 30


def test_an_interrupt_ends_the_workers_quickly(tmp_path):
    code = (
        "import sys\nfrom skytool.parallel import run_tasks\nfrom tests import tasks\n"
        "if __name__ == '__main__':\n"
        "    list(run_tasks(tasks.sleep_with_part, [sys.argv[1]] * 2, jobs=2))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    parts = tmp_path / "parts"
    parts.mkdir()
    with subprocess.Popen(
        [sys.executable, script, parts],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    ) as process:
        end = time.monotonic() + 30
        while len(list(parts.iterdir())) < 2:
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stderr = process.communicate(timeout=10)[1].decode()

    assert process.returncode == -signal.SIGINT
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    assert list(parts.iterdir()) == []


# --- a Dask cluster ---------------------------------------------------------------------------


def test_a_scheduler_without_its_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match="extra 'cluster'"):
        results(tasks.square, range(2), scheduler="tcp://127.0.0.1:1")


@pytest.mark.slow
class TestCluster:
    def test_results_are_those_of_this_process(self, cluster):
        values = range(7)

        assert results(tasks.square, values, scheduler=cluster) == results(tasks.square, values)
        assert results(tasks.slow_first, values, scheduler=cluster) == [*values]
        pids = {pid for pid, _ in results(tasks.slow_who, range(8), scheduler=cluster)}
        assert len(pids) == 2
        assert os.getpid() not in pids

    def test_errors_logs_and_warnings_arrive(self, cluster, caplog):
        outcomes = list(run_tasks(tasks.fail_at_two, range(4), scheduler=cluster, keep_going=True))
        assert [outcome.value for outcome in outcomes] == [0, 1, None, 3]
        assert isinstance(outcomes[2].error, IncompatibleError)
        assert len(list(run_tasks(tasks.fail_at_two, range(9), scheduler=cluster))) == 3

        with caplog.at_level(logging.INFO, "skytool"), pytest.warns(SkytoolWarning) as warned:
            results(tasks.talk, range(4), scheduler=cluster)
        ours = [record.message for record in caplog.records if record.name == "skytool.tasks"]
        assert ours == [f"working on {number}" for number in range(4)]
        assert [str(each.message) for each in warned] == [f"{n} is odd" for n in range(4)]
        with pytest.warns(SkytoolWarning) as warned:
            results(tasks.talk, range(4), scheduler=cluster)
        assert len(warned) == 4, "the second run of a worker warns like the first"

    def test_strictness_is_each_callers_own(self, cluster):
        with warnings.catch_warnings():
            warnings.simplefilter("error", SkytoolWarning)
            (outcome,) = run_tasks(tasks.talk, range(1), scheduler=cluster)
        assert isinstance(outcome.error, SkytoolWarning)

        with pytest.warns(SkytoolWarning):
            assert results(tasks.talk, range(2), scheduler=cluster) == [0, 1]

    def test_paths_start_from_the_folder_of_the_caller(self, cluster, tmp_path, monkeypatch):
        folders = [tmp_path / "one", tmp_path / "two"]
        for folder in folders:
            folder.mkdir()

        def ask(folder):
            monkeypatch.chdir(folder)
            return list(run_tasks(tasks.slow_folder, range(4), scheduler=cluster))

        for folder in folders:
            assert {outcome.result for outcome in ask(folder)} == {str(folder)}

    def test_threads_of_a_worker_agree_on_a_folder(self, tmp_path):
        from skytool.worker import Order, work

        folders = [str(tmp_path / name) for name in "abab"]
        for name in "ab":
            (tmp_path / name).mkdir()
        before = Path.cwd()
        with ThreadPoolExecutor(4) as pool:
            reports = pool.map(
                lambda folder: work(Order(logging.INFO, False, folder), tasks.slow_folder, 0),
                folders,
            )
            assert [report.value for report in reports] == folders
        assert Path.cwd() == before

    def test_workers_that_die_are_an_error_of_the_task(self, cluster):
        # alone: a task that shares a dying worker may be given up together with the one at fault
        work = [tasks.Named(f"exposure {number}", number) for number in range(3)]
        (outcome,) = run_tasks(tasks.die_at_one, work[1:2], scheduler=cluster)
        assert isinstance(outcome.error, AlgorithmError)
        assert "exposure 1: the worker process died" in str(outcome.error)

        others = [work[0], work[2]]
        assert results(tasks.die_at_one, others, scheduler=cluster) == [0, 2]

    def test_files_made_on_a_cluster_are_those_made_here(self, cluster, tmp_path, monkeypatch):
        from tests.cli.toy import run

        monkeypatch.chdir(tmp_path)
        for name in "abc":
            Path(f"{name}.fits").write_text(name)
        here = run("count", "a.fits", "b.fits", "c.fits", "-d", "here", "-q")
        there = run("count", "a.fits", "b.fits", "c.fits", "-d", "there", "--scheduler", cluster)

        assert there.exit_code == 0, there.stderr
        assert there.stdout == here.stdout.replace("here/", "there/")
        for name in "abc":
            made = [Path(folder, f"{name}.fits").read_bytes() for folder in ("here", "there")]
            assert made[0] == made[1]


@pytest.mark.slow
def test_a_scheduler_nobody_runs_is_named_with_its_address(monkeypatch):
    pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    monkeypatch.setattr(parallel, "_SCHEDULER_PATIENCE", 1)
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(InputError, match="no Dask scheduler answers at"):
            results(tasks.square, range(2), scheduler=address)
