"""What a command costs that runs in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Cost(NamedTuple):
    """CPU time of user and system [s], and the most memory [byte]."""

    cpu: float
    memory: float


# A process starts with the peak memory of the one it was forked from: this one is small.
LAUNCHER = """
import os, sys
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss * 1024,
      file=sys.stderr)
"""


def cost(command, folder):
    """Run a command and return what it cost."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *command],
        cwd=folder,
        env=env,
        capture_output=True,
        check=True,
        text=True,
    )
    status, cpu, memory = done.stderr.splitlines()[-1].split()
    assert status == "0", done.stderr
    return Cost(float(cpu), float(memory))
