"""Task functions that worker processes import."""

import logging
import os
import signal
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from skytool.errors import AlgorithmError, IncompatibleError, SkytoolWarning
from skytool.parallel import run_tasks

log = logging.getLogger("skytool.tasks")


@dataclass(frozen=True)
class Named:
    name: str
    value: int


def square(number):
    return number * number


def slow_first(number):
    time.sleep(0.6 if number == 0 else 0.0)
    return number


def talk(number):
    log.info("working on %d", number)
    log.debug("detail of %d", number)
    warnings.warn(f"{number} is odd", SkytoolWarning, stacklevel=2)
    return number


def fail_at_two(number):
    if number == 2:
        raise IncompatibleError("2 does not fit.", hint="Take 3.", number=2.0)
    return number


def bug(number):
    raise ZeroDivisionError(f"bug at {number}")


class UnpicklableError(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


def fail_unpicklable(number):
    raise UnpicklableError(number, "two")


def die_at_one(task):
    if task.value == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return task.value


def threads(_):
    import numpy as np
    from threadpoolctl import threadpool_info

    np.linalg.inv(np.eye(3))
    return os.getpid(), [info["num_threads"] for info in threadpool_info()]


def nested(number):
    return os.getpid(), [outcome.result for outcome in run_tasks(who, [number, 7], jobs=2)]


def who(number):
    return os.getpid(), number


def sleep_with_part(folder):
    part = Path(folder) / f"part-{os.getpid()}"
    try:
        part.write_text("half")
        time.sleep(60)
    finally:
        part.unlink()


def fail(text):
    raise AlgorithmError(text)


def slow_who(number):
    time.sleep(0.2)
    return os.getpid(), number


def fail_late_first(number):
    time.sleep(0.5 if number == 0 else 0)
    raise AlgorithmError(f"late {number}")


def touch_and_fail(path):
    Path(path).touch()
    time.sleep(0.3)
    raise AlgorithmError(path)


def folder(_):
    return str(Path.cwd())


def slow_folder(_):
    before = str(Path.cwd())
    time.sleep(0.2)
    after = str(Path.cwd())
    return before if before == after else f"{before}, then {after}"


def leave(_):
    sys.exit(7)


def sleep_unless_first(task):
    number, place = task if isinstance(task[0], int) else (0, "")
    if number:
        sleep_with_part(place)
    return number
